"""Letters of nucleotide sequences as numbers: the one place that says which are bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from Bio.Seq import Seq

__all__ = ["UNKNOWN", "base_codes"]

UNKNOWN = 4

_CODES = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _letters in enumerate((b"Aa", b"Cc", b"Gg", b"TtUu")):
    _CODES[list(_letters)] = _code


def base_codes(sequence: str | bytes | Seq) -> NDArray[np.uint8]:
    """Return bases as numbers, in either case.

    Parameters
    ----------
    sequence : str, bytes or Seq
        Any letters.

    Returns
    -------
    uint8 array, shape (length,)
        A 0, C 1, G 2, T and U 3, any other letter 4.

    Examples
    --------
    >>> base_codes("ACGTun").tolist()
    [0, 1, 2, 3, 3, 4]
    """
    text = sequence.encode("latin-1", "replace") if isinstance(sequence, str) else bytes(sequence)
    return _CODES[np.frombuffer(text, dtype=np.uint8)]
