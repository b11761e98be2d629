"""Ceilings: told the truth of frame 0, which no method may see, they show what propagation alone can reach."""

from __future__ import annotations

from icvos.propagate.base import FromTruth
from icvos.propagate.chosen import ChosenSam
from icvos.propagate.identity import Identity
from icvos.types import Compute, MethodCard


def oracle_first_frame(compute: Compute) -> FromTruth:
    """The true mask of frame 0, followed by SAM 2: Table 13 of DC-SAM."""
    sam = ChosenSam(compute)
    card = MethodCard(
        "oracle-first-frame",
        kind="ceiling",
        summary="the truth of frame 0, followed by SAM 2",
        version="2",
        paper="DC-SAM (2025), Table 13",
        hand_over="mask",
        **sam.facts(),
    )
    return FromTruth(card, sam)


def identity() -> FromTruth:
    """The true mask of frame 0, repeated: the floor under every propagator."""
    card = MethodCard(
        "identity",
        kind="ceiling",
        summary="the truth of frame 0, standing still: what a propagator must beat",
        licence="Apache-2.0",
        hand_over="mask, repeated",
        parallel=True,
    )
    return FromTruth(card, Identity())
