"""The steps of Matcher by themselves: matching, sampling, candidate masks, scores."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch

pytest.importorskip("ot", reason="POT is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("segment_anything", reason="segment_anything is not installed")

from hypothesis import given
from hypothesis import strategies as st
from sam2.sam2_image_predictor import SAM2ImagePredictor
from scipy.optimize import linear_sum_assignment
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.amg import build_point_grid, rle_to_mask
from skimage import data

from baselines.matcher_config import MatcherConfig, preset
from baselines.matcher_generation import Candidates, MaskGenerator, resized_with_truncation
from baselines.matcher_matching import Matches, agreed, foreground_cells, match
from baselines.matcher_sampling import box_of, cluster_centres, points_of, subsets
from baselines.matcher_scoring import Judged, chosen, covered_cells, transport
from baselines.matcher_steps import Matcher
from icvos.errors import UserInputError
from icvos.models.backbones import build_backbone
from icvos.models.sam2 import build_sam2
from icvos.models.token_decoding import Sam1Tokens, Sam2Tokens

SEEDS = st.integers(0, 2**32 - 1)

# ---- matching


@given(SEEDS, st.integers(1, 3), st.integers(1, 36))
def test_a_picture_that_is_its_support_shuffled_is_matched_back(seed: int, shots: int, marked: int) -> None:
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(36, 24)).astype(np.float32))
    others = torch.from_numpy(rng.normal(size=((shots - 1) * 36, 24)).astype(np.float32))
    foreground = np.zeros(shots * 36, np.bool_)
    foreground[rng.permutation(36)[:marked]] = True
    order = rng.permutation(36)
    found = match(torch.cat([features, others]), 3 * features[order], foreground)
    assert found.confirmed
    np.testing.assert_array_equal(found.foreground, np.flatnonzero(foreground))
    assert set(order[found.cells]) == set(found.foreground)
    assert found.cost.min() >= -1e-6 and found.cost.max() <= 1 + 1e-6


def test_of_many_matches_the_better_half_is_kept_the_best_first() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(60, 200)).astype(np.float32))
    noise = torch.linspace(0, 1, 60)[:, None] * torch.from_numpy(rng.normal(size=(60, 200)).astype(np.float32))
    for marked, kept in ((40, 40), (41, 20), (50, 25)):
        found = match(features, features + noise, np.arange(60) < marked)
        likeness = found.similarity[found.cells, found.cells]
        assert len(found.cells) == kept and (np.diff(likeness) <= 0).all()
        assert likeness.min() >= np.sort(np.diag(found.similarity)[:marked])[-kept:].min()


def test_cells_stay_on_which_more_than_half_of_the_supports_agree() -> None:
    rng = np.random.default_rng(1)
    picture = torch.from_numpy(rng.normal(size=(16, 40)).astype(np.float32))
    shown = [np.isin(np.arange(16), cells) for cells in ([0, 1, 2], [1, 2, 3], [2, 3, 9])]
    each = [match(picture, picture, foreground) for foreground in shown]  # a support that is the picture finds its own cells
    found = agreed(each)
    assert set(found.cells) == {1, 2, 3} and found.confirmed and found.supports == 3
    np.testing.assert_array_equal(np.sort(found.foreground), np.flatnonzero(np.concatenate(shown)))
    assert set(agreed([each[0], each[2]]).cells) == {2}
    apart = match(picture, picture, np.isin(np.arange(16), [12, 13]))
    assert set(agreed([each[0], apart]).cells) == {0, 1, 2, 12, 13}  # none has more votes than another
    thrice = agreed([each[0]] * 3)
    assert set(thrice.cells) == set(each[0].cells)
    lost = each[0]._replace(confirmed=False, cells=np.array([7]))
    assert set(agreed([lost, each[1], lost]).cells) == {1, 2, 3}  # what was not confirmed has no vote where something was
    assert set(agreed([lost, lost]).cells) == {7} and not agreed([lost, lost]).confirmed


def test_a_match_that_leads_back_elsewhere_is_not_confirmed() -> None:
    supports = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    picture = torch.tensor([[0, 0.1, 1], [0, 1, 0.2]])  # the object, cell 0, is not there
    found = match(supports, picture, np.array([True, False, False]))
    assert not found.confirmed and len(found.cells) == 1


def test_more_marked_cells_than_the_picture_has_share_it_out() -> None:
    features = torch.eye(4)
    found = match(torch.cat([features, features]), features, np.ones(8, np.bool_))
    assert sorted(found.cells) == [0, 1, 2, 3]


@given(SEEDS, st.sampled_from([1, 2, 4, 8]))
def test_a_cell_is_foreground_if_it_holds_a_pixel(seed: int, grid: int) -> None:
    masks = np.random.default_rng(seed).random((2, 16, 16)) < 0.02
    side = 16 // grid
    held = [
        masks[k, side * i : side * i + side, side * j : side * j + side].any() for k in (0, 1) for i in range(grid) for j in range(grid)
    ]
    np.testing.assert_array_equal(foreground_cells(torch.from_numpy(masks), grid), held)


# ---- sampling


def test_points_are_the_centres_of_cells() -> None:
    cells = [130, 3, 17, 3]
    assert points_of(cells, 14, 14, "ascending").tolist() == [[49, 7], [49, 21], [63, 133]]
    in_set = [[cell % 14 * 14 + 7, cell // 14 * 14 + 7] for cell in set(cells)]
    assert points_of(np.array(cells), 14, 14, "set").tolist() == in_set
    assert box_of(np.array([[5, 9], [3, 20]])).tolist() == [3, 9, 5, 20]


@given(SEEDS, st.integers(1, 20), st.integers(1, 5), st.integers(0, 5), st.integers(1, 12))
def test_prompts_are_subsets_of_the_points(seed: int, total: int, fewest: int, more: int, count: int) -> None:
    points = np.stack([np.arange(total), 100 + np.arange(total)], 1)
    drawn = subsets(points, fewest, fewest + more, count, random.Random(seed))
    sizes = range(min(fewest, total), min(fewest + more, total) + 1)
    assert [sets.shape[1:] for sets in drawn] == [(size, 2) for size in sizes]
    for size, sets in zip(sizes, drawn, strict=True):
        places = [tuple(one[:, 0]) for one in sets]
        assert all(
            len(set(one)) == size and (chosen_points[:, 1] == chosen_points[:, 0] + 100).all()
            for one, chosen_points in zip(places, sets, strict=True)
        )
        if total <= 8:
            assert len(places) == comb(total, size) and set(places) == set(combinations(range(total), size))
        else:
            assert len(places) == count


def test_all_subsets_come_with_the_last_point_leading() -> None:
    points = np.stack([np.arange(4)] * 2, 1)
    (pairs,) = subsets(points, 2, 2, 9, random.Random(0))
    assert pairs[:, :, 0].tolist() == [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]


@given(SEEDS, st.integers(1, 30), st.integers(1, 10))
def test_centres_lie_among_the_points_and_only_the_generator_decides(seed: int, total: int, count: int) -> None:
    points = np.random.default_rng(seed).integers(0, 60, (total, 2))
    before = torch.get_rng_state()
    centres, again = (cluster_centres(points, count, torch.Generator().manual_seed(seed)) for _ in range(2))
    np.testing.assert_array_equal(centres, again)
    assert torch.equal(before, torch.get_rng_state())
    assert 1 <= len(centres) <= min(count, len(np.unique(points, axis=0)))
    assert (centres >= points.min(0)).all() and (centres <= points.max(0)).all()


def test_clusters_that_lie_apart_are_found() -> None:
    corners = np.array([[10, 10], [10, 90], [90, 10], [90, 90]])
    points = (corners[:, None] + np.array([[-2, 0], [2, 0], [0, 1]])).reshape(-1, 2)
    centres = cluster_centres(points, 4, torch.Generator().manual_seed(3))
    assert sorted(centres.tolist()) == corners.tolist()


# ---- candidate masks


def small_sam() -> Sam:
    """The first SAM's own classes, small and with weights by chance."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = ImageEncoderViT(img_size=64, patch_size=16, embed_dim=32, depth=1, num_heads=2, out_chans=32, use_rel_pos=True)
        prompts = PromptEncoder(32, (4, 4), (64, 64), 16)
        decoder = MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, 4, 64))
        for value in (value for name, value in decoder.named_parameters() if "output_hypernetworks" in name and value.ndim > 1):
            value.data *= 6  # logits by chance are small: none would be stable
    return Sam(encoder, prompts, decoder).eval()


def test_the_first_sam_answers_as_its_automatic_mask_generator_does() -> None:
    sam, side = small_sam(), 48
    image = resized_with_truncation(data.astronaut(), side)
    everything = MaskGenerator(Sam1Tokens(sam), preset(image_size=side, dense=0, prompted_iou=0.0, prompted_stability=0.0, box_overlap=1.0))
    grid = (build_point_grid(8) * side)[:, None]
    claimed = everything.prompted(everything.see(image), [grid], None).claimed
    iou = float(claimed.quantile(0.2))
    config = preset(image_size=side, dense=0, prompted_iou=iou, prompted_stability=0.15, box_overlap=0.95)
    ours = MaskGenerator(Sam1Tokens(sam), config)
    found = ours.distinct(ours.prompted(ours.see(image), [grid], None))
    theirs = SamAutomaticMaskGenerator(sam, 8, 64, iou, 0.15, box_nms_thresh=0.95, output_mode="uncompressed_rle").generate(image)
    assert 3 <= len(theirs) < len(claimed) // 2
    assert len(found.masks) == len(theirs)
    for mask, score, box, their in zip(found.masks, found.claimed, found.boxes, theirs, strict=True):
        np.testing.assert_array_equal(mask.numpy(), rle_to_mask(their["segmentation"]))
        left, top, width, height = their["bbox"]
        assert box.tolist() == [left, top, left + width, top + height]
        assert float(score) == pytest.approx(their["predicted_iou"], abs=1e-6)


@pytest.fixture(scope="module")
def nano() -> Sam2Tokens:
    return Sam2Tokens(build_sam2("sam2_nano", device="cpu"))


LOOSE = preset(image_size=256, dense=0, prompted_iou=0.0, prompted_stability=0.0, box_overlap=1.0, box=True)
PROMPTS = np.array([[[120, 130], [90, 150]], [[40, 30], [200, 220]], [[128, 60], [128, 200]]])


@pytest.mark.parametrize("box", [None, np.array([60, 40, 200, 240])], ids=["points", "points and box"])
@pytest.mark.parametrize("masks", ["three", "single"])
def test_sam_2_answers_as_its_image_predictor_does(nano: Sam2Tokens, masks: str, box: np.ndarray | None) -> None:
    image = resized_with_truncation(data.cat(), 256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about the package's way to resize
        predictor = SAM2ImagePredictor(nano.model)
    predictor._bb_feat_sizes = [(64, 64), (32, 32), (16, 16)]  # the package knows only those of 1,024 pixels
    predictor.set_image(image)
    generator = MaskGenerator(nano, MatcherConfig(image_size=256, prompted_masks=masks, prompted_iou=0, prompted_stability=0))
    found = generator.prompted(generator.see(image), [PROMPTS], box)
    each = 3 if masks == "three" else 1
    assert len(found.masks) == each * len(PROMPTS)
    for number, points in enumerate(PROMPTS):
        logits, claimed, _ = predictor.predict(
            points, np.ones(len(points), int), box, multimask_output=masks == "three", return_logits=True
        )
        own = slice(each * number, each * number + each)
        np.testing.assert_allclose(found.claimed[own].numpy(), claimed, atol=1e-4)
        assert (found.masks[own].numpy() != (logits > 0)).mean() < 1e-4


def test_batches_change_nothing(nano: Sam2Tokens) -> None:
    config = preset(image_size=256, dense=4, dense_iou=0.3, dense_stability=0.3, prompted_iou=0.3, prompted_stability=0.3)
    together, alone = MaskGenerator(nano, config), MaskGenerator(nano, config, at_once=1)
    features = together.see(data.cat())
    for ask in (
        lambda generator: generator.dense(features),
        lambda generator: generator.prompted(features, [PROMPTS, PROMPTS[:, :1]], None),
    ):
        one, other = ask(together), ask(alone)
        assert 0 < len(one.masks) == len(other.masks)
        torch.testing.assert_close(one.claimed, other.claimed, atol=1e-4, rtol=1e-4)
        assert (one.masks != other.masks).float().mean() < 1e-4
        assert (one.claimed > 0.3).all()


def test_nothing_asked_or_nothing_sure_is_no_candidate(nano: Sam2Tokens) -> None:
    generator = MaskGenerator(nano, preset(image_size=128, dense=0, prompted_iou=1.0))
    features = generator.see(data.cat())
    nothing = generator.distinct(generator.dense(features), generator.prompted(features, [PROMPTS // 2], None))
    assert nothing.masks.shape == (0, 128, 128) and nothing.logits.shape == (0, 64, 64)


def test_alike_boxes_leave_the_surest(nano: Sam2Tokens) -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [5, 5, 7, 7]])
    both = Candidates(torch.zeros(3, 2, 2), masks, torch.tensor([0.5, 0.9, 0.1]), boxes)
    assert MaskGenerator(nano, preset(box_overlap=0.65)).distinct(both).claimed.tolist() == pytest.approx([0.9, 0.1])
    assert len(MaskGenerator(nano, preset(box_overlap=1.0)).distinct(both).claimed) == 3


def test_the_releases_picture_is_darker_by_a_rounding() -> None:
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    lost = picture.astype(int) - resized_with_truncation(picture, 16)
    assert set(np.unique(lost)) <= {0, 1} and lost.max() in {0, 1}
    assert resized_with_truncation(data.cat(), 32).shape == (32, 32, 3)


def test_the_papers_kinds_of_network_give_a_mask() -> None:
    config = preset(
        "release", backbone="dinov2_s14", image_size=56, dense=4, dense_iou=0.0, dense_stability=0.0, prompted_iou=0.0, subsets=4
    )
    matcher = Matcher(replace(config, prompted_stability=0.0), build_backbone("dinov2_s14"), Sam1Tokens(small_sam()))
    seen, marked = matcher.see(data.cat()), np.zeros(data.cat().shape[:2], np.bool_)
    assert seen.dense is not None and len(seen.dense.masks) == 16 and seen.dense.masks.shape[1:] == (56, 56)
    marked[40:290, 120:400] = True
    found = matcher.find(seen, [data.cat()], [marked])
    assert matcher.grid == 4 and found.matches.similarity.shape == (16, 16)
    mask = matcher.mask(seen, found)
    assert mask is not None and mask.shape == marked.shape and mask.any()


# ---- scores


@given(SEEDS, st.integers(1, 12))
def test_the_earth_movers_distance_of_equal_heaps_is_the_best_assignment(seed: int, count: int) -> None:
    cost = np.random.default_rng(seed).random((count, count)).astype(np.float32)
    rows, columns = linear_sum_assignment(cost)
    assert transport(cost) == pytest.approx(cost[rows, columns].mean(), abs=1e-6)
    assert transport(cost[:, :1]) == pytest.approx(cost[:, 0].mean(), abs=1e-6)


def test_to_nowhere_it_is_as_far_as_can_be() -> None:
    assert transport(np.zeros((3, 0))) == 1.0


@given(SEEDS, st.sampled_from([(16, 4), (24, 8), (14, 14)]))
def test_a_mask_covers_the_cells_that_it_touches(seed: int, sizes: tuple[int, int]) -> None:
    side, grid = sizes
    masks = np.random.default_rng(seed).random((3, side, side)) < 0.03
    masks[2] = False
    expected = foreground_cells(torch.from_numpy(masks), grid).reshape(3, -1)
    np.testing.assert_array_equal(covered_cells(masks, grid, preset()), expected)
    expected[2] = True
    expected[:2][~expected[:2].any(1)] = True
    np.testing.assert_array_equal(covered_cells(masks, grid, preset("release")), expected)
    assert covered_cells(masks[:0], grid, preset()).shape == (0, grid * grid)


def squares(*sides: int) -> np.ndarray:
    masks = np.zeros((len(sides), 8, 8), np.bool_)
    for mask, side in zip(masks, sides, strict=True):
        mask[:side, :side] = True
    return masks


def judged(masks: np.ndarray) -> Judged:
    """Candidates on a grid of pixels; the object is the first four by four, and looks the less like a cell the further that lies."""
    far = np.add.outer(np.arange(8), np.arange(8)).ravel() / 14
    matches = Matches(np.broadcast_to(1 - 2 * far, (1, 64)), np.array([0]), np.array([0, 1, 8, 9]), True)
    points = points_of(matches.cells, 8, 1, "ascending")
    return Judged(matches, points, masks, covered_cells(masks, 8, preset()))


def test_purity_coverage_and_distance() -> None:
    found = judged(squares(1, 2, 4, 0))
    np.testing.assert_allclose(found.purity, [1, 1, 0.25, 0], atol=2e-6)
    np.testing.assert_allclose(found.coverage, [0.25, 1, 1, 0], atol=2e-6)
    np.testing.assert_allclose(found.emd, [1, 1 - 1 / 14, 1 - 3 / 14, 0], atol=1e-6)
    mixed = preset(emd_weight=0.5, purity_weight=0.5, coverage_power=1.0)
    np.testing.assert_allclose(found.score(mixed), 0.5 * found.emd + 0.5 * found.purity * found.coverage)
    np.testing.assert_allclose(judged(squares(3, 1, 3)).emd[[0, 0]], judged(squares(3, 1, 3)).emd[[0, 2]])


@pytest.mark.parametrize(
    ("sides", "changes", "expected"),
    [
        ((4, 1, 2, 0), {}, [1]),
        ((4, 1, 2, 0), {"gap": 0.4}, [1, 2]),  # the second is a third of the worst's distance away
        ((4, 1, 2), {"gap": 9.0}, [0, 1, 2]),
        ((8, 8), {"furthest": 0.6}, [0, 1]),
        ((8,), {"furthest": 0.01}, [0]),  # the best stays, however far it is
        ((1, 2, 4), {"least_coverage": 0.9, "gap": 9.0}, [1, 2]),
        ((4, 4, 4), {"merged": 2}, [0, 1]),
        ((1, 2, 8), {"merging": "top", "share": 0.9}, [0, 1]),
        ((1, 2, 8), {"merging": "top", "share": 0.0, "merged": 1}, [0]),
        ((8, 4), {"least_purity": 0.9}, [1]),  # asks for no more than the best has
        ((4, 1), {"least_emd": 0.95}, [1]),
        ((0, 0), {}, []),
        ((), {}, []),
    ],
)
def test_what_is_merged(sides: tuple[int, ...], changes: dict[str, object], expected: list[int]) -> None:
    assert sorted(chosen(judged(squares(*sides)), preset(**changes)).tolist()) == expected


def test_the_release_takes_a_mask_without_a_pixel_for_everything() -> None:
    masks = squares(0)
    found = judged(masks)
    every = Judged(found.matches, found.points, masks, covered_cells(masks, 8, preset("release")))
    assert chosen(every, preset("release")).tolist() == [0]


# ---- options


def test_unknown_presets_and_settings() -> None:
    with pytest.raises(UserInputError, match=r"no such preset of Matcher: relase.*did you mean release"):
        preset("relase")
    with pytest.raises(UserInputError, match=r"no such settings of Matcher: coko.*did you mean coco"):
        preset(settings="coko")


def test_settings_of_the_benchmarks() -> None:
    coco, fss, part = (preset("release", settings=name) for name in ("coco", "fss", "part"))
    assert (coco.fewest, coco.most, coco.subsets, coco.merged, coco.emd_weight, coco.dense) == (1, 6, 64, 9, 1.0, 64)
    assert (fss.fewest, fss.most, fss.subsets, fss.merged, fss.prompt_by, fss.purity_weight) == (4, 6, 30, 10, "centres", 0.2)
    assert (part.fewest, part.most, part.subsets, part.merged, part.box, part.least_coverage) == (3, 6, 128, 5, True, 0.3)
    assert {config.point_order for config in (coco, fss, part)} == {"set"}
