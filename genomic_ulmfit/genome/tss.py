"""Transcription (or gene) starts: EPDnew, BED, SGA, GFF3, GenBank and records in; 1-bp stranded `Interval` out.

docs/definitions.md shows each convention with an example.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import existing, open_text
from genomic_ulmfit.genome.aliases import read_aliases, rename
from genomic_ulmfit.genome.genes import guess_format, read_genes
from genomic_ulmfit.genome.intervals import (
    Interval,
    bed_rows,
    parse_bed_row,
    read_intervals,
)

__all__ = ["read_genes", "read_tss"]

_log = logging.getLogger(__name__)
_FORMATS = ("epdnew", "bed", "sga", "gff3", "genbank")


def read_tss(
    source: Any,
    *,
    format: str | None = None,
    feature: str = "CDS",
    aliases: Mapping[str, str] | str | Path | None = None,
) -> list[Interval]:
    """Read transcription starts, or the starts of other features.

    Parameters
    ----------
    source : str, Path, SeqRecord, iterable of SeqRecord, or what `read_intervals` takes
        Files may be gzipped. Tables and intervals follow the convention of "bed", records that of "genbank".
    format : {"epdnew", "bed", "sga", "gff3", "genbank"}, optional
        The convention; told by content if not given, and logged.

        - "epdnew": BED whose rows are 60-bp boxes, -49 to +10 around the TSS, with thick columns. The TSS (0-based) is
          ``thickStart`` on "+" and ``thickEnd - 1`` on "-".
        - "bed": the first base along the strand: ``start`` on "+", ``end - 1`` on "-".
        - "sga": sequence, feature, 1-based position, strand, count, and perhaps a name.
        - "gff3", "genbank": the first base along the strand of the features of type `feature`, as `read_genes` gives
          them.
    feature : str
        The type of feature in GFF3, GenBank and records. The default, "CDS", gives the first base of start codons: a
        gene start, not a TSS. For those, name "TSS", "mRNA" or "gene", whichever the annotation puts at the TSS.
    aliases : mapping of str to str, str or Path, optional
        Chromosome names to replace: ``{"chr20": "20"}``, or a file with two columns.

    Returns
    -------
    list of Interval
        1 bp each, strand "+" or "-", names kept, in the order of the source, duplicates too.

    Raises
    ------
    FileFormatError
        If a row is malformed or without strand (with the line number), if the rows follow two conventions, or if there
        is no feature of that type with a known 5' end.
    ValueError
        If `format` is none of the five.

    Examples
    --------
    >>> [tss.id for tss in read_tss([Interval("chr1", 5, 90, strand="+"), Interval("chr1", 5, 90, strand="-")])]
    ['chr1:5-6(+)', 'chr1:89-90(-)']
    """
    if format is not None and format not in _FORMATS:
        raise ValueError(f"format must be one of {', '.join(_FORMATS)}, got {format!r}")
    if not isinstance(source, str | Path):
        return _from_memory(source, feature, aliases)
    path = existing(source)
    kind = format or guess_format(path)
    if kind in ("gff3", "genbank"):
        starts = [_first_base(gene) for gene in read_genes(path, format=kind, feature=feature, aliases=aliases)]
    elif kind == "sga":
        starts = rename(_from_sga(path), read_aliases(aliases))
    else:
        kind, starts = _from_bed(path, format)
        starts = rename(starts, read_aliases(aliases))
    _log.info("%s: read as %s, %d starts", path, kind, len(starts))
    return starts


def _from_memory(source: Any, feature: str, aliases: Mapping[str, str] | str | Path | None) -> list[Interval]:
    if isinstance(source, SeqRecord):
        return _from_memory([source], feature, aliases)
    if not (hasattr(source, "columns") or hasattr(source, "df") or hasattr(source, "intervals")):
        source = list(source)
        if source and isinstance(source[0], SeqRecord):
            return [_first_base(gene) for gene in read_genes(source, feature=feature, aliases=aliases)]
    intervals = read_intervals(source, aliases=aliases)
    for row, interval in enumerate(intervals):
        if interval.strand == "." or not interval.length:
            raise FileFormatError("intervals", f"row {row}: a TSS needs a strand and a base, got {interval.id}")
    return [_first_base(interval) for interval in intervals]


def _first_base(interval: Interval) -> Interval:
    return interval._replace(start=interval.first, end=interval.first + 1)


def _from_bed(path: Path, format: str | None) -> tuple[str, list[Interval]]:
    """Read BED rows by EPDnew's convention where all of them are its boxes."""
    rows = [(line, fields, _stranded(path, line, fields)) for line, fields in bed_rows(path)]
    if not rows:
        raise FileFormatError(path, "has no rows")
    boxes = [_is_epdnew_box(fields, interval) for _, fields, interval in rows]
    if format is None and any(boxes) and not all(boxes):
        message = f"{sum(boxes)} rows are EPDnew's 60-bp boxes and this one is not; name the format, 'epdnew' or 'bed'"
        raise FileFormatError(path, message, line=rows[boxes.index(False)][0])
    kind = format or ("epdnew" if all(boxes) else "bed")
    if kind == "bed":
        return kind, [_first_base(interval) for _, _, interval in rows]
    return kind, [_thick_tss(path, line, fields, interval) for line, fields, interval in rows]


def _stranded(path: Path, line: int, fields: list[str]) -> Interval:
    interval = parse_bed_row(path, line, fields)
    if interval.strand == ".":
        raise FileFormatError(path, "a TSS needs a strand, '+' or '-', in the sixth column", line=line)
    if not interval.length:
        raise FileFormatError(path, "a TSS needs a base, the interval has length zero", line=line)
    return interval


def _is_epdnew_box(fields: list[str], interval: Interval) -> bool:
    """Tell a box of -49 to +10 whose thick part goes from the TSS to the downstream end."""
    start, end = interval.start, interval.end
    thick = (start + 49, end) if interval.strand == "+" else (start, start + 11)
    return interval.length == 60 and fields[6:8] == [str(thick[0]), str(thick[1])]


def _thick_tss(path: Path, line: int, fields: list[str], interval: Interval) -> Interval:
    if len(fields) < 8 or not (fields[6].isdecimal() and fields[7].isdecimal()):
        raise FileFormatError(path, "an EPDnew row needs integers in columns 7 and 8, the thick part", line=line)
    tss = int(fields[6]) if interval.strand == "+" else int(fields[7]) - 1
    if not interval.start <= tss < interval.end:
        raise FileFormatError(path, f"the thick part puts the TSS at {tss} (0-based), outside the row", line=line)
    return interval._replace(start=tss, end=tss + 1)


def _from_sga(path: Path) -> list[Interval]:
    with open_text(path) as handle:
        rows = [(number, line) for number, line in enumerate(handle, 1) if line.strip() and not line.startswith("#")]
    if not rows:
        raise FileFormatError(path, "has no rows")
    return list(_sga_starts(path, rows))


def _sga_starts(path: Path, rows: list[tuple[int, str]]) -> Iterator[Interval]:
    for number, line in rows:
        fields = line.split()
        if len(fields) < 5:
            message = f"an SGA row needs sequence, feature, position, strand and count, got {len(fields)} columns"
            raise FileFormatError(path, message, line=number)
        chrom, _, position, strand, _, *more = fields
        if not position.isdecimal() or int(position) < 1:
            raise FileFormatError(path, f"the position is 1-based, got {position!r}", line=number)
        if strand not in ("+", "-"):
            raise FileFormatError(path, f"a TSS needs a strand, '+' or '-', got {strand!r}", line=number)
        yield Interval(chrom, int(position) - 1, int(position), more[0] if more else ".", 0.0, strand)
