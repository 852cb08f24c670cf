"""GFF3 and GTF: rows, 1-based, in; features as their parts, 0-based half-open, out.

There is a reader here since those of PyRanges and pysam neither name the line of a fault nor join the rows of one
coding sequence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from sys import intern
from typing import NamedTuple
from urllib.parse import unquote

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import open_text
from genomic_ulmfit.genome.features import Annotation, Part, first_of

__all__ = ["TRANSCRIPTS", "is_gtf", "read_gff"]

TRANSCRIPTS = ("mRNA", "transcript")
_KEPT = ("ID", "Parent", "transcript_id", "Is_circular")
_GFF3_NAMES = ("gene", "Name", "locus_tag", "ID", "Parent")
_GTF_NAMES = ("gene_name", "gene", "gene_id", "transcript_id")
_GTF_PAIR = re.compile(r'\s*(\w+)\s+(?:"([^"]*)"|([^\s;"]+))\s*(?:;|$)')
_START_NOT_FOUND = {"CDS": "cds_start_NF", "mRNA": "mRNA_start_NF", "transcript": "mRNA_start_NF"}


class _Row(NamedTuple):
    number: int
    part: Part
    attributes: dict[str, str]  # those of `_KEPT` alone: an annotation has millions of rows


def read_gff(path: Path, format: str) -> Annotation:
    """Read a GFF3 or GTF file, plain or gzipped.

    The rows of one coding sequence make one feature: in GFF3 those with the same transcript as Parent, or else the same
    ID; in GTF those with the same ``transcript_id``. So do the exons of a transcript in a GTF file without rows of
    type transcript. Every other row is a feature.

    Parameters
    ----------
    path : Path
        The file.
    format : {"gff3", "gtf"}
        How the ninth column is written.

    Returns
    -------
    Annotation
        A chromosome of GFF3 is circular where one of its rows says ``Is_circular=true``; that row spans it.

    Raises
    ------
    FileFormatError
        If a row is malformed, with its line number.
    """
    if format == "gff3":
        rows = list(_rows(path, _gff3_attributes))
        keys = _gff3_keys(rows)
    else:
        rows = _with_transcripts(list(_rows(path, _gtf_attributes)))
        keys = _gtf_keys(rows)
    grouped: dict[tuple[str, ...], list[Part]] = {}
    for row, found in zip(rows, keys, strict=True):
        for key in found:
            grouped.setdefault(key, []).append(row.part)
    circles = {row.part.chrom: row.part.end for row in rows if row.attributes.get("Is_circular") == "true"}
    features = [_along_strand(parts, circles.get(parts[0].chrom, 0)) for parts in grouped.values()]
    return Annotation(features, circles)


def is_gtf(attributes: str) -> bool:
    """Tell the ninth column of GTF from that of GFF3."""
    return re.match(r'\s*\w+\s+"[^"]*"\s*;', attributes) is not None


def _gff3_keys(rows: list[_Row]) -> Iterator[list[tuple[str, ...]]]:
    """Yield what each row belongs to: rows of one coding sequence share a key, other rows stand alone."""
    transcripts = {row.attributes.get("ID") for row in rows if row.part.type in TRANSCRIPTS}
    for row in rows:
        parents = [parent for parent in row.attributes.get("Parent", "").split(",") if parent]
        by_parent: list[tuple[str, ...]] = [("CDS", row.part.chrom, "of", parent) for parent in parents]
        if row.part.type != "CDS":
            yield [(str(row.number),)]
        elif "ID" in row.attributes and transcripts.isdisjoint(parents):
            yield [("CDS", row.part.chrom, "id", row.attributes["ID"])]
        else:
            yield by_parent or [(str(row.number),)]


def _gtf_keys(rows: list[_Row]) -> Iterator[list[tuple[str, ...]]]:
    for row in rows:
        transcript = row.attributes.get("transcript_id")
        is_part = row.part.type in ("CDS", "transcript") and transcript
        yield [(row.part.type, row.part.chrom, str(transcript)) if is_part else (str(row.number),)]


def _with_transcripts(rows: list[_Row]) -> list[_Row]:
    """Let exons be parts of transcripts where a GTF file has no rows of these, as older ones of UCSC."""
    if any(row.part.type in TRANSCRIPTS for row in rows):
        return rows
    return [row._replace(part=row.part._replace(type="transcript")) if row.part.type == "exon" else row for row in rows]


def _along_strand(parts: list[Part], size: int) -> list[Part]:
    """Order the parts from 5' to 3'; where they reach round a circle of `size` bp they start behind the widest gap."""
    parts = sorted(parts, key=lambda part: part.start)
    if len(parts) > 1 and size and (parts[0].start, parts[-1].end) == (0, size):
        gaps = [after.start - before.end for before, after in pairwise(parts)]
        cut = gaps.index(max(gaps)) + 1
        parts = parts[cut:] + parts[:cut]
    return parts[::-1] if any(part.strand == "-" for part in parts) else parts


def _rows(path: Path, parse: Callable[[Path, int, str], dict[str, str]]) -> Iterator[_Row]:
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            line = line.rstrip("\r\n")
            if line.startswith("##FASTA") or line.startswith(">"):
                return
            if line.strip() and not line.startswith("#"):
                yield _row(path, number, line, parse)


def _row(path: Path, number: int, line: str, parse: Callable[[Path, int, str], dict[str, str]]) -> _Row:
    fields = line.split("\t")
    if len(fields) != 9:
        message = f"a GFF3 or GTF row has 9 columns separated by tabs, got {len(fields)}"
        raise FileFormatError(path, message, line=number)
    chrom, _, kind, start, end, _, strand, _, text = fields
    if not (start.isdecimal() and end.isdecimal() and 1 <= int(start) <= int(end)):
        message = f"wanted integers 1 <= start <= end, got start {start!r} and end {end!r}"
        raise FileFormatError(path, message, line=number)
    if strand not in ("+", "-", ".", "?"):
        raise FileFormatError(path, f"the strand must be '+', '-', '.' or '?', got {strand!r}", line=number)
    attributes = parse(path, number, text)
    name = first_of(attributes, _GFF3_NAMES if parse is _gff3_attributes else _GTF_NAMES)
    cut = _START_NOT_FOUND.get(kind) in attributes.get("tag", "").split(",")
    open_start = (cut and strand == "+") or attributes.get("start_range", "").startswith(".")
    open_end = (cut and strand == "-") or attributes.get("end_range", "").endswith(".")
    part = Part(intern(kind), intern(unquote(chrom)), int(start) - 1, int(end), strand, name, open_start, open_end)
    return _Row(number, part, {key: attributes[key] for key in _KEPT if key in attributes})


def _gff3_attributes(path: Path, number: int, text: str) -> dict[str, str]:
    """Split before unquoting, since the separators may be quoted."""
    attributes = {}
    for pair in text.split(";"):
        key, mark, value = pair.strip().partition("=")
        if mark:
            attributes[unquote(key)] = unquote(value)
        elif key not in ("", "."):
            message = f"a GFF3 attribute reads KEY=VALUE, got {key[:40]!r} (version 2 of GFF is not read)"
            raise FileFormatError(path, message, line=number)
    return attributes


def _gtf_attributes(path: Path, number: int, text: str) -> dict[str, str]:
    """Read pairs of key and value; a key that comes again, as ``tag`` does, has its values joined by commas."""
    attributes: dict[str, str] = {}
    position = 0
    text = text.rstrip()
    while position < len(text):
        pair = _GTF_PAIR.match(text, position)
        if pair is None:
            message = f'a GTF attribute reads KEY "VALUE";, got {text[position:].strip()[:40]!r}'
            raise FileFormatError(path, message, line=number)
        key, value = pair[1], pair[2] or pair[3] or ""
        attributes[key] = f"{attributes[key]},{value}" if key in attributes else value
        position = pair.end()
    return attributes
