"""One training of a language model on its way: its batches, what it has done, when it reports, its state in and out.

A training is a number of steps. It is cut into stretches, each of which ends with a look at the validation part and a
row of figures.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from genomic_ulmfit.errors import TrainingDivergedError
from genomic_ulmfit.net.awd_lstm import LanguageModel, LayerState
from genomic_ulmfit.net.batches import IGNORE, LMBatch, LMStream
from genomic_ulmfit.net.learner import FINDER_STEPS, Recipe, Steps, rate_of, run_cycle, tried
from genomic_ulmfit.net.processes import Processes
from genomic_ulmfit.net.resuming import Interruption, Keeper, TrainingState, interruption
from genomic_ulmfit.progress import Progress, progress_bar

__all__ = ["Batches", "Counts", "Row", "Run", "Training", "bits_per_base"]

Row = dict[str, Any]

_SMOOTHING = 0.98  # of the training loss that is shown, as fastai's
_REPORTS = 20  # in a training, about: fewer where the validation part is large, more where the training is long
_REPORT_STEPS = 1000
_STEPS_A_VALID_STEP = 10
_VALID_COST = 1 / 3  # of a step without backward pass and optimiser
_WARM_STEPS, _TIMED_STEPS, _MOST_TIMED_STEPS = 3, 5, 200
_TIMED_SHARE, _MOST_TIMED_SECONDS = 0.02, 20.0
_GPU_LOOKS = 10  # a GPU waits whenever a number is fetched from it

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Training:
    """What a training did.

    Parameters
    ----------
    steps : int
        How many it took.
    rows : list of dict
        At the end of each stretch: ``step``, ``epoch`` (passes over the data), ``tokens``, ``lr``, ``train_loss``
        (smoothed) and, with a validation part, ``valid_loss``, both cross entropy in nats a k-mer; then wall-clock
        figures, ``tokens_per_second`` of the stretch's steps and ``seconds`` so far.
    rates : list of dict
        From which ``step`` on which ``lr`` was asked for, which peak ``rate`` that gave, and in which ``precision``:
        more than one where a training went on with another.
    """

    steps: int
    rows: list[Row]
    rates: list[dict[str, Any]]


def bits_per_base(nats_per_kmer: float, stride: int) -> float:
    """Turn a language model's loss into bits per base: nats / ln 2 / stride.

    Examples
    --------
    >>> round(bits_per_base(math.log(4), stride=1), 3)
    2.0
    """
    return nats_per_kmer / math.log(2) / stride


def _stretches(total: int, pass_steps: int, most: int) -> list[int]:
    """Return the steps at which to report: the ends of passes and of all, and between them every `most` or sooner.

    Examples
    --------
    >>> _stretches(total=25, pass_steps=10, most=6)
    [5, 10, 15, 20, 25]
    """
    ends = [*range(pass_steps, total, pass_steps), total]
    found = []
    for start, end in zip([0, *ends], ends, strict=False):
        parts = -(-(end - start) // most)
        found += [start + (end - start) * (i + 1) // parts for i in range(parts)]
    return found


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many rows and targets a whole step has in all processes; these are known without asking a GPU.

    ``pairs`` are targets that follow one in the same row; ``padded`` says whether this process's rows have padding.
    """

    rows: int
    targets: int
    pairs: int
    padded: bool


class Batches:
    """The rows of the next `left` steps that are this process's: every process deals the same steps."""

    def __init__(self, stream: LMStream | None, processes: Processes) -> None:
        self.stream, self.processes = stream, processes
        self.source: Iterator[LMBatch] = iter(()) if stream is None else stream.batches()
        self.left = 0

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.left

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Counts, Tensor]]:
        """Yield ids, resets, what the whole step counts, and targets."""
        for _ in range(self.left):
            yield self._share(next(self.source))

    def _share(self, batch: LMBatch) -> tuple[Tensor, Tensor, Counts, Tensor]:
        real = batch[2] != IGNORE
        n_targets, n_pairs = int(real.sum()), int(real[:, 1:].sum())
        ids, reset, targets = (part[self.processes.rank :: self.processes.count] for part in batch)
        if not len(ids):  # fewer rows than processes: read one, learn nothing
            ids, reset, targets = batch[0][:1], batch[1][:1], torch.full_like(batch[2][:1], IGNORE)
        return ids, reset, Counts(len(real), n_targets, n_pairs, bool((targets == IGNORE).any())), targets


class Run:
    """One training on its way: what it has done, when it reports, and its state in and out."""

    def __init__(
        self,
        learner: Any,
        steps: Steps,
        train: Batches,
        valid: Batches,
        keeper: Keeper,
        processes: Processes,
        report: Callable[[Sequence[Row]], None] | None,
    ) -> None:
        self.learner, self.steps, self.train_batches, self.valid_batches = learner, steps, train, valid
        self.keeper, self.processes, self.report = keeper, processes, report
        self.net: LanguageModel = learner.model.net
        self.began = time.monotonic()
        self.step, self.total, self.tokens, self.lr, self.n_rows = 0, 0, 0, 0.0, 0
        self.smoothed = torch.zeros((), device=processes.device)
        self.carried: list[LayerState] | None = None
        self.rows: list[Row] = []
        self.rates: list[dict[str, Any]] = []
        self.ends: list[int] = []
        self.shown, self.written, self.stretch, self.speed = 0, (-1, -1), (self.began, 0), 0.0
        self.bar: Progress | None = None
        self.wish = Interruption()

    def begin(self, found: TrainingState | None) -> None:
        """Make the optimiser; put weights, moments and place where an earlier run left them."""
        learner, device = self.learner, self.processes.device
        learner.model.to(device)
        learner.create_opt()
        if self.processes.count > 1:
            learner.model.shared = DistributedDataParallel(self.net)
        if found is None:
            return
        self.step, self.total, self.tokens, self.lr = found.step, found.total, found.tokens, found.lr
        self.rows, self.rates, self.shown = list(found.rows), list(found.rates), found.step
        self.began -= found.seconds
        self.smoothed.fill_(found.smoothed)
        tensors = {name: tensor.clone().to(device) for name, tensor in found.tensors.items()}
        for name, parameter in self.net.named_parameters():
            parameter.data.copy_(tensors[f"model.{name}"])
            if found.step:
                moments = {"grad_avg": tensors[f"mean.{name}"], "sqr_avg": tensors[f"square.{name}"]}
                learner.opt.state[parameter].update(moments, step=found.step)
        if "carried.0.h" in tensors:
            layers = range(len(self.net.encoder.layers))
            self.n_rows = tensors["carried.0.h"].shape[1]
            self.carried = [
                (self._own(tensors[f"carried.{i}.h"]), self._own(tensors[f"carried.{i}.c"])) for i in layers
            ]

    def train(self, recipe: Recipe, total: int, seconds: float | None) -> Training:
        """Take the steps that are left."""
        rate = self._rate(recipe)
        if not self.total:
            self.total = total if seconds is None else self._steps_in(seconds)
        self.ends = _stretches(self.total, self.stream.pass_steps, self._report_steps(self.total))
        left = len(self.ends) - len(self.rows)
        self.train_batches.source = self.stream.batches(self.step)
        self._write()
        with (
            progress_bar("language model", self.total - self.step, unit="steps", show=recipe.progress) as self.bar,
            interruption(defer=self.keeper.path is not None) as self.wish,
            self.learner.removed_cbs([self.learner.recorder]),  # it would fetch each loss from a GPU
        ):
            if left:
                run_cycle(self.learner, left, rate, recipe)
        self._write()
        return Training(self.total, self.rows, self.rates)

    @property
    def stream(self) -> LMStream:
        """What is learnt from."""
        assert self.train_batches.stream is not None
        return self.train_batches.stream

    def _report_steps(self, total: int) -> int:
        """Return the most steps between two looks at the validation part, which are to cost a few percent."""
        valid = self.valid_batches.stream
        fewest = 1 if valid is None else _STEPS_A_VALID_STEP * valid.pass_steps
        return max(fewest, min(_REPORT_STEPS, -(-total // _REPORTS)))

    def _rate(self, recipe: Recipe) -> float | slice:
        """Return the rate of the checkpoint; that of the recipe where there is none or the recipe is another."""
        asked = {"lr": recipe.lr, "precision": recipe.precision}
        last = self.rates[-1] if self.rates else None
        if last is None or any(last[name] != value for name, value in asked.items()):
            self.train_batches.left = FINDER_STEPS + 1
            peak = rate_of(self.learner, dataclasses.replace(recipe, discriminative=False))
            self.rates.append({"step": self.step, **asked, "rate": peak})
            if last is not None:
                log.warning("from step %d on with %s in place of %s", self.step, asked, {n: last[n] for n in asked})
        return rate_of(self.learner, dataclasses.replace(recipe, lr=self.rates[-1]["rate"]))

    def _steps_in(self, seconds: float) -> int:
        """Return how many steps fit in the time, by trying some and taking them back."""
        with tried(self.learner), self.learner.removed_cbs([self.learner.recorder]):
            self._time_steps(_WARM_STEPS)
            one = self._time_steps(_TIMED_STEPS)
            more = int(self.processes.from_first(min(_MOST_TIMED_SECONDS, _TIMED_SHARE * seconds) / one))
            if more > _TIMED_STEPS:
                one = self._time_steps(min(more, _MOST_TIMED_STEPS))
        left = seconds - self._seconds()
        valid = self.valid_batches.stream
        if valid is not None:
            stretch = min(self.stream.pass_steps, self._report_steps(int(left / one)))
            one *= 1 + _VALID_COST * valid.pass_steps / stretch
        steps = max(1, int(self.processes.from_first(left / one)))
        log.info("%.3g hours are %s steps of %.3g s", seconds / 3600, f"{steps:,}", one)
        return steps

    def _time_steps(self, n: int) -> float:
        """Return the seconds that one of `n` steps takes."""
        self.train_batches.left = n
        began = time.monotonic()
        self.learner.fit(1)
        if self.processes.device.type == "cuda":
            torch.cuda.synchronize()
        return max(1e-9, (time.monotonic() - began) / n)

    def begin_stretch(self) -> None:
        """Say how many steps are left to the next report."""
        if self.ends:
            self.train_batches.left = self.ends[len(self.rows)] - self.step
            self.stretch = time.monotonic(), self.tokens

    def count(self, loss: Tensor, counts: Counts, state: list[LayerState] | None) -> None:
        """Count a step, and look at it now and then."""
        self.step, self.tokens = self.step + 1, self.tokens + counts.targets
        self.carried, self.n_rows = state, counts.rows
        self.lr = float(self.learner.opt.hypers[-1]["lr"])
        self.smoothed = torch.lerp(loss, self.smoothed, _SMOOTHING)
        often = 1 if self.processes.device.type == "cpu" else _GPU_LOOKS
        if self.step % often == 0 or self.step == self.ends[len(self.rows)]:
            self._refuse(loss.item())
            self._show()
            self.heed_interruption()
            if self._agreed(self.keeper.is_due()):
                self._write()

    def heed_interruption(self) -> None:
        """Write the state and stop if somebody asked to."""
        if self.keeper.path is None or not self._agreed(self.wish.asked):
            return
        self._write()
        if self.processes.first:
            log.warning("stopped at step %d of %d; resume goes on from %s", self.step, self.total, self.keeper.kept)
        raise KeyboardInterrupt

    def begin_validation(self) -> None:
        """Deal the validation part from its beginning."""
        self.speed = self._tokens_per_second()
        stream = self.valid_batches.stream
        if stream is not None:
            self.valid_batches.source = stream.batches()
            self.valid_batches.left = stream.pass_steps

    def end_stretch(self) -> None:
        """Add a row of figures."""
        row: Row = {"step": self.step, "epoch": self.step / self.stream.pass_steps, "tokens": self.tokens}
        row |= {"lr": self.lr, "train_loss": self._train_loss()}
        if self.valid_batches.stream is not None:
            row["valid_loss"] = self.steps.valid_losses[-1]
            self._refuse(row["valid_loss"])
        self.rows.append({**row, "tokens_per_second": round(self.speed), "seconds": round(self._seconds(), 1)})
        if self.report is not None:
            self.report(self.rows)
        if self._agreed(self.keeper.is_due(epoch_ends=True)):
            self._write()

    def _refuse(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingDivergedError(loss, self.step - 1, self.keeper.kept)

    def _show(self) -> None:
        """Report progress: bits per base of training, and of validation where there was one."""
        if self.bar is not None:
            bits = f"{bits_per_base(self._train_loss(), self.net.vocab.stride):.3f} bits per base"
            if self.rows and "valid_loss" in self.rows[-1]:
                bits += f" ({bits_per_base(self.rows[-1]['valid_loss'], self.net.vocab.stride):.3f} validation)"
            self.bar.advance(self.step - self.shown, f"{bits}, {self._tokens_per_second():,.0f} tokens/s")
            self.shown = self.step

    def _train_loss(self) -> float:
        """Return the smoothed training loss, debiased."""
        return float(self.smoothed) / (1 - _SMOOTHING**self.step)

    def _tokens_per_second(self) -> float:
        since, tokens = self.stretch
        return (self.tokens - tokens) / max(1e-9, time.monotonic() - since)

    def _seconds(self) -> float:
        return time.monotonic() - self.began

    def _agreed(self, wish: bool) -> bool:
        """Tell whether the first process wishes something: all must do it at the same step."""
        return bool(self.processes.from_first(float(wish))) if self.processes.count > 1 else wish

    def _write(self) -> None:
        """Write the state, unless it is written already; all processes must come here together."""
        now = (self.step, len(self.rows))
        if self.keeper.path is None or self.written == now:
            return
        self.written = now
        layers = [dict(zip("hc", pair, strict=True)) for pair in self.carried or []]
        carried = {
            f"carried.{i}.{name}": self._all_rows(x) for i, layer in enumerate(layers) for name, x in layer.items()
        }
        if self.processes.first:
            self.keeper.write(self._state(carried))

    def _state(self, carried: dict[str, Tensor]) -> TrainingState:
        tensors = dict(carried)
        for name, parameter in self.net.named_parameters():
            moments = self.learner.opt.state[parameter]
            tensors[f"model.{name}"] = parameter.detach()
            if self.step:
                tensors |= {f"mean.{name}": moments["grad_avg"], f"square.{name}": moments["sqr_avg"]}
        return TrainingState(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            total=self.total,
            step=self.step,
            tokens=self.tokens,
            seconds=self._seconds(),
            lr=self.lr,
            smoothed=float(self.smoothed),
            rates=tuple(self.rates),
            rows=tuple(self.rows),
        )

    def _own(self, state: Tensor) -> Tensor:
        """Return this process's rows of a state (1, rows, width)."""
        return state[:, self.processes.rank :: self.processes.count].contiguous()

    def _all_rows(self, own: Tensor) -> Tensor:
        """Join the rows of all processes."""
        if self.processes.count == 1:
            return own
        found = own.new_zeros(1, self.n_rows, own.shape[2])
        rows = found[:, self.processes.rank :: self.processes.count]
        rows += own[:, : rows.shape[1]]
        return self.processes.sum(found)
