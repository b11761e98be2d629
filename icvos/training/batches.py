"""Batches made ahead, in other processes, in order."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from icvos.errors import IcvosError
from icvos.parallel import end_with_parent

AHEAD = 4  # batches in the making, beside one for each process
FEW = 8  # batches: made before another process has started

_make: Callable[[int, Sequence[int]], Any] | None = None  # of a worker process


class Ahead:
    """An iterator over the batches that are asked for."""

    def __init__(self, make: Callable[[int, Sequence[int]], Any], asked: Sequence[tuple[int, Sequence[int]]], workers: int) -> None:
        """Begin to make them.

        Args:
            make: (step, items) to a batch; picklable.
            asked: steps and items, in order.
            workers: processes; with 0, or where there are few batches, each is made when it is needed.
        """
        self.make, self.asked = make, deque(asked)
        self.pool = _pool(make, workers) if workers and len(self.asked) > FEW else None
        self.coming: deque[Future[Any]] = deque()
        self.most = workers + AHEAD

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.pool:
            self.pool.shutdown(wait=kind is None, cancel_futures=True)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            IcvosError: a worker died; whatever making a batch raises comes through as it is.
        """
        if self.pool is None:
            if not self.asked:
                raise StopIteration
            return self.make(*self.asked.popleft())
        try:
            while self.asked and len(self.coming) < self.most:
                self.coming.append(self.pool.submit(_made, *self.asked.popleft()))
            if not self.coming:
                raise StopIteration
            return self.coming.popleft().result()
        except BrokenProcessPool as error:
            fix = "run the same command again to go on from the last checkpoint, with fewer --workers or a smaller --batch"
            raise IcvosError("a process that makes batches died", found="killed, or out of memory", fix=fix) from error


def _pool(make: Callable[[int, Sequence[int]], Any], workers: int) -> ProcessPoolExecutor:
    # A process that has used CUDA, or whose threads hold locks, must not be forked.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(make,))


def _start(make: Callable[[int, Sequence[int]], Any]) -> None:
    global _make  # a worker's own, set once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process' affair
    end_with_parent()
    torch.set_num_threads(1)
    _make = make


def _made(step: int, items: Sequence[int]) -> Any:
    if _make is None:
        raise RuntimeError("a worker that was not started")
    return _make(step, items)


def on_device(batch: Any, device: torch.device) -> Any:
    """A batch with its arrays and tensors on a device; lists, tuples, dictionaries and records are gone through."""
    if isinstance(batch, np.ndarray):
        return torch.from_numpy(batch).to(device, non_blocking=True)
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: on_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(on_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(on_device(value, device) for value in batch)
    return batch
