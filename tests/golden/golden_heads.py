"""PFENet, HDMNet and AMNet on the maps of a golden set."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from golden_comparison import Answers
from golden_recipe import deepen, fill_state, generator
from golden_sets import Array, GoldenError, GoldenSet, tensors
from torch import Tensor, nn

from baselines import amnet_network, hdmnet_network
from baselines.common.base_learner import cross_entropy
from baselines.common.levels import Levels, bilinear
from baselines.pfenet_network import Pfenet, deepened, pfenet_loss
from baselines.pfenet_network import preset as pfenet_preset

BACKBONE_CHANNELS = {False: {2: 512, 3: 1024, 4: 2048}, True: {2: 256, 3: 512, 4: 512}}  # by "is it VGG?"
LEVEL5_CHANNELS = 512
BASE_CLASSES = {"coco": 60, "pascal": 15}  # that a fold leaves
LAYERS = (50, 101, 152)  # of a residual network, which the sets replace by maps
CLASS_BIAS = "bias_"  # inputs that replace the biases of the last convolutions


def sides(size: int, vgg: bool) -> dict[int, int]:
    """Cells in a row of each level's map, of pictures of `size` pixels, where nothing that is stored tells it."""
    coarse = (size - 1) // 8 + 1
    return {2: (size - 1) // 4 + 1 if vgg else coarse, 3: coarse, 4: coarse, 5: coarse}


def pfenet_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """PFENet."""
    given.only_options("layers", "classes", "zoom_factor", "vgg", "shot", "ppm_scales")
    given.option("layers", LAYERS), given.option("classes", (2,)), given.option("zoom_factor", (8,))
    vgg, shots, batch, side = given.option("vgg", (True, False)), given.option("shot"), given.meta["batch"], given.meta["image_size"]
    channels, cells = BACKBONE_CHANNELS[vgg], sides(side, vgg)

    def maps(who: str) -> Array:
        return given.maps(who, (batch, channels[level]), cells[level], relu=True)

    query, supports = [], []
    for level in (2, 3):
        query.append(maps(f"query_feat_{level}"))
        each = [maps(f"supp_feat_{level}_{shot}") for shot in range(shots)]
        supports.append(np.stack(each, 1).reshape(batch * shots, *each[0].shape[1:]))
    truth = torch.from_numpy(given.masks("y", (batch,), side, "y", ignore=True))
    masks = (torch.from_numpy(given.shot_masks("s_y", (batch, shots), side, ignore=True)) == 1).to(dtype)
    asked = deepened(*(torch.from_numpy(level).to(dtype) for level in query), deepen)
    shown = deepened(*(torch.from_numpy(level).to(dtype) for level in supports), deepen, masks.flatten(0, 1)[:, None])
    config = pfenet_preset("release", bins=tuple(given.option("ppm_scales")), image_size=side)
    model = Pfenet(config, channels).eval().to(dtype)
    model.load_state_dict(fill_state(model.state_dict(), given.gain))
    out = model(asked, shown, masks)
    loss = pfenet_loss(out, truth)
    logits = out.enlarged((side, side))
    return {
        "logits": logits,
        "prior_at_bin0": bilinear(out.prior, out.inner[0].shape[-2:]),
        "support_prototype_mean": out.prototype,
        "query_feat": out.query,
        **{f"inner_{scale}": values for scale, values in enumerate(out.inner)},
        "cls_before_upsample": out.logits,
        "argmax_sum": logits.argmax(1).sum(),
        "main_loss": loss.main,
        "aux_loss": loss.inner,
    }


class MatchingInputs(NamedTuple):
    """What HDMNet and AMNet are given, with the network that holds the recipe's weights."""

    model: Any
    query: Levels
    supports: Levels
    masks: Tensor  # (B, K, S, S)
    targets: Tensor  # (B,)
    truth: Tensor  # (B, S, S) of 0, 1 and 255
    base_truth: Tensor  # (B, S, S), of the base classes
    size: tuple[int, int]


def hdmnet_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """HDMNet."""
    read = matching_inputs(given, dtype, hdmnet_network.preset, hdmnet_network.Hdmnet)
    out = read.model(read.query, read.supports, read.masks)
    read.model.training = True  # the flag alone, as the sets were made: dropout stays off
    trained = read.model(read.query, read.supports, read.masks, read.targets)
    loss = hdmnet_network.hdmnet_loss(trained, read.truth)
    return {
        **_matching_answers(out, out.logits, read.size),
        "mix_cls": out.logits,
        "gram_merge_first_bg_and_base_map": out.merged.backgrounds,
        "train_argmax_sum": trained.enlarged(read.size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": cross_entropy(trained.prepared.base_logits, read.base_truth),
    }


def amnet_answers(given: GoldenSet, dtype: torch.dtype) -> Answers:
    """AMNet, with its discriminator's losses."""
    read = matching_inputs(given, dtype, amnet_network.preset, amnet_network.Amnet)
    given.described("random", r"random\.seed\(0\)")
    out = read.model(read.query, read.supports, read.masks)
    read.model.training = True
    trained = read.model(read.query, read.supports, read.masks, read.targets)
    loss = amnet_network.amnet_loss(trained, read.truth)
    judged = read.model.adversarial(trained, read.truth, random.Random(0), learning=False)
    return {
        **_matching_answers(out, out.logits[-1], read.size),
        **dict(zip(("mix_cls", "mix_cls_r1", "mix_cls_r2"), out.logits, strict=True)),
        **dict(zip(("refine1_mask", "refine2_mask"), out.masks, strict=True)),
        "gram_merge_first_bg_and_base_map": out.merged[0].backgrounds,
        "train_argmax_sum": trained.enlarged(read.size).argmax(1).sum(),
        "loss_main_plus_aux": loss.masks,
        "loss_distil": loss.distillation,
        "loss_aux2_base": cross_entropy(trained.prepared.base_logits, read.base_truth),
        "loss_diversity": judged.diversity,
        "loss_loss_G": judged.generator,
        "loss_loss_D": judged.discriminator,
    }


def matching_inputs(
    given: GoldenSet, dtype: torch.dtype, preset: Callable[..., Any], network: Callable[[Any, dict[int, int]], nn.Module]
) -> MatchingInputs:
    """Read a set of HDMNet or AMNet."""
    given.only_options("shot", "data_set", "vgg", "low_fea", "kshot_trans_dim", "layers")
    given.option("low_fea", ("layer2",)), given.option("kshot_trans_dim", (2,)), given.option("layers", LAYERS)
    vgg, shots = given.option("vgg", (True, False)), given.option("shot")
    classes = BASE_CLASSES[given.option("data_set", tuple(BASE_CLASSES))]
    batch, side = given.meta["batch"], given.meta["image_size"]
    channels, cells = {**BACKBONE_CHANNELS[vgg], 5: LEVEL5_CHANNELS}, sides(side, vgg)

    def levels(who: str, count: int) -> Levels:
        drawn = (given.maps(f"{who}_feat_{at}", (count, channels[at]), cells[at], relu=at != 5) for at in (2, 3, 4, 5))
        return Levels(*(torch.from_numpy(maps).to(dtype) for maps in drawn))

    def labels(shape: tuple[int, ...]) -> Array:
        return generator("y_b").integers(0, 1 + classes, shape).astype(np.uint8)

    query, supports = levels("query", batch), levels("supp", batch * shots)
    masks = (torch.from_numpy(given.shot_masks("s_y", (batch, shots), side, ignore=True)) == 1).to(dtype)
    truth = torch.from_numpy(given.masks("y", (batch,), side, "y", ignore=True))
    base_truth = torch.from_numpy(given.input("y_b", (batch, side, side), labels))
    numbers = given.described("inputs_recipe", r"cat_idx=\[\[([\d, ]+)\]\[:B\]\]")[0].split(",")[:batch]
    targets = torch.tensor([1 + int(number) for number in numbers])  # meta.json counts from 0 without a background
    model = network(preset("release", shots=shots, base_classes=tuple(range(1, classes + 1))), channels).to(dtype).eval()
    model.load_state_dict(_overridden(given, fill_state(model.state_dict(), given.gain)))
    return MatchingInputs(model, query, supports, masks, targets, truth, base_truth, (side, side))


def _overridden(given: GoldenSet, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The recipe's weights, but for those that meta.json says were set by hand afterwards."""
    for name in ("gram_merge", "cls_merge"):
        values = given.described("weights", rf"{name}\.weight=\[([-\d., ]+)\]")[0]
        state[f"{name}.weight"] = torch.tensor([float(value) for value in values.split(",")]).view(1, 2, 1, 1)
    factor = float(given.described("weights", r"multiplied by ([\d.]*\d)")[0])
    last = [
        name.removesuffix(".4.weight")
        for name in state
        if name.startswith("transformer.mix_transformer.cls") and name.endswith(".4.weight")
    ]
    for layer in last:
        bias = CLASS_BIAS + layer.rpartition(".")[2]
        state[f"{layer}.4.weight"] = state[f"{layer}.4.weight"] * factor
        state[f"{layer}.4.bias"] = tensors({bias: given.input(bias, (2,))}, torch.float64)[bias]
    if not last:
        raise GoldenError(f"{given.folder.name}: no classifier is known whose bias is replaced")
    return state


def _matching_answers(out: Any, logits: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """What both heads give; `logits` are those that come before the base learner is asked."""
    return {
        "final_out": out.enlarged(size),
        "meta_out": bilinear(logits, size),
        "base_out": bilinear(out.prepared.base_logits, size),
        "prior_similarity": out.prepared.similarity,
        **{f"corr_weight_{place}": values for place, values in enumerate(out.correlations)},
        "query_merge": out.prepared.query,
        "supp_merge": out.prepared.supports,
        **{f"down_query_{place}": stage.tokens for place, stage in enumerate(out.stages)},
        **{f"match_{place}": found.maps for place, found in enumerate(out.joined)},
        **{f"parse_{place}": parsed for place, parsed in enumerate(out.parsed)},
    }
