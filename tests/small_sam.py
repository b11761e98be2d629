"""The first SAM's own classes, small and untrained."""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def small_sam1(side: int = 64, width: int = 256, hidden: int = 2048) -> Sam:
    """For pictures of `side` pixels, with tokens of `width` numbers; the same whenever it is made."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam(
            ImageEncoderViT(img_size=side, embed_dim=16, depth=1, num_heads=2, out_chans=width),
            PromptEncoder(width, (side // 16, side // 16), (side, side), 16),
            MaskDecoder(transformer_dim=width, transformer=TwoWayTransformer(2, width, 8, hidden)),
        ).eval()
