"""Transcription (or gene) starts: files of many kinds, tables and records in; 1-bp stranded `Interval` out.

docs/definitions.md shows each convention with an example.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import existing, open_text
from genomic_ulmfit.genome.aliases import read_aliases, rename
from genomic_ulmfit.genome.formats import guess_format
from genomic_ulmfit.genome.genes import first_bases, read_genes
from genomic_ulmfit.genome.intervals import Interval, bed_rows, parse_bed_row, read_intervals
from genomic_ulmfit.genome.regulondb import read_promoter_set

if TYPE_CHECKING:
    from genomic_ulmfit.genome.sequences import Genome

__all__ = ["read_genes", "read_tss"]

_log = logging.getLogger(__name__)
_FORMATS = ("epdnew", "bed", "narrowpeak", "sga", "gff3", "gtf", "genbank", "regulondb")
_BOX, _BEFORE = 60, 49  # bp of an EPDnew row, and of it before the TSS
_Rows = list[tuple[int, list[str], Interval]]


def read_tss(
    source: Any,
    *,
    format: str | None = None,
    feature: str | None = None,
    aliases: Mapping[str, str] | str | Path | None = None,
    genome: Genome | None = None,
) -> list[Interval]:
    """Read transcription starts, or the starts of other features.

    Parameters
    ----------
    source : str, Path, SeqRecord, iterable of SeqRecord, or what `read_intervals` takes
        Files may be gzipped. Tables and intervals follow the convention of "bed", or of "epdnew" if `format` says so;
        records that of "genbank".
    format : {"epdnew", "bed", "narrowpeak", "sga", "gff3", "gtf", "genbank", "regulondb"}, optional
        The convention; told by content if not given, and logged.

        - "epdnew": BED, or UCSC's table epdNewPromoter, whose rows are 60-bp boxes, -49 to +10 around the TSS, with
          thick columns. The TSS (0-based) is ``thickStart`` on "+" and ``thickEnd - 1`` on "-".
        - "bed": the first base along the strand: ``start`` on "+", ``end - 1`` on "-".
        - "narrowpeak": the summit, ``start`` + the tenth column, on either strand.
        - "sga": sequence, feature, 1-based position, strand, count, and perhaps a name.
        - "gff3", "gtf", "genbank": the first base along the strand of the features of type `feature`, as `read_genes`
          gives them.
        - "regulondb": a PromoterSet, 1-based, on NC_000913.3. It prints the sequence around each TSS: with `genome`,
          starts are moved by one base where that makes it fit, and left out where it fits at neither.
    feature : str, optional
        The type of feature in GFF3, GTF, GenBank and records. The default, "CDS", gives the first base of start codons:
        a gene start, not a TSS. For those, name "TSS", "mRNA", "transcript" or "gene", whichever the annotation puts at
        the TSS. In "regulondb" it is a sigma factor, "sigma70"; the default takes all. It means nothing elsewhere.
    aliases : mapping of str to str, str or Path, optional
        Chromosome names to replace: ``{"chr20": "20"}``, or a file with two columns.
    genome : Genome, optional
        The genome that printed sequences are checked against, and whose names rows of spellings in `aliases` mean.

    Returns
    -------
    list of Interval
        1 bp each, strand "+" or "-", names kept, in the order of the source, duplicates too.

    Notes
    -----
    What has no start is left out, and its number is logged: features whose 5' end is not known, peaks without summit
    (-1), promoters without position.

    Raises
    ------
    FileFormatError
        If a row is malformed or without strand (with the line number), if the rows follow two conventions, or if no
        start is left.
    ValueError
        If `format` is none of the above, or not one for the source.

    Examples
    --------
    >>> [tss.id for tss in read_tss([Interval("chr1", 5, 90, strand="+"), Interval("chr1", 5, 90, strand="-")])]
    ['chr1:5-6(+)', 'chr1:89-90(-)']
    """
    if format is not None and format not in _FORMATS:
        raise ValueError(f"format must be one of {', '.join(_FORMATS)}, got {format!r}")
    names = read_aliases(aliases, known=genome.chrom_sizes if genome else None)
    if not isinstance(source, str | Path):
        return _from_memory(source, format, feature or "CDS", names)
    kind, starts = _from_file(existing(source), format, feature, names, genome)
    _log.info("%s: read as %s, %d starts", source, kind, len(starts))
    return starts


def _from_file(
    path: Path, format: str | None, feature: str | None, aliases: Mapping[str, str], genome: Genome | None
) -> tuple[str, list[Interval]]:
    kind = format or guess_format(path)
    if kind in ("gff3", "gtf", "genbank"):
        return kind, first_bases(path, format=kind, feature=feature or "CDS", aliases=aliases)
    if kind == "regulondb":
        return kind, read_promoter_set(path, sigma=feature, aliases=aliases, genome=genome)
    if kind == "sga":
        return kind, rename(_from_sga(path), aliases)
    kind, starts = _from_bed(path, format)
    return kind, rename(starts, aliases)


def _from_memory(source: Any, format: str | None, feature: str, aliases: Mapping[str, str]) -> list[Interval]:
    is_table = hasattr(source, "columns") or hasattr(source, "df") or hasattr(source, "intervals")
    source = source if is_table else [source] if isinstance(source, SeqRecord | Interval) else list(source)
    if not is_table and source and isinstance(source[0], SeqRecord):
        return first_bases(source, feature=feature, aliases=aliases)
    return _from_intervals(read_intervals(source, aliases=aliases), format)


def _from_intervals(intervals: list[Interval], format: str | None) -> list[Interval]:
    if format not in (None, "bed", "epdnew"):
        raise ValueError(f"tables and intervals are read as 'bed' or 'epdnew', got format {format!r}")
    for row, interval in enumerate(intervals):
        if interval.strand == "." or not interval.length:
            raise FileFormatError("intervals", f"row {row}: a TSS needs a strand and a base, got {interval.id}")
        if format == "epdnew" and interval.length != _BOX:
            raise FileFormatError("intervals", f"row {row}: EPDnew's boxes are {_BOX} bp long, got {interval.id}")
    if format == "epdnew":
        return [interval.window(-_BEFORE, _BEFORE + 1) for interval in intervals]
    if format is None and intervals and all(interval.length == _BOX for interval in intervals):
        _log.warning("all intervals are %d bp long: if they are EPDnew's boxes, pass format='epdnew'", _BOX)
    return [_first_base(interval) for interval in intervals]


def _first_base(interval: Interval) -> Interval:
    return interval.window(0, 1)


# BED ------------------------------------------------------------------------------------------------------------------


def _from_bed(path: Path, format: str | None) -> tuple[str, list[Interval]]:
    rows = [(line, fields, _stranded(path, line, fields)) for line, fields in bed_rows(path)]
    if not rows:
        raise FileFormatError(path, "has no rows")
    kind = format or _bed_kind(path, rows)
    if kind == "bed":
        return kind, [_first_base(interval) for _, _, interval in rows]
    if kind == "narrowpeak":
        return kind, _summits(path, rows)
    return kind, [_thick_tss(path, line, fields, interval) for line, fields, interval in rows]


def _bed_kind(path: Path, rows: _Rows) -> str:
    """Tell the convention that all rows follow."""
    boxes = [_is_epdnew_box(fields, interval) for _, fields, interval in rows]
    if any(boxes) and not all(boxes):
        message = f"{sum(boxes)} rows are EPDnew's 60-bp boxes and this one is not; name the format, 'epdnew' or 'bed'"
        raise FileFormatError(path, message, line=rows[boxes.index(False)][0])
    if all(boxes):
        return "epdnew"
    return "narrowpeak" if all(_is_narrow_peak(fields, interval) for _, fields, interval in rows) else "bed"


def _stranded(path: Path, line: int, fields: list[str]) -> Interval:
    interval = parse_bed_row(path, line, fields)
    if interval.strand == ".":
        message = (
            "a TSS needs a strand, '+' or '-', in the sixth column; peaks without one say nothing of where it lies"
        )
        raise FileFormatError(path, message, line=line)
    if not interval.length:
        raise FileFormatError(path, "a TSS needs a base, the interval has length zero", line=line)
    return interval


def _is_epdnew_box(fields: list[str], interval: Interval) -> bool:
    """Tell a box of -49 to +10 whose thick part goes from the TSS to the downstream end."""
    start, end = interval.start, interval.end
    thick = (start + _BEFORE, end) if interval.strand == "+" else (start, end - _BEFORE)
    return interval.length == _BOX and fields[6:8] == [str(thick[0]), str(thick[1])]


def _is_narrow_peak(fields: list[str], interval: Interval) -> bool:
    """Tell ten columns, of which 7 to 9 are numbers and no thick part, and the tenth is a place in the row or -1."""
    if len(fields) != 10 or not all(map(_is_number, fields[6:9])) or not _is_summit(fields[9], interval):
        return False
    thick = [int(field) if field.isdecimal() else -1 for field in fields[6:8]]
    return not interval.start <= thick[0] <= thick[1] <= interval.end


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_summit(text: str, interval: Interval) -> bool:
    return text == "-1" or (text.isdecimal() and int(text) < interval.length)


def _summits(path: Path, rows: _Rows) -> list[Interval]:
    """Leave out peaks without summit: the peak caller says that it does not know where in the row it lies."""
    starts = []
    for line, fields, interval in rows:
        if len(fields) < 10 or not _is_summit(fields[9], interval):
            got = repr(fields[9]) if len(fields) > 9 else f"{len(fields)} columns"
            message = f"narrowPeak has the summit in column 10, 0-based from the start and inside, or -1; got {got}"
            raise FileFormatError(path, message, line=line)
        if fields[9] != "-1":
            summit = interval.start + int(fields[9])
            starts.append(interval._replace(start=summit, end=summit + 1))
    if len(starts) < len(rows):
        _log.warning("%s: left out %d peaks without summit", path, len(rows) - len(starts))
    if not starts:
        raise FileFormatError(path, f"none of its {len(rows)} peaks has a summit; format='bed' takes their first base")
    return starts


def _thick_tss(path: Path, line: int, fields: list[str], interval: Interval) -> Interval:
    if len(fields) < 8 or not (fields[6].isdecimal() and fields[7].isdecimal()):
        raise FileFormatError(path, "an EPDnew row needs integers in columns 7 and 8, the thick part", line=line)
    tss = int(fields[6]) if interval.strand == "+" else int(fields[7]) - 1
    if not interval.start <= tss < interval.end:
        raise FileFormatError(path, f"the thick part puts the TSS at {tss} (0-based), outside the row", line=line)
    return interval._replace(start=tss, end=tss + 1)


# SGA ------------------------------------------------------------------------------------------------------------------


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
