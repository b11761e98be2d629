"""The SAM that the person who runs a method chose, built when it is first needed: cards must not cost a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from icvos.errors import Finding, UserInputError, missing_package
from icvos.types import Compute, Image, Mask, MaskPrompt, Prompt
from icvos.weights import is_first_sam, sam_facts

if TYPE_CHECKING:
    from icvos.propagate.sam1 import Sam1Stills
    from icvos.propagate.sam2 import Sam2Propagator


def without_memory(where: str, found: str) -> UserInputError:
    """The error for whatever the first SAM cannot do."""
    return UserInputError("the first SAM follows nothing", where, found, "single images", "choose a SAM 2 with --sam")


class ChosenSam:
    """A propagator by choice: a SAM 2, or for single images the first SAM.

    On a clip of one frame there is nothing to follow, so that a mask that is handed over is the answer itself, at the frame's own
    size: that is how methods that make masks are measured on images.
    """

    def __init__(self, compute: Compute, tuned: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """By choice of `compute`; `tuned` gives tensors that take the place of the model's own, by name."""
        self.compute, self.tuned = compute, tuned
        self._lender: ChosenSam | None = None
        self._findings: list[tuple[int, Finding]] = []

    def join(self, other: ChosenSam) -> bool:
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
        return sam_facts(self.compute.sam, self.compute.weights, self.compute.precision)

    @cached_property
    def propagator(self) -> Sam2Propagator | Sam1Stills:
        """The model, ready to follow.

        Raises:
            UserInputError: torch and the models' packages are not installed; or what `icvos.models.build_sam2` and `build_sam` raise.
        """
        if self._lender:
            return self._lender.propagator
        try:
            from icvos.models.checkpoints import put_into
            from icvos.models.compute import device_named, dtype_named
            from icvos.models.sam import build_any_sam
            from icvos.propagate.sam1 import Sam1Stills
            from icvos.propagate.sam2 import Sam2Propagator
        except ModuleNotFoundError as error:
            raise missing_package("SAM 2", error, "models") from error
        chosen = self.compute
        device, dtype = device_named(chosen.device), dtype_named(chosen.precision)
        model = build_any_sam(chosen.sam, chosen.weights, device, dtype, offline=chosen.offline)
        if self.tuned:
            put_into(model, self.tuned(), "the weights of the method")
        if is_first_sam(chosen.sam):
            return Sam1Stills(model)
        return Sam2Propagator(model, objects_at_once=chosen.objects_at_once, compiled=chosen.compiled)

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """For each frame one mask a prompt; what `Sam2Propagator.propagate` and `Sam1Stills.propagate` say."""
        stream = iter(frames)
        begun = list(islice(stream, 2))
        if len(begun) == 1:
            yield self._still(begun[0], prompts)
        else:
            yield from self.propagator.propagate(chain(begun, stream), prompts)

    def propagate_from(self, frames: Iterable[Image], examples: Sequence[Sequence[tuple[Image, Mask]]]) -> Iterator[tuple[Mask, ...]]:
        """For each frame one mask an object that is shown on other images."""
        return self.propagator.propagate_from(frames, examples)

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What was noticed since the last call."""
        taken, self._findings = [*self._findings, *self.propagator.take_findings()], []
        return taken

    def warm_up(self) -> float:
        """Build the model and, where first frames take longer (a GPU, compiled parts), run a few; the seconds of both."""
        from time import perf_counter

        started = perf_counter()
        if self.propagator.device.type != "cpu" or self.compute.compiled:
            self.propagator.warm_up()
        return perf_counter() - started

    def _still(self, frame: Image, prompts: Sequence[Prompt]) -> tuple[Mask, ...]:
        """One mask a prompt, of a clip's only frame; masks are their own answers."""
        from icvos.propagate.prompts import checked_mask, empty_prompt

        size = (frame.shape[0], frame.shape[1])
        answers = {place: checked_mask(prompt, size) for place, prompt in enumerate(prompts) if isinstance(prompt, MaskPrompt)}
        self._findings += [(place, empty_prompt(place, "an empty mask")) for place, mask in answers.items() if not mask.any()]
        if others := [place for place in range(len(prompts)) if place not in answers]:
            (masks,) = self.propagator.propagate([frame], [prompts[place] for place in others])
            answers |= dict(zip(others, masks, strict=True))
            self._findings += [(others[place], finding) for place, finding in self.propagator.take_findings()]
        return tuple(answers[place] for place in range(len(prompts)))
