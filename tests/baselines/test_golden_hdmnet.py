"""HDMNet against the vectors of the official code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_recipe import compare, fill_state
from heads_golden import gain_of, matching_levels, overridden, read_head_set, sets_of, targets_of

from baselines.common.base_learner import cross_entropy
from baselines.hdmnet_network import Found, Hdmnet, hdmnet_loss, preset


@pytest.mark.parametrize("folder", sets_of("hdmnet_"), ids=lambda path: path and path.name)
def test_head(folder: Path) -> None:
    meta, maps, outputs = read_head_set(folder)
    query, supports, channels = matching_levels(maps)
    classes = 15 if meta["args"]["data_set"] == "pascal" else 60
    config = preset("release", shots=meta["args"]["shot"], base_classes=tuple(range(1, classes + 1)))
    model = Hdmnet(config, channels).double().eval()
    overridden(model, fill_state(model.state_dict(), gain_of(meta)), maps)
    masks, size = (maps["s_y"] == 1).double(), (meta["image_size"], meta["image_size"])
    with torch.no_grad():
        out = model(query, supports, masks)
        model.training = True  # the flag alone, as the sets were made: dropout stays off
        trained = model(query, supports, masks, targets_of(meta))
        loss = hdmnet_loss(trained, maps["y"])
        base = cross_entropy(trained.prepared.base_logits, maps["y_b"])
    found = {
        **answered(out, size),
        "train_argmax_sum": trained.enlarged(size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": base,
    }
    compare(found, outputs)


def answered(out: Found, size: tuple[int, int]) -> dict[str, Any]:
    stages = range(len(out.stages))
    return {
        "final_out": out.enlarged(size),
        "meta_out": torch.nn.functional.interpolate(out.logits, size=size, mode="bilinear", align_corners=True),
        "base_out": torch.nn.functional.interpolate(out.prepared.base_logits, size=size, mode="bilinear", align_corners=True),
        "prior_similarity": out.prepared.similarity,
        **{f"corr_weight_{place}": values for place, values in enumerate(out.correlations)},
        "query_merge": out.prepared.query,
        "supp_merge": out.prepared.supports,
        **{f"down_query_{stage}": out.stages[stage].tokens for stage in stages},
        **{f"match_{stage}": out.joined[stage].maps for stage in stages},
        **{f"parse_{stage}": out.parsed[stage] for stage in stages},
        "mix_cls": out.logits,
        "gram_merge_first_bg_and_base_map": out.merged.backgrounds,
    }
