"""Ceilings: told the truth of frame 0, which no method may see, they show what propagation alone can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icvos.errors import Finding
from icvos.propagate.chosen import ChosenSam2
from icvos.propagate.identity import Identity
from icvos.types import Compute, Image, Mask, MaskPrompt, MethodCard


class OracleFirstFrame:
    """The true mask of frame 0, followed by SAM 2: Table 13 of DC-SAM."""

    def __init__(self, compute: Compute) -> None:
        self.propagator = ChosenSam2(compute)
        self.card = MethodCard(
            "oracle-first-frame",
            kind="ceiling",
            summary="the truth of frame 0, followed by SAM 2",
            version="2",
            paper="DC-SAM (2025), Table 13",
            hand_over="mask",
            **self.propagator.facts(),
        )

    def segment_from_truth(self, frames: Iterable[Image], first_masks: Sequence[Mask]) -> Iterator[tuple[Mask, ...]]:
        """One mask a true first mask, for each frame."""
        return self.propagator.propagate(frames, [MaskPrompt(mask) for mask in first_masks])

    def take_findings(self) -> list[tuple[int, Finding]]:
        """Objects whose first mask is empty."""
        return self.propagator.take_findings()

    def warm_up(self) -> float:
        """Get SAM 2 ready."""
        return self.propagator.warm_up()


class StandingStill:
    """The true mask of frame 0, repeated: the floor under every propagator."""

    card = MethodCard(
        "identity",
        kind="ceiling",
        summary="the truth of frame 0, standing still: what a propagator must beat",
        licence="Apache-2.0",
        hand_over="mask, repeated",
        parallel=True,
    )

    def segment_from_truth(self, frames: Iterable[Image], first_masks: Sequence[Mask]) -> Iterator[tuple[Mask, ...]]:
        """One mask a true first mask, for each frame."""
        return Identity().propagate(frames, [MaskPrompt(mask) for mask in first_masks])
