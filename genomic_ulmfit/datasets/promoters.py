"""The conductor: a genome and TSSs in, labelled SeqRecords with a split out.

Windows are 0-based half-open and follow the strand: the TSS lies at index `upstream` of every positive.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.negatives import Accept, draw_negatives
from genomic_ulmfit.datasets.records import SPLITS, letters
from genomic_ulmfit.datasets.splits import assign, split_genome
from genomic_ulmfit.errors import DatasetError, OutOfRangeError
from genomic_ulmfit.genome.algebra import pad
from genomic_ulmfit.genome.genes import guess_format
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_genes, read_tss
from genomic_ulmfit.letters import base_codes

__all__ = ["promoter_dataset"]

_log = logging.getLogger(__name__)

_SHARED_K = 25


def promoter_dataset(
    genome: Any,
    tss: Any,
    *,
    upstream: int = 200,
    downstream: int = 50,
    negatives: str = "gc-matched",
    ratio: float = 1.0,
    genes: Any = None,
    exclude: Any = None,
    split: str | Iterable[Interval] | None = None,
    label: str = "promoter",
    background: str = "background",
    mask: tuple[int, int] | None = None,
    padding: int = 100,
    seed: int = 0,
) -> list[SeqRecord]:
    """Build a labelled data set around transcription (or gene) starts.

    The split is made first, as regions of the genome; negatives are then drawn part by part. A negative that shares a
    25-mer, on either strand, with a record of another part is drawn again. Positives that do are left, and counted.
    Windows that reach past a chromosome's end, hold letters other than A, C, G and T, repeat another's place or
    straddle a border between parts are dropped; how many of each is logged. No negative touches a dropped window.

    Parameters
    ----------
    genome : Genome, or what `Genome` takes
        The sequence.
    tss : list of Interval, or what `read_tss` takes
        Starts, with strand; of intervals longer than 1 bp the first base along the strand.
    upstream, downstream : int
        Length in bp of the window before the TSS, and from it on.
    negatives : {"gc-matched", "random", "gene-body"}
        The strategy, see `genomic_ulmfit.datasets.negatives`.
    ratio : float
        Negatives for each positive, in every part.
    genes : BED, GFF3 or GenBank file, SeqRecord, list of SeqRecord, or what `read_intervals` takes, optional
        For "gene-body". By default the annotation given as `tss`, where it is one.
    exclude : what `read_intervals` takes, optional
        Regions that no negative may touch. Positives are kept there.
    split : {"chromosome", "region", "none"} or iterable of Interval, optional
        As for `split_genome`, "none" for a set that only trains; or regions named train, valid and test. By default by
        chromosome where three or more contigs exceed 1 Mbp, else by region.
    label, background : str
        Class names of positives and negatives.
    mask : tuple of two ints, optional
        Positions ``start <= i < end`` of each record, positives and negatives alike, that are overwritten with N.
    padding : int
        Least distance in bp between a negative and a positive.
    seed : int
        The same seed gives the same data set.

    Returns
    -------
    list of SeqRecord
        In the order of the genome. Each is ``upstream + downstream`` bp long. Annotations: label, split, chrom, start,
        end, strand, anchor (`upstream`).

    Raises
    ------
    DatasetError
        If no positive is left, the genome can't yield the negatives, genes are needed and not given, or an option is
        not as above.
    UnknownChromosomeError
        If a TSS is on a chromosome the genome does not have.
    OutOfRangeError
        If a TSS lies past its chromosome's end.

    Examples
    --------
    >>> import random
    >>> letters = "".join(random.Random(0).choices("ACGT", k=4000))
    >>> starts = [Interval("chr1", 900, 901, strand="+"), Interval("chr1", 2900, 2901, strand="-")]
    >>> records = promoter_dataset({"chr1": letters}, starts, upstream=20, downstream=10)
    >>> [record.annotations["label"] for record in records].count("promoter"), len(records)
    (2, 4)
    >>> next(record.id for record in records if record.annotations["label"] == "promoter")
    'chr1:880-910(+)'
    """
    _check_options(upstream, downstream, ratio, label, background, mask, padding)
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    if negatives == "gene-body" and genes is None:
        genes = tss = _annotated(tss, genome.aliases)
    genes = _genes(genome, genes) if negatives == "gene-body" else []
    starts = _named_as(genome, read_tss(tss, aliases=genome.aliases))
    regions = _regions(genome, split, seed)
    windows = _windows(genome, starts, upstream, downstream)
    positives = _positives(genome, windows, regions)
    avoided = pad(windows, padding, genome.chrom_sizes) + _named_as(genome, _excluded(genome, exclude))
    drawn = _negatives(genome, positives, regions, avoided, negatives, ratio, genes, seed)
    records = [_finished(record, label, part, upstream, mask) for part in SPLITS for record in positives[part]]
    records += [_finished(record, background, part, upstream, mask) for part in SPLITS for record in drawn[part]]
    rank = {chrom: number for number, chrom in enumerate(genome.chrom_sizes)}
    return sorted(records, key=lambda record: _rank(record, rank))


# Positives ------------------------------------------------------------------------------------------------------------


def _windows(genome: Genome, starts: Sequence[Interval], upstream: int, downstream: int) -> list[Interval]:
    """Return the window of each start, some past their chromosome's ends."""
    for start in starts:
        size = genome.chrom_sizes[start.chrom]
        if not start.end <= size:
            raise OutOfRangeError(start.chrom, start.start, start.end, size)
    return [start.window(upstream, downstream) for start in starts]


def _positives(genome: Genome, windows: Sequence[Interval], regions: Sequence[Interval]) -> dict[str, list[SeqRecord]]:
    sizes = genome.chrom_sizes
    inside = [window for window in windows if window.start >= 0 and window.end <= sizes[window.chrom]]
    distinct = list({(window.chrom, window.start, window.strand): window for window in reversed(inside)}.values())[::-1]
    parts = assign(distinct, regions)
    placed = [(window, part) for window, part in zip(distinct, parts, strict=True) if part is not None]
    records = [(genome.fetch(window), part) for window, part in placed]
    known = [(record, part) for record, part in records if base_codes(letters(record)).max() < 4]
    _log.info(
        "%d starts: %d windows reach past a chromosome's end, %d repeat another's place, %d straddle a border between "
        "parts or lie outside them, %d hold letters other than ACGT; %d positives are left",
        len(windows), len(windows) - len(inside), len(inside) - len(distinct), len(distinct) - len(placed),
        len(records) - len(known), len(known),
    )  # fmt: skip
    if not known:
        raise DatasetError(f"no positive is left of {len(windows)} starts; the log says why each was dropped")
    return {name: [record for record, part in known if part == name] for name in SPLITS}


# Negatives ------------------------------------------------------------------------------------------------------------


def _negatives(
    genome: Genome,
    positives: Mapping[str, list[SeqRecord]],
    regions: Sequence[Interval],
    avoided: list[Interval],
    strategy: str,
    ratio: float,
    genes: list[Interval],
    seed: int,
) -> dict[str, list[SeqRecord]]:
    """Draw the negatives of each part, clear of the 25-mers of the others, those drawn before included."""
    _log_shared(positives)
    taken = dict(positives)
    drawn: dict[str, list[SeqRecord]] = {}
    for number, part in enumerate(SPLITS):
        others = [record for name in SPLITS if name != part for record in taken[name]]
        n = round(ratio * len(positives[part]))
        windows = [] if n == 0 else draw_negatives(
            genome, [_interval(record) for record in positives[part]], n, strategy=strategy, padding=0,
            exclude=avoided, within=[region for region in regions if region.name == part], genes=genes,
            accept=_clear_of(others), seed=[seed, number],
        )  # fmt: skip
        drawn[part] = list(genome.fetch_many(windows))
        taken[part] = taken[part] + drawn[part]
        _log.info("%s: %d positives, %d negatives (%s)", part, len(positives[part]), n, strategy)
    return drawn


def _clear_of(records: Iterable[SeqRecord]) -> Accept:
    """Accept sequences that share no 25-mer with the records."""
    kmers = KmerSet(map(letters, records), _SHARED_K)
    return lambda texts: ~kmers.hits(texts)


def _log_shared(positives: Mapping[str, list[SeqRecord]]) -> None:
    train = KmerSet(map(letters, positives["train"]), _SHARED_K)
    for part in SPLITS[1:]:
        if not positives[part]:
            _log.warning("no positive lies in the %s part", part)
            continue
        n = int(train.hits(map(letters, positives[part])).sum())
        _log.info("%s: %d of %d positives share a 25-mer with one of train", part, n, len(positives[part]))


# Options --------------------------------------------------------------------------------------------------------------


def _check_options(
    upstream: int,
    downstream: int,
    ratio: float,
    label: str,
    background: str,
    mask: tuple[int, int] | None,
    padding: int,
) -> None:
    if upstream < 0 or downstream < 0 or upstream + downstream == 0:
        raise DatasetError(f"wanted a window of at least 1 bp, got upstream={upstream}, downstream={downstream}")
    if not ratio >= 0 or padding < 0:
        raise DatasetError(f"ratio and padding can't be negative, got ratio={ratio}, padding={padding}")
    if label == background:
        raise DatasetError(f"positives and negatives need two names, both are called {label!r}")
    if mask is not None and not 0 <= mask[0] < mask[1] <= upstream + downstream:
        raise DatasetError(f"mask {mask} is not inside the window: wanted 0 <= start < end <= {upstream + downstream}")


def _regions(genome: Genome, split: str | Iterable[Interval] | None, seed: int) -> list[Interval]:
    if split is None or isinstance(split, str):
        return split_genome(genome.chrom_sizes, split, seed=seed)
    return _named_as(genome, list(split))


def _annotated(tss: Any, aliases: Mapping[str, str]) -> list[Interval]:
    """Return whole genes where starts are given as an annotation; it is read once, since GenBank files take seconds."""
    if not _is_annotation(tss):
        raise DatasetError("gene-body negatives need genes: a GFF3 or GenBank file, or intervals, as `genes`")
    return read_genes(tss, aliases=aliases)


def _genes(genome: Genome, genes: Any) -> list[Interval]:
    read = read_genes if _is_annotation(genes) else read_intervals
    return _named_as(genome, read(genes, aliases=genome.aliases))


def _is_annotation(source: Any) -> bool:
    if isinstance(source, str | Path):
        return guess_format(Path(source)) in ("gff3", "genbank")
    return isinstance(source, SeqRecord) or (
        isinstance(source, Sequence) and bool(source) and isinstance(source[0], SeqRecord)
    )


def _excluded(genome: Genome, exclude: Any) -> list[Interval]:
    return [] if exclude is None else read_intervals(exclude, aliases=genome.aliases)


def _named_as(genome: Genome, intervals: Iterable[Interval]) -> list[Interval]:
    return [interval._replace(chrom=genome.resolve(interval.chrom)) for interval in intervals]


# Records --------------------------------------------------------------------------------------------------------------


def _finished(record: SeqRecord, label: str, part: str, anchor: int, mask: tuple[int, int] | None) -> SeqRecord:
    record.annotations |= {"label": label, "split": part, "anchor": anchor}
    text = str(record.seq)
    if mask is not None:
        record.seq = Seq(text[: mask[0]] + "N" * (mask[1] - mask[0]) + text[mask[1] :])
    return record


def _interval(record: SeqRecord) -> Interval:
    a: dict[str, Any] = record.annotations
    return Interval(a["chrom"], a["start"], a["end"], strand=a["strand"])


def _rank(record: SeqRecord, rank: Mapping[str, int]) -> tuple[int, int, str]:
    a: dict[str, Any] = record.annotations
    return rank[a["chrom"]], a["start"], a["strand"]
