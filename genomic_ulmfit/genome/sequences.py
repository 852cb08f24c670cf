"""Genomes: intervals in, SeqRecords out, 0-based half-open and strand-aware."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomic_ulmfit.errors import OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.algebra import linear_parts
from genomic_ulmfit.genome.aliases import core, read_aliases
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sources import check_letters, open_source

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

__all__ = ["Genome"]

_log = logging.getLogger(__name__)

_ON_THE_COMMAND_LINE = " (on the command line: --aliases FILE, with two columns)"


class Genome:
    """A genome that gives the sequence of intervals.

    Plain and bgzipped FASTA and 2bit files are read in place, so that memory does not grow with the genome; gzipped
    FASTA, GenBank files and records are held in memory. A FASTA index (``.fai``) is used where it belongs to the file
    as it is now, else built beside it, or in a temporary folder where that can't be written to. A genome can be pickled
    and used in other processes and threads.

    Parameters
    ----------
    source : str, Path, SeqRecord, iterable of SeqRecord, or mapping of str to SeqRecord, Seq or str
        A path is a FASTA (plain, gzipped, bgzipped), 2bit or GenBank file (plain, gzipped), told by content.
    aliases : mapping of str to str, str or Path, optional
        Other names for chromosomes, to the genome's own: ``{"chr20": "20"}``, a file with two columns, or UCSC's
        chromAlias.txt.
    circular : bool, str or iterable of str, optional
        Chromosomes that are circular beside those that a GenBank file or record calls so; True for all.

    Attributes
    ----------
    name : str
        The file, or "records".
    chrom_sizes : dict of str to int
        Chromosome lengths in bp, in the order of the file.
    circular : frozenset of str
        The circular chromosomes. An interval that crosses the origin of one is written as in GFF3: its start lies on
        the chromosome, its end past the chromosome's end.
    aliases : dict of str to str
        Other names, to the genome's own.

    Raises
    ------
    UnknownChromosomeError
        If `circular` names a chromosome that is not there.
    FileFormatError
        If the file is none of these, holds no sequence, is cut off, names two records alike, or its letters are not
        nucleotides.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> genome = Genome({"chr1": "AACCGGTTacgt"})
    >>> genome.chrom_sizes
    {'chr1': 12}
    >>> record = genome.fetch(Interval("chr1", 1, 5, strand="-"))
    >>> record.id, str(record.seq)
    ('chr1:1-5(-)', 'CGGT')
    >>> Genome({"plasmid": "AACCGGTT"}, circular=True).sequence("plasmid", 6, 10)
    'TTAA'
    """

    def __init__(
        self,
        source: Any,
        aliases: Mapping[str, str] | str | Path | None = None,
        circular: bool | str | Iterable[str] | None = None,
    ) -> None:
        self._source = open_source(source)
        self.name = self._source.name
        self.chrom_sizes = dict(self._source.sizes)
        self.aliases = read_aliases(aliases, known=self.chrom_sizes)
        self._by_core = {core(chrom): chrom for chrom in reversed(self.chrom_sizes)}  # of like names the first
        self.circular = self._source.circular | self._named(circular)

    def _named(self, circular: bool | str | Iterable[str] | None) -> frozenset[str]:
        if circular is None or isinstance(circular, bool):
            return frozenset(self.chrom_sizes if circular else ())
        return frozenset(self.resolve(chrom) for chrom in ([circular] if isinstance(circular, str) else circular))

    def __repr__(self) -> str:
        """Name the source and say how much there is."""
        return f"<Genome {self.name}: {len(self.chrom_sizes)} sequences, {sum(self.chrom_sizes.values()):,} bp>"

    def resolve(self, chrom: str) -> str:
        """Return the genome's own name of a chromosome.

        Raises
        ------
        UnknownChromosomeError
            If neither the genome nor the aliases have the name. Likely spellings are shown, never taken.
        """
        name = self._own(chrom)
        if name is not None:
            return name
        likely = self._likely(chrom)
        if likely is None:
            hint = f"map the names with aliases={{{chrom!r}: NAME}}{_ON_THE_COMMAND_LINE}"
        else:
            hint = f"if {likely!r} is meant, map the names with aliases={{{chrom!r}: {likely!r}}}{_ON_THE_COMMAND_LINE}"
        raise UnknownChromosomeError(chrom, list(self.chrom_sizes), hint)

    def named(self, intervals: Iterable[Interval], what: str = "intervals") -> list[Interval]:
        """Return the intervals under the genome's own names of their chromosomes.

        Those on chromosomes that the genome lacks are left out, and their number is logged, so that a list for a whole
        genome serves a part of it.

        Parameters
        ----------
        intervals : iterable of Interval
            0-based half-open.
        what : str
            What the log calls them.

        Raises
        ------
        UnknownChromosomeError
            If the genome has none of the chromosomes, or has one that is likely meant by a name it lacks.
        """
        intervals = list(intervals)
        names = {chrom: self._own(chrom) for chrom in dict.fromkeys(interval.chrom for interval in intervals)}
        lacking = [chrom for chrom, name in names.items() if name is None]
        meant = [chrom for chrom in lacking if self._likely(chrom) is not None]
        if meant or (lacking and len(lacking) == len(names)):
            self.resolve((meant or lacking)[0])
        kept = [i._replace(chrom=name) for i in intervals if (name := names[i.chrom]) is not None]
        if lacking:
            _log.warning(
                "%d of %d %s are left out: the genome has no sequence for their chromosomes (%s)",
                len(intervals) - len(kept), len(intervals), what, ", ".join(lacking[:3] + ["..."] * (len(lacking) > 3)),
            )  # fmt: skip
        return kept

    def _own(self, chrom: str) -> str | None:
        return next((name for name in (chrom, self.aliases.get(chrom)) if name in self.chrom_sizes), None)

    def _likely(self, chrom: str) -> str | None:
        return self._by_core.get(core(chrom))

    def wrap(self, interval: Interval) -> Interval:
        """Return the interval with its start on the chromosome where that is circular, else as it is.

        Windows around a start near the origin begin below 0; `fetch` wants them wrapped.

        Raises
        ------
        UnknownChromosomeError
            If there is no such chromosome.
        """
        chrom = self.resolve(interval.chrom)
        return interval.wrapped(self.chrom_sizes[chrom]) if chrom in self.circular else interval

    def locate(self, interval: Interval) -> Interval:
        """Return the interval under the genome's own name of its chromosome, refusing one that is not inside it.

        Raises
        ------
        UnknownChromosomeError
            If there is no such chromosome.
        OutOfRangeError
            Unless ``0 <= start < end <= size``; on a circular chromosome unless ``0 <= start < size`` and it is 1 to
            ``size`` bp long.
        """
        if not isinstance(interval, Interval):
            (interval,) = read_intervals([interval])
        chrom = interval.chrom if interval.chrom in self.chrom_sizes else self.resolve(interval.chrom)
        interval = interval._replace(chrom=chrom)
        if not self.holds(interval):
            raise OutOfRangeError(chrom, interval.start, interval.end, self.chrom_sizes[chrom])
        return interval

    def located(self, regions: object = None) -> list[Interval]:
        """Return regions as `locate` does, those across the origin of a circular chromosome in two parts.

        Parameters
        ----------
        regions : anything `read_intervals` reads, optional
            Whole chromosomes if not given.

        Raises
        ------
        UnknownChromosomeError, OutOfRangeError
            As from `locate`.
        """
        if regions is None:
            return [Interval(chrom, 0, size) for chrom, size in self.chrom_sizes.items() if size]
        return linear_parts(map(self.locate, read_intervals(regions)), self.chrom_sizes)

    def holds(self, interval: Interval) -> bool:
        """Tell whether an interval under the genome's own name of its chromosome is inside it, see `locate`."""
        size = self.chrom_sizes[interval.chrom]
        limit = size + interval.start if interval.chrom in self.circular and interval.start < size else size
        return 0 <= interval.start < interval.end <= limit

    def sequence(self, chrom: str, start: int, end: int) -> str:
        """Return the text of the "+" strand, its case as in the file (lower case is soft-masked).

        Parameters
        ----------
        chrom : str
            Chromosome, by the genome's name or an alias.
        start, end : int
            0-based half-open, in bp.

        Raises
        ------
        UnknownChromosomeError
            If there is no such chromosome.
        OutOfRangeError
            If it is not inside the chromosome, see `locate`.
        FileFormatError
            If the file has letters there that are not nucleotides.
        """
        name = self.locate(Interval(chrom, start, end)).chrom
        size = self.chrom_sizes[name]
        text = self._source.fetch(name, start, min(end, size))
        if end > size:
            text += self._source.fetch(name, 0, end - size)
        check_letters(text, self.name, f"{name}:{start}-{end}")
        return text

    def fetch(self, interval: Interval) -> SeqRecord:
        """Return the sequence of an interval along its strand.

        Parameters
        ----------
        interval : Interval
            0-based half-open; "-" gives the reverse complement.

        Returns
        -------
        SeqRecord
            Its id is the interval's, under the genome's name of the chromosome; its name the interval's, if it has one.
            Annotations: chrom, start, end, strand, molecule_type.

        Raises
        ------
        UnknownChromosomeError
            If there is no such chromosome.
        OutOfRangeError
            If it is not inside the chromosome, see `locate`.
        FileFormatError
            If the file has letters there that are not nucleotides.
        """
        from Bio.Seq import Seq
        from Bio.SeqRecord import SeqRecord

        interval = self.locate(interval)
        letters = Seq(self.sequence(*interval[:3]))
        if interval.strand == "-":
            letters = letters.reverse_complement()
        annotations: dict[str, str | int] = {
            "chrom": interval.chrom,
            "start": interval.start,
            "end": interval.end,
            "strand": interval.strand,
            "molecule_type": "DNA",
        }
        name = interval.id if interval.name == "." else interval.name
        return SeqRecord(letters, id=interval.id, name=name, description="", annotations=annotations)

    def fetch_many(self, intervals: Iterable[Interval]) -> Iterator[SeqRecord]:
        """Yield the sequence of each interval, as `fetch` does, in their order."""
        for interval in intervals:
            yield self.fetch(interval)
