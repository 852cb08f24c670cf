"""Windows of a sequence as a model reads them: letters and offsets in, k-mer ids and each window's place there out.

Windows that overlap share their k-mers, so that `net.sharing.Slider` can share their states.
"""

from __future__ import annotations

import numpy as np
from Bio.Seq import Seq
from numpy.typing import NDArray

from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.kmers import UNK, KmerVocab

__all__ = ["encode_windows"]


def encode_windows(
    vocab: KmerVocab, sequence: str, offsets: NDArray[np.int64], length: int, strand: str
) -> tuple[Ids, NDArray[np.int64], NDArray[np.bool_]]:
    """Encode windows of one length.

    The k-mers of a strand are read at every `stride` bases in as many ways as there are phases; the ids of one phase
    follow on those of another, so that the k-mers of each window lie side by side. A backward vocabulary reads all of
    them from the last to the first: the mirrored stretch.

    Parameters
    ----------
    vocab : KmerVocab
        The k-mers.
    sequence : str
        Letters of the "+" strand, at least k.
    offsets : int64 array, shape (n_windows,)
        Where the windows begin on the "+" strand, in any order; each ends inside the sequence.
    length : int
        Of a window, in bp.
    strand : {"+", "-"}
        "-" reads the reverse complement of each window.

    Returns
    -------
    ids : unsigned integer array, shape (n_ids,)
        Of all k-mers, in the order of reading.
    starts : int64 array, shape (n_windows,)
        Index in `ids` of each window's first k-mer.
    known : bool array, shape (n_windows,)
        False where a k-mer of the window has a letter other than A, C, G, T.

    Examples
    --------
    >>> vocab = KmerVocab(k=2)
    >>> ids, starts, known = encode_windows(vocab, "AACGN", np.array([0, 2]), 3, "+")
    >>> [vocab.decode(ids[start : start + 2]) for start in starts], known.tolist()
    (['AAC', 'CGN'], [True, False])
    """
    letters = Seq(sequence)
    if strand == "-":
        letters, offsets = letters.reverse_complement(), len(letters) - length - offsets
    every = KmerVocab(vocab.k, 1).encode(letters)
    phases = [every[phase :: vocab.stride] for phase in range(vocab.stride)]
    ids, begins = np.concatenate(phases), np.cumsum([0, *map(len, phases)])
    starts = begins[offsets % vocab.stride] + offsets // vocab.stride
    n = vocab.n_kmers(length)
    unknown = np.cumsum(np.concatenate([[False], ids == UNK]))
    known = unknown[starts] == unknown[starts + n]
    return vocab.turned(ids), vocab.turned_starts(starts, n, len(ids)), known
