"""PerSAM and PerSAM-F on the scenes of a golden set: prior, guidance, every pass of the decoder, every hundredth step."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from golden_comparison import Answers
from golden_recipe import GOLDEN, SHARED, feature_map, generator, golden_sam
from golden_sets import Array, GoldenError, GoldenSet, read_set
from torch import Tensor

from baselines.persam_config import preset
from baselines.persam_decoding import Sam1Clicks, SeenPicture
from baselines.persam_prior import cells_of_picture, target_of
from baselines.persam_scales import EPSILON
from baselines.persam_segmenter import Example, PerSam, Step
from icvos.models.token_decoding import SamFeatures

SCENE = re.compile(r"scene\('(\w+)',\s*(\d+),\s*(\d+)(?:,\s*\(([\d.]+),\s*([\d.]+)\))?\)")
ELSEWHERE = re.compile(r"golden/(\w+)")
HANDED_OUT = SHARED / "golden" / "methods"
EVERY = 100  # steps whose losses are stored


def decoding_of(given: GoldenSet) -> Sam1Clicks:
    """SAM with the recipe's weights, for features on the set's grid."""
    side = int(given.described("sam", r"embed 256, grid (\d+)x\1, depth 2; weights recipe v1 gain 1\.0")[0])
    return Sam1Clicks(SimpleNamespace(**vars(golden_sam("sam", side)), image_encoder=SimpleNamespace(img_size=16 * side)))


def scenes(given: GoldenSet) -> list[tuple[str, ...]]:
    """Name, height, width, and first and last row of the object as parts: of the reference, then of the test picture.

    A set describes them, or names the set that does, which lies beside it or among the sets handed out.
    """
    said = given.meta["inputs_recipe"]
    if len(found := SCENE.findall(said)) == 2:
        return found
    if not found and (other := ELSEWHERE.search(said)):
        for folder in (given.folder.parent / other[1], GOLDEN / "methods" / other[1], HANDED_OUT / other[1]):
            if folder.is_dir() and folder != given.folder:
                return scenes(read_set(folder))
    raise GoldenError(f"{given.folder.name}: inputs_recipe tells no two scenes: {said!r}")


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


def shown(given: GoldenSet, mask: Array, decoding: Sam1Clicks) -> tuple[SeenPicture, SeenPicture]:
    """The reference and the test picture; where the object lies in the first is told by its mask, if the set does not tell."""
    pictures = []
    for who, (name, rows, columns, *span) in zip(("ref", "test"), scenes(given), strict=True):
        size, parts = (int(rows), int(columns)), [float(part) for part in span if part]
        if not parts and who == "test":
            raise GoldenError(f"{given.folder.name}: it is not said where the object of {name} lies")
        features = features_of(name, decoding.side // 16, size, parts or mask[..., 0])
        given.prove(f"{who}_feat", features)
        if f"{who}_image" in given.stored:  # the scene's picture: only its size is of use
            given.input(f"{who}_image", (*size, 3))
        pictures.append(SeenPicture(SamFeatures(torch.from_numpy(features)), decoding.placement(size)))
    return pictures[0], pictures[1]


def example_of(picture: Array, seen: SeenPicture, persam: PerSam) -> Example:
    """The reference with its mask, which is stored as a picture: ours are of 0 and 255, another brightness is given as it is."""
    example, red = persam.example(seen, picture[..., 0] > 0), picture[..., 0]
    return example if set(np.unique(red)) <= {0, 255} else example._replace(cells=cells_of_picture(picture, persam.decoding, seen.grid))


def logits(name: str, values: Tensor) -> dict[str, Tensor]:
    return {name: values[..., ::4, ::4], f"{name}_stats": values}


def best(step: Step) -> int:
    return int(step.candidates.scores.argmax())


def persam_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """PerSAM; the product works in float32 throughout, so that `dtype` changes nothing."""
    given.only_options()
    config, decoding = preset("release"), decoding_of(given)
    persam = PerSam(config, decoding)
    mask = given.whole("ref_mask")
    reference, test = shown(given, mask, decoding)
    example = example_of(mask, reference, persam)
    pixels = decoding.pixels(mask)
    learned = persam.learn([example])
    out = persam.segment(test, learned)
    assert out.guidance is not None and out.guidance.likeness is not None
    first, second, third = out.steps

    def first_logits(**changes: Any) -> Tensor:
        return PerSam(replace(config, **changes), decoding).segment(test, learned).steps[0].candidates.logits

    return {
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


def persam_f_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """PerSAM-F; the product works in float32 throughout, so that `dtype` changes nothing."""
    given.only_options("lr", "train_epoch", "eps", "weight_decay")
    given.option("eps", (EPSILON,)), given.option("weight_decay", ("AdamW default 0.01",))
    decoding = decoding_of(given)
    config = preset("release", "persam-f", steps=given.option("train_epoch"), rate=given.option("lr"))
    persam = PerSam(config, decoding)
    mask = given.whole("ref_mask")
    reference, test = shown(given, mask, decoding)
    with torch.enable_grad():
        learned = persam.learn([example := example_of(mask, reference, persam)])
    if learned.scales is None or learned.scales.diverged:
        raise GoldenError(f"{given.folder.name}: learning the weights of the three masks diverged")
    there = persam.segment(reference, learned).steps[0].candidates
    out = persam.segment(test, learned)
    first, second, third = out.steps
    history = learned.scales.history
    kept = [*range(0, config.steps, EVERY), config.steps - 1]
    return {
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
