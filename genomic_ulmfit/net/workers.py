"""Jobs in, their results out, in order: one thread a core, each with torch on one thread.

Recurrent nets are many small steps. Torch's own threads meet after each of them and wait for the slowest; threads that
read different batches never meet. Torch lets go of Python's lock while it computes, and all threads read one copy of
the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_order", "n_workers"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def n_workers(device: torch.device) -> int:
    """Return how many jobs may run side by side: as many as torch may use threads; one on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def in_order(work: Callable[[Job], Result], jobs: Sequence[Job], device: torch.device) -> Iterator[Result]:
    """Do each job, on threads of their own, and yield the results in the order of the jobs.

    Parameters
    ----------
    work : callable
        Told a job, gives its result.
    jobs : sequence
        What is to be done.
    device : torch.device
        Where the work is done: on a GPU the jobs run one after the other.
    """
    threads = torch.get_num_threads()
    workers = min(n_workers(device), len(jobs))
    if workers < 2:
        yield from map(work, jobs)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, jobs)
    finally:
        torch.set_num_threads(threads)
