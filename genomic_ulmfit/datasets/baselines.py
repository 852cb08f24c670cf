"""What no neural net scores: labelled records in, class probabilities of other records out.

A baseline that does as well as a model says what the model can have learnt. Metrics are made from the probabilities
elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.homology import canonical_kmers
from genomic_ulmfit.datasets.records import labels, letters, require_labels
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.letters import base_codes

__all__ = [
    "BASELINES",
    "best_position",
    "each_baseline",
    "gc",
    "gc_shares",
    "kmer",
    "lookup",
    "position",
    "pwm",
    "run_baselines",
]

_log = logging.getLogger(__name__)

_K = 4
_CODON = 3
_LOOKUP_K = 16  # two unrelated records hardly ever share one, and it fits half of a 64-bit number
_PSEUDOCOUNT = 1.0
_CHUNK = 64  # records held as one-hot letters at a time
_MANY = 20_000_000  # records times classes: beyond it logistic regression takes minutes
_MOST_WEIGHTS = 50_000_000  # positions times classes: beyond it the tables by position take gigabytes

Baseline = Callable[[Sequence[SeqRecord], np.ndarray, Sequence[SeqRecord], int], np.ndarray]


def run_baselines(
    train: Sequence[SeqRecord], test: Sequence[SeqRecord], *, classes: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Fit every baseline on some records and give the class probabilities of others.

    Parameters
    ----------
    train : sequence of SeqRecord
        With ``annotations["label"]``, of at least two classes.
    test : sequence of SeqRecord
        Labels are not looked at. At least one.
    classes : sequence of str, optional
        Order of the columns; by default the labels of `train`, sorted. A class that `train` lacks gets zeros.

    Returns
    -------
    dict of str to float64 array, shape (n_test, n_classes)
        By the names of `BASELINES`; what is left out, and why, is logged. Rows add up to 1.

    Raises
    ------
    DatasetError
        If `train` has fewer than two classes, a record without label or one of a class that is not in `classes`, or
        there is nothing in `test`.
    """
    return dict(each_baseline(train, test, classes=classes))


def each_baseline(
    train: Sequence[SeqRecord], test: Sequence[SeqRecord], *, classes: Sequence[str] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Fit one baseline after the other; where classes are many, all their probabilities at once fill the memory.

    Parameters and errors are those of `run_baselines`.

    Yields
    ------
    name : str
        One of `BASELINES`.
    probabilities : float64 array, shape (n_test, n_classes)
    """
    known = require_labels(train)
    classes = list(known if classes is None else classes)
    strange = sorted(set(known) - set(classes))
    if strange:
        raise DatasetError(f"train has records of class {strange[0]!r}, which is not one of {', '.join(classes)}")
    if not test:
        raise DatasetError("there are no test records for the baselines")
    number = {name: at for at, name in enumerate(classes)}
    columns = [number[name] for name in known]
    targets = np.searchsorted(np.array(known), labels(train))
    unfit = _unfit_for_positions({len(record) for record in (*train, *test)}, len(known))
    for name, baseline in BASELINES.items():
        if unfit and baseline in _POSITIONAL:
            _log.info("baseline %s is left out: %s", name, unfit)
            continue
        probabilities = np.zeros((len(test), len(classes)))
        probabilities[:, columns] = baseline(train, targets, test, len(known))
        yield name, probabilities


def gc(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Logistic regression on the share of G and C among the known bases.

    Where records times classes exceed 20 million a linear discriminant takes its place, which needs no iterations.

    Parameters
    ----------
    train, test : sequence of SeqRecord
        Records to learn from, and to give probabilities of.
    targets : int64 array, shape (n_train,)
        Class of each record of `train`; every class has at least one.
    n_classes : int
        At least 2.

    Returns
    -------
    float64 array, shape (n_test, n_classes)
        Probabilities.
    """
    return _regression(gc_shares(train)[:, None], targets, gc_shares(test)[:, None], n_classes)


def kmer(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Logistic regression on the shares of the 256 4-mers, standardised; k-mers with unknown bases don't count.

    Parameters and result are those of `gc`, and so is what takes its place where classes are many.
    """
    return _regression(_kmer_shares(train), targets, _kmer_shares(test), n_classes)


def lookup(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Look 16-mers up in `train`, on either strand: each votes for the classes of the records it was seen in.

    A k-mer has one vote, shared out by the number of records. A record without any hit gets the shares of the classes
    among the records of `train` that find no hit in the rest of `train`, their shares in all of `train` counted as one
    record more: where one class overlaps itself and the other doesn't, finding nothing is an answer too. Nothing is
    learnt but what was seen: above chance, the parts of the data set are not independent. Parameters and result are
    those of `gc`.
    """
    words, members = _seen(train)
    runs = _runs(words)
    among_others = np.repeat(np.diff(runs) > 1, np.diff(runs))
    alone = np.ones(len(train), dtype=bool)
    alone[members[among_others]] = False
    words, classes, shares = _votes(words, targets[members])
    wanted, owners = canonical_kmers(map(letters, test), _LOOKUP_K)
    first, last = np.searchsorted(words, wanted), np.searchsorted(words, wanted, side="right")
    found = _ranges(first, last - first)
    cells = np.repeat(owners, last - first) * n_classes + classes[found]
    votes = np.bincount(cells, shares[found], minlength=len(test) * n_classes).astype(float)  # integers of no cells
    votes = votes.reshape(len(test), n_classes)
    priors = np.bincount(targets, minlength=n_classes) / len(targets)
    votes[~votes.any(axis=1)] = np.bincount(targets[alone], minlength=n_classes) + priors
    return votes / votes.sum(axis=1, keepdims=True)


def pwm(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Naive Bayes on the base at each position: a weight matrix for each class, with a pseudocount of 1.

    Unknown bases say nothing. Parameters and result are those of `gc`; all records are of one length.
    """
    codes = _codes(train)
    weights = np.stack([_log_frequencies(codes[targets == number]) for number in range(n_classes)])
    one_hot, others = np.eye(5), _codes(test)
    scores = np.concatenate(
        [
            one_hot[others[at : at + _CHUNK]].reshape(-1, weights[0].size) @ weights.reshape(n_classes, -1).T
            for at in range(0, len(test), _CHUNK)
        ]
    )
    scores += _log_priors(targets, n_classes)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def position(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Take the best rule that looks at one place: the 3-mer at one position says the class.

    At every position each 3-mer stands for the class it is most often found in; the position whose rule is right most
    often on `train` is taken. Probabilities are the shares of the classes among the records of `train` with that 3-mer
    there, their shares in all of `train` counted as one record more. Parameters and result are those of `gc`; all
    records are of one length.
    """
    codes, others = _codes(train), _codes(test)
    width = min(_CODON, codes.shape[1])
    best, share = _best_position(codes, targets, n_classes)
    _log.info("baseline position: the %d-mer at index %d is right on %.1f %% of train", width, best, 100 * share)
    counts = _table(codes, best, targets, n_classes) + np.bincount(targets, minlength=n_classes) / len(train)
    found = _words(others[:, best : best + width], width)[:, 0]
    return (counts / counts.sum(axis=1, keepdims=True))[found]


def best_position(records: Sequence[SeqRecord]) -> tuple[int, float]:
    """Return the 0-based index of the 3-mer that says the class best, and on which share of the records it is right.

    Parameters
    ----------
    records : sequence of SeqRecord
        With ``annotations["label"]``, all of one length.

    Examples
    --------
    >>> from Bio.Seq import Seq
    >>> texts = (("CAAT", "start"), ("GAAT", "start"), ("CAAG", "body"), ("GAAG", "body"))
    >>> best_position([SeqRecord(Seq(text), annotations={"label": label}) for text, label in texts])
    (1, 1.0)
    """
    known = require_labels(records, at_least=1)
    return _best_position(_codes(records), np.searchsorted(np.array(known), labels(records)), len(known))


BASELINES: dict[str, Baseline] = {"gc": gc, "kmer": kmer, "lookup": lookup, "pwm": pwm, "position": position}

_POSITIONAL = (pwm, position)


def _unfit_for_positions(lengths: set[int], n_classes: int) -> str:
    """Return why tables by position can't be made; nothing if they can."""
    if len(lengths) > 1:
        return "it needs records of one length"
    (length,) = lengths
    return f"{n_classes} classes at {length} positions are too many" if length * n_classes > _MOST_WEIGHTS else ""


# Features -------------------------------------------------------------------------------------------------------------


def gc_shares(records: Sequence[SeqRecord]) -> np.ndarray:
    """Return the share of G and C among the known bases of each record: float64 array, shape (n_records,)."""
    counts = np.stack([np.bincount(base_codes(letters(record)), minlength=5)[:4] for record in records])
    return counts[:, 1:3].sum(axis=1) / np.maximum(1, counts.sum(axis=1))


def _kmer_shares(records: Sequence[SeqRecord]) -> np.ndarray:
    size = 4**_K
    counts = np.stack(
        [np.bincount(_words(base_codes(letters(record)), _K), minlength=size + 1)[:size] for record in records]
    )
    return counts / np.maximum(1, counts.sum(axis=1, keepdims=True))  # (n_records, 256)


def _words(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the base-4 number of the k-mer at each position (the last axis); ``4**k`` where a base is unknown."""
    n = max(0, codes.shape[-1] - k + 1)
    words, unknown = np.zeros((*codes.shape[:-1], n), dtype=np.int64), np.zeros((*codes.shape[:-1], n), dtype=bool)
    for i in range(k):
        words = words * 4 + codes[..., i : i + n]
        unknown |= codes[..., i : i + n] > 3
    return np.where(unknown, 4**k, words)


def _codes(records: Sequence[SeqRecord]) -> np.ndarray:
    return np.stack([base_codes(letters(record)) for record in records])  # (n_records, length)


# Fitting --------------------------------------------------------------------------------------------------------------


def _regression(features: np.ndarray, targets: np.ndarray, others: np.ndarray, n_classes: int) -> np.ndarray:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    many = len(targets) * n_classes > _MANY
    model = LinearDiscriminantAnalysis() if many else LogisticRegression(C=0.1, max_iter=1000)
    return make_pipeline(StandardScaler(), model).fit(features, targets).predict_proba(others)


def _log_priors(targets: np.ndarray, n_classes: int) -> np.ndarray:
    return np.log(np.bincount(targets, minlength=n_classes) / len(targets))


def _log_frequencies(codes: np.ndarray) -> np.ndarray:
    """Return log frequencies by position and base, shape (length, 5); the fifth column, for unknown bases, is zero."""
    counts = np.stack([(codes == base).sum(axis=0) for base in range(4)], axis=1) + _PSEUDOCOUNT
    return np.pad(np.log(counts / counts.sum(axis=1, keepdims=True)), ((0, 0), (0, 1)))


def _best_position(codes: np.ndarray, targets: np.ndarray, n_classes: int) -> tuple[int, float]:
    right = [
        _table(codes, at, targets, n_classes).max(axis=1).sum() for at in range(max(1, codes.shape[1] - _CODON + 1))
    ]
    best = int(np.argmax(right))
    return best, float(right[best] / len(targets))


def _table(codes: np.ndarray, at: int, targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the classes by the word found at a position, shape (n_words, n_classes)."""
    found = codes[:, at : at + _CODON]
    k = found.shape[1]
    cells = _words(found, k)[:, 0] * n_classes + targets
    return np.bincount(cells, minlength=(4**k + 1) * n_classes).reshape(-1, n_classes)


# Look-up --------------------------------------------------------------------------------------------------------------


def _seen(records: Sequence[SeqRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Return the k-mers of records in order, each once for each record that has it, and the records' indices."""
    return _unpacked(_distinct(_packed(*canonical_kmers(map(letters, records), _LOOKUP_K)))[0])


def _votes(words: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sorted k-mers, once for each class, the class, and its share of the records that have the k-mer."""
    pairs, counts = _distinct(_packed(words, classes))
    words, classes = _unpacked(pairs)
    runs = _runs(words)
    totals = np.add.reduceat(counts, runs[:-1]) if len(counts) else counts
    return words, classes, counts / np.repeat(totals, np.diff(runs))


def _packed(words: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Put k-mers and what belongs to them into one 64-bit number each: they sort many times as fast as rows do."""
    return (words << np.uint64(32)) | numbers.astype(np.uint64)


def _unpacked(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pairs >> np.uint64(32), (pairs & np.uint64(2**32 - 1)).astype(np.int64)


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values, sorted, and how often each is there. Sorts in place."""
    values.sort()  # np.unique hashes, which takes many times as long
    runs = _runs(values)
    return values[runs[:-1]], np.diff(runs)


def _runs(values: np.ndarray) -> np.ndarray:
    """Return where runs of equal values start, and where the last one ends."""
    starts = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([starts[:0], [0][: len(values)], starts, [len(values)]]).astype(np.int64)


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers from each start on, as many as its count, one range after the other."""
    offsets = np.cumsum(counts) - counts
    return np.repeat(starts - offsets, counts) + np.arange(counts.sum())
