"""SAM and SAM 2 asked by tokens: what a prompt generator hands to the mask decoder in the place of encoded clicks.

Both are given the same methods: features of images, logits for tokens, and the tokens of clicks. An image of a batch goes with its own
tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional

TOP_LEFT, BOTTOM_RIGHT = 2, 3  # SAM's labels for the corners of a box


class SamFeatures(NamedTuple):
    """What SAM's image encoder gives: the embedding (B, C, h, w), and SAM 2's finer maps (B, C/8, 4h, 4w), (B, C/4, 2h, 2w)."""

    embedding: Tensor
    fine: tuple[Tensor, ...] = ()


class TokenDecoding(ABC):
    """A promptable segmenter; its image encoder stays frozen, gradients flow through its decoder to the tokens."""

    def __init__(self, prompt_encoder: Any, mask_decoder: nn.Module) -> None:
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder
        self.width: int = prompt_encoder.embed_dim  # of a token

    @property
    def labels(self) -> tuple[Tensor, Tensor]:
        """What SAM adds to the token of a click on the object, and to that of one on the background: (1, C) each."""
        background, foreground = self.prompt_encoder.point_embeddings[:2]
        return foreground.weight, background.weight

    @property
    @abstractmethod
    def side(self) -> int:
        """Height and width in pixels of the images that it takes."""

    @abstractmethod
    def features(self, images: Tensor) -> SamFeatures:
        """Features of images (B, 3, side, side), normalised by ImageNet's mean and deviation."""

    @abstractmethod
    def logits(self, features: SamFeatures, tokens: Tensor) -> Tensor:
        """Mask logits (B, 1, 4h, 4w) for tokens (B, N, C) that stand alone: no padding token, no mask prompt."""

    @abstractmethod
    def encoded(self, clicks: Tensor, labels: Tensor, corners: Tensor | None = None, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the model itself makes of prompts: tokens (B, N', C) and the dense embedding (B or 1, C, h, w).

        Args:
            clicks: (B, N, 2), x and y in pixels of the square that it sees.
            labels: (B, N), 1 on the object, 0 on the background.
            corners: (B, 2, 2), of a box, upper left and lower right.
            masks: (B, 1, 4h, 4w) logits.
        """

    def _dense(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The word for "no mask" and the positions, (B or 1, C, h, w), as large as the embedding."""
        _, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        return dense.expand(len(like), -1, -1, -1), self.prompt_encoder.get_dense_pe()


class Sam1Tokens(TokenDecoding):
    """The first SAM (package `segment-anything`)."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.prompt_encoder, model.mask_decoder)
        self.model = model

    @property
    def side(self) -> int:
        """1024."""
        return int(self.model.image_encoder.img_size)

    @torch.no_grad()
    def features(self, images: Tensor) -> SamFeatures:
        """See `TokenDecoding.features`."""
        return SamFeatures(self.model.image_encoder(images))

    def encoded(self, clicks: Tensor, labels: Tensor, corners: Tensor | None = None, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `TokenDecoding.encoded`."""
        boxes = None if corners is None else corners.flatten(1)
        found: tuple[Tensor, Tensor] = self.prompt_encoder(points=(clicks, labels), boxes=boxes, masks=masks)
        return found

    def logits(self, features: SamFeatures, tokens: Tensor) -> Tensor:
        """See `TokenDecoding.logits`. The package's own `predict_masks` pairs every image with every prompt; here each has its own."""
        decoder: Any = self.mask_decoder
        dense, positions = self._dense(features.embedding)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(tokens), -1, -1)
        source = features.embedding + dense
        answers, source_out = decoder.transformer(source, positions.expand_as(source), torch.cat([own, tokens], 1))
        upscaled = decoder.output_upscaling(source_out.transpose(1, 2).view_as(source))
        weights = decoder.output_hypernetworks_mlps[0](answers[:, 1])  # of the mask that answers alone
        return torch.einsum("bc,bchw->bhw", weights, upscaled)[:, None]


class Sam2Tokens(TokenDecoding):
    """SAM 2 on single images: features without any memory."""

    def __init__(self, model: SAM2Base) -> None:
        super().__init__(model.sam_prompt_encoder, model.sam_mask_decoder)
        self.model = model

    @property
    def side(self) -> int:
        """1024; 256 for sam2_nano."""
        return int(self.model.image_size)

    @torch.no_grad()
    def features(self, images: Tensor) -> SamFeatures:
        """See `TokenDecoding.features`; the embedding has SAM 2's word for "no memory" added, as on a prompted frame."""
        *fine, embedding = self.model.forward_image(images)["backbone_fpn"]
        return SamFeatures(embedding + self.model.no_mem_embed.view(1, -1, 1, 1), tuple(fine))

    def encoded(self, clicks: Tensor, labels: Tensor, corners: Tensor | None = None, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `TokenDecoding.encoded`: a box is two more clicks."""
        if corners is not None:
            words = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], dtype=labels.dtype, device=labels.device).expand(len(labels), 2)
            clicks, labels = torch.cat([corners, clicks], 1), torch.cat([words, labels], 1)
        found: tuple[Tensor, Tensor] = self.prompt_encoder(points=(clicks, labels), boxes=None, masks=masks)
        return found

    def logits(self, features: SamFeatures, tokens: Tensor) -> Tensor:
        """See `TokenDecoding.logits`."""
        dense, positions = self._dense(features.embedding)
        decoder: Any = self.mask_decoder
        candidates: Tensor = decoder.predict_masks(
            image_embeddings=features.embedding,
            image_pe=positions,
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=list(features.fine),
        )[0]
        return candidates[:, :1]  # the mask that answers alone, in training and afterwards


def decoding_of(model: nn.Module) -> TokenDecoding:
    """A SAM 2 or a first SAM, asked by tokens."""
    return Sam2Tokens(model) if isinstance(model, SAM2Base) else Sam1Tokens(model)


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, 1, h, w) at another size, corners on corners, as prompt generators are trained and read."""
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=True)
