"""Matcher on the features of a golden set; candidates of the mask generator come from the set."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from golden_comparison import Answers
from golden_sets import Array, GoldenError, GoldenSet
from numpy.typing import NDArray

pytest.importorskip("ot", reason="POT is not installed")

from baselines.matcher_config import MatcherConfig, preset
from baselines.matcher_matching import foreground_cells, match
from baselines.matcher_sampling import box_of, cluster_centres, points_of, subsets
from baselines.matcher_scoring import Judged, chosen, covered_cells

FILTERS = ("emd", "purity", "coverage", "score_filter", "score", "score_norm", "topk_scores_threshold")
OPTIONS = (
    *("score_filter_cfg", "num_centers", "use_box", "use_points_or_centers", "sample_range", "max_sample_iterations"),
    *("alpha", "beta", "exp", "num_merging_mask"),
)


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


def matcher_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """Matcher's points, prompts, scores and mask. The product takes similarities in float32, in whatever precision features are."""
    given.only_options(*OPTIONS)
    if unknown := set(given.option("score_filter_cfg")) ^ set(FILTERS):
        raise GoldenError(f"{given.folder.name}: score_filter_cfg has others than the known filters: {', '.join(sorted(unknown))}")
    config, grid, patch, side = configured(given.options), given.meta["grid"], given.meta["patch"], given.meta["image_size"]
    shots, cells = given.meta["nshot"], grid * grid
    if grid * patch != side:
        raise GoldenError(f"{given.folder.name}: {grid} cells of {patch} pixels are not {side}")
    features = (given.whole(name) for name in ("ref_feats_raw", "tar_feat_raw"))
    supports, picture = (torch.from_numpy(values).to(dtype) for values in features)
    if (len(supports), len(picture)) != (shots * cells, cells):
        raise GoldenError(
            f"{given.folder.name}: {len(supports)} and {len(picture)} features are not those of {shots} shots of {cells} cells"
        )
    masks = torch.from_numpy(given.whole("ref_mask")).reshape(shots, side, side)
    foreground = foreground_cells(masks, grid)
    matches = match(supports, picture, foreground)
    points = points_of(matches.cells, grid, patch, config.point_order)
    asked = points
    if config.prompt_by == "centres":
        asked = cluster_centres(points, config.centres, torch.Generator().manual_seed(0))
    prompts = subsets(asked, config.fewest, config.most, config.subsets, random.Random(0))
    candidates = np.unpackbits(given.whole("candidates"), axis=1)[:, : side * side].reshape(-1, side, side).astype(np.bool_)
    judged = Judged(matches, points, candidates, covered_cells(candidates, grid, config))
    return {
        "ref_masks_pool": foreground.astype(np.float32),
        "points": points,
        "reduced_points_num": np.array(len(matches.cells)),
        "S": matches.similarity,
        "C": matches.cost,
        "centers": asked,
        "n_prompt_sets": np.array([len(sets) for sets in prompts]),
        **{f"samples_{number}": sets for number, sets in enumerate(prompts)},
        "purity": judged.purity,
        "coverage": judged.coverage,
        "emd_score": judged.emd,
        "pred_mask": candidates[chosen(judged, config)].any(0)[None],
        **{name: boxes_like(stored, points) for name, stored in given.outputs.items() if "box" in name},
    }


def boxes_like(stored: Array, points: NDArray[np.int64]) -> Array:
    """The points' box as it may be stored: once, or beside every prompt that it goes with, as four numbers or two corners."""
    box = box_of(points)
    return np.broadcast_to(box.reshape(2, 2) if stored.shape[-2:] == (2, 2) else box, stored.shape)
