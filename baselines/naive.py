"""What users ask of SAM 2 first: the support image put before the clip, its mask as the prompt, and then propagate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icvos.errors import Finding
from icvos.propagate.chosen import ChosenSam, without_memory
from icvos.types import Compute, Image, Mask, MethodCard, Support
from icvos.weights import is_first_sam


class NaiveSam2:
    """Each support is a prompted frame before the clip; SAM 2, which follows objects and not classes, does the rest."""

    def __init__(self, compute: Compute) -> None:
        if is_first_sam(compute.sam):
            raise without_memory(compute.sam, "naive-sam2")
        self.propagator = ChosenSam(compute)
        self.card = MethodCard(
            "naive-sam2",
            summary="the support and its mask put before the clip as its first frame, then SAM 2",
            hand_over="support mask, as a frame before the clip",
            **self.propagator.facts(),
        )

    def segment(self, frames: Iterable[Image], supports: Sequence[Support]) -> Iterator[Mask]:
        """One mask a frame."""
        return (masks[0] for masks in self.segment_together(frames, [supports]))

    def segment_together(self, frames: Iterable[Image], supports: Sequence[Sequence[Support]]) -> Iterator[tuple[Mask, ...]]:
        """One mask an episode for each frame."""
        examples = [[(support.read_image(), support.read_mask()) for support in given] for given in supports]
        return self.propagator.propagate_from(frames, examples)

    def take_findings(self) -> list[tuple[int, Finding]]:
        """Supports whose mask has no pixel at the model's size."""
        return self.propagator.take_findings()

    def warm_up(self) -> float:
        """Get SAM 2 ready."""
        return self.propagator.warm_up()
