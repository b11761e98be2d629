"""J, F, recall and decay against DAVIS' own numbers, bit for bit, and against the definitions."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icvos.kernels import kernel_named
from icvos.metrics import boundary_f, boundary_tolerance, decay, recall, region_similarity
from icvos.protocol import PROTOCOLS

GOLDEN = Path(os.environ.get("ICVOS_GOLDEN") or Path(__file__).resolve().parents[2] / "shared" / "golden") / "metrics"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text()) if (GOLDEN / "expected.json").exists() else {}
needs_golden = pytest.mark.skipif(not EXPECTED, reason=f"no golden vectors at {GOLDEN}")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "cases.npz") as stored:
        return dict(stored)


def golden_masks(arrays: dict[str, np.ndarray], case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Prediction, truth and void of a golden case."""

    def mask(letter: str, is_packed: bool) -> np.ndarray:
        stored = arrays[f"{letter}{case['i']}"]
        return np.unpackbits(stored, axis=1)[:, : case["shape"][1]] if is_packed else stored

    void = mask("v", True).astype(np.bool_) if f"v{case['i']}" in arrays else None
    return mask("p", case["packed"][1]), mask("g", case["packed"][0]), void


@needs_golden
@pytest.mark.parametrize("name", EXPECTED.get("cases", {}))
def test_equal_to_davis_to_the_last_bit(name: str, arrays: dict[str, np.ndarray]) -> None:
    case = EXPECTED["cases"][name]
    pred, truth, void = golden_masks(arrays, case)
    assert boundary_tolerance(truth.shape) == case["radius"]
    assert region_similarity(pred, truth, void=void).hex() == case["J_hex"]
    assert boundary_f(pred, truth, tolerance=case["radius"], void=void).hex() == case["F_hex"]


@needs_golden
@pytest.mark.parametrize("kernel_name", ["numpy", "numba"])
def test_kernels_equal_to_davis_to_the_last_bit(kernel_name: str, arrays: dict[str, np.ndarray]) -> None:
    if kernel_name == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    kernel = kernel_named(kernel_name)
    wrong = []
    for name, case in EXPECTED["cases"].items():
        pred, truth, void = (None if mask is None else mask != 0 for mask in golden_masks(arrays, case))
        if void is not None:
            pred, truth = pred & ~void, truth & ~void
        scores = kernel.compare(kernel.pack(pred), kernel.prepare(kernel.pack(truth), case["radius"]))
        if [float(score).hex() for score in scores] != [case["J_hex"], case["F_hex"]]:
            wrong.append((name, scores))
    assert not wrong


@needs_golden
@pytest.mark.parametrize("frames", EXPECTED.get("db_statistics", {}))
def test_statistics_of_a_clip(frames: str) -> None:
    case = EXPECTED["db_statistics"][frames]
    if isinstance(case["values"], list):
        assert decay(case["values"]) == case["decay_correct_int"]
        assert recall(case["values"]) == case["recall"]
        return
    values = np.linspace(1, 0, int(frames)) ** 1.5  # the power's last bit depends on the processor, and so does the sum's
    assert math.isclose(decay(values), case["decay_correct_int"], rel_tol=0, abs_tol=2.3e-16)
    assert recall(values) == case["recall"]


def test_decay_is_right_past_256_frames() -> None:
    values = np.repeat([1.0, 0.75, 0.5, 0.25], 100)  # DAVIS' byte-wide places would compare other quarters
    assert decay(values) == pytest.approx(0.75, abs=0.01)
    assert decay(values[::-1]) == pytest.approx(-0.75, abs=0.01)
    assert decay([0.3]) == 0


def test_recall_counts_frames_above_a_half() -> None:
    assert recall([0.5, 0.6, 0.2, 0.9]) == 0.5


@pytest.mark.parametrize("statistic", [recall, decay])
def test_no_frames(statistic: Any) -> None:
    with pytest.raises(ValueError, match="no frames"):
        statistic([])


@pytest.mark.parametrize("size", [(480, 854), (1080, 1920), (512, 512), (1, 1), (3000, 4000), (300, 400)])
def test_the_tolerance_exists_once(size: tuple[int, int]) -> None:
    expected = int(np.ceil(0.008 * np.linalg.norm(size)))
    assert boundary_tolerance(size) == PROTOCOLS["native@1"].tolerance(size) == expected


def test_edge_cases_of_the_definition() -> None:
    empty, full, some = np.zeros((9, 9), np.bool_), np.ones((9, 9), np.bool_), np.eye(9, dtype=np.bool_)
    assert region_similarity(empty, empty) == 1
    assert region_similarity(empty, some) == region_similarity(some, empty) == 0
    assert boundary_f(empty, empty, tolerance=1) == boundary_f(full, empty, tolerance=1) == 1  # neither has a boundary
    assert boundary_f(some, empty, tolerance=1) == boundary_f(empty, some, tolerance=1) == 0
    assert boundary_f(some, some, tolerance=0) == 1


def test_any_value_but_0_is_foreground() -> None:
    truth = np.eye(6, dtype=np.bool_)
    for value in (1, 7, 255):
        pred = truth.astype(np.uint8) * np.uint8(value)
        assert region_similarity(pred, truth) == boundary_f(pred.tolist(), truth, tolerance=0) == 1


def test_void_is_taken_out_of_both() -> None:
    truth, pred, void = np.zeros((3, 8, 8), np.bool_)
    truth[2:6, 2:6] = pred[2:6, 2:8] = void[:, 6:] = True
    assert region_similarity(pred, truth) == 16 / 24
    assert region_similarity(pred, truth, void=void) == boundary_f(pred, truth, tolerance=0, void=void) == 1


def test_faults_are_named() -> None:
    mask = np.zeros((4, 5), np.bool_)
    with pytest.raises(ValueError, match=r"prediction of shape \(5, 4\) and a truth of shape \(4, 5\)"):
        region_similarity(mask.T, mask)
    with pytest.raises(ValueError, match="void of shape"):
        boundary_f(mask, mask, tolerance=1, void=mask.T)
    with pytest.raises(ValueError, match=r"truth of shape \(20,\)"):
        region_similarity(mask, mask.ravel())
    with pytest.raises(ValueError, match="tolerance of -1 pixels"):
        boundary_f(mask, mask, tolerance=-1)
