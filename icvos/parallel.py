"""Independent jobs: a few ahead on threads, or on several processes, quiet and clean on Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any, TypeVar

from icvos.errors import IcvosError

Job = TypeVar("Job")
Answer = TypeVar("Answer")
_INTERRUPTED = 130


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(function: Callable[[Job], Answer], jobs: Iterable[Job], count: int, *, threads: int) -> Generator[Answer, None, None]:
    """``map(function, jobs)``, in order, on threads that stay at most `count` jobs ahead of whoever takes the answers.

    The jobs are drawn by the taker's own thread. Close the generator (`contextlib.closing`) if not all of it is taken.
    """
    pool, pending = ThreadPoolExecutor(threads), deque[Future[Answer]]()
    try:
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_processes(prepare: Callable[[], Callable[[Job], Answer]], jobs: Sequence[Job], workers: int) -> Generator[Answer, None, None]:
    """``map(prepare(), jobs)`` on `workers` processes (in this one where `workers` is 1 or there is one job).

    Answers of several processes come in the order in which they are done, so that a long job holds up no other's.
    `prepare` is called once in each process and makes what its jobs share: an opened release, a loaded method. For
    several processes it must be picklable. Workers are spawned, not forked: a fork copies locks that threads of this
    process may hold. Only a few jobs a worker are in flight, so answers do not pile up. On Ctrl-C workers end at once; what
    they were writing is left to the caller.

    Raises:
        IcvosError: a worker died (killed, or out of memory); whatever a job or `prepare` raises comes through as it is.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(prepare(), jobs) if jobs else ()
        return
    context = get_context("spawn")
    stop, pending = context.RawValue("b", 0), set[Future[Any]]()  # no lock, which a worker that ends might hold for ever
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(prepare, stop)) as pool:
        try:
            for job in jobs:
                with _interrupt_held():
                    pending.add(pool.submit(_call, job))
                if len(pending) >= 2 * workers:
                    yield from _take_done(pending)
            while pending:
                yield from _take_done(pending)
        except BrokenProcessPool as error:
            raise IcvosError(
                "a worker process died",
                found="killed, or out of memory",
                fix="free some memory, then run the same command again, with fewer --workers where it has them",
            ) from error
        finally:
            stop.value = 1  # jobs that wait in the workers' queue are not begun
            pool.shutdown(wait=True, cancel_futures=True)


def _take_done(pending: set[Future[Any]]) -> list[Any]:
    """Wait until at least one is done; take those that are, and give their answers."""
    done = wait_for_futures(pending, return_when=FIRST_COMPLETED).done
    pending -= done
    return [future.result() for future in done]


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Ctrl-C waits until the block has ended; a process born inside is deaf to it until `_start` says how to take it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a worker process keeps between jobs; the executor hands it nothing else."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]], stop: Any) -> None:
        self.prepare, self.stop = prepare, stop
        self.answer: Callable[[Any], Any] | None = None

    def call(self, job: Any) -> Any:
        """The answer to a job, unless the whole has been stopped."""
        if self.stop.value:
            raise KeyboardInterrupt
        if self.answer is None:  # not when the process starts: an error there would reach nobody
            self.answer = self.prepare()
        return self.answer(job)


_worker: _Worker


def _start(prepare: Callable[[], Callable[[Any], Any]], stop: Any) -> None:
    global _worker
    _worker = _Worker(prepare, stop)
    # Ctrl-C ends a worker where it stands: an exception could strike while it holds a lock, and then nobody would end.
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent()


def end_with_parent() -> None:
    """In a worker: end when the process that made it is gone. One that was killed cannot end its workers, which would wait for ever."""
    if parent := parent_process():
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _call(job: Any) -> Any:
    return _worker.call(job)
