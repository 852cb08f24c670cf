"""genome + intervals -> SeqRecords -> k-mer ids -> language model -> classifier -> scored intervals -> tracks.

The names below are loaded when first asked for: torch only when a net is, fastai only when training starts. Coordinates
are 0-based half-open; `docs/definitions.md` has the conventions.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# A verb's file is never named like the verb: importing the file would put the module in the function's place here.
_HOMES = {
    "errors": ["GenomicUlmfitError"],
    "genome.intervals": ["Interval", "read_intervals"],
    "genome.sequences": ["Genome"],
    "genome.tss": ["read_tss"],
    "genome.genes": ["read_genes"],
    "genome.tracks": ["ScoreBlock", "write_track"],
    "genome.peaks": ["call_peaks"],
    "datasets.records": ["read_dataset", "write_dataset"],
    "datasets.splits": ["split_genome"],
    "datasets.promoters": ["promoter_dataset"],
    "net.kmers": ["KmerVocab"],
    "net.awd_lstm": ["AWDLSTMConfig", "Classifier", "LanguageModel"],
    "net.checkpoint": ["load", "save"],
    "training": ["finetune", "pretrain", "train_classifier"],
    "predict": ["predict_proba"],
    "evaluation": ["Evaluation", "evaluate"],
    "scanning": ["best_strand", "scan"],
    "perturbation": ["Saliency", "saliency", "saliency_track"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
