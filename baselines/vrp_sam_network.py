"""VRP-SAM (Sun et al., CVPR 2024, arXiv 2402.17726): an annotated reference image becomes tokens for SAM's mask decoder.

Numbers of steps are those of the paper's Section 3.2: features of both images are fused with prototype and mask, learned
queries read first the reference and then the target image, and what they have become is handed to the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from sam2.modeling.position_encoding import PositionEmbeddingSine
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.features import Deepen, Seen, masked_average, middle_levels, on_grid, prior_mask
from baselines.common.generator_file import GeneratorFile
from baselines.common.windows import SupportView
from icvos.errors import DataError
from icvos.models.checkpoints import read_state, renamed, unwrapped
from icvos.models.token_decoding import TokenDecoding, enlarged

VGG_CHANNELS = 768  # of levels 2 and 3 together
MASK_GAIN = 10.0  # of the mask among the fused channels


@dataclass(frozen=True, slots=True)
class VrpSamConfig:
    """What a VRP-SAM is made of."""

    backbone: str = "resnet50_v2"  # of icvos.models.backbones.BACKBONES
    image_size: int = 512  # pixels that the backbone sees, height and width
    width: int = 256  # of a decoder token: 256, 128 for sam2_nano
    queries: int = 50
    heads: int = 4
    support_view: SupportView = "picture"  # see support_window; the embedded weights look closer


class Prompted(NamedTuple):
    """What came out, step by step."""

    prior: Tensor  # (B * K, 1, h, w)
    masks: Tensor  # (B * K, 1, h, w), of the supports
    prototype: Tensor  # (B * K, C)
    support: Tensor  # (B * K, C, h, w), fused
    query: Tensor  # (B * K, C, h, w), fused, once for each support
    tokens: Tensor  # (B, K * N, C)
    logits: Tensor  # (B, 1, 4h, 4w)

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """The logits (B, H, W) at a size."""
        return enlarged(self.logits, size)[:, 0]


class VrpSam(nn.Module):
    """The trainable part of VRP-SAM; backbone and SAM are handed in, and stay as they are."""

    def __init__(self, config: VrpSamConfig, channels: int) -> None:
        """Make it for a backbone whose levels 2 and 3 have so many channels together."""
        super().__init__()
        self.config, width = config, config.width
        self.reduce = nn.Conv2d(channels, width, 1, bias=False)
        self.merge = nn.Conv2d(2 * width + 1, width, 1, bias=False)
        self.queries = nn.Embedding(config.queries, width)
        self.attentions = nn.ModuleList([nn.MultiheadAttention(width, config.heads, batch_first=True) for _ in range(4)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(4)])
        self.positions = PositionEmbeddingSine(width, normalize=True, warmup_cache=False)
        for value in [self.queries.weight, *(value for layer in self.attentions for value in layer.parameters() if value.ndim > 1)]:
            nn.init.xavier_uniform_(value)

    def forward(self, query: Seen, supports: Seen, masks: Tensor, deepen: Deepen, decoding: TokenDecoding) -> Prompted:
        """Tokens and the mask they give.

        Args:
            query: features of B pictures.
            supports: features of B * K pictures, the K of one episode together; each makes its own tokens.
            masks: (B, K, H, W) of 0 and 1.
            deepen: the backbone's last stage.
            decoding: SAM or SAM 2.
        """
        count, shots = masks.shape[:2]
        on = on_grid(masks.flatten(0, 1), supports.level3)
        deep = deepen(query.level3).repeat_interleave(shots, 0)
        prior = prior_mask(deep, deepen(supports.level3 * on), on)
        prior = functional.interpolate(prior, size=query.level3.shape[-2:], mode="bilinear", align_corners=True)
        shown, asked = self._reduced(supports), self._reduced(query).repeat_interleave(shots, 0)
        prototype = masked_average(shown, on)
        support, target = self._merged(shown, prototype, on), self._merged(asked, prototype, prior)
        tokens = self._read(support, target).reshape(count, -1, self.config.width)
        return Prompted(prior, on, prototype, support, target, tokens, decoding.logits(query.sam_features, tokens))

    def _reduced(self, seen: Seen) -> Tensor:
        return functional.dropout2d(functional.relu(self.reduce(middle_levels(seen))), 0.5, self.training)

    def _merged(self, features: Tensor, prototype: Tensor, mask: Tensor) -> Tensor:
        spread = prototype[:, :, None, None].expand_as(features)
        return functional.relu(self.merge(torch.cat([features, spread, MASK_GAIN * mask], 1)))

    def _read(self, support: Tensor, target: Tensor) -> Tensor:
        """The queries (B, N, C) after looking at the support, at each other, at the target, and at each other again."""
        queries = self.queries.weight.expand(len(support), -1, -1)
        for layer, maps in enumerate((support, None, target, None)):
            values = queries if maps is None else maps.flatten(2).transpose(1, 2)
            keys = queries if maps is None else values + self.positions(maps).flatten(2).transpose(1, 2)
            found, _ = self.attentions[layer](queries, keys, values, need_weights=False)
            queries = self.norms[layer](queries + found)
        return queries


_LAYERS = ("cross_attention_layers_0.0.{}", "self_attention_layers_0.0.{}", "cross_attention_layers.0.{}", "self_attention_layers.0.{}")
_KINDS = ("multihead_attn", "self_attn")
OFFICIAL = {  # our prefix: that of the released code
    "reduce.": "downsample_query.0.",
    "merge.": "merge_1.0.",
    "queries.": "transformer_decoder.supp_q_feat.",
    **{f"attentions.{k}.": f"transformer_decoder.transformer_{name.format(_KINDS[k % 2])}." for k, name in enumerate(_LAYERS)},
    **{f"norms.{k}.": f"transformer_decoder.transformer_{name.format('norm')}." for k, name in enumerate(_LAYERS)},
}


def official_name(name: str) -> str:
    """What the released code calls a parameter of `VrpSam`."""
    return renamed(name, OFFICIAL)


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A released checkpoint's generator under our names; the frozen backbone's tensors, which it carries along, are left out."""
    ours = {theirs: own for own, theirs in OFFICIAL.items()}
    return {renamed(name, ours): value for name, value in state.items() if name.startswith(tuple(ours))}


def read_official(path: Path) -> GeneratorFile:
    """A checkpoint of the released code; what it was made with is told by its shapes.

    Raises:
        UserInputError: there is no such file.
        DataError: it cannot be read, or is no checkpoint of VRP-SAM.
    """
    state = from_official(unwrapped(read_state(path), lambda inner: {"reduce.weight", "queries.weight"} <= from_official(inner).keys()))
    if "reduce.weight" not in state or "queries.weight" not in state:
        expected = "transformer_decoder.*, downsample_query.0.weight and so on"
        raise DataError("not a checkpoint of VRP-SAM", path, f"{len(state)} of its tensors", expected, "pass another file")
    width, channels = state["reduce.weight"].shape[:2]
    backbone = "vgg16_bn" if channels == VGG_CHANNELS else "resnet50_v2"
    config = VrpSamConfig(backbone=backbone, width=width, queries=len(state["queries.weight"]))
    return GeneratorFile("vrp_sam", asdict(config), "sam_vit_h", state)
