"""Independent jobs on several processes: results in the order of the jobs, quiet and clean on Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from icvos.errors import IcvosError

Job = TypeVar("Job")
Answer = TypeVar("Answer")


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(prepare: Callable[[], Callable[[Job], Answer]], jobs: Sequence[Job], workers: int) -> Iterator[Answer]:
    """``map(prepare(), jobs)`` on `workers` processes (in this one where `workers` is 1 or there is one job).

    `prepare` is called once in each process and makes what its jobs share: an opened release, a loaded method. It must be
    picklable. Workers are spawned, not forked: a fork copies locks that threads of this process may hold. Only a few jobs
    a worker are in flight, so answers do not pile up.

    Raises:
        IcvosError: a worker died (killed, or out of memory); whatever a job raises comes through as it is.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(prepare(), jobs) if jobs else ()
        return
    pending: deque[Future[Any]] = deque()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(prepare,)) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(_call, job))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise IcvosError(
                "a worker process died", found="killed, or out of memory", fix="run the same command again, with fewer --workers"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_ready: Callable[[Any], Any]  # what `prepare` made, in a worker process only


def _start(prepare: Callable[[], Callable[[Any], Any]]) -> None:
    global _ready  # a worker keeps what its jobs share; the executor hands it nothing else between them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ready = prepare()


def _call(job: Any) -> Any:
    # Ctrl-C ends a job, so that its temporary files go, but never prints from a worker that waits for one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _ready(job)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
