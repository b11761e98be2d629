"""PFENet as `icvos run --method pfenet` runs it; the network is in `pfenet_network.py`."""

from __future__ import annotations

from baselines.common.head_prompting import HeadMethod, HeadParts, segmented
from icvos.propagate.base import Propagated
from icvos.types import Compute


def _parts() -> HeadParts:
    from baselines.pfenet_network import Pfenet, preset, read_official

    return HeadParts(preset, Pfenet, read_official)


METHOD = HeadMethod(
    name="pfenet",
    weights="pfenet_nano",
    summary="a prior without training, and features enriched at four scales",
    paper="PFENet (TPAMI 2020), arXiv 2008.01449",
    parts=_parts,
    presets=("default", "release", "pascal", "release-pascal", "small"),
)


def pfenet(compute: Compute) -> Propagated:
    """The method, whose mask of frame 0 goes to SAM 2."""
    return segmented(METHOD, compute)
