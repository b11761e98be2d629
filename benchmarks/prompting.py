"""What prompt generators cost: parameters, arithmetic, time per episode and per training step.

    python benchmarks/prompting.py sizes                  DC-SAM's Table 14, counted: no weights needed
    python benchmarks/prompting.py time [--rounds 5]      seconds, with the embedded models

`sizes` counts one episode of one support: backbone and SAM's encoder on both pictures, then the generator with SAM's decoder, as
often as it is asked, and the backbone's last stage. Multiplications and additions both count, as torch's counter has it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.common.encoders import Encoders, frozen_backbone
from baselines.common.features import Seen
from baselines.common.train_generator import Trainable
from baselines.vrp_sam_train import trainable as vrp_sam
from dcsam.train import trainable as dcsam
from icvos.models import build_sam2
from icvos.models.backbones import Backbone, build_backbone
from icvos.models.sam import build_sam
from icvos.models.token_decoding import Sam1Tokens, Sam2Tokens, SamFeatures, TokenDecoding


def methods(width: int, sam: str, backbone: str) -> dict[str, Trainable]:
    """The generators that are compared."""
    return {
        "VRP-SAM": vrp_sam(width, backbone, {}),
        "DC-SAM": dcsam(width, sam, backbone, "default", {}),
        "DC-SAM without backbone features": dcsam(width, sam, backbone, "default", {"backbone_fusion": False}),
    }


def sizes(options: argparse.Namespace) -> None:
    """Trained parameters in millions, and GFLOPs of one episode: what is frozen, then the generator with the decoder."""
    for sam in options.sam:
        model = (build_sam if sam.startswith("sam_vit") else build_sam2)(sam, "untrained", "cpu")
        model.requires_grad_(False)
        decoding, shapes_only = _decoding(sam, model), _decoding(sam, deepcopy(model).to("meta"))
        for name, method in methods(decoding.width, sam, options.backbone).items():
            backbone, counted = on_paper(options.backbone), Encoders(on_paper(options.backbone), shapes_only, method.image_size)
            looking, _ = gigaflops(partial(backbone, torch.empty(2, 3, method.image_size, method.image_size, device="meta")))
            frozen, seen = gigaflops(partial(counted.see, [np.zeros((8, 8, 3), np.uint8)] * 2))
            part = _at_random(seen, 1)
            mask, network = torch.ones(1, 1, method.image_size, method.image_size), method.network.eval().requires_grad_(False)
            deepest = on_paper(options.backbone).to_empty(device="cpu")
            prompting, _ = gigaflops(partial(network, part, part, mask, Encoders(deepest, decoding, method.image_size).deepen, decoding))
            print(
                f"{sam:13} {name:34} {parameters(network) / 1e6:6.3f} M, GFLOP: backbone {looking:6.1f}, "
                f"SAM's encoder {frozen - looking:8.1f}, prompting {prompting:6.1f}",
                flush=True,
            )


def _decoding(sam: str, model: nn.Module) -> TokenDecoding:
    return Sam1Tokens(model) if sam.startswith("sam_vit") else Sam2Tokens(model)


def on_paper(name: str) -> Backbone:
    """A backbone as the methods build it, with shapes and no values: counting needs no more."""
    with torch.device("meta"):
        return build_backbone(name, dilation="later-blocks" if name.startswith("resnet") else None)


def gigaflops(what: Callable[[], Any]) -> tuple[float, Any]:
    """How many, and what it gave."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        given = what()
    return counter.get_total_flops() / 1e9, given


def _at_random(seen: Seen, count: int) -> Seen:
    """Features of the same shapes on the CPU."""

    def drawn(maps: Tensor) -> Tensor:
        return torch.randn(count, *maps.shape[1:])

    sam = seen.sam_features
    return Seen(drawn(seen.level2), drawn(seen.level3), SamFeatures(drawn(sam.embedding), tuple(map(drawn, sam.fine))))


def parameters(module: nn.Module) -> int:
    """How many parameters it has."""
    return sum(value.numel() for value in module.parameters())


def timings(options: argparse.Namespace) -> None:
    """Milliseconds an episode and a training step of eight, medians over rounds in which the methods take turns."""
    decoding = Sam2Tokens(build_sam2("sam2_nano", device="cpu"))
    backbone = frozen_backbone("efficientnet_lite0")
    made = methods(decoding.width, "sam2_nano", "efficientnet_lite0")
    taken: dict[tuple[str, str], list[float]] = {}
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (320, 320, 3), np.uint8) for _ in range(8)]
    for _ in range(options.rounds):
        for name, method in made.items():
            encoders = Encoders(backbone, decoding, method.image_size)
            taken.setdefault((name, "seeing two pictures"), []).append(seconds(lambda seen=encoders: seen.see(images[:2])))
            seen = encoders.see(images)
            masks = torch.zeros(8, 1, method.image_size, method.image_size)
            masks[..., 100:250, 100:250] = 1

            def answer(count: int, method: Trainable = method, encoders: Encoders = encoders, seen=seen, masks=masks):
                part = seen.picked(torch.arange(count))
                return method.network(part, part, masks[:count], encoders.deepen, decoding)

            def step(method: Trainable = method, masks=masks, answer=answer) -> None:
                logits = answer(8).enlarged(tuple(masks.shape[-2:]))
                method.losses(logits, masks[:, 0])["loss"].backward()

            method.network.eval()
            with torch.no_grad():
                taken.setdefault((name, "prompting"), []).append(seconds(lambda: answer(1)))
            method.network.train()
            taken.setdefault((name, "training step of 8, features known"), []).append(seconds(step))
    baseline = {what: statistics.median(values) for (name, what), values in taken.items() if name == "VRP-SAM"}
    for (name, what), values in taken.items():
        median = statistics.median(values)
        print(f"{name:34} {what:36} {1000 * median:8.1f} ms  {median / baseline[what]:5.2f} x VRP-SAM")


def seconds(what: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    counting = commands.add_parser("sizes", help="parameters and arithmetic")
    counting.add_argument("--sam", nargs="+", default=["sam2_hiera_l"])
    counting.add_argument("--backbone", default="resnet50_v2")
    counting.set_defaults(run=sizes)
    timing = commands.add_parser("time", help="seconds")
    timing.add_argument("--rounds", type=int, default=5)
    timing.set_defaults(run=timings)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
