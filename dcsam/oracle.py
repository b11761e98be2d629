"""A ceiling: the truth of frame 0, followed by SAM 2 as DC-SAM's training left it; Table 13, "fine-tuned"."""

from __future__ import annotations

from baselines.common.prompting import GeneratedPrompts, facts_of
from dcsam.method import METHOD
from icvos.propagate.base import FromTruth
from icvos.types import Compute, MethodCard


def tuned_oracle(compute: Compute) -> FromTruth:
    """`oracle-first-frame` with the decoder and the memory that come with DC-SAM's weights."""
    card = MethodCard(
        "dcsam-first-frame",
        kind="ceiling",
        summary="the truth of frame 0, followed by SAM 2 as DC-SAM's training left it",
        paper="DC-SAM (2025), Table 13",
        hand_over="mask",
        variant_of="oracle-first-frame",
        **facts_of(METHOD, compute),
    )
    return FromTruth(card, GeneratedPrompts(METHOD, compute, "mask").sam)
