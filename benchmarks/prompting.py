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
from functools import partial

import numpy as np
import torch

from baselines.common.encoders import Encoders, frozen_backbone
from baselines.common.sizes import generator_sizes
from baselines.common.train_generator import Trainable
from baselines.vrp_sam_train import trainable as vrp_sam
from dcsam.train import trainable as dcsam
from icvos.models import build_sam2
from icvos.models.token_decoding import Sam2Tokens

NAMES = ("VRP-SAM", "DC-SAM", "DC-SAM without backbone features")


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
        for name in NAMES:
            found = generator_sizes(partial(_one, name, sam, options.backbone), sam, options.backbone)
            print(
                f"{sam:13} {name:34} {found.parameters / 1e6:6.3f} M, GFLOP: backbone {found.backbone_gflop:6.1f}, "
                f"SAM's encoder {found.sam_gflop:8.1f}, prompting {found.prompting_gflop:6.1f}",
                flush=True,
            )


def _one(name: str, sam: str, backbone: str, width: int) -> Trainable:
    return methods(width, sam, backbone)[name]


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
