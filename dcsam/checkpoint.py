"""DC-SAM's weights on disk: the released code's names and our own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from icvos.models.checkpoints import renamed

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
