"""SAM 2 and SAM by name: what is built, from which weights, where it computes, and what is said of names that nobody knows."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import save_file
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from icvos.errors import DataError, UserInputError
from icvos.models import SAM2_NAMES, build_sam2
from icvos.models.compute import device_named, dtype_named

SMALL = ("sam2_nano", "sam2_hiera_t", "sam2_hiera_s", "sam2.1_hiera_t", "sam2.1_hiera_s")
MILLIONS = {"sam2_hiera_t": 38.9, "sam2_hiera_s": 46.0, "sam2.1_hiera_t": 38.9, "sam2.1_hiera_s": 46.0}  # as their authors count


def untrained(name: str | Path = "sam2_nano", seed: int = 0, **options: object) -> SAM2Base:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_sam2(name, "untrained", "cpu", **options)  # type: ignore[arg-type]


def official_config(name: str) -> Path:
    return Path(str(files("sam2"))) / "configs" / name.partition("_")[0] / f"{name}.yaml"


def size_of(model: torch.nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.fixture(scope="module")
def nano() -> SAM2Base:
    return untrained()


# ---- by name


@pytest.mark.parametrize("name", SMALL)
def test_a_model_is_built_by_its_name(name: str) -> None:
    model = untrained(name)
    assert type(model) is SAM2Base
    assert not model.training and not any(module.training for module in model.modules())
    assert not any(value.requires_grad for value in model.parameters())
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert {value.device.type for value in model.parameters()} == {"cpu"}
    assert model.compute_dtype == torch.float32
    assert model.image_size == (256 if name == "sam2_nano" else 1024)
    if name in MILLIONS:
        assert size_of(model) == pytest.approx(MILLIONS[name] * 1e6, rel=0.01)


def test_the_nano_model_is_small(nano: SAM2Base) -> None:
    assert 5.5e6 < size_of(nano) < 5.9e6


@pytest.mark.parametrize("name", [name for name in SAM2_NAMES if name not in SMALL])
def test_larger_models_have_a_configuration(name: str) -> None:
    assert "image_encoder:" in official_config(name).read_text(encoding="utf-8")


def test_the_class_and_its_options_are_the_caller_s() -> None:
    model = untrained("sam2_nano", cls=SAM2VideoPredictor, fill_hole_area=8, image_size=128)
    assert type(model) is SAM2VideoPredictor
    assert (model.fill_hole_area, model.image_size) == (8, 128)
    assert untrained("sam2_hiera_t", cls=SAM2VideoPredictor, fill_hole_area=8).fill_hole_area == 8


@pytest.mark.parametrize("name", ["sam2_nano", "sam2.1_hiera_t"])
def test_post_processing_is_the_official_predictor_s(name: str) -> None:
    model = untrained(name)
    assert model.binarize_mask_from_pts_for_mem_enc
    decoder = model.sam_mask_decoder
    assert decoder.dynamic_multimask_via_stability
    assert (decoder.dynamic_multimask_stability_delta, decoder.dynamic_multimask_stability_thresh) == (0.05, 0.98)


def test_half_precision_is_what_it_computes_in_not_what_it_is_stored_in() -> None:
    model = build_sam2("sam2_nano", "untrained", "cpu", torch.bfloat16)
    assert model.compute_dtype == torch.bfloat16
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_hydra_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = GlobalHydra.instance().hydra  # the sam2 package makes one when it is imported
    untrained("sam2_hiera_t")
    assert GlobalHydra.instance().hydra is before
    monkeypatch.setattr(GlobalHydra.instance(), "hydra", None)  # as in a program that has cleared it for its own use
    untrained("sam2_hiera_t")
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sam2_nani", r"unknown SAM 2: sam2_nani; did you mean sam2_nano"),
        ("sam2.1_hiera_tiny", r"did you mean .*sam2\.1_hiera_t"),
        ("vgg", r"known: sam2\.1_hiera_b\+, .*sam2_nano"),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        build_sam2(name, "untrained", "cpu")


# ---- by a configuration of one's own


def test_a_configuration_of_ones_own_is_read_as_the_official_ones(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    shutil.copy(official_config("sam2.1_hiera_t"), mine)
    by_name, by_file = untrained("sam2.1_hiera_t"), untrained(mine)
    expected = by_name.state_dict()
    assert by_file.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in by_file.state_dict().items())
    settings = {name: value for name, value in vars(by_name).items() if isinstance(value, bool | int | float | str)}
    assert settings == {name: vars(by_file)[name] for name in settings}
    mine.write_text(mine.read_text().replace("image_size: 1024", "image_size: 512"))
    assert untrained(mine).image_size == 512
    with pytest.raises(UserInputError, match=r"no weights: .*mine\.yaml: expected a file for a configuration of your own"):
        build_sam2(mine, device="cpu")


BROKEN = {
    "not YAML": "model: {",
    "no model section": "a: 1\n",
    "a list": "- 1\n- 2\n",
    "a number": "3\n",
    "empty": "",
    "empty section": "model: {}\n",
    "a section that is none": "model: 3\n",
    "unknown options": "model: {colour: red}\n",
    "no such class": "model: {image_encoder: {_target_: nowhere.Encoder}}\n",
    "a class that is no encoder": "model: {image_encoder: {_target_: collections.OrderedDict}, memory_attention: 1, memory_encoder: 2}\n",
    "a reference to nothing": "model: {image_size: '${side}'}\n",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_configuration_is_told_in_a_sentence(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BROKEN[fault])
    with pytest.raises(DataError) as caught:
        build_sam2(path, "untrained", "cpu")
    assert str(caught.value).startswith(f"cannot read the configuration: {path}: found ")
    assert "a `model` section" in str(caught.value) and "\n" not in str(caught.value)


def test_a_configuration_that_is_no_text_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot read the configuration"):
        build_sam2(path, "untrained", "cpu")


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no such configuration: .*none\.yml: expected a YAML file or one of sam2_nano"):
        build_sam2(tmp_path / "none.yml", "untrained", "cpu")


def test_a_class_that_is_no_sam2_is_refused() -> None:
    with pytest.raises(DataError, match="found SimpleNamespace, expected a SAM2Base"):
        build_sam2("sam2_hiera_t", "untrained", "cpu", cls=SimpleNamespace)  # type: ignore[arg-type]


# ---- weights


def save_pt(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor], Path], Path]] = {
    "plain": lambda state, folder: save_pt(state, folder / "w.pt"),
    "under model": lambda state, folder: save_pt({"model": state}, folder / "w.pt"),  # type: ignore[dict-item]
    "under state_dict": lambda state, folder: save_pt({"state_dict": state, "epoch": 3}, folder / "w.pth"),  # type: ignore[dict-item]
    "of a parallel module": lambda state, folder: save_pt({f"module.{name}": value for name, value in state.items()}, folder / "w.pt"),
    "safetensors": lambda state, folder: (save_file(state, folder / "w.safetensors"), folder / "w.safetensors")[1],
}


@pytest.mark.parametrize("form", WRAPPINGS)
def test_weights_come_in_every_usual_wrapping(form: str, nano: SAM2Base, tmp_path: Path) -> None:
    state = {name: value.clone().contiguous() for name, value in nano.state_dict().items()}
    loaded = build_sam2("sam2_nano", WRAPPINGS[form](state, tmp_path), "cpu").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_half_precision_weights_are_widened(nano: SAM2Base, tmp_path: Path) -> None:
    state = {name: value.half() if value.is_floating_point() else value.clone() for name, value in nano.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    model = build_sam2("sam2_nano", str(tmp_path / "w.safetensors"), "cpu")
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in model.parameters())
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in model.state_dict().items())


def test_weights_of_another_architecture_are_counted_and_named(nano: SAM2Base, tmp_path: Path) -> None:
    file = save_pt(dict(nano.state_dict()), tmp_path / "nano.pt")
    with pytest.raises(UserInputError) as caught:
        build_sam2("sam2_hiera_t", file, "cpu")
    model = untrained("sam2_hiera_t").state_dict()
    theirs = nano.state_dict()
    said = str(caught.value)
    assert said.startswith(f"weights of another architecture: {file}: found {len(model.keys() - theirs.keys())} missing (")
    assert f"{len(theirs.keys() - model.keys())} unknown (" in said and "of another shape (" in said
    assert said.endswith(f"expected the {len(model)} tensors of this model; choose the model they belong to.")
    assert len(said) < 800


def test_a_tensor_that_is_missing_or_strange_or_misshapen_is_named(nano: SAM2Base, tmp_path: Path) -> None:
    state = dict(nano.state_dict())
    del state["no_mem_embed"]
    state["stranger"] = torch.zeros(2)
    state["maskmem_tpos_enc"] = torch.zeros(6, 1, 1, 64)
    with pytest.raises(UserInputError) as caught:
        build_sam2("sam2_nano", save_pt(state, tmp_path / "w.pt"), "cpu")
    shape = "1 of another shape (maskmem_tpos_enc 6x1x1x64 for 7x1x1x64)"
    assert caught.value.found == f"1 missing (no_mem_embed), 1 unknown (stranger), {shape}"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_tensor_that_is_not_finite_is_named(value: float, nano: SAM2Base, tmp_path: Path) -> None:
    state = {**nano.state_dict(), "no_mem_embed": torch.full((1, 1, 128), value)}
    with pytest.raises(DataError, match=r"weights that are not numbers: .*found 1 with NaN or infinity \(no_mem_embed\)"):
        build_sam2("sam2_nano", save_pt(state, tmp_path / "w.pt"), "cpu")


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no such weights: .*none\.pt: found nothing"):
        build_sam2("sam2_nano", tmp_path / "none.pt", "cpu")


# ---- devices and precisions


def test_devices_have_names() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("name", "words"), [("gpu", "did you mean cpu"), ("CUDA:0", "unknown device: CUDA:0"), ("cuda:x", "did you mean cuda")]
)
def test_an_unknown_device_is_met_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        device_named(name)


@pytest.mark.parametrize("name", ["cpu:", "cuda:", "mps:"])
def test_a_device_with_an_empty_number_is_refused(name: str) -> None:
    with pytest.raises(UserInputError):
        device_named(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(UserInputError) as caught:
        build_sam2("sam2_nano", "untrained", name)
    assert str(caught.value) == f"no such GPU: --device {name}: found no CUDA device; choose another, or --device cpu."


def test_precisions_have_names() -> None:
    assert (dtype_named("fp32"), dtype_named("bf16")) == (torch.float32, torch.bfloat16)
    with pytest.raises(UserInputError, match="unknown precision: fp16; did you mean"):
        dtype_named("fp16")


# ---- SAM, the first


def test_sam_is_built_by_its_name() -> None:
    pytest.importorskip("segment_anything", reason="segment-anything is not installed")
    from icvos.models import build_sam

    model = build_sam("sam_vit_b", "untrained", "cpu")
    assert size_of(model) == pytest.approx(91e6, rel=0.04)
    assert not model.training and not any(value.requires_grad for value in model.parameters())
    with pytest.raises(UserInputError, match="unknown SAM: sam_vit_x; did you mean sam_vit_"):
        build_sam("sam_vit_x", "untrained", "cpu")
