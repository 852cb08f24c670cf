"""Saliencies and matrices of mutagenesis in; tracks, letter heights and TF-MoDISco's files out; no net runs here.

Positions are 0-based in a record as given, and 0-based half-open on the genome in tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.datasets.records import letters, place
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.algebra import linear_parts, merge
from genomic_ulmfit.genome.blocks import ScoreBlock
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.letters import base_codes
from genomic_ulmfit.net.awd_lstm import LanguageModel
from genomic_ulmfit.net.ensemble import AnyClassifier, Ensemble
from genomic_ulmfit.perturbation import Saliency

__all__ = [
    "check_modisco",
    "hypothetical_attributions",
    "kmer_embeddings",
    "kmer_map",
    "letter_heights",
    "mean_heights",
    "one_hot",
    "saliency_track",
    "write_modisco",
]


# Tracks ---------------------------------------------------------------------------------------------------------------


def saliency_track(
    results: Iterable[Saliency], *, curve: str | None = None, chrom_sizes: Mapping[str, int] | None = None
) -> Iterator[ScoreBlock]:
    """Lay saliencies along the genome, one value a base.

    Parameters
    ----------
    results : iterable of Saliency
        Of records that have a place: ``annotations["chrom" | "start" | "end" | "strand"]``. In any order; of each only
        the values that are drawn are kept.
    curve : str, optional
        The curve to lay out, by what replaced the bases: "1", "5", "TATAAT". The mean of all if not given.
    chrom_sizes : mapping of str to int, optional
        Chromosome lengths in bp: blocks come in their order, as bigWig wants them, and records that cross the origin of
        a circular chromosome are cut there.

    Yields
    ------
    ScoreBlock
        With ``step=1``, sorted by place; where records overlap, the mean. Strand ".".

    Raises
    ------
    DatasetError
        If a record has no place.
    SettingError
        If a result has no such curve.
    UnknownChromosomeError
        If a record is on a chromosome that is not in `chrom_sizes`.
    """
    pieces = [piece for result in results for piece in _pieces(result, curve, chrom_sizes)]
    rank = {chrom: i for i, chrom in enumerate(chrom_sizes or dict.fromkeys(where.chrom for where, _ in pieces))}
    pieces.sort(key=lambda piece: (rank[piece[0].chrom], piece[0].start))
    at = 0
    for stretch in merge(where for where, _ in pieces):
        total, count = np.zeros((2, stretch.length))
        while at < len(pieces) and pieces[at][0].chrom == stretch.chrom and pieces[at][0].start < stretch.end:
            where, values = pieces[at]
            here = slice(where.start - stretch.start, where.end - stretch.start)
            total[here] += np.nan_to_num(values)
            count[here] += np.isfinite(values)
            at += 1
        mean = np.divide(total, count, out=np.full(stretch.length, np.nan), where=count > 0)
        yield ScoreBlock(stretch.chrom, stretch.start, 1, mean, stretch.end)


def _pieces(
    result: Saliency, curve: str | None, chrom_sizes: Mapping[str, int] | None
) -> list[tuple[Interval, NDArray[np.float32]]]:
    """Return the places of a result and their values along the "+" strand: one, or two of a record on the origin."""
    where = place(result.record)
    if where is None:
        raise DatasetError(
            f"record {result.record.id!r} has no place on a genome: its annotations lack chrom, start and end"
        )
    values = _curve(result, curve)
    values = values[::-1] if where.strand == "-" else values
    places = [where] if chrom_sizes is None else linear_parts([where], chrom_sizes)
    if len(places) == 1:
        return [(places[0], values)]
    return list(zip(places, np.split(values, [places[0].length]), strict=True))


def _curve(result: Saliency, name: str | None) -> NDArray[np.float32]:
    if name is None:
        return result.scores
    if name not in result.curves:
        raise SettingError(f"there is no curve {name!r}; wanted one of {', '.join(map(repr, result.curves))}")
    return result.curves[name]


# Letters --------------------------------------------------------------------------------------------------------------


def one_hot(record: SeqRecord) -> NDArray[np.int8]:
    """Return the bases of a record as int8 (n_bases, 4), columns A, C, G, T; any other letter is a row of zeros."""
    return (base_codes(letters(record))[:, None] == np.arange(4)).astype(np.int8)


def letter_heights(record: SeqRecord, scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give each letter of a record the height of its score, for a logo.

    Parameters
    ----------
    record : SeqRecord
        Whose bases are drawn.
    scores : float array, shape (n_bases,) or (n_bases, 4)
        The saliency of each base, or hypothetical attributions, of which that of the base that is there is taken.

    Returns
    -------
    float32 array, shape (n_bases, 4)
        In nats, columns A, C, G, T; 0 but for the base that is there.
    """
    scores = np.nan_to_num(scores)
    return (one_hot(record) * (scores[:, None] if scores.ndim == 1 else scores)).astype(np.float32)


def hypothetical_attributions(changes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Turn a matrix of mutagenesis into what each base would contribute if it were there.

    Parameters
    ----------
    changes : float array, shape (n_bases, 4)
        From `mutagenesis`: log-odds with each base less that of the record.

    Returns
    -------
    float32 array, shape (n_bases, 4)
        Log-odds with a base less the mean of those with the three others, in nats; each row adds up to 0. At the base
        that is there it is the saliency of length 1.

    Examples
    --------
    >>> hypothetical_attributions(np.array([[0.0, -1.0, -2.0, -3.0]])).tolist()
    [[2.0, 0.6666666865348816, -0.6666666865348816, -2.0]]
    """
    return ((4 * changes - changes.sum(axis=1, keepdims=True)) / 3).astype(np.float32)


def mean_heights(records: Sequence[SeqRecord], changes: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Average what the bases of records contribute, position by position, for a logo.

    Parameters
    ----------
    records : sequence of SeqRecord
        All of one length, lined up.
    changes : sequence of float array, shape (n_bases, 4)
        Of each record, from `mutagenesis`.

    Returns
    -------
    float32 array, shape (n_bases, 4)
        In nats: the sum over the records that have a base there, divided by the number of all records.
    """
    each = [letter_heights(r, hypothetical_attributions(c)) for r, c in zip(records, changes, strict=True)]
    return np.mean(each, axis=0, dtype=np.float32)


def write_modisco(
    records: Iterable[SeqRecord], changes: Iterable[NDArray[np.floating]], path: str | Path
) -> tuple[Path, Path]:
    """Write sequences and hypothetical attributions as TF-MoDISco reads them.

    Parameters
    ----------
    records : iterable of SeqRecord
        All of one length.
    changes : iterable of float array, shape (n_bases, 4)
        Of each record, from `mutagenesis`.
    path : str or Path
        ``out.npz`` makes ``out.sequences.npz`` and ``out.attributions.npz``.

    Returns
    -------
    tuple of Path
        Sequences and attributions: for ``modisco motifs -s SEQUENCES -a ATTRIBUTIONS``. Each holds ``arr_0`` of shape
        (n_records, 4, n_bases), rows A, C, G, T: int8 ones where a base is there, and float32 in nats. The first file
        also has the records' ``ids``. The same numbers give the same bytes.

    Raises
    ------
    DatasetError
        If there are no records, they differ in length, or a matrix is not as long as its record.
    SettingError
        If the suffix is not ``.npz``.
    """
    check_modisco(path)
    path, records, changes = Path(path), list(records), list(changes)
    lengths = sorted({len(record) for record in records})
    if len(lengths) != 1:
        found = f"{len(lengths)}, from {lengths[0]} to {lengths[-1]} bp" if lengths else "no records"
        raise DatasetError(f"TF-MoDISco takes records of one length, got {found}; give regions of one length")
    if any(matrix.shape != (lengths[0], 4) for matrix in changes) or len(changes) != len(records):
        raise DatasetError(f"wanted a matrix of shape {(lengths[0], 4)} for each of {len(records)} records")
    sequences = np.stack([one_hot(record).T for record in records])
    attributions = np.stack([hypothetical_attributions(matrix).T for matrix in changes])
    ids = np.array([str(record.id) for record in records])
    files = path.with_suffix(".sequences.npz"), path.with_suffix(".attributions.npz")
    with replacing(files[0]) as first, replacing(files[1]) as second:
        np.savez_compressed(first, arr_0=sequences, ids=ids)
        np.savez_compressed(second, arr_0=attributions)
    return files


def check_modisco(path: str | Path) -> None:
    """Refuse a name that `write_modisco` can't write to, before long work, by a `SettingError`."""
    suffix = Path(path).suffix
    if suffix != ".npz":
        raise SettingError(f"{path}: matrices are written as .npz, got {suffix or 'no suffix'}")


# k-mers ---------------------------------------------------------------------------------------------------------------


def kmer_embeddings(model: LanguageModel | AnyClassifier) -> tuple[list[str], NDArray[np.float32]]:
    """Return the k-mers of a model and what it embeds them as.

    Parameters
    ----------
    model : LanguageModel or Classifier
        It goes home as it came.

    Returns
    -------
    tuple
        4**k k-mers in alphabetical order, and a float32 array of shape (4**k, n_embedding).

    Raises
    ------
    SettingError
        If the model is an ensemble, whose members have embeddings of their own.
    """
    if isinstance(model, Ensemble):
        raise SettingError("an ensemble has no embedding of its own; take one of its members")
    ids = np.arange(len(model.vocab) - 4**model.vocab.k, len(model.vocab))  # those of PAD and UNK come first
    vectors = model.encoder.embedding.weight.detach().cpu().float().numpy()[ids]
    return list(model.vocab.kmers(ids)), vectors.copy()


def kmer_map(vectors: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """Lay vectors out in a plane by t-SNE, so that near ones stay near (van der Maaten & Hinton, JMLR 9:2579, 2008).

    Parameters
    ----------
    vectors : float array, shape (n, n_dimensions)
        At least 4; by the angles between them.
    seed : int
        The same seed gives the same map.

    Returns
    -------
    float32 array, shape (n, 2)
        Only nearness means something: neither axes nor the distances between far groups do.

    Raises
    ------
    SettingError
        If there are fewer than 4 vectors.
    """
    from sklearn.manifold import TSNE

    if len(vectors) < 4:
        raise SettingError(f"a map needs at least 4 vectors, got {len(vectors)}")
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
    return tsne.fit_transform(np.asarray(vectors, dtype=np.float32))
