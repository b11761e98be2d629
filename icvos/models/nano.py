"""`sam2_nano`: a SAM 2 small enough for a wheel, of the official parts around an EfficientNet-Lite0 trunk, at 256 pixels.

Everything but the trunk is the `sam2` package's own modules (Ravi et al., "SAM 2", 2024) at a quarter of the width, so
that whatever runs on the official models runs on this one. The trunk is Tan and Le's EfficientNet in its Lite0 form.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

IMAGE_SIZE = 256  # pixels, height and width of what the model sees
STRIDE = 16  # of the map that memory attention and the mask decoder work on
WIDTH = 128  # channels of that map
MEMORY_WIDTH = 64  # channels of a memory
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pixels in [0, 1] that every SAM 2 is given
MEMORIES = 7  # the conditioning frame and the six frames before the current one


class Lite0Trunk(nn.Module):
    """EfficientNet-Lite0 without its classifier: maps at strides 4, 8, 16 and 32, the finest first."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.channel_list = [320, 112, 40, 24]  # the coarsest first, as the neck wants them
        # SAM 2 hands over pixels less ImageNet's mean, over its deviation; this trunk was taught on [-1, 1].
        mean, deviation = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(DEVIATION).view(3, 1, 1)
        self.register_buffer("scale", 2 * deviation, persistent=False)
        self.register_buffer("shift", 2 * mean - 1, persistent=False)
        self.body = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4))
        # Its maps spread over ten times the range of position encodings, which would drown beside them.
        self.norms = nn.ModuleList(LayerNorm2d(channels) for channels in reversed(self.channel_list))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of images (B, 3, H, W): (B, 24, H/4, W/4), (B, 40, H/8, W/8), (B, 112, H/16, W/16), (B, 320, H/32, W/32)."""
        return [norm(level) for norm, level in zip(self.norms, self.body(images * self.scale + self.shift), strict=True)]


def sam2_nano(cls: type[SAM2Base] = SAM2Base, **options: Any) -> SAM2Base:
    """The untrained model, as a `cls` (SAM2Base or one of its subclasses, SAM2VideoPredictor for one).

    Args:
        cls: the class to make.
        options: further arguments of `cls`; they go before the model's own.
    """
    settings: dict[str, Any] = {
        "image_encoder": _image_encoder(),
        "memory_attention": _memory_attention(),
        "memory_encoder": _memory_encoder(),
        "num_maskmem": MEMORIES,
        "image_size": IMAGE_SIZE,
        "backbone_stride": STRIDE,
        "sigmoid_scale_for_mem_enc": 20.0,
        "sigmoid_bias_for_mem_enc": -10.0,
        "use_mask_input_as_output_without_sam": True,
        "directly_add_no_mem_embed": True,
        "no_obj_embed_spatial": True,
        "use_high_res_features_in_sam": True,
        "multimask_output_in_sam": True,
        "iou_prediction_use_sigmoid": True,
        "use_obj_ptrs_in_encoder": True,
        "proj_tpos_enc_in_obj_ptrs": True,
        "use_signed_tpos_enc_to_obj_ptrs": True,
        "only_obj_ptrs_in_the_past_for_eval": True,
        "pred_obj_scores": True,
        "pred_obj_scores_mlp": True,
        "fixed_no_obj_ptr": True,
        "use_mlp_for_obj_ptr_proj": True,
    }
    return cls(**{**settings, **options})


def _position(width: int) -> PositionEmbeddingSine:
    return PositionEmbeddingSine(num_pos_feats=width, normalize=True, warmup_cache=False)


def _image_encoder() -> ImageEncoder:
    trunk = Lite0Trunk()
    neck = FpnNeck(_position(WIDTH), WIDTH, trunk.channel_list, fpn_interp_model="nearest", fpn_top_down_levels=[2, 3])
    return ImageEncoder(trunk, neck, scalp=1)


def _attention(**options: Any) -> RoPEAttention:
    side = IMAGE_SIZE // STRIDE
    return RoPEAttention(embedding_dim=WIDTH, num_heads=1, downsample_rate=1, dropout=0.0, feat_sizes=(side, side), **options)


def _memory_attention() -> MemoryAttention:
    layer = MemoryAttentionLayer(
        activation="relu",
        cross_attention=_attention(rope_k_repeat=True, kv_in_dim=MEMORY_WIDTH),
        d_model=WIDTH,
        dim_feedforward=4 * WIDTH,
        dropout=0.0,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=_attention(),
    )
    return MemoryAttention(d_model=WIDTH, pos_enc_at_input=True, layer=layer, num_layers=2)


def _memory_encoder() -> MemoryEncoder:
    block = CXBlock(WIDTH, layer_scale_init_value=0.1)  # the official 1e-6 wants longer training than this model gets
    masks = MaskDownSampler(WIDTH, kernel_size=3, stride=2, padding=1)
    return MemoryEncoder(MEMORY_WIDTH, masks, Fuser(block, 2), _position(MEMORY_WIDTH), in_dim=WIDTH)
