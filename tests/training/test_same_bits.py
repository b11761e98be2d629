"""The same command gives the same bits: trained twice, and trained with an interruption, for all that can be trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("accelerate", reason="accelerate is not installed")
pytest.importorskip("peft", reason="peft is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")

import torch

from icvos.training import loop


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of cats and dogs, each a rectangle."""
    root, rng = tmp_path_factory.mktemp("voc"), np.random.default_rng(0)
    (root / "JPEGImages").mkdir()
    (root / "SegmentationClass").mkdir()
    for number in range(12):
        values = np.zeros((48, 64), np.uint8)
        values[8:30, 5 + number : 40] = (8, 12)[number % 2]
        cv2.imwrite(str(root / "JPEGImages" / f"{number:03d}.jpg"), rng.integers(0, 255, (48, 64, 3), np.uint8))
        Image.fromarray(values).save(root / "SegmentationClass" / f"{number:03d}.png")
    return root


GENERATOR = ("--set", "image_size=96", "--set", "queries=3")
HEAD = ("--preset", "small", "--set", "image_size=96", "--set", "width=16", "--augment", "hdmnet-coco")
TUBE = ("--method", "dcsam", *GENERATOR, "--stage", "tube", "--train")
TRAINED = {
    "dcsam generator": ("--method", "dcsam", *GENERATOR, "--cache", 0.1, "--mirror", "--annotation", "scribble"),
    "dcsam decoder": ("--method", "dcsam", *GENERATOR, "--train", "decoder", "--sam-weights", "untrained"),
    "dcsam lora": ("--method", "dcsam", *GENERATOR, "--train", "lora"),
    "dcsam tubes, generator,decoder,memory": (*TUBE, "generator,decoder,memory"),
    "dcsam tubes, generator,lora": (*TUBE, "generator,lora"),
    "vrp_sam generator,decoder": ("--method", "vrp_sam", *GENERATOR, "--train", "generator,decoder"),
    "pfenet": ("--method", "pfenet", *HEAD),
    "hdmnet": ("--method", "hdmnet", *HEAD),
    "amnet": ("--method", "amnet", *HEAD),
}


@pytest.mark.parametrize("words", TRAINED.values(), ids=list(TRAINED))
def test_twice_and_interrupted(
    words: tuple[Any, ...], voc: Path, tmp_path: Path, icvos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = ("train", "--data", f"voc_small={voc}", "--device", "cpu", "--workers", 0, "--batch", 1, "--rate", 0.01, "--save-every", 1)

    def trained(out: str, *more: object) -> Any:
        torch.rand(len(out))  # what others have drawn before makes no difference
        return icvos(*fixed, *words, "--steps", 2, "--out", tmp_path / out, *more)

    before = torch.random.get_rng_state()
    said = icvos(*fixed, *words, "--steps", 2, "--out", tmp_path / "once")
    assert said.code == 0, said
    assert torch.equal(torch.random.get_rng_state(), before)  # nor does training make any to others
    with monkeypatch.context() as patch:
        kept = loop._Log.add

        def interrupt(self: Any, step: int, *given: Any, **named: Any) -> None:
            if step == 2:
                raise KeyboardInterrupt
            kept(self, step, *given, **named)

        patch.setattr(loop._Log, "add", interrupt)
        assert trained("in parts").code == 130
    assert torch.load(tmp_path / "in parts/checkpoint.pt", weights_only=True)["step"] == 1
    assert trained("in parts").code == 0
    whole = (tmp_path / "once/generator.safetensors").read_bytes()
    assert (tmp_path / "in parts/generator.safetensors").read_bytes() == whole
    if "lora" in words:
        assert trained("again").code == 0
        assert (tmp_path / "again/generator.safetensors").read_bytes() == whole
        assert trained("another", "--seed", 1).code == 0
        assert (tmp_path / "another/generator.safetensors").read_bytes() != whole
