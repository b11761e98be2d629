"""SAM 2 by name or by configuration file. The `sam2` package reads its configurations through hydra; nobody here sees it."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import nn

from icvos.errors import DataError, UserInputError
from icvos.models.checkpoints import load_weights, read_state
from icvos.models.compute import device_named
from icvos.models.nano import sam2_nano
from icvos.weights import UNTRAINED, model_names, sam2_config, sam_weights

NANO = "sam2_nano"
SAM2_NAMES = tuple(model_names("sam2"))
# What the official video predictor turns on unless told otherwise: a wavering single mask gives way to the best of three,
# and the memory of the prompted frame holds the mask that a person saw.
POST_PROCESSING: dict[str, Any] = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


def build_sam2(
    name_or_config: str | Path = NANO,
    weights: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    *,
    cls: type[SAM2Base] = SAM2Base,
    offline: bool = False,
    **options: Any,
) -> SAM2Base:
    """A SAM 2 in evaluation mode, without gradients.

    Args:
        name_or_config: one of `SAM2_NAMES`, or a YAML file with a ``model`` section as the `sam2` package has them.
        weights: a file; by default the registry's (downloaded once) or, for ``sam2_nano``, the embedded ones;
            ``"untrained"`` leaves the parameters as torch's generator draws them.
        device: cpu, cuda, cuda:1, mps, or auto.
        dtype: float32 or bfloat16: what it computes in. Parameters stay float32, and whoever runs the model opens
            an autocast of ``model.compute_dtype`` over them, as the official predictors do.
        cls: the class to make, SAM2Base or a subclass of it.
        offline: never download.
        options: further arguments of `cls`.

    Raises:
        UserInputError: no such name, file or device, or the weights are another architecture's.
        DataError: the configuration or the weights cannot be read.
    """
    target = device if isinstance(device, torch.device) else device_named(device)
    name, settings = str(name_or_config), {**POST_PROCESSING, **options}
    config = sam2_config(name) or _official_config(name)
    file = None if weights == UNTRAINED else sam_weights(name, weights, offline=offline)
    model = sam2_nano(cls, **settings) if name == NANO else _from_config(config, cls, settings)
    if file is not None:
        load_weights(model, read_state(file), file)
    model.compute_dtype = dtype
    return placed(model, target)


def placed(model: nn.Module, device: torch.device) -> Any:
    """The model on its device, in evaluation mode and without gradients.

    Raises:
        UserInputError: it does not fit there.
    """
    try:
        return model.requires_grad_(False).eval().to(device)
    except torch.OutOfMemoryError as error:
        raise UserInputError("out of GPU memory", device, "no room for the model", fix="choose a smaller one, or --device cpu") from error


def _official_config(name: str) -> Path:
    """Where the `sam2` package keeps it."""
    return Path(str(importlib.resources.files("sam2"))) / "configs" / name.partition("_")[0] / f"{name}.yaml"


def _from_config(path: Path, cls: type[SAM2Base], options: dict[str, Any]) -> SAM2Base:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    try:
        config = OmegaConf.load(path)
        chosen = {**config.model, "_target_": f"{cls.__module__}.{cls.__qualname__}", **options}
        model = instantiate(OmegaConf.create(chosen), _recursive_=True)
    except Exception as error:  # whatever hydra, YAML and the constructors think of somebody's file
        reason = str(error).partition("\n")[0][:200]
        expected = "a `model` section as the sam2 package has it"
        raise DataError("cannot read the configuration", path, reason, expected, "mend the file") from error
    if not isinstance(model, SAM2Base):
        raise DataError("cannot read the configuration", path, type(model).__name__, "a SAM2Base", "mend its _target_")
    return model
