"""The audit of a data set: labelled records in; what its parts share, what no neural net scores on it, a verdict out.

"leaks": test records are so like training records that a score on them says little about new sequences. "trivial": a
table that reads GC or one position does the task. "clean": neither. The limits are the constants below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.baselines import BASELINES, best_position, each_baseline, gc_shares
from genomic_ulmfit.datasets.counts import class_counts
from genomic_ulmfit.datasets.findings import NAMES, AuditReport
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.homology import homology_groups
from genomic_ulmfit.datasets.leakage import (
    Parts,
    by_part,
    duplicates,
    label_conflicts,
    overlaps,
    shared_kmers,
    strangers,
)
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import as_list, labels, letters, require_labels
from genomic_ulmfit.datasets.splits import split_records
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.progress import Progress, progress_bar

__all__ = ["COPIES", "OVERLAPS", "SHARED", "TRIVIAL", "audit", "quick_audit"]

# Limits on the share of valid or test records, of any class, that are not new to who has seen training. Genomes repeat
# themselves, so an honest split is not at zero: of windows around gene starts of E. coli split by region 2 % share a
# 25-mer, around TSSs of yeast split by chromosome 7 %, and 1.5 % are exact copies (Ty elements, subtelomeres). A share
# of s lifts the accuracy on a class by s at most: up to these limits by less than what most data sets can tell apart.
SHARED = 0.10
COPIES = 0.03
OVERLAPS = 0.01  # no split that minds places gives any

# MCC from which a table that reads GC, one position or one matrix leaves a net nothing to learn: 0.85 is 92.5 % right
# with two classes of one size. Start codons of E. coli, which are a trap, give 0.91 and more; yeast TSSs 0.74.
TRIVIAL = 0.85
_TABLES = {"gc": "the GC content", "pwm": "a weight matrix", "position": "the 3-mer at one position"}

_FEW = 20  # a class with fewer records in a part is judged only together with the others
_BINS = 20  # GC of short records takes few values: narrow bins would show combs
_HISTOGRAMS = 6  # classes that get one: no picture shows more
_QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}


def audit(
    records: Iterable[SeqRecord], *, genome: Any = None, seed: int = 0, k: int = 25, progress: bool = False
) -> AuditReport:
    """Look for what makes a data set easier than the task it stands for.

    Parameters
    ----------
    records : iterable of SeqRecord
        With ``annotations["label"]``, of at least two classes. Where they say ``split=``, that split is looked at; else
        a stratified random one of 80/10/10 is made. Where they have places, overlaps on the genome are counted.
    genome : Genome, or what `Genome` takes, optional
        To check that the sequences are what their places say.
    seed : int
        Of the splits made here.
    k : int
        Length of the k-mers that two records must share to be alike, 1 to 32.
    progress : bool
        Show progress.

    Returns
    -------
    AuditReport

    Raises
    ------
    TypeError
        If `records` are no SeqRecords.
    DatasetError
        If there are no records, one has no label, or there are fewer than two classes.
    SettingError
        If `k` is not 1 to 32.
    UnknownChromosomeError, OutOfRangeError
        If a place is not in the genome.

    Examples
    --------
    >>> import random
    >>> from Bio.Seq import Seq
    >>> def record(label: str, weights: tuple[int, ...]) -> SeqRecord:
    ...     return SeqRecord(Seq("".join(chance.choices("ACGT", weights, k=60))), annotations={"label": label})
    >>> chance = random.Random(0)
    >>> records = [record("a", (1, 3, 3, 1)) for _ in range(200)] + [record("b", (3, 1, 1, 3)) for _ in range(200)]
    >>> report = audit(records)
    >>> report.verdict, report.reasons[0]
    ('trivial', 'On the test records the GC content alone reaches MCC 1.00 (limit 0.85).')
    """
    records = as_list(records)
    require_labels(records)
    given = by_part(records)
    made_split = not ("train" in given and len(given) > 1)
    divided = split_records(records, "random", seed=seed) if made_split else records
    parts, counts = by_part(divided), class_counts(divided)
    with progress_bar("audit", 4 + 2 * len(BASELINES), unit="steps", show=progress) as bar:
        found = _look(parts, k, bar)
        distributions = _distributions(records)
        bar.advance(1, "baselines")
        scored_on = "test" if "test" in parts else "valid"
        baselines, failed = _score(parts, scored_on, bar)
        homology_split, unsplit = _on_homology(records, seed, k, bar)
    genome = genome if genome is None or isinstance(genome, Genome) else Genome(genome)
    checked = None if genome is None else strangers(genome, records)
    leaks = _leaks(counts, found["duplicates"], found["shared"], found["overlaps"], k)
    trivial = _trivial(parts, scored_on, baselines)
    notes = _notes(found, checked, made_split, given, len(records), seed) + failed + unsplit
    return AuditReport(
        verdict="leaks" if leaks else "trivial" if trivial else "clean",
        reasons=leaks + _memory(leaks, baselines, homology_split) + trivial
        or _clean(counts, found["shared"], baselines, k),
        notes=notes,
        made_split=made_split,
        k=k,
        counts=counts,
        **found,
        genome=checked,
        distributions=distributions,
        scored_on=scored_on,
        baselines=baselines,
        homology_split=homology_split,
    )


def quick_audit(records: Iterable[SeqRecord], *, k: int = 25) -> list[str]:
    """Say in sentences what the given parts of a data set share beyond the limits of `audit`, in seconds.

    Parameters
    ----------
    records : iterable of SeqRecord
        With ``annotations["label"]`` and a split; those that lack one are passed over.
    k : int
        As for `audit`.

    Returns
    -------
    list of str
        Empty where nothing was found.
    """
    known = [record for record in records if "label" in record.annotations]
    parts = by_part(known)
    if "train" not in parts:
        return []
    return _leaks(class_counts(known), duplicates(parts), shared_kmers(parts, k), overlaps(parts), k)


# Looking --------------------------------------------------------------------------------------------------------------


def _look(parts: Parts, k: int, bar: Progress) -> dict[str, Any]:
    repeated = duplicates(parts)
    bar.advance(1, f"shared {k}-mers")
    shared = shared_kmers(parts, k)
    bar.advance(1, "overlaps")
    overlapping = overlaps(parts)
    bar.advance(1, "distributions")
    conflicts = label_conflicts([record for members in parts.values() for record in members])
    return {"duplicates": repeated, "shared": shared, "overlaps": overlapping, "label_conflicts": conflicts}


def _score(parts: Parts, scored_on: str, bar: Progress) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the metrics of each baseline, and why there are none."""
    try:
        train, scored = list(parts["train"]), list(parts.get(scored_on, ()))
        classes = require_labels([*train, *scored])
        truth = np.searchsorted(np.array(classes), labels(scored))
        found = {}
        for name, probabilities in each_baseline(train, scored, classes=classes):
            found[name] = metrics(truth, probabilities)
            bar.advance(1, name)
    except DatasetError as error:
        return {}, [f"There are no baselines: {error}."]
    missing = [name for name in BASELINES if name not in found]
    bar.advance(len(missing))
    why = "they need records of one length, and few enough positions and classes"
    return found, [f"Left out: {', '.join(NAMES[name] for name in missing)}; {why}."] if missing else []


def _on_homology(records: Sequence[SeqRecord], seed: int, k: int, bar: Progress) -> tuple[dict[str, Any], list[str]]:
    """Return the same baselines with relatives on one side, and why there are none."""
    alike = homology_groups(map(letters, records), k=k)
    grouped = [annotated(record, {"group": str(group)}) for record, group in zip(records, alike.groups, strict=True)]
    found: dict[str, Any] = {"largest": alike.largest, "counts": {}, "baselines": {}}
    try:
        divided = split_records(grouped, "group", seed=seed)
    except DatasetError as error:
        return found, [f"There is no split with relatives on one side: {error}."]
    baselines, failed = _score(by_part(divided), "test", bar)
    notes = [f"With relatives on one side: {note}" for note in failed if not baselines]
    return found | {"counts": class_counts(divided), "baselines": baselines}, notes


def _distributions(records: Sequence[SeqRecord]) -> dict[str, dict[str, Any]]:
    lengths = np.array([len(record) for record in records], dtype=float)
    shortest, longest = lengths.min(), lengths.max() + 1
    spaced = np.geomspace if longest > 10 * shortest else np.linspace
    named = np.array(labels(records))
    return {
        "gc": _distribution(gc_shares(records), named, np.linspace(0, 1, _BINS + 1)),
        "length": _distribution(lengths, named, spaced(shortest, longest, _BINS + 1)),
    }


def _distribution(values: np.ndarray, named: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    classes, members, sizes = np.unique(named, return_inverse=True, return_counts=True)
    grouped = np.split(values[np.argsort(members, kind="stable")], np.cumsum(sizes)[:-1])
    by_class = dict(zip(classes.tolist(), grouped, strict=True))
    largest = sorted(classes[np.argsort(-sizes, kind="stable")[:_HISTOGRAMS]].tolist())
    return {
        "quantiles": {name: _quantiles(found) for name, found in by_class.items()},
        "edges": edges.tolist(),
        "counts": {name: np.histogram(by_class[name], edges)[0].tolist() for name in largest},
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return dict(zip(_QUANTILES, np.quantile(values, list(_QUANTILES.values())).tolist(), strict=True))


# Judging --------------------------------------------------------------------------------------------------------------


def _leaks(
    counts: Mapping[str, Mapping[str, int]],
    repeated: Mapping[str, Any],
    shared: Mapping[str, Mapping[str, float]],
    overlapping: Mapping[str, Any] | None,
    k: int,
) -> list[str]:
    """Say what parts share with training beyond the limits."""
    sentences = []
    for name in shared:
        pair = f"{name} in train"
        kinds = [
            (COPIES, "are copies of training records, on either strand", repeated["across"][pair]["share"]),
            (SHARED, f"share a {k}-mer with training", shared[name]),
        ]
        if overlapping is not None:
            kinds.append((OVERLAPS, "overlap a training record on the genome", overlapping["across"][pair]["share"]))
        for limit, what, shares in kinds:
            whose, share = _worst(shares, counts[name])
            if share >= limit:
                sentences.append(f"{100 * share:.1f} % of the {name} records{whose} {what} (limit {100 * limit:g} %).")
    return sentences


def _worst(shares: Mapping[str, float], counts: Mapping[str, int]) -> tuple[str, float]:
    """Return the largest share, of all records together or of one class that is not small, and whose it is."""
    whole = sum(shares[name] * counts[name] for name in shares) / sum(counts.values())
    name = max((name for name in shares if counts[name] >= _FEW), key=shares.__getitem__, default="")
    return (f" of class {name}", shares[name]) if name and shares[name] > whole else ("", whole)


def _memory(leaks: list[str], baselines: Mapping[str, Any], homology_split: Mapping[str, Any]) -> list[str]:
    """Say what the leak is worth to a table that only remembers."""
    if not leaks or "lookup" not in baselines:
        return []
    here, apart = baselines["lookup"]["mcc"], homology_split["baselines"].get("lookup")
    said = f"A table of the 16-mers of training, without any model, reaches MCC {here:.2f} on this split"
    if apart is not None:
        said += f" and {apart['mcc']:.2f} where relatives are kept on one side"
    if here < -0.1:
        said += "; less than none: records are like training records of another class, as shuffled copies of them are"
    return [f"{said}."]


def _trivial(parts: Parts, scored_on: str, baselines: Mapping[str, Mapping[str, float]]) -> list[str]:
    sentences = []
    for name, what in _TABLES.items():
        mcc = baselines.get(name, {}).get("mcc", 0.0)
        if mcc >= TRIVIAL:
            told = f"the 3-mer at index {best_position(parts['train'])[0]}" if name == "position" else what
            sentences.append(f"On the {scored_on} records {told} alone reaches MCC {mcc:.2f} (limit {TRIVIAL:.2f}).")
    return sentences


def _clean(
    counts: Mapping[str, Mapping[str, int]],
    shared: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, float]],
    k: int,
) -> list[str]:
    found = {name: _worst(shares, counts[name]) for name, shares in shared.items()}
    sentences = [
        f"{100 * share:.1f} % of the {name} records{whose} share a {k}-mer with training (limit {100 * SHARED:g} %)."
        for name, (whose, share) in found.items()
    ]
    scores = ", ".join(f"{what} {baselines[name]['mcc']:.2f}" for name, what in _TABLES.items() if name in baselines)
    return sentences + ([f"What plain tables reach, as MCC: {scores} (limit {TRIVIAL:.2f})."] if scores else [])


def _notes(
    found: Mapping[str, Any],
    checked: Mapping[str, Any] | None,
    made_split: bool,
    given: Parts,
    n: int,
    seed: int,
) -> list[str]:
    notes = []
    told = sum(map(len, given.values()))
    if made_split:
        why = "There is nothing to compare in the parts given" if given else "The records say no split"
        notes.append(f"{why}: what is told is of a random one of 80/10/10, stratified, made here with seed {seed}.")
    elif told < n:
        notes.append(f"{n - told:,} of {n:,} records say no split and are left out of all comparisons of parts.")
    if found["label_conflicts"]:
        notes.append(f"{found['label_conflicts']:,} sequences are there with more than one label.")
    if checked is not None and checked["mismatches"]:
        notes.append(
            f"{checked['mismatches']:,} of {checked['checked']:,} sequences are not what the genome has at their place "
            f"(the first: {checked['first']}): is it another assembly?"
        )
    elif checked is not None:
        notes.append(
            f"{checked['checked']:,} sequences were looked up in the genome, and are what it has at their place."
        )
    return notes
