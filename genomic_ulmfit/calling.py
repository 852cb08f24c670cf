"""A scan in, its track files and calls out in one pass; and how many of the calls shuffled sequence has too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.datasets.metrics import jsonable
from genomic_ulmfit.datasets.shuffles import dinucleotide_shuffle
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.genome.algebra import merge, overlapping, pad
from genomic_ulmfit.genome.blocks import Scale, ScoreBlock, negated, rescale
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.peaks import Peak, call_peaks
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tracks import open_track, track_format, track_line
from genomic_ulmfit.net.engine import Precision
from genomic_ulmfit.net.ensemble import AnyClassifier
from genomic_ulmfit.net.kinds import require_classifier
from genomic_ulmfit.scanning import Strands, best_strand, scan

__all__ = ["FalseDiscovery", "WrittenScan", "false_discovery", "write_scan"]

_log = logging.getLogger(__name__)

_PIECE = 100_000  # bp of a stretch that is drawn to be shuffled
_SHUFFLED_AT_ONCE = 10_000  # bp: what a chromosome's composition does over longer distances stays


@dataclass(frozen=True)
class WrittenScan:
    """What `write_scan` made.

    Attributes
    ----------
    tracks : dict of str to Path
        The files, by strand.
    calls : list of Peak
        The calls, of probabilities whatever the scale of the files; empty if none were asked for.
    bp : int
        Length in bp of the bins with an answer, the mean over the strands.
    """

    tracks: dict[str, Path]
    calls: list[Peak]
    bp: int


def write_scan(
    blocks: Iterable[ScoreBlock],
    tracks: Mapping[str, str | Path],
    *,
    chrom_sizes: Mapping[str, int] | None = None,
    scale: Scale = "probability",
    negative_minus: bool = False,
    label: str | None = None,
    calls: bool = True,
    threshold: float = 0.5,
    min_distance: int = 100,
) -> WrittenScan:
    """Write a scan to one or several track files and call it, all from one stream that is never held as a whole.

    Parameters
    ----------
    blocks : iterable of ScoreBlock
        As `scan` gives them; with the track "." both strands, as pairs.
    tracks : mapping of str to str or Path
        Files to write, by strand: "+", "-", and "." for the better strand of each bin.
    chrom_sizes : mapping of str to int, optional
        As in `write_track`.
    scale : {"probability", "log-odds", "-log10"}
        Of the files, as in `rescale`.
    negative_minus : bool
        Write the minus strand's scores below zero, as UCSC's users like it.
    label : str, optional
        Description of a track line, with which a bedGraph begins if it is given; the strand is added.
    calls : bool
        False: don't call.
    threshold, min_distance
        As in `call_peaks`; the threshold is a probability.

    Returns
    -------
    WrittenScan

    Raises
    ------
    SettingError
        If there is no such strand or scale, a track's strand has no scores, those for one of both strands come not in
        pairs, or `negative_minus` finds no minus strand to write.
    FileFormatError
        As in `write_track`.

    Examples
    --------
    >>> from dataclasses import replace
    >>> folder = getfixture("tmp_path")
    >>> plus = ScoreBlock("chr1", 0, 10, np.array([0.25, 0.75], dtype=np.float32), 20, "+")
    >>> minus = replace(plus, scores=1 - plus.scores, strand="-")
    >>> written = write_scan([plus, minus], {"+": folder / "plus.bg", "-": folder / "minus.bg"}, negative_minus=True)
    >>> [call.id for call in written.calls], written.bp
    (['chr1:0-10(-)', 'chr1:10-20(+)'], 20)
    >>> print((folder / "minus.bg").read_text(), end="")
    chr1  0   10  -0.75
    chr1  10  20  -0.25
    """
    if not set(tracks) <= {"+", "-", "."}:
        raise SettingError(f"tracks are named by strand, '+', '-' or '.', got {', '.join(tracks)}")
    if negative_minus and "-" not in tracks:
        raise SettingError("negative_minus needs a track of the minus strand; write both strands, or that one")
    bases: dict[str, int] = {}
    with ExitStack() as stack:
        writers = {}
        for strand, path in tracks.items():
            line = _line(path, strand, label, scale, negative_minus)
            write = stack.enter_context(open_track(path, chrom_sizes=chrom_sizes, track_line=line))
            writers[strand] = _converting(write, scale, negative_minus and strand == "-")
        passing = _passing(blocks, writers, bases)
        found = call_peaks(passing, threshold=threshold, min_distance=min_distance) if calls else []
        for _ in passing:  # without calls nothing has drawn the blocks yet
            pass
    paths = {strand: Path(path) for strand, path in tracks.items()}
    return WrittenScan(paths, found, sum(bases.values()) // max(1, len(bases)))


_Write = Callable[[ScoreBlock], None]


def _passing(
    blocks: Iterable[ScoreBlock], writers: Mapping[str, _Write], bases: dict[str, int]
) -> Iterator[ScoreBlock]:
    """Write the blocks as they pass, and count the bases with an answer."""
    pair: list[ScoreBlock] = []
    for block in blocks:
        answered = (block.ends - block.starts)[~np.isnan(block.scores)]
        bases[block.strand] = bases.get(block.strand, 0) + int(answered.sum())
        if block.strand in writers:
            writers[block.strand](block)
        elif "." in writers:
            pair.append(block)
            if len(pair) == 2:
                writers["."](next(best_strand(pair)))
                pair.clear()
        yield block
    for _ in best_strand(pair):  # it refuses one that is left over
        pass
    lacking = writers.keys() - bases.keys() - {"."}
    if bases and lacking:
        raise SettingError(f"no scores of strand {', '.join(lacking)} came to write, only of {', '.join(bases)}")


def _converting(write: _Write, scale: Scale, negative: bool) -> _Write:
    def convert(block: ScoreBlock) -> None:
        (block,) = rescale([block], scale)
        (block,) = negated([block]) if negative else [block]
        write(block)

    return convert


def _line(path: str | Path, strand: str, label: str | None, scale: Scale, negative_minus: bool) -> str | None:
    if label is None or track_format(path) != "bedgraph":
        return None
    limits = None if scale != "probability" else (-1, 0) if negative_minus and strand == "-" else (0, 1)
    of_strand = "better strand" if strand == "." else f"{strand} strand"
    return track_line(Path(path).name.split(".bedgraph")[0], f"{label}, {scale}, {of_strand}", limits=limits)


@dataclass(frozen=True)
class FalseDiscovery:
    """How many calls of a scan chance makes too.

    Attributes
    ----------
    calls : list of Peak
        The calls with their `q_value`.
    threshold : float
        Lowest probability of a call.
    bp, shuffled_bp : int
        What was scanned of the genome and of shuffled sequence: the bins with an answer, in bp.
    n_shuffled : int
        Calls in the shuffled sequence.
    rate : float
        Calls per Mb of shuffled sequence over calls per Mb of the genome; it can exceed 1. NaN without calls.
    n_far : int or None
        Calls with no true site of their strand within `tolerance`; None without sites.
    tolerance : int
        In bp.
    """

    calls: list[Peak]
    threshold: float
    bp: int
    shuffled_bp: int
    n_shuffled: int
    rate: float
    n_far: int | None
    tolerance: int

    @property
    def far_share(self) -> float | None:
        """Share of the calls without a true site; None without sites, NaN without calls."""
        return None if self.n_far is None else _ratio(self.n_far, len(self.calls))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the calls."""
        values = {name: value for name, value in vars(self).items() if name != "calls"}
        return jsonable({**values, "n_calls": len(self.calls), "far_share": self.far_share})

    def __str__(self) -> str:
        """Say it in a few lines."""
        good = sum(call.q_value is not None and call.q_value <= 0.05 for call in self.calls)
        lines = [
            f"at {self.threshold:g}: {len(self.calls)} calls in {self.bp / 1e6:.3g} Mb, {self.n_shuffled} in "
            f"{self.shuffled_bp / 1e6:.3g} Mb of the same sequence with its dinucleotides shuffled",
            f"false-discovery rate by shuffling: {self.rate:.3f}; {good} calls have a q-value of 0.05 or less",
        ]
        if self.n_far is not None:
            far = f"{self.n_far} of {len(self.calls)} calls ({self.far_share:.3f})"
            lines.append(f"without a true site within {self.tolerance} bp on their strand: {far}")
        return "\n".join(lines)


def false_discovery(
    model: AnyClassifier,
    genome: Genome,
    calls: Iterable[Peak],
    *,
    bp: int,
    regions: object = None,
    step: int | None = None,
    refine: float | None = None,
    strands: Strands = "both",
    target: str | None = None,
    threshold: float = 0.5,
    min_distance: int = 100,
    sample_bp: int = 1_000_000,
    sites: Iterable[Interval] | None = None,
    tolerance: int = 100,
    batch_size: int = 256,
    precision: Precision = "fp32",
    exact: bool = False,
    device: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> FalseDiscovery:
    """Estimate how many calls of a scan are false, from shuffled sequence and, where they are known, from true sites.

    The scanned sequence, or a sample of it, is shuffled so that its dinucleotides stay, 10 kb at a time, and is scanned
    and called in the same way. A call's q-value is the lowest share of false calls among the calls that score at least
    as high as it, or as some lower call: ``(n_shuffled + 1) / shuffled_bp`` over ``n_calls / bp``, 1 at most. The one
    that is added keeps it from 0, as in target-decoy searches.

    Shuffled sequence is not real sequence without sites. It has no repeats and no other signals, which flatters; and a
    model that learnt starts against the insides of genes may call it more often than the genome, since it is no inside
    of a gene. So the share of calls without a true site, on sequence that the model did not learn from, is what to go
    by; that in turn counts a true site that nobody annotated as false.

    Parameters
    ----------
    model : Classifier or Ensemble
        That made the scan.
    genome : Genome
        That was scanned.
    calls : iterable of Peak
        As `call_peaks` or `write_scan` gave them.
    bp : int
        How much was scanned, as in `WrittenScan`.
    regions, step, refine, strands, target, threshold, min_distance
        As they were in `scan` and `call_peaks`. Strands are "+", "-" or "both", those of the calls.
    sample_bp : int
        How much is shuffled and scanned at most, in bp. More is drawn in stretches of 100 kb.
    sites : iterable of Interval, optional
        True sites; the first base along the strand counts. One without strand fits calls of both.
    tolerance : int
        Largest distance between a call's summit and a true site, in bp.
    batch_size, precision, exact, device, progress
        As in `scan`.
    seed : int
        Of the sample and the shuffles.

    Returns
    -------
    FalseDiscovery

    Raises
    ------
    ModelKindError
        If `model` is no classifier.
    SettingError
        If `sample_bp` is less than 1 or `tolerance` negative.
    DatasetError
        If no window of the sample has an answer.
    UnknownChromosomeError
        If the sites are on other chromosomes.
    """
    require_classifier(model)
    if sample_bp < 1 or tolerance < 0:
        raise SettingError(f"wanted sample_bp >= 1 and tolerance >= 0, got {sample_bp} and {tolerance}")
    calls, rng = list(calls), np.random.default_rng(seed)
    n_far = None if sites is None else _n_far(calls, genome.named(sites, "sites"), genome, tolerance)
    records = _shuffled(genome, regions, sample_bp, rng)
    settings: dict[str, Any] = {
        "step": step,
        "refine": refine,
        "target": target,
        "batch_size": batch_size,
        "precision": precision,
        "exact": exact,
    }
    blocks = scan(model, records, strands=strands, device=device, progress=progress, **settings)
    decoys = write_scan(blocks, {}, threshold=threshold, min_distance=min_distance)
    if not decoys.bp:
        raise DatasetError("no window of the shuffled sample has an answer; scan longer regions")
    rate = _ratio(len(decoys.calls) / decoys.bp, len(calls) / max(1, bp))
    q_values = _q_values([call.score for call in calls], [call.score for call in decoys.calls], decoys.bp / max(1, bp))
    judged = [call._replace(q_value=q) for call, q in zip(calls, q_values.tolist(), strict=True)]
    return FalseDiscovery(judged, threshold, bp, decoys.bp, len(decoys.calls), rate, n_far, tolerance)


def _shuffled(genome: Genome, regions: object, sample_bp: int, rng: np.random.Generator) -> list[SeqRecord]:
    """Return stretches of the regions, shuffled between their unknown bases, `sample_bp` in all at most."""
    pieces = [
        region._replace(start=start, end=min(start + _PIECE, region.end))
        for region in merge(genome.located(regions))
        for start in range(region.start, region.end, _PIECE)
    ]
    if sum(piece.length for piece in pieces) > sample_bp:
        pieces = _sampled([pieces[i] for i in rng.permutation(len(pieces))], sample_bp)
        _log.info("shuffled: %d stretches, %d bp of what was scanned", len(pieces), sum(p.length for p in pieces))
    records = []
    for piece in pieces:
        text = genome.sequence(*piece[:3]).upper().replace("U", "T")
        known = re.compile(f"[ACGT]{{1,{_SHUFFLED_AT_ONCE}}}")
        mixed = known.sub(lambda match: dinucleotide_shuffle(match[0], rng), text)
        records.append(SeqRecord(Seq(mixed), id=piece.id, description=""))
    return records


def _sampled(pieces: list[Interval], sample_bp: int) -> list[Interval]:
    """Return the first pieces, the last one shortened, up to `sample_bp`."""
    kept, left = [], sample_bp
    for piece in pieces:
        if left > 0:
            kept.append(piece._replace(end=min(piece.end, piece.start + left)))
            left -= kept[-1].length
    return kept


def _q_values(scores: list[float], decoys: list[float], ratio: float) -> NDArray[np.float64]:
    """Return the q-value of each call (n,); `ratio` is what was shuffled over what was scanned."""
    order = np.argsort(scores, kind="stable")
    rising = np.array(scores, dtype=np.float64)[order]
    at_least = len(scores) - np.searchsorted(rising, rising, side="left")
    false = len(decoys) - np.searchsorted(np.sort(decoys), rising, side="left") + 1
    q_values = np.empty(len(scores))
    q_values[order] = np.minimum.accumulate(np.minimum(1, false / ratio / np.maximum(1, at_least)))
    return q_values


def _n_far(calls: list[Peak], sites: list[Interval], genome: Genome, tolerance: int) -> int:
    """Count the calls without a site of their strand, or without strand, within the tolerance."""
    n_near = 0
    for strand in {call.strand for call in calls}:
        there = [site.window(0, 1) for site in sites if strand == "." or site.strand in (strand, ".")]
        n_near += len(
            overlapping([c.site for c in calls if c.strand == strand], pad(there, tolerance, genome.chrom_sizes))
        )
    return len(calls) - n_near


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
