"""What prompt generators share: annotations, VRP-SAM's sizes and checkpoints, which parameters are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from baselines.common.annotations import ANNOTATIONS, annotated
from baselines.common.encoders import frozen_backbone
from baselines.common.tuning import Tuning
from baselines.common.windows import seen_through, squared, support_window
from baselines.vrp_sam_network import VrpSam, VrpSamConfig, official_name, read_official
from icvos.errors import DataError, UserInputError
from icvos.models.backbones import build_backbone
from icvos.models.sam2 import build_sam2


@given(st.integers(0, 2**32 - 1), st.sampled_from(ANNOTATIONS))
@example(80, "scribble")  # an object of one pixel
def test_annotations_mark_what_is_meant(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 64), np.bool_)
    top, left = rng.integers(0, 40), rng.integers(0, 50)
    mask[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = True
    marked = annotated(mask, kind, np.random.default_rng(seed))
    np.testing.assert_array_equal(marked, annotated(mask, kind, np.random.default_rng(seed)))
    assert marked.any()
    assert (marked <= mask).all()  # the object is a rectangle: its box is no larger
    if kind in {"mask", "box"}:
        np.testing.assert_array_equal(marked, mask)
    if kind == "point":
        assert marked.sum() == min(20, mask.sum())
    assert not annotated(np.zeros_like(mask), kind, rng).any()


def test_an_unknown_annotation() -> None:
    with pytest.raises(UserInputError, match=r"scrible.*did you mean scribble"):
        annotated(np.ones((2, 2), np.bool_), "scrible", np.random.default_rng(0))


def test_parameter_counts_of_vrp_sam() -> None:
    for channels, count in ((1536, 1_592_064), (768, 1_395_456)):
        assert sum(value.numel() for value in VrpSam(VrpSamConfig(), channels).parameters()) == count


def test_a_released_checkpoint_loads_as_it_is(tmp_path: Path) -> None:
    model = VrpSam(VrpSamConfig(), 768)
    state = {f"module.{official_name(name)}": value for name, value in model.state_dict().items()}
    torch.save({**state, "module.layer2.0.weight": torch.zeros(3)}, tmp_path / "best_model.pt")
    content = read_official(tmp_path / "best_model.pt")
    assert content.options["backbone"] == "vgg16_bn"
    model.load_state_dict(dict(content.generator))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="not a checkpoint of VRP-SAM"):
        read_official(tmp_path / "other.pt")


def test_what_each_set_trains() -> None:
    sam, generator = build_sam2("sam2_nano", device="cpu"), torch.nn.Linear(2, 2)
    for trained, encoding, parts in (
        ({"generator"}, False, set()),
        ({"generator", "decoder"}, False, {"sam_mask_decoder"}),
        ({"generator", "decoder", "memory"}, True, {"sam_mask_decoder", "memory_attention", "memory_encoder"}),
    ):
        tuning = Tuning(trained)
        tuning.prepare(generator, sam, encoding=encoding)
        moving = {name for name, value in sam.named_parameters() if value.requires_grad}
        assert {name.partition(".")[0] for name in moving} == parts
        assert any("conv_s0" in name for name in moving) == encoding
        assert not any("pred_obj_score" in name or "iou_" in name for name in moving)
        assert set(tuning.changed(sam)) == moving
    with pytest.raises(UserInputError, match="did you mean decoder"):
        Tuning({"decodr"})
    with pytest.raises(UserInputError, match="adapters of what is trained itself"):
        Tuning({"lora", "decoder"})


def test_residual_backbones_are_dilated_as_the_papers_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserInputError) as told:
        frozen_backbone("resnet50_v2")
    path = Path(told.value.where)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(build_backbone("resnet50_v2").state_dict(), path)
    made = frozen_backbone("resnet50_v2")
    assert made.dilation == "later-blocks" and made.strides[4] == 8
    assert frozen_backbone("efficientnet_lite0").dilation == "none"
    with pytest.raises(UserInputError, match="did you mean resnet50"):
        frozen_backbone("resnet5")


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 120))
def test_a_window_holds_its_object_in_the_pictures_proportions(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((90, 120), np.bool_)
    top, left = rng.integers(0, 91 - height), rng.integers(0, 121 - width)
    mask[top : top + height, left : left + width] = True
    assert support_window(mask, "picture") is None
    window = support_window(mask, "object")
    if window is None:
        assert max(height / 90, width / 120) > 0.6
        return
    assert 0 <= window.top < window.bottom <= 90 and 0 <= window.left < window.right <= 120
    assert seen_through(mask, window).sum() == mask.sum()
    rows, columns = seen_through(mask, window).shape
    assert abs(rows / 90 - columns / 120) < 0.02 and rows >= 18


@given(st.integers(0, 2**32 - 1), st.integers(4, 700))
def test_no_pixel_of_a_mask_is_too_small_to_be_shown(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros(rng.integers(1, 600, 2), np.bool_)
    assert not squared(mask, side).any()
    place = tuple(int(rng.integers(size)) for size in mask.shape)
    mask[place] = True
    shown = squared(mask, side)
    assert shown.shape == (side, side) and shown.dtype == np.uint8 and shown.any()
    ys, xs = np.nonzero(shown)
    assert np.abs(ys.mean() / side - place[0] / mask.shape[0]) < 1 / side + 1 / mask.shape[0]
    assert np.abs(xs.mean() / side - place[1] / mask.shape[1]) < 1 / side + 1 / mask.shape[1]


def test_a_window_looks_at_the_largest_part() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[10:14, 10:14] = mask[70:80, 60:70] = True
    window = support_window(mask, "object")
    assert window == (65, 85, 55, 75)
    assert seen_through(mask, window).mean() == 0.25
    assert support_window(np.zeros((5, 5), np.bool_), "object") is None
    image = np.arange(300).reshape(10, 10, 3)
    assert seen_through(image, None) is image


@pytest.mark.parametrize(
    ("facts", "count", "named", "left_out"),
    [
        ({"data": "coco", "fold": None}, 80, "toothbrush", None),
        ({"data": "coco", "fold": 0}, 60, "bicycle", "person"),
        ({"data": "pascal", "fold": 3}, 15, "airplane", "tv"),
        ({"data": "voc_small+coco", "fold": None}, 80, "tv", None),
        ({"data": "mine"}, 0, None, "person"),
        ({}, 0, None, "person"),
    ],
)
def test_weights_say_what_they_were_trained_on(facts: dict[str, object], count: int, named: str | None, left_out: str | None) -> None:
    from baselines.common.generator_file import GeneratorFile, classes_trained_on, data_trained_on

    content = GeneratorFile("dcsam", {}, "sam2_nano", {}, facts=facts)
    found = classes_trained_on(content)
    assert (data_trained_on(content) == ("not told",)) == (count == 0)
    assert len(found) == len(set(found)) == count
    assert named is None or named in found
    assert left_out not in found


def test_a_base_learner_and_a_start_have_seen_their_classes() -> None:
    from baselines.common.generator_file import GeneratorFile, classes_trained_on, data_trained_on

    content = GeneratorFile("hdmnet", {"base_classes": [1, 18]}, "", {})
    assert classes_trained_on(content) == ("person", "dog")
    facts = {"data": "pascal", "fold": 0, "seen before": ["airplane", "tie"], "pictures of": "without-fold"}
    content = GeneratorFile("dcsam", {}, "sam2_nano", {}, facts=facts)
    assert {"airplane", "tie", "dog"} <= set(classes_trained_on(content)) and "bird" not in classes_trained_on(content)
    assert data_trained_on(content) == ("PASCAL VOC 2012 without the pictures of fold 0",)
