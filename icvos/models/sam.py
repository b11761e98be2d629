"""SAM (the first) by name, over the `segment-anything` package; and whichever of SAM and SAM 2 a name stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from icvos.errors import UserInputError, did_you_mean
from icvos.models.checkpoints import load_weights, read_state
from icvos.models.compute import device_named
from icvos.models.sam2 import build_sam2, placed
from icvos.weights import UNTRAINED, is_first_sam, model_names, resolve

SAM_NAMES = tuple(model_names("sam_vit"))


def build_sam(
    name: str = "sam_vit_h",
    weights: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    *,
    offline: bool = False,
) -> Sam:
    """A SAM in evaluation mode, without gradients; the arguments are those of `build_sam2`.

    Raises:
        UserInputError: no such name, file or device, or the weights are another architecture's.
        DataError: the weights cannot be read.
    """
    if name not in SAM_NAMES:
        raise UserInputError("unknown SAM", name, fix=did_you_mean(name, SAM_NAMES))
    target = device if isinstance(device, torch.device) else device_named(device)
    file = None if weights == UNTRAINED else resolve(weights, name, offline=offline)
    model = sam_model_registry[name.removeprefix("sam_")](checkpoint=None)
    if file is not None:
        load_weights(model, read_state(file), file)
    model.compute_dtype = dtype
    return placed(model, target)


def build_any_sam(
    name: str,
    weights: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    *,
    offline: bool = False,
) -> Any:
    """What `build_sam` or `build_sam2` makes of a name, and raises."""
    return (build_sam if is_first_sam(name) else build_sam2)(name, weights, device, dtype, offline=offline)
