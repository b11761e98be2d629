"""`icvos train` and `icvos run` with what came out, on toy data; every refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

for package in ("torch", "sam2", "accelerate", "peft"):
    pytest.importorskip(package, reason=f"{package} is not installed")

SMALL = ("--device", "cpu", "--workers", 0, "--batch", 2, "--set", "queries=3")


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many pictures of blue cats and red dogs."""
    root, rng = tmp_path_factory.mktemp("voc"), np.random.default_rng(0)
    (root / "JPEGImages").mkdir()
    (root / "SegmentationClass").mkdir()
    for number in range(150):
        values = np.zeros((64, 80), np.uint8)
        image = rng.integers(90, 160, (64, 80, 3), np.uint8)
        for category, colour in ((8, (250, 30, 30)), (12, (30, 30, 250))):
            x, y = int(rng.integers(15, 65)), int(rng.integers(15, 49))
            cv2.ellipse(values, (x, y), (14, 9), 0, 0, 360, category, -1)
            cv2.ellipse(image, (x, y), (14, 9), 0, 0, 360, colour, -1)
        cv2.imwrite(str(root / "JPEGImages" / f"{number:03d}.jpg"), image)
        Image.fromarray(values).save(root / "SegmentationClass" / f"{number:03d}.png")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("method", ["dcsam", "vrp_sam"])
def test_trained_weights_run(method: str, voc: Path, tmp_path: Path, icvos: Callable[..., Any], toy_release: Path) -> None:
    words = ("train", "--method", method, "--data", f"voc_small={voc}", "--out", tmp_path / "out", "--cache", 0.5, "--validate", 2, *SMALL)
    said = icvos(*words, "--steps", 2, "--json")
    assert said.code == 0, said
    answer = json.loads(said.out)
    assert answer["validation"]["episodes"] == 2
    weights = (tmp_path / "out/generator.safetensors").read_bytes()
    assert icvos(*words, "--steps", 2).code == 0  # nothing is left to do
    assert (tmp_path / "out/generator.safetensors").read_bytes() == weights
    said = icvos(*words, "--steps", 3)
    assert said.code == 2 and "steps 2 (now 3)" in said.err
    for name in (method, f"{method}-mask"):
        run = ("run", "--method", name, "--benchmark", toy_release, "--out", tmp_path / "runs", "--limit", 1)
        said = icvos(*run, "--weights", answer["weights"], "--json")
        assert said.code == 0, said
        assert json.loads(said.out)["masks"] > 0
    other = "vrp_sam" if method == "dcsam" else "dcsam"
    said = icvos("run", "--method", other, "--benchmark", toy_release, "--out", tmp_path / "no", "--weights", answer["weights"])
    assert said.code == 2 and "weights of another method" in said.err


SMALL_HEAD = ("--preset", "small", "--set", "image_size=96", "--set", "width=16", "--device", "cpu", "--workers", 0, "--batch", 2)


@pytest.mark.parametrize("method", ["pfenet", "hdmnet", "amnet"])
def test_trained_heads_run(method: str, voc: Path, tmp_path: Path, icvos: Callable[..., Any], toy_release: Path) -> None:
    words = ("train", "--method", method, "--data", f"voc_small={voc}", "--cache", 0.5, "--validate", 2, *SMALL_HEAD)
    said = icvos(*words, "--out", tmp_path / "out", "--steps", 3, "--json")
    assert said.code == 0, said
    answer = json.loads(said.out)
    assert answer["validation"]["episodes"] == 2
    lines = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 3 and np.isfinite(lines[-1]["loss"])
    said = icvos(*words, "--out", tmp_path / "out", "--steps", 4)
    assert said.code == 2 and "steps 3 (now 4)" in said.err
    start = ("--start", answer["weights"], "--out", tmp_path / "on", "--steps", 1)
    said = icvos(*words, *start)
    assert said.code == 0, said
    said = icvos(*words, *start, "--set", "grid=2", "--out", tmp_path / "no")
    assert said.code == 2 and "grid 3 (now 2)" in said.err
    run = ("run", "--method", method, "--benchmark", toy_release, "--out", tmp_path / "runs", "--limit", 1)
    said = icvos(*run, "--weights", answer["weights"], "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["masks"] > 0
    other = "hdmnet" if method == "pfenet" else "pfenet"
    said = icvos("run", "--method", other, "--benchmark", toy_release, "--out", tmp_path / "no", "--weights", answer["weights"])
    assert said.code == 2 and "weights of another method" in said.err


def test_a_fold_is_left_out_and_its_pictures_too_if_asked(tmp_path: Path, icvos: Callable[..., Any]) -> None:
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    for category in (1, 2, 8, 9):  # airplanes and bicycles, cats and chairs
        for number in range(4):
            values = np.zeros((64, 80), np.uint8)
            values[4:60, 4 + number : 70] = category
            Image.fromarray(values).save(root / "SegmentationClassAug" / f"{category}_{number}.png")
            cv2.imwrite(str(root / "JPEGImages" / f"{category}_{number}.jpg"), np.repeat(20 * values[..., None], 3, 2))
    words = ("train", "--method", "pfenet", "--data", f"pascal={root}", *SMALL_HEAD, "--steps", 1)
    out = tmp_path / "out"
    said = icvos(*words, "--fold", 0, "--pictures", "without-fold", "--out", out)
    assert said.code == 0, said
    again = icvos(*words, "--fold", 0, "--out", out)
    assert again.code == 2 and "pictures of" in again.err
    from baselines.common.prompting import facts_of
    from baselines.pfenet import METHOD
    from icvos.types import Compute

    facts = facts_of(METHOD, Compute(weights=str(out / "generator.safetensors")))
    assert facts["training_data"][0] == "PASCAL VOC 2012 without the pictures of fold 0"
    asked = ("fewshot", "--benchmark", "pascal5i", "--pascal", root, "--episodes", 2, "--allow-missing", "--method", "pfenet")
    asked = (*asked, "--weights", out / "generator.safetensors", "--releases", tmp_path / "releases", "--out", tmp_path / "runs")
    assert icvos(*asked, "--fold", 0).code == 0
    refused = icvos(*asked, "--fold", 1)
    assert refused.code == 2 and "trained on classes of the fold" in refused.err
    said = icvos(*words, "--pictures", "without-fold", "--out", tmp_path / "no")
    assert said.code == 2 and "no fold to be left out" in said.err


def test_heads_on_augmented_pictures(voc: Path, tmp_path: Path, icvos: Callable[..., Any]) -> None:
    words = ("train", "--method", "pfenet", "--data", f"voc_small={voc}", *SMALL_HEAD, "--schedule", "pfenet-pascal", "--steps", 1)
    said = icvos(*words, "--set", "fit=padded", "--out", tmp_path / "out")
    assert said.code == 0, said
    (rate,) = [json.loads(line)["rate"] for line in (tmp_path / "out/log.jsonl").read_text().splitlines()[1:]]
    assert rate == 0.025
    said = icvos(*words, "--cache", 1, "--out", tmp_path / "no")
    assert said.code == 2 and "leave --cache" in said.err
    said = icvos(*words, "--augment", "pfenet-cocoa", "--out", tmp_path / "no")
    assert said.code == 2 and "did you mean pfenet-coco" in said.err


def test_what_is_embedded_is_named_and_what_is_not_is_counted(
    toy_release: Path, tmp_path: Path, icvos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICVOS_WEIGHTS", str(tmp_path / "weights"))
    words = ("run", "--method", "vrp_sam", "--benchmark", toy_release, "--out", tmp_path / "runs", "--limit", 1)
    said = icvos(*words)
    assert said.code == 0 and "vrp_sam_nano: small weights that come along" in said.err, said
    assert "small weights" not in icvos(*words, "--json").err
    assert json.loads(icvos(*words, "--dry-run", "--json").out)["download_bytes"] == 0
    for more in ((), ("--dry-run",)):
        said = icvos(*words, "--sam", "sam2.1_hiera_t", *more)
        assert said.code == 2 and "trained with another SAM" in said.err and "--sam sam2_nano" in said.err, said
    larger = icvos("run", "--method", "naive-sam2", *words[3:], "--sam", "sam2.1_hiera_t", "--dry-run", "--json")
    assert json.loads(larger.out)["download_bytes"] == 156_008_466


def test_the_tube_stage_begins_with_the_image_stage(voc: Path, tmp_path: Path, icvos: Callable[..., Any]) -> None:
    words = ("train", "--method", "dcsam", "--data", f"voc_small={voc}", *SMALL)
    said = icvos(*words, "--steps", 1, "--out", tmp_path / "image")
    assert said.code == 0, said
    import torch

    from baselines.common.generator_file import read_generator

    start = tmp_path / "image/generator.safetensors"
    tube = (*words, "--stage", "tube", "--start", start, "--steps", 1, "--rate", 1e-3)
    for sets in ("generator,decoder,memory", "generator,lora"):
        said = icvos(*tube, "--train", sets, "--out", tmp_path / sets)
        assert said.code == 0, said
        before, after = read_generator(start, "dcsam"), read_generator(tmp_path / sets / "generator.safetensors", "dcsam")
        assert any(not torch.equal(value, after.generator[name]) for name, value in before.generator.items())
        parts = {name.partition(".")[0] for name in after.sam_state}
        assert parts == {"sam_mask_decoder", "memory_attention", *(["memory_encoder"] if "memory" in sets else [])}
    said = icvos(*tube, "--preset", "paper", "--out", tmp_path / "no")
    assert said.code == 2 and "mask_gain 10.0 (now 1.0)" in said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--method", "dcsm", "--steps", 1), "did you mean dcsam"),
        (
            (
                "--method",
                "dcsam",
            ),
            "no length of training",
        ),
        (("--method", "dcsam", "--schedule", "ic-voss"), "did you mean ic-vos"),
        (("--method", "dcsam", "--steps", 1, "--preset", "realease"), "did you mean release"),
        (("--method", "dcsam", "--steps", 1, "--set", "queris=3"), "did you mean queries"),
        (("--method", "vrp_sam", "--steps", 1, "--set", "heads"), "OPTION=VALUE"),
        (("--method", "dcsam", "--steps", 1, "--backbone", "resnet5"), "did you mean resnet50"),
        (("--method", "dcsam", "--steps", 1, "--train", "decodr"), "did you mean decoder"),
        (("--method", "dcsam", "--steps", 1, "--train", "lora,memory"), "train lora alone"),
        (("--method", "dcsam", "--steps", 1, "--fold", 1), "folds are of COCO's 80 or PASCAL's 20"),
        (("--method", "vrp_sam", "--steps", 1, "--stage", "tube"), "no tube stage"),
        (("--method", "dcsam", "--steps", 1, "--stage", "tub"), "did you mean tube"),
        (("--method", "dcsam", "--steps", 1, "--annotation", "scrible"), "did you mean scribble"),
        (("--method", "dcsam", "--steps", 1, "--shots", 200), "no class with enough pictures"),
        (("--method", "dcsam", "--steps", 1, "--shots", 20, "--validate", 2), "leave --validate"),
        (("--method", "dcsam", "--steps", 1, "--start", "nothing.safetensors"), "no such file of weights"),
        (("--method", "dcsam", "--steps", 1, "--augment", "hdmnet-coco"), "leave --augment"),
        (("--method", "dcsam", "--steps", 1, "--optimizer", "sdg"), "did you mean sgd"),
        (("--method", "hdmnet", "--steps", 1), "no base learner"),
        (("--method", "hdmnet", "--steps", 1, "--preset", "smal"), "did you mean small"),
        (("--method", "hdmnet", "--steps", 1, "--preset", "small", "--shots", 2), "--set shots=2 as well"),
        (("--method", "pfenet", "--steps", 1, "--preset", "small", "--set", "widht=64"), "did you mean width"),
        (("--method", "pfenet", "--steps", 1, "--stage", "tube"), "no tube stage"),
        (("--method", "pfenet", "--steps", 1, "--train", "decoder"), "trains nothing of SAM 2"),
        (("--method", "pfenet", "--steps", 1, "--backbone", "dinov2_s14"), "a backbone without levels 2 to 4"),
    ],
)
def test_refusals(words: tuple[Any, ...], expected: str, voc: Path, tmp_path: Path, icvos: Callable[..., Any]) -> None:
    said = icvos("train", "--data", f"voc_small={voc}", "--out", tmp_path / "out", "--device", "cpu", "--workers", 0, *words)
    assert said.code in {2, 3} and expected in said.err, said
    assert not (tmp_path / "out/generator.safetensors").exists()


def test_help_and_refusals_name_the_presets_that_there_are(voc: Path, tmp_path: Path, icvos: Callable[..., Any]) -> None:
    from baselines import amnet, amnet_network, hdmnet, hdmnet_network, pfenet, pfenet_network

    for method, network in ((pfenet, pfenet_network), (hdmnet, hdmnet_network), (amnet, amnet_network)):
        assert list(method.METHOD.presets) == list(network.PRESETS)
    told = " ".join(icvos("train", "--help").out.split())
    assert "dcsam: default, paper, release; vrp_sam: default;" in told
    for method, known in (("dcsam", "default, paper, release"), ("vrp_sam", "default")):
        words = ("train", "--method", method, "--data", f"voc_small={voc}", "--device", "cpu", "--steps", 1, "--out", tmp_path / "no")
        said = icvos(*words, "--preset", "small")
        assert said.code == 2 and f"no such preset of {method}: --preset small: expected {known}; choose one of them" in said.err


def test_data_that_is_none(tmp_path: Path, icvos: Callable[..., Any]) -> None:
    known = {"voc_small": "NAME=DIR", f"coco={tmp_path / 'no'}": "no such folder", f"cocoa={tmp_path}": "did you mean coco"}
    for data, expected in known.items():
        said = icvos("train", "--method", "dcsam", "--data", data, "--steps", 1, "--out", tmp_path / "out")
        assert said.code in {2, 3} and expected in said.err, said


@pytest.mark.parametrize(("package", "extra"), [("accelerate", "train"), ("icvos.training.coco_index", "train")])
def test_what_is_not_installed(
    package: str, extra: str, voc: Path, tmp_path: Path, icvos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2017.json").write_text("{}")
    data = f"coco={tmp_path}" if "coco" in package else f"voc_small={voc}"
    said = icvos("train", "--method", "dcsam", "--data", data, "--steps", 1, "--out", tmp_path / "out")
    assert said.code == 2 and f"training needs more packages: {package}" in said.err and f"icvos[{extra}]" in said.err, said
