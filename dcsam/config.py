"""What a DC-SAM is made of: one record of options, in which each point where paper and released code differ has a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from baselines.common.windows import SupportView
from icvos.errors import UserInputError, did_you_mean

Preset: TypeAlias = Literal["default", "paper", "release"]


@dataclass(frozen=True, slots=True)
class DcSamConfig:
    """All options; the defaults are the preset `default` for SAM 2 (see `preset`)."""

    # What it is built on
    backbone: str = "resnet50_v2"  # of icvos.models.backbones.BACKBONES
    image_size: int = 512  # pixels that the backbone sees, height and width
    sam: Literal["sam", "sam2"] = "sam2"
    width: int = 256  # of a decoder token: 256, 128 for sam2_nano

    # Its size, and what can be left out (Table 5, Figure 9, Table 14)
    queries: int = 25  # a branch
    heads: int = 4
    branches: Literal["both", "positive"] = "both"
    backbone_fusion: bool = True  # False: the release's `--prior` variant, whose features are SAM's alone
    sam_fusion: bool = True
    cyclic: bool = True

    # Where paper and released code differ
    negative_keys: Literal["query", "support"] = "query"  # what negative prompts are refined by; release: the positive support features
    labels_carried: bool = False  # SAM's labels stay in the prompts that are refined; release with SAM 1: yes, added in place
    mixed_masks: bool = False  # see CycleAttention; release: yes
    prior: Literal["raw", "min-max"] = "raw"
    mask_gain: float = 10.0  # of the mask among the fused channels; the paper names none
    fusion_relu: bool = True  # after Equations 15 and 16; the paper has none
    query_positions: bool = True  # a learned position for each query; the paper has none
    residual: bool = True  # sum and LayerNorm around each attention; the paper writes none
    dice: Literal["linear", "squared"] = "linear"  # Equation 22 squares; the release does not, and adds 1
    shots: Literal["all", "last"] = "all"  # which supports are attended to; release: the last overwrites the others

    # What neither has
    support_view: SupportView = "object"  # see support_window


RELEASE: dict[str, Any] = {"negative_keys": "support", "mixed_masks": True, "shots": "last", "support_view": "picture"}
PAPER: dict[str, Any] = {
    "prior": "min-max",
    "mask_gain": 1.0,
    "fusion_relu": False,
    "query_positions": False,
    "residual": False,
    "dice": "squared",
    "support_view": "picture",
}
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "paper": PAPER, "release": RELEASE}


def preset(name: str = "default", *, sam: Literal["sam", "sam2"] = "sam2", **changes: Any) -> DcSamConfig:
    """The options of a preset, with changes.

    Args:
        name: ``release``: bit by bit what the released code computes; ``paper``: what the paper's equations say;
            ``default``: the release's layers without its mistakes, as `dcsam/README.md` argues.
        sam: which SAM it prompts; with the first, two presets carry its labels along, as the released weights expect.
        changes: options by name.

    Raises:
        UserInputError: no such preset.
    """
    if name not in PRESETS:
        raise UserInputError("no such preset of DC-SAM", name, fix=did_you_mean(name, PRESETS))
    carried = sam == "sam" and name != "paper"
    return replace(DcSamConfig(sam=sam, labels_carried=carried), **{**PRESETS[name], **changes})
