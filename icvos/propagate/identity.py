"""The propagator that does nothing: what was said of frame 0 is said of every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icvos.errors import PluginError
from icvos.types import Image, Mask, MaskPrompt, Prompt


class Identity:
    """Repeats the masks of frame 0."""

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """The same masks for each frame, one a prompt.

        Raises:
            PluginError: a prompt is no mask.
        """
        for prompt in prompts:
            if not isinstance(prompt, MaskPrompt):
                raise PluginError("only masks stand still", type(prompt).__name__, expected="MaskPrompt", fix="choose another propagator")
        masks = tuple(prompt.mask for prompt in prompts if isinstance(prompt, MaskPrompt))
        return (masks for _ in frames)
