"""Genes and their parts out of GFF3 and GenBank files and records: 1-based in, stranded `Interval` out.

GFF3 has a reader of its own here, since those of PyRanges and pysam neither name the line of a fault nor join the rows
of one coding sequence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import existing, open_text
from genomic_ulmfit.genome.aliases import read_aliases, rename
from genomic_ulmfit.genome.intervals import Interval, is_header

if TYPE_CHECKING:
    from Bio.SeqFeature import SeqFeature

__all__ = ["guess_format", "read_genes"]

_log = logging.getLogger(__name__)
_TRANSCRIPTS = {"mRNA", "transcript"}
_GFF_NAMES = ("gene", "Name", "locus_tag", "ID", "Parent")
_GENBANK_NAMES = ("gene", "locus_tag", "protein_id", "label")


def read_genes(
    source: Any,
    *,
    format: str | None = None,
    feature: str = "CDS",
    aliases: Mapping[str, str] | str | Path | None = None,
) -> list[Interval]:
    """Read the extents of genes, or of other features, on their strands.

    Parameters
    ----------
    source : str, Path, SeqRecord or iterable of SeqRecord
        A GFF3 or GenBank file, plain or gzipped, or records with features.
    format : {"gff3", "genbank"}, optional
        Told by content if not given.
    feature : str
        The type of feature: "CDS" (from start to stop codon), "gene", "mRNA", "TSS", ...
    aliases : mapping of str to str, str or Path, optional
        Chromosome names to replace: ``{"NC_000913.3": "chr"}``, or a file with two columns.

    Returns
    -------
    list of Interval
        In the order of the source, 0-based half-open, strand "+" or "-". The first base along the strand is the
        feature's true 5' end. The parts of a joined location, or the GFF3 rows of one coding sequence, make one
        interval from the first to the last, introns included; of a feature that crosses the origin of a circular
        genome it is the part before the crossing.

    Notes
    -----
    Features are left out, and their number is logged, where the strand is not known or the 5' end lies somewhere beyond
    what is annotated (``<`` or ``>`` in GenBank, ``start_range`` or ``end_range`` in GFF3).

    GFF3 rows of a CDS belong together where they have the same transcript as Parent, or else the same ID.

    Raises
    ------
    FileFormatError
        If the file is not what its format says (with the line number for GFF3), or has no such feature with a known
        start: the types that it has are shown.

    Examples
    --------
    >>> from Bio.Seq import Seq
    >>> from Bio.SeqFeature import SeqFeature, SimpleLocation
    >>> from Bio.SeqRecord import SeqRecord
    >>> lac = SeqFeature(SimpleLocation(10, 40, strand=-1), type="CDS", qualifiers={"gene": ["lacZ"]})
    >>> read_genes(SeqRecord(Seq("A" * 50), id="chr", features=[lac]))
    [Interval(chrom='chr', start=10, end=40, name='lacZ', score=0.0, strand='-')]
    """
    if not isinstance(source, str | Path):
        return _finish(_from_records(source), "records", feature, aliases)
    path = existing(source)
    kind = format or guess_format(path)
    if kind == "gff3":
        return _finish(_from_gff3(path), path, feature, aliases)
    if kind == "genbank":
        return _finish(_from_records(_genbank_records(path)), path, feature, aliases)
    raise FileFormatError(path, f"genes are read from gff3 or genbank, not from {kind!r}")


class _Part(NamedTuple):
    """One stretch of one feature."""

    key: tuple[str, ...]
    type: str
    chrom: str
    start: int
    end: int
    strand: str
    name: str
    open_start: bool  # the annotation says that the feature goes on beyond this side
    open_end: bool


def guess_format(path: Path) -> str:
    """Tell "gff3", "genbank", "sga" and "bed" by the first row that is no comment."""
    with open_text(path) as handle:
        for line in handle:
            if line.startswith("##gff-version"):
                return "gff3"
            fields = line.split()
            if not fields or line.startswith(("#", "track", "browser")):
                continue
            if fields[0] == "LOCUS":
                return "genbank"
            if is_header(line):
                return "bed"
            if len(fields) > 4 and fields[2].isdecimal() and fields[3] in ("+", "-", "0") and not fields[1].isdecimal():
                return "sga"
            return "gff3" if len(line.split("\t")) in (8, 9) and not fields[1].isdecimal() else "bed"
    raise FileFormatError(path, "has no rows")


# GFF3 -----------------------------------------------------------------------------------------------------------------


def _from_gff3(path: Path) -> list[list[_Part]]:
    rows = list(_gff3_rows(path))
    transcripts = {attributes["ID"] for part, attributes in rows if part.type in _TRANSCRIPTS and "ID" in attributes}
    grouped: dict[tuple[str, ...], list[_Part]] = {}
    for part, attributes in rows:
        for key in _keys(part, attributes, transcripts):
            grouped.setdefault(key, []).append(part)
    return [_along_strand(parts) for parts in grouped.values()]


def _keys(part: _Part, attributes: dict[str, str], transcripts: set[str]) -> list[tuple[str, ...]]:
    """Return what a row belongs to: rows of one coding sequence share a key, other rows stand alone."""
    if part.type != "CDS":
        return [part.key]
    parents = [parent for parent in attributes.get("Parent", "").split(",") if parent]
    if any(parent in transcripts for parent in parents):
        return [("CDS", part.chrom, "of", parent) for parent in parents]
    if "ID" in attributes:
        return [("CDS", part.chrom, "id", attributes["ID"])]
    return [("CDS", part.chrom, "of", parent) for parent in parents] or [part.key]


def _along_strand(parts: list[_Part]) -> list[_Part]:
    return sorted(parts, key=lambda part: -part.end if part.strand == "-" else part.start)


def _gff3_rows(path: Path) -> Iterator[tuple[_Part, dict[str, str]]]:
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            line = line.rstrip("\r\n")
            if line.startswith("##FASTA") or line.startswith(">"):
                return
            if line.strip() and not line.startswith("#"):
                yield _gff3_row(path, number, line)


def _gff3_row(path: Path, number: int, line: str) -> tuple[_Part, dict[str, str]]:
    fields = line.split("\t")
    if len(fields) != 9:
        raise FileFormatError(path, f"a GFF3 row has 9 columns separated by tabs, got {len(fields)}", line=number)
    chrom, _, kind, start, end, _, strand, _, text = fields
    if not (start.isdecimal() and end.isdecimal() and 1 <= int(start) <= int(end)):
        message = f"wanted integers 1 <= start <= end, got start {start!r} and end {end!r}"
        raise FileFormatError(path, message, line=number)
    if strand not in ("+", "-", ".", "?"):
        raise FileFormatError(path, f"the strand must be '+', '-', '.' or '?', got {strand!r}", line=number)
    attributes = _attributes(path, number, text)
    part = _Part(
        (str(number),),
        kind,
        unquote(chrom),
        int(start) - 1,
        int(end),
        strand,
        _first_of(attributes, _GFF_NAMES),
        attributes.get("start_range", "").startswith("."),
        attributes.get("end_range", "").endswith("."),
    )
    return part, attributes


def _attributes(path: Path, number: int, text: str) -> dict[str, str]:
    """Split before unquoting, since the separators may be quoted."""
    attributes = {}
    for pair in text.split(";"):
        key, mark, value = pair.strip().partition("=")
        if mark:
            attributes[unquote(key)] = unquote(value)
        elif key not in ("", "."):
            message = f"a GFF3 attribute reads KEY=VALUE, got {key[:40]!r} (GTF and GFF2 files are not read)"
            raise FileFormatError(path, message, line=number)
    return attributes


def _first_of(values: Mapping[str, str], keys: Iterable[str]) -> str:
    found = next((values[key] for key in keys if values.get(key)), ".")
    return "_".join(found.split()) or "."


# GenBank --------------------------------------------------------------------------------------------------------------


def _genbank_records(path: Path) -> Iterator[SeqRecord]:
    from Bio import SeqIO

    with open_text(path) as handle:
        try:
            yield from SeqIO.parse(handle, "genbank")
        except ValueError as error:
            raise FileFormatError(path, f"not a whole GenBank file ({error})") from error


def _from_records(source: Any) -> Iterator[list[_Part]]:
    for record in [source] if isinstance(source, SeqRecord) else source:
        if not isinstance(record, SeqRecord):
            raise TypeError(f"wanted a SeqRecord, got {record!r}")
        for feature in record.features:
            if feature.location is not None:
                yield _feature_parts(str(record.id), feature)


def _feature_parts(chrom: str, feature: SeqFeature) -> list[_Part]:
    """Return the parts of a location from 5' to 3', as Biopython orders them."""
    name = _first_of({key: values[0] for key, values in feature.qualifiers.items() if values}, _GENBANK_NAMES)
    parts = []
    for part in feature.location.parts:
        if part.ref is None:  # a part that lies on another record says nothing here
            start, end = _position(part.start), _position(part.end)
            strand = {1: "+", -1: "-"}.get(part.strand, ".")
            known = start is not None and end is not None
            open_start, open_end = not (known and _is_exact(part.start)), not (known and _is_exact(part.end))
            parts.append(_Part((), feature.type, chrom, start or 0, end or 0, strand, name, open_start, open_end))
    return parts


def _position(position: Any) -> int | None:
    from Bio.SeqFeature import UnknownPosition

    return None if isinstance(position, UnknownPosition) else int(position)


def _is_exact(position: Any) -> bool:
    from Bio.SeqFeature import ExactPosition

    return isinstance(position, ExactPosition)


# Both -----------------------------------------------------------------------------------------------------------------


def _finish(
    features: Iterable[list[_Part]], source: str | Path, feature: str, aliases: Mapping[str, str] | str | Path | None
) -> list[Interval]:
    names = read_aliases(aliases)
    counts: dict[str, int] = {}
    genes, dropped = [], 0
    for parts in features:
        kind = parts[0].type if parts else ""
        counts[kind] = counts.get(kind, 0) + 1
        if kind == feature:
            gene = _extent(parts)
            genes.extend([gene] if gene else [])
            dropped += gene is None
    if dropped:
        _log.warning("%s: left out %d %s features whose strand or 5' end is not known", source, dropped, feature)
    if not genes:
        has = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items(), key=lambda item: -item[1])[:8])
        known = f", of which the 5' end is known (all {dropped} are open there)" if dropped else ""
        raise FileFormatError(source, f"has no {feature} features{known}; it has {has or 'no features'}")
    _log.info("%s: took %d %s features", source, len(genes), feature)
    if feature == "CDS" and any(kind in counts for kind in _TRANSCRIPTS):
        _log.warning("%s: a CDS starts where translation does; it has mRNA features too, feature='mRNA'", source)
    return rename(genes, names)


def _extent(parts: list[_Part]) -> Interval | None:
    """Join what lies downstream of the 5' end on its strand: the rest lies behind the origin, or is trans-spliced."""
    first = parts[0]
    if first.strand == "+" and not first.open_start:
        end = max(p.end for p in parts if p.strand == "+" and p.start >= first.start)
        return Interval(first.chrom, first.start, end, first.name, strand="+")
    if first.strand == "-" and not first.open_end:
        start = min(p.start for p in parts if p.strand == "-" and p.end <= first.end)
        return Interval(first.chrom, start, first.end, first.name, strand="-")
    return None
