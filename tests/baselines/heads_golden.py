"""Golden sets of heads on frozen features (PFENet, HDMNet, AMNet): what is read, and what is drawn anew."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from golden_recipe import GOLDEN, ellipses, feature_map, fill_state, generator, golden_sets, read_set
from torch import Tensor, nn

from baselines.common.levels import Levels, bilinear


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


class MatchingSet(NamedTuple):
    """A set of HDMNet or AMNet, with the network that is held to it."""

    meta: dict[str, Any]
    maps: dict[str, Tensor]
    outputs: dict[str, Any]
    model: Any
    query: Levels
    supports: Levels
    masks: Tensor
    size: tuple[int, int]


def matching_set(folder: Path, preset: Callable[..., Any], network: Callable[[Any, dict[int, int]], nn.Module]) -> MatchingSet:
    """Read a set, and fill the network by its recipe.

    In double precision, so that of two roundings, which softmaxes of cosines over 0.1 enlarge, only the reference's is left.
    """
    meta, maps, outputs = read_head_set(folder)
    query, supports = (Levels(*(maps[f"{who}_feat_{level}"].double() for level in (2, 3, 4, 5))) for who in ("query", "supp"))
    channels = {2: query.level2.shape[1], 3: query.level3.shape[1], 4: query.deepest.shape[1]}
    classes = 15 if meta["args"]["data_set"] == "pascal" else 60
    config = preset("release", shots=meta["args"]["shot"], base_classes=tuple(range(1, classes + 1)))
    model = network(config, channels).double().eval()
    overridden(model, fill_state(model.state_dict(), gain_of(meta)), maps)
    masks, size = (maps["s_y"] == 1).double(), (meta["image_size"], meta["image_size"])
    return MatchingSet(meta, maps, outputs, model, query, supports, masks, size)


def matching_outputs(out: Any, logits: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """What both heads give by the names of the sets; `logits` are those that come before the base learner is asked."""
    return {
        "final_out": out.enlarged(size),
        "meta_out": bilinear(logits, size),
        "base_out": bilinear(out.prepared.base_logits, size),
        "prior_similarity": out.prepared.similarity,
        **{f"corr_weight_{place}": values for place, values in enumerate(out.correlations)},
        "query_merge": out.prepared.query,
        "supp_merge": out.prepared.supports,
        **{f"down_query_{place}": stage.tokens for place, stage in enumerate(out.stages)},
        **{f"match_{place}": found.maps for place, found in enumerate(out.joined)},
        **{f"parse_{place}": parsed for place, parsed in enumerate(out.parsed)},
    }


def overridden(model: nn.Module, state: dict[str, Tensor], maps: dict[str, Tensor]) -> None:
    """Load the recipe's weights, but for those that meta.json says were set by hand afterwards."""
    state["gram_merge.weight"] = torch.tensor([0.95, -0.05]).view(1, 2, 1, 1)
    state["cls_merge.weight"] = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1)
    for name, bias in maps.items():
        if name.startswith("bias_"):
            last = f"transformer.mix_transformer.{name.removeprefix('bias_')}.4"
            state[f"{last}.weight"] = state[f"{last}.weight"] * 0.05
            state[f"{last}.bias"] = bias
    model.load_state_dict(state)


def targets_of(meta: dict[str, Any]) -> Tensor:
    """The base learner's numbers of the episodes' own classes: "cat_idx=[[3,7][:B]]" counts from 0 without a background."""
    found = re.search(r"cat_idx=\[\[([\d, ]+)\]\[:B\]\]", meta["inputs_recipe"])
    if found is None:
        pytest.fail(f"no classes in {meta['inputs_recipe']!r}")
    return torch.tensor([1 + int(number) for number in found[1].split(",")][: meta["batch"]])
