"""What Matcher costs: matching, candidate masks, and judging them, each beside the plain way to do the same.

    python benchmarks/matcher.py [--rounds 3] [--dense 16] [--subsets 16]

With the embedded models on one picture of 300 x 451 pixels; matching besides on the paper's grid of 37 x 37, with features by
chance. The plain way asks SAM 2 for one prompt at a time, enlarges every answer to the size that the backbone sees before any is
left out, and computes the earth mover's distance of every candidate (here of all, also those whose boxes are alike).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from skimage import data

from baselines.common.encoders import frozen_backbone
from baselines.matcher import EMBEDDED
from baselines.matcher_config import MatcherConfig
from baselines.matcher_generation import OFFSET, Candidates, MaskGenerator
from baselines.matcher_matching import Places, match
from baselines.matcher_sampling import Points
from baselines.matcher_scoring import Judged, chosen, covered_cells, transport
from baselines.matcher_steps import Matcher
from icvos.models import build_sam2
from icvos.models.token_decoding import Sam2Tokens, SamFeatures


def plainly(generator: MaskGenerator, features: SamFeatures, prompts: list[Points]) -> Candidates:
    """The candidates of prompts, asked one by one, each enlarged to the size of the backbone's picture before anything is left out."""
    config, found = replace(generator.config, mask_size=0), []
    asking = MaskGenerator(generator.decoding, replace(config, prompted_iou=0.0, prompted_stability=0.0), at_once=1)
    for prompt in single(prompts):
        answer = asking.prompted(features, [prompt], None)
        large = asking.enlarged(answer.logits, (config.image_size, config.image_size))
        good = (answer.claimed > config.prompted_iou) & (calculate_stability_score(large, 0.0, OFFSET) >= config.prompted_stability)
        masks = large[good] > 0
        found.append(Candidates(answer.logits[good], masks, answer.claimed[good], batched_mask_to_box(masks)))
    return Candidates(*(torch.cat(part) for part in zip(*found, strict=True)))


def single(prompts: list[Points]) -> Iterator[Points]:
    """Each prompt by itself, (1, n, 2)."""
    return (sets[number : number + 1] for sets in prompts for number in range(len(sets)))


def judged_plainly(judged: Judged, config: MatcherConfig) -> Places:
    """The choice, after the distance of every candidate."""
    cost = judged.matches.cost[judged.matches.foreground]
    judged.__dict__["emd"] = np.array([1 - transport(cost[:, cells]) for cells in judged.cells])
    return chosen(judged, config)


class Clock:
    """Keeps how long each step took, round by round."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def note(self, name: str, what: Callable[..., Any], *given: Any) -> Any:
        """Do something and note how long it takes; gives what it gives."""
        started = time.perf_counter()
        result = what(*given)
        self.taken.setdefault(name, []).append(time.perf_counter() - started)
        return result

    def median(self, name: str) -> float:
        """In milliseconds."""
        return 1000 * statistics.median(self.taken[name])


def measure(options: argparse.Namespace) -> Clock:
    """Every step, every round."""
    config = replace(EMBEDDED, dense=options.dense, subsets=options.subsets)
    matcher = Matcher(config, frozen_backbone(config.backbone), Sam2Tokens(build_sam2("sam2_nano", device="cpu")))
    keeping_all = MaskGenerator(matcher.generator.decoding, replace(config, box_overlap=1.0))
    image = data.cat()
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[40:290, 120:400] = True
    patches = torch.randn(2, 37 * 37, 1024, generator=torch.Generator().manual_seed(0))
    object_cells = np.arange(37 * 37) % 37 < 10
    transport(np.ones((2, 2)))  # its package takes seconds to import
    clock = Clock()
    for _ in range(options.rounds):
        clock.note("matching on 37 x 37 cells, 370 of them the object's", match, *patches, object_cells)
        seen = clock.note(f"frame 0: features, and {config.dense**2} dense prompts", matcher.see, image)
        found = clock.note("a support: features and matching", matcher.find, seen, [image], [mask])
        prompts = matcher.prompts(found)
        quick = clock.note("sets of points", keeping_all.prompted, seen.sam, prompts, None)
        plain = clock.note("sets of points, plainly", plainly, keeping_all, seen.sam, prompts)
        assert abs(len(quick.masks) - len(plain.masks)) <= 0.1 * len(plain.masks)  # steadiness depends on the size a little
        masks = keeping_all.distinct(seen.dense, quick).masks.numpy()
        points, cells = found.points * config.judged_size // config.image_size, covered_cells(masks, matcher.grid, config)
        kept = clock.note("judging", chosen, Judged(found.matches, points, masks, cells), config)
        same = clock.note("judging, plainly", judged_plainly, Judged(found.matches, points, masks, cells), config)
        np.testing.assert_array_equal(kept, same)
    print(f"{sum(map(len, prompts))} sets of points, {len(masks)} candidates, {len(np.unique(cells, axis=0))} that cover different cells")
    return clock


def main() -> None:
    """Measure and print medians; of steps that are done in two ways also how many times as long the plain one takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dense", type=int, default=EMBEDDED.dense)
    parser.add_argument("--subsets", type=int, default=EMBEDDED.subsets)
    clock = measure(parser.parse_args())
    for name in clock.taken:
        quick = name.removesuffix(", plainly")
        ratio = f"  {clock.median(name) / clock.median(quick):6.2f} x" if quick != name else ""
        print(f"{name:52} {clock.median(name):9.1f} ms{ratio}")


if __name__ == "__main__":
    main()
