"""Clips of one frame: masks are their own answers, and the first SAM answers clicks and boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch
from segment_anything import SamPredictor
from skimage import data
from small_sam import small_sam1

from icvos.errors import DataError, PluginError, UserInputError
from icvos.propagate.chosen import ChosenSam
from icvos.propagate.sam1 import Sam1Stills
from icvos.registry import load_method
from icvos.types import BoxPrompt, Compute, Image, Mask, MaskPrompt, PointPrompt, Prompt, TokenPrompt

CAT: Image = data.cat()
SIZE = CAT.shape[0], CAT.shape[1]
ONE = PointPrompt(np.array([[200, 150]]), np.array([1]))
TWO = PointPrompt(np.array([[200, 150], [20.5, 10]]), np.array([1, 0]))
BOX = BoxPrompt(np.array([100, 40, 410, 280], np.float32))


def spots(seed: int) -> Mask:
    """A mask that no network would draw."""
    return np.random.default_rng(seed).random(SIZE) > 0.5


# ---- masks


@pytest.mark.parametrize("sam", ["sam2_nano", "sam_vit_b"])
def test_a_mask_is_its_own_answer_on_a_single_image(sam: str) -> None:
    chosen = ChosenSam(Compute(sam=sam, weights="untrained", device="cpu"))
    if sam == "sam_vit_b":
        chosen.__dict__["propagator"] = Sam1Stills(small_sam1())  # the same classes, smaller
    prompts: list[Prompt] = [MaskPrompt(spots(0)), BOX, MaskPrompt(np.zeros(SIZE, np.bool_)), MaskPrompt(spots(1)), TWO]
    (masks,) = chosen.propagate([CAT], prompts)
    np.testing.assert_array_equal(masks[0], spots(0))
    np.testing.assert_array_equal(masks[3], spots(1))
    (alone,) = chosen.propagator.propagate([CAT], [BOX, TWO])
    np.testing.assert_array_equal(masks[1], alone[0])
    np.testing.assert_array_equal(masks[4], alone[1])
    assert not masks[2].any()
    assert [(place, finding.code) for place, finding in chosen.take_findings()] == [(2, "empty-prompt")]
    assert chosen.take_findings() == []


def test_on_a_clip_it_is_what_sam_2_remembers_of_it() -> None:
    chosen = ChosenSam(Compute(weights="untrained", device="cpu"))
    first, _ = chosen.propagate([CAT, CAT], [MaskPrompt(spots(0))])
    assert not np.array_equal(first[0], spots(0))
    with pytest.raises(DataError, match="no frames"):
        list(chosen.propagate([], [BOX]))
    with pytest.raises(PluginError, match="does not fit its frame"):
        list(chosen.propagate([CAT], [MaskPrompt(spots(0)[1:])]))


# ---- the first SAM


def test_the_first_sam_is_asked_as_its_own_predictor_asks_it() -> None:
    model = small_sam1()
    predictor = SamPredictor(model)
    predictor.set_image(CAT)
    corners = np.array([100, 40, 410, 280])
    three, claims, _ = predictor.predict(ONE.points, ONE.labels)
    expected = [
        three[claims.argmax()],
        predictor.predict(TWO.points, TWO.labels, multimask_output=False)[0][0],
        predictor.predict(box=corners, multimask_output=False)[0][0],
        predictor.predict(TWO.points, TWO.labels, corners, multimask_output=False)[0][0],
    ]
    (masks,) = Sam1Stills(model).propagate([CAT], [ONE, TWO, BOX, BoxPrompt(BOX.box, TWO)])
    assert len({mask.tobytes() for mask in masks}) > 2
    for mask, right in zip(masks, expected, strict=True):
        assert mask.dtype == np.bool_ and mask.shape == SIZE and (mask == right).mean() > 0.9999  # clicks in half the precision


def test_what_the_first_sam_cannot_do() -> None:
    stills = Sam1Stills(small_sam1())
    with pytest.raises(UserInputError, match="the first SAM follows nothing: cpu: found a clip of several frames"):
        list(stills.propagate([CAT, CAT], [BOX]))
    with pytest.raises(DataError, match="no frames"):
        list(stills.propagate([], [BOX]))
    with pytest.raises(PluginError, match=r"a prompt that the first SAM does not take.*TokenPrompt"):
        list(stills.propagate([CAT], [TokenPrompt(np.zeros((2, 256), np.float32))]))
    with pytest.raises(PluginError, match="lies off the image"):
        list(stills.propagate([CAT], [PointPrompt(np.array([[9999, 1]]), np.array([1]))]))
    with pytest.raises(UserInputError, match="choose a SAM 2"):
        stills.propagate_from([CAT], [[(CAT, spots(0))]])
    assert list(stills.propagate([CAT], [])) == [()] and stills.take_findings() == [] and stills.warm_up() > 0


@pytest.mark.parametrize("name", ["dcsam", "vrp_sam"])
def test_a_generator_on_the_first_sam_gives_the_mask_that_it_was_trained_to_give(name: str, tmp_path: Path) -> None:
    from baselines.common.generator_file import GeneratorFile, write_generator
    from baselines.common.prompting import GeneratedPrompts
    from baselines.vrp_sam import METHOD as VRP_SAM
    from dcsam.method import METHOD as DC_SAM

    method = {"dcsam": DC_SAM, "vrp_sam": VRP_SAM}[name]
    parts = method.parts()
    changes = {"sam": "sam"} if name == "dcsam" else {}
    config = type(parts.config)(**{**asdict(parts.config), "backbone": "efficientnet_lite0", "image_size": 96, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = parts.network(config, 152)
    path = tmp_path / "generator.safetensors"
    write_generator(path, GeneratorFile(name, asdict(config), "sam_vit_b", network.state_dict(), facts={"shots": 1}))
    method_on_sam = load_method(name, Compute(sam="sam_vit_b", weights=str(path), device="cpu"))
    card = method_on_sam.card
    assert card.hand_over == "mask" and card.summary.endswith("the mask they give on frame 0 to SAM") and "sam_vit_b" in card.weights
    segmenter: Any = method_on_sam.segmenter
    prompts = segmenter.prompter
    assert isinstance(prompts, GeneratedPrompts)
    prompts.sam.__dict__["propagator"] = Sam1Stills(small_sam1())
    support = _Support()
    (mask,) = segmenter.segment([CAT], [support])
    ready = prompts._ready
    seen = ready.encoders.see([CAT])
    shown = torch.from_numpy(np.asarray(_squared(support.read_mask(), 96)))[None, None].float()
    with torch.inference_mode():
        out = network.eval()(seen, seen, shown, ready.encoders.deepen, ready.encoders.decoding)
    right = (out.enlarged(SIZE)[0] > 0).numpy()
    assert 0.1 < right.mean() < 0.9 and (mask == right).mean() > 0.999  # the support is cut out along its mask


def _squared(mask: Mask, side: int) -> Mask:
    from baselines.common.windows import squared

    return squared(mask, side)


class _Support:
    """The whole cat, which is seen through no window."""

    def read_image(self) -> Image:
        return CAT

    def read_mask(self) -> Mask:
        mask = np.zeros(SIZE, np.bool_)
        mask[5:-5, 5:-5] = True
        return mask


def test_where_the_first_sam_is_refused(icvos: Callable[..., Any]) -> None:
    said = icvos("run", "--method", "persam", "--sam", "sam_vit_h")
    assert said.code == 2 and "the first SAM follows nothing: --sam sam_vit_h: found clips" in said.err
    with pytest.raises(UserInputError, match="choose a SAM 2 with --sam"):
        load_method("naive-sam2", Compute(sam="sam_vit_h"))
    with pytest.raises(UserInputError, match="unknown SAM: sam_vit_g; did you mean sam_vit_"):
        load_method("persam", Compute(sam="sam_vit_g"))
