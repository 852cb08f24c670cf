"""What the readers of annotations have in common: the parts of features, 0-based half-open, from 5' to 3'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["Annotation", "Part", "first_of"]


class Part(NamedTuple):
    """One stretch of one feature."""

    type: str
    chrom: str
    start: int
    end: int
    strand: str
    name: str
    open_start: bool  # the annotation says that the feature goes on beyond this side
    open_end: bool


class Annotation(NamedTuple):
    """All features of a file, each as its parts from 5' to 3', and the lengths in bp of circular chromosomes."""

    features: list[list[Part]]
    circles: dict[str, int]


def first_of(values: Mapping[str, str], keys: Iterable[str]) -> str:
    """Return the first value there is, without blanks, or "."."""
    found = next((values[key] for key in keys if values.get(key)), ".")
    return "_".join(found.split()) or "."
