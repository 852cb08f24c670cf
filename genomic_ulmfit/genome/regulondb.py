"""RegulonDB's PromoterSet, releases up to 13: 1-based positions and printed sequences in; 1-bp `Interval` out.

Of release 10.9, 2,465 rows of the reverse strand are one base low: the printed sequence says where the TSS is.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from genomic_ulmfit.errors import FileFormatError, OutOfRangeError
from genomic_ulmfit.files import open_text
from genomic_ulmfit.genome.intervals import Interval

if TYPE_CHECKING:
    from genomic_ulmfit.genome.sequences import Genome

__all__ = ["CHROM", "Promoter", "read_promoter_set"]

CHROM = "NC_000913.3"  # E. coli K-12 MG1655, where the header names no other version of it; rows name none
_STRANDS = {"forward": "+", "reverse": "-"}
_log = logging.getLogger(__name__)


class Promoter(NamedTuple):
    """One row that has a strand and a position.

    Parameters
    ----------
    tss : Interval
        1 bp, where the row says it is.
    sigma : str
        The sigma factor as written: "sigma70", "unknown" or nothing.
    sequence : str
        The sequence around the TSS along its strand, the TSS in upper case, all else in lower case.
    """

    tss: Interval
    sigma: str
    sequence: str

    def lies_in(self, genome: Genome, shift: int = 0) -> bool:
        """Tell whether the genome has the printed sequence there, or `shift` bp further along the chromosome.

        Raises
        ------
        OutOfRangeError
            If the sequence would reach past the end of a linear chromosome.
        """
        upstream = next(index for index, letter in enumerate(self.sequence) if letter.isupper())
        window = self.moved(shift).window(upstream, len(self.sequence) - upstream)
        return str(genome.fetch(genome.wrap(window)).seq).upper() == self.sequence.upper()

    def moved(self, shift: int) -> Interval:
        """Return the TSS `shift` bp further along the chromosome."""
        return self.tss._replace(start=self.tss.start + shift, end=self.tss.end + shift)


def read_promoter_set(
    path: Path, *, sigma: str | None = None, aliases: Mapping[str, str], genome: Genome | None = None
) -> list[Interval]:
    """Read the TSSs of a PromoterSet file; `read_tss` says how.

    Raises
    ------
    FileFormatError
        If a row is malformed, or no start is left.
    UnknownChromosomeError
        If the genome does not have the chromosome.
    """
    rows = list(_promoters(path, aliases))
    wanted = [row for row in rows if sigma is None or row.sigma.lower() == sigma.lower()]
    if not wanted:
        counts = Counter(row.sigma or "without" for row in rows).most_common()
        has = ", ".join(f"{number} {name}" for name, number in counts) or "none"
        raise FileFormatError(path, f"has no promoter of {sigma or 'any sigma factor'} with a position; it has {has}")
    if sigma is not None:
        _log.info("%s: took %d promoters of %s, of %d", path, len(wanted), sigma, len(rows))
    if genome is not None:
        return _checked(path, wanted, genome)
    if any(row.tss.strand == "-" and row.tss.name.startswith("TSS_") for row in wanted):
        _log.warning("%s: rows TSS_... of - are one base low in release 10.9; pass genome to have them moved", path)
    return [row.tss for row in wanted]


def _promoters(path: Path, aliases: Mapping[str, str]) -> Iterator[Promoter]:
    """Yield the rows that have a strand and a position; those that have not are counted, and their number is logged."""
    chrom, dropped = CHROM, 0
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            if line.startswith("#"):
                named = re.search(r"NC_000913\.\d+", line)
                chrom = named[0] if named else chrom
            elif line.strip() and not line.startswith("1)"):
                row = _promoter(path, number, line.rstrip("\r\n").split("\t"), aliases.get(chrom, chrom))
                dropped += row is None
                if row is not None:
                    yield row
    if dropped:
        _log.warning("%s: left out %d promoters without strand or position", path, dropped)


def _promoter(path: Path, number: int, fields: list[str], chrom: str) -> Promoter | None:
    if len(fields) < 6:
        message = f"a PromoterSet row needs 6 columns, from identifier to sequence, got {len(fields)}"
        raise FileFormatError(path, message, line=number)
    _, name, strand, position, sigma, sequence = (field.strip() for field in fields[:6])
    if strand not in ("", *_STRANDS):
        raise FileFormatError(path, f"the strand must be 'forward' or 'reverse', got {strand!r}", line=number)
    if position and not position.isdecimal():
        raise FileFormatError(path, f"the position is a 1-based integer, got {position!r}", line=number)
    if not strand or position in ("", "0"):
        return None
    if sum(letter.isupper() for letter in sequence) != 1:
        raise FileFormatError(path, "wanted a sequence with the TSS in upper case, and nothing else", line=number)
    tss = Interval(chrom, int(position) - 1, int(position), "_".join(name.split()) or ".", strand=_STRANDS[strand])
    return Promoter(tss, sigma, sequence)


def _checked(path: Path, rows: list[Promoter], genome: Genome) -> list[Interval]:
    """Put each TSS where the genome has its printed sequence: where it is, or one base further or before."""
    starts, counts = [], Counter[str]()
    for row in rows:
        outcome, shift = _fit(row, genome)
        counts[outcome] += 1
        if outcome != "nowhere":
            starts.append(genome.wrap(row.moved(shift)))
    _log.log(
        logging.WARNING if counts["moved"] or counts["nowhere"] else logging.INFO,
        "%s: of %d printed sequences %d fit, %d fit one base off and their starts are moved, %d fit nowhere near and "
        "are left out, %d reach past an end and are not checked",
        path, len(rows), counts["fits"], counts["moved"], counts["nowhere"], counts["unchecked"],
    )  # fmt: skip
    if not starts:
        raise FileFormatError(path, f"no printed sequence is in {genome.name} at its position: it is another genome")
    return starts


def _fit(row: Promoter, genome: Genome) -> tuple[str, int]:
    """Return what the check says of a row, and by how many bp its start is to be moved."""
    try:
        if row.lies_in(genome):
            return "fits", 0
        return next((("moved", shift) for shift in (1, -1) if row.lies_in(genome, shift)), ("nowhere", 0))
    except OutOfRangeError:
        return "unchecked", 0
