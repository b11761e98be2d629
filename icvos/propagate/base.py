"""A method from its two halves: a prompter that looks at frame 0, and a propagator that follows what it said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from icvos.errors import DataError, Finding
from icvos.plugins import plugin_code
from icvos.propagate.chosen import ChosenSam
from icvos.types import Image, Mask, MaskPrompt, MethodCard, Notices, Prompter, Propagator, Support, WarmsUp


@dataclass(frozen=True, slots=True)
class Propagated:
    """A segmenter made of a prompter and a propagator; several episodes of a clip share one pass over its frames."""

    prompter: Prompter
    propagator: Propagator

    @property
    def card(self) -> MethodCard:
        """The prompter's card."""
        return self.prompter.card

    def segment(self, frames: Iterable[Image], supports: Sequence[Support]) -> Iterator[Mask]:
        """One mask a frame."""
        return (masks[0] for masks in self.segment_together(frames, [supports]))

    def segment_together(self, frames: Iterable[Image], supports: Sequence[Sequence[Support]]) -> Iterator[tuple[Mask, ...]]:
        """One mask an episode for each frame.

        Raises:
            DataError: there is no frame.
        """
        return followed(frames, [(self, supports)])

    def join(self, other: Propagated) -> bool:
        """Let the other's propagator follow what this prompter says, if it is the same; says whether it is."""
        mine, theirs = self.propagator, other.propagator
        return isinstance(mine, ChosenSam) and isinstance(theirs, ChosenSam) and mine.join(theirs)

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What the two halves noticed."""
        return noticed(self.prompter) + noticed(self.propagator)

    def warm_up(self) -> float:
        """Warm both halves up; the seconds that took."""
        return warmed_up(self.prompter) + warmed_up(self.propagator)


@dataclass(frozen=True, slots=True)
class FromTruth:
    """A ceiling: a propagator that is told the true mask of frame 0."""

    card: MethodCard
    propagator: Propagator

    def segment_from_truth(self, frames: Iterable[Image], first_masks: Sequence[Mask]) -> Iterator[tuple[Mask, ...]]:
        """One mask a true first mask, for each frame."""
        return self.propagator.propagate(frames, [MaskPrompt(mask) for mask in first_masks])

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What the propagator noticed, as an object whose first mask is empty."""
        return noticed(self.propagator)

    def warm_up(self) -> float:
        """Warm the propagator up; the seconds that took."""
        return warmed_up(self.propagator)


def followed(frames: Iterable[Image], asked: Sequence[tuple[Propagated, Sequence[Sequence[Support]]]]) -> Iterator[tuple[Mask, ...]]:
    """One mask an episode for each frame, of methods that share the first one's propagator (see `Propagated.join`).

    Args:
        frames: of the clip.
        asked: methods, and the supports of each one's episodes.

    Raises:
        DataError: there is no frame.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise no_frames()
    prompts = [method.prompter.prompt(first, given) for method, supports in asked for given in supports]
    return asked[0][0].propagator.propagate(chain([first], stream), prompts)


def noticed(half: object) -> list[tuple[int, Finding]]:
    """What a segmenter or a half of one noticed since it was last asked; nothing if it never tells."""
    if not isinstance(half, Notices):
        return []
    with plugin_code("the method failed", type(half).__name__, fix="mend the method"):
        return half.take_findings()


def warmed_up(half: object) -> float:
    """The seconds that the warm-up of a segmenter or a half of one took; none if it has none."""
    if not isinstance(half, WarmsUp):
        return 0.0
    with plugin_code("the method failed", f"{type(half).__name__}, warming up", fix="mend the method"):
        return half.warm_up()


def no_frames() -> DataError:
    """The error for a clip without frames."""
    return DataError("the clip has no frames", expected="at least one", fix="leave the clip out")


def propagated(prompter: Prompter, propagator: Propagator) -> Propagated:
    """A segmenter out of its two halves."""
    return Propagated(prompter, propagator)
