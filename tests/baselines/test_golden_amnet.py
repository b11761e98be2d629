"""AMNet against the vectors of the official code."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_recipe import compare
from heads_golden import matching_outputs, matching_set, sets_of, targets_of

from baselines.amnet_network import Amnet, amnet_loss, preset
from baselines.common.base_learner import cross_entropy

DRAWN = "loss_diversity"  # of parts that are drawn: it is not known how


@pytest.mark.parametrize("folder", sets_of("amnet_"), ids=lambda path: path and path.name)
def test_head(folder: Path) -> None:
    found, outputs = computed(folder)
    compare(found, {name: stored for name, stored in outputs.items() if name != DRAWN})


@pytest.mark.xfail(strict=True, reason="built from its description, which leaves open how parts are drawn and compared")
@pytest.mark.parametrize("folder", sets_of("amnet_"), ids=lambda path: path and path.name)
def test_loss_of_diversity(folder: Path) -> None:
    found, outputs = computed(folder)
    compare(found, {DRAWN: outputs[DRAWN]})


@cache
def computed(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    given = matching_set(folder, preset, Amnet)
    with torch.no_grad():
        out = given.model(given.query, given.supports, given.masks)
        given.model.training = True  # the flag alone, as the sets were made: dropout stays off
        trained = given.model(given.query, given.supports, given.masks, targets_of(given.meta))
        loss = amnet_loss(trained, given.maps["y"])
        judged = given.model.adversarial(trained, given.maps["y"], random.Random(0), learning=False)
        base = cross_entropy(trained.prepared.base_logits, given.maps["y_b"])
    found = {
        **matching_outputs(out, out.logits[-1], given.size),
        "mix_cls": out.logits[0],
        "mix_cls_r1": out.logits[1],
        "mix_cls_r2": out.logits[2],
        "refine1_mask": out.masks[0],
        "refine2_mask": out.masks[1],
        "gram_merge_first_bg_and_base_map": out.merged[0].backgrounds,
        "train_argmax_sum": trained.enlarged(given.size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": base,
        "loss_diversity": judged.diversity,
        "loss_loss_G": judged.generator,
        "loss_loss_D": judged.discriminator,
    }
    return found, given.outputs
