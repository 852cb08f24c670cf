"""Sequences that are alike: sequences in, shared k-mers and groups of relatives out, on either strand.

Two sequences are related where they share a k-mer that is rare and not simple; relatives of relatives are one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from Bio.Seq import Seq, reverse_complement

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.letters import base_codes

__all__ = ["HomologyGroups", "KmerSet", "canonical_kmers", "homology_groups"]

_CHUNK = 1 << 18  # k-mers worked on at a time: their numbers stay in the processor's cache
_DUST = 2  # Morgulis et al. 2006 (doi:10.1089/cmb.2006.13.1028) mask what scores above 2


@dataclass(frozen=True)
class HomologyGroups:
    """Groups of related sequences.

    Parameters
    ----------
    groups : int64 array, shape (n,)
        The group of each sequence, numbered in the order in which they first appear.
    left_out : mapping of str to int
        How many different shared k-mers joined nothing: "low complexity", and "frequent" (in more than `most`).
    most : int
        In how many different sequences a k-mer may lie and still join them.
    """

    groups: np.ndarray
    left_out: Mapping[str, int]
    most: int

    @property
    def sizes(self) -> np.ndarray:
        """Sequences in each group: int64 array, shape (n_groups,)."""
        return np.bincount(self.groups)

    @property
    def largest(self) -> float:
        """Share of the sequences that lie in the largest group; 0 where there are none."""
        return float(self.sizes.max() / len(self.groups)) if len(self.groups) else 0.0


class KmerSet:
    """The k-mers of some sequences, on either strand.

    Parameters
    ----------
    sequences : iterable of str or Seq
        Of any lengths; k-mers with letters other than A, C, G and T are left out.
    k : int
        1 to 32.
    simple : bool
        Whether k-mers of low complexity, as `homology_groups` takes them, count.

    Examples
    --------
    >>> kmers = KmerSet(["AACCC"], k=4)
    >>> len(kmers), kmers.hits(["TTGGGTTA", "AACC", "AAC"]).tolist()
    (2, [True, True, False])
    """

    def __init__(self, sequences: Iterable[str | Seq], k: int = 25, *, simple: bool = True) -> None:
        self.k = k
        kmers = canonical_kmers(sequences, k)[0]
        kmers.sort()  # np.unique hashes, which takes many times as long
        kmers = kmers[_first_of_run(kmers)]
        self._kmers = kmers if simple else kmers[~_low_complexity(kmers, k)]

    def __len__(self) -> int:
        """Return the number of different k-mers."""
        return len(self._kmers)

    def hits(self, sequences: Iterable[str | Seq]) -> np.ndarray:
        """Tell which sequences hold at least one of the k-mers.

        Parameters
        ----------
        sequences : iterable of str or Seq
            Of any lengths.

        Returns
        -------
        bool array, shape (n_sequences,)
        """
        sequences = list(sequences)
        kmers, owners = canonical_kmers(sequences, self.k)
        found = np.zeros(len(sequences), dtype=bool)
        if len(self):
            at = np.searchsorted(self._kmers[:-1], kmers)  # one past the end finds the last
            found[owners[self._kmers[at] == kmers]] = True
        return found


def homology_groups(sequences: Iterable[str | Seq], *, k: int = 25, most: int | None = None) -> HomologyGroups:
    """Group sequences so that those which share a k-mer, on either strand, are in one group.

    Two kinds of k-mers join nothing, so that repeats do not chain everything together. Low complexity: the DUST score
    (pairs of equal triplets in the k-mer, divided by its number of triplets less 1) is above 2, as in repeats of one to
    four bases. Frequent: the k-mer lies in more than `most` different sequences, or overlaps one that does where it
    lies. Equal sequences are in one group all the same, however short or simple they are.

    Parameters
    ----------
    sequences : iterable of str or Seq
        Of any lengths.
    k : int
        1 to 32.
    most : int, optional
        In how many different sequences a k-mer may lie. By default a tenth of them, and at least 50:
        adapters and primers lie in more, a genome's repeats hardly ever.

    Returns
    -------
    HomologyGroups

    Examples
    --------
    >>> found = homology_groups(["AACAGATTC", "GATCCTA", "TTGGATCAA", "AAAAAA", "TTTTTT"], k=5)
    >>> found.groups.tolist(), found.largest
    ([0, 1, 1, 2, 2], 0.4)
    """
    different, which = _different(sequences)
    most = max(50, len(different) // 10) if most is None else most
    kmers, owners, where = _repeated(different, k)
    first = _first_of_run(kmers)
    run = np.cumsum(first) - 1
    n_owners = np.bincount(run[first | _first_of_run(owners)])
    shared = n_owners > 1
    simple = shared & _low_complexity(kmers[first], k)
    frequent = shared & (n_owners > most) & ~simple
    joins = (shared & ~simple)[run] & ~_overlapping(where, where[frequent[run]], k)
    groups = _components(*_links(kmers[joins], owners[joins]), len(different))
    left_out = {"low complexity": int(simple.sum()), "frequent": int(frequent.sum())}
    return HomologyGroups(_in_order(groups[which]), left_out, most)


def canonical_kmers(sequences: Iterable[str | Seq], k: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Return the k-mers of sequences, each as the smaller of itself and its reverse complement.

    Parameters
    ----------
    sequences : iterable of str or Seq
        Of any lengths; k-mers with letters other than A, C, G and T are left out.
    k : int
        1 to 32.

    Returns
    -------
    kmers : uint64 array, shape (n_kmers,)
        Base-4 numbers, A<C<G<T, in order.
    owners : int64 array, shape (n_kmers,)
        Index of the sequence that each comes from.

    Examples
    --------
    >>> kmers, owners = canonical_kmers(["AACC", "GGTT", "ANCC"], k=4)
    >>> kmers.tolist(), owners.tolist()
    ([5, 5], [0, 1])
    """
    kmers, where, starts = _positions(sequences, k)
    return kmers, np.searchsorted(starts, where, side="right") - 1


# K-mers ---------------------------------------------------------------------------------------------------------------


def _positions(sequences: Iterable[str | Seq], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return canonical k-mers, where each starts in the sequences laid end to end, and where each sequence starts."""
    if not 1 <= k <= 32:
        raise SettingError(f"k is {k}, wanted 1 to 32")
    gap = np.full(1, 4, np.uint8)  # an unknown base before each sequence keeps k-mers from running across
    pieces = [np.concatenate([gap, base_codes(sequence)]) for sequence in sequences]
    codes = np.concatenate([gap, *pieces])
    chunks = [_known_kmers(codes[at : at + _CHUNK + k - 1], k) for at in range(0, len(codes), _CHUNK)]
    kmers = np.concatenate([numbers for numbers, _ in chunks])
    where = np.concatenate([number * _CHUNK + places for number, (_, places) in enumerate(chunks)])
    return kmers, where, np.cumsum([1] + [len(piece) for piece in pieces])[:-1]


def _known_kmers(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the canonical numbers of k-mers without unknown bases, and where they start."""
    n = max(0, len(codes) - k + 1)
    unknown = np.concatenate([[0], np.cumsum(codes > 3)])
    where = np.flatnonzero(unknown[k : k + n] == unknown[:n])
    bases = (codes & 3).astype(np.uint64)
    forward, backward = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    for i in range(k):
        forward = (forward << np.uint64(2)) | bases[i : i + n]
        backward |= (np.uint64(3) - bases[i : i + n]) << np.uint64(2 * i)
    return np.minimum(forward, backward)[where], where


def _first_of_run(values: np.ndarray) -> np.ndarray:
    """Tell which of sorted values differ from the one before."""
    return np.concatenate([np.ones(len(values[:1]), dtype=bool), values[1:] != values[:-1]])


def _repeated(sequences: list[str], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k-mers that occur more than once, sorted, with their owners and places, both rising within a k-mer."""
    kmers, where, starts = _positions(sequences, k)
    order = np.argsort(kmers, kind="stable")
    kmers = kmers[order]
    first = _first_of_run(kmers)
    again = ~(first & np.concatenate([first[1:], first[:1]]))
    where = where[order[again]]
    return kmers[again], np.searchsorted(starts, where, side="right") - 1, where


def _low_complexity(kmers: np.ndarray, k: int) -> np.ndarray:
    """Tell which k-mers have a DUST score above 2."""
    pairs = np.zeros(len(kmers), dtype=np.int64)
    for at in range(0, len(kmers), _CHUNK):
        chunk = kmers[at : at + _CHUNK]
        triplets = np.array([(chunk >> np.uint64(2 * i)) & np.uint64(63) for i in range(k - 2)], dtype=np.uint8)
        for lag in range(1, k - 2):
            pairs[at : at + _CHUNK] += (triplets[lag:] == triplets[:-lag]).sum(axis=0)
    return pairs > max(0, _DUST * (k - 3))


def _overlapping(where: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Tell which k-mers share a base with one of the others. Those of two sequences start more than k apart."""
    edges = np.sort(others)
    reach = np.searchsorted(edges, where + k) - np.searchsorted(edges, where - k, side="right")
    return reach > 0


# Groups ---------------------------------------------------------------------------------------------------------------


def _different(sequences: Iterable[str | Seq]) -> tuple[list[str], np.ndarray]:
    """Return the sequences that differ, whatever the strand and case, and for each sequence which of them it is."""
    numbers: dict[str, int] = {}
    which = []
    for sequence in sequences:
        text = str(sequence).upper().replace("U", "T")
        which.append(numbers.setdefault(min(text, reverse_complement(text)), len(numbers)))
    return list(numbers), np.array(which, dtype=np.int64)


def _links(kmers: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each owner of a k-mer but the last with the next: a chain joins them as well as all pairs would."""
    later = np.flatnonzero(~_first_of_run(kmers))
    return owners[later - 1], owners[later]


def _components(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Return the connected component of each of n nodes, given edges from a to b."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
    return connected_components(graph, directed=False)[1] if n else np.empty(0, np.int64)


def _in_order(groups: np.ndarray) -> np.ndarray:
    """Return the groups numbered in the order in which they first appear."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
