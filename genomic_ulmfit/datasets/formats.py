"""Records as text: FASTA and tables in, SeqRecords out; SeqRecords in, lines of FASTA and BED out.

Fields stand in a description as ``label=promoter split=train``, in quotes where they hold blanks. Only the form is
looked at here; `genomic_ulmfit.datasets.records` checks what is said.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import DatasetError, FileFormatError
from genomic_ulmfit.files import open_text, replacing
from genomic_ulmfit.genome.algebra import linear_parts
from genomic_ulmfit.genome.intervals import Interval

__all__ = ["annotated", "as_bed", "as_fasta", "described", "read_fasta", "read_table", "remark", "write_text"]

_KEYS = ("label", "split", "group", "anchor", "strategy")
_FIELD = re.compile(rf'(?<!\S)({"|".join(_KEYS)})=("[^"]*"|\S*)(?!\S)')
_PLACE = re.compile(r"(?:.*::)?(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>[-+.])\)")
_COLUMNS = {"seq": "sequence"} | {name: name for name in ("sequence", "id", "label", "split", "group", "strategy")}
_VALID = ("dev", "val", "validation")  # what others call it


def read_fasta(path: Path) -> Iterator[SeqRecord]:
    """Parse a FASTA; the fields in its descriptions are left where they are."""
    with open_text(path) as handle:
        try:
            yield from SeqIO.parse(handle, "fasta")
        except ValueError as error:
            raise FileFormatError(path, f"not a FASTA file ({error})") from error


def read_table(path: Path, header: str, needed: Sequence[str]) -> Iterator[SeqRecord]:
    """Parse a table of one record a row, whose first line is `header` and which has the needed columns."""
    import pandas as pd  # its reader has no limit on the length of a field, csv's has one

    with open_text(path) as handle:
        try:
            separator = "\t" if "\t" in header else ","
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # what is too much in a row would be dropped
                table = pd.read_csv(
                    handle, sep=separator, dtype=str, na_filter=False, index_col=False, skipinitialspace=True
                )
        except pd.errors.ParserWarning as error:
            raise FileFormatError(
                path, "not a table with one record a row: rows have more fields than names"
            ) from error
        except pd.errors.ParserError as error:
            raise FileFormatError(
                path, f"not a table with one record a row ({' '.join(str(error).split())})"
            ) from error
    found = [(_COLUMNS.get(str(column).strip().lower()), column) for column in table.columns]
    columns = {name: table[column].tolist() for name, column in found if name is not None}
    if not columns.keys() >= set(needed):
        shown = ", ".join(repr(str(column)[:30]) for column in table.columns[:8])
        wanted = " and ".join("'sequence' (or 'seq')" if name == "sequence" else f"'{name}'" for name in needed)
        raise FileFormatError(path, f"wanted columns {wanted}, got {shown}", line=1)
    for number, values in enumerate(zip(*columns.values(), strict=True), 1):
        row = {name: value.strip() for name, value in zip(columns, values, strict=True)}
        sequence, record_id = row.pop("sequence"), row.pop("id", "") or f"record_{number}"
        annotations: dict[str, Any] = {"molecule_type": "DNA"}
        annotations.update((name, value) for name, value in row.items() if value)
        if row.get("split") in _VALID:
            annotations["split"] = "valid"
        yield SeqRecord(Seq(sequence), id=record_id, name=record_id, description="", annotations=annotations)


def described(record: SeqRecord, who: str) -> SeqRecord:
    """Return a copy whose annotations hold what the description and the id say, where they do not hold it yet."""
    a = record.annotations
    match = None if "chrom" in a else _PLACE.fullmatch(record.id or "")
    fields = {key: value.strip('"') for key, value in _FIELD.findall(record.description)}
    said = {key: value for key, value in fields.items() if value and key not in a}
    if not match and not said:
        return record
    extra: dict[str, Any] = {"molecule_type": "DNA", **said, **a}
    if "anchor" in said and "anchor" not in a:
        if not said["anchor"].isdecimal():
            raise DatasetError(f"{who} says anchor={said['anchor']}, wanted a whole number")
        extra["anchor"] = int(said["anchor"])
    if match:
        extra |= {"chrom": match["chrom"], "start": int(match["start"]), "end": int(match["end"])}
        extra["strand"] = match["strand"]
    described = annotated(record, extra)
    described.description = remark(record)
    return described


def remark(record: SeqRecord) -> str:
    """Return what the description says beyond the id and the fields."""
    text = record.description if record.description != "<unknown description>" else ""
    first, *rest = text.split(None, 1) or [""]
    text = " ".join(rest) if first == record.id else text
    return " ".join(_FIELD.sub("", text).split())


def annotated(record: SeqRecord, extra: Mapping[str, Any], *, seq: Seq | None = None) -> SeqRecord:
    """Return a copy of a record with more annotations, or others, and perhaps another sequence of the same length.

    Examples
    --------
    >>> annotated(SeqRecord(Seq("ACGT"), annotations={"label": "a"}), {"split": "test"}).annotations
    {'label': 'a', 'split': 'test'}
    """
    return SeqRecord(
        record.seq if seq is None else seq,
        id=record.id,
        name=record.name,
        description=record.description,
        dbxrefs=list(record.dbxrefs),
        features=list(record.features),
        annotations={**record.annotations, **extra},
        letter_annotations=dict(record.letter_annotations),
    )


def as_fasta(record: SeqRecord) -> str:
    """Return a labelled record as FASTA, with its fields in the description."""
    if not record.id or not record.id.isprintable() or " " in record.id:
        raise DatasetError(f"the id {record.id!r} can't be written to a FASTA; wanted text without blanks")
    fields = [_field(record, key) for key in _KEYS if key in record.annotations]
    title = " ".join(fields + [remark(record)]).strip()
    return SeqRecord(record.seq, id=record.id, description=title).format("fasta")


def _field(record: SeqRecord, key: str) -> str:
    value = str(record.annotations[key])
    if not value or not value.isprintable() or '"' in value:
        raise DatasetError(
            f"record {record.id!r}: the {key} {value!r} can't be written down; wanted text without quotes"
        )
    return f'{key}="{value}"' if " " in value else f"{key}={value}"


def as_bed(interval: Interval, chrom_sizes: Mapping[str, int]) -> list[str]:
    """Return the row of an interval, or two where it crosses the origin of a chromosome whose size is told."""
    rows = linear_parts([interval], chrom_sizes) if interval.chrom in chrom_sizes else [interval]
    return [f"{i.chrom}\t{i.start}\t{i.end}\t{i.name}\t0\t{i.strand}\n" for i in rows]


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file, gzipped if the name says so; the file is there as a whole or not at all."""
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
