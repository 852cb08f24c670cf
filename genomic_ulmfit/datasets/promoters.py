"""The conductor: a genome and TSSs in, labelled SeqRecords with a split out.

Windows are 0-based half-open and follow the strand: the TSS lies at index `upstream` of every positive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.drawing import Accept, Score
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.negatives import draw_negatives
from genomic_ulmfit.datasets.records import SPLITS, letters, mask_records, part
from genomic_ulmfit.datasets.splits import METHODS, Fractions, assign, split_genome, split_records
from genomic_ulmfit.errors import DatasetError, OutOfRangeError
from genomic_ulmfit.genome.algebra import linear_parts, pad
from genomic_ulmfit.genome.formats import guess_format
from genomic_ulmfit.genome.genes import read_genes
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_tss
from genomic_ulmfit.letters import UNKNOWN, base_codes

__all__ = ["promoter_dataset"]

_log = logging.getLogger(__name__)

_OF_RECORDS = ("homology", "random")  # methods that divide the positives; negatives then come from the whole genome


def promoter_dataset(
    genome: Any,
    tss: Any,
    *,
    upstream: int = 200,
    downstream: int = 50,
    negatives: str = "gc-matched",
    ratio: float = 1.0,
    padding: int = 100,
    strands: str = "both",
    genes: Any = None,
    exclude: Any = None,
    score: Score | None = None,
    candidates: int | None = None,
    max_unknown: float = 0.0,
    split: str | Iterable[Interval] | None = None,
    fractions: Fractions = (0.8, 0.1, 0.1),
    label: str = "promoter",
    background: str = "background",
    mask: tuple[int, int] | None = None,
    seed: int = 0,
) -> list[SeqRecord]:
    """Build a labelled data set around transcription (or gene) starts.

    The split is made first; negatives are then drawn part by part. A negative that shares a 25-mer, on either strand,
    with a record of another part is drawn again. Positives that do are left, and counted. Windows that reach past the
    end of a linear chromosome, hold too many letters other than A, C, G and T, repeat another's place or straddle a
    border between parts are dropped; how many of each is logged. No negative touches a dropped window.

    Parameters
    ----------
    genome : Genome, or what `Genome` takes
        The sequence. Windows cross the origin of its circular chromosomes.
    tss : list of Interval, or what `read_tss` takes
        Starts, with strand; of intervals longer than 1 bp the first base along the strand.
    upstream, downstream : int
        Length in bp of the window before the TSS, and from it on.
    negatives : str
        One of `genomic_ulmfit.datasets.negatives.STRATEGIES`: "gc-matched", "random", "gene-body", "intertss",
        "kmer-matched", "flank", "hard", "shuffle" or "partial-shuffle".
    ratio : float
        Negatives for each positive, in every part.
    padding : int
        Least distance in bp between a negative and a positive.
    strands : {"both", "+", "-", "same"}
        Of negatives, as for `draw_negatives`.
    genes : BED, GFF3, GTF or GenBank file, SeqRecord, list of SeqRecord, or what `read_intervals` takes, optional
        For "gene-body". By default the annotation given as `tss`, where it is one.
    exclude : what `read_intervals` takes, optional
        Regions that no negative may touch, as a blacklist. Positives are kept there.
    score : callable, optional
        For "hard": takes a list of SeqRecords and returns a float array, higher where more like a positive.
    candidates : int, optional
        For "kmer-matched" and "hard": how many windows are looked at for each negative.
    max_unknown : float
        Greatest share of letters other than A, C, G and T in a record.
    split : {"chromosome", "region", "homology", "random", "none"} or iterable of Interval, optional
        As for `split_genome` ("none" for a set that only trains; by "region", parts are a window apart), or for
        `split_records`; or regions named train, valid and test. By default by chromosome where three or more contigs
        exceed 1 Mbp, else by region.
    fractions : tuple of three floats
        Shares of train, valid and test.
    label, background : str
        Class names of positives and negatives.
    mask : tuple of two ints, optional
        Positions ``start <= i < end`` of each record, positives and negatives alike, that are overwritten with N.
    seed : int
        The same seed gives the same data set.

    Returns
    -------
    list of SeqRecord
        In the order of the genome. Each is ``upstream + downstream`` bp long. Annotations: label, split, chrom, start,
        end, strand, anchor (`upstream`), and for negatives strategy.

    Raises
    ------
    DatasetError
        If no positive is left, the genome can't yield the negatives, genes or a score are needed and not given, or an
        option is not as above.
    UnknownChromosomeError
        If the starts (or `exclude`, or the genes) are on chromosomes the genome does not have. Where it has some of
        them, the others are left out and counted, unless a name of the genome's is likely meant.
    OutOfRangeError
        If a TSS lies past its chromosome's end.

    Examples
    --------
    >>> import random
    >>> text = "".join(random.Random(0).choices("ACGT", k=4000))
    >>> starts = [Interval("chr1", 900, 901, strand="+"), Interval("chr1", 2900, 2901, strand="-")]
    >>> records = promoter_dataset({"chr1": text}, starts, upstream=20, downstream=10)
    >>> [record.annotations["label"] for record in records].count("promoter"), len(records)
    (2, 4)
    >>> next(record.id for record in records if record.annotations["label"] == "promoter")
    'chr1:880-910(+)'
    """
    _check_options(upstream, downstream, ratio, label, background, mask, padding)
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    if negatives == "gene-body" and genes is None:
        genes = tss = _annotated(tss, genome.aliases)
    starts = genome.named(read_tss(tss, aliases=genome.aliases, genome=genome), "starts")
    windows = _windows(genome, starts, upstream, downstream)
    regions = _regions(genome, split, fractions, upstream + downstream, seed)
    positives = _positives(genome, windows, label, max_unknown)
    if regions is None:
        positives = split_records(positives, str(split), fractions=fractions, seed=seed)
    else:
        positives = _placed(positives, regions, genome.chrom_sizes)
    if not positives:
        raise DatasetError(f"no positive is left of {len(starts)} starts; the log says why each was dropped")
    draw = partial(
        draw_negatives,
        genome,
        strategy=negatives,
        padding=0,
        exclude=pad(windows, padding, genome.chrom_sizes, genome.circular) + _excluded(genome, exclude),
        genes=_genes(genome, genes) if negatives == "gene-body" else (),
        score=score,
        candidates=candidates,
        strands=strands,
        max_unknown=max_unknown,
    )
    drawn = _negatives(positives, regions, draw, ratio, seed)
    records = positives + [annotated(record, {"label": background}) for record in drawn]
    records = [annotated(record, {"anchor": upstream}) for record in records]
    rank = {chrom: number for number, chrom in enumerate(genome.chrom_sizes)}
    records.sort(key=lambda record: _rank(record, rank))
    return records if mask is None else mask_records(records, *mask)


# Positives ------------------------------------------------------------------------------------------------------------


def _windows(genome: Genome, starts: Sequence[Interval], upstream: int, downstream: int) -> list[Interval]:
    """Return the window of each start, some past the ends of their linear chromosomes."""
    starts = [genome.wrap(start) for start in starts]  # that of a gene across the origin may lie past the end
    for start in starts:
        size = genome.chrom_sizes[start.chrom]
        if not start.end <= size:
            raise OutOfRangeError(start.chrom, start.start, start.end, size)
    return [genome.wrap(start.window(upstream, downstream)) for start in starts]


def _positives(genome: Genome, windows: Sequence[Interval], label: str, max_unknown: float) -> list[SeqRecord]:
    inside = [window for window in windows if genome.holds(window)]
    distinct = list({(window.chrom, window.start, window.strand): window for window in reversed(inside)}.values())[::-1]
    records = [annotated(record, {"label": label}) for record in genome.fetch_many(distinct)]
    known = [record for record in records if np.mean(base_codes(letters(record)) == UNKNOWN) <= max_unknown]
    _log.info(
        "%d starts: %d windows reach past a chromosome's end, %d repeat another's place, %d hold more letters other "
        "than ACGT than may be; %d positives are left",
        len(windows), len(windows) - len(inside), len(inside) - len(distinct), len(records) - len(known), len(known),
    )  # fmt: skip
    return known


def _placed(
    records: Sequence[SeqRecord], regions: Sequence[Interval], chrom_sizes: Mapping[str, int]
) -> list[SeqRecord]:
    """Return the records that lie in one part, and say in which."""
    pieces = [linear_parts([_interval(record)], chrom_sizes) for record in records]
    parts = iter(assign(chain.from_iterable(pieces), regions))
    found = [{next(parts) for _ in cut} for cut in pieces]
    placed = [
        annotated(record, {"split": next(iter(names))})
        for record, names in zip(records, found, strict=True)
        if len(names) == 1 and None not in names
    ]
    _log.info(
        "%d windows straddle a border between parts or lie outside them; %d positives are left",
        len(records) - len(placed), len(placed),
    )  # fmt: skip
    return placed


# Negatives ------------------------------------------------------------------------------------------------------------


def _negatives(
    positives: Sequence[SeqRecord],
    regions: Sequence[Interval] | None,
    draw: Callable[..., list[SeqRecord]],
    ratio: float,
    seed: int,
) -> list[SeqRecord]:
    """Draw the negatives of each part, clear of the 25-mers of the others, those drawn before included."""
    taken = {name: part(positives, name) for name in SPLITS}
    _log_shared(taken)
    drawn = []
    for number, name in enumerate(SPLITS):
        sources = [_interval(record) for record in part(positives, name)]
        n = round(ratio * len(sources))
        if n:
            found = draw(
                sources,
                n,
                within=None if regions is None else [region for region in regions if region.name == name],
                accept=_clear_of(record for other in SPLITS if other != name for record in taken[other]),
                seed=[seed, number],
            )
            drawn += [annotated(record, {"split": name}) for record in found]
            taken[name] = taken[name] + found
        _log.info("%s: %d positives, %d negatives", name, len(sources), n)
    return drawn


def _clear_of(records: Iterable[SeqRecord]) -> Accept:
    """Accept sequences that share no 25-mer with the records."""
    kmers = KmerSet(map(letters, records))
    return lambda texts: ~kmers.hits(texts)


def _log_shared(positives: Mapping[str, list[SeqRecord]]) -> None:
    train = KmerSet(map(letters, positives["train"]))
    for name in SPLITS[1:]:
        if not positives[name]:
            _log.warning("no positive lies in the %s part", name)
            continue
        n = int(train.hits(map(letters, positives[name])).sum())
        _log.info("%s: %d of %d positives share a 25-mer with one of train", name, n, len(positives[name]))


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


def _regions(
    genome: Genome, split: str | Iterable[Interval] | None, fractions: Fractions, window: int, seed: int
) -> list[Interval] | None:
    """Return the parts as regions of the genome, or None where records are divided."""
    if split in _OF_RECORDS:
        return None
    if split is None or isinstance(split, str):
        if split is not None and split not in METHODS:
            raise DatasetError(f"split {split!r} is not one of {', '.join([*METHODS, *_OF_RECORDS])}")
        return split_genome(genome.chrom_sizes, split, fractions=fractions, gap=window, seed=seed)
    return genome.named(split, "regions of the split")


def _annotated(tss: Any, aliases: Mapping[str, str]) -> list[Interval]:
    """Return whole genes where starts are given as an annotation; it is read once, since GenBank files take seconds."""
    if not _is_annotation(tss):
        raise DatasetError("gene-body negatives need genes: a GFF3, GTF or GenBank file, or intervals, as `genes`")
    return read_genes(tss, aliases=aliases)


def _genes(genome: Genome, genes: Any) -> list[Interval]:
    read = read_genes if _is_annotation(genes) else read_intervals
    named = genome.named(read(genes, aliases=genome.aliases), "genes")
    for gene in named:
        if gene.length and not genome.holds(gene):
            hint = "if the chromosome is a circle, say so with Genome(circular=), on the command line --circular"
            raise OutOfRangeError(gene.chrom, gene.start, gene.end, genome.chrom_sizes[gene.chrom], hint)
    return linear_parts(named, genome.chrom_sizes)


def _is_annotation(source: Any) -> bool:
    if isinstance(source, str | Path):
        return guess_format(Path(source)) in ("gff3", "gtf", "genbank")
    return isinstance(source, SeqRecord) or (
        isinstance(source, Sequence) and bool(source) and isinstance(source[0], SeqRecord)
    )


def _excluded(genome: Genome, exclude: Any) -> list[Interval]:
    intervals = [] if exclude is None else read_intervals(exclude, aliases=genome.aliases)
    return genome.named(intervals, "excluded regions")


# Records --------------------------------------------------------------------------------------------------------------


def _interval(record: SeqRecord) -> Interval:
    a: dict[str, Any] = record.annotations
    return Interval(a["chrom"], a["start"], a["end"], strand=a["strand"])


def _rank(record: SeqRecord, rank: Mapping[str, int]) -> tuple[int, int, str]:
    a: dict[str, Any] = record.annotations
    return rank[a["chrom"]], a["start"], a["strand"]
