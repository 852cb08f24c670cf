"""What no neural net scores: labelled records in, class probabilities of other records out.

A baseline that does as well as a model says what the model can have learnt. Metrics are made from the probabilities
elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.records import labels, letters, require_labels
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.letters import base_codes

__all__ = ["BASELINES", "gc", "kmer", "position", "pwm", "run_baselines"]

_log = logging.getLogger(__name__)

_K = 4
_CODON = 3
_PSEUDOCOUNT = 1.0

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
        By the names of `BASELINES`. Those that need all records of one length are left out, and this is logged, where
        the lengths differ. Rows add up to 1.

    Raises
    ------
    DatasetError
        If `train` has fewer than two classes, a record without label or one of a class that is not in `classes`, or
        there is nothing in `test`.
    """
    known = require_labels(train)
    classes = list(known if classes is None else classes)
    strange = sorted(set(known) - set(classes))
    if strange:
        raise DatasetError(f"train has records of class {strange[0]!r}, which is not one of {', '.join(classes)}")
    if not test:
        raise DatasetError("there are no test records for the baselines")
    columns = [classes.index(name) for name in known]
    targets = np.searchsorted(np.array(known), labels(train))
    one_length = len({len(str(record.seq)) for record in (*train, *test)}) == 1
    results = {}
    for name, baseline in BASELINES.items():
        if baseline in _POSITIONAL and not one_length:
            _log.info("baseline %s is left out: it needs records of one length", name)
            continue
        results[name] = np.zeros((len(test), len(classes)))
        results[name][:, columns] = baseline(train, targets, test, len(known))
    return results


def gc(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Logistic regression on the share of G and C among the known bases.

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
    return _regression(_gc_shares(train), targets, _gc_shares(test))


def kmer(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Logistic regression on the shares of the 256 4-mers, standardised; k-mers with unknown bases don't count.

    Parameters and result are those of `gc`.
    """
    return _regression(_kmer_shares(train), targets, _kmer_shares(test))


def pwm(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Naive Bayes on the base at each position: a weight matrix for each class, with a pseudocount of 1.

    Unknown bases say nothing. Parameters and result are those of `gc`; all records are of one length.
    """
    codes = _codes(train)
    weights = np.stack([_log_frequencies(codes[targets == number]) for number in range(n_classes)])
    scores = np.tile(_log_priors(targets, n_classes), (len(test), 1))
    for number, base_weights in enumerate(weights):
        scores[:, number] += np.take_along_axis(base_weights, _codes(test).T, axis=1).sum(axis=0)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def position(train: Sequence[SeqRecord], targets: np.ndarray, test: Sequence[SeqRecord], n_classes: int) -> np.ndarray:
    """Take the best rule that looks at one place: the 3-mer at one position says the class.

    At every position each 3-mer stands for the class it is most often found in; the position whose rule is right most
    often on `train` is taken. Probabilities are the shares of the classes among the records of `train` with that 3-mer
    there, their shares in all of `train` counted as one record more. Parameters and result are those of `gc`; all
    records are of one length.
    """
    found = _codons(train)
    tables = (_table(found[:, at], targets, n_classes) for at in range(found.shape[1]))
    right = [table.max(axis=1).sum() for table in tables]
    best = int(np.argmax(right))
    share = 100 * right[best] / len(train)
    _log.info("baseline position: the %d-mer at index %d is right on %.1f %% of train", _CODON, best, share)
    table = _table(found[:, best], targets, n_classes) + np.bincount(targets, minlength=n_classes) / len(train)
    return (table / table.sum(axis=1, keepdims=True))[_codons(test)[:, best]]


BASELINES: dict[str, Baseline] = {"gc": gc, "kmer": kmer, "pwm": pwm, "position": position}

_POSITIONAL = (pwm, position)


# Features -------------------------------------------------------------------------------------------------------------


def _gc_shares(records: Sequence[SeqRecord]) -> np.ndarray:
    counts = np.stack([np.bincount(base_codes(letters(record)), minlength=5)[:4] for record in records])
    return (counts[:, 1:3].sum(axis=1) / np.maximum(1, counts.sum(axis=1)))[:, None]  # (n_records, 1)


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


def _codons(records: Sequence[SeqRecord]) -> np.ndarray:
    codes = _codes(records)
    return _words(codes, min(_CODON, codes.shape[1]))  # (n_records, n_positions)


# Fitting --------------------------------------------------------------------------------------------------------------


def _regression(features: np.ndarray, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return model.fit(features, targets).predict_proba(others)


def _log_priors(targets: np.ndarray, n_classes: int) -> np.ndarray:
    return np.log(np.bincount(targets, minlength=n_classes) / len(targets))


def _log_frequencies(codes: np.ndarray) -> np.ndarray:
    """Return log frequencies by position and base, shape (length, 5); the fifth column, for unknown bases, is zero."""
    counts = np.stack([(codes == base).sum(axis=0) for base in range(4)], axis=1) + _PSEUDOCOUNT
    return np.pad(np.log(counts / counts.sum(axis=1, keepdims=True)), ((0, 0), (0, 1)))


def _table(words: np.ndarray, targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the classes by the word found, shape (n_words, n_classes)."""
    n_words = 4**_CODON + 1
    return np.bincount(words * n_classes + targets, minlength=n_words * n_classes).reshape(n_words, n_classes)
