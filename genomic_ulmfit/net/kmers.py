"""Sequence in, k-mer ids out, and back: a formula, not a vocabulary file.

PAD is 0, UNK is 1, and a k-mer over A < C < G < T is 2 plus its base-4 number. ``ids[i]`` stands for the bases
``[i * stride, i * stride + k)`` of the sequence (0-based half-open). A backward vocabulary reads the same k-mers of the
same strand from the last to the first: a net that is given its ids reads from right to left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from Bio.Seq import Seq
from numpy.typing import NDArray

from genomic_ulmfit.errors import SequenceTooShortError, SettingError
from genomic_ulmfit.letters import UNKNOWN, base_codes

__all__ = ["PAD", "UNK", "Direction", "KmerVocab"]

Direction = Literal["forward", "backward"]

_Integer = TypeVar("_Integer", bound=np.integer)

PAD = 0
UNK = 1
_SPECIAL = 2


@dataclass(frozen=True)
class KmerVocab:
    """The vocabulary of all k-mers, read at every `stride` bases.

    Parameters
    ----------
    k : int
        Length of a k-mer in bp, 1 to 8.
    stride : int
        Distance between the starts of neighbouring k-mers in bp, 1 to `k`.
    direction : {"forward", "backward"}
        Order of the ids: from the sequence's first k-mer to its last, or from its last to its first. This is not the
        reverse complement: the letters of each k-mer are those of the same strand, from left to right.

    Raises
    ------
    SettingError
        If `k` or `stride` is out of range, or `direction` is neither of the two.

    Examples
    --------
    >>> vocab = KmerVocab(k=4, stride=3)
    >>> ids = vocab.encode("ATCGCGTACGATCCG")
    >>> list(vocab.kmers(ids))
    ['ATCG', 'GCGT', 'TACG', 'GATC']
    >>> vocab.decode(ids)
    'ATCGCGTACGATC'
    >>> vocab.span(1)
    (3, 7)
    >>> backward = KmerVocab(k=4, stride=3, direction="backward")
    >>> list(backward.kmers(backward.encode("ATCGCGTACGATCCG")))
    ['GATC', 'TACG', 'GCGT', 'ATCG']
    """

    k: int = 3
    stride: int = 1
    direction: Direction = "forward"

    def __post_init__(self) -> None:
        """Check k, stride and direction."""
        if not 1 <= self.k <= 8:
            raise SettingError(f"k is {self.k}, wanted 1 to 8")
        if not 1 <= self.stride <= self.k:
            raise SettingError(f"stride is {self.stride}, wanted 1 to k = {self.k}")
        if self.direction not in ("forward", "backward"):
            raise SettingError(f"direction is {self.direction!r}, wanted 'forward' or 'backward'")

    def __len__(self) -> int:
        """Return the number of ids: 4**k k-mers, PAD and UNK."""
        return _SPECIAL + 4**self.k

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned integer type that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    def n_kmers(self, length: int) -> int:
        """Return how many whole k-mers a sequence of `length` bp has; 0 where it is shorter than k."""
        return max(0, (length - self.k) // self.stride + 1)

    def span(self, index: int) -> tuple[int, int]:
        """Return the bases ``[start, end)`` of a sequence's k-mer `index`, counted from the left in both directions."""
        return index * self.stride, index * self.stride + self.k

    def turned(self, ids: NDArray[_Integer]) -> NDArray[_Integer]:
        """Turn ids (..., n_kmers) from the sequence's order into the order of reading, or back: a view."""
        return ids[..., ::-1] if self.direction == "backward" else ids

    def turned_starts(self, starts: NDArray[np.int64], width: int, n: int) -> NDArray[np.int64]:
        """Turn the starts of stretches of `width` among `n` k-mers from the sequence's order into that of reading."""
        return n - width - starts if self.direction == "backward" else starts

    def encode(self, sequence: str | bytes | Seq) -> NDArray[np.unsignedinteger]:
        """Turn a sequence into k-mer ids.

        Parameters
        ----------
        sequence : str, bytes or Seq
            Letters; U reads as T and lower case as upper. A k-mer with any other letter than A, C, G, T becomes UNK.

        Returns
        -------
        uint8, uint16 or uint32 array, shape (n_kmers,)
            The ids in the order of reading; the smallest type that holds the vocabulary.

        Raises
        ------
        SequenceTooShortError
            If the sequence is shorter than k.
        """
        bases = base_codes(sequence)
        n = self.n_kmers(len(bases))
        if n == 0:
            raise SequenceTooShortError(len(bases), self.k)
        number = np.zeros(n, dtype=self.dtype)
        unknown = np.zeros(n, dtype=bool)
        reach = (n - 1) * self.stride + 1
        for offset in range(self.k):
            column = bases[offset : offset + reach : self.stride]
            number *= number.dtype.type(4)
            number += column & 3
            unknown |= column == UNKNOWN
        number += number.dtype.type(_SPECIAL)
        number[unknown] = UNK
        return np.ascontiguousarray(self.turned(number))

    def kmers(self, ids: NDArray[np.integer]) -> Iterator[str]:
        """Spell each id: a k-mer, k times ``N`` for UNK, nothing for PAD."""
        letters = np.frombuffer(b"ACGTN", dtype=np.uint8)
        for row in letters[self._digits(ids)]:
            yield row.tobytes().decode()

    def decode(self, ids: NDArray[np.integer]) -> str:
        """Turn ids back into the sequence they cover.

        Parameters
        ----------
        ids : integer array, shape (n_kmers,)
            Ids as made by `encode`; PADs are left out. A base is N where every k-mer that covers it is UNK.

        Returns
        -------
        str
            ``span(n_kmers - 1)[1]`` bases, upper case.

        Raises
        ------
        ValueError
            If an id is not of this vocabulary.
        """
        digits = self._digits(self.turned(ids))
        if len(digits) == 0:
            return ""
        bases = np.full(self.span(len(digits) - 1)[1], UNKNOWN, dtype=np.uint8)
        known = digits[:, 0] != UNKNOWN
        starts = np.arange(len(digits)) * self.stride
        for offset in range(self.k):
            bases[starts[known] + offset] = digits[known, offset]
        return np.frombuffer(b"ACGTN", dtype=np.uint8)[bases].tobytes().decode()

    def _digits(self, ids: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return base codes (n, k) of the ids that aren't PAD, all 4 in the rows of UNK."""
        ids = np.asarray(ids).astype(np.int64)
        if ids.size and not (ids.min() >= 0 and ids.max() < len(self)):
            raise ValueError(f"ids run from {ids.min()} to {ids.max()}, wanted 0 to {len(self) - 1} (k = {self.k})")
        ids = ids[ids != PAD]
        powers = 4 ** np.arange(self.k - 1, -1, -1)
        digits = ((ids - _SPECIAL)[:, None] // powers % 4).astype(np.uint8)
        digits[ids == UNK] = UNKNOWN
        return digits
