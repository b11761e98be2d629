"""The propagator that does nothing: what was said of frame 0 is said of every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icvos.types import Image, Mask, Prompt


class Identity:
    """Repeats the masks of frame 0."""

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """The same masks for each frame, one a prompt."""
        masks = tuple(prompt.mask for prompt in prompts)
        return (masks for _ in frames)
