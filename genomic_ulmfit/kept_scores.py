"""What a scan has found so far, in one file: a scan that was stopped goes on from there.

The file begins with a line of JSON, the settings that it belongs to. Then come the stretches of the genome in the
order of the scan, each as the CRC-32 of its bases (uint32) and its scores (float32, strand by strand).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from genomic_ulmfit.errors import ResumeError
from genomic_ulmfit.net.resuming import differences

__all__ = ["KeptScores", "kept_scores"]

_KEY = "genomic_ulmfit_scan"
_FORMAT_VERSION = 1
_CRC = np.dtype("<u4")
_SCORE = np.dtype("<f4")

log = logging.getLogger(__name__)


class KeptScores:
    """Gives back the scores that an earlier run found, one stretch after the other; then keeps what is found now.

    Without a file there is nothing to give back, and nothing is kept.
    """

    def __init__(self, path: Path | None, handle: BinaryIO | None) -> None:
        self.path, self.handle = path, handle
        self.reading = handle is not None
        self.bases = 0

    def read(self, sequence: str, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """Return the scores of the next stretch, float32 (n_strands, n_bins); None where they are still to be found.

        Raises
        ------
        ResumeError
            If they are of other bases.
        """
        if self.handle is None or self.path is None or not self.reading:
            return None
        begin, size = self.handle.tell(), shape[0] * shape[1] * _SCORE.itemsize
        crc, scores = self.handle.read(_CRC.itemsize), self.handle.read(size)
        if len(scores) < size:  # no more is there, or the run was killed as it wrote
            self.handle.seek(begin)
            self.handle.truncate()
            self.reading = False
            if self.bases:
                log.info("%s: going on after the %s bp that were scored", self.path, f"{self.bases:,}")
            return None
        if np.frombuffer(crc, dtype=_CRC)[0] != _crc(sequence):
            raise ResumeError(self.path, "the scores there are of another genome; name that one, or delete the file")
        self.bases += len(sequence)
        return np.frombuffer(scores, dtype=_SCORE).reshape(shape).astype(np.float32)

    def add(self, sequence: str, scores: NDArray[np.float32]) -> None:
        """Keep the scores (n_strands, n_bins) of a stretch."""
        if self.handle is not None:
            self.handle.write(np.array([_crc(sequence)], dtype=_CRC).tobytes() + scores.astype(_SCORE).tobytes())
            self.handle.flush()
            self.bases += len(sequence)


@contextmanager
def kept_scores(path: Path | None, settings: Mapping[str, Any], *, resume: bool) -> Iterator[KeptScores]:
    """Open the file, or begin it; say what is in it when the work is broken off.

    Parameters
    ----------
    path : Path, optional
        The file; nothing is kept if not given.
    settings : mapping
        What must be the same when the scan goes on, as plain JSON values.
    resume : bool
        Go on with what is in the file, if it is there.

    Raises
    ------
    ResumeError
        If the file is no such one or is of other settings; or if scores are in it and `resume` was not asked for.
    FileNotFoundError
        If its folder is not there.
    """
    if path is None:
        yield KeptScores(None, None)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    begun = path.exists() and _is_begun(path, settings, resume)
    with open(path, "r+b" if begun else "w+b") as handle:
        if begun:
            handle.readline()
        else:
            handle.write(json.dumps({_KEY: _FORMAT_VERSION, "settings": dict(settings)}).encode() + b"\n")
        kept = KeptScores(path, handle)
        try:
            yield kept
        except BaseException:
            if kept.bases:
                log.warning("%s: the scores of %s bp are kept there, to go on from", path, f"{kept.bases:,}")
            elif not begun:
                path.unlink()
            raise


def _is_begun(path: Path, settings: Mapping[str, Any], resume: bool) -> bool:
    """Tell whether there is something to go on from; refuse what is of another scan, and to throw away its work."""
    with open(path, "rb") as handle:
        first, more = handle.readline(), handle.read(1)
    if not first:
        return False
    try:
        said = json.loads(first)
        version, there = said[_KEY], said["settings"]
    except (ValueError, KeyError, TypeError):
        raise ResumeError(path, "is not the checkpoint of a scan; name another, or delete the file") from None
    if version > _FORMAT_VERSION:
        raise ResumeError(path, "a newer genomic_ulmfit wrote it; install that one")
    if not resume:
        if more:
            raise ResumeError(path, "holds scores of a scan; go on with it (resume), or delete the file to start anew")
        return False
    different = differences(there, settings)
    if different:
        advice = "give the same settings and files, or delete the file to start anew"
        raise ResumeError(path, f"the checkpoint is of another scan: {'; '.join(different)}; {advice}", different)
    return True


def _crc(sequence: str) -> int:
    return zlib.crc32(sequence.upper().encode())
