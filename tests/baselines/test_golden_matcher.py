"""Matcher against the vectors of the official code; candidates of the mask generator come from the sets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import GOLDEN, assert_close, assert_summary_close, golden_sets, read_set
from numpy.typing import NDArray

pytest.importorskip("ot", reason="POT is not installed")

from baselines.matcher_config import MatcherConfig, preset
from baselines.matcher_matching import foreground_cells, match
from baselines.matcher_sampling import box_of, cluster_centres, points_of, subsets
from baselines.matcher_scoring import Judged, chosen, covered_cells

SETS = list(golden_sets("matcher_")) or [pytest.param(None, marks=pytest.mark.skip(reason=f"no golden sets of Matcher at {GOLDEN}"))]


def configured(args: dict[str, Any]) -> MatcherConfig:
    """The release's arguments in our words."""
    filters = args["score_filter_cfg"]
    return preset(
        "release",
        prompt_by="points" if args["use_points_or_centers"] else "centres",
        centres=args["num_centers"],
        fewest=args["sample_range"][0],
        most=args["sample_range"][1],
        subsets=args["max_sample_iterations"],
        box=args["use_box"],
        emd_weight=args["alpha"],
        purity_weight=args["beta"],
        coverage_power=args["exp"],
        least_coverage=filters["coverage"],
        least_emd=filters["emd"],
        least_purity=filters["purity"],
        merging="near best" if filters["score_filter"] else "top",
        merged=args["num_merging_mask"],
        furthest=filters["score"],
        gap=filters["score_norm"],
        share=filters["topk_scores_threshold"],
    )


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path and path.name)
def test_matching_prompts_and_masks(folder: Path) -> None:
    meta, inputs, outputs = read_set(folder)
    config, grid, patch, side = configured(meta["args"]), meta["grid"], meta["patch"], meta["image_size"]
    supports, picture = (torch.from_numpy(inputs[name]) for name in ("ref_feats_raw", "tar_feat_raw"))
    masks = torch.from_numpy(inputs["ref_mask"]).reshape(-1, side, side)
    assert len(masks) == meta["nshot"] and grid * patch == side
    foreground = foreground_cells(masks, grid)
    matches = match(supports, picture, foreground)
    points = points_of(matches.cells, grid, patch, config.point_order)
    asked = points
    if config.prompt_by == "centres":
        asked = cluster_centres(points, config.centres, torch.Generator().manual_seed(0))
    prompts = subsets(asked, config.fewest, config.most, config.subsets, random.Random(0))
    bits = np.unpackbits(inputs["candidates"], axis=1)[:, : side * side]
    candidates = bits.reshape(-1, side, side).astype(np.bool_)
    judged = Judged(matches, points, candidates, covered_cells(candidates, grid, config))
    found = {
        "ref_masks_pool": foreground.astype(np.float32),
        "points": points,
        "reduced_points_num": np.array(len(matches.cells)),
        "S_stats": matches.similarity,
        "C_stats": matches.cost,
        "centers": asked,
        "n_prompt_sets": np.array([len(sets) for sets in prompts]),
        **{f"samples_{number}": sets for number, sets in enumerate(prompts)},
        "purity": judged.purity,
        "coverage": judged.coverage,
        "emd_score": judged.emd,
        "pred_mask": candidates[chosen(judged, config)].any(0)[None],
    }
    assert sum(name.startswith("samples_") for name in outputs) == len(prompts)
    for name, stored in outputs.items():
        same(boxes_like(stored, points) if "box" in name else found[name], stored, name)


def boxes_like(stored: NDArray[Any], points: NDArray[np.int64]) -> NDArray[Any]:
    """The points' box as it may be stored: once, or beside every prompt that it goes with, as four numbers or two corners."""
    box = box_of(points)
    return np.broadcast_to(box.reshape(2, 2) if stored.shape[-2:] == (2, 2) else box, stored.shape)


def same(found: NDArray[Any], stored: NDArray[Any], name: str) -> None:
    """As the sets want it: integers and masks exactly, floats nearly, large maps by their summary."""
    if name.endswith("_stats"):
        assert_summary_close(found, stored, name)
    elif stored.dtype.kind == "f":
        assert_close(found, stored, name)
    else:
        np.testing.assert_array_equal(found, stored, err_msg=name)
