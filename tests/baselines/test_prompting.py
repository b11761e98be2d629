"""Prompt generators as prompters: what they hand over, and what they say of supports that they cannot use well."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")


from cats import CAT, HEAD, NOTHING, PIXEL

from baselines.common.prompting import GeneratedPrompts, GeneratorMethod
from baselines.vrp_sam import METHOD as VRP_SAM
from dcsam.method import METHOD as DC_SAM
from icvos.types import Compute, MaskPrompt, TokenPrompt

METHODS = pytest.mark.parametrize("method", [DC_SAM, VRP_SAM], ids=lambda method: method.name)


@METHODS
def test_tokens_or_the_mask_that_they_give(method: GeneratorMethod) -> None:
    tokens = GeneratedPrompts(method, Compute(device="cpu"), "tokens").prompt(CAT, [HEAD])
    assert isinstance(tokens, TokenPrompt) and tokens.tokens.shape[1] == 128 and np.isfinite(tokens.tokens).all()
    mask = GeneratedPrompts(method, Compute(device="cpu"), "mask").prompt(CAT, [HEAD])
    assert isinstance(mask, MaskPrompt) and mask.mask.shape == CAT.shape[:2]
    assert (mask.mask & HEAD.mask).sum() > 0.5 * (mask.mask | HEAD.mask).sum()  # the cat's head fills the picture


def test_findings_name_the_episode_of_the_pass() -> None:
    prompts = GeneratedPrompts(VRP_SAM, Compute(device="cpu"), "tokens")
    for supports in ([HEAD], [NOTHING], [HEAD, NOTHING]):
        prompts.prompt(CAT, supports)
    assert [(number, finding.code) for number, finding in prompts.take_findings()] == [(1, "empty-support"), (2, "empty-support")]
    prompts.prompt(CAT, [NOTHING])
    assert [number for number, _ in prompts.take_findings()] == [0]


@METHODS
def test_supports_without_a_pixel_are_left_out_and_told(method: GeneratorMethod) -> None:
    prompts = GeneratedPrompts(method, Compute(device="cpu"), "tokens")
    nothing = prompts.prompt(CAT, [NOTHING])
    assert isinstance(nothing, MaskPrompt) and not nothing.mask.any()
    assert [finding.code for _, finding in prompts.take_findings()] == ["empty-support"]
    one, both = prompts.prompt(CAT, [HEAD]), prompts.prompt(CAT, [HEAD, NOTHING])
    np.testing.assert_array_equal(one.tokens, both.tokens)
    assert [finding.code for _, finding in prompts.take_findings()] == ["empty-support"]


@METHODS
def test_a_support_of_one_pixel_is_one(method: GeneratorMethod) -> None:
    prompts = GeneratedPrompts(method, Compute(device="cpu"), "tokens")
    given = prompts.prompt(CAT, [PIXEL])
    assert isinstance(given, TokenPrompt) and np.isfinite(given.tokens).all() and prompts.take_findings() == []


@METHODS
def test_more_supports_than_in_training_are_used_and_told(method: GeneratorMethod) -> None:
    prompts = GeneratedPrompts(method, Compute(device="cpu"), "tokens")
    one, two = prompts.prompt(CAT, [HEAD]), prompts.prompt(CAT, [HEAD, PIXEL])
    assert isinstance(two, TokenPrompt) and (two.tokens.shape != one.tokens.shape or not np.allclose(two.tokens, one.tokens))
    ((_, finding),) = prompts.take_findings()
    assert (finding.code, finding.found) == ("more-supports", "2 supports")
