"""Heads on frozen features by themselves: sizes, names, pictures in squares."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import PARAMS
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from baselines.common.fitting import FITS, Fit, fitted_image, fitted_mask, fitted_size, unfitted
from baselines.common.levels import nearest_on_grid, soft_on_grid
from baselines.hdmnet_network import Hdmnet, HdmnetConfig
from baselines.pfenet_network import Pfenet, PfenetConfig, cells_of, preset
from icvos.errors import UserInputError

CHANNELS = {"resnet50": {2: 512, 3: 1024, 4: 2048}, "vgg16_bn": {2: 256, 3: 512, 4: 512}}
COCO_FOLD = tuple(range(1, 61))  # as many base classes as a fold leaves


def listed(method: str, variant: str) -> dict[str, Any]:
    """What the released code has, by name."""
    path = PARAMS / f"{method}_params.json"
    if not path.is_file():
        pytest.skip(f"no parameter list at {path}")
    found: dict[str, Any] = json.loads(path.read_text())[variant]
    return found


def count(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters() if value.requires_grad)


@pytest.mark.parametrize(("backbone", "trained"), [("resnet50", 10_817_034), ("vgg16_bn", 10_423_818)])
def test_pfenet_has_the_released_names_and_sizes(backbone: str, trained: int) -> None:
    with torch.device("meta"):
        model = Pfenet(PfenetConfig(), CHANNELS[backbone])
    assert count(model) == trained
    expected = [name for name in listed("pfenet", backbone)["state_dict_keys"] if not name[0].startswith("layer")]
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == dict(expected)


@pytest.mark.parametrize(
    ("variant", "backbone", "shots", "trained"),
    [
        ("coco_r50_1shot", "resnet50", 1, 4_161_734),
        ("coco_r50_5shot", "resnet50", 5, 4_161_761),
        ("coco_vgg_1shot", "vgg16_bn", 1, 3_768_518),
    ],
)
def test_hdmnet_has_the_released_names_and_sizes(variant: str, backbone: str, shots: int, trained: int) -> None:
    with torch.device("meta"):
        model = Hdmnet(HdmnetConfig(shots=shots, base_classes=COCO_FOLD), CHANNELS[backbone])
    _same_tensors(model, listed("hdmnet", variant), trained)


def _same_tensors(model: nn.Module, official: dict[str, Any], trained: int) -> None:
    assert count(model) == trained == official["trainable_total"]
    shapes = {entry["name"]: entry["shape"] for entry in official["trainable"]}
    assert {name: list(value.shape) for name, value in model.named_parameters() if value.requires_grad} == shapes
    frozen = {part: total for part, total in official["frozen_by_part"].items() if not part.startswith("layer")}
    assert frozen == {part: sum(value.numel() for value in model.get_submodule(part[:-1]).parameters()) for part in frozen}
    if "state_dict_keys" in official:
        names = {name: shape for name, shape in official["state_dict_keys"] if not name.startswith("layer")}
        assert {name: list(value.shape) for name, value in model.state_dict().items()} == names


def test_scales_of_the_pyramid() -> None:
    coco, pascal = PfenetConfig().bins, preset("pascal").bins
    assert [cells_of(bin_, (81, 81)) for bin_ in coco] == [(side, side) for side in (81, 40, 20, 10)]
    assert [cells_of(bin_, (60, 60)) for bin_ in pascal] == [(side, side) for side in (60, 30, 15, 8)]
    assert cells_of(0.125, (6, 4)) == (1, 1)
    with pytest.raises(UserInputError, match="did you mean release"):
        preset("relase")


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([473, 641, 320]), st.sampled_from(FITS))
def test_pictures_in_squares(height: int, width: int, side: int, fit: Fit) -> None:
    if fit == "padded to eights" and min(height, width) * side < 8 * max(height, width):
        return  # nothing would be left of the shorter side
    inside = fitted_size((height, width), side, fit)
    assert 1 <= min(inside) <= max(inside) <= side
    assert max(inside) == {"square": side, "padded": side, "padded to eights": side // 8 * 8}[fit]
    mask = np.ones((height, width), np.bool_)
    fitted = fitted_mask(mask, side, fit)
    assert fitted.shape == (side, side) and fitted[: inside[0], : inside[1]].all() and fitted.sum() == inside[0] * inside[1]
    image = fitted_image(np.full((height, width, 3), 7, np.uint8), side, fit)
    np.testing.assert_array_equal(image, 7 * fitted[..., None].repeat(3, 2))


@pytest.mark.parametrize("fit", FITS)
def test_what_is_read_off_a_square_lies_where_the_object_lay(fit: Fit) -> None:
    mask = np.zeros((120, 200), np.bool_)
    mask[30:70, 110:190] = True
    logits = torch.from_numpy(fitted_mask(mask, 161, fit)).float()[None, None] - 0.5
    found = unfitted(logits, (120, 200), fit)[0, 0].numpy() > 0
    assert found.shape == mask.shape and (found & mask).sum() > 0.94 * (found | mask).sum()


def test_small_objects_are_not_lost_on_a_grid() -> None:
    masks = torch.zeros(3, 1, 64, 64)
    masks[0, 0, 33, 35] = masks[1, 0, 10:50, 10:50] = 1
    for on_grid in (soft_on_grid, nearest_on_grid):
        on = on_grid(masks, (8, 8))
        assert on.shape == (3, 1, 8, 8) and on[0].sum() == on[0, 0, 4, 4] == 1 and on[1].sum() > 9 and on[2].sum() == 0
