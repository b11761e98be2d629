"""Supports as methods take them: pictures and masks, and what is said of those that mark nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icvos.errors import Finding
from icvos.types import Image, Mask, Support


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
