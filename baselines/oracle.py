"""The ceiling: told the truth of frame 0, which no method may see, it shows what propagation alone can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icvos.propagate.identity import Identity
from icvos.types import Image, Mask, MaskPrompt, MethodCard, Propagator


class OracleFirstFrame:
    """The true mask of frame 0, handed to a propagator (the identity, for now: what standing still would score)."""

    card = MethodCard(
        "oracle-first-frame",
        kind="ceiling",
        summary="the truth of frame 0, repeated on every frame",
        licence="Apache-2.0",
        hand_over="mask, repeated",
        parallel=True,
    )

    def __init__(self, propagator: Propagator | None = None) -> None:
        self.propagator = propagator or Identity()

    def segment_from_truth(self, frames: Iterable[Image], first_masks: Sequence[Mask]) -> Iterator[tuple[Mask, ...]]:
        """One mask a true first mask, for each frame."""
        return self.propagator.propagate(frames, [MaskPrompt(mask) for mask in first_masks])
