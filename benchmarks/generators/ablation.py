"""What each part of DC-SAM adds: the rows of the paper's Table 5, trained alike on the same small data.

    python benchmarks/generators/ablation.py --data voc_small=VOC --data coco=COCO --held-back voc_small=VOC --held-back coco=COCO \
        --steps 1200 --out ablation

Every row starts anew and sees the same episodes in the same order; all see them through the same frozen networks, so that each
picture is encoded once for all rows. What is printed is the mean IoU over classes of the same held-back episodes, and what it gains
on the row above, with intervals from drawing classes anew. Interrupted, it goes on. Each row leaves its weights, as `icvos train`
writes them, in generator.safetensors: the first row's are the embedded ones of VRP-SAM.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from baselines.common.encoders import Encoders, frozen_backbone
from baselines.common.episodes import EpisodeBatches
from baselines.common.generator_file import GeneratorFile, write_generator
from baselines.common.train_generator import RESULT, Trainable, drawn
from baselines.common.training import ImageTrainee, Seeing, class_means, episode_iou
from baselines.vrp_sam_train import trainable as vrp_sam
from dcsam.train import trainable as dcsam
from icvos.files import to_json, write_text
from icvos.models import build_sam2
from icvos.models.token_decoding import Sam2Tokens
from icvos.training.class_pictures import open_class_pictures, together
from icvos.training.loop import TrainOptions, train

SAM, BACKBONE = "sam2_nano", "efficientnet_lite0"
ROWS: dict[str, Callable[[int], Trainable]] = {
    "VRP-SAM": lambda width: vrp_sam(width, BACKBONE, {"support_view": "object"}),
    "+ positive and negative branch": lambda width: dcsam(width, SAM, BACKBONE, "default", {"sam_fusion": False, "cyclic": False}),
    "+ SAM feature fusion": lambda width: dcsam(width, SAM, BACKBONE, "default", {"cyclic": False}),
    "+ cyclic consistency": lambda width: dcsam(width, SAM, BACKBONE, "default", {}),
}


def main() -> None:
    """Train the rows, one after the other, and print what each reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR", help="to learn from")
    parser.add_argument("--held-back", action="append", required=True, metavar="NAME=DIR", help="whose val split measures")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=400, help="held back, for measuring")
    parser.add_argument("--cache", type=float, default=6.0, help="GiB of features")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    decoding, options = Sam2Tokens(build_sam2(SAM, device="cpu")), _options(given)
    made = {name: drawn(lambda make=make: make(decoding.width), given.seed) for name, make in ROWS.items()}
    encoders = Encoders(frozen_backbone(BACKBONE), decoding, next(iter(made.values())).image_size)
    learning = _episodes(given.data, "train", encoders.image_size, given.seed)
    held_back = _episodes(given.held_back, "val", encoders.image_size, given.seed)
    seeing, seeing_held_back = Seeing(encoders, learning.image, given.cache), Seeing(encoders, held_back.image, given.cache / 2)
    before: dict[str, float] | None = None
    for number, (name, method) in enumerate(made.items()):
        result = given.out / str(number) / "result.json"
        if not result.is_file():
            trainee = ImageTrainee(method.network, seeing, method.losses)
            train(trainee, learning, options, result.parent, {"row": name})
            write_generator(result.parent / RESULT, _file(method, learning, options))
            scores = episode_iou(trainee, held_back, seeing_held_back, given.episodes)
            write_text(result, to_json(class_means(scores, held_back.data.categories)))
        means = json.loads(result.read_text())
        print(_row(name, means, before), flush=True)
        before = means


def _file(method: Trainable, learning: EpisodeBatches, options: TrainOptions) -> GeneratorFile:
    facts = {"data": learning.data.name, "pictures": len(learning.data), "stage": "image", "shots": learning.shots, "seed": options.seed}
    return GeneratorFile(method.name, method.options, SAM, method.network.state_dict(), facts=facts)


def _options(given: argparse.Namespace) -> TrainOptions:
    return TrainOptions(given.steps, given.batch, given.rate, 1e-5, warm_up=min(50, given.steps // 10), seed=given.seed, cpu=True)


def _episodes(sources: Sequence[str], split: str, side: int, seed: int) -> EpisodeBatches:
    named = [source.partition("=") for source in sources]
    data = together([open_class_pictures(name, Path(root), split) for name, _, root in named])
    categories = tuple(category for category in data.categories if len(data.members(category)) > 1)
    learning = split == "train"
    return EpisodeBatches(data, categories, 1, side, seed if learning else 0, balance=0.5 if learning else 0.0, view="object")


def _row(name: str, means: dict[str, float], before: dict[str, float] | None) -> str:
    values = 100 * np.array(list(means.values()))
    said = f"{name:32} {values.mean():5.1f}  {_interval(values)}"
    if before is None:
        return f"{said}, {len(values)} classes"
    gains = values - 100 * np.array([before[category] for category in means])
    return f"{said}, {gains.mean():+.1f} {_interval(gains)} on the row above"


def _interval(values: np.ndarray) -> str:
    """95 % of the means of as many values drawn anew."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
