"""What pretraining reads: genomes in; k-mer ids of their strands out, in a file that is mapped into memory.

Genomes are read chromosome by chromosome and a piece at a time, and encoded once. Excluded regions, and blocks that
look like sequences that are held out, are cut away; what lies between is a stretch, in 0-based half-open coordinates.
The end of each stretch is for validation. The reverse complement is taken of the sequence, never of ids.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from Bio.Seq import Seq, reverse_complement
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.records import letters, read_records
from genomic_ulmfit.errors import DatasetError, FileFormatError, SettingError, StorageError, UnknownChromosomeError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.algebra import complement, subtract
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.sources import sniff
from genomic_ulmfit.net.batches import Ids, known_segments
from genomic_ulmfit.net.kmers import KmerVocab

__all__ = ["Corpus", "GenomeSource", "SequenceSource", "build_corpus", "similar_blocks"]

GenomeSource = Genome | SeqRecord | str | Path
SequenceSource = Genome | SeqRecord | Seq | str | Path

_log = logging.getLogger(__name__)

_FORMAT = 2
_K = 25  # of the k-mers that tell likeness
_BLOCK = 1000  # bp
_CHUNK = 1 << 20  # bp read at a time


@dataclass(frozen=True)
class Corpus:
    """k-mer ids of genomes, mapped from a file.

    Parameters
    ----------
    train, valid : list of unsigned integer array, each of shape (n_kmers,)
        Runs of known k-mers, in the order of the sequence: views of the file, read when they are used. Both strands are
        in `train` if asked for, "+" alone is in `valid`.
    provenance : dict
        For a model's card: ``"sequences"``, the id, bp and sha256 (of the upper-case letters) of each; ``"excluded"``,
        regions; ``"valid_sequences"``, the ids of those for validation alone, if there are any; and where something was
        held out as similar, ``"excluded_similar"`` and each sequence's ``"similar_bp"``.
    """

    train: list[Ids]
    valid: list[Ids]
    provenance: dict[str, Any]


class _Stretch(NamedTuple):
    """A place to read along its strand."""

    genome: Genome
    place: Interval


class _HeldOut(NamedTuple):
    """Sequences that nothing learnt may look like, and what a card says of them."""

    kmers: KmerSet
    summary: dict[str, Any]


def build_corpus(
    genomes: GenomeSource | Iterable[GenomeSource],
    vocab: KmerVocab,
    *,
    exclude: Any = None,
    exclude_similar: SequenceSource | Iterable[SequenceSource] | None = None,
    valid_fraction: float = 0.02,
    valid_genomes: GenomeSource | Iterable[GenomeSource] = (),
    both_strands: bool = True,
    folder: str | Path | None = None,
) -> Corpus:
    """Encode genomes into a file, or find the file that an earlier call made of the same.

    Parameters
    ----------
    genomes : Genome, SeqRecord, path, or iterable of them
        Anything `Genome` reads. They are open while the file is made, and not afterwards.
    vocab : KmerVocab
        The k-mers.
    exclude : list of Interval, or anything `read_intervals` reads, optional
        Regions that are left out; those on a chromosome that several genomes have, of all of them.
    exclude_similar : path, SeqRecord, Seq, Genome, or iterable of them, optional
        Sequences whose relatives are left out too: every block of 1 kb that shares a 25-mer with them, on either
        strand. A path is a FASTA, CSV, TSV, 2bit or GenBank file.
    valid_fraction : float
        Share of each stretch, from its end, that is for validation.
    valid_genomes : Genome, SeqRecord, path, or iterable of them
        Genomes that are for validation alone, as a genus left out whole; in place of `valid_fraction`.
    both_strands : bool
        Whether to learn the reverse complement too.
    folder : str or Path, optional
        Where the file is kept for the next call; it is made if need be. If not given, the file has no name once it is
        made, and goes with the Corpus.

    Returns
    -------
    Corpus

    Raises
    ------
    DatasetError
        If nothing is left to learn from, or no sequence to exclude has 25 known bases.
    SettingError
        If `valid_fraction` is not in [0, 1).
    StorageError
        If the folder can't be made or written to, or has no room.
    UnknownChromosomeError, OutOfRangeError
        If `exclude` doesn't fit the genomes.

    Examples
    --------
    >>> corpus = build_corpus(Genome({"chr1": "ACGTTNACGGTA"}), KmerVocab(3), valid_fraction=0, both_strands=False)
    >>> [list(KmerVocab(3).kmers(segment)) for segment in corpus.train]
    [['ACG', 'CGT', 'GTT'], ['ACG', 'CGG', 'GGT', 'GTA']]
    """
    if not 0 <= valid_fraction < 1:
        raise SettingError(f"valid_fraction is {valid_fraction}, wanted 0 <= valid_fraction < 1")
    vocab = KmerVocab(vocab.k, vocab.stride)  # the file is in the order of the sequence, whatever the order of reading
    with _storage(folder) as where:
        opened, checked = (_opened(source) for source in (genomes, valid_genomes))
        fractions = [0 if checked else valid_fraction for _ in opened] + [1 for _ in checked]
        opened += checked
        left_out = [] if exclude is None else read_intervals(exclude)
        kept = _kept(opened, left_out)
        held_out = None if exclude_similar is None else _held_out(exclude_similar)
        made_of = {
            "format": _FORMAT,
            "k": vocab.k,
            "stride": vocab.stride,
            "sequences": [row for genome in opened for row in _identities(genome)],
            "excluded": [interval.region for interval in left_out],
            "excluded_similar": held_out and held_out.summary,
            "valid_fraction": 0 if checked else valid_fraction,
            "valid_sequences": [chrom for genome in checked for chrom in genome.chrom_sizes],
            "both_strands": both_strands,
        }
        path = where / f"corpus-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}.npy"
        corpus = _mapped(path, made_of)
        if corpus is None:
            _refuse_full(where, opened, vocab, both_strands)
            similar = [similar_blocks(genome, held_out.kmers) if held_out else [] for genome in opened]
            train, valid = _stretches(opened, kept, similar, fractions, vocab)
            manifest = {"made_of": made_of, "similar_bp": _bp_by_sequence(opened, similar)}
            _write(path, vocab, [strand for one in train for strand in _strands(one, both_strands)], valid, manifest)
            corpus = _mapped(path, made_of)
    if corpus is None or not corpus.train:
        raise DatasetError(f"nothing to learn from: no stretch of two or more known {vocab.k}-mers")
    return corpus


def similar_blocks(genome: Genome, kmers: KmerSet, *, block: int = _BLOCK) -> list[Interval]:
    """Find the blocks of a genome that share a k-mer with others, wholly or in part.

    Parameters
    ----------
    genome : Genome
        Cut into blocks from the start of each chromosome.
    kmers : KmerSet
        Of either strand. A k-mer that lies across two blocks finds both.
    block : int
        Length in bp; the last block of a chromosome may be shorter.

    Returns
    -------
    list of Interval
        0-based half-open, without strand, in the order of the genome.

    Examples
    --------
    >>> genome = Genome({"chr1": "TTTTTTTTTTTTTTACGGTTTTTTTT"})
    >>> [found.id for found in similar_blocks(genome, KmerSet(["CCGT"], k=4), block=8)]
    ['chr1:8-16(.)', 'chr1:16-24(.)']
    """
    reach, span = kmers.k - 1, max(1, _CHUNK // block) * block
    found = []
    for chrom, size in genome.chrom_sizes.items():
        for start in range(0, size, span):
            blocks = [(at, min(at + block, size)) for at in range(start, min(start + span, size), block)]
            first = max(0, start - reach)
            text = genome.sequence(chrom, first, min(blocks[-1][1] + reach, size))
            hits = kmers.hits(text[max(0, at - reach - first) : end + reach - first] for at, end in blocks)
            found += [Interval(chrom, *blocks[i]) for i in np.flatnonzero(hits)]
    return found


# What is read ---------------------------------------------------------------------------------------------------------


def _opened(genomes: GenomeSource | Iterable[GenomeSource]) -> list[Genome]:
    listed = [genomes] if isinstance(genomes, Genome | SeqRecord | str | Path) else genomes
    return [genome if isinstance(genome, Genome) else Genome(genome) for genome in listed]


def _kept(genomes: Sequence[Genome], left_out: list[Interval]) -> list[list[Interval]]:
    """Return what of each genome is not left out, refusing a misspelt name: it would let held-out sequence in."""
    known = [chrom for genome in genomes for chrom in genome.chrom_sizes]
    for interval in left_out:
        if interval.chrom not in known:
            raise UnknownChromosomeError(interval.chrom, known, "a region to exclude must be on one of the genomes")
    return [
        complement([i for i in left_out if i.chrom in genome.chrom_sizes], genome.chrom_sizes) for genome in genomes
    ]


def _identities(genome: Genome) -> Iterator[dict[str, Any]]:
    for chrom, size in genome.chrom_sizes.items():
        digest = hashlib.sha256()
        for start in range(0, size, _CHUNK):
            digest.update(genome.sequence(chrom, start, min(start + _CHUNK, size)).upper().encode())
        yield {"id": chrom, "bp": size, "sha256": digest.hexdigest()}


def _held_out(source: SequenceSource | Iterable[SequenceSource]) -> _HeldOut:
    texts = [str(text).upper() for text in _texts(source)]
    kmers = KmerSet(texts, _K)
    if not len(kmers):
        raise DatasetError(f"no sequence to exclude has a run of {_K} known bases: nothing can be like them")
    short = sum(len(text) < _K for text in texts)
    if short:
        _log.warning(
            "%d of %d sequences to exclude are shorter than %d bp: nothing is like them", short, len(texts), _K
        )
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    bp = sum(map(len, texts))
    return _HeldOut(kmers, {"sequences": len(texts), "bp": bp, "sha256": digest, "k": _K, "block": _BLOCK})


def _texts(source: SequenceSource | Iterable[SequenceSource]) -> Iterator[str | Seq]:
    if isinstance(source, Seq):
        yield source
    elif isinstance(source, SeqRecord):
        yield letters(source)
    elif isinstance(source, Genome):
        yield from (source.sequence(chrom, 0, size) for chrom, size in source.chrom_sizes.items() if size)
    elif isinstance(source, str | Path):
        yield from _texts(read_records(source) if _is_table_or_fasta(Path(source)) else Genome(source))
    else:
        for one in source:
            yield from _texts(one)


def _is_table_or_fasta(path: Path) -> bool:
    """Tell what may name two records alike from what `Genome` reads."""
    try:
        return sniff(path) == "fasta"
    except FileFormatError:
        return True  # a table, perhaps; if not, its reader says so


def _stretches(
    genomes: Sequence[Genome],
    kept: Sequence[list[Interval]],
    similar: Sequence[list[Interval]],
    valid_fractions: Sequence[float],
    vocab: KmerVocab,
) -> tuple[list[_Stretch], list[_Stretch]]:
    """Divide what is left of each genome into stretches to learn from and stretches to check on."""
    train: list[_Stretch] = []
    valid: list[_Stretch] = []
    for genome, regions, blocks, fraction in zip(genomes, kept, similar, valid_fractions, strict=True):
        for place in subtract(regions, blocks):
            place = place._replace(strand="+")
            cut = place.end - int(place.length * fraction)
            train.append(_Stretch(genome, place._replace(end=cut)))
            valid.append(_Stretch(genome, place._replace(start=cut)))
    long_enough = [[one for one in part if vocab.n_kmers(one.place.length) > 1] for part in (train, valid)]
    return long_enough[0], long_enough[1]


def _bp_by_sequence(genomes: Sequence[Genome], similar: Sequence[list[Interval]]) -> list[int]:
    """Add up the blocks found in each sequence of each genome, and say so."""
    sums: list[int] = []
    for genome, blocks in zip(genomes, similar, strict=True):
        bp = dict.fromkeys(genome.chrom_sizes, 0)
        for block in blocks:
            bp[block.chrom] += block.length
        sums += bp.values()
        if blocks:
            _log.info(
                "%s: blocks of %d bp that share a %d-mer with what is held out are left out: %d, or %d of %d bp",
                genome.name, _BLOCK, _K, len(blocks), sum(bp.values()), sum(genome.chrom_sizes.values()),
            )  # fmt: skip
    return sums


# The file -------------------------------------------------------------------------------------------------------------


@contextmanager
def _storage(folder: str | Path | None) -> Iterator[Path]:
    """Give a folder that can be written to. A temporary one goes at once: a file that is mapped outlives its name."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="genomic_ulmfit-") as temporary:
            yield Path(temporary)
        return
    with _refusing(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    yield Path(folder)


@contextmanager
def _refusing(folder: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(folder, f"no encoded genomes can be written there: {error.strerror or error}") from error


def _refuse_full(folder: Path, genomes: Iterable[Genome], vocab: KmerVocab, both_strands: bool) -> None:
    bp = sum(size for genome in genomes for size in genome.chrom_sizes.values())
    needed = bp // vocab.stride * vocab.dtype.itemsize * (2 if both_strands else 1)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(folder, f"encoding {bp} bp takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free")


def _write(
    path: Path, vocab: KmerVocab, train: list[_Stretch], valid: list[_Stretch], manifest: dict[str, Any]
) -> None:
    """Write the ids of all stretches end to end, and what they are of beside them."""
    n_ids = [[vocab.n_kmers(stretch.place.length) for stretch in part] for part in (train, valid)]
    header = {"descr": vocab.dtype.str, "fortran_order": False, "shape": (sum(map(sum, n_ids)),)}
    with _refusing(path.parent):
        with replacing(path) as temporary, open(temporary, "wb") as handle:
            np.lib.format.write_array_header_1_0(handle, header)
            for stretch in (*train, *valid):
                for ids in _encoded(stretch, vocab):
                    handle.write(ids.data)
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({**manifest, "train": n_ids[0], "valid": n_ids[1]}))


def _strands(stretch: _Stretch, both: bool) -> list[_Stretch]:
    return [stretch, stretch._replace(place=stretch.place._replace(strand="-"))] if both else [stretch]


def _encoded(stretch: _Stretch, vocab: KmerVocab) -> Iterator[Ids]:
    """Yield the ids of a stretch along its strand, a piece at a time."""
    (genome, place), step = stretch, _CHUNK // vocab.stride
    for first in range(0, vocab.n_kmers(place.length), step):
        last = min(first + step, vocab.n_kmers(place.length)) - 1
        start, end = vocab.span(first)[0], vocab.span(last)[1]
        low, high = (start, end) if place.strand == "+" else (place.length - end, place.length - start)
        text = genome.sequence(place.chrom, place.start + low, place.start + high)
        yield vocab.encode(text if place.strand == "+" else reverse_complement(text))


def _mapped(path: Path, made_of: dict[str, Any]) -> Corpus | None:
    """Map a file that is made of this, if there is one."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        ids = np.load(path, mmap_mode="r").view(np.ndarray)  # slicing a memmap is slow
    except (OSError, ValueError, EOFError):
        return None
    n_ids = [*manifest["train"], *manifest["valid"]]
    if manifest["made_of"] != made_of or len(ids) != sum(n_ids):
        return None
    n_train = len(manifest["train"])
    runs = [known_segments(ids[start:end]) for start, end in pairwise(accumulate(n_ids, initial=0))]
    train, valid = ([segment for run in part for segment in run] for part in (runs[:n_train], runs[n_train:]))
    return Corpus(train, valid, _provenance(made_of, manifest["similar_bp"]))


def _provenance(made_of: dict[str, Any], similar_bp: list[int]) -> dict[str, Any]:
    said = {name: made_of[name] for name in ("sequences", "excluded")}
    if made_of["valid_sequences"]:
        said["valid_sequences"] = made_of["valid_sequences"]
    if made_of["excluded_similar"] is None:
        return said
    rows = [row | {"similar_bp": bp} for row, bp in zip(made_of["sequences"], similar_bp, strict=True)]
    return said | {"sequences": rows, "excluded_similar": made_of["excluded_similar"]}
