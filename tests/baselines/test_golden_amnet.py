"""AMNet against the vectors of the official code."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_recipe import compare, fill_state
from heads_golden import gain_of, matching_levels, overridden, read_head_set, sets_of, targets_of

from baselines.amnet_network import Amnet, Found, amnet_loss, preset
from baselines.common.base_learner import cross_entropy

ADVERSARIAL = {"loss_diversity", "loss_loss_G", "loss_loss_D"}


@pytest.mark.parametrize("folder", sets_of("amnet_"), ids=lambda path: path and path.name)
def test_head(folder: Path) -> None:
    found, outputs = computed(folder)
    compare(found, {name: stored for name, stored in outputs.items() if name not in ADVERSARIAL})


@pytest.mark.xfail(strict=True, reason="the discriminator is built from its description, and differs from the released one somewhere")
@pytest.mark.parametrize("folder", sets_of("amnet_"), ids=lambda path: path and path.name)
def test_adversarial_losses(folder: Path) -> None:
    found, outputs = computed(folder)
    compare(found, {name: outputs[name] for name in ADVERSARIAL})


@cache
def computed(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    meta, maps, outputs = read_head_set(folder)
    query, supports, channels = matching_levels(maps)
    classes = 15 if meta["args"]["data_set"] == "pascal" else 60
    config = preset("release", shots=meta["args"]["shot"], base_classes=tuple(range(1, classes + 1)))
    model = Amnet(config, channels).double().eval()
    overridden(model, fill_state(model.state_dict(), gain_of(meta)), maps)
    masks, size = (maps["s_y"] == 1).double(), (meta["image_size"], meta["image_size"])
    with torch.no_grad():
        out = model(query, supports, masks)
        model.training = True  # the flag alone, as the sets were made: dropout stays off
        trained = model(query, supports, masks, targets_of(meta))
        loss = amnet_loss(trained, maps["y"])
        judged = model.adversarial(trained, maps["y"], random.Random(0), learning=False)
        base = cross_entropy(trained.prepared.base_logits, maps["y_b"])
    found = {
        **answered(out, size),
        "train_argmax_sum": trained.enlarged(size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": base,
        "loss_diversity": judged.diversity,
        "loss_loss_G": judged.generator,
        "loss_loss_D": judged.discriminator,
    }
    return found, outputs


def answered(out: Found, size: tuple[int, int]) -> dict[str, Any]:
    stages = range(len(out.stages))
    return {
        "final_out": out.enlarged(size),
        "meta_out": torch.nn.functional.interpolate(out.logits[-1], size=size, mode="bilinear", align_corners=True),
        "base_out": torch.nn.functional.interpolate(out.prepared.base_logits, size=size, mode="bilinear", align_corners=True),
        "prior_similarity": out.prepared.similarity,
        **{f"corr_weight_{place}": values for place, values in enumerate(out.correlations)},
        "query_merge": out.prepared.query,
        "supp_merge": out.prepared.supports,
        **{f"down_query_{stage}": out.stages[stage].tokens for stage in stages},
        **{f"match_{place}": out.joined[place].maps for place in stages},
        **{f"parse_{place}": out.parsed[place] for place in stages},
        "mix_cls": out.logits[0],
        "mix_cls_r1": out.logits[1],
        "mix_cls_r2": out.logits[2],
        "refine1_mask": out.masks[0],
        "refine2_mask": out.masks[1],
        "gram_merge_first_bg_and_base_map": out.merged[0].backgrounds,
    }
