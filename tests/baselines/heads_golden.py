"""Golden sets of heads on frozen features (PFENet, HDMNet, AMNet): what is read, and what is drawn anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import GOLDEN, ellipses, feature_map, generator, golden_sets, read_set
from torch import Tensor


def sets_of(prefix: str) -> list[Any]:
    """The folders, or a parameter that is skipped and says why."""
    skipped = pytest.param(None, marks=pytest.mark.skip(reason=f"no golden sets of {prefix} at {GOLDEN}"))
    return list(golden_sets(prefix)) or [skipped]


def read_head_set(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """meta.json, inputs and outputs of a set; inputs that are described and not stored are drawn as meta.json says."""
    meta, inputs, outputs = read_set(folder)
    stored: set[str] = set()
    if (folder / "inputs.npz").is_file():
        with np.load(folder / "inputs.npz") as file:
            stored = set(file.files)
    base_classes = 16 if meta["args"].get("data_set") == "pascal" else 61
    drawn = {name: _drawn(name, value.shape, base_classes) for name, value in inputs.items() if name not in stored}
    return meta, {name: torch.from_numpy(np.asarray(value)) for name, value in {**inputs, **drawn}.items()}, outputs


def _drawn(name: str, shape: tuple[int, ...], base_classes: int) -> np.ndarray:
    side = shape[-1]
    if "feat" in name:
        return feature_map(name, shape, relu="feat_5" not in name, block=2)
    if name == "s_y":
        return np.stack([ellipses(f"s_y_{shot}", shape[0], side, side, ignore=True) for shot in range(shape[1])], 1).astype(np.uint8)
    if name == "y":
        return ellipses("y", shape[0], side, side, ignore=True).astype(np.uint8)
    if name == "y_b":
        return generator("y_b").integers(0, base_classes, shape).astype(np.uint8)
    pytest.fail(f"it is not known how {name!r} is drawn")


def gain_of(meta: dict[str, Any]) -> float:
    """Of the recipe's weights."""
    found = re.search(r"gain\s*=?\s*(\d+(?:\.\d+)?)", meta["weights"])
    if found is None:
        pytest.fail(f"no gain in {meta['weights']!r}")
    return float(found[1])
