"""Which of our code answers for a golden set, by the official class that its meta.json names, and where it is known to differ."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from golden_comparison import STEEP, Answers, Fault, faults
from golden_sets import Array, GoldenError, GoldenSet, read_set

CLASSES = {  # the official class, as meta.json begins to name it: module and function that answer; the first that fits
    r"PFENet\((layers=\d+|vgg=\w+)\)\.layer0|.*\bResNet\(Bottleneck|.*\bvgg16": "golden_backbones.backbone_answers",
    r"model\.PFENet\.PFENet\b": "golden_heads.pfenet_answers",
    r"HDMNet OneModel\b": "golden_heads.hdmnet_answers",
    r"AMNet OneModel\b": "golden_heads.amnet_answers",
    r"model\.VRP_encoder\.VRP_encoder\b": "golden_prompts.vrp_sam_answers",
    r"model\.dc_sam(\.DC_SAM|_prior\.DC_SAM_Prior)\b": "golden_prompts.dcsam_answers",
    r"model\.base\.cyc_attn_layer\.CyCAttention\b": "golden_prompts.cycle_attention_answers",
    r"matcher\.Matcher\.Matcher\b": "golden_matcher.matcher_answers",
    r"persam_f\b": "golden_persam.persam_f_answers",
    r"persam\b": "golden_persam.persam_answers",
}


@dataclass(frozen=True)
class KnownFault:
    """An array in which our code is known to differ, and how."""

    official: str  # class, as meta.json begins to name it
    array: str
    error: str  # of the comparison: what its words begin with
    values: dict[float, float]  # what ours gives where the official code gave the key, both to four digits
    reason: str

    def fits(self, given: GoldenSet) -> bool:
        """Does the set hold this array?"""
        return str(given.meta.get("class", "")).startswith(self.official) and self.array in given.outputs

    def expected(self, fault: Fault, official: Array, ours: Array) -> bool:
        """Is this the known error? The array has its shape, differs in its value, and by as much as is known of that value."""
        if fault.name != self.array or not fault.words.startswith(self.error) or ours.shape != official.shape:
            return False
        pinned = self.values.get(round(float(official), 4))
        return bool(np.isfinite(ours).all()) and (pinned is None or abs(float(ours) - pinned) < 5e-4)


KNOWN_FAULTS = (
    KnownFault(
        "AMNet OneModel",
        "loss_diversity",
        "max difference",
        {0.9544: 0.8764},
        "built from its description, which leaves open how parts are drawn and compared; the segmenter does not depend on it",
    ),
)


@dataclass(frozen=True)
class Judgement:
    """A set, what our code gives, and where the two differ."""

    given: GoldenSet
    answers: Answers
    faults: tuple[Fault, ...]


def answers_of(given: GoldenSet) -> Callable[[GoldenSet, torch.dtype], Answers]:
    """The function that answers for a set.

    Raises:
        GoldenError: meta.json names no class, or one that none of our code answers for.
    """
    named = str(given.meta.get("class", ""))
    for pattern, where in CLASSES.items():
        if re.match(pattern, named):
            module, _, function = where.partition(".")
            found: Callable[[GoldenSet, torch.dtype], Answers] = getattr(importlib.import_module(module), function)
            return found
    raise GoldenError(f"{given.folder.name}: no code is known that answers for the class {named!r} of meta.json")


def judged(folder: Path) -> Judgement:
    """Hold our code against a set: all in float64, and in float32 too where steep weights amplify rounding.

    Raises:
        GoldenError: the set is of an unknown class or argument, or its inputs are not those of the recipe.
    """
    given = read_set(folder)
    compute = answers_of(given)
    with torch.no_grad():
        found = compute(given, torch.float64)
        given.all_used()
        steep = "weights" in given.meta and given.gain > STEEP
        single = compute(given, torch.float32) if steep else None
    return Judgement(given, found, tuple(faults(found, given.outputs, single)))
