"""What a prompt generator or a head costs: trained parameters, and the arithmetic of one episode of one support.

Multiplications and additions both count, as torch's counter has it. No weights are needed: what is frozen is counted by shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.common.encoders import Encoders, generator_dilation
from baselines.common.features import Seen
from baselines.common.fitting import fitted_image
from baselines.common.head import Head, head_dilation
from baselines.common.train_generator import Trainable
from baselines.common.tuning import Tuning
from icvos.models.backbones import Backbone, Dilation, build_backbone
from icvos.models.sam import build_any_sam
from icvos.models.token_decoding import SamFeatures, decoding_of


@dataclass(frozen=True, slots=True)
class Sizes:
    """Parameters that are trained, and GFLOP of an episode: backbone and SAM's encoder on both pictures, then the rest."""

    method: str
    sam: str  # empty for a head
    backbone: str
    parameters: int  # of the generator or head
    sam_parameters: int  # of SAM 2 that are trained along
    backbone_gflop: float
    sam_gflop: float
    prompting_gflop: float  # the generator with SAM's decoder and the backbone's last stage; or the head


def generator_sizes(make: Callable[[int], Trainable], sam: str, backbone: str, trained: Collection[str] = ("generator",)) -> Sizes:
    """Those of a prompt generator.

    Args:
        make: gives the method for a width of tokens.
        sam: name of the SAM that is prompted.
        backbone: name of the frozen backbone.
        trained: what is trained: generator, decoder, memory, lora.
    """
    model = build_any_sam(sam, "untrained", "cpu")
    decoding = decoding_of(model)
    method, shapes = make(decoding.width), decoding_of(deepcopy(model).to("meta"))
    side, dilation = method.image_size, generator_dilation(backbone)
    looking, counted = _on_paper(backbone, dilation), Encoders(_on_paper(backbone, dilation), shapes, side)
    backbone_gflop, _ = gigaflops(partial(looking, torch.empty(2, 3, side, side, device="meta")))
    frozen, seen = gigaflops(partial(counted.see, [np.zeros((8, 8, 3), np.uint8)] * 2))
    part, mask = _at_random(seen), torch.ones(1, 1, side, side)
    deepest = Encoders(_on_paper(backbone, dilation).to_empty(device="cpu"), decoding, side).deepen
    network = method.network.eval().requires_grad_(False)
    prompting, _ = gigaflops(partial(network, part, part, mask, deepest, decoding))
    along = _trained_of_sam(model, method, trained)
    return Sizes(method.name, sam, backbone, parameters(network), along, backbone_gflop, frozen - backbone_gflop, prompting)


def head_sizes(make: Callable[[], Head], name: str) -> Sizes:
    """Those of a few-shot head, whose mask any SAM 2 follows."""
    head = make().eval()
    config = head.config
    backbone = _on_paper(config.backbone, head_dilation(config.backbone)).to_empty(device="cpu")
    for value in backbone.parameters():
        nn.init.constant_(value, 0.01)
    pixels = torch.zeros(1, 3, *fitted_image(np.zeros((8, 8, 3), np.uint8), config.image_size, config.fit).shape[:2])
    mask = torch.ones(1, 1, *pixels.shape[2:])
    looking, (query, support) = gigaflops(lambda: (head.look(backbone, pixels), head.look(backbone, pixels, mask)))
    asked = head.targets([1])
    answering, _ = gigaflops(lambda: head(query, support, mask, asked))
    return Sizes(name, "", config.backbone, parameters(head), 0, looking, 0.0, answering)


def gigaflops(what: Callable[[], Any]) -> tuple[float, Any]:
    """How many, and what it gave."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        given = what()
    return counter.get_total_flops() / 1e9, given


def parameters(module: nn.Module) -> int:
    """How many parameters it has."""
    return sum(value.numel() for value in module.parameters())


def _on_paper(name: str, dilation: Dilation | None) -> Backbone:
    """A backbone with shapes and no values: counting needs no more."""
    with torch.device("meta"):
        return build_backbone(name, dilation=dilation)


def _at_random(seen: Seen) -> Seen:
    """Features of the same shapes on the CPU."""

    def drawn(maps: Tensor) -> Tensor:
        return torch.randn(1, *maps.shape[1:])

    sam = seen.sam_features
    return Seen(drawn(seen.level2), drawn(seen.level3), SamFeatures(drawn(sam.embedding), tuple(map(drawn, sam.fine))))


def _trained_of_sam(model: nn.Module, method: Trainable, trained: Collection[str]) -> int:
    """Parameters of SAM 2 that are trained along with the generator."""
    Tuning(trained, method.adapters).prepare(method.network, model, encoding=True)
    return sum(value.numel() for value in model.parameters() if value.requires_grad)
