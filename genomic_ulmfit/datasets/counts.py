"""Records counted by part and class: labelled records in, numbers or lines of text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.records import SPLITS

__all__ = ["class_counts", "counts_table"]

_NO_SPLIT, _NO_LABEL = "no split", "no label"


def class_counts(records: Iterable[SeqRecord]) -> dict[str, dict[str, int]]:
    """Count the records of each part and class.

    Parameters
    ----------
    records : iterable of SeqRecord
        With or without label and split.

    Returns
    -------
    dict of str to dict of str to int
        By part, "train", "valid", "test" and "no split", those of them that there are; in each of them by class, in
        order of name, 0 included; "no label" for records that have none.

    Examples
    --------
    >>> said = [("a", "train"), ("b", "train"), ("a", "test")]
    >>> class_counts(SeqRecord(None, annotations={"label": a, "split": b}) for a, b in said)
    {'train': {'a': 1, 'b': 1}, 'test': {'a': 1, 'b': 0}}
    """
    said = [(str(a.get("split", _NO_SPLIT)), str(a.get("label", _NO_LABEL))) for a in (r.annotations for r in records)]
    counted = Counter(said)
    classes = sorted({label for _, label in said})
    parts = {split for split, _ in said}
    return {
        split: {label: counted[split, label] for label in classes} for split in (*SPLITS, _NO_SPLIT) if split in parts
    }


def counts_table(records: Iterable[SeqRecord], *, most: int = 20) -> str:
    """Return the counts of `class_counts` as a table to print.

    Parameters
    ----------
    records : iterable of SeqRecord
        With or without label and split.
    most : int
        Classes to show. Where there are more, the largest are shown and the others summed up, and a last line says how
        many classes each part has records of.

    Returns
    -------
    str
        Lines, without a line end after the last.

    Examples
    --------
    >>> print(counts_table(SeqRecord(None, annotations={"label": name}) for name in "aabbbc"))
    class  no split
    a             2
    b             3
    c             1
    all           6
    """
    counts = class_counts(records)
    if len(counts) > 1:
        counts["all"] = _sum(counts.values())
    total = _sum(counts.values())
    largest = sorted(total, key=lambda label: -total[label])
    shown, others = (list(total), []) if len(total) <= most else (largest[:most], largest[most:])
    rows: list[list[str | int]] = [["class", *counts]]
    rows += [[label, *(part[label] for part in counts.values())] for label in shown]
    if others:
        rows.append([f"{len(others):,} others", *(sum(part[label] for label in others) for part in counts.values())])
    rows.append(["all", *(sum(part.values()) for part in counts.values())])
    if others:
        rows.append(["classes", *(sum(n > 0 for n in part.values()) for part in counts.values())])
    texts = [[value if isinstance(value, str) else f"{value:,}" for value in row] for row in rows]
    return "\n".join(aligned(texts))


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
