"""Several supports: every method that comes along looks at all of them, whichever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("ot", reason="POT is not installed")

from cats import CAT, HEAD, Given, box

from icvos.registry import LoadedMethod, load_method
from icvos.types import Compute, Mask

EYES, COLLAR = box(80, 180, 150, 350), box(230, 298, 100, 300)
MIRRORED = Given(np.ascontiguousarray(CAT[:, ::-1]), HEAD.mask[:, ::-1])
DARK = replace(HEAD, image=(CAT // 2).astype(np.uint8))
FIVE = (HEAD, MIRRORED, EYES, DARK, COLLAR)
SHOTS = ("persam", "persam-f", "matcher", "vrp_sam", "dcsam", "dcsam-mask", "pfenet", "hdmnet", "amnet", "naive-sam2")
MEANS = ("persam", "dcsam", "dcsam-mask", "pfenet", "hdmnet", "amnet")  # what is said twice weighs as much as what is said once


@pytest.fixture(scope="module")
def methods() -> dict[str, LoadedMethod]:
    return {name: load_method(name, Compute(device="cpu")) for name in SHOTS}


def answer(method: LoadedMethod, supports: Sequence[Given]) -> Mask:
    (mask,) = method.segmenter.segment([CAT], supports)  # type: ignore[arg-type]
    return mask


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


@pytest.mark.parametrize("name", SHOTS)
def test_five_supports_in_any_order(name: str, methods: dict[str, LoadedMethod]) -> None:
    forth, back, alone = (answer(methods[name], supports) for supports in (FIVE, FIVE[::-1], FIVE[:1]))
    assert forth.any() and iou(forth, back) > (0.9 if name == "naive-sam2" else 0.99)  # to SAM 2 they are a sequence
    assert not np.array_equal(forth, alone) and not np.array_equal(forth, answer(methods[name], FIVE[-1:]))


@pytest.mark.parametrize("name", MEANS)
def test_a_support_said_three_times(name: str, methods: dict[str, LoadedMethod]) -> None:
    assert iou(answer(methods[name], [HEAD]), answer(methods[name], [HEAD] * 3)) > 0.99
