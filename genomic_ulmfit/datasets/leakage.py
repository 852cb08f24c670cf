"""What the parts of a data set have in common: records by part in, counts and shares by class out.

Parts are a mapping from "train", "valid" and "test" to their records, as `by_part` gives it. Across parts, the later
part is looked for in the earlier one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from Bio.Seq import reverse_complement
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.records import SPLITS, labels, letters, part, place
from genomic_ulmfit.datasets.strategies import SHUFFLES
from genomic_ulmfit.genome.algebra import count_overlaps
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.letters import base_codes

__all__ = ["by_part", "duplicates", "label_conflicts", "overlaps", "shared_kmers", "strangers"]

Parts = Mapping[str, Sequence[SeqRecord]]


def by_part(records: Sequence[SeqRecord]) -> dict[str, list[SeqRecord]]:
    """Return the records of each part that has any, train first."""
    found = {name: part(records, name) for name in SPLITS}
    return {name: members for name, members in found.items() if members}


def duplicates(parts: Parts) -> dict[str, dict[str, dict[str, Any]]]:
    """Count the records that repeat another, letter for letter or as its reverse complement.

    Parameters
    ----------
    parts : mapping of str to sequence of SeqRecord
        As from `by_part`. Case, and U for T, make no difference.

    Returns
    -------
    dict
        ``["within"][part]``: ``"exact"``, the records whose letters an earlier one of the part has, and
        ``"reverse_complement"``, those not counted yet whose reverse complement an earlier one has.
        ``["across"]["test in train"]``: the same for records of one part found in another, and ``"share"``, their
        share by class.

    Examples
    --------
    >>> from Bio.Seq import Seq
    >>> records = [SeqRecord(Seq(text), annotations={"label": "a"}) for text in ("AACC", "GGTT", "AACC")]
    >>> duplicates({"train": records})["within"]["train"]
    {'exact': 1, 'reverse_complement': 1}
    """
    texts = {name: [_text(record) for record in records] for name, records in parts.items()}
    seen = {name: set(found) for name, found in texts.items()}
    across: dict[str, dict[str, Any]] = {}
    for earlier, later in combinations(parts, 2):
        exact = np.array([text in seen[earlier] for text in texts[later]])
        flipped = ~exact & np.array([reverse_complement(text) in seen[earlier] for text in texts[later]])
        across[f"{later} in {earlier}"] = {
            "exact": int(exact.sum()),
            "reverse_complement": int(flipped.sum()),
            "share": _shares(parts[later], exact | flipped),
        }
    return {"within": {name: _repeats(found) for name, found in texts.items()}, "across": across}


def label_conflicts(records: Iterable[SeqRecord]) -> int:
    """Return how many different sequences are there with two labels or more."""
    found = defaultdict(set)
    for record in records:
        found[_text(record)].add(record.annotations.get("label"))
    return sum(len(names) > 1 for names in found.values())


def shared_kmers(parts: Parts, k: int = 25) -> dict[str, dict[str, float]]:
    """Return the share of records, by part and class, that have a k-mer in common with training, on either strand.

    Examples
    --------
    >>> from Bio.Seq import Seq
    >>> train, test = (SeqRecord(Seq(text), annotations={"label": "a"}) for text in ("AACCA", "TGGTTA"))
    >>> shared_kmers({"train": [train], "test": [test]}, k=4)
    {'test': {'a': 1.0}}
    """
    learnt = KmerSet(map(letters, parts.get("train", ())), k)
    return {name: _shares(parts[name], learnt.hits(map(letters, parts[name]))) for name in parts if name != "train"}


def overlaps(parts: Parts) -> dict[str, Any] | None:
    """Count the records that share bases of the genome with another, whatever the strand; shuffled ones lie nowhere.

    Returns
    -------
    dict or None
        ``["placed"]``: how many records have a place; None in place of all where none has. ``["within"][part]``: how
        many of them overlap another of their part. ``["across"]["test in train"]``: ``"records"``, how many of test
        overlap one of train, and ``"share"``, their share by class.
    """
    places = {name: [_place(record) for record in records] for name, records in parts.items()}
    placed = sum(interval is not None for found in places.values() for interval in found)
    if not placed:
        return None
    across = {}
    for earlier, later in combinations(parts, 2):
        hit = _overlap_counts(places[later], places[earlier]) > 0
        across[f"{later} in {earlier}"] = {"records": int(hit.sum()), "share": _shares(parts[later], hit)}
    within = {name: int((_overlap_counts(found, found) > 1).sum()) for name, found in places.items()}
    return {"placed": placed, "within": within, "across": across}


def strangers(genome: Genome, records: Iterable[SeqRecord]) -> dict[str, Any]:
    """Count the records whose sequence is not what the genome has at their place.

    Shuffled negatives have none. Letters other than A, C, G and T in a record, as masks are, agree with anything.

    Returns
    -------
    dict
        ``"checked"``, the records that have a place; ``"mismatches"``; and ``"first"``, the id of the first of them,
        or None.

    Raises
    ------
    UnknownChromosomeError, OutOfRangeError
        If a place is not in the genome.
    """
    found = [(record, interval) for record in records if (interval := _place(record)) is not None]
    fetched = genome.fetch_many([interval for _, interval in found])
    wrong = [record.id for (record, _), other in zip(found, fetched, strict=True) if not _agree(record, other)]
    return {"checked": len(found), "mismatches": len(wrong), "first": wrong[0] if wrong else None}


def _place(record: SeqRecord) -> Interval | None:
    """Return where a record lies; a shuffled one has letters that lie nowhere, and says where they were taken from."""
    return None if record.annotations.get("strategy") in SHUFFLES else place(record)


def _text(record: SeqRecord) -> str:
    return str(letters(record)).upper().replace("U", "T")


def _repeats(texts: Iterable[str]) -> dict[str, int]:
    seen: set[str] = set()
    exact = flipped = 0
    for text in texts:
        if text in seen:
            exact += 1
        elif reverse_complement(text) in seen:
            flipped += 1
        seen.add(text)
    return {"exact": exact, "reverse_complement": flipped}


def _shares(records: Sequence[SeqRecord], hit: np.ndarray) -> dict[str, float]:
    """Return the share of hits among the records of each class."""
    classes, members = np.unique(labels(records), return_inverse=True)
    shares = np.bincount(members, weights=hit) / np.bincount(members)
    return dict(zip(classes.tolist(), shares.tolist(), strict=True))


def _overlap_counts(places: Sequence[Interval | None], others: Sequence[Interval | None]) -> np.ndarray:
    """Return how many of the others overlap each place; 0 for what has none."""
    counts = np.zeros(len(places), dtype=np.int64)
    placed = np.array([interval is not None for interval in places], dtype=bool)
    counts[placed] = count_overlaps(filter(None, places), filter(None, others))
    return counts


def _agree(record: SeqRecord, other: SeqRecord) -> bool:
    here, there = base_codes(letters(record)), base_codes(letters(other))
    return len(here) == len(there) and not ((here != there) & (here < 4)).any()
