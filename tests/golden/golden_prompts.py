"""VRP-SAM, DC-SAM and DC-SAM's attention on the maps of a golden set."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from golden_comparison import Answers, Shots
from golden_heads import BACKBONE_CHANNELS, sides
from golden_recipe import deepen, fill_state, golden_sam
from golden_sets import Array, GoldenError, GoldenSet
from torch import Tensor

from baselines.common.features import Seen, masked_average, on_grid, prior_mask
from baselines.vrp_sam_network import VrpSam, VrpSamConfig
from baselines.vrp_sam_network import from_official as vrp_sam_from_official
from baselines.vrp_sam_network import official_name as vrp_sam_name
from dcsam.checkpoint import from_official as dcsam_from_official
from dcsam.checkpoint import official_name as dcsam_name
from dcsam.config import DcSamConfig, preset
from dcsam.cycle_attention import CycleAttention
from dcsam.losses import segmentation_loss
from dcsam.model import DcSam, Prompted, labelled
from icvos.models.token_decoding import Sam1Tokens, Sam2Tokens, SamFeatures, TokenDecoding

BACKBONES = {"resnet50": False, "resnet101": False, "vgg16": True, "vgg16_bn": True}  # is it VGG?
SAM_CHANNELS = {"embed": 256, "hr0": 32, "hr1": 64}
ATTENTION_WIDTH, ATTENTION_HEADS = 256, 4


def vrp_sam_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """VRP-SAM; every shot makes its own tokens and has its own maps, of which nothing is averaged."""
    given.only_options("backbone", "num_query", "condition", "nshot")
    given.option("condition", ("mask",))
    vgg, shots = BACKBONES[given.option("backbone", tuple(BACKBONES))], given.option("nshot")
    batch, side = given.meta["batch"], given.meta["image_size"]
    channels, cells = BACKBONE_CHANNELS[vgg], sides(side, vgg)

    def maps(name: str, level: int) -> Array:
        return given.maps(name, (batch, channels[level]), cells[level], relu=True)

    levels = [torch.from_numpy(maps(f"query_feat_{level}", level)).to(dtype) for level in (2, 3)]
    embedding = given.maps("sam_image_embedding", (batch, SAM_CHANNELS["embed"]), cells[3], relu=False)
    query = Seen(*levels, SamFeatures(torch.from_numpy(embedding).to(dtype)))
    each = [[maps(f"supp_feat_{level}_{shot}", level) for shot in range(shots)] for level in (2, 3)]
    supports = Seen(*(torch.from_numpy(np.stack(level, 1)).flatten(0, 1).to(dtype) for level in each))
    masks = torch.from_numpy(given.shot_masks("support_mask", (batch, shots), side, ignore=False)).to(dtype)
    truth = torch.from_numpy(given.masks("query_mask", (batch,), side, "query_mask", ignore=False))
    model = VrpSam(VrpSamConfig(queries=given.option("num_query")), channels[2] + channels[3]).eval().to(dtype)
    like = {vrp_sam_name(name): value for name, value in model.state_dict().items()}
    model.load_state_dict(vrp_sam_from_official(fill_state(like, given.gain)))
    decoding = Sam1Tokens(golden_sam("sam", embedding.shape[-1], dtype))
    out = model(query, supports, masks, deepen, decoding)
    logits = out.enlarged(tuple(truth.shape[-2:]))
    loss = segmentation_loss(logits, truth)
    alone = [_official_answer(decoding, query.sam_features.embedding[[item]], out.tokens[[item]]) for item in range(batch)]
    if not torch.allclose(torch.cat([mask for mask, _ in alone]), out.logits, rtol=1e-4, atol=1e-5):
        raise GoldenError(f"{given.folder.name}: a batch is decoded otherwise than each of its images by itself")
    return {
        "protos": out.tokens,
        "pseudo_mask": Shots(out.prior, shots),
        "support_mask_ds": Shots(out.masks, shots),
        "prototype": Shots(out.prototype, shots),
        "supp_feat_1": Shots(out.support, shots),
        "query_feat_1": Shots(out.query, shots),
        "pos_embed": model.positions(out.query)[:1, ::16],  # every sixteenth channel is stored
        "sam_low_res": out.logits,
        "sam_iou": torch.cat([claimed for _, claimed in alone]),
        "sam_logit": logits[:, None],
        "loss": loss.total,
        "bce": loss.cross_entropy,
        "dice": loss.dice,
        "sam_dense_pe": decoding.prompt_encoder.get_dense_pe(),
    }


def _official_answer(decoding: Sam1Tokens, embedding: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What the package's own decoder says of one image: logits and claimed IoU."""
    _, dense = decoding.prompt_encoder(points=None, boxes=None, masks=None)
    positions = decoding.prompt_encoder.get_dense_pe()
    return decoding.mask_decoder(embedding, positions, tokens, dense, multimask_output=False)


def dcsam_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """DC-SAM in every reading that the sets may store."""
    given.only_options("backbone", "sam_version", "num_query", "nshot")
    vgg, sam = BACKBONES[given.option("backbone", tuple(BACKBONES))], {1: "sam", 2: "sam2"}[given.option("sam_version", (1, 2))]
    shots, batch, side = given.option("nshot"), given.meta["batch"], given.meta["image_size"]
    query = _seen(given, "query", "query", batch, vgg, sam, dtype)
    supports = _seen(given, "supp", "support", batch * shots, vgg, sam, dtype)
    flat = given.masks("support_mask", (batch * shots,), side, "support_mask", ignore=False)
    masks = torch.from_numpy(flat).unflatten(0, (batch, shots)).to(dtype)
    truth = torch.from_numpy(given.masks("query_mask", (batch,), side, "query_mask", ignore=False))
    config = _configured(given, sam)
    model = DcSam(config, query.level2.shape[1] + query.level3.shape[1]).eval().to(dtype)
    like = {dcsam_name(name): value for name, value in model.state_dict().items()}
    generator, rest = dcsam_from_official(fill_state(like, given.gain))
    if rest:
        raise GoldenError(f"{given.folder.name}: tensors without a place: {', '.join(rest)}")
    model.load_state_dict(generator)
    decoding = (Sam1Tokens if sam == "sam" else Sam2Tokens)(golden_sam(sam, query.sam_features.embedding.shape[-1], dtype))
    out = model(query, supports, masks, deepen, decoding)
    logits = out.enlarged(tuple(truth.shape[-2:]))
    loss = segmentation_loss(logits, truth, config.dice)
    positive, negative = out.views
    reduced = model.fusion.reduced(query)
    return {
        "stage1_pos": out.mediate[0],
        "stage1_neg": out.mediate[1],
        "stage1_sparse": labelled(out.mediate, decoding.labels),
        "stage1_low_res": out.coarse_logits,
        "pre_mask": out.coarse_mask,
        **_readings(model, out, decoding),
        "final_low_res": out.logits,
        "final_logit": logits[:, None],
        "loss": loss.total,
        "bce": loss.cross_entropy,
        "dice": loss.dice,
        **_by_shot(model, query, supports, masks, out, "pseudo_mask", ("pos_prototype", "neg_prototype")),
        "query_sam_fused": reduced.sam if config.backbone_fusion else reduced.features,
        "supp_feat_1": Shots(positive.fused.supports.flatten(0, 1), shots),
        "neg_supp_feat_1": Shots(negative.fused.supports.flatten(0, 1), shots),
        "query_feat_1": positive.fused.query,
        "neg_query_feat_1": negative.fused.query,
    }


def _seen(given: GoldenSet, maps: str, sam_maps: str, count: int, vgg: bool, sam: str, dtype: torch.dtype) -> Seen:
    """One side of a set: the backbone's two levels and SAM's features."""
    side = given.meta["image_size"]
    channels, cells = BACKBONE_CHANNELS[vgg], sides(side, vgg)
    levels = (given.maps(f"{maps}_feat_{level}", (count, channels[level]), cells[level], relu=True) for level in (2, 3))
    level2, level3 = (torch.from_numpy(level).to(dtype) for level in levels)
    grid = (side - 1) // 8 + 1  # of SAM's embedding

    def sam_map(name: str, kind: str, times: int) -> Tensor:
        block = 2 if kind == "embed" else 4
        found = given.maps(f"{sam_maps}_{name}", (count, SAM_CHANNELS[kind]), times * grid, relu=False, block=block)
        return torch.from_numpy(found).to(dtype)

    if sam == "sam":
        return Seen(level2, level3, SamFeatures(sam_map("sam", "embed", 1)))
    fine = (sam_map("hr0", "hr0", 4), sam_map("hr1", "hr1", 2))
    return Seen(level2, level3, SamFeatures(sam_map("image_embed", "embed", 1), fine))


def _configured(given: GoldenSet, sam: str) -> DcSamConfig:
    changes: dict[str, Any] = {"backbone_fusion": "Prior" not in given.meta["class"], "queries": given.option("num_query")}
    if given.option("nshot") > 1:  # as the released scripts are written, more shots fail; stored is what runs
        changes["negative_keys"] = "query"
    return preset("release", sam=sam, **changes)


def _readings(model: DcSam, out: Prompted, decoding: TokenDecoding) -> dict[str, Tensor]:
    """Stage 2 in every reading."""
    labels = decoding.labels
    carried = tuple(prompt + label for prompt, label in zip(out.mediate, labels, strict=True))
    clean, inplace = (model.refined(begun, out.views, out.coarse_mask) for begun in (out.mediate, carried))
    kept, model.config = model.config, preset("release", sam=model.config.sam, negative_keys="query")
    fixed = model.refined(out.mediate, out.views, out.coarse_mask)
    model.config = kept
    return {
        "stage2_pos": clean[0],
        "stage2_neg": clean[1],
        "stage2_pos_official_inplace": inplace[0],
        "stage2_neg_official_inplace": inplace[1],
        "stage2_neg_if_neg_query_feat": fixed[1],
    }


def _by_shot(
    model: DcSam, query: Seen, supports: Seen, masks: Tensor, out: Prompted, prior: str, prototypes: tuple[str, str]
) -> dict[str, Shots]:
    """First guesses and prototypes of every shot, with the means that the method works on."""
    shots, flat = masks.shape[1], masks.flatten(0, 1)
    deep, shown = deepen(query.level3).repeat_interleave(shots, 0), model.fusion.reduced(supports).features
    found = {}
    for before, name, view, sides_ in zip(("", "neg_"), prototypes, out.views, (flat, 1 - flat), strict=True):
        on = on_grid(sides_, supports.level3)
        each = prior_mask(deep, deepen(supports.level3 * on), on)
        found[before + prior] = Shots(each, shots, view.prior)
        found[name] = Shots(masked_average(shown, on), shots, view.fused.prototype)
    return found


def cycle_attention_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """DC-SAM's attention, with the released code's mistake in batches, and of the first image alone."""
    if re.search(rf"CyCAttention\({ATTENTION_WIDTH}, {ATTENTION_HEADS}\)", given.meta["class"]) is None:
        raise GoldenError(f"{given.folder.name}: {given.meta['class']} has another width than {ATTENTION_WIDTH}, or other heads")
    layer = CycleAttention(ATTENTION_WIDTH, ATTENTION_HEADS, mixed_masks=True).to(dtype)
    state = fill_state({f"cyc.{name}": value for name, value in layer.state_dict().items()}, given.gain)
    layer.load_state_dict({name.removeprefix("cyc."): value for name, value in state.items()})
    stored = {name: given.whole(name) for name in ("query", "key", "value", "mask")}
    query, key, value = (torch.from_numpy(stored[name]).to(dtype).transpose(0, 1) for name in ("query", "key", "value"))
    mask = torch.from_numpy(stored["mask"]) > 0
    out, weights = layer.attended(query, key, value, mask)
    layer.mixed_masks = False
    right, right_weights = layer.attended(query, key, value, mask)  # without the mistake, an image does not change with its batch
    return {
        "out": out.transpose(0, 1),
        "weights_per_head": weights,
        "zeroed_keys": (weights == 0).all(2),
        "out_batch1_alone": right[:1].transpose(0, 1),
        "weights_batch1_alone": right_weights[:1],
    }
