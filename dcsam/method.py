"""DC-SAM as `icvos run --method dcsam` runs it."""

from __future__ import annotations

from baselines.common.prompting import GeneratorMethod, Parts, generated
from dcsam.config import PRESETS
from icvos.propagate.base import Propagated
from icvos.types import Compute


def _parts() -> Parts:
    from dcsam.checkpoint import read_official
    from dcsam.config import DcSamConfig
    from dcsam.model import DcSam

    return Parts(DcSamConfig(), DcSam, read_official)


METHOD = GeneratorMethod(
    name="dcsam",
    weights="dcsam_nano",
    summary="prompts from a positive and a negative branch with cyclic attention",
    paper="DC-SAM (2025)",
    parts=_parts,
    presets=tuple(PRESETS),
)


def dcsam(compute: Compute) -> Propagated:
    """The method whose tokens go to SAM 2, as in the released code."""
    return generated(METHOD, compute)


def dcsam_mask(compute: Compute) -> Propagated:
    """The method whose mask of frame 0 goes to SAM 2, as in the paper (Section 4.5)."""
    return generated(METHOD, compute, "mask")
