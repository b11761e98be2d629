"""The SAM 2 that the person who runs a method chose, built when it is first needed: cards must not cost a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from icvos.errors import Finding, missing_package
from icvos.types import Compute, Image, Mask, Prompt
from icvos.weights import sam2_facts

if TYPE_CHECKING:
    from icvos.propagate.sam2 import Sam2Propagator


class ChosenSam2:
    """A propagator by choice."""

    def __init__(self, compute: Compute, tuned: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """By choice of `compute`; `tuned` gives tensors that take the place of the model's own, by name."""
        self.compute, self.tuned = compute, tuned
        self._lender: ChosenSam2 | None = None

    def join(self, other: ChosenSam2) -> bool:
        """Use the other's model instead of building the same again; says whether it is the same."""
        same = self.compute == other.compute and self._is_as_published and other._is_as_published
        if same and self is not other:
            self._lender = other
        return same

    @property
    def _is_as_published(self) -> bool:
        return not (self.tuned and self.tuned())

    def facts(self) -> dict[str, Any]:
        """What a method's card must say of it: weights, precision, licence and training data.

        Raises:
            UserInputError: no such model, file of weights, or precision.
        """
        return sam2_facts(self.compute.sam, self.compute.weights, self.compute.precision)

    @cached_property
    def propagator(self) -> Sam2Propagator:
        """The model, ready to follow.

        Raises:
            UserInputError: torch and the models' packages are not installed; or what `icvos.models.build_sam2` raises.
        """
        if self._lender:
            return self._lender.propagator
        try:
            from icvos.models.checkpoints import put_into
            from icvos.models.compute import device_named, dtype_named
            from icvos.models.sam2 import build_sam2
            from icvos.propagate.sam2 import Sam2Propagator
        except ModuleNotFoundError as error:
            raise missing_package("SAM 2", error, "models") from error
        chosen = self.compute
        device, dtype = device_named(chosen.device), dtype_named(chosen.precision)
        model = build_sam2(chosen.sam, chosen.weights, device, dtype, offline=chosen.offline)
        if self.tuned:
            put_into(model, self.tuned(), "the weights of the method")
        return Sam2Propagator(model, objects_at_once=chosen.objects_at_once, compiled=chosen.compiled)

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """For each frame one mask a prompt."""
        return self.propagator.propagate(frames, prompts)

    def propagate_from(self, frames: Iterable[Image], examples: Sequence[Sequence[tuple[Image, Mask]]]) -> Iterator[tuple[Mask, ...]]:
        """For each frame one mask an object that is shown on other images."""
        return self.propagator.propagate_from(frames, examples)

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What was noticed since the last call."""
        return self.propagator.take_findings()

    def warm_up(self) -> float:
        """Build the model and, where first frames take longer (a GPU, compiled parts), run a few; the seconds of both."""
        from time import perf_counter

        started = perf_counter()
        if self.propagator.device.type != "cpu" or self.compute.compiled:
            self.propagator.warm_up()
        return perf_counter() - started
