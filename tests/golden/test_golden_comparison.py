"""The comparison itself: it follows what a set holds, whatever its folder is called, and no fault that is planted gets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("segment_anything", reason="segment-anything is not installed")

import torch
from golden_comparison import LEAST, MOST, Shots, conditioning, faults
from golden_methods import KNOWN_FAULTS, answers_of, judged
from golden_recipe import SHARED, summary
from golden_sets import Array, GoldenError, golden_folders, read_set

HANDED_OUT = SHARED / "golden" / "methods"
needs_sets = pytest.mark.skipif(not HANDED_OUT.is_dir(), reason=f"no golden sets at {HANDED_OUT}")
Change = Callable[[dict[str, Any], dict[str, Array], dict[str, Array]], None]  # of meta.json, inputs and outputs


def changed(name: str, to: Path, change: Change) -> Path:
    """A copy of a set under another name, with a change."""
    given = read_set(HANDED_OUT / name)
    meta, inputs, outputs = json.loads(json.dumps(given.meta)), dict(given.stored), dict(given.outputs)
    change(meta, inputs, outputs)
    folder = to / "methods" / "a further set"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **outputs)
    return folder


def only_statistics(inputs: dict[str, Array], keep: str = "bias_") -> None:
    """Leave of every input what proves it."""
    for name in [name for name in inputs if not name.startswith(keep)]:
        values = inputs.pop(name)
        if values.dtype == np.float16:
            inputs[f"{name}_stats"] = summary(values)
        elif name == "y_b":
            inputs[f"{name}_sum"] = values.astype(np.int64).sum((-1, -2))
        else:
            inputs[f"{name}_sum"] = (values == 1).sum((-1, -2))


def own_set(name: str, to: Path, change: Change) -> Path:
    """A further set whose outputs are what our own code gives; inputs are drawn by the recipe, only what proves them is stored."""

    def drawn(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        for array in [array for array in inputs if not array.startswith("bias_")]:
            del inputs[array]
        meta["input_arrays"] = {}
        change(meta, inputs, outputs)

    folder = changed(name, to, drawn)
    given = read_set(folder)
    with torch.no_grad():
        found = answers_of(given)(given, torch.float64)
    outputs: dict[str, Array] = {}
    for array, value in found.items():
        values = np.asarray(value.each if isinstance(value, Shots) else value)
        outputs[array] = values.astype(np.float32) if values.dtype.kind == "f" else values
        if isinstance(value, Shots) and value.count > 1:  # per shot by number, and averaged or of one shot under the plain name
            outputs |= {f"{array}_{shot}": outputs[array][shot :: value.count] for shot in range(value.count)}
            outputs[f"{array}_stats"] = summary(values)
            outputs[array] = outputs[array][1 :: value.count] if value.mean is None else np.asarray(value.mean, np.float32)
    np.savez(folder / "outputs.npz", **outputs)
    return folder


STORED_WHOLE = ("pfenet_r50_1shot", "pfenet_vgg_1shot", "hdmnet_vgg_1shot", "amnet_r50_1shot")
STORED_WHOLE += ("vrpsam_r50_1shot", "dcsam_r50_sam1", "dcsam_r50_sam2", "dcsam_prior_r50_sam1", "backbone_vgg16_bn")


@needs_sets
@pytest.mark.parametrize("name", STORED_WHOLE)
def test_sets_that_store_statistics_in_the_place_of_inputs(name: str, tmp_path: Path) -> None:
    def change(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        only_statistics(inputs)
        meta["input_arrays"] = {name: [list(value.shape), str(value.dtype)] for name, value in inputs.items()}

    found = judged(changed(name, tmp_path, change)).faults
    assert {fault.name for fault in found} <= {known.array for known in KNOWN_FAULTS}, found


def with_shots(shots: int, batch: int, name: str = "shot") -> Change:
    def change(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        meta["args"][name], meta["batch"] = shots, batch

    return change


@needs_sets
@pytest.mark.parametrize(
    ("name", "key", "shots", "batch"),
    [
        ("pfenet_r50_1shot", "shot", 5, 2),
        ("hdmnet_r50_1shot", "shot", 5, 1),
        ("hdmnet_vgg_1shot", "shot", 2, 2),
        ("vrpsam_r50_1shot", "nshot", 2, 2),
        ("dcsam_r50_sam1", "nshot", 2, 2),
        ("dcsam_r50_sam2", "nshot", 5, 1),
    ],
)
def test_further_sets_of_more_shots_and_pictures(name: str, key: str, shots: int, batch: int, tmp_path: Path) -> None:
    found = judged(own_set(name, tmp_path, with_shots(shots, batch, key)))
    assert not found.faults, found.faults


@needs_sets
def test_arrays_of_one_shot_are_all_of_the_same_shot(tmp_path: Path) -> None:
    folder = own_set("vrpsam_r50_1shot", tmp_path, with_shots(2, 2, "nshot"))
    outputs = dict(read_set(folder).outputs)
    outputs["prototype"] = outputs["prototype_0"]  # where the other arrays are of shot 1
    np.savez(folder / "outputs.npz", **outputs)
    assert [fault.name for fault in judged(folder).faults] == ["prototype"]


@needs_sets
def test_numbered_shots_and_means_are_not_taken_for_one_another(tmp_path: Path) -> None:
    folder = own_set("dcsam_r50_sam1", tmp_path, with_shots(2, 2, "nshot"))
    outputs = dict(read_set(folder).outputs)
    outputs["pseudo_mask"], outputs["pseudo_mask_0"] = outputs["pseudo_mask_0"], outputs["pseudo_mask_1"]
    np.savez(folder / "outputs.npz", **outputs)
    assert sorted(fault.name for fault in judged(folder).faults) == ["pseudo_mask", "pseudo_mask_0"]


# ---- planted faults


def output(name: str, change: Callable[[Array], Array]) -> Change:
    def planted(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        outputs[name] = change(outputs[name].copy())

    return planted


def nudged(by: float, place: int = 0) -> Callable[[Array], Array]:
    def change(values: Array) -> Array:
        values.reshape(-1)[place] += by * np.abs(values).max() + 2e-4 * abs(values.reshape(-1)[place])
        return values

    return change


@needs_sets
@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("logits", nudged(2e-5, 1234)),
        ("query_feat_stats", nudged(1e-3, 40)),
        ("argmax_sum", lambda values: values + 1),
        ("aux_loss", lambda values: values * np.float32(1.001)),
        ("inner_1", lambda values: np.full_like(values, np.nan)),
        ("inner_2", lambda values: values[:, :1]),
    ],
)
def test_a_planted_fault_is_found_and_alone(array: str, change: Callable[[Array], Array], tmp_path: Path) -> None:
    found = judged(changed("pfenet_vgg_1shot", tmp_path, output(array, change))).faults
    assert [fault.name for fault in found] == [array]


@needs_sets
def test_all_faults_are_told_at_once_with_their_size(tmp_path: Path) -> None:
    def planted(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        outputs["logits"] = outputs["logits"] + np.float32(0.01)
        outputs["argmax_sum"] = outputs["argmax_sum"] - 1
        outputs["unheard_of"] = np.zeros(3, np.float32)

    logits, count, unknown = sorted(map(str, judged(changed("pfenet_vgg_1shot", tmp_path, planted)).faults), key=len, reverse=True)
    assert "max difference 0.01" in logits and "scale " in logits and "ratio " in logits and "6498 of 6498" in logits
    assert count == "argmax_sum: 1 of 1 int64 values differ, by 1 at most"
    assert unknown == "unheard_of: nothing is computed under this name"


def meta_of(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda meta, inputs, outputs: change(meta)


def wrong_statistic(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
    only_statistics(inputs)
    inputs["query_feat_3_stats"][1] *= 1 + 1e-6


def wrong_count(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
    only_statistics(inputs)
    inputs["s_y_sum"] += 1


def wrong_beside_whole(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
    inputs["supp_feat_2_0_stats"] = summary(inputs["supp_feat_2_0"] + np.float16(0.5))


def unknown_input(meta: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
    inputs["supp_feat_9"] = np.zeros(3, np.float32)


@needs_sets
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (meta_of(lambda meta: meta.update({"class": "model.Newer.Net"})), "no code is known that answers for the class 'model.Newer.Net'"),
        (meta_of(lambda meta: meta.pop("class")), "no code is known"),
        (meta_of(lambda meta: meta["args"].update(classes=3)), "argument classes is 3; known are 2"),
        (meta_of(lambda meta: meta["args"].update(fancy=True)), "unknown arguments in meta.json: fancy"),
        (meta_of(lambda meta: meta["args"].pop("vgg")), "the argument 'vgg' is missing"),
        (meta_of(lambda meta: meta.update(weights="drawn")), "'drawn' does not say what is expected"),
        (wrong_statistic, "query_feat_3 is not that of the recipe: query_feat_3_stats says mean"),
        (wrong_count, "s_y is not that of the recipe: s_y_sum says"),
        (wrong_beside_whole, "supp_feat_2_0 is not that of the recipe"),
        (unknown_input, "stored inputs that the code does not know: supp_feat_9"),
    ],
)
def test_what_is_not_known_or_not_proved_is_a_failure(change: Change, words: str, tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match=words.replace("(", r"\(").replace(".", r"\.")):
        judged(changed("pfenet_vgg_1shot", tmp_path, change))


def test_an_empty_or_broken_root_is_no_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICVOS_GOLDEN", str(tmp_path))
    with pytest.raises(GoldenError, match="no golden sets"):
        golden_folders(tmp_path)
    (tmp_path / "methods" / "empty").mkdir(parents=True)
    (folder,) = golden_folders(tmp_path)
    with pytest.raises(GoldenError, match=r"no meta\.json"):
        judged(folder)


@needs_sets
def test_a_known_fault_is_of_one_array_and_of_one_error() -> None:
    (known,) = KNOWN_FAULTS
    official = np.float32(0.95443434)
    (fault,) = faults({"loss_diversity": np.float64(0.8764)}, {"loss_diversity": np.asarray(official)})
    assert known.expected(fault, np.asarray(official), np.asarray(0.8764))
    (fault,) = faults({"loss_diversity": np.float64(0.5)}, {"loss_diversity": np.asarray(official)})
    assert not known.expected(fault, np.asarray(official), np.asarray(0.5))
    (fault,) = faults({}, {"loss_diversity": np.asarray(official)})
    assert not known.expected(fault, np.asarray(official), np.asarray(0.8764))


# ---- tolerance


def test_the_measured_conditioning_widens_the_tolerance_and_no_more() -> None:
    values = np.linspace(1e-9, 1, 1000)
    stored = {"a": values.astype(np.float32)}

    def off(by: float, k: float) -> bool:
        return bool(faults({"a": values + by}, stored, {"a": values + by + k}))

    assert not off(0.9 * LEAST, 0) and off(2 * LEAST, 0)
    assert not off(2 * LEAST, LEAST) and off(5 * LEAST, LEAST)
    assert not off(0.9 * MOST, 1) and off(2 * MOST, 1)
    assert conditioning(values, values + 1e-6) == pytest.approx(1e-6)
    assert conditioning(np.zeros(3), np.ones(3)) == 0


def test_whole_numbers_are_equal_or_not() -> None:
    stored = {"count": np.arange(10**6, 10**6 + 4)}
    assert not faults({"count": stored["count"].copy()}, stored)
    assert faults({"count": stored["count"] + [0, 0, 0, 1]}, stored)
    assert faults({"count": stored["count"] + 1e-3}, stored)
    assert faults({"mask": np.array([True, False])}, {"mask": np.array([True, True])})
