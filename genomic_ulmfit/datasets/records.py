"""Labelled records: SeqRecords whose annotations hold a label, and perhaps a split, to and from files.

On disk a data set is a FASTA whose descriptions say ``label=promoter split=train``, beside a BED of the same records. A
record that has a place carries chrom, start, end (0-based half-open) and strand; its sequence runs along that strand.
Where it crosses the origin of a circular chromosome, `end` is larger than the chromosome: 0 <= start < size < end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets import formats
from genomic_ulmfit.errors import DatasetError, FileFormatError, SettingError
from genomic_ulmfit.files import beside, existing, open_text, replacing
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sources import check_letters

__all__ = [
    "SPLITS",
    "as_list",
    "labels",
    "letters",
    "mask_records",
    "part",
    "place",
    "read_dataset",
    "read_records",
    "require_labels",
    "write_dataset",
]

SPLITS = ("train", "valid", "test")

Source = str | Path | Iterable[SeqRecord]
_Fill = dict[str, Callable[[str, SeqRecord], str]]  # how a record gets a key that it does not have


def as_list(records: SeqRecord | Iterable[SeqRecord]) -> list[SeqRecord]:
    """Return records as a list; of a single record, which is iterable too, a list of it.

    Raises
    ------
    TypeError
        If it is the name of a file, or something in it is no SeqRecord.
    """
    if isinstance(records, str | Path):
        raise TypeError(f"wanted SeqRecords, got {str(records)!r}; `read_dataset` or Bio.SeqIO reads them from a file")
    found = [records] if isinstance(records, SeqRecord) else list(records)
    for record in found:
        if not isinstance(record, SeqRecord):
            raise TypeError(f"wanted SeqRecords, got a {type(record).__name__} among them; put it into a SeqRecord")
    return found


def read_records(source: Source) -> list[SeqRecord]:
    """Read records, with or without labels.

    Parameters
    ----------
    source : str, Path or iterable of SeqRecord
        A FASTA, whose descriptions may say ``label=NAME``, ``split=train``, ``group=NAME``, ``anchor=200`` and
        ``strategy=NAME``; a CSV or TSV with a column ``sequence`` (or ``seq``) and perhaps ``label``, ``split``,
        ``group``, ``strategy`` and ``id``, where the splits ``dev``, ``val`` and ``validation`` are read as valid;
        either of them plain or gzipped, told by content. Or records, which are returned as they are; where the
        description or the id says more than the annotations, a copy is returned. Two records may have one id.

    Returns
    -------
    list of SeqRecord
        In the order of the source. ``annotations["label"]``, ``"split"``, ``"group"`` (what it may not be parted from),
        ``"strategy"`` (how a negative was drawn; all str) and ``"anchor"`` (int, index of the base the window was cut
        around) are there if given. Where the id is a place as bedtools names it, ``chr1:999-1249(-)`` (0-based), so
        are chrom, start, end and strand.

    Raises
    ------
    FileFormatError
        If a file holds no records or has no such column, or one of its records has an empty sequence, letters that are
        no nucleotides, a split other than train, valid and test, or an id that says another length.
    DatasetError
        The same for records handed in.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> record = SeqRecord(Seq("ACGT"), id="chr1:5-9(-)", description="chr1:5-9(-) label=promoter split=test")
    >>> annotations = read_records([record])[0].annotations
    >>> annotations["label"], annotations["split"], annotations["chrom"], annotations["start"]
    ('promoter', 'test', 'chr1', 5)
    """
    return _read(source, {}, labelled=False)


def read_dataset(
    source: Source | Mapping[str, Source],
    *,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
) -> list[SeqRecord]:
    r"""Read labelled records: as `read_records`, but each must have a label.

    What the options say goes to records that do not have it yet. Patterns are regular expressions, looked for in the
    header (the id and what follows it): their first group is the value, or all that matches where they have none.

    Parameters
    ----------
    source : str, Path or iterable of SeqRecord, or mapping of str to these
        As for `read_records`. A mapping is one source a class, as ``{"lncRNA": "lnc.fa", "mRNA": "pc.fa.gz"}``.
    label : str, optional
        Pattern of the label: ``(\S+)$`` takes the last word of the header.
    split : {"train", "valid", "test"}, optional
        The part that the source is, where parts are files.
    group : str, optional
        Pattern of the group, which a split by group keeps on one side: ``ENSMUSG\d+`` for the gene.

    Returns
    -------
    list of SeqRecord
        In the order of the source, each with ``annotations["label"]``.

    Raises
    ------
    FileFormatError, DatasetError, FileNotFoundError
        As for `read_records`, and where a label is missing, a pattern is not in a header, or a record of a class has
        the label of another.
    SettingError
        If a pattern is no regular expression, `split` is no part, or `label` is given with a mapping.

    Examples
    --------
    >>> mouse = SeqRecord(Seq("ACGT"), id="ENSMUST9.1|ENSMUSG7.2|Gm1")
    >>> read_dataset({"lncRNA": [mouse]}, split="train", group=r"ENSMUSG\d+")[0].annotations
    {'split': 'train', 'group': 'ENSMUSG7', 'label': 'lncRNA'}
    """
    if split is not None and split not in SPLITS:
        raise SettingError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    fill: _Fill = {} if split is None else {"split": lambda who, record: split}
    fill |= {} if group is None else {"group": _finder("group", group)}
    if not isinstance(source, Mapping):
        return _read(source, fill if label is None else fill | {"label": _finder("label", label)}, labelled=True)
    if label is not None:
        raise SettingError("with one source a class the classes are the labels; leave the pattern of the label out")
    return [record for name, one in source.items() for record in _of_class(name, one, fill)]


def write_dataset(
    records: Iterable[SeqRecord], path: str | Path, *, chrom_sizes: Mapping[str, int] | None = None
) -> Path:
    """Write labelled records to a FASTA, and those that have a place to a BED beside it, in the same order.

    Parameters
    ----------
    records : iterable of SeqRecord
        With ``annotations["label"]``, as `read_dataset` takes them.
    path : str or Path
        The FASTA; gzipped if the name ends in ``.gz``. The BED has the same name up to the first of the suffixes
        (``data.fa`` and ``data.fa.gz``: ``data.bed``). Its name column says label, split and strategy, those of them
        that a record has: ``background|train|gc-matched``.
    chrom_sizes : mapping of str to int, optional
        Lengths of circular chromosomes in bp. A record that crosses the origin of one of them is two rows of the BED:
        from its start to the chromosome's end, and from 0 on. No browser takes it as one.

    Returns
    -------
    Path
        The FASTA. Both files are replaced as a whole, or left as they were.

    Raises
    ------
    DatasetError
        If there are no records, or one is not as `read_dataset` takes it, or can't be written down: an id with blanks,
        a label with quotes or line ends.
    OutOfRangeError
        If a record starts past the end of its chromosome, or is longer.
    FileExistsError
        If the BED is there already and the FASTA is not: it may be what the data set was made from.
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    records = _checked(records, {}, labelled=True)
    lines = [formats.as_fasta(record) for record in records]
    places = [interval for interval in map(_named_place, records) if interval]
    rows = [row for interval in places for row in formats.as_bed(interval, chrom_sizes or {})]
    if not rows:
        formats.write_text(path, lines)
        return path
    bed = _bed_beside(path)
    with replacing(bed) as temporary:  # renamed after the FASTA: a BED alone is taken for somebody else's
        temporary.write_text("".join(rows), encoding="utf-8")
        formats.write_text(path, lines)
    return path


def labels(records: Iterable[SeqRecord]) -> list[str]:
    """Return the label of each record.

    Raises
    ------
    DatasetError
        If a record has none.
    """
    return [_label(number, record) for number, record in enumerate(records, 1)]


def part(records: Iterable[SeqRecord], split: str) -> list[SeqRecord]:
    """Return the records of one split, "train", "valid" or "test", in their order; perhaps none.

    Raises
    ------
    DatasetError
        If there is no split of that name.
    """
    if split not in SPLITS:
        raise DatasetError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    return [record for record in records if record.annotations.get("split") == split]


def place(record: SeqRecord) -> Interval | None:
    """Return where a record lies, 0-based half-open, named as its label; None if it has no place."""
    a: dict[str, Any] = record.annotations
    if "chrom" not in a:
        return None
    return Interval(a["chrom"], a["start"], a["end"], a.get("label", "."), strand=a.get("strand", "."))


def require_labels(records: Sequence[SeqRecord], at_least: int = 2) -> tuple[str, ...]:
    """Return the classes of a data set, sorted, refusing one that nothing can be learnt from.

    Raises
    ------
    DatasetError
        If there are no records (unless `at_least` is 0), a record has no label, or there are fewer classes.

    Examples
    --------
    >>> require_labels([SeqRecord(Seq("A"), annotations={"label": name}) for name in ("b", "a", "b")])
    ('a', 'b')
    """
    if not records and at_least:
        raise DatasetError("the data set has no records")
    classes = tuple(sorted(set(labels(records))))
    if len(classes) < at_least:
        found = f"only the class {classes[0]!r}" if len(classes) == 1 else f"{len(classes)} classes"
        raise DatasetError(
            f"the data set has {found}, wanted at least {at_least} classes; add records of another class"
        )
    return classes


def letters(record: SeqRecord) -> Seq:
    """Return the sequence of a record, refusing one that has none.

    Raises
    ------
    DatasetError
        If the record has no sequence, or one without letters, as GenBank's CON records have.
    """
    if record.seq is None or not record.seq.defined:
        why = ", only its length; give a file that holds the letters" if record.seq else ""
        raise DatasetError(f"record {record.id!r} has no sequence{why}")
    return Seq(record.seq)


def mask_records(records: Iterable[SeqRecord], start: int, end: int) -> list[SeqRecord]:
    """Overwrite the same positions of all records with N, so that nothing can be learnt from them.

    Parameters
    ----------
    records : iterable of SeqRecord
        Each at least `end` bp long. They stay as they are.
    start, end : int
        Positions ``start <= i < end`` of each record, 0-based.

    Returns
    -------
    list of SeqRecord
        Copies.

    Raises
    ------
    DatasetError
        If not ``0 <= start < end``, or a record is shorter than `end`.

    Examples
    --------
    >>> mask_records([SeqRecord(Seq("ACGTACGT"))], 2, 5)[0].seq
    Seq('ACNNNCGT')
    """
    if not 0 <= start < end:
        raise DatasetError(f"mask {start}:{end} is no stretch of a record: wanted 0 <= start < end")
    masked = []
    for number, record in enumerate(records, 1):
        sequence = letters(record)
        if len(sequence) < end:
            raise DatasetError(
                f"{_who(number, record)} is {len(sequence)} bp long, too short for the mask {start}:{end}"
            )
        masked.append(formats.annotated(record, {}, seq=sequence[:start] + "N" * (end - start) + sequence[end:]))
    return masked


# Reading --------------------------------------------------------------------------------------------------------------


def _read(source: Source, fill: _Fill, *, labelled: bool) -> list[SeqRecord]:
    if not isinstance(source, str | Path):
        return _checked([source] if isinstance(source, SeqRecord) else source, fill, labelled=labelled)
    path = existing(source)
    with open_text(path) as handle:
        first = next((line for line in handle if line.strip()), "")
    if not first:
        raise FileFormatError(path, "holds no records: the file is empty")
    needed = ["sequence", "label"] if labelled and "label" not in fill else ["sequence"]
    records = formats.read_fasta(path) if first.startswith(">") else formats.read_table(path, first, needed)
    try:
        return _checked(records, fill, labelled=labelled)
    except DatasetError as error:
        raise FileFormatError(path, str(error)) from None


def _of_class(name: str, source: Source, fill: _Fill) -> list[SeqRecord]:
    records = _read(source, fill | {"label": lambda who, record: name}, labelled=True)
    for number, record in enumerate(records, 1):
        if record.annotations["label"] != name:
            raise DatasetError(
                f"{_who(number, record)} of the class {name!r} has the label {record.annotations['label']!r} already"
            )
    return records


def _finder(key: str, pattern: str) -> Callable[[str, SeqRecord], str]:
    """Return a function that looks for a pattern in the header of a record."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SettingError(f"the {key} pattern {pattern!r} is no regular expression: {error}") from None

    def find(who: str, record: SeqRecord) -> str:
        header = f"{record.id} {formats.remark(record)}".strip()
        match = compiled.search(header)
        value = match[min(1, compiled.groups)] if match else None
        if not value:
            raise DatasetError(f"{who}: the {key} pattern {pattern!r} finds nothing in its header {header[:80]!r}")
        return value

    return find


def _checked(records: Iterable[SeqRecord], fill: _Fill, *, labelled: bool) -> list[SeqRecord]:
    checked = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, SeqRecord):
            raise TypeError(f"wanted SeqRecords, got {record!r}")
        who = _who(number, record)
        record = formats.described(record, who)
        extra = {key: find(who, record) for key, find in fill.items() if key not in record.annotations}
        checked.append(_check(number, formats.annotated(record, extra) if extra else record, labelled))
    if not checked:
        raise DatasetError("there are no records")
    return checked


def _check(number: int, record: SeqRecord, labelled: bool) -> SeqRecord:
    who = _who(number, record)
    a: dict[str, Any] = record.annotations
    if labelled or "label" in a:
        _label(number, record)
    if not record.seq:
        raise DatasetError(f"{who} has an empty sequence")
    if a.get("split", "train") not in SPLITS:
        raise DatasetError(f"{who} is in split {a['split']!r}, which is not one of {', '.join(SPLITS)}")
    if "chrom" in a and a["end"] - a["start"] != len(record.seq):
        raise DatasetError(f"{who} lies on {a['end'] - a['start']} bp but has a sequence of {len(record.seq)}")
    try:
        check_letters(str(record.seq), "records", who)
    except FileFormatError as error:
        raise DatasetError(str(error).removeprefix("records: ")) from None
    return record


def _label(number: int, record: SeqRecord) -> str:
    label = record.annotations.get("label")
    if not isinstance(label, str) or not label:
        wanted = "label=NAME in its description, or text in annotations['label']"
        raise DatasetError(f"{_who(number, record)} has no label; wanted {wanted}")
    return label


def _who(number: int, record: SeqRecord) -> str:
    return f"record {number} ({record.id!r})"


# Writing --------------------------------------------------------------------------------------------------------------


def _named_place(record: SeqRecord) -> Interval | None:
    """Return where a record lies, named by what it is, its part, and how it was drawn."""
    interval = place(record)
    said = (record.annotations.get(key) for key in ("label", "split", "strategy"))
    return interval and interval._replace(name="|".join(str(value) for value in said if value is not None))


def _bed_beside(path: Path) -> Path:
    bed = beside(path, ".bed")
    if bed == path or (bed.exists() and not path.exists()):
        raise FileExistsError(f"{bed} is in the way of the BED that goes beside {path}; choose another name")
    return bed
