"""What every prompter does beside its method: take supports, see frame 0 once, and keep what it noticed by episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from icvos.errors import Finding
from icvos.types import Image, Mask, Support

Looked = TypeVar("Looked")


class Marked(NamedTuple):
    """A support whose mask has a pixel."""

    image: Image
    mask: Mask
    support: Support


def marked(supports: Sequence[Support], method: str) -> tuple[list[Marked], list[Finding]]:
    """The supports that mark a pixel, read, and a finding if there are others; `method` is its name, for the finding."""
    read = [Marked(support.read_image(), support.read_mask(), support) for support in supports]
    kept = [given for given in read if given.mask.any()]
    if len(kept) == len(read):
        return kept, []
    return kept, [Finding("empty-support", method, "an empty mask", "at least one pixel", "this support is left out")]


class FirstFrame(Generic[Looked]):
    """What is made of frame 0, which several episodes of a clip ask for one after the other."""

    def __init__(self, look: Callable[[Image], Looked]) -> None:
        self._look = look
        self._last: tuple[Image, Looked] | None = None

    def __call__(self, frame: Image) -> Looked:
        """What was made of the frame if it is the last one that was asked for, else what is made of it now."""
        if self._last is None or self._last[0] is not frame:
            self._last = None  # two at once are not held
            self._last = (frame, self._look(frame))
        return self._last[1]


class EpisodeFindings:
    """What a prompter noticed, each finding with the number of its episode in the pass."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Finding]] = []
        self._answered = 0

    def add(self, findings: Iterable[Finding]) -> None:
        """Those of the next episode; called once an episode."""
        self._kept += [(self._answered, finding) for finding in findings]
        self._answered += 1

    def take(self) -> list[tuple[int, Finding]]:
        """All since the last call; episodes are counted anew."""
        taken, self._kept, self._answered = self._kept, [], 0
        return taken
