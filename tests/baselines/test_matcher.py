"""Matcher as a method: what it hands over, and what it does and says where there is little or nothing to match."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("ot", reason="POT is not installed")


from cats import CAT, HEAD, NOTHING, PIXEL, Given, box

from baselines.common.encoders import frozen_backbone
from baselines.matcher import EMBEDDED, OFFICIAL, HandOver, MatcherPrompts
from baselines.matcher_config import MatcherConfig, preset
from baselines.matcher_steps import Matcher
from icvos.errors import UserInputError
from icvos.registry import load_method
from icvos.types import BoxPrompt, Compute, MaskPrompt, PointPrompt, Prompt

MATCHERS = ("matcher", "matcher-mask", "matcher-dinov2", "matcher-dinov2-mask")
QUICK = replace(EMBEDDED, dense=6, subsets=4, image_size=256)
BOTH: Any = pytest.mark.parametrize("hand_over", ["points", "mask"])


def asked(hand_over: HandOver, supports: Sequence[Given], config: MatcherConfig = QUICK) -> tuple[Prompt, list[str]]:
    prompts = MatcherPrompts("matcher", config, Compute(device="cpu"), hand_over)
    prompt = prompts.prompt(CAT, supports)
    return prompt, [finding.code for _, finding in prompts.take_findings()]


def test_points_or_the_mask_that_they_choose() -> None:
    points, findings = asked("points", [HEAD])
    assert isinstance(points, PointPrompt) and (points.labels == 1).all() and not findings
    x, y = points.points.astype(int).T
    assert HEAD.mask[y, x].mean() > 0.8  # cells that the object only touches have their centres outside
    merged, findings = asked("mask", [HEAD])
    assert isinstance(merged, MaskPrompt) and merged.mask.shape == CAT.shape[:2] and not findings
    assert (merged.mask & HEAD.mask).sum() > 0.5 * (merged.mask | HEAD.mask).sum()  # the cat's head fills the picture


@BOTH
def test_an_answer_depends_on_nothing_before_it(hand_over: HandOver) -> None:
    prompts = MatcherPrompts("matcher", QUICK, Compute(device="cpu"), hand_over)
    answers = [prompts.prompt(CAT, [support]) for support in (HEAD, PIXEL, HEAD)]
    prompts.take_findings()
    answers.append(prompts.prompt(CAT.copy(), [HEAD]))
    first, other, again, later = (answer.points if isinstance(answer, PointPrompt) else getattr(answer, "mask", None) for answer in answers)
    assert first is not None and not np.array_equal(first, other)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, later)


@BOTH
def test_supports_without_a_pixel_are_left_out_and_told(hand_over: HandOver) -> None:
    nothing, findings = asked(hand_over, [NOTHING])
    assert isinstance(nothing, MaskPrompt) and not nothing.mask.any() and findings == ["empty-support"]
    (one, _), (both, findings) = asked(hand_over, [HEAD]), asked(hand_over, [HEAD, NOTHING])
    np.testing.assert_array_equal(*(getattr(prompt, "points" if hand_over == "points" else "mask") for prompt in (one, both)))
    assert findings == ["empty-support"]


@BOTH
@pytest.mark.parametrize("view", ["picture", "object"])
def test_a_support_of_one_pixel_is_one(hand_over: HandOver, view: str) -> None:
    given, _ = asked(hand_over, [PIXEL], replace(QUICK, support_view=view))
    expected = (BoxPrompt, PointPrompt if hand_over == "points" else MaskPrompt)
    assert isinstance(given, expected)


def test_several_supports_are_matched_together() -> None:
    one, two = (asked("points", supports)[0] for supports in ([HEAD], [HEAD, box(100, 250, 200, 300)]))
    assert isinstance(one, PointPrompt) and isinstance(two, PointPrompt) and not np.array_equal(one.points, two.points)
    assert (two.points >= 0).all() and (two.points <= CAT.shape[1::-1]).all()


def noise_in_a_corner() -> Given:
    """A support like the frame but for the object, which the frame does not show: what it is matched with leads elsewhere."""
    image = CAT.copy()
    image[:32, :32] = np.random.default_rng(0).integers(0, 255, (32, 32, 3))
    return box(5, 6, 5, 6, image)


@BOTH
def test_no_match_gives_the_best_box_and_is_told(hand_over: HandOver) -> None:
    config = replace(QUICK, level=3, support_view="picture")
    prompt, findings = asked(hand_over, [noise_in_a_corner()], config)
    assert isinstance(prompt, BoxPrompt) and findings == ["no-match"]
    left, top, right, bottom = prompt.box
    assert (right - left, bottom - top) == pytest.approx((CAT.shape[1] / 16, CAT.shape[0] / 16))  # of the one cell
    kept, findings = asked(hand_over, [noise_in_a_corner()], replace(config, no_match="all"))
    assert isinstance(kept, PointPrompt if hand_over == "points" else MaskPrompt) and not findings


def test_no_mask_gives_the_box_of_the_points_and_is_told() -> None:
    prompt, findings = asked("mask", [HEAD], replace(QUICK, dense_iou=1.0, prompted_iou=1.0))
    points, _ = asked("points", [HEAD])
    assert isinstance(prompt, BoxPrompt) and isinstance(points, PointPrompt) and findings == ["no-mask"]
    inside = (points.points >= prompt.box[:2]).all(1) & (points.points <= prompt.box[2:]).all(1)
    assert inside.all() and (prompt.box >= 0).all() and (prompt.box[2:] <= CAT.shape[1::-1]).all()


def test_findings_name_their_episode() -> None:
    prompts = MatcherPrompts("matcher", QUICK, Compute(device="cpu"), "points")
    for support in (HEAD, NOTHING, HEAD, NOTHING):
        prompts.prompt(CAT, [support])
    assert [number for number, _ in prompts.take_findings()] == [1, 3]
    prompts.prompt(CAT, [NOTHING])
    assert [number for number, _ in prompts.take_findings()] == [0]


def test_the_settings_of_parts_go_through_with_boxes_and_centres() -> None:
    embedded = {"backbone": "efficientnet_lite0", "image_size": 256, "least_coverage": 0.0}
    for settings in ("fss", "part"):
        prompt, _ = asked("mask", [HEAD], preset("release", settings=settings, **{**embedded, "subsets": 4}))
        assert isinstance(prompt, MaskPrompt) and (prompt.mask & HEAD.mask).any()


def test_the_release_means_the_middle_by_an_object_that_is_lost() -> None:
    config = preset("release", backbone="efficientnet_lite0", level=3, image_size=48)
    matcher = Matcher(config, frozen_backbone("efficientnet_lite0"), None)
    seen = matcher.see(CAT)
    assert matcher.find(seen, [CAT], [PIXEL.mask]).matches.foreground.tolist() == [4]  # of three by three cells
    kept = Matcher(replace(config, lost_support="kept"), frozen_backbone("efficientnet_lite0"), None)
    where = 3 * (150 * 3 // CAT.shape[0]) + 200 * 3 // CAT.shape[1]
    assert kept.find(seen, [CAT], [PIXEL.mask]).matches.foreground.tolist() == [where]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"level": 7}, "no such level of this backbone: efficientnet_lite0: found 7"),
        ({"image_size": 500}, r"no whole cells.*a multiple of 32.*choose 480"),
        ({"backbone": "efficientnet_lite1"}, "unknown weights: efficientnet_lite1; did you mean efficientnet_lite0"),
    ],
)
def test_options_that_do_not_fit(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        asked("points", [HEAD], replace(EMBEDDED, **changes))


# ---- cards and runs


@pytest.mark.parametrize("name", MATCHERS)
def test_a_card_costs_no_model(name: str) -> None:
    script = "import sys; from icvos.registry import load_method; print(load_method(sys.argv[1]).card.name, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, name], text=True, capture_output=True, check=True, timeout=60)
    assert done.stdout == f"{name} False\n"


def test_cards_say_what_is_handed_over_and_which_weights_see() -> None:
    cards = {name: load_method(name, Compute(device="cpu")).card for name in MATCHERS}
    assert [cards[name].hand_over for name in MATCHERS] == ["points", "mask"] * 2
    assert "efficientnet_lite0 " in cards["matcher"].weights and "on sam2_nano " in cards["matcher"].weights
    assert "sam_vit_h " in cards["matcher-dinov2-mask"].weights and "sam_vit_h" not in cards["matcher-dinov2"].weights
    assert OFFICIAL.backbone == "dinov2_l14" and OFFICIAL.image_size // 14 == 37
    assert cards["matcher"].licence == "Apache-2.0" and cards["matcher"].training_data
    assert "untrained" in load_method("matcher", Compute(weights="untrained", device="cpu")).card.weights


def test_thresholds_go_with_the_sam_that_they_judge() -> None:
    small, large = (load_method("matcher-mask", Compute(sam=sam, weights="untrained")).segmenter for sam in ("sam2_nano", "sam2.1_hiera_t"))
    assert [method.prompter.config.dense_iou for method in (small, large)] == [0.4, 0.88]  # type: ignore[attr-defined]
    assert [method.prompter.config.judged_size for method in (small, large)] == [128, 512]  # type: ignore[attr-defined]


def test_warming_up_builds_what_the_first_episode_would_wait_for() -> None:
    prompts = MatcherPrompts("matcher", QUICK, Compute(device="cpu"), "mask")
    assert prompts.warm_up() > 100 * prompts.warm_up()


@pytest.mark.parametrize("name", ["matcher", "matcher-mask"])
def test_a_run(name: str, icvos: Callable[..., Any], toy_release: Path, tmp_path: Path) -> None:
    said = icvos("run", "--method", name, "--benchmark", toy_release, "--out", tmp_path, "--limit", 2, "--device", "cpu")
    assert said.code == 0, said.err
    assert "2 episodes predicted" in said.out and "sam2_nano and efficientnet_lite0: small weights that come along" in said.err
    scored = icvos("score", tmp_path / name, "--benchmark", toy_release, "--allow-missing")
    assert scored.code == 0 and f"method:{name}@1" in scored.out
