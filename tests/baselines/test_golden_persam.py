"""PerSAM and PerSAM-F against the vectors of the official code: prior, guidance, every pass of the decoder, every hundredth step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import GOLDEN, assert_close, assert_summary_close, feature_map, generator, golden_sam, golden_sets, read_set
from numpy.typing import NDArray
from torch import Tensor

from baselines.persam_config import preset
from baselines.persam_decoding import Sam1Clicks, SeenPicture
from baselines.persam_prior import cells_of_picture, target_of
from baselines.persam_scales import EPSILON
from baselines.persam_segmenter import Example, PerSam, Step
from icvos.models.token_decoding import SamFeatures

SCENE = re.compile(r"scene\('(\w+)',\s*(\d+),\s*(\d+)(?:,\s*\(([\d.]+),\s*([\d.]+)\))?\)")
ELSEWHERE = re.compile(r"golden/(\w+)")
EVERY = 100  # steps whose losses are stored

Array = NDArray[Any]
MISSING = [pytest.param(None, marks=pytest.mark.skip(reason=f"no golden sets of PerSAM at {GOLDEN}"))]
FOLDERS = list(golden_sets("persam"))
LEARNED = [folder for folder in FOLDERS if folder.name.startswith("persam_f")] or MISSING
PLAIN = [folder for folder in FOLDERS if folder not in LEARNED] or MISSING


def decoding_of(meta: Mapping[str, Any]) -> Sam1Clicks:
    """SAM with the recipe's weights, for features on the set's grid."""
    found = re.search(r"embed 256, grid (\d+)x\1, depth 2; weights recipe v1 gain 1\.0", meta["sam"])
    assert found, meta["sam"]
    side = int(found[1])
    return Sam1Clicks(SimpleNamespace(**vars(golden_sam("sam", side)), image_encoder=SimpleNamespace(img_size=16 * side)))


def scenes(meta: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name, height, width, and first and last row of the object as parts: of the reference, then of the test picture.

    A set describes them, or names the set that does.
    """
    said = meta["inputs_recipe"]
    if not (found := SCENE.findall(said)) and (other := ELSEWHERE.search(said)):
        return scenes(read_set(GOLDEN / "methods" / other[1])[0])
    assert len(found) == 2, said
    return found


def features_of(name: str, grid: int, size: tuple[int, int], span: list[float] | Array) -> Array:
    """Noise over coarse squares, in which an object of one code lies; its rows are a span of parts, or those of a mask (H, W)."""
    maps = feature_map(name, (1, 256, grid, grid), relu=False, block=16, noise=0.3, half=False)
    code = generator("object_code").normal(0, 1, (256,)).astype(np.float32)
    rows, columns = (round(side / max(size) * grid) for side in size)
    if isinstance(span, list):
        first, last = (int(rows * part) for part in span)
    else:
        marked = np.flatnonzero(span.any(1))
        first, last = (round(edge * rows / size[0]) for edge in (marked[0], marked[-1] + 1))
    maps[0, :, first:last, int(columns * 0.3) : int(columns * 0.7)] += 2 * code[:, None, None]
    return maps.astype(np.float16).astype(np.float32)


def shown(meta: Mapping[str, Any], inputs: Mapping[str, Array], decoding: Sam1Clicks) -> tuple[SeenPicture, SeenPicture]:
    """The reference and the test picture; where the object lies in the first is told by its mask, if the set does not tell."""
    pictures = []
    for who, (name, rows, columns, *span) in zip(("ref", "test"), scenes(meta), strict=True):
        size, parts = (int(rows), int(columns)), [float(part) for part in span if part]
        features = features_of(name, decoding.side // 16, size, parts or inputs[f"{who}_mask"][..., 0])
        if f"{who}_feat_stats" in inputs:
            assert_summary_close(features, inputs[f"{who}_feat_stats"], f"{who}_feat")
        pictures.append(SeenPicture(SamFeatures(torch.from_numpy(features)), decoding.placement(size)))
    return pictures[0], pictures[1]


def example_of(picture: Array, seen: SeenPicture, persam: PerSam) -> Example:
    """The reference with its mask, which is stored as a picture: ours are of 0 and 255, another brightness is given as it is."""
    example, red = persam.example(seen, picture[..., 0] > 0), picture[..., 0]
    return example if set(np.unique(red)) <= {0, 255} else example._replace(cells=cells_of_picture(picture, persam.decoding, seen.grid))


def stored_alike(found: Mapping[str, Any], outputs: Mapping[str, Array]) -> None:
    """Every stored array has its answer; floats as floats of another machine are, all else exactly.

    Logits are stored as every fourth of rows and columns, and whole as a summary.
    """
    assert set(outputs) <= set(found), set(outputs) - set(found)
    for name, stored in outputs.items():
        values = np.asarray(found[name])
        if name.endswith("_stats"):
            assert_summary_close(values, stored, name)
        elif stored.dtype.kind in "biu":
            np.testing.assert_array_equal(values, stored, err_msg=name)
        else:
            assert_close(values, stored, name)


def logits(name: str, values: Tensor) -> dict[str, Tensor]:
    return {name: values[..., ::4, ::4], f"{name}_stats": values}


def best(step: Step) -> int:
    return int(step.candidates.scores.argmax())


@pytest.mark.parametrize("folder", PLAIN, ids=lambda path: path and path.name)
def test_persam(folder: Path) -> None:
    meta, inputs, outputs = read_set(folder)
    config, decoding = preset("release"), decoding_of(meta)
    persam = PerSam(config, decoding)
    reference, test = shown(meta, inputs, decoding)
    example = example_of(inputs["ref_mask"], reference, persam)
    pixels = decoding.pixels(inputs["ref_mask"])
    learned = persam.learn([example])
    out = persam.segment(test, learned)
    assert out.guidance is not None and out.guidance.likeness is not None
    first, second, third = out.steps

    def first_logits(**changes: Any) -> Tensor:
        return PerSam(replace(config, **changes), decoding).segment(test, learned).steps[0].candidates.logits

    found = {
        "ref_mask_preprocessed_stats": pixels,
        "ref_mask_preprocessed_shape": np.array(pixels.shape),
        "ref_mask_64": example.cells,
        "target_embedding": learned.target.embedding[None, None],
        "target_feat_F": target_of([(example.seen, example.cells)], "persam-f").direction[None],
        "sim_orig_size": out.likeness,
        "points_xy": out.clicks.points,
        "points_label": out.clicks.labels,
        "attn_sim": out.guidance.likeness[None, None, None],
        **logits("step1_logits", first.candidates.logits),
        "step1_scores": first.candidates.scores,
        "step1_mask_area": first.mask.sum()[None],
        **logits("step1_logits_without_guidance", first_logits(guided_attention=False, semantic_prompting=False)),
        **logits("step1_logits_semantic_prompt_only", first_logits(guided_attention=False)),
        **logits("step1_logits_attention_only", first_logits(semantic_prompting=False)),
        "step2_scores": second.candidates.scores,
        "step2_best": best(second),
        **logits("step2_logits_best", second.low),
        "box": third.box,
        "step3_scores": third.candidates.scores,
        "step3_best": best(third),
        **logits("step3_logits_best", third.low),
        "final_mask": third.mask,
    }
    stored_alike(found, outputs)


@pytest.mark.parametrize("folder", LEARNED, ids=lambda path: path and path.name)
def test_persam_f(folder: Path) -> None:
    meta, inputs, outputs = read_set(folder)
    assert (meta["args"]["eps"], meta["args"]["weight_decay"]) == (EPSILON, "AdamW default 0.01")
    decoding = decoding_of(meta)
    config = preset("release", "persam-f", steps=meta["args"]["train_epoch"], rate=meta["args"]["lr"])
    persam = PerSam(config, decoding)
    reference, test = shown(meta, inputs, decoding)
    learned = persam.learn([example := example_of(inputs["ref_mask"], reference, persam)])
    assert learned.scales is not None and not learned.scales.diverged
    there = persam.segment(reference, learned).steps[0].candidates
    out = persam.segment(test, learned)
    first, second, third = out.steps
    history = learned.scales.history
    kept = [*range(0, config.steps, EVERY), config.steps - 1]
    found = {
        "ref_points_xy": persam.segment(reference, learned).clicks.points,
        "train_log_it_dice_focal_w012": torch.cat([torch.tensor(kept)[:, None], history[kept]], 1),
        "final_weights": learned.scales.weights[:, None],
        "train_logits_high_stats": example.seen.placement.at_picture(there.logits[None])[0],
        "train_scores": there.scores,
        "test_points_xy": out.clicks.points,
        "weighted_mask": first.mask,
        "weighted_lowres_logit_stats": first.low,
        "box1": second.box,
        "refine1_scores": second.candidates.scores,
        "box2": third.box,
        "refine2_scores": third.candidates.scores,
        "final_mask": third.mask,
    }
    stored_alike(found, outputs)
