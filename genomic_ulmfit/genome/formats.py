"""Which format a file of starts or genes is in, told by its content."""

from __future__ import annotations

from pathlib import Path

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import open_text
from genomic_ulmfit.genome.gff import is_gtf
from genomic_ulmfit.genome.intervals import is_header

__all__ = ["guess_format"]


def guess_format(path: Path) -> str:
    """Tell "gff3", "gtf", "genbank", "sga", "regulondb" and "bed" by the first row that is no comment.

    Raises
    ------
    FileFormatError
        If there is none.
    """
    with open_text(path) as handle:
        for line in handle:
            if line.startswith("##gff-version 3"):
                return "gff3"
            if is_header(line):
                return "bed"
            if line.strip() and not line.startswith(("#", "track", "browser")):
                return _format_of(line)
    raise FileFormatError(path, "has no rows")


def _format_of(row: str) -> str:
    words, columns = row.split(), row.rstrip("\r\n").split("\t")
    if words[0] == "LOCUS":
        return "genbank"
    if columns[0] == "1)pmId" or columns[2:3] in (["forward"], ["reverse"]):
        return "regulondb"
    if len(words) > 4 and words[2].isdecimal() and words[3] in ("+", "-", "0") and not words[1].isdecimal():
        return "sga"
    if len(columns) in (8, 9) and not columns[1].isdecimal():
        return "gtf" if is_gtf(columns[-1]) else "gff3"
    return "bed"
