"""AMNet as `icvos run --method amnet` runs it; the network is in `amnet_network.py`."""

from __future__ import annotations

from baselines.common.head_prompting import HeadMethod, HeadParts, segmented
from icvos.propagate.base import Propagated
from icvos.types import Compute


def _parts() -> HeadParts:
    from baselines.amnet_network import Amnet, preset, read_official

    return HeadParts(preset, Amnet, read_official)


METHOD = HeadMethod(
    name="amnet",
    weights="amnet_nano",
    summary="a likeness to the support that spreads over the query, refined twice",
    paper="AMNet (NeurIPS 2023), arXiv 2311.17626",
    parts=_parts,
)


def amnet(compute: Compute) -> Propagated:
    """The method, whose mask of frame 0 goes to SAM 2."""
    return segmented(METHOD, compute)
