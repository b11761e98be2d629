"""Heads as prompters: the mask they hand over, and what they say of supports that they cannot use well."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch
from cats import CAT, HEAD, NOTHING, PIXEL

from baselines.amnet import METHOD as AMNET
from baselines.amnet_network import preset as amnet
from baselines.common.generator_file import GeneratorFile, write_generator
from baselines.common.head_prompting import HeadMethod, HeadPrompts
from baselines.hdmnet import METHOD as HDMNET
from baselines.hdmnet_network import preset as hdmnet
from baselines.pfenet import METHOD as PFENET
from baselines.pfenet_network import preset as pfenet
from icvos.errors import DataError, UserInputError
from icvos.types import Compute, MaskPrompt

CONFIGS = {
    "pfenet": pfenet("small", backbone="efficientnet_lite0", image_size=96, width=16),
    "hdmnet": hdmnet("small", backbone="efficientnet_lite0", image_size=96, width=16, parsed=16),
    "amnet": amnet("small", backbone="efficientnet_lite0", image_size=96, width=16, parsed=16),
}
METHODS = pytest.mark.parametrize("method", [PFENET, HDMNET, AMNET], ids=lambda method: method.name)


def drawn(method: HeadMethod, path: Path) -> Compute:
    """Weights as they are drawn, on disk, with an object somewhere."""
    config = CONFIGS[method.name]
    torch.manual_seed(0)
    head = method.made(config)
    write_generator(path, GeneratorFile(method.name, asdict(config), "", head.state_dict(), facts={"shots": 1}))
    return Compute(device="cpu", weights=str(path))


@METHODS
def test_the_mask_of_frame_0(method: HeadMethod, tmp_path: Path) -> None:
    prompts = HeadPrompts(method, drawn(method, tmp_path / "head.safetensors"))
    assert prompts.card.hand_over == "mask" and "its mask of frame 0 to SAM 2" in prompts.card.summary
    asked = prompts.prompt(CAT, [HEAD])
    assert isinstance(asked, MaskPrompt) and asked.mask.shape == CAT.shape[:2] and asked.mask.dtype == np.bool_
    again = HeadPrompts(method, prompts.compute).prompt(CAT, [HEAD])
    assert isinstance(again, MaskPrompt)
    np.testing.assert_array_equal(asked.mask, again.mask)


@METHODS
def test_the_embedded_head_finds_the_cat_of_its_own_support(method: HeadMethod) -> None:
    asked = HeadPrompts(method, Compute(device="cpu")).prompt(CAT, [HEAD])
    assert isinstance(asked, MaskPrompt)
    head = HEAD.read_mask()
    inside, outside = asked.mask[head].mean(), asked.mask[~head].mean()
    assert inside > 0.5 and inside > 1.3 * outside, (inside, outside)


@METHODS
def test_supports_without_a_pixel_and_more_of_them(method: HeadMethod, tmp_path: Path) -> None:
    prompts = HeadPrompts(method, drawn(method, tmp_path / "head.safetensors"))
    nothing = prompts.prompt(CAT, [NOTHING])
    assert isinstance(nothing, MaskPrompt) and not nothing.mask.any()
    assert [finding.code for _, finding in prompts.take_findings()] == ["empty-support"]
    prompts.prompt(CAT, [HEAD])
    assert prompts.take_findings() == []
    prompts.prompt(CAT, [PIXEL])
    assert prompts.take_findings() == []
    prompts.prompt(CAT, [HEAD, PIXEL])
    ((_, finding),) = prompts.take_findings()
    assert (finding.code, finding.found) == ("more-supports", "2 supports")
    assert finding.fix == "all are used"


@METHODS
def test_files_that_do_not_fit(method: HeadMethod, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    compute = drawn(method, path)
    other = HDMNET if method is PFENET else PFENET
    with pytest.raises(UserInputError, match=r"weights of another method"):
        HeadPrompts(other, compute)
    content = method.read(path)
    write_generator(path, replace(content, options={**content.options, "colour": 3}))
    with pytest.raises(DataError, match="options of another version"):
        HeadPrompts(method, compute).prompt(CAT, [HEAD])
    write_generator(path, replace(content, options={**content.options, "width": 8}))
    with pytest.raises(UserInputError, match="weights of another architecture"):
        HeadPrompts(method, compute).prompt(CAT, [HEAD])
    path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(DataError, match="cannot read the weights"):
        HeadPrompts(method, compute)
