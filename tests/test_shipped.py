from pathlib import Path

import pytest
from safetensors.torch import load_file

import genomic_ulmfit as gu
from genomic_ulmfit import shipped
from genomic_ulmfit.cli import main

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
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


def test_a_model_of_another_kind_is_refused(folder):
    assert gu.load("plasmids", gu.LanguageModel).vocab == gu.KmerVocab(4, 2)
    with pytest.raises(
        gu.errors.ModelFileError, match=r"plasmids\.safetensors: wanted a Classifier, got a LanguageModel"
    ):
        gu.load("plasmids", gu.Classifier)


def test_a_name_loads_the_model_that_ships(folder):
    assert gu.load("plasmids").vocab == gu.KmerVocab(4, 2)


def test_a_folder_of_that_name_hides_no_model(folder):
    Path("plasmids").mkdir()
    assert gu.load("plasmids").vocab == gu.KmerVocab(4, 2)
    Path("others").mkdir()
    with pytest.raises(IsADirectoryError, match="others is a folder"):
        gu.load("others")


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


SHIPPED = shipped.shipped_models()
FIELDS = {"name", "summary", "intended_use", "not_for", "data", "licence", "citation", "version", "hardware", "stages"}


def test_what_ships_is_under_forty_megabytes():
    names = {
        "bacteria-small",
        "bacteria-small-backward",
        "bacteria-medium",
        "ecoli-gene-start",
        "ecoli-gene-start-masked",
        "human-small",
        "human-small-backward",
    }
    assert {model.name for model in SHIPPED} == names
    assert sum(model.path.stat().st_size for model in SHIPPED) < 40e6


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.name)
def test_each_that_ships_is_whole_and_has_a_card_under_its_name(model):
    card = gu.load(model.name).card
    assert card["name"] == model.name
    assert set(card) >= FIELDS
    assert card["stages"][0]["stage"] == "pretrain"
    assert all(len(sequence["sha256"]) == 64 for sequence in card["stages"][0]["sequences"])


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.name)
def test_each_that_ships_is_stored_in_16_bits(model):
    assert {str(tensor.dtype) for tensor in load_file(model.path).values() if tensor.ndim > 1} == {"torch.float16"}


CLASSIFIERS = [model for model in SHIPPED if model.header["kind"] == "classifier"]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: model.name)
def test_each_classifier_that_ships_has_figures_on_splits_beside_baselines_and_is_calibrated(model):
    card = model.header["card"]
    assert card["stages"][-1]["stage"] == "calibrate"
    assert "homology" in card["evaluation"]
    for found in card["evaluation"].values():
        low, high = found["intervals"]["mcc"]
        assert low < found["mcc"] < high
        assert {"gc", "kmer", "pwm", "position"} <= set(found["baselines"])
        assert len(found["calibration_error"]) == 3


def test_nothing_the_demo_holds_out_was_read_by_the_language_models():
    genome = gu.Genome(FIXTURES / "NC_000913.3.fasta.gz")
    held_out = {r.region for r in gu.split_genome(genome.chrom_sizes, "region") if r.name != "train"}
    for model in SHIPPED:
        if model.name.startswith(("bacteria", "ecoli")):
            stage = model.header["card"]["stages"][0]
            assert set(stage["excluded"]) == held_out
            assert stage["excluded_similar"]["bp"] == sum(gu.Interval.from_region(r).length for r in held_out)


def test_the_shipped_classifier_gives_the_figure_of_its_card():
    """On a slice of the test stretch, as its card's figures were computed on all of it."""
    records = gu.promoter_dataset(
        gu.Genome(FIXTURES / "NC_000913.3.gbk.gz"),
        gu.read_tss(FIXTURES / "NC_000913.3.gbk.gz", feature="CDS"),
        upstream=100,
        downstream=50,
        negatives="random",
        split=gu.split_genome({"NC_000913.3": 4641652}, "region"),
        label="gene_start",
    )
    model = gu.load("ecoli-gene-start")
    found = gu.evaluate(model, records, baselines=False, bootstraps=1)
    told = model.card["evaluation"]["region"]
    assert found.n == told["n"]
    assert found.mcc == pytest.approx(told["mcc"], abs=0.01)
