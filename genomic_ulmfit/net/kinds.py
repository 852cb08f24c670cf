"""Which kind of model a verb wants: said at once, where the wrong one would fail on something inside."""

from __future__ import annotations

from pathlib import Path

from genomic_ulmfit.errors import ModelKindError
from genomic_ulmfit.net.awd_lstm import Classifier, LanguageModel
from genomic_ulmfit.net.ensemble import Ensemble

__all__ = ["require_classifier", "require_language_model"]


def require_classifier(model: object, *, single: bool = False) -> None:
    """Refuse what is neither a classifier nor, unless a `single` one is wanted, several as one.

    Raises
    ------
    ModelKindError
        If it is a language model, the name of a file, or anything else.
    """
    if single and isinstance(model, Ensemble):
        _refuse(model, "a single classifier", "give its members one by one, before they are joined")
    if not isinstance(model, Classifier | Ensemble):
        _refuse(model, "a classifier", "`train_classifier` makes one of a language model and labelled records")


def require_language_model(model: object) -> None:
    """Refuse what is no language model.

    Raises
    ------
    ModelKindError
        If it is a classifier, the name of a file, or anything else.
    """
    if not isinstance(model, LanguageModel):
        _refuse(model, "a language model", "`pretrain` makes one, and some come with the package")


def _refuse(model: object, wanted: str, otherwise: str) -> None:
    do = f"read it with `load({str(model)!r})`" if isinstance(model, str | Path) else otherwise
    raise ModelKindError(type(model).__name__, wanted, do)
