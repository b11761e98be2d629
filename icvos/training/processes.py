"""The processes of one training, one or many: what one of them meets, all of them end with."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributed, nn

from icvos.errors import IcvosError, missing_package
from icvos.weights import checked_precision


class Team:
    """The processes that train together; often there is only one.

    A process that meets an error says so at the next agreement, and all of them raise it there: none waits for one that has
    left. Between two agreements a process does only what no other one waits for.
    """

    def __init__(self, accelerator: Any) -> None:
        """Take the processes that `accelerator` (of the package `accelerate`) has brought together."""
        self.accelerator = accelerator
        self.rank, self.size = int(accelerator.process_index), int(accelerator.num_processes)
        self._parted = self.size == 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """A block that every process does by itself; at its end all have done it, or all raise what one of them met.

        Raises:
            IcvosError: the error of any process, with its rank; or a process that is gone.
            KeyboardInterrupt: some process was interrupted.
        """
        try:
            yield
        except BaseException as error:
            self._agree(error)
            raise
        self._agree(None)

    def part(self) -> None:
        """From here on every process goes its own way: there are no further agreements."""
        self._parted = True

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes; a parameter that has none in any process keeps none."""
        if self.size == 1:
            return
        had = torch.tensor([value.grad is not None for value in parameters], dtype=torch.float32, device=self.accelerator.device)
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]
        some, *means = self.averaged([had, *gradients])
        for value, mean, used in zip(parameters, means, some.tolist(), strict=True):
            value.grad = mean if used else None

    def averaged(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Means over all processes of tensors of the same shapes everywhere, exchanged as one."""
        if self.size == 1:
            return list(values)
        together = torch.cat([value.float().flatten() for value in values])
        self._exchange(lambda: distributed.all_reduce(together))
        parts = torch.split(together / self.size, [value.numel() for value in values])
        return [part.view_as(value) for part, value in zip(parts, values, strict=True)]

    def start_alike(self, values: Sequence[Tensor]) -> None:
        """Give every process the main one's values, in place."""
        if self.size > 1:
            with torch.no_grad():
                for value in values:
                    self._exchange(lambda value=value: distributed.broadcast(value, 0))  # type: ignore[misc]

    def told(self, value: Any) -> list[Any]:
        """What each process says, by rank; a plain value."""
        if self.size == 1:
            return [value]
        answers: list[Any] = [None] * self.size
        self._exchange(lambda: distributed.all_gather_object(answers, value))
        return answers

    def wait(self) -> None:
        """Until all processes wait, or one is gone."""
        if self.size > 1:
            with suppress(RuntimeError):
                distributed.barrier()

    def _agree(self, error: BaseException | None) -> None:
        if self._parted:
            return
        failed = torch.tensor([float(error is not None)], device=self.accelerator.device)
        (share,) = self.averaged([failed])
        if not share.item():
            return
        known = error is None or isinstance(error, IcvosError | KeyboardInterrupt)
        answers = self.told(error if known else _unknown(error))
        self._parted = True
        if known:  # otherwise this process goes on raising its own error, whose traceback says more
            raise _common(answers) from error

    def _exchange(self, exchange: Callable[[], object]) -> None:
        try:
            exchange()
        except RuntimeError as error:  # of gloo or NCCL: the other end is closed
            self._parted = True
            fix = "see what it said; run the same command again to go on from the last checkpoint"
            raise IcvosError("another process of this training is gone", f"rank {self.rank}", "no answer", "all of them", fix) from error


def joined(*, cpu: bool, precision: str = "fp32") -> Team:
    """The processes that `accelerate launch` or `torchrun` has started, as a team; otherwise this one alone.

    Args:
        cpu: compute there though there be a GPU.
        precision: fp32 or bf16, what is computed in.

    Raises:
        UserInputError: `accelerate` is not installed, or no such precision.
    """
    mixed = {"fp32": "no"}.get(checked_precision(precision), precision)
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        raise missing_package("training", error, "train") from error
    return Team(Accelerator(mixed_precision=mixed, cpu=cpu))


@contextmanager
def interrupts_held(*, always: bool) -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C waits until the function that this yields is called, which raises KeyboardInterrupt then.

    Args:
        always: however often it is pressed (a launcher hands it on once more); otherwise the second one does not wait.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield lambda: None  # somebody else listens
        return

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed and not always:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _unknown(error: BaseException | None) -> IcvosError:
    """For the other processes: an error that nobody foresaw, and that may not travel."""
    found = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
    return IcvosError("a process of this training failed", "", found, fix="see what it said; the last checkpoint is kept")


def _common(answers: Sequence[BaseException | None]) -> BaseException:
    """The error that all raise: the first one by rank that says what happened, with the ranks that met it."""
    failed = {rank: error for rank, error in enumerate(answers) if error is not None}
    first = next((error for error in failed.values() if isinstance(error, IcvosError)), None)
    if first is None:
        return KeyboardInterrupt()
    ranks = [rank for rank, error in failed.items() if isinstance(error, IcvosError) and str(error) == str(first)]
    if len(ranks) == len(answers):  # a wrong option is nobody's alone
        return first
    placed = copy.copy(first)
    placed.where = ", ".join(filter(None, [first.where, f"rank {' and '.join(map(str, ranks))}"]))
    return placed
