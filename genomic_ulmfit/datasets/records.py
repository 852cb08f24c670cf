"""Labelled records: SeqRecords whose annotations hold a label, and perhaps a split, to and from files.

On disk a data set is a FASTA whose descriptions say ``label=promoter split=train``, beside a BED of the same records. A
record that has a place carries chrom, start, end (0-based half-open) and strand; its sequence runs along that strand.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import DatasetError, FileFormatError
from genomic_ulmfit.files import existing, open_text, replacing
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sources import check_letters

__all__ = [
    "SPLITS",
    "base_codes",
    "labels",
    "part",
    "place",
    "read_dataset",
    "read_records",
    "require_labels",
    "write_dataset",
]

SPLITS = ("train", "valid", "test")

_KEYS = ("label", "split", "group", "anchor")
_FIELD = re.compile(r'(?<!\S)(label|split|group|anchor)=("[^"]*"|\S*)(?!\S)')
_PLACE = re.compile(r"(?:.*::)?(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>[-+.])\)")
_COLUMNS = {"sequence": "sequence", "seq": "sequence", "label": "label", "split": "split", "group": "group", "id": "id"}
_CODES = np.full(256, 4, dtype=np.uint8)
for _letters, _code in (("Aa", 0), ("Cc", 1), ("Gg", 2), ("TtUu", 3)):
    _CODES[list(_letters.encode())] = _code


def read_records(source: str | Path | Iterable[SeqRecord]) -> list[SeqRecord]:
    """Read records, with or without labels.

    Parameters
    ----------
    source : str, Path or iterable of SeqRecord
        A FASTA, whose descriptions may say ``label=NAME``, ``split=train``, ``group=NAME`` and ``anchor=200``; a CSV or
        TSV with a column ``sequence`` (or ``seq``) and perhaps ``label``, ``split``, ``group`` and ``id``; either of
        them plain or gzipped, told by content. Or records, which are returned as they are; where the description or
        the id says more than the annotations, a copy is returned.

    Returns
    -------
    list of SeqRecord
        In the order of the source. ``annotations["label"]``, ``"split"``, ``"group"`` (str) and ``"anchor"`` (int,
        index of the base the window was cut around) are there if given. Where the id is a place as bedtools names it,
        ``chr1:999-1249(-)`` (0-based), so are chrom, start, end and strand.

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
    return _read(source, labelled=False)


def read_dataset(source: str | Path | Iterable[SeqRecord]) -> list[SeqRecord]:
    """Read labelled records: as `read_records`, but each must have a label.

    Parameters
    ----------
    source : str, Path or iterable of SeqRecord
        As for `read_records`.

    Returns
    -------
    list of SeqRecord
        In the order of the source, each with ``annotations["label"]``.

    Raises
    ------
    FileFormatError, DatasetError, FileNotFoundError
        As for `read_records`, and where a label is missing.
    """
    return _read(source, labelled=True)


def write_dataset(records: Iterable[SeqRecord], path: str | Path) -> Path:
    """Write labelled records to a FASTA, and those that have a place to a BED beside it, in the same order.

    Parameters
    ----------
    records : iterable of SeqRecord
        With ``annotations["label"]``, as `read_dataset` takes them.
    path : str or Path
        The FASTA; gzipped if the name ends in ``.gz``. The BED has the same name up to the first of the suffixes
        (``data.fa`` and ``data.fa.gz``: ``data.bed``) and the label as its name column.

    Returns
    -------
    Path
        The FASTA. Both files are replaced as a whole, or left as they were.

    Raises
    ------
    DatasetError
        If there are no records, or one is not as `read_dataset` takes it, or can't be written down: an id with blanks,
        a label with quotes or line ends.
    FileExistsError
        If the BED is there already and the FASTA is not: it may be what the data set was made from.
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    records = _checked(records, labelled=True)
    lines = [_as_fasta(record) for record in records]
    places = [(place(record), record.annotations["label"]) for record in records]
    rows = [f"{i.chrom}\t{i.start}\t{i.end}\t{name}\t0\t{i.strand}\n" for i, name in places if i is not None]
    if not rows:
        _write(path, lines)
        return path
    bed = _bed_beside(path)
    with replacing(bed) as temporary:  # renamed after the FASTA: a BED alone is taken for somebody else's
        temporary.write_text("".join(rows), encoding="utf-8")
        _write(path, lines)
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


def base_codes(sequence: Any) -> np.ndarray:
    """Return the bases of a SeqRecord, Seq or str as numbers, in either case.

    Returns
    -------
    uint8 array, shape (length,)
        A 0, C 1, G 2, T and U 3, any other letter 4.

    Examples
    --------
    >>> base_codes("ACGTun").tolist()
    [0, 1, 2, 3, 3, 4]
    """
    text = str(getattr(sequence, "seq", sequence))
    return _CODES[np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)]


# Reading --------------------------------------------------------------------------------------------------------------


def _read(source: str | Path | Iterable[SeqRecord], labelled: bool) -> list[SeqRecord]:
    if not isinstance(source, str | Path):
        return _checked([source] if isinstance(source, SeqRecord) else source, labelled)
    path = existing(source)
    with open_text(path) as handle:
        first = next((line for line in handle if line.strip()), "")
    if not first:
        raise FileFormatError(path, "holds no records: the file is empty")
    try:
        return _checked(_from_fasta(path) if first.startswith(">") else _from_table(path, first, labelled), labelled)
    except DatasetError as error:
        raise FileFormatError(path, str(error)) from None


def _from_fasta(path: Path) -> Iterator[SeqRecord]:
    with open_text(path) as handle:
        try:
            yield from SeqIO.parse(handle, "fasta")
        except ValueError as error:
            raise FileFormatError(path, f"not a FASTA file ({error})") from error


def _from_table(path: Path, header: str, labelled: bool) -> Iterator[SeqRecord]:
    import pandas as pd  # its reader has no limit on the length of a field, csv's has one

    with open_text(path) as handle:
        try:
            separator = "\t" if "\t" in header else ","
            table = pd.read_csv(
                handle, sep=separator, dtype=str, na_filter=False, index_col=False, skipinitialspace=True
            )
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise FileFormatError(
                path, f"not a table with one record a row ({' '.join(str(error).split())})"
            ) from error
    found = [(_COLUMNS.get(str(column).strip().lower()), column) for column in table.columns]
    columns = {name: table[column].tolist() for name, column in found if name is not None}
    if "sequence" not in columns or (labelled and "label" not in columns):
        shown = ", ".join(repr(str(column)[:30]) for column in table.columns[:8])
        raise FileFormatError(path, f"wanted columns 'sequence' (or 'seq') and 'label', got {shown}", line=1)
    for number, values in enumerate(zip(*columns.values(), strict=True), 1):
        row = {name: value.strip() for name, value in zip(columns, values, strict=True)}
        sequence, record_id = row.pop("sequence"), row.pop("id", "") or f"record_{number}"
        annotations: dict[str, Any] = {"molecule_type": "DNA"}
        annotations.update((name, value) for name, value in row.items() if value)
        yield SeqRecord(Seq(sequence), id=record_id, name=record_id, description="", annotations=annotations)


def _checked(records: Iterable[SeqRecord], labelled: bool) -> list[SeqRecord]:
    checked = [_check(number, _described(number, record), labelled) for number, record in enumerate(records, 1)]
    if not checked:
        raise DatasetError("there are no records")
    return checked


def _described(number: int, record: SeqRecord) -> SeqRecord:
    """Return a copy whose annotations hold what the description and the id say, where they do not hold it yet."""
    if not isinstance(record, SeqRecord):
        raise TypeError(f"wanted SeqRecords, got {record!r}")
    a = record.annotations
    match = None if "chrom" in a else _PLACE.fullmatch(record.id or "")
    said = {} if "label" in a else {key: value.strip('"') for key, value in _FIELD.findall(record.description) if value}
    if not match and not said:
        return record
    extra: dict[str, Any] = {key: value for key, value in said.items() if key not in a}
    if "anchor" in extra:
        extra["anchor"] = _number(number, record, extra["anchor"])
    if match:
        extra |= {"chrom": match["chrom"], "start": int(match["start"]), "end": int(match["end"])}
        extra["strand"] = match["strand"]
    return SeqRecord(
        record.seq,
        id=record.id,
        name=record.name,
        description=_remark(record),
        dbxrefs=list(record.dbxrefs),
        features=list(record.features),
        annotations={"molecule_type": "DNA"} | a | extra,
        letter_annotations=dict(record.letter_annotations),
    )


def _number(number: int, record: SeqRecord, text: str) -> int:
    if not text.isdecimal():
        raise DatasetError(f"{_who(number, record)} says anchor={text}, wanted a whole number")
    return int(text)


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


def _remark(record: SeqRecord) -> str:
    """Return what the description says beyond the id and the fields."""
    text = record.description if record.description != "<unknown description>" else ""
    if text.split(None, 1)[:1] == [record.id]:
        text = text.split(None, 1)[1] if " " in text else ""
    return " ".join(_FIELD.sub("", text).split())


# Writing --------------------------------------------------------------------------------------------------------------


def _as_fasta(record: SeqRecord) -> str:
    if not record.id or not record.id.isprintable() or " " in record.id:
        raise DatasetError(f"the id {record.id!r} can't be written to a FASTA; wanted text without blanks")
    fields = [_field(record, key) for key in _KEYS if key in record.annotations]
    title = " ".join(fields + [_remark(record)]).strip()
    return SeqRecord(record.seq, id=record.id, description=title).format("fasta")


def _field(record: SeqRecord, key: str) -> str:
    value = str(record.annotations[key])
    if not value or not value.isprintable() or '"' in value:
        raise DatasetError(
            f"record {record.id!r}: the {key} {value!r} can't be written down; wanted text without quotes"
        )
    return f'{key}="{value}"' if " " in value else f"{key}={value}"


def _bed_beside(path: Path) -> Path:
    stem = path.with_suffix("") if path.suffix == ".gz" else path
    bed = stem.with_suffix(".bed")
    if bed == path or (bed.exists() and not path.exists()):
        raise FileExistsError(f"{bed} is in the way of the BED that goes beside {path}; choose another name")
    return bed


def _write(path: Path, lines: list[str]) -> None:
    with replacing(path) as temporary, _open_to_write(temporary) as handle:
        handle.writelines(lines)


@contextmanager
def _open_to_write(path: Path) -> Iterator[TextIO]:
    """Open for text, gzipped if the name says so; without a date inside, so that like records make like files."""
    if path.suffix != ".gz":
        with open(path, "w", encoding="utf-8", newline="\n") as handle:
            yield handle
        return
    with (
        open(path, "wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as handle,
    ):
        yield handle
