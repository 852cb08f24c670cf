"""Variants in, what their alleles change in the model's calls out, 0-based half-open.

The alternative haplotype of an allele is the reference with nothing but this allele in its place: variants never meet
one another. Every window that the allele changes is scored on both haplotypes and on both strands; reported is the pair
of windows whose log-odds differ most. Windows are paired by their anchors: one that lies left of the change is counted
from the chromosome's left end on both haplotypes, one that lies right of it from the right end, so that both stand on
the same base. A base that only one of the haplotypes has is nobody's anchor. ``docs/definitions.md`` has an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from genomic_ulmfit.errors import DatasetError, ReferenceMismatchError, SettingError
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.engine import Precision, best_device, check_precision, log_odds, make_engine, softmax
from genomic_ulmfit.net.ensemble import AnyClassifier, mean_logits, members_of
from genomic_ulmfit.net.kinds import require_classifier
from genomic_ulmfit.net.sharing import Slider
from genomic_ulmfit.scanning import window_at
from genomic_ulmfit.windows import encode_windows

__all__ = ["AlleleEffect", "Variant", "allele_effects", "check_reference"]

_WINDOWS = 5_000  # of a batch of variants: what is held in memory, and how often progress shows
_FIRST_WINDOWS = 64  # on which reduced precision is tried

_Numbers = NDArray[np.int64]


class Variant(NamedTuple):
    """Alternative alleles of a stretch of the reference.

    Parameters
    ----------
    chrom : str
        Chromosome, by the genome's name or an alias.
    start : int
        Of the reference allele's first base, 0-based. It ends ``len(ref)`` bp later.
    ref : str
        Reference allele: A, C, G and T in either case.
    alts : tuple of str
        Alternative alleles, likewise. Bases that an allele shares with `ref` at its ends, as VCF has them beside
        insertions and deletions, change nothing.
    """

    chrom: str
    start: int
    ref: str
    alts: tuple[str, ...]


class AlleleEffect(NamedTuple):
    """The window whose call an allele changes most.

    Attributes
    ----------
    change : float
        Log-odds of the target on the alternative haplotype minus those on the reference, in nats.
    anchor : int
        Where the window's anchor lies on the reference, 0-based.
    strand : str
        "+" or "-": on which the window was read.
    ref_probability, alt_probability : float
        Of the target in that window of either haplotype.
    """

    change: float
    anchor: int
    strand: str
    ref_probability: float
    alt_probability: float


def allele_effects(
    model: AnyClassifier,
    genome: Genome | str | Path,
    variants: Iterable[Variant],
    *,
    step: int = 1,
    target: str | None = None,
    batch_size: int = 256,
    precision: Precision = "fp32",
    exact: bool = False,
    device: str | None = None,
) -> Iterator[tuple[AlleleEffect | None, ...]]:
    """Find where alleles change the model's calls most.

    Parameters
    ----------
    model : Classifier or Ensemble
        Its window, anchor, k and stride are used; without an anchor, the window's centre.
    genome : Genome, or anything `Genome` reads
        The reference.
    variants : iterable of Variant
        In any order; each is scored alone, whatever else is there. They are read some ahead.
    step : int
        Only anchors in the middle of bins of `step` bp are scored, as in `scan`. With 1 all are: for a window of W bp
        and a substitution of one base, W pairs of windows on each strand.
    target, batch_size, precision, exact, device
        As in `scan`.

    Yields
    ------
    tuple of AlleleEffect or None, length ``len(alts)``
        For each variant, in order. Of several windows with the same change, the leftmost on "+" is taken. None: no
        window has an answer, since those there would be reach past an end or hold other letters than A, C, G, T.

    Raises
    ------
    ModelKindError
        If `model` is no classifier.
    UnknownClassError, DatasetError, SettingError
        As in `scan`; while reading variants a DatasetError if an allele has other letters.
    UnknownChromosomeError
        While reading variants, if the genome lacks a chromosome.
    ReferenceMismatchError
        While reading variants, if the genome has another sequence in the place of a reference allele.

    Examples
    --------
    >>> import genomic_ulmfit as gu
    >>> config = gu.AWDLSTMConfig(n_embedding=4, n_hidden=4)
    >>> model = gu.Classifier(gu.KmerVocab(2), config, ["background", "promoter"], window=10, anchor=5).eval()
    >>> variants = [Variant("chr1", 20, "T", ("G", "TA"))]
    >>> ((snv, insertion),) = allele_effects(model, gu.Genome({"chr1": "ACGTTGCA" * 5}), variants)
    >>> 10 < snv.anchor < 31, snv.strand in "+-"
    (True, True)
    """
    require_classifier(model)
    if step < 1:
        raise SettingError(f"step is {step}, wanted at least 1 bp")
    where = best_device(device)
    check_precision(precision)
    column = model.target_index(target)
    lefts = {strand: -window_at(model, Interval("", 0, 1, strand=strand)).start for strand in "+-"}
    opened = genome if isinstance(genome, Genome) else Genome(genome)
    length = int(model.window or 0)  # `window_at` has refused a model without

    def make_slider(member: Classifier, first: Ids) -> Slider:
        engine = make_engine(member, first, precision=precision, device=where)
        return Slider(engine, first.shape[1], batch_size=batch_size, exact=exact)

    readers = [_Reader(member, length, make_slider) for member in members_of(model)]

    def effects() -> Iterator[tuple[AlleleEffect | None, ...]]:
        for batch in _batches(opened, variants, lefts, length, step):
            yield from batch.effects(readers, column)

    return effects()


def check_reference(genome: Genome, variant: Variant) -> bool:
    """Compare the reference allele with the genome, in either case.

    Returns
    -------
    bool
        False if the genome has other letters than A, C, G, T there, so that nothing can be said.

    Raises
    ------
    UnknownChromosomeError
        If the genome lacks the chromosome.
    ReferenceMismatchError
        If the genome has another sequence there, or ends before.
    """
    size = genome.chrom_sizes[genome.resolve(variant.chrom)]
    start, end = max(variant.start, 0), min(variant.start + len(variant.ref), size)
    found = genome.sequence(variant.chrom, start, end).upper().replace("U", "T") if start < end else ""
    pairs = zip(found, variant.ref.upper(), strict=False)
    if len(found) < len(variant.ref) or any(there in "ACGT" and there != ref for there, ref in pairs):
        raise ReferenceMismatchError(variant.chrom, variant.start + 1, variant.ref, found)
    return not set(found) - set("ACGT")


class _Change(NamedTuple):
    """Reference bases ``[start, end)`` give way to letters; neither begins or ends like the other."""

    start: int
    end: int
    letters: str

    @classmethod
    def of(cls, variant: Variant, alt: str) -> _Change:
        """Take away what both alleles share, at the right end first: so does bcftools norm."""
        ref, alt = variant.ref.upper(), alt.upper()
        tail = _n_shared(ref[::-1], alt[::-1])
        ref, alt = ref[: len(ref) - tail], alt[: len(alt) - tail]
        head = _n_shared(ref, alt)
        return cls(variant.start + head, variant.start + len(ref), alt[head:])

    @property
    def longer(self) -> int:
        """By how many bp the alternative haplotype is longer."""
        return len(self.letters) - (self.end - self.start)

    def pairs(self, left: int, length: int, size: int, step: int) -> tuple[_Numbers, _Numbers, _Numbers]:
        """Return anchors on the reference and where their windows begin on the reference and on the alternative.

        Parameters
        ----------
        left : int
            Bases of a window to the left of its anchor.
        length : int
            Of a window.
        size : int
            Of the chromosome.
        step : int
            Of the grid.
        """
        anchors = np.arange(self.start + left - length + 1, self.end + left)  # whose windows reach the change
        paired = (anchors < self.start) | (anchors >= self.end) | (self.longer == 0)
        anchors = anchors[paired & (anchors % step == step // 2)]
        ref = anchors - left
        alt = ref + np.where(anchors >= self.end, self.longer, 0)
        inside = (ref >= 0) & (ref + length <= size) & (alt >= 0) & (alt + length <= size + self.longer)
        return anchors[inside], ref[inside], alt[inside]


def _n_shared(one: str, other: str) -> int:
    """Return how many letters two texts share at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@dataclass
class _Allele:
    """An allele's pairs of windows by strand: anchors, and where both begin in the batch's text."""

    pairs: dict[str, tuple[_Numbers, _Numbers, _Numbers]]

    @property
    def n_windows(self) -> int:
        return 2 * sum(len(anchors) for anchors, _, _ in self.pairs.values())


class _Batch:
    """The alleles of some variants, and the text that has all their haplotypes, end to end."""

    def __init__(self) -> None:
        self.alleles: list[list[_Allele]] = []
        self.n_windows = 0
        self._places: dict[str, int] = {}
        self._end = 0

    def add(
        self, genome: Genome, chrom: str, changes: Iterable[_Change], lefts: dict[str, int], length: int, step: int
    ) -> None:
        """Add the changes of one variant."""
        size, alleles = genome.chrom_sizes[chrom], []
        for change in changes:
            begin, end = max(0, change.start - length), min(size, change.end + length)
            text = genome.sequence(chrom, begin, end)
            changed = text[: change.start - begin] + change.letters + text[change.end - begin :]
            at_ref, at_alt = (self._place(haplotype) - begin for haplotype in (text, changed))
            pairs = {}
            for strand, left in lefts.items():
                anchors, ref, alt = change.pairs(left, length, size, step)
                pairs[strand] = (anchors, ref + at_ref, alt + at_alt)
            alleles.append(_Allele(pairs))
        self.alleles.append(alleles)
        self.n_windows += sum(allele.n_windows for allele in alleles)

    def _place(self, haplotype: str) -> int:
        """Return where in the text a haplotype begins: alleles of one variant share their reference."""
        if haplotype not in self._places:
            self._places[haplotype] = self._end
            self._end += len(haplotype)
        return self._places[haplotype]

    def effects(self, readers: list[_Reader], column: int) -> list[tuple[AlleleEffect | None, ...]]:
        """Score all windows, each once, and find each allele's largest change."""
        text, every = "".join(self._places), [allele for alleles in self.alleles for allele in alleles]
        scores = {}
        for strand in "+-":
            starts = np.concatenate([np.empty(0, np.int64), *(np.concatenate(a.pairs[strand][1:]) for a in every)])
            scores[strand] = _Scores.of(readers, text, np.unique(starts), strand, column)
        return [tuple(_largest(allele, scores) for allele in alleles) for alleles in self.alleles]


def _batches(
    genome: Genome, variants: Iterable[Variant], lefts: dict[str, int], length: int, step: int
) -> Iterator[_Batch]:
    """Put as many variants together as may be held at once."""
    batch = _Batch()
    for variant in variants:
        if variant.alts:
            _check_letters(variant)
            check_reference(genome, variant)
        changes = [_Change.of(variant, alt) for alt in variant.alts]
        batch.add(genome, genome.resolve(variant.chrom), changes, lefts, length, step)
        if batch.n_windows >= _WINDOWS:
            yield batch
            batch = _Batch()
    if batch.alleles:
        yield batch


def _check_letters(variant: Variant) -> None:
    for allele in (variant.ref, *variant.alts):
        if set(allele.upper()) - set("ACGT"):
            where = f"{variant.chrom}:{variant.start + 1}"
            raise DatasetError(f"{where} (1-based): allele {allele!r} has letters other than A, C, G and T")


class _Scores(NamedTuple):
    """What windows that begin at sorted places score: log-odds and probability, NaN where there is no answer."""

    starts: _Numbers
    log_odds: NDArray[np.float32]
    probability: NDArray[np.float32]

    @classmethod
    def of(cls, readers: list[_Reader], text: str, starts: _Numbers, strand: str, column: int) -> _Scores:
        scores = np.full((2, len(starts)), np.nan, dtype=np.float32)
        if len(starts):
            encoded = [reader.encode(text, starts, strand) for reader in readers]
            known = np.all([each[2] for each in encoded], axis=0)
            read = zip(readers, encoded, strict=True)
            logits = mean_logits([reader.logits(ids, firsts[known]) for reader, (ids, firsts, _) in read])
            scores[:, known] = log_odds(logits, column), softmax(logits)[:, column]
        return cls(starts, *scores)

    def at(self, starts: _Numbers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return log-odds and probabilities (n,) of windows that begin at some of the places."""
        rows = np.searchsorted(self.starts, starts)
        return self.log_odds[rows], self.probability[rows]


def _largest(allele: _Allele, scores: dict[str, _Scores]) -> AlleleEffect | None:
    """Return the pair of windows with the largest change; None where no pair has an answer."""
    columns: list[Any] = []
    for strand, (anchors, ref, alt) in allele.pairs.items():
        (ref_odds, ref_p), (alt_odds, alt_p) = scores[strand].at(ref), scores[strand].at(alt)
        columns.append((alt_odds - ref_odds, anchors, np.full(len(anchors), strand), ref_p, alt_p))
    change, *others = (np.concatenate(column) for column in zip(*columns, strict=True))
    if np.isnan(change).all():
        return None
    best = int(np.nanargmax(np.abs(change)))
    return AlleleEffect(float(change[best]), *(column[best].item() for column in others))


class _Reader:
    """One classifier that scores windows; its slider is made when there are windows to try reduced precision on."""

    def __init__(self, model: Classifier, length: int, make_slider: Callable[[Classifier, Ids], Slider]) -> None:
        self.model, self.length, self.make_slider = model, length, make_slider
        self.slider: Slider | None = None

    def encode(self, text: str, starts: _Numbers, strand: str) -> tuple[Ids, _Numbers, NDArray[np.bool_]]:
        return encode_windows(self.model.vocab, text, starts, self.length, strand)

    def logits(self, ids: Ids, starts: _Numbers) -> NDArray[np.float32]:
        """Read windows that begin at `starts` among `ids`."""
        if not len(starts):
            return np.empty((0, len(self.model.classes)), dtype=np.float32)
        if self.slider is None:
            windows = sliding_window_view(ids, self.model.vocab.n_kmers(self.length))
            self.slider = self.make_slider(self.model, windows[starts[:_FIRST_WINDOWS]])
        return self.slider.logits(ids, starts)
