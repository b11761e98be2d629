"""HDMNet as `icvos run --method hdmnet` runs it; the network is in `hdmnet_network.py`."""

from __future__ import annotations

from baselines.common.head_prompting import HeadMethod, HeadParts, segmented
from icvos.propagate.base import Propagated
from icvos.types import Compute


def _parts() -> HeadParts:
    from baselines.hdmnet_network import Hdmnet, preset, read_official

    return HeadParts(preset, Hdmnet, read_official)


METHOD = HeadMethod(
    name="hdmnet",
    weights="hdmnet_nano",
    summary="a query matched with its supports at three scales, and a learner of base classes",
    paper="HDMNet (CVPR 2023), arXiv 2303.14652",
    parts=_parts,
)


def hdmnet(compute: Compute) -> Propagated:
    """The method, whose mask of frame 0 goes to SAM 2."""
    return segmented(METHOD, compute)
