"""Guesses of what unnamed objects are, for a person to look at: never a label.

A frozen EfficientNet-Lite0 (embedded, ImageNet weights) sees a square crop around an object; the mean of its last map under
the mask is the object's feature. A COCO class is the mean of the features of some of its objects, and the score of a class is
the cosine of the two.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from curation.sources.coco import Coco, SupportCandidate
from curation.sources.scan import scan
from icvos.categories import CATEGORIES
from icvos.errors import DataError
from icvos.masks import decode_rle, foreground_values, read_ids, read_image, rle_area
from icvos.models.backbones import load_backbone
from icvos.types import RLE, Category, Clip, Image, Mask

SIDE = 224  # pixels of a crop
LEVEL = 4
PER_CLASS = 20  # COCO objects that make a class's prototype
LOOKS = 3  # frames on which an object is looked at
TOP = 5
HEADER = ("source", "clip", "object", "rank", "class", "score", "frames")
Features: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prototypes:
    """What COCO's classes look like: `features` (C, D), each of length 1, in the order of `classes`."""

    classes: tuple[Category, ...]
    features: Features


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One object, and the classes that it looks most like, the best first, with cosines in [-1, 1]."""

    source: str
    clip: str
    object: int
    frames: tuple[str, ...]  # that were looked at
    classes: tuple[tuple[str, float], ...]


class Looker:
    """The backbone, and what it says of objects."""

    def __init__(self) -> None:
        self.backbone = load_backbone("efficientnet_lite0", offline=True)

    @torch.no_grad()
    def features(self, objects: Sequence[tuple[Image, Mask]]) -> Features:
        """Pictures (H, W, 3) uint8 with masks (H, W) bool, each with at least one pixel: features (N, D) of length 1."""
        crops = [square_crop(image, mask) for image, mask in objects]
        masks = torch.from_numpy(np.stack([mask for _, mask in crops]))[:, None]
        maps = self.maps(np.stack([image for image, _ in crops]))
        weights = functional.adaptive_avg_pool2d(masks, (maps.shape[-2], maps.shape[-1]))
        means = (maps * weights).sum((2, 3)) / weights.sum((2, 3))
        features: Features = functional.normalize(means).numpy()
        return features

    @torch.no_grad()
    def maps(self, images: Image) -> Tensor:
        """The last map of pictures (N, H, W, 3), (N, D, H / 32, W / 32)."""
        spec = self.backbone.spec
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        normal = (pixels - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None]
        last: Tensor = self.backbone(normal)[LEVEL]
        return last


def square_crop(image: Image, mask: Mask) -> tuple[Image, NDArray[np.float32]]:
    """The square around an object's box, black beyond the picture: (S, S, 3) uint8, and its mask (S, S) in [0, 1]."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    side = max(bottom - top, right - left)
    start = ((left + right - side) // 2, (top + bottom - side) // 2)
    box = (*start, start[0] + side, start[1] + side)
    pictures = (PillowImage.fromarray(image), PillowImage.fromarray(mask.astype(np.uint8) * 255))
    small, small_mask = (picture.crop(box).resize((SIDE, SIDE), PillowImage.Resampling.BILINEAR) for picture in pictures)
    return np.array(small), np.array(small_mask, np.float32) / np.float32(255)


def class_prototypes(
    pool: Coco, looker: Looker, per_class: int = PER_CLASS, on_class: Callable[[int, str], None] = lambda classes, name: None
) -> Prototypes:
    """A prototype of each class of which COCO has an object: of the first images, the largest object in each.

    Raises:
        DataError: COCO's files cannot be read, or it has no usable object at all.
    """
    classes, means = [], []
    for category in CATEGORIES:
        shown = [_largest(pool, candidate) for candidate in pool.candidates(category)[0][:per_class]]
        if shown:
            features = looker.features(shown).mean(0)
            classes.append(category)
            means.append(features / np.linalg.norm(features))
        on_class(1, category.name)
    if not classes:
        raise DataError("no object to compare with", pool.path, "no usable image", "at least one", "give the full COCO val set")
    return Prototypes(tuple(classes), np.stack(means))


def _largest(pool: Coco, candidate: SupportCandidate) -> tuple[Image, Mask]:
    masks = [mask for number in candidate.annotations if (mask := pool.mask_of(candidate.image_id, [number]))]
    return read_image(pool.root / candidate.file), decode_rle(max(masks, key=_area_then_counts))


def _area_then_counts(mask: RLE) -> tuple[int, str]:
    return rle_area(mask), mask.counts


def suggest(clips: Iterable[tuple[Clip, Sequence[int]]], prototypes: Prototypes, looker: Looker, top: int = TOP) -> Iterator[Suggestion]:
    """Guesses for these objects of these clips, clip by clip.

    An object is looked at on up to three frames: in each third of the clip, where it is largest. An object that is nowhere
    gets no guess.

    Raises:
        DataError: a mask or a picture cannot be read.
    """
    for clip, objects in clips:
        looks = _looks(clip, objects)
        wanted = sorted({place for places in looks.values() for place in places})
        pictures = {place: read_image(clip.frames[place].image) for place in wanted}
        ids = {place: read_ids(mask) for place in wanted if (mask := clip.frames[place].mask)}
        for number, places in looks.items():
            table = foreground_values([number], clip.encoding)
            features = looker.features([(pictures[place], table[ids[place]]) for place in places])
            mean = features.mean(0)
            scores = prototypes.features @ (mean / np.linalg.norm(mean))
            best = np.argsort(-scores, kind="stable")[:top]
            classes = tuple((prototypes.classes[place].name, float(scores[place])) for place in best)
            yield Suggestion(clip.source, clip.name, number, tuple(clip.frames[place].id for place in places), classes)


def _looks(clip: Clip, objects: Sequence[int]) -> dict[int, list[int]]:
    """Object -> the frames (by place) on which it is looked at."""
    areas = scan(clip).frames
    thirds = [part for part in np.array_split(np.arange(len(areas)), LOOKS) if len(part)]
    looks = {}
    for number in sorted(objects):
        sizes = [(areas[place] or {}).get(number, 0) for place in range(len(areas))]
        best = [max(part.tolist(), key=sizes.__getitem__) for part in thirds]
        if seen := [place for place in best if sizes[place]]:
            looks[number] = seen
    return looks


def suggestions_csv(suggestions: Iterable[Suggestion]) -> str:
    """One row a guess, in the given order; its columns are not those of labels, so that nobody takes it for them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    for one in suggestions:
        for rank, (name, score) in enumerate(one.classes, 1):
            rows.writerow((one.source, one.clip, one.object, rank, name, f"{score:.3f}", " ".join(one.frames)))
    return text.getvalue()
