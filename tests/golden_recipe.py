"""The golden vectors' recipe: what a parameter or an input holds follows from its name, so that no weight file is needed.

Written anew from the recipe's description; the vectors themselves prove that the draws agree.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = Path(os.environ.get("ICVOS_GOLDEN") or SHARED / "golden")
PARAMS = SHARED / "spec" / "methods" / "params"  # lists of the official names and shapes
FIRST = 64  # values that a summary keeps beside its four statistics
SUMMARY = 4 + FIRST


def generator(name: str) -> np.random.Generator:
    """The name's own generator."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def parameter(name: str, shape: tuple[int, ...], gain: float = 1.0) -> NDArray[np.float64]:
    """What the state-dict entry `name` holds."""
    draws = generator(name)
    last = name.rpartition(".")[2]
    match last, len(shape):
        case "num_batches_tracked", _:
            return np.zeros(shape)
        case "running_mean", _:
            return draws.normal(0, 0.1, shape)
        case "running_var", _:
            return draws.uniform(0.5, 1.5, shape)
        case _, 0:
            return np.array(draws.normal())
        case _, 1 if last.endswith("weight"):
            return draws.uniform(0.5, 1.5, shape)
        case _, 1:
            return draws.normal(0, 0.1, shape)
    return draws.normal(0, gain / math.sqrt(math.prod(shape[1:])), shape)


def fill_state(like: Mapping[str, torch.Tensor], gain: float = 1.0) -> dict[str, torch.Tensor]:
    """A state dict of the names, shapes and dtypes of `like`, filled by the recipe through float32."""
    return {
        name: torch.from_numpy(parameter(name, tuple(value.shape), gain).astype(np.float32)).to(value.dtype) for name, value in like.items()
    }


def feature_map(
    name: str, shape: tuple[int, ...], *, relu: bool = True, block: int = 0, noise: float = 0.3, half: bool = True
) -> NDArray[np.float32]:
    """A map (..., H, W): `block` lays noise over a coarse map of such squares; `half` leaves values that float16 holds."""
    draws = generator(name)
    values = draws.normal(0, 1, (*shape[:-2], *(math.ceil(side / block) for side in shape[-2:])) if block else shape)
    if block:
        values = np.kron(values, np.ones((block, block)))[..., : shape[-2], : shape[-1]] + noise * draws.normal(0, 1, shape)
    values = np.maximum(values, 0) if relu else values
    return values.astype(np.float32).astype(np.float16 if half else np.float32).astype(np.float32)


def ellipses(name: str, count: int, height: int, width: int, *, ignore: bool = False) -> NDArray[np.int64]:
    """`count` masks (count, H, W) of one ellipse each; `ignore` puts 255 on three rows at the top and three columns at the right."""
    draws = generator(name)
    rows, columns = np.ogrid[:height, :width]
    masks = np.zeros((count, height, width), np.int64)
    for mask in masks:
        y, x = draws.uniform(0.35, 0.65, 2) * (height, width)
        tall, wide = draws.uniform(0.2, 0.35, 2) * (height, width)
        mask[((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 <= 1] = 1
        if ignore:
            mask[:3] = mask[:, -3:] = 255
    return masks


def summary(values: NDArray[Any]) -> NDArray[np.float64]:
    """Count, mean, deviation, largest magnitude, and the first values in C order: how large maps are stored."""
    flat = np.asarray(values, np.float64).ravel()
    return np.concatenate([[flat.size, flat.mean(), flat.std(), np.abs(flat).max()], flat[:FIRST]])


def golden_sam(kind: str, side: int, dtype: torch.dtype = torch.float32) -> Any:
    """A SAM or SAM 2 whose prompt encoder and mask decoder hold the recipe's weights, for embeddings of `side` x `side`."""
    from types import SimpleNamespace

    if kind == "sam":
        from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

        encoder = PromptEncoder(256, (side, side), (16 * side, 16 * side), 16)
        decoder = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048))
        names = {"prompt_encoder": encoder, "mask_decoder": decoder}
    else:
        from sam2.modeling.sam.mask_decoder import MaskDecoder as MaskDecoder2
        from sam2.modeling.sam.prompt_encoder import PromptEncoder as PromptEncoder2
        from sam2.modeling.sam.transformer import TwoWayTransformer as TwoWayTransformer2

        encoder = PromptEncoder2(256, (side, side), (16 * side, 16 * side), 16)
        decoder = MaskDecoder2(
            transformer_dim=256,
            transformer=TwoWayTransformer2(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
            use_high_res_features=True,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
            use_multimask_token_for_obj_ptr=True,
        )
        names = {"sam_prompt_encoder": encoder, "sam_mask_decoder": decoder}
    for prefix, module in names.items():
        filled = fill_state({f"{prefix}.{name}": value for name, value in module.state_dict().items()})
        module.load_state_dict({name.removeprefix(f"{prefix}."): value for name, value in filled.items()})
        module.eval().to(dtype)
    _positions_in(encoder.pe_layer, dtype)
    return SimpleNamespace(**names)


def _positions_in(layer: Any, dtype: torch.dtype) -> None:
    """Let a package's layer of positions, which makes its grid in float32, work in the precision of its weights."""
    encoded = layer._pe_encoding
    layer._pe_encoding = lambda places: encoded(places.to(dtype))


def deepen(maps: torch.Tensor) -> torch.Tensor:
    """What stands for the backbone's last stage in the sets."""
    return torch.cat([maps.relu(), (0.5 - maps).relu()], 1)
