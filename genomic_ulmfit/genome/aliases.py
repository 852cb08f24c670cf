"""Other names of chromosomes: mappings, files of two columns and UCSC's chromAlias files in; a dictionary out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import open_text

if TYPE_CHECKING:
    from genomic_ulmfit.genome.intervals import Interval

__all__ = ["core", "read_aliases", "rename"]

_SCHEMES = frozenset({"ucsc", "assembly", "genbank", "insdc", "ncbi", "refseq", "ensembl", "sequencename"})
_ACCESSION = re.compile(r"(?:[a-z]{2}_)?[a-z]{0,6}\d{5,}\.\d+")  # with its version
_ROMAN = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi"]
_REFSEQ = (
    {f"nc_{number:06}": str(number) for number in range(1, 23)}  # human
    | {"nc_000023": "x", "nc_000024": "y", "nc_012920": "m"}
    | {f"nc_{1133 + place:06}": number for place, number in enumerate(_ROMAN)}  # baker's yeast
    | {"nc_001224": "m"}
)


def read_aliases(
    source: Mapping[str, str] | str | Path | None, *, known: Collection[str] | None = None
) -> dict[str, str]:
    """Read a mapping of chromosome names.

    Parameters
    ----------
    source : mapping of str to str, str, Path or None
        A mapping, or a file. In a file with two columns, these are the name in use elsewhere, then the genome's; more
        columns are left unread, and ``#`` starts a comment line. A file whose first line names naming schemes, as
        ``# ucsc  assembly  genbank`` does in UCSC's chromAlias.txt, has all spellings of one chromosome in a row.
    known : collection of str, optional
        The genome's own names. A row of spellings needs them: all of them come to stand for the one that is known. So
        do those of a file with the columns ``# alias  ucsc  source``, where the rows of one ``ucsc`` belong together.

    Returns
    -------
    dict of str to str
        Empty where there is no source.

    Raises
    ------
    FileFormatError
        If a row has one column, gives one name two meanings, or has two names of the genome's; or if rows of spellings
        are read and `known` is not given.
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return dict(source)
    header, rows = _rows(source)
    if header[0] in _SCHEMES:
        if known is None:
            message = "has rows of spellings, which need the genome's own names; give the file to Genome as aliases"
            raise FileFormatError(source, message)
        return _mapped(source, rows, known)
    pairs = [(number, names[:2]) for number, names in rows]
    for number, names in pairs:
        if len(names) < 2:
            raise FileFormatError(source, "a row of chromosome names needs two columns, got 1", line=number)
    if header[0] == "alias" and known is not None and not {names[1] for _, names in pairs} & set(known):
        return _mapped(source, _joined(pairs), known)
    return _collected(source, [(number, names[0], names[1]) for number, names in pairs])


def _rows(source: str | Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the words of a comment in the first line, and the number and names of each row."""
    header, rows = [""], []
    with open_text(source) as handle:
        for number, line in enumerate(handle, 1):
            if line.startswith("#"):
                header = (line.lstrip("#").lower().split() or [""]) if number == 1 else header
            elif line.strip():
                names = line.rstrip().split("\t") if "\t" in line else line.split()
                rows.append((number, [name.strip() for name in names if name.strip()]))
    return header, rows


def _joined(pairs: Iterable[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    groups: dict[str, tuple[int, list[str]]] = {}
    for number, (alias, name) in pairs:
        groups.setdefault(name, (number, [name]))[1].append(alias)
    return list(groups.values())


def _mapped(source: str | Path, rows: Iterable[tuple[int, list[str]]], known: Collection[str]) -> dict[str, str]:
    meant = []
    for number, names in rows:
        own = sorted({name for name in names if name in known})
        if len(own) > 1:
            message = f"{own[0]!r} and {own[1]!r} are both names of the genome, and can't be one chromosome"
            raise FileFormatError(source, message, line=number)
        meant += [(number, name, own[0]) for name in names if own and name != own[0]]
    return _collected(source, meant)


def _collected(source: str | Path, meant: Iterable[tuple[int, str, str]]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for number, alias, name in meant:
        if aliases.setdefault(alias, name) != name:
            message = f"{alias!r} stands for {aliases[alias]!r} and for {name!r}"
            raise FileFormatError(source, message, line=number)
    return aliases


def rename(intervals: Iterable[Interval], aliases: Mapping[str, str]) -> list[Interval]:
    """Return the intervals with chromosome names replaced where `aliases` has them."""
    return [i._replace(chrom=aliases[i.chrom]) if i.chrom in aliases else i for i in intervals]


def core(chrom: str) -> str:
    """Return what is left of a name without that in which naming schemes differ: good for a hint, not for a match.

    Examples
    --------
    >>> core("chr20"), core("20"), core("NC_000020.10"), core("chrIV"), core("NC_001136.10"), core("contig.1")
    ('20', '20', '20', 'iv', 'iv', 'contig.1')
    """
    bare = chrom.lower().removeprefix("chr")
    bare = bare.partition(".")[0] if _ACCESSION.fullmatch(bare) else bare
    return _REFSEQ.get(bare, "m" if bare == "mt" else bare)
