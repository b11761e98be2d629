"""DC-SAM's weights on disk: the released code's names and our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from torch import Tensor

from baselines.common.generator_file import GeneratorFile
from dcsam.config import preset
from icvos.errors import DataError
from icvos.models.checkpoints import read_state, renamed, unwrapped

VGG_CHANNELS = 768  # of levels 2 and 3 together
OFFICIAL_SAM = {"sam": "sam_vit_h", "sam2": "sam2_hiera_l"}  # what the released scripts load

BRANCHES = {"branches.0.": "transformer_decoder.", "branches.1.": "neg_transformer_decoder."}
LAYERS = {
    "queries.": "supp_q_feat.",
    "positions.": "q_embed.",
    "support_attention.": "transformer_cross_attention_layers_0.0.multihead_attn.",
    "norms.0.": "transformer_cross_attention_layers_0.0.norm.",
    "query_attention.": "transformer_cross_attention_layers.0.multihead_attn.",
    "norms.1.": "transformer_cross_attention_layers.0.norm.",
    "self_attention.": "transformer_self_attention_layers.0.self_attn.",
    "norms.2.": "transformer_self_attention_layers.0.norm.",
}
OFFICIAL = {  # our prefix: theirs
    "fusion.reduce.": "downsample_query.0.",
    "fusion.positive.": "merge_1.0.",
    "fusion.negative.": "merge_2.0.",
    "fusion.fine.": "sam_downscaling.",
    **{branch + layer: their_branch + theirs for branch, their_branch in BRANCHES.items() for layer, theirs in LAYERS.items()},
}


def official_name(name: str) -> str:
    """What the released code calls a parameter of `DcSam`."""
    return renamed(name, OFFICIAL)


def from_official(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A released checkpoint's generator under our names, and the SAM 2 of a video checkpoint under `sam2`'s.

    The frozen backbone's tensors, which image checkpoints carry along, are left out.
    """
    ours = {theirs: own for own, theirs in OFFICIAL.items()}
    generator = {renamed(name, ours): value for name, value in state.items() if name.startswith(tuple(ours))}
    return generator, {name.removeprefix("sam2."): value for name, value in state.items() if name.startswith("sam2.")}


def read_official(path: Path) -> GeneratorFile:
    """A checkpoint of the released code, image or video; what it was made with is told by its shapes.

    Raises:
        UserInputError: there is no such file.
        DataError: it cannot be read, or is no checkpoint of DC-SAM.
    """
    state = unwrapped(read_state(path), lambda inner: "merge_1.0.weight" in inner)
    generator, sam = from_official(state)
    merge = generator.get("fusion.positive.weight")
    if merge is None:
        expected = "transformer_decoder.*, merge_1.0.weight and so on"
        raise DataError("not a checkpoint of DC-SAM", path, f"{len(state)} other tensors", expected, "pass another file")
    reduce = generator.get("fusion.reduce.weight")
    kind: Literal["sam", "sam2"] = "sam2" if "fusion.fine.0.weight" in generator else "sam"
    config = preset(
        "release",
        sam=kind,
        backbone="vgg16_bn" if reduce is not None and reduce.shape[1] == VGG_CHANNELS else "resnet50_v2",
        backbone_fusion=reduce is not None,
        queries=len(generator["branches.0.queries.weight"]),
        width=len(merge),
        mixed_masks=False,  # of no effect on one episode at a time
        shots="all",
    )
    return GeneratorFile("dcsam", asdict(config), OFFICIAL_SAM[kind], generator, sam)
