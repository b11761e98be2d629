"""SAM and SAM 2 asked by clicks, a box and a mask, with the two ways in which PerSAM guides the mask decoder.

PerSAM (Zhang et al., ICLR 2024, arXiv 2305.03048) looks into the decoder's two-way transformer, which is the same in both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.encoders import as_batch
from icvos.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from icvos.models.token_decoding import Sam1Tokens, Sam2Tokens, SamFeatures, TokenDecoding
from icvos.types import Image, PointPrompt, Size

Box = NDArray[np.int64]  # (4,) left, top, right, bottom: the outermost pixels themselves


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in the square that SAM sees: in its upper left corner."""

    size: Size  # of the picture
    inside: Size  # of the part that it takes
    side: int  # of the square

    def in_square(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points (N, 2), x and y in pixels of the picture, in those of the square."""
        (height, width), (rows, columns) = self.size, self.inside
        scaled: NDArray[np.float64] = np.asarray(points, np.float64) * (columns / width, rows / height)
        return scaled

    def at_picture(self, maps: Tensor) -> Tensor:
        """Maps (B, M, h, w) of the square at the picture's size, (B, M, H, W)."""
        if self.inside != (self.side, self.side):
            square = functional.interpolate(maps, size=(self.side, self.side), mode="bilinear", align_corners=False)
            maps = square[..., : self.inside[0], : self.inside[1]]
        return functional.interpolate(maps, size=self.size, mode="bilinear", align_corners=False)

    def cells(self, grid: Size) -> tuple[slice, slice]:
        """The rows and columns of a grid over the square that have something of the picture."""
        rows, columns = (math.ceil(part / self.side * count) for part, count in zip(self.inside, grid, strict=True))
        return slice(rows), slice(columns)


class SeenPicture(NamedTuple):
    """A picture after SAM's image encoder; the features are those of one picture, (1, ...)."""

    features: SamFeatures
    placement: Placement

    @property
    def grid(self) -> Size:
        """Height and width of the features."""
        rows, columns = self.features.embedding.shape[2:]
        return rows, columns


class Candidates(NamedTuple):
    """The decoder's four masks: the first answers alone, the other three are of different scales."""

    logits: Tensor  # (4, 4h, 4w)
    scores: Tensor  # (4,): the IoU that the model claims


class Guidance(NamedTuple):
    """What goes into the decoder beside the prompts."""

    target: Tensor | None  # (C,): the target's embedding
    likeness: Tensor | None  # (h * w,) in [0, 1]: how much each place is like the target
    second_softmax: bool = False  # see PerSamConfig
    target_in_positions: bool = False  # see PerSamConfig


class ClickDecoding(ABC):
    """A promptable segmenter that is asked as a person would ask it."""

    def __init__(self, tokens: TokenDecoding) -> None:
        self.tokens, self.prompt_encoder, self.mask_decoder = tokens, tokens.prompt_encoder, tokens.mask_decoder
        self.side = tokens.side

    @abstractmethod
    def placement(self, size: Size) -> Placement:
        """Where a picture of a size lies."""

    @abstractmethod
    def pixels(self, picture: Image) -> Tensor:
        """A picture (H, W, 3) RGB uint8 as the encoder takes it, (1, 3, side, side)."""

    @abstractmethod
    def _decoded(self, features: SamFeatures, tokens: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """All masks (1, 4, 4h, 4w) and what is claimed of them (1, 4)."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        found: torch.device = next(self.mask_decoder.parameters()).device
        return found

    @torch.no_grad()
    def see(self, picture: Image) -> SeenPicture:
        """Encode a picture."""
        return SeenPicture(self.tokens.features(self.pixels(picture).to(self.device)), self.placement((picture.shape[0], picture.shape[1])))

    @torch.no_grad()
    def ask(
        self, seen: SeenPicture, clicks: PointPrompt, box: Box | None = None, mask: Tensor | None = None, guidance: Guidance | None = None
    ) -> Candidates:
        """The masks that prompts give.

        Args:
            seen: the picture.
            clicks: in pixels of the picture.
            box: in pixels of the picture.
            mask: (4h, 4w) logits of an earlier answer.
            guidance: PerSAM's.
        """
        points = self._placed(seen, clicks.points)
        labels = torch.as_tensor(np.asarray(clicks.labels, np.int32), device=self.device)[None]
        corners = None if box is None else self._placed(seen, box.reshape(2, 2))
        sparse, dense = self.tokens.encoded(points, labels, corners, None if mask is None else mask[None, None])
        with guided(self.mask_decoder, guidance):
            logits, scores = self._decoded(seen.features, sparse, dense)
        return Candidates(logits[0].float(), scores[0].float())

    def _placed(self, seen: SeenPicture, points: NDArray[Any]) -> Tensor:
        return torch.as_tensor(seen.placement.in_square(points), dtype=torch.float32, device=self.device)[None]


class Sam1Clicks(ClickDecoding):
    """The first SAM: proportions are kept, the rest of the square is padding."""

    def __init__(self, model: Any) -> None:
        """Take a model of the package `segment-anything`."""
        super().__init__(Sam1Tokens(model))

    def placement(self, size: Size) -> Placement:
        """See `ClickDecoding.placement`."""
        scale = self.side / max(size)
        return Placement(size, (int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)), self.side)

    def pixels(self, picture: Image) -> Tensor:
        """See `ClickDecoding.pixels`; padding is 0 after normalisation."""
        rows, columns = self.placement((picture.shape[0], picture.shape[1])).inside
        resized = np.array(PilImage.fromarray(picture).resize((columns, rows), PilImage.Resampling.BILINEAR))
        values = torch.from_numpy(resized).permute(2, 0, 1).float()
        mean, deviation = (255 * torch.tensor(part)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))
        return functional.pad((values - mean) / deviation, (0, self.side - columns, 0, self.side - rows))[None]

    def _decoded(self, features: SamFeatures, tokens: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        decoder: Any = self.mask_decoder
        found: tuple[Tensor, Tensor] = decoder.predict_masks(features.embedding, self.prompt_encoder.get_dense_pe(), tokens, dense)
        return found


class Sam2Clicks(ClickDecoding):
    """SAM 2 on single images: proportions are not kept."""

    def __init__(self, model: Any) -> None:
        """Take a model that `icvos.models.build_sam2` made."""
        super().__init__(Sam2Tokens(model))

    def placement(self, size: Size) -> Placement:
        """See `ClickDecoding.placement`."""
        return Placement(size, (self.side, self.side), self.side)

    def pixels(self, picture: Image) -> Tensor:
        """See `ClickDecoding.pixels`."""
        return as_batch([picture], self.side, IMAGENET_MEAN, IMAGENET_STD)

    def _decoded(self, features: SamFeatures, tokens: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        decoder: Any = self.mask_decoder
        positions, fine = self.prompt_encoder.get_dense_pe(), list(features.fine)
        logits, scores, *_ = decoder.predict_masks(features.embedding, positions, tokens, dense, False, fine)
        return logits, scores


def clicks_of(model: nn.Module) -> ClickDecoding:
    """A SAM 2 or a first SAM, asked as a person would."""
    return Sam2Clicks(model) if isinstance(model, SAM2Base) else Sam1Clicks(model)


@contextmanager
def guided(decoder: Any, guidance: Guidance | None) -> Iterator[None]:
    """While it lasts, the decoder's transformer follows the guidance."""
    if guidance is None:
        yield
        return
    plain = decoder.transformer
    decoder.transformer = _GuidedTransformer(plain, guidance)
    try:
        yield
    finally:
        decoder.transformer = plain


class _GuidedTransformer(nn.Module):
    """A two-way transformer's own layers, with target-guided attention and target-semantic prompting."""

    def __init__(self, plain: Any, guidance: Guidance) -> None:
        super().__init__()
        self.plain, self.guidance = plain, guidance

    def forward(self, embedding: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, C) and places (B, h * w, C), from an embedding and positions (B, C, h, w) and tokens (B, N, C)."""
        keys, key_positions = (maps.flatten(2).transpose(1, 2) for maps in (embedding, positions))
        target: Any = 0 if self.guidance.target is None else self.guidance.target
        queries, query_positions = tokens, tokens + target if self.guidance.target_in_positions else tokens
        for layer in self.plain.layers:
            queries, keys = self._block(layer, queries + target, keys, query_positions, key_positions)
        asked = queries + query_positions + target
        queries = queries + self.plain.final_attn_token_to_image(q=asked, k=keys + key_positions, v=keys)
        return self.plain.norm_final_attn(queries), keys

    def _block(self, layer: Any, queries: Tensor, keys: Tensor, query_positions: Tensor, key_positions: Tensor) -> tuple[Tensor, Tensor]:
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + query_positions
            queries = queries + layer.self_attn(q=placed, k=placed, v=queries)
        queries = layer.norm1(queries)
        found = self._attended(layer.cross_attn_token_to_image, queries + query_positions, keys + key_positions, keys)
        queries = layer.norm2(queries + found)
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = keys + layer.cross_attn_image_to_token(q=keys + key_positions, k=queries + query_positions, v=queries)
        return queries, layer.norm4(keys)

    def _attended(self, attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The layer's attention, drawn to where the picture is like the target."""
        likeness = self.guidance.likeness
        if likeness is None:
            plain: Tensor = attention(q=queries, k=keys, v=values)
            return plain
        heads = attention.num_heads
        query, key, value = (
            projected.unflatten(2, (heads, -1)).transpose(1, 2)
            for projected in (attention.q_proj(queries), attention.k_proj(keys), attention.v_proj(values))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        weights = ((scores.softmax(-1) if self.guidance.second_softmax else scores) + likeness).softmax(-1)
        drawn: Tensor = attention.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return drawn
