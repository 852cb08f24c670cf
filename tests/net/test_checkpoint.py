import json
from pathlib import Path

import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from safetensors.torch import save_file

from genomic_ulmfit.errors import ModelFileError, SettingError
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.checkpoint import FORMAT_VERSION, describe, load, save
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.predict import predict_proba

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"
VOCAB = KmerVocab(k=3, stride=2)
TINY = AWDLSTMConfig(n_embedding=6, n_hidden=8, n_layers=2, pool="all")


@pytest.fixture(params=["language model", "classifier"])
def model(request):
    if request.param == "language model":
        return LanguageModel(VOCAB, TINY, {"stages": [{"seed": 3}]})
    return Classifier(VOCAB, TINY, ["background", "x", "y"], window=50, anchor=20, card={"note": "é"})


def test_what_is_saved_is_loaded(model, tmp_path):
    back = load(save(model, tmp_path / "m.safetensors"))
    assert type(back) is type(model)
    assert describe(back) == describe(model)
    assert not back.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    first, second = (save(model, tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_loading_leaves_the_global_generator_alone(model, tmp_path):
    save(model, tmp_path / "m")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load(tmp_path / "m")
    assert torch.equal(torch.rand(1), expected)


def test_a_truncated_file_is_refused(model, tmp_path):
    path = save(model, tmp_path / "m")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="not a whole safetensors file"):
        load(path)


def test_what_is_not_safetensors_is_refused(tmp_path):
    (tmp_path / "m").write_text(">chr1\nACGT\n")
    with pytest.raises(ModelFileError, match="not a whole safetensors file"):
        load(tmp_path / "m")


def test_another_program_s_safetensors_is_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "m")
    with pytest.raises(ModelFileError, match="not a model of genomic_ulmfit"):
        load(tmp_path / "m")


@pytest.mark.parametrize("header", ["{", "[]", "{}", '{"format_version": "new"}'])
def test_a_damaged_header_is_refused(model, tmp_path, header):
    save_file(dict(model.state_dict()), tmp_path / "m", metadata={"genomic_ulmfit": header})
    with pytest.raises(ModelFileError, match="header is damaged"):
        load(tmp_path / "m")


def test_a_newer_format_is_refused(model, tmp_path):
    header = describe(model) | {"format_version": FORMAT_VERSION + 1}
    save_file(dict(model.state_dict()), tmp_path / "m", metadata={"genomic_ulmfit": json.dumps(header)})
    with pytest.raises(ModelFileError, match="install a newer"):
        load(tmp_path / "m")


def test_an_altered_weight_is_refused(model, tmp_path):
    path = save(model, tmp_path / "m")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="altered"):
        load(path)


def test_an_altered_header_is_refused(model, tmp_path):
    path = save(model, tmp_path / "m")
    path.write_bytes(path.read_bytes().replace(b'\\"stride\\": 2', b'\\"stride\\": 1'))
    with pytest.raises(ModelFileError, match="altered"):
        load(path)


def test_a_file_of_the_first_format_is_read():
    model = load(FIXTURES / "model-format-1.safetensors")
    (row,) = predict_proba(model, [SeqRecord(Seq("ACGTTGCAAGTCCATGGACT"))])
    assert (model.classes, model.window, model.anchor) == (("background", "x"), 20, 10)
    assert row[1] == pytest.approx(0.3974442, abs=1e-6)


@pytest.mark.parametrize(("precision", "worst"), [("fp16", 2**-11), ("bf16", 2**-8)])
def test_sixteen_bits_halve_the_file_and_load_as_float32(precision, worst, tmp_path):
    model = LanguageModel(VOCAB, AWDLSTMConfig(n_embedding=30, n_hidden=64, n_layers=2))
    whole, half = save(model, tmp_path / "a"), save(model, tmp_path / "b", precision=precision)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    for ours, theirs in zip(load(half).parameters(), model.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() <= worst * theirs.abs().max()


def test_a_precision_that_is_none_is_refused(model, tmp_path):
    with pytest.raises(SettingError, match="fp32, fp16, bf16"):
        save(model, tmp_path / "m", precision="int8")


def test_a_header_that_does_not_fit_its_tensors_is_refused(model, tmp_path):
    header = describe(model) | {"format_version": 1, "vocab": {"k": 4, "stride": 2}}
    save_file(dict(model.state_dict()), tmp_path / "m", metadata={"genomic_ulmfit": json.dumps(header)})
    with pytest.raises(ModelFileError, match="don't describe a model"):
        load(tmp_path / "m")


def test_a_missing_file_and_a_missing_folder_are_told(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="folder"):
        save(model, tmp_path / "nowhere" / "m")
    assert list(tmp_path.iterdir()) == []
