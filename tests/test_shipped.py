import pytest

import genomic_ulmfit as gu
from genomic_ulmfit import shipped
from genomic_ulmfit.cli import main

TINY = gu.AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of shipped models with one in it, and an empty one to work in."""
    (tmp_path / "models").mkdir()
    (tmp_path / "work").mkdir()
    model = gu.LanguageModel(gu.KmerVocab(4, 2), TINY, {"summary": "two plasmids"})
    gu.save(model, tmp_path / "models" / "plasmids.safetensors", precision="fp16")
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "models")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_a_name_loads_the_model_that_ships(folder):
    assert gu.load("plasmids").vocab == gu.KmerVocab(4, 2)


def test_a_file_of_that_name_comes_first(folder):
    gu.save(gu.LanguageModel(gu.KmerVocab(1), TINY), "plasmids")
    assert gu.load("plasmids").vocab == gu.KmerVocab(1)


def test_what_is_neither_a_file_nor_a_name_is_refused_with_the_names(folder):
    with pytest.raises(FileNotFoundError, match=r"nothing: no such file, and no model .* those are plasmids"):
        gu.load("nothing")
    with pytest.raises(FileNotFoundError, match="safetensors: no such file"):
        gu.load("lm.safetensors")


def test_the_table_says_what_ships(folder, capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["plasmids", "language", "model", "4", "/", "2", "0.0", "two", "plasmids"]


def test_a_name_stands_where_a_model_file_is_wanted(folder, capsys):
    assert main(["info", "plasmids"]) == 0
    assert "k = 4, stride = 2" in capsys.readouterr().out


def test_a_version_without_models_says_so(folder, capsys):
    (folder / "models" / "plasmids.safetensors").unlink()
    assert main(["models"]) == 0
    assert capsys.readouterr().out == "no models come with this version\n"
    assert main(["info", "plasmids"]) == 2
    assert "those are none so far" in capsys.readouterr().err
