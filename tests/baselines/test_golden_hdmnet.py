"""HDMNet against the vectors of the official code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_recipe import compare
from heads_golden import matching_outputs, matching_set, sets_of, targets_of

from baselines.common.base_learner import cross_entropy
from baselines.hdmnet_network import Hdmnet, hdmnet_loss, preset


@pytest.mark.parametrize("folder", sets_of("hdmnet_"), ids=lambda path: path and path.name)
def test_head(folder: Path) -> None:
    given = matching_set(folder, preset, Hdmnet)
    with torch.no_grad():
        out = given.model(given.query, given.supports, given.masks)
        given.model.training = True  # the flag alone, as the sets were made: dropout stays off
        trained = given.model(given.query, given.supports, given.masks, targets_of(given.meta))
        loss = hdmnet_loss(trained, given.maps["y"])
        base = cross_entropy(trained.prepared.base_logits, given.maps["y_b"])
    found = {
        **matching_outputs(out, out.logits, given.size),
        "mix_cls": out.logits,
        "gram_merge_first_bg_and_base_map": out.merged.backgrounds,
        "train_argmax_sum": trained.enlarged(given.size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": base,
    }
    compare(found, given.outputs)
