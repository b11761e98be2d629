"""What prompt generators cost: parameters, arithmetic, time per episode and per training step.

    python benchmarks/prompting.py sizes                  DC-SAM's Table 14, counted: no weights needed
    python benchmarks/prompting.py time [--rounds 5]      seconds, with the embedded models

`sizes` counts one episode of one support through everything that an episode runs: backbone and SAM's encoder on both pictures,
the generator, and SAM's decoder as often as it is asked. Multiplications and additions both count, as torch's counter has it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.common.encoders import Encoders, frozen_backbone
from baselines.common.train_generator import Trainable
from baselines.vrp_sam_train import trainable as vrp_sam
from dcsam.train import trainable as dcsam
from icvos.models import build_sam2
from icvos.models.backbones import build_backbone
from icvos.models.sam import build_sam
from icvos.models.token_decoding import Sam1Tokens, Sam2Tokens, TokenDecoding


def methods(width: int, sam: str, backbone: str) -> dict[str, Trainable]:
    """The generators that are compared."""
    return {
        "VRP-SAM": vrp_sam(width, backbone, {}),
        "DC-SAM": dcsam(width, sam, backbone, "default", {}),
        "DC-SAM without backbone features": dcsam(width, sam, backbone, "default", {"backbone_fusion": False}),
    }


def sizes(options: argparse.Namespace) -> None:
    """Trained parameters in millions, and GFLOPs of a whole episode and of the generator with the decoder alone."""
    for sam in options.sam:
        decoding: TokenDecoding
        if sam.startswith("sam_vit"):
            decoding = Sam1Tokens(build_sam(sam, "untrained", "cpu"))
        else:
            decoding = Sam2Tokens(build_sam2(sam, "untrained", "cpu"))
        for name, method in methods(decoding.width, sam, "resnet50_v2").items():
            encoders = Encoders(build_backbone("resnet50_v2", dilation="later-blocks"), decoding, method.image_size)
            images = [np.zeros((512, 512, 3), np.uint8)]
            with FlopCounterMode(display=False) as seeing, torch.no_grad():
                query, support = encoders.see(images), encoders.see(images)
            mask = torch.ones(1, 1, 512, 512)
            with FlopCounterMode(display=False) as prompting, torch.no_grad():
                method.network.eval()(query, support, mask, encoders.deepen, decoding)
            count = parameters(method.network) / 1e6
            whole = (seeing.get_total_flops() + prompting.get_total_flops()) / 1e9
            own = prompting.get_total_flops() / 1e9
            print(f"{sam:14} {name:34} {count:6.3f} M  {whole:8.1f} GFLOP  of it prompts {own:6.1f}", flush=True)


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
    counting.set_defaults(run=sizes)
    timing = commands.add_parser("time", help="seconds")
    timing.add_argument("--rounds", type=int, default=5)
    timing.set_defaults(run=timings)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
