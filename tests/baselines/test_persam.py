"""PerSAM in parts and as a prompter: what is handed over, and what becomes of supports and frames that say too little."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("segment_anything", reason="segment-anything is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch
from cats import CAT, HEAD, NOTHING, PIXEL, Given
from hypothesis import example, given
from hypothesis import strategies as st
from small_sam import small_sam1

from baselines.persam import HandOver, PerSamPrompts, persam, persam_f, persam_f_mask, persam_mask
from baselines.persam_config import PRESETS, PerSamConfig, Variant, preset
from baselines.persam_decoding import Guidance, Placement, Sam1Clicks, Sam2Clicks, SeenPicture, guided
from baselines.persam_prior import at_picture, cells_covered, clicks_at, guidance_on_grid, guidance_squashed, target_of
from baselines.persam_scales import fitted_scales, focal_loss, mixed
from baselines.persam_segmenter import PerSam, box_around
from icvos.errors import UserInputError
from icvos.models.sam2 import build_sam2
from icvos.models.token_decoding import SamFeatures
from icvos.types import BoxPrompt, Compute, Image, MaskPrompt, PointPrompt, Prompt

VARIANTS = pytest.mark.parametrize("variant", ["persam", "persam-f"])
FEW = 30  # steps of PerSAM-F, where it does not matter how good it becomes


@pytest.fixture(scope="module")
def nano() -> Sam2Clicks:
    return Sam2Clicks(build_sam2("sam2_nano", device="cpu"))


def prompts(variant: Variant = "persam", hand_over: HandOver = "points and box", **changes: Any) -> PerSamPrompts:
    return PerSamPrompts(preset(variant=variant, **{"steps": FEW, **changes}), Compute(device="cpu"), hand_over)


def asked(prompter: PerSamPrompts, *supports: Given, frame: Image = CAT) -> Prompt:
    return prompter.prompt(frame, supports)  # type: ignore[arg-type]


def codes(prompter: PerSamPrompts) -> list[tuple[int, str]]:
    return [(number, finding.code) for number, finding in prompter.take_findings()]


# ---- what is handed over


@VARIANTS
def test_clicks_and_a_box_or_the_mask_that_it_is_around(variant: Variant) -> None:
    prompter = prompts(variant)
    given = asked(prompter, HEAD)
    mask = asked(prompts(variant, "mask"), HEAD)
    assert isinstance(given, BoxPrompt) and isinstance(mask, MaskPrompt) and given.clicks is not None
    assert (mask.mask & HEAD.mask).sum() > 0.5 * (mask.mask | HEAD.mask).sum()
    around = box_around(mask.mask)
    assert around is not None
    np.testing.assert_array_equal(given.box, [*around[:2], *around[2:] + 1])
    assert given.clicks.labels.tolist() == ([1, 0] if variant == "persam" else [1])
    x, y = given.clicks.points[0]
    assert HEAD.mask[y, x]
    assert codes(prompter) == []


def test_cards_say_what_is_handed_over() -> None:
    cards = {made(Compute()).card.name: made(Compute()).card for made in (persam, persam_mask, persam_f, persam_f_mask)}
    assert {name: card.hand_over for name, card in cards.items()} == {
        "persam": "points and box",
        "persam-mask": "mask",
        "persam-f": "points and box",
        "persam-f-mask": "mask",
    }
    assert all(card.weights.startswith("sam2_nano ") and "2305.03048" in card.paper for card in cards.values())


def test_several_supports_weigh_alike(nano: Sam2Clicks) -> None:
    model = PerSam(preset(), nano)
    one, two = model.look(CAT, HEAD.mask), model.look(CAT, PIXEL.mask)
    both = model.learn([one, two]).target.embedding
    means = [model.learn([example]).target.embedding for example in (one, two)]
    torch.testing.assert_close(both, (means[0] + means[1]) / 2)


@pytest.mark.parametrize("name", ["persam", "persam-f", "persam-mask"])
def test_a_run_from_the_name_to_scores(name: str, toy_release: Path, tmp_path: Path, icvos: Callable[..., Any]) -> None:
    said = icvos("run", "--method", name, "--benchmark", toy_release, "--out", tmp_path, "--limit", 1, "--device", "cpu", "--json")
    assert said.code == 0, said
    report = json.loads(said.out)
    assert (report["masks"], report.get("findings", [])) == (6, [])
    said = icvos("score", tmp_path / name, "--benchmark", toy_release, "--allow-missing", "--json")
    assert said.code == 0, said


# ---- bad input


@VARIANTS
def test_supports_without_a_pixel_are_left_out_and_told_by_their_episode(variant: Variant) -> None:
    prompter = prompts(variant)
    one, nothing, both = asked(prompter, HEAD), asked(prompter, NOTHING), asked(prompter, HEAD, NOTHING)
    assert isinstance(nothing, MaskPrompt) and not nothing.mask.any()
    assert isinstance(one, BoxPrompt) and isinstance(both, BoxPrompt)
    np.testing.assert_array_equal(one.box, both.box)
    assert codes(prompter) == [(1, "empty-support"), (2, "empty-support")]
    asked(prompter, NOTHING)
    assert codes(prompter) == [(0, "empty-support")]


@VARIANTS
@pytest.mark.parametrize("chosen", list(PRESETS))
def test_a_support_of_one_pixel_is_one(variant: Variant, chosen: str, nano: Sam2Clicks) -> None:
    """Also where the released code has nothing left of it, and goes on with the mean of nothing."""
    model = PerSam(preset(chosen, variant, steps=FEW), nano)
    example = model.look(CAT, PIXEL.mask)
    assert int(example.cells.sum()) == 1
    learned = model.learn([example])
    assert torch.isfinite(learned.target.direction).all()
    out = model.segment(nano.see(CAT), learned)
    assert all(torch.isfinite(step.logits).all() for step in out.steps)


def silenced(model: Any, bias: float) -> None:
    """Let the decoder's last convolution and the hyper-networks make every logit the same large number."""
    for network in model.sam_mask_decoder.output_hypernetworks_mlps:
        torch.nn.init.zeros_(network.layers[-1].weight)
        torch.nn.init.constant_(network.layers[-1].bias, bias)
    last = model.sam_mask_decoder.output_upscaling[3]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 1e3)


@VARIANTS
def test_a_cascade_whose_masks_are_empty_goes_on_without_a_box_and_leaves_the_clicks(variant: Variant) -> None:
    for hand_over in ("points and box", "mask"):
        prompter = prompts(variant, hand_over)  # type: ignore[arg-type]
        silenced(prompter.sam.propagator.model, -1.0)
        given = asked(prompter, HEAD)
        if hand_over == "mask":
            assert isinstance(given, MaskPrompt) and not given.mask.any()  # which the propagator tells of
        else:
            assert isinstance(given, PointPrompt) and len(given.points) == (2 if variant == "persam" else 1)
            assert codes(prompter) == [(0, "empty-cascade")]
    model = PerSam(prompter.config, Sam2Clicks(prompter.sam.propagator.model))
    out = model.segment(model.decoding.see(CAT), model.learn([model.look(CAT, HEAD.mask)]))
    assert [step.box for step in out.steps] == [None] * 3 and not out.answer.any()


def test_the_answer_is_the_last_mask_that_has_a_pixel(nano: Sam2Clicks) -> None:
    model = PerSam(preset(), nano)
    out = model.segment(nano.see(CAT), model.learn([model.look(CAT, HEAD.mask)]))
    first, second, third = out.steps
    np.testing.assert_array_equal(out.answer, third.mask)
    emptied = replace(third, logits=torch.full_like(third.logits, -1.0))
    np.testing.assert_array_equal(replace(out, steps=(first, second, emptied)).answer, second.mask)


def test_a_full_mask_and_frames_of_one_pixel_or_one_colour(nano: Sam2Clicks) -> None:
    model = PerSam(preset(), nano)
    learned = model.learn([model.look(CAT, np.ones(CAT.shape[:2], np.bool_))])
    for frame in (CAT[:1, :1], np.zeros((50, 70, 3), np.uint8)):
        out = model.segment(nano.see(frame), learned)
        assert out.answer.shape == frame.shape[:2] and np.isfinite(out.steps[-1].logits.numpy()).all()


def test_learning_that_diverges_falls_back_to_equal_weights_and_is_told() -> None:
    prompter = prompts("persam-f", rate=1e4)
    given = asked(prompter, HEAD)
    assert isinstance(given, BoxPrompt)
    assert codes(prompter) == [(0, "diverged-scales")]
    equal = fitted_scales([(torch.full((3, 4, 4), float("nan")), torch.ones(4, 4))], 3, 1e-3)
    assert equal.diverged and equal.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_a_wrong_preset_or_variant() -> None:
    with pytest.raises(UserInputError, match="no such preset of PerSAM: realease; did you mean release"):
        preset("realease")
    with pytest.raises(UserInputError, match="no such variant of PerSAM: persam_f; did you mean persam-f"):
        preset(variant="persam_f")  # type: ignore[arg-type]
    assert preset() == PerSamConfig()


# ---- parts


def test_learning_finds_the_mask_that_is_right() -> None:
    truth = torch.zeros(20, 30)
    truth[5:15, 5:20] = 1
    right, wrong = 8 * truth - 4, 4 - 8 * truth
    logits = torch.stack([wrong, wrong, right])
    fitted = fitted_scales([(logits, truth)], 1000, 1e-3)
    assert not fitted.diverged and fitted.weights.sum() == pytest.approx(1)
    assert torch.equal(mixed(logits, fitted.weights) > 0, truth > 0)
    assert torch.equal(mixed(logits, torch.full((3,), 1 / 3)) > 0, truth == 0)  # what equal weights give
    assert fitted.history.shape == (1000, 5) and fitted.history[-1, :2].sum() < fitted.history[0, :2].sum()


def test_focal_loss_of_a_pixel() -> None:
    logit = torch.tensor([0.3, -1.2])
    p = logit.sigmoid()
    expected = (0.25 * (1 - p[0]) ** 2 * -p[0].log() + 0.75 * p[1] ** 2 * -(1 - p[1]).log()) / 2
    torch.testing.assert_close(focal_loss(logit, torch.tensor([1.0, 0.0])), expected)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["keeps proportions", "fills"]))
@example(663, "keeps proportions")  # a picture of one column among SAM's 64
def test_an_object_keeps_cells_where_it_is(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 200, 2).tolist()
    scale = 64 / max(height, width)
    inside = (64, 64) if kind == "fills" else (max(1, round(height * scale)), max(1, round(width * scale)))
    placement = Placement((height, width), inside, 64)
    mask = np.zeros((height, width), np.bool_)
    row, column = int(rng.integers(height)), int(rng.integers(width))
    mask[row : row + rng.integers(1, 60), column : column + rng.integers(1, 60)] = True
    cells = cells_covered(mask, placement, (8, 8))
    rows, columns = placement.cells((8, 8))
    assert cells.any() and cells[rows, columns].sum() == cells.sum()
    ys, xs = np.nonzero(mask)
    centre = placement.in_square(np.array([[xs.mean() + 0.5, ys.mean() + 0.5]]))[0] / 8
    found = cells.nonzero().float().mean(0) + 0.5
    assert abs(found[1] - centre[0]) < 1.01 and abs(found[0] - centre[1]) < 1.01


def test_clicks_are_at_the_largest_and_at_the_least() -> None:
    likeness = torch.zeros(3, 5)
    likeness[2, 1], likeness[0, 4] = 1, -1
    clicks = clicks_at(likeness, "persam")
    assert clicks.points.tolist() == [[1, 2], [4, 0]] and clicks.labels.tolist() == [1, 0]
    assert clicks_at(likeness, "persam-f").points.tolist() == [[1, 2]]


def test_guidance_draws_nothing_into_the_padding_and_the_released_one_does() -> None:
    placement = Placement((30, 60), (32, 64), 64)
    likeness = torch.zeros(4, 4)
    likeness[1, 2] = 1
    drawn = guidance_on_grid(likeness, placement).view(4, 4)
    assert drawn[2:].eq(0).all() and drawn[:2].min() > 0 and int(drawn.argmax()) == 6
    squashed = guidance_squashed(at_picture(likeness, placement), (4, 4)).view(4, 4)
    assert squashed[2:].min() > 0 and int(squashed.argmax()) // 4 >= 2  # twice as far down as it is
    assert guidance_on_grid(torch.ones(4, 4), placement).view(4, 4)[:2].eq(0.5).all()


def test_persam_f_compares_with_the_middle_of_mean_and_largest() -> None:
    maps = torch.tensor([[[1.0, 3.0]], [[0.0, 4.0]]])[None]
    seen = SeenPicture(SamFeatures(maps), Placement((1, 2), (1, 2), 2))
    cells = torch.tensor([[True, True]])
    plain, largest = target_of([(seen, cells)], "persam"), target_of([(seen, cells)], "persam-f")
    torch.testing.assert_close(plain.direction * 8**0.5, torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(largest.direction * (2.5**2 + 3**2) ** 0.5, torch.tensor([2.5, 3.0]))


def test_supports_weigh_alike_however_large_their_objects_are() -> None:
    far = SeenPicture(SamFeatures(torch.tensor([[[[4.0, 4, 4]], [[0, 0, 0]]]])), Placement((9, 27), (9, 27), 27))
    up = SeenPicture(SamFeatures(torch.tensor([[[[0.0, 9, 9]], [[2, 9, 9]]]])), Placement((9, 27), (9, 27), 27))
    shown = [(far, torch.tensor([[True, True, True]])), (up, torch.tensor([[True, False, False]]))]
    for variant in ("persam", "persam-f"):
        target = target_of(shown, variant)  # type: ignore[arg-type]
        torch.testing.assert_close(target.direction, torch.tensor([0.5, 0.5]).sqrt())
        torch.testing.assert_close(target.embedding, torch.tensor([2.0, 1.0]))


# ---- SAM and SAM 2


def test_the_first_sam_is_asked_as_its_own_predictor_asks_it() -> None:
    from segment_anything import SamPredictor

    model = small_sam1()
    decoding, predictor = Sam1Clicks(model), SamPredictor(model)
    predictor.set_image(CAT)
    seen = decoding.see(CAT)
    torch.testing.assert_close(seen.features.embedding, predictor.features)
    clicks, around = PointPrompt(np.array([[200, 150], [20, 10]]), np.array([1, 0])), np.array([100, 40, 410, 280])
    asked = decoding.ask(seen, clicks)
    masks, scores, low = predictor.predict(clicks.points, clicks.labels, return_logits=True)
    np.testing.assert_allclose(asked.logits[1:], low, atol=1e-5)
    np.testing.assert_allclose(asked.scores[1:], scores, atol=1e-5)
    np.testing.assert_allclose(seen.placement.at_picture(asked.logits[None])[0, 1:], masks, atol=1e-5)
    again = decoding.ask(seen, clicks, around, asked.logits[1])
    masks, scores, low = predictor.predict(clicks.points, clicks.labels, around, low[:1], return_logits=True)
    np.testing.assert_allclose(again.logits[1:], low, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # the predictor's own transforms
def test_sam2_is_asked_as_its_own_predictor_asks_it(nano: Sam2Clicks) -> None:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor, seen = SAM2ImagePredictor(nano.tokens.model), nano.see(CAT)  # type: ignore[attr-defined]
    predictor._bb_feat_sizes = [(64, 64), (32, 32), (16, 16)]  # it knows only the official models' sizes
    predictor.set_image(CAT)
    theirs = predictor._features["image_embed"]  # of pixels that another library resized
    torch.testing.assert_close(seen.features.embedding, theirs, rtol=0.05, atol=0.2 * float(theirs.abs().max()))
    predictor._features = {"image_embed": seen.features.embedding, "high_res_feats": list(seen.features.fine)}
    clicks, around = PointPrompt(np.array([[200, 150], [20, 10]]), np.array([1, 0])), np.array([100, 40, 410, 280])
    for box in (None, around):
        asked = nano.ask(seen, clicks, box)
        masks, scores, low = predictor.predict(clicks.points, clicks.labels, box, return_logits=True)
        np.testing.assert_allclose(asked.scores[1:], scores, atol=1e-4)
        np.testing.assert_allclose(seen.placement.at_picture(asked.logits[None])[0, 1:], masks, atol=1e-3)
        again = nano.ask(seen, clicks, box, torch.from_numpy(low[0]))
        _, scores, _ = predictor.predict(clicks.points, clicks.labels, box, low[:1])
        np.testing.assert_allclose(again.scores[1:], scores, atol=1e-4)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_guidance_that_says_nothing_changes_nothing_and_leaves_the_decoder_as_it_was(kind: str, nano: Sam2Clicks) -> None:
    decoding = Sam1Clicks(small_sam1()) if kind == "sam" else nano
    seen, clicks = decoding.see(CAT), PointPrompt(np.array([[200, 150]]), np.array([1]))
    plain, transformer = decoding.ask(seen, clicks), decoding.mask_decoder.transformer
    places = seen.grid[0] * seen.grid[1]
    for silent in (Guidance(None, None), Guidance(None, torch.zeros(places))):
        torch.testing.assert_close(decoding.ask(seen, clicks, guidance=silent).logits, plain.logits, rtol=1e-4, atol=1e-4)
    drawn = Guidance(None, torch.linspace(0, 1, places))
    assert not torch.allclose(decoding.ask(seen, clicks, guidance=drawn).logits, plain.logits, atol=1e-4)
    assert decoding.mask_decoder.transformer is transformer
    with pytest.raises(ZeroDivisionError), guided(decoding.mask_decoder, drawn):
        1 / 0  # noqa: B018
    assert decoding.mask_decoder.transformer is transformer


def test_the_example_of_the_readme_finds_what_it_shows() -> None:
    page = (Path(__file__).parents[2] / "baselines/README.md").read_text(encoding="utf-8")
    section = page.partition("## PerSAM\n")[2].partition("\n## ")[0]
    room: dict[str, Any] = {"print": lambda *said: None}
    exec(section.partition("```python\n")[2].partition("```")[0], room)
    x, y = room["found"].clicks.points[0]
    assert room["mask"][y, x] and room["found"].answer.any()


@VARIANTS
def test_images_with_the_first_sam(variant: Variant) -> None:
    model = PerSam(preset(variant=variant, steps=FEW), Sam1Clicks(small_sam1()))
    out = model.segment(model.decoding.see(CAT[:200]), model.learn([model.look(CAT, HEAD.mask)]))
    assert out.answer.shape == (200, CAT.shape[1]) and len(out.steps) == 3
    assert (out.guidance is None) == (variant == "persam-f")
