"""PFENet against the vectors of the official code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_recipe import compare, deepen, fill_state
from heads_golden import gain_of, read_head_set, sets_of

from baselines.common.levels import bilinear
from baselines.pfenet_network import Pfenet, deepened, pfenet_loss, preset


@pytest.mark.parametrize("folder", sets_of("pfenet_"), ids=lambda path: path and path.name)
def test_head(folder: Path) -> None:
    meta, maps, outputs = read_head_set(folder)
    options, size = meta["args"], (meta["image_size"], meta["image_size"])
    masks = (maps["s_y"] == 1).double()
    query = deepened(maps["query_feat_2"].double(), maps["query_feat_3"].double(), deepen)
    stacked = (torch.stack([maps[f"supp_feat_{level}_{shot}"] for shot in range(options["shot"])], 1).flatten(0, 1) for level in (2, 3))
    supports = deepened(*(level.double() for level in stacked), deepen, masks.flatten(0, 1)[:, None])
    config = preset("release", bins=tuple(options["ppm_scales"]), image_size=meta["image_size"])
    model = Pfenet(config, {2: query.level2.shape[1], 3: query.level3.shape[1]}).double().eval()
    model.load_state_dict(fill_state(model.state_dict(), gain_of(meta)))
    with torch.no_grad():
        out = model(query, supports, masks)
        loss = pfenet_loss(out, maps["y"])
        cells = out.inner[0].shape[-2:]
    logits = out.enlarged(size)
    found = {
        "logits": logits,
        "prior_at_bin0": bilinear(out.prior, cells),
        "support_prototype_mean": out.prototype,
        "query_feat": out.query,
        **{f"inner_{scale}": values for scale, values in enumerate(out.inner)},
        "cls_before_upsample": out.logits,
        "argmax_sum": logits.argmax(1).sum(),
        "main_loss": loss.main,
        "aux_loss": loss.inner,
    }
    compare(found, outputs)
