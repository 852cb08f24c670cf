"""The models that come with the package: names in, models out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

from genomic_ulmfit.columns import aligned
from genomic_ulmfit.errors import ModelFileError
from genomic_ulmfit.net import checkpoint
from genomic_ulmfit.net.awd_lstm import Classifier, LanguageModel
from genomic_ulmfit.net.ensemble import AnyClassifier, Ensemble

__all__ = ["ShippedModel", "load", "models_table", "shipped_models"]

_FOLDER = Path(__file__).parent / "models"
_Kind = TypeVar("_Kind", LanguageModel, Classifier, Ensemble)


class ShippedModel(NamedTuple):
    """A model that comes with the package, as its file's header describes it.

    Attributes
    ----------
    name : str
        What `load` knows it by.
    path : Path
        Its file.
    header : dict
        All of the model but its weights; ``header["card"]["summary"]`` says what it learnt.
    """

    name: str
    path: Path
    header: dict[str, Any]


@overload
def load(source: str | Path, kind: None = None) -> LanguageModel | AnyClassifier: ...


@overload
def load(source: str | Path, kind: type[_Kind]) -> _Kind: ...


def load(source: str | Path, kind: type[Any] | None = None) -> Any:
    """Load a model of yours, or one that comes with the package.

    Parameters
    ----------
    source : str or Path
        A file made by `save`; or, where there is no such file, the name of a model that comes with the package, as
        `shipped_models` lists them.
    kind : type, optional
        `LanguageModel`, `Classifier` or `Ensemble`: any other is refused, and a type checker knows what comes out.

    Returns
    -------
    LanguageModel, Classifier or Ensemble
        In evaluation mode on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is neither such a file nor such a model.
    ModelFileError
        If the file is truncated or altered, is not a model of this package, is of a newer format, or of another kind.

    Examples
    --------
    >>> from genomic_ulmfit import AWDLSTMConfig, KmerVocab, LanguageModel, save
    >>> path = getfixture("tmp_path") / "lm.safetensors"
    >>> load(save(LanguageModel(KmerVocab(2), AWDLSTMConfig(n_embedding=4, n_hidden=4)), path)).vocab.k
    2
    """
    path = _file_of(source)
    model = checkpoint.load(path)
    if kind is not None and not isinstance(model, kind):
        raise ModelFileError(path, f"wanted a {kind.__name__}, got a {type(model).__name__}")
    return model


def _file_of(source: str | Path) -> Path:
    """Return the file of that name, or of the model of that name that comes with the package."""
    path = Path(source)
    if path.is_file() or len(path.parts) != 1:
        return path
    named = _FOLDER / f"{source}.safetensors"
    if not named.is_file() and not path.suffix and not path.exists():
        names = ", ".join(model.name for model in shipped_models()) or "none so far"
        raise FileNotFoundError(f"{source}: no such file, and no model that comes with the package; those are {names}")
    return named if named.is_file() else path


def shipped_models() -> list[ShippedModel]:
    """List the models that come with the package, by name; their weights are not read."""
    paths = sorted(_FOLDER.glob("*.safetensors"), key=lambda path: path.stem)
    return [ShippedModel(path.stem, path, checkpoint.header(path)) for path in paths]


def models_table() -> str:
    """Lay the models that come with the package out as a table for people."""
    found = shipped_models()
    if not found:
        return "no models come with this version"
    rows = [["name", "kind", "k / stride", "MB"]]
    for model in found:
        vocab, kind = model.header["vocab"], model.header["kind"].replace("_", " ")
        size = f"{model.path.stat().st_size / 1e6:.1f}"
        rows.append([model.name, kind, f"{vocab['k']} / {vocab['stride']}", size])
    learnt = ["what it learnt", *(model.header["card"].get("summary", "") for model in found)]
    return "\n".join(f"{line}  {what}" for line, what in zip(aligned(rows), learnt, strict=True))
