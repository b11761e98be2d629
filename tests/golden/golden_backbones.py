"""Backbones on the picture of a golden set."""

from __future__ import annotations

import re

import torch
from golden_comparison import Answers
from golden_recipe import feature_map, fill_state
from golden_sets import GoldenError, GoldenSet

from icvos.models.backbones import Dilation, build_backbone

CORNER = 32  # channels of the last pixel that are stored


def described(given: GoldenSet) -> tuple[str, Dilation]:
    """Which of our backbones a set is about, told by what its meta.json says of the official class.

    Raises:
        GoldenError: none is known, or it is not said how it is dilated.
    """
    said = given.meta["class"]
    text, shapes = said.lower(), given.meta["stage_shapes"]
    if re.search(r"vgg(?!\s*=\s*false)", text):
        return "vgg16_bn", "none"
    depth = re.search(r"layers\s*=\s*(50|101)\b|resnet_?(50|101)\b|\[3,\s*4,\s*(6|23),\s*3\]", text)
    if depth is None:
        raise GoldenError(f"{given.folder.name}: no backbone is known that is {said!r}")
    name = {"6": "resnet50", "23": "resnet101"}.get(depth[depth.lastindex or 0], f"resnet{depth[depth.lastindex or 0]}")
    name += "_v2" if shapes["layer0"][1] == 128 else ""
    if shapes["layer4"][-1] < shapes["layer2"][-1]:
        return name, "none"
    if "replace_stride_with_dilation" in text or "torchvision" in text:
        return name, "later-blocks"
    if not re.search(r"post-hoc|every conv2|pfenet|hdmnet|amnet|onemodel|\bbam\b", text):
        raise GoldenError(f"{given.folder.name}: it is not said how {said!r} is dilated")
    return name, "all-blocks"


def backbone_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """Every stage's maps, and the first channels at their last pixel."""
    name, dilation = described(given)
    size = [int(side) for side in given.described("inputs_recipe", r"feat\('image',\s*\((\d+),\s*(\d+),\s*(\d+),\s*(\d+)\)")]
    image = given.input("image", (size[0], size[1], size[2], size[3]), lambda shape: feature_map("image", shape, relu=False))
    backbone = build_backbone(name, dilation=dilation)
    backbone.load_strictly(fill_state(backbone.state_dict(), given.gain))
    maps = {f"layer{level}": values for level, values in backbone.to(dtype)(torch.from_numpy(image).to(dtype)).items()}
    shapes = {level: list(values.shape) for level, values in maps.items()}
    if shapes != given.meta["stage_shapes"]:
        raise GoldenError(f"{given.folder.name}: stages have the shapes {shapes}; the official ones are {given.meta['stage_shapes']}")
    return {**maps, **{f"{level}_corner": values[0, :CORNER, -1, -1] for level, values in maps.items()}}
