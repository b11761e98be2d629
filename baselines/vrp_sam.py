"""VRP-SAM as `icvos run --method vrp_sam` runs it; the network is in `vrp_sam_network.py`."""

from __future__ import annotations

from baselines.common.prompting import GeneratorMethod, Parts, generated
from icvos.propagate.base import Propagated
from icvos.types import Compute


def _parts() -> Parts:
    from baselines.vrp_sam_network import VrpSam, VrpSamConfig, read_official

    return Parts(VrpSamConfig(), VrpSam, read_official)


METHOD = GeneratorMethod(
    name="vrp_sam",
    weights="vrp_sam_nano",
    summary="learned queries that read an annotated support",
    paper="VRP-SAM (CVPR 2024), arXiv 2402.17726",
    parts=_parts,
)


def vrp_sam(compute: Compute) -> Propagated:
    """The method whose tokens go to SAM 2."""
    return generated(METHOD, compute)


def vrp_sam_mask(compute: Compute) -> Propagated:
    """The method whose mask of frame 0 goes to SAM 2."""
    return generated(METHOD, compute, "mask")
