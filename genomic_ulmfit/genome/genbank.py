"""GenBank files and SeqRecords in; features as their parts, 0-based half-open, out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import open_text
from genomic_ulmfit.genome.features import Annotation, Part, first_of

if TYPE_CHECKING:
    from Bio.SeqFeature import SeqFeature

__all__ = ["genbank_records", "take_features"]

_NAMES = ("gene", "locus_tag", "protein_id", "label")


def genbank_records(path: Path) -> Iterator[SeqRecord]:
    """Yield the records of a GenBank file, plain or gzipped.

    Raises
    ------
    FileFormatError
        If it is none, or is cut off.
    """
    from Bio import SeqIO

    with open_text(path) as handle:
        try:
            yield from SeqIO.parse(handle, "genbank")
        except ValueError as error:
            raise FileFormatError(path, f"not a whole GenBank file ({error})") from error


def take_features(source: Any) -> Annotation:
    """Return the features of one SeqRecord or several.

    Raises
    ------
    TypeError
        If something else is among them.
    """
    features, circles = [], {}
    for record in [source] if isinstance(source, SeqRecord) else source:
        if not isinstance(record, SeqRecord):
            raise TypeError(f"wanted a SeqRecord, got {record!r}")
        if record.annotations.get("topology") == "circular":
            circles[str(record.id)] = len(record)
        features += [_parts(str(record.id), feature) for feature in record.features]
    return Annotation(features, circles)


def _parts(chrom: str, feature: SeqFeature) -> list[Part]:
    """Return the parts of a location from 5' to 3', as Biopython orders them; what lies elsewhere has no strand."""
    name = first_of({key: values[0] for key, values in feature.qualifiers.items() if values}, _NAMES)
    elsewhere = Part(feature.type, chrom, 0, 0, ".", name, True, True)
    if feature.location is None:
        return [elsewhere]
    parts = []
    for part in feature.location.parts:
        start, end = _position(part.start), _position(part.end)
        if start is None or end is None or part.ref is not None:
            parts.append(elsewhere)
        else:
            strand = {1: "+", -1: "-"}.get(part.strand, ".")
            open_start, open_end = not _is_exact(part.start), not _is_exact(part.end)
            parts.append(Part(feature.type, chrom, start, end, strand, name, open_start, open_end))
    return parts


def _position(position: Any) -> int | None:
    from Bio.SeqFeature import UnknownPosition

    return None if isinstance(position, UnknownPosition) else int(position)


def _is_exact(position: Any) -> bool:
    from Bio.SeqFeature import ExactPosition

    return isinstance(position, ExactPosition)
