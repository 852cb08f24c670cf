"""A model in, its card for people out: what it is, what it is for, what it saw, and what it is worth.

A card is the dictionary ``model.card``. Training fills ``stages``, and ``made_from``, the name of the published model
that it began with, of which no other word goes over; who publishes a model adds what no program knows
(Mitchell et al. 2019, "Model Cards for Model Reporting"): the keys of `PUBLISHED`, and ``evaluation``, metrics on
held-out records by the name of the split, as `Evaluation.to_dict` gives them, with ``calibration_error`` (expected
calibration error, and its 95 % interval); of a language model ``held_out_bits_per_base``: the mean on sequence left out
with its 95 % interval, and that of rivals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import TextWrapper, indent
from typing import Any

from genomic_ulmfit.columns import aligned
from genomic_ulmfit.evaluation import table
from genomic_ulmfit.net.awd_lstm import Classifier, LanguageModel
from genomic_ulmfit.net.checkpoint import describe
from genomic_ulmfit.net.ensemble import AnyClassifier, Ensemble, members_of

__all__ = ["PUBLISHED", "card_text"]

PUBLISHED = {
    "intended_use": "for",
    "not_for": "not for",
    "data": "data",
    "licence": "licence",
    "citation": "cite",
    "version": "version",
    "hardware": "trained on",
}
"""Keys of a card that its publisher writes, each a sentence, and the name under which they are shown."""

_WIDTH = 118
_MOST_SEQUENCES = 100


def card_text(model: LanguageModel | AnyClassifier) -> str:
    """Say for people what a model is and what it saw.

    Parameters
    ----------
    model : LanguageModel, Classifier or Ensemble
        Its card is shown as far as it is filled.

    Returns
    -------
    str
        Lines of a name and a value, then the metrics of its card, then the sequences that it read.
    """
    if isinstance(model, Ensemble):
        members = members_of(model)
        parts = [f"member {i}\n{indent(card_text(member), '  ')}" for i, member in enumerate(members, start=1)]
        return "\n".join([f"ensemble of {len(members)} classifiers: the mean of their probabilities", *parts])
    card = model.card
    title = ": ".join(card[key] for key in ("name", "summary") if key in card)
    names = {"made_from": "made from"} | PUBLISHED
    facts = {shown: str(card[key]) for key, shown in names.items() if key in card} | _facts(model)
    blocks = [
        title,
        _paragraphs(facts),
        _bits(card.get("held_out_bits_per_base", {})),
        _worth(card.get("evaluation", {})),
        _read(card.get("stages", [])),
    ]
    return "\n\n".join(block for block in blocks if block)


def _facts(model: LanguageModel | Classifier) -> dict[str, str]:
    """Return what the net is, and a line for each stage of its training."""
    header = describe(model)
    facts = {
        "kind": header["kind"].replace("_", " "),
        "k-mers": f"k = {model.vocab.k}, stride = {model.vocab.stride} bp, read {model.vocab.direction}",
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "sizes": ", ".join(f"{name} {value}" for name, value in header["config"].items()),
    }
    if isinstance(model, Classifier):
        where = "" if model.anchor is None else f", anchor at index {model.anchor}"
        facts["classes"] = ", ".join(model.classes)
        facts["window"] = "records of several lengths" if model.window is None else f"{model.window} bp{where}"
    for stage in model.card.get("stages", []):
        facts[stage["stage"]] = ", ".join(f"{name} {_shown(value)}" for name, value in stage.items() if name != "stage")
    return facts


def _paragraphs(facts: Mapping[str, str]) -> str:
    """Lay names and values out, long values over several lines."""
    width = max(map(len, facts)) + 2
    layout = TextWrapper(_WIDTH, subsequent_indent=" " * width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(layout.fill(f"{name:<{width}}{value}") for name, value in facts.items())


def _bits(found: Mapping[str, Sequence[float]]) -> str:
    """Return the bits per base of sequence that was left out, the model's and its rivals'."""
    if not found:
        return ""
    rows = [[name, f"{mean:.3f}", " to ".join(f"{end:.3f}" for end in ends)] for name, (mean, *ends) in found.items()]
    return "\n".join(aligned([["bits per base of sequence left out", "mean", "95 %"], *rows]))


def _worth(evaluation: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the metrics on held-out records, baselines below, and how true the probabilities are."""
    if not evaluation:
        return ""
    lines = [table({f"{split} split, {found['n']:,} records": found for split, found in evaluation.items()})]
    for split, found in evaluation.items():
        if "calibration_error" in found:
            error, low, high = found["calibration_error"]
            lines.append(f"expected calibration error, {split} split: {error:.3f} ({low:.3f} to {high:.3f})")
    return "\n".join(lines)


def _read(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each sequence that the language model read."""
    sequences = [sequence for stage in stages for sequence in stage.get("sequences", [])]
    if not sequences:
        return ""
    checked = {name for stage in stages for name in stage.get("valid_sequences", [])}
    rows = [["sequence", "bp", "sha256", "of these cut out", "read for"]]
    for of in sequences[:_MOST_SEQUENCES]:
        cut = f"{of['similar_bp']:,} bp" if "similar_bp" in of else ""
        purpose = "validation" if of["id"] in checked else "training"
        rows.append([of["id"], f"{of['bp']:,}", of["sha256"][:12], cut, purpose])
    left = len(sequences) - _MOST_SEQUENCES
    return "\n".join([*aligned(rows), *([f"and {left:,} more: --json lists all"] if left > 0 else [])])


def _shown(value: Any) -> str:
    """Shorten a card's value to one phrase."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"({', '.join(f'{name}: {_shown(item)}' for name, item in value.items())})"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return f"{len(value)} {'listed below' if 'sha256' in value[0] else 'rows'}"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value[:5]))}{', ...' if len(value) > 5 else ''}]"
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
