"""A language model and a genome in, the surprisal of each base out, as `ScoreBlock` s in genome coordinates.

The model reads one strand of a chromosome, k-mer by k-mer, and predicts each next one. Minus log2 of the probability
that it gave the k-mer that came is the surprisal, in bits, of the `stride` bases that are new with it; each of them has
an equal share. So the mean over bases is the model's loss in bits per base. The state starts from zero at each end and
after each gap and is carried along, as in training. A chromosome is read a block at a time, whatever its size.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.genome.algebra import merge
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tracks import ScoreBlock
from genomic_ulmfit.net.awd_lstm import LanguageModel, LayerState
from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.engine import best_device
from genomic_ulmfit.net.kinds import require_language_model
from genomic_ulmfit.net.kmers import UNK, KmerVocab
from genomic_ulmfit.progress import Progress, progress_bar

__all__ = ["surprisal"]

_log = logging.getLogger(__name__)

_BLOCK = 1 << 13  # k-mers of one pass: what is held in memory, whatever the chromosome's size
_LOGITS = 1 << 24  # of the vocabulary at once: 64 MiB

_Scores = NDArray[np.float32]


def surprisal(
    model: LanguageModel,
    genome: Genome | SeqRecord | Iterable[SeqRecord] | str | Path,
    *,
    strand: Literal["+", "-"] = "+",
    regions: object = None,
    context: int = 10_000,
    device: str | None = None,
    progress: bool = False,
) -> Iterator[ScoreBlock]:
    """Say how much each base surprises a language model.

    Parameters
    ----------
    model : LanguageModel
        Of either reading direction; it goes home as it came. A forward model reads the strand from its 5' end, a
        backward model from its 3' end.
    genome : Genome, or anything `Genome` reads
        What to read.
    strand : {"+", "-"}
        The strand that is read: "-" is the reverse complement. Scores lie where their bases lie on the chromosome.
    regions : list of Interval, or anything `read_intervals` reads, optional
        Parts to read, strands ignored; those that overlap or touch are read as one. Everything if not given.
    context : int
        Bases that are read before a region, in the direction of reading, so that its first bases are predicted from
        something; fewer where the chromosome or a gap begins. A model may remember more than that: then its answers
        for a region differ from those for the whole chromosome.
    device : str, optional
        A GPU where there is one if not given.
    progress : bool
        Show progress.

    Yields
    ------
    ScoreBlock
        Bits of each base (``step=1``), sorted by place. NaN, no answer: the first k-mer that is read of each
        chromosome, after each gap and where `context` begins; k-mers with a letter other than A, C, G, T; and bases
        past the last whole k-mer. Strand as given.

    Raises
    ------
    ModelKindError
        If `model` is no language model.
    TypeError
        If `regions` are nothing that `read_intervals` reads.
    SettingError
        If `strand`, `context` or `device` is not usable.
    UnknownChromosomeError, OutOfRangeError
        If a region is not in the genome.

    Examples
    --------
    >>> from genomic_ulmfit import AWDLSTMConfig, LanguageModel
    >>> guesser = LanguageModel(KmerVocab(k=1), AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1))
    >>> for weights in guesser.parameters():
    ...     _ = weights.data.zero_()
    >>> guesser.bias.data[:2] = -100  # never PAD or UNK: each of the four bases is as likely
    >>> next(surprisal(guesser, SeqRecord(Seq("ACGT"), id="chr1"))).scores
    array([nan,  2.,  2.,  2.], dtype=float32)
    """
    require_language_model(model)
    if strand not in ("+", "-"):
        raise SettingError(f"strand is {strand!r}, wanted '+' or '-'")
    if context < 0:
        raise SettingError(f"context is a length in bp, got {context}")
    where = best_device(device)
    opened = genome if isinstance(genome, Genome) else Genome(genome)
    stretches = [_Stretch.of(opened, region, strand, model.vocab, context) for region in _regions(opened, regions)]
    reader = _Reader(model, where)

    def blocks() -> Iterator[ScoreBlock]:
        bits, n_bases = 0.0, 0
        with progress_bar("surprisal", sum(s.n_bases for s in stretches), unit="bases", show=progress) as bar:
            for stretch in stretches:
                for block in stretch.blocks(reader, bar):
                    bits, n_bases = bits + np.nansum(block.scores, dtype=float), n_bases + block.scores.size
                    n_bases -= int(np.isnan(block.scores).sum())
                    yield block
        if n_bases:
            _log.info("surprisal: %.4f bits per base over %d bases", bits / n_bases, n_bases)

    return blocks()


def _regions(genome: Genome, regions: object) -> list[Interval]:
    """Return what to read, in the order of the genome."""
    rank = {chrom: number for number, chrom in enumerate(genome.chrom_sizes)}
    return sorted(merge(genome.located(regions)), key=lambda r: (rank[r.chrom], r.start))


class _Reader:
    """A copy of a language model, and what it has read: ids in, bits out, carrying the state."""

    def __init__(self, model: LanguageModel, device: torch.device) -> None:
        self.model, self.device = copy.deepcopy(model).to(device).eval(), device
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything."""
        self.state: list[LayerState] | None = None
        self.last: int | None = None  # the last k-mer: seen, not yet read

    def bits(self, ids: Ids) -> _Scores:
        """Return minus log2 of the probability of each k-mer (n,), NaN where nothing comes before it."""
        bits = np.full(len(ids), np.nan, dtype=np.float32)
        edges = np.flatnonzero(np.diff(ids == UNK)) + 1
        for start, end in zip([0, *edges], [*edges, len(ids)], strict=True):
            if ids[start] == UNK:
                self.start_anew()
                continue
            known = ids[start:end].astype(np.int64)
            first = 1 if self.last is None else 0
            before = known if self.last is None else np.concatenate([[self.last], known])
            self.last = int(known[-1])
            if len(before) > 1:
                bits[start + first : end] = self._predict(torch.from_numpy(before).to(self.device))
        return bits

    @torch.inference_mode()
    def _predict(self, ids: Tensor) -> _Scores:
        """Read all ids (n,) but the last; return the bits (n - 1,) of all but the first."""
        raw, self.state = self.model.encoder(ids[None, :-1], self.state)
        weight, rows = self.model.encoder.embedding.weight, max(1, _LOGITS // len(self.model.vocab))
        nats = [
            F.cross_entropy(F.linear(h, weight, self.model.bias), targets, reduction="none")
            for h, targets in zip(raw[-1][0].split(rows), ids[1:].split(rows), strict=True)
        ]
        return (torch.cat(nats) / np.log(2)).cpu().numpy()


@dataclass(frozen=True)
class _Stretch:
    """A region of a chromosome, and which k-mers of the strand are read for it.

    Along the strand, base 0 is its 5' end, and k-mer i begins at base ``i * stride``.
    """

    genome: Genome
    region: Interval
    strand: str
    vocab: KmerVocab
    first: int  # k-mer along the strand, and
    after: int  # the one after the last

    @classmethod
    def of(cls, genome: Genome, region: Interval, strand: str, vocab: KmerVocab, context: int) -> _Stretch:
        size = genome.chrom_sizes[region.chrom]
        start, end = region.start, region.end
        if strand == "-":
            start, end = size - end, size - start
        if vocab.direction == "forward":
            start = max(0, start - context)
        else:
            end = min(size, end + context)
        first = max(0, -((vocab.k - 1 - start) // vocab.stride))  # the first that touches base `start`
        return cls(genome, region, strand, vocab, first, min((end - 1) // vocab.stride + 1, vocab.n_kmers(size)))

    @property
    def n_bases(self) -> int:
        """How many bases are read, about."""
        return max(0, self.after - self.first) * self.vocab.stride

    @property
    def rightward(self) -> bool:
        """Whether the chromosome is read from left to right."""
        return (self.strand == "+") == (self.vocab.direction == "forward")

    def blocks(self, reader: _Reader, bar: Progress) -> Iterator[ScoreBlock]:
        """Yield scores from left to right, whatever the direction of reading."""
        pieces = self._pieces(reader, bar)
        if self.rightward:
            yield from self._filled(pieces)
            return
        with tempfile.TemporaryFile() as file:  # what is read last comes first: kept on disk, not in memory
            scores = np.memmap(file, np.float32, "w+", shape=(self.region.length,))
            scores[:] = np.nan
            for start, found in pieces:
                scores[start - self.region.start :][: len(found)] = found
            for start in range(0, self.region.length, _BLOCK):
                part = np.array(scores[start : start + _BLOCK])
                yield self._block(self.region.start + start, part)

    def _filled(self, pieces: Iterable[tuple[int, _Scores]]) -> Iterator[ScoreBlock]:
        """Say that there is no answer before, between and after the pieces."""
        position = self.region.start
        for start, found in pieces:
            yield self._block(position, np.concatenate([np.full(start - position, np.nan, np.float32), found]))
            position = start + len(found)
        if position < self.region.end:
            yield self._block(position, np.full(self.region.end - position, np.nan, np.float32))

    def _block(self, start: int, scores: _Scores) -> ScoreBlock:
        return ScoreBlock(self.region.chrom, start, 1, scores, start + len(scores), self.strand)

    def _pieces(self, reader: _Reader, bar: Progress) -> Iterator[tuple[int, _Scores]]:
        """Read; yield where on the chromosome each piece of the region begins, and its scores."""
        reader.start_anew()
        k, stride, forward = self.vocab.k, self.vocab.stride, self.vocab.direction == "forward"
        size = self.genome.chrom_sizes[self.region.chrom]
        starts = range(self.first, self.after, _BLOCK)
        for first in starts if forward else reversed(starts):
            after = min(first + _BLOCK, self.after)
            start, end = first * stride, (after - 1) * stride + k  # bases along the strand
            bits = reader.bits(self.vocab.encode(self._letters(start, end, size)))
            scores = np.repeat(bits if forward else bits[::-1], stride) / np.float32(stride)
            start += k - stride if forward else 0  # of the new bases
            if self.strand == "-":
                start, scores = size - start - len(scores), scores[::-1]
            left, right = max(start, self.region.start), min(start + len(scores), self.region.end)
            bar.advance(len(scores))
            if left < right:
                yield left, scores[left - start : right - start]

    def _letters(self, start: int, end: int, size: int) -> Seq:
        chrom = self.region.chrom
        if self.strand == "+":
            return Seq(self.genome.sequence(chrom, start, end))
        return Seq(self.genome.sequence(chrom, size - end, size - start)).reverse_complement()
