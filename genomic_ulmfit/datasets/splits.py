"""Splits of the genome and of records: chromosome sizes in, regions named train, valid and test out; or records in.

Regions are 0-based half-open. They tile every contig but for the gaps that are asked for, so whatever is made from the
genome (records, negatives, the language model's corpus) is divided by one rule. Records without a place are divided by
what they share.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.counts import class_counts, counts_table
from genomic_ulmfit.datasets.dealing import deal
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.homology import homology_groups
from genomic_ulmfit.datasets.records import SPLITS, as_list, letters
from genomic_ulmfit.errors import DatasetError, OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.intervals import Interval

__all__ = ["METHODS", "RECORD_METHODS", "assign", "split_genome", "split_records"]

_log = logging.getLogger(__name__)

_LARGE = 1_000_000  # bp; three contigs longer than this make a genome that is split by chromosome
_SMALL = 0.1  # contigs shorter than this share of the longest (plasmids, scraps, mitochondria) train
_DEALS = 200

Fractions = tuple[float, float, float]


def split_genome(
    chrom_sizes: Mapping[str, int],
    method: str | None = None,
    *,
    fractions: Fractions = (0.8, 0.1, 0.1),
    test: Interval | None = None,
    gap: int = 0,
    seed: int = 0,
) -> list[Interval]:
    """Divide a genome into regions for training, validation and test.

    Contigs shorter than a tenth of the longest one train, whatever the method, and so do shorter ones than the longest
    where the gaps would leave nothing of a part.

    Parameters
    ----------
    chrom_sizes : mapping of str to int
        Contig lengths in bp.
    method : {"chromosome", "region", "none"}, optional
        "chromosome" deals whole contigs, so that the parts come near the fractions. "region" cuts each contig into
        three stretches: train, valid, and test at its end. "none" trains on everything. By default by chromosome where
        three or more contigs exceed 1 Mbp and no `test` is named, else by region. What was chosen is logged.
    fractions : tuple of three floats
        Shares of train, valid and test, which add up to 1.
    test : Interval, optional
        With "region": the stretch to hold out, 0-based half-open. The valid stretch lies next to it, on its larger
        side, and takes its share of that contig; the rest of the genome trains.
    gap : int
        Length in bp of the stretch between two parts of a contig that belongs to neither, at least as long as a window,
        so that windows of two parts are never neighbours. It is taken from train, or from valid where that lies next to
        test. The two ends of a contig are neighbours too, since it may be a circle.
    seed : int
        For dealing contigs.

    Returns
    -------
    list of Interval
        Named "train", "valid" or "test"; they tile every contig, but for the gaps, in the order of `chrom_sizes`.

    Raises
    ------
    DatasetError
        If the method or the fractions are not as above, contigs are too few to deal, the gap is
        negative, or it or the test stretch leaves no room for a part.
    UnknownChromosomeError, OutOfRangeError
        If `test` is not inside the genome.

    Examples
    --------
    >>> [(i.start, i.end, i.name) for i in split_genome({"chr1": 1000}, "region")]
    [(0, 800, 'train'), (800, 900, 'valid'), (900, 1000, 'test')]
    >>> [(i.start, i.end, i.name) for i in split_genome({"chr1": 1000}, "region", gap=50)]
    [(50, 750, 'train'), (800, 850, 'valid'), (900, 1000, 'test')]
    """
    if not any(chrom_sizes.values()):
        raise DatasetError("the genome has no sequence to split")
    if gap < 0:
        raise DatasetError(f"a gap can't be negative, got {gap}")
    _check_fractions(fractions)
    method = _choose(chrom_sizes, test) if method is None else method
    if method not in METHODS:
        raise DatasetError(f"split {method!r} is not one of {', '.join(METHODS)}")
    if test is None:
        regions = METHODS[method](chrom_sizes, fractions, seed, gap)
    elif method == "region":
        regions = _around(test, chrom_sizes, fractions)
    else:
        raise DatasetError(f"a test stretch goes with the split by region, not by {method}")
    regions = _with_gaps(regions, gap)
    _log.info("split by %s: %s", method, _summary(regions))
    return regions


def split_records(
    records: Iterable[SeqRecord],
    method: str = "homology",
    *,
    fractions: Fractions = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> list[SeqRecord]:
    """Divide records, each class as well as all of them, into training, validation and test.

    What each part holds is logged, and so are classes that are not in all parts.

    Parameters
    ----------
    records : iterable of SeqRecord
        With or without labels. They stay as they are.
    method : {"homology", "random", "group", "given"}
        "homology" keeps records together that share a 25-mer, on either strand, as `homology_groups` says; the share of
        the largest group is logged. "group" keeps together what has the same ``annotations["group"]``: a gene, a
        genome, the reference that reads were made from. In both, the largest group trains. "random" deals each record
        by itself. "given" keeps ``annotations["split"]`` as it is.
    fractions : tuple of three floats
        Shares of train, valid and test, which add up to 1.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    list of SeqRecord
        Copies with ``annotations["split"]``, in the order given.

    Raises
    ------
    TypeError
        If `records` are no SeqRecords.
    DatasetError
        If the method or the fractions are not as above, there are fewer groups than parts, or a record has no sequence,
        group or split where one is needed.

    Examples
    --------
    >>> reads = [SeqRecord(None, annotations={"group": name}) for name in ("E. coli", "B. subtilis", "E. coli")]
    >>> [r.annotations["split"] for r in split_records(reads, "group", fractions=(0.6, 0.0, 0.4))]
    ['train', 'test', 'train']
    """
    records = as_list(records)
    _check_fractions(fractions)
    if method not in RECORD_METHODS:
        raise DatasetError(f"split {method!r} is not one of {', '.join(RECORD_METHODS)}")
    parts = _given(records) if method == "given" else _dealt(records, _GROUPS[method](records), fractions, seed)
    divided = [annotated(record, {"split": part}) for record, part in zip(records, parts, strict=True)]
    _log.info("split by %s:\n%s", method, counts_table(divided))
    _warn_of_small_classes(divided)
    return divided


def assign(intervals: Iterable[Interval], regions: Iterable[Interval]) -> list[str | None]:
    """Tell which part each interval lies in.

    Parameters
    ----------
    intervals : iterable of Interval
        0-based half-open.
    regions : iterable of Interval
        Named "train", "valid" or "test", as from `split_genome`.

    Returns
    -------
    list of str or None
        The part's name; None for an interval that straddles a border or lies outside the regions.

    Raises
    ------
    DatasetError
        If a region has another name, or two parts overlap.

    Examples
    --------
    >>> regions = split_genome({"chr1": 1000}, "region")
    >>> assign([Interval("chr1", 0, 50), Interval("chr1", 780, 830)], regions)
    ['train', None]
    """
    joined = _joined(regions)
    starts = {chrom: [region.start for region in stretch] for chrom, stretch in joined.items()}

    def part_of(interval: Interval) -> str | None:
        at = bisect_right(starts.get(interval.chrom, []), interval.start) - 1
        inside = at >= 0 and interval.end <= joined[interval.chrom][at].end
        return joined[interval.chrom][at].name if inside else None

    return [part_of(interval) for interval in intervals]


# Of records -----------------------------------------------------------------------------------------------------------


def _by_homology(records: Sequence[SeqRecord]) -> np.ndarray:
    found = homology_groups(map(letters, records))
    _log.info(
        "%d records are %d groups that share 25-mers; the largest, %.1f%% of them, trains. Shared 25-mers that join "
        "nothing: %d of low complexity, %d in more than %d records",
        len(records), len(found.sizes), 100 * found.largest, found.left_out["low complexity"],
        found.left_out["frequent"], found.most,
    )  # fmt: skip
    return found.groups


def _by_group(records: Sequence[SeqRecord]) -> np.ndarray:
    return np.unique(_annotation(records, "group"), return_inverse=True)[1]


def _each(records: Sequence[SeqRecord]) -> np.ndarray:
    return np.arange(len(records))


_GROUPS: dict[str, Callable[[Sequence[SeqRecord]], np.ndarray]] = {
    "homology": _by_homology,
    "random": _each,
    "group": _by_group,
}
RECORD_METHODS = (*_GROUPS, "given")


def _dealt(records: Sequence[SeqRecord], groups: np.ndarray, fractions: Fractions, seed: int) -> list[str]:
    largest = np.bincount(groups, minlength=1).max() / max(1, len(records))
    if largest > fractions[0]:
        _log.warning("%.1f%% of the records are one group and train: valid and test get less than asked", 100 * largest)
    classes = [record.annotations.get("label") for record in records]
    return [SPLITS[part] for part in deal(groups, classes, fractions, seed=seed)]


def _given(records: Sequence[SeqRecord]) -> list[str]:
    splits = _annotation(records, "split")
    for record, split in zip(records, splits, strict=True):
        if split not in SPLITS:
            raise DatasetError(f"record {record.id!r} is in split {split!r}, which is not one of {', '.join(SPLITS)}")
    return splits


def _annotation(records: Sequence[SeqRecord], key: str) -> list[str]:
    for number, record in enumerate(records, 1):
        if not record.annotations.get(key):
            raise DatasetError(
                f"record {number} ({record.id!r}) has no {key}; wanted {key}=NAME in its description, or text in "
                f"annotations[{key!r}]"
            )
    return [str(record.annotations[key]) for record in records]


def _warn_of_small_classes(records: Sequence[SeqRecord]) -> None:
    counts = class_counts(records)
    classes = next(iter(counts.values()), {})
    lacking = sum(any(part[label] == 0 for part in counts.values()) for label in classes)
    if lacking:
        _log.warning("%d of %d classes are not in all parts: too small, or too much alike", lacking, len(classes))


def _check_fractions(fractions: Fractions) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or fractions[0] <= 0 or not np.isclose(sum(fractions), 1):
        raise DatasetError(f"wanted fractions of train, valid and test that add up to 1, got {fractions}")


# Of the genome --------------------------------------------------------------------------------------------------------


def _choose(chrom_sizes: Mapping[str, int], test: Interval | None) -> str:
    large = sum(size > _LARGE for size in chrom_sizes.values())
    return "chromosome" if large >= 3 and test is None else "region"


def _none(chrom_sizes: Mapping[str, int], fractions: Fractions, seed: int, gap: int) -> list[Interval]:
    return [Interval(chrom, 0, size, "train") for chrom, size in chrom_sizes.items() if size]


def _by_region(chrom_sizes: Mapping[str, int], fractions: Fractions, seed: int, gap: int) -> list[Interval]:
    large, longest = set(_large(chrom_sizes)), max(chrom_sizes.values())
    regions = []
    for chrom, size in chrom_sizes.items():
        test = size - round(size * fractions[2])
        valid = test - round(size * fractions[1])
        has_room = valid > 2 * gap and (valid == test or test - valid > gap)  # what `_with_gaps` takes of each
        whole = chrom not in large or (size < longest and not has_room)
        regions += _stretches(chrom, [0, size] if whole else [0, valid, test, size], SPLITS)
    return regions


def _by_chromosome(chrom_sizes: Mapping[str, int], fractions: Fractions, seed: int, gap: int) -> list[Interval]:
    """Deal the contigs in many random orders, each to the part that lacks most; keep the deal nearest the fractions."""
    large = _large(chrom_sizes)
    n_parts = sum(fraction > 0 for fraction in fractions)
    if len(large) < n_parts:
        raise DatasetError(
            f"a split by chromosome into {n_parts} parts needs as many contigs of like size, got {len(large)}; "
            "split by region"
        )
    sizes = np.array([chrom_sizes[chrom] for chrom in large], dtype=float)
    rng = np.random.default_rng(seed)
    deals = [_deal(sizes / sizes.sum(), np.array(fractions), rng.permutation(len(large))) for _ in range(_DEALS)]
    _, best = min(deals, key=lambda deal: deal[0])
    parts = dict(zip(large, best, strict=True))
    return [Interval(chrom, 0, size, SPLITS[parts.get(chrom, 0)]) for chrom, size in chrom_sizes.items() if size]


def _deal(shares: np.ndarray, fractions: np.ndarray, order: np.ndarray) -> tuple[float, list[int]]:
    """Return how far the parts are from the fractions, and the part of each contig; no part stays empty."""
    lacking, parts = fractions.copy(), np.zeros(len(shares), dtype=int)
    first = np.flatnonzero(fractions)
    for turn, contig in enumerate(order):
        parts[contig] = first[turn] if turn < len(first) else np.argmax(lacking)
        lacking[parts[contig]] -= shares[contig]
    return float(np.abs(lacking).sum()), parts.tolist()


def _around(test: Interval, chrom_sizes: Mapping[str, int], fractions: Fractions) -> list[Interval]:
    if test.chrom not in chrom_sizes:
        raise UnknownChromosomeError(test.chrom, list(chrom_sizes))
    size = chrom_sizes[test.chrom]
    if not 0 <= test.start < test.end <= size:
        raise OutOfRangeError(test.chrom, test.start, test.end, size)
    valid, before, after = round(size * fractions[1]), test.start, size - test.end
    if max(before, after) <= valid:
        raise DatasetError(
            f"the test stretch {test.region} leaves {max(before, after)} bp beside it on its contig, and valid alone "
            f"takes {valid}; name the parts as a list of intervals"
        )
    if before >= after:
        cuts, names = [0, test.start - valid, test.start, test.end, size], ("train", "valid", "test", "train")
    else:
        cuts, names = [0, test.start, test.end, test.end + valid, size], ("train", "test", "valid", "train")
    regions = []
    for chrom, length in chrom_sizes.items():
        regions += _stretches(chrom, cuts, names) if chrom == test.chrom else _stretches(chrom, [0, length], ["train"])
    return regions


METHODS: dict[str, Callable[[Mapping[str, int], Fractions, int, int], list[Interval]]] = {
    "chromosome": _by_chromosome,
    "region": _by_region,
    "none": _none,
}


def _large(chrom_sizes: Mapping[str, int]) -> list[str]:
    longest = max(chrom_sizes.values())
    return [chrom for chrom, size in chrom_sizes.items() if size >= _SMALL * longest]


def _stretches(chrom: str, cuts: Sequence[int], names: Sequence[str]) -> list[Interval]:
    ends = zip(cuts, cuts[1:], names, strict=False)
    return [Interval(chrom, start, end, name) for start, end, name in ends if start < end]


def _with_gaps(regions: Sequence[Interval], gap: int) -> list[Interval]:
    """Shorten the regions of a contig where another part follows or goes before; of two, the one nearer to train."""
    if gap == 0:
        return list(regions)
    by_contig: dict[str, list[Interval]] = {}
    for region in regions:
        by_contig.setdefault(region.chrom, []).append(region)
    shortened = []
    for stretch in by_contig.values():
        for before, region, after in zip(stretch[-1:] + stretch, stretch, stretch[1:] + stretch[:1], strict=False):
            yields = [SPLITS.index(region.name) < SPLITS.index(other.name) for other in (before, after)]
            shorter = region._replace(start=region.start + gap * yields[0], end=region.end - gap * yields[1])
            if shorter.length <= 0:
                raise DatasetError(
                    f"a gap of {gap} bp leaves nothing of the {region.name} region {region.region}; "
                    "name the parts as a list of longer intervals, or take a shorter gap or window"
                )
            shortened.append(shorter)
    return shortened


def _joined(regions: Iterable[Interval]) -> dict[str, list[Interval]]:
    """Return the regions by contig, in order, with neighbours of one name made one."""
    joined: dict[str, list[Interval]] = {}
    for region in sorted(regions, key=lambda region: (region.chrom, region.start)):
        if region.name not in SPLITS:
            raise DatasetError(
                f"the region {region.region} is named {region.name!r}, wanted one of {', '.join(SPLITS)}"
            )
        stretch = joined.setdefault(region.chrom, [])
        last = stretch[-1] if stretch else None
        if last is not None and region.start <= last.end and region.name == last.name:
            stretch[-1] = last._replace(end=max(last.end, region.end))
        elif last is not None and region.start < last.end:
            raise DatasetError(
                f"the {region.name} region {region.region} overlaps the {last.name} region {last.region}"
            )
        else:
            stretch.append(region)
    return joined


def _summary(regions: Iterable[Interval]) -> str:
    totals = dict.fromkeys(SPLITS, 0)
    for region in regions:
        totals[region.name] += region.length
    return ", ".join(f"{name} {bp:,} bp" for name, bp in totals.items())
