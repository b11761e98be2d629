"""VRP-SAM against the vectors of the official code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_recipe import GOLDEN, compare, deepen, fill_state, generated_state, golden_sam, golden_sets, read_set

from baselines.common.features import Seen
from baselines.vrp_sam_network import VrpSam, VrpSamConfig, from_official, official_name
from dcsam.losses import segmentation_loss
from icvos.models.token_decoding import Sam1Tokens, SamFeatures

SETS = list(golden_sets("vrpsam_")) or [pytest.param(None, marks=pytest.mark.skip(reason=f"no golden sets of VRP-SAM at {GOLDEN}"))]


def official_answer(decoding: Sam1Tokens, embedding: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the package's own decoder says of one image: logits and claimed IoU."""
    _, dense = decoding.prompt_encoder(points=None, boxes=None, masks=None)
    positions = decoding.prompt_encoder.get_dense_pe()
    return decoding.mask_decoder(embedding, positions, tokens, dense, multimask_output=False)


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path and path.name)
def test_prompt_generator(folder: Path) -> None:
    meta, inputs, outputs = read_set(folder)
    shots, queries = meta["args"]["nshot"], meta["args"]["num_query"]
    maps = {name: torch.from_numpy(value) for name, value in inputs.items()}
    query = Seen(maps["query_feat_2"], maps["query_feat_3"], SamFeatures(maps["sam_image_embedding"]))
    stacked = [torch.stack([maps[f"supp_feat_{level}_{shot}"] for shot in range(shots)], 1).flatten(0, 1) for level in (2, 3)]
    model = VrpSam(VrpSamConfig(queries=queries), query.level2.shape[1] + query.level3.shape[1]).eval()
    like = {official_name(name): value for name, value in model.state_dict().items()}
    model.load_state_dict(from_official(fill_state(like, generated_state(meta))))
    decoding = Sam1Tokens(golden_sam("sam", query.sam_features.embedding.shape[-1]))
    truth, masks = maps["query_mask"], maps["support_mask"].float()
    with torch.no_grad():
        out = model(query, Seen(*stacked), masks.view(len(truth), shots, *masks.shape[-2:]), deepen, decoding)
        logits = out.enlarged(tuple(truth.shape[-2:]))
        loss = segmentation_loss(logits, truth)
        alone = [official_answer(decoding, query.sam_features.embedding[[item]], out.tokens[[item]]) for item in range(len(truth))]
    torch.testing.assert_close(torch.cat([masks for masks, _ in alone]), out.logits)
    found = {
        "protos": out.tokens,
        "pseudo_mask": out.prior,
        "support_mask_ds": out.masks,
        "prototype": out.prototype,
        "supp_feat_1": out.support,
        "query_feat_1": out.query,
        "pos_embed": model.positions(out.query)[:1, ::16],  # every sixteenth channel is stored
        "sam_low_res": out.logits,
        "sam_iou": torch.cat([claimed for _, claimed in alone]),
        "sam_logit": logits[:, None],
        "loss": loss.total,
        "bce": loss.cross_entropy,
        "dice": loss.dice,
        "sam_dense_pe": decoding.prompt_encoder.get_dense_pe(),
    }
    compare(found, outputs)
