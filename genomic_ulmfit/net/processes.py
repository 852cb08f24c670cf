"""Several processes that train one model, as ``torchrun`` starts them: who is who, and sums over all of them."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from genomic_ulmfit.net.engine import best_device

__all__ = ["Processes", "is_first_process", "join"]


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Parameters
    ----------
    device : torch.device
        Where this one works.
    rank : int
        Its number, from 0.
    count : int
        How many there are.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, logs and shows progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes; all must call it."""
        if self.count == 1:
            return values
        values = values.clone().to(self.device)
        dist.all_reduce(values)
        return values

    def from_first(self, value: float) -> float:
        """Return the first process's `value`."""
        return float(self.sum(torch.tensor(value if self.first else 0.0, dtype=torch.float64)))

    def wait(self) -> None:
        """Go on when all are here."""
        self.from_first(0.0)


def is_first_process() -> bool:
    """Tell whether this process is alone, or the first of those that ``torchrun`` started."""
    return _world_size() == 1 or int(os.environ.get("RANK", 0)) == 0


def join(device: str | None) -> Processes:
    """Join the other processes that ``torchrun`` started, if there are any: by gloo on CPUs, by nccl on GPUs.

    They stay together until this one ends, so that one training can follow another.

    Parameters
    ----------
    device : str, optional
        As in `best_device`; each process takes its own GPU.
    """
    count = _world_size()
    where = best_device(device)
    if count == 1:
        return Processes(where)
    if where.type == "cuda":
        where = best_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
        torch.cuda.set_device(where)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)  # not sooner: a group can't be joined twice under one torchrun
    return Processes(where, dist.get_rank(), dist.get_world_size())


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", 1)) if dist.is_available() else 1
