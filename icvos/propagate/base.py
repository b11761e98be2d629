"""A method from its two halves: a prompter that looks at frame 0, and a propagator that follows what it said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from icvos.types import Image, Mask, MethodCard, Prompter, Propagator, Support


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
        """One mask an episode for each frame."""
        stream = iter(frames)
        first = next(stream)
        prompts = [self.prompter.prompt(first, given) for given in supports]
        return self.propagator.propagate(chain([first], stream), prompts)


def propagated(prompter: Prompter, propagator: Propagator) -> Propagated:
    """A segmenter out of its two halves."""
    return Propagated(prompter, propagator)
