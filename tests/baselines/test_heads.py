"""Heads on frozen features by themselves: sizes, names, pictures in squares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import PARAMS
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from baselines.amnet import METHOD as AMNET
from baselines.amnet_network import LEAST, Amnet, AmnetConfig, likeness
from baselines.amnet_network import preset as amnet
from baselines.common.augmentation import AUGMENTATIONS, augmentation, augmented
from baselines.common.base_learner import BaseMap, base_background, over_shots, shot_weights, style_distance
from baselines.common.fitting import FITS, Fit, fitted_image, fitted_mask, fitted_size, unfitted
from baselines.common.head_prompting import HeadMethod
from baselines.common.levels import Levels, nearest_on_grid, soft_on_grid
from baselines.hdmnet import METHOD as HDMNET
from baselines.hdmnet_network import Hdmnet, HdmnetConfig
from baselines.hdmnet_network import preset as hdmnet
from baselines.pfenet import METHOD as PFENET
from baselines.pfenet_network import Pfenet, PfenetConfig, cells_of, preset
from icvos.errors import DataError, UserInputError
from icvos.models.backbones import build_backbone

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


@pytest.mark.parametrize(
    ("variant", "backbone", "trained"), [("coco_r50_1shot", "resnet50", 6_941_581), ("coco_vgg_1shot", "vgg16_bn", 6_548_365)]
)
def test_amnet_has_the_released_names_and_sizes(variant: str, backbone: str, trained: int) -> None:
    with torch.device("meta"):
        model = Amnet(AmnetConfig(base_classes=COCO_FOLD), CHANNELS[backbone])
    _same_tensors(model, listed("amnet", variant), trained)
    with torch.device("meta"):
        released = Amnet(amnet("release", base_classes=COCO_FOLD), CHANNELS[backbone])
    assert {name for name, value in released.named_parameters() if not value.requires_grad} >= {f"part.{place}.parts" for place in range(3)}


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


# ---- the base learner


def test_the_class_that_is_asked_for_is_no_background() -> None:
    logits = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    chances = logits.softmax(1)
    torch.testing.assert_close(base_background(logits, None), chances[:, 1:].sum(1, keepdim=True))
    left = base_background(logits, torch.tensor([2, 0]))
    torch.testing.assert_close(left[0], (chances[0, 1:].sum(0) - chances[0, 2])[None])
    torch.testing.assert_close(left[1], chances[1, 1:].sum(0)[None])


@pytest.mark.parametrize(("base_map", "training", "dropped"), [("drop target", False, True), ("all", False, False), ("all", True, True)])
def test_when_it_is_dropped(base_map: BaseMap, training: bool, dropped: bool) -> None:
    torch.manual_seed(0)
    head = Hdmnet(hdmnet(base_map=base_map, base_classes=(3, 18, 44), width=8, parsed=8), {2: 4, 3: 6, 4: 8}).eval()
    assert head.targets([18, 1, 44]).tolist() == [2, 0, 3]
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., 8:20, 8:24] = 1
    levels = Levels(torch.rand(1, 4, 8, 8), torch.rand(1, 6, 8, 8), torch.rand(1, 8, 8, 8), torch.randn(1, 512, 8, 8))
    head.training = training
    with torch.no_grad():
        given, none = (head(levels, levels, masks, head.targets([id_])).prepared.base_map for id_ in (18, 1))
    assert torch.equal(given, none) != dropped and (given <= none).all()


def test_a_head_without_a_base_learner() -> None:
    head = Hdmnet(hdmnet("small", parsed=8, width=8), {2: 4, 3: 6, 4: 8}).eval()
    assert not any(name.startswith(("ppm.", "cls.", "base_learnear.", "cls_merge.")) for name in head.state_dict())
    assert head.targets([18]) is None
    masks = torch.ones(1, 1, 32, 32)
    levels = Levels(torch.rand(1, 4, 8, 8), torch.rand(1, 6, 4, 4), torch.rand(1, 8, 2, 2))
    with torch.no_grad():
        out = head(levels, levels, masks)
        torch.testing.assert_close(out.merged.maps, out.logits.softmax(1))  # to begin with
        for grid in (2, 3):
            finer = Hdmnet(hdmnet("small", parsed=8, width=8, grid=grid), {2: 4, 3: 6, 4: 8}).eval()
            assert finer(levels, levels, masks).on_grid().shape[-1] == {2: 8, 3: 4}[grid]


def test_shots_keep_their_weights_or_swap_them() -> None:
    torch.manual_seed(0)
    weigh, distances = shot_weights(3), torch.tensor([[0.3, 0.1, 0.2]])
    ordered = weigh(torch.tensor([[0.1, 0.2, 0.3]])[:, :, None, None]).flatten().softmax(0)
    own = over_shots(distances, weigh, ordered=False)
    torch.testing.assert_close(own, (ordered * torch.tensor([0.1, 0.2, 0.3])).sum()[None])
    torch.testing.assert_close(over_shots(distances, weigh, ordered=True), (ordered * distances[0]).sum()[None])
    torch.testing.assert_close(over_shots(distances, None, ordered=False), torch.tensor([0.2]))


# ---- released checkpoints


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("method", [PFENET, HDMNET, AMNET], ids=lambda method: method.name)
def test_a_released_checkpoint_loads_as_it_is(method: HeadMethod, prefix: str, tmp_path: Path) -> None:
    parts = method.parts()
    with torch.device("meta"):
        changes = {} if method is PFENET else {"base_classes": COCO_FOLD}
        empty = parts.network(parts.preset(**changes), CHANNELS["vgg16_bn"])
        backbone = build_backbone("vgg16_bn")
    state = {
        f"{prefix}{name}": torch.rand(value.shape).to(value.dtype)
        for name, value in {**backbone.state_dict(), **empty.state_dict()}.items()
    }
    path = tmp_path / "split2" / "best.pth"
    path.parent.mkdir()
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, path)
    content = method.read(path)
    assert content.options["backbone"] == "vgg16_bn" and set(content.backbone) == set(backbone.state_dict())
    head = method.build(content)
    assert all(torch.equal(value, state[f"{prefix}{name}"]) for name, value in head.state_dict().items())
    if method is not PFENET:
        assert len(content.options["base_classes"]) == 60 and 3 not in content.options["base_classes"]  # the third class is of fold 2
        nowhere = tmp_path / "best.pth"
        torch.save(state, nowhere)
        with pytest.raises(UserInputError, match="fold that is not told"):
            method.read(nowhere)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match="not a checkpoint of"):
        method.read(tmp_path / "other.pth")


def test_amnet_looks_at_the_mean_of_what_each_support_is_like() -> None:
    generator = torch.Generator().manual_seed(0)
    query, prototypes = torch.randn(2, 6, 4, 5, generator=generator), torch.randn(6, 6, generator=generator)
    alone = [likeness(query, prototypes.view(2, 3, 6)[:, shot]) for shot in range(3)]
    assert all((maps == 0).any() and (maps >= LEAST).any() for maps in alone)
    torch.testing.assert_close(likeness(query, prototypes), torch.stack(alone).mean(0))


def test_gradients_of_the_two_sides_of_amnet_do_not_mix() -> None:
    torch.manual_seed(0)
    head = Amnet(amnet("small", parsed=8, width=8), {2: 4, 3: 6, 4: 8})
    levels = Levels(torch.rand(2, 4, 16, 16), torch.rand(2, 6, 8, 8), torch.rand(2, 8, 4, 4))
    masks = torch.zeros(2, 1, 32, 32)
    masks[..., 8:20, 8:24] = 1
    judging = ("part.", "binary_cls.")
    for step in (4, 1):  # of the segmenter, with the adversarial loss in full; of the discriminator
        head.zero_grad()
        loss = head.losses(head(levels, levels, masks), masks[:, 0].to(torch.uint8), step)["loss"]
        loss.backward()
        moved = {name for name, value in head.named_parameters() if value.grad is not None}
        assert moved and all(name.startswith(judging) == bool(step % 2) for name in moved)


# ---- training


def test_schedules_treat_parameters_as_the_released_code_does() -> None:
    for name, scale, decayed in (
        ("transformer.mix_transformer.cls.4.weight", 1, True),
        ("down_query.0.weight", 10, True),
        ("part.0.q_fc.weight", 1, False),
        ("part.0.layer_norms.bias", 10, False),
        ("binary_cls.2.conv.0.weight", 10, False),
    ):
        assert Amnet.treatment(Amnet.__new__(Amnet), name) == (scale, decayed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmented_pictures(name: str) -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    mask = np.zeros((90, 120), np.bool_)
    mask[30:60, 40:90] = True
    image[mask] = 200
    left = []
    for seed in range(20):
        shot = augmented(image, mask, 97, AUGMENTATIONS[name], np.random.default_rng(seed))
        again = augmented(image, mask, 97, AUGMENTATIONS[name], np.random.default_rng(seed))
        np.testing.assert_array_equal(shot.image, again.image)
        assert shot.image.shape == (97, 97, 3) and shot.truth.shape == (97, 97) and set(np.unique(shot.truth)) <= {0, 1, 255}
        assert shot.image[shot.truth == 1].mean() > 170 and shot.image[shot.truth == 0].mean() < 30
        left.append((shot.truth == 1).sum())
    assert len(set(left)) > 10


def test_an_unknown_augmentation() -> None:
    assert augmentation("none") is None
    with pytest.raises(UserInputError, match="did you mean pfenet-coco"):
        augmentation("pfenet-cocoa")


# ---- levels of different grids


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize(("pixels", "batch"), [(73, 2), (417, 1), (473, 1)])
@pytest.mark.parametrize(("network", "options"), [(Hdmnet, hdmnet), (Amnet, amnet)], ids=["hdmnet", "amnet"])
def test_the_style_distance_is_that_of_maps_brought_to_level_3(network: Any, options: Any, pixels: int, batch: int, shots: int) -> None:
    torch.manual_seed(pixels + shots)
    fine, coarse = (pixels - 1) // 4 + 1, (pixels - 1) // 8 + 1
    head = network(options("release", shots=shots, parsed=8, width=8, base_map="none"), {2: 6, 3: 6, 4: 6}).eval()
    query, supports = (
        Levels(torch.randn(count, 6, fine, fine), *(torch.randn(count, 6, coarse, coarse) for _ in range(2)))
        for count in (batch, batch * shots)
    )
    masks = (torch.rand(batch, shots, pixels, pixels) > 0.5).float()

    def at_level_3(levels: Levels) -> Levels:
        resized = functional.interpolate(levels.level2, size=(coarse, coarse), mode="bilinear", align_corners=True)
        return levels._replace(level2=resized)

    with torch.no_grad():
        found = head.prepared(query, supports, masks, None).distance
        beforehand = head.prepared(at_level_3(query), at_level_3(supports), masks, None).distance
        own_grid = over_shots(style_distance(query.level2, supports.level2), getattr(head, "kshot_rw", None), ordered=True)
    assert torch.equal(found, beforehand)
    assert not torch.allclose(found, own_grid, rtol=1e-3)
