"""A ceiling: the truth of frame 0, followed by SAM 2 as DC-SAM's training left it; Table 13, "fine-tuned"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from baselines.common.prompting import GeneratedPrompts, facts_of
from dcsam.method import METHOD
from icvos.errors import Finding
from icvos.types import Compute, Image, Mask, MaskPrompt, MethodCard


class TunedOracle:
    """`oracle-first-frame` with the decoder and the memory that come with DC-SAM's weights."""

    def __init__(self, compute: Compute) -> None:
        self.propagator = GeneratedPrompts(METHOD, compute, "mask").sam2
        self.card = MethodCard(
            "dcsam-first-frame",
            kind="ceiling",
            summary="the truth of frame 0, followed by SAM 2 as DC-SAM's training left it",
            paper="DC-SAM (2025), Table 13",
            hand_over="mask",
            variant_of="oracle-first-frame",
            **facts_of(METHOD, compute),
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
