"""Supports as methods take them: pictures and masks, and what is said of those that mark nothing."""

from __future__ import annotations

from collections.abc import Sequence

from icvos.errors import Finding
from icvos.types import Image, Mask, Support


def marked(supports: Sequence[Support], method: str) -> tuple[list[tuple[Image, Mask]], list[Finding]]:
    """The supports that mark a pixel, read, and a finding if there are others; `method` is its name, for the finding."""
    pairs = [(support.read_image(), support.read_mask()) for support in supports]
    kept = [(image, mask) for image, mask in pairs if mask.any()]
    if len(kept) == len(pairs):
        return kept, []
    return kept, [Finding("empty-support", method, "an empty mask", "at least one pixel", "this support is left out")]
