"""Toy data sets and methods for tests: real files in the real layouts, a few pixels large."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.candidates import CandidateSet, CandidateTube, Warned, write_candidates
from curation.sources.davis import Davis2017
from icvos.categories import BY_NAME
from icvos.files import sha256_text
from icvos.results import Coverage, Result
from icvos.scores import MISSING_ALLOWED
from icvos.totals import mean_scores, quick_intervals, totals_of

SIZE = (24, 40)
CATEGORY_IDS = {"person": 1, "bicycle": 2, "car": 3, "cat": 17, "dog": 18, "sports ball": 37}
Ids = NDArray[np.uint8]


def box(top: int, left: int, height: int, width: int, value: int = 1, size: tuple[int, int] = SIZE) -> Ids:
    """An id mask that is 0 but for one box."""
    ids = np.zeros(size, np.uint8)
    ids[top : top + height, left : left + width] = value
    return ids


def moving_box(frames: int = 6, value: int = 1, size: tuple[int, int] = SIZE) -> list[Ids]:
    """A box that moves two pixels a frame."""
    return [box(5, 2 + 2 * number, 10, 12, value, size) for number in range(frames)]


def write_ids(path: Path, ids: Ids, mode: str = "P") -> None:
    """An annotation as DAVIS writes it: a palette PNG (or a grey one)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids, mode="L") if mode == "L" else Image.fromarray(ids).convert("P")
    if mode == "P":
        picture = Image.frombytes("P", (ids.shape[1], ids.shape[0]), ids.tobytes())
        picture.putpalette([channel for entry in range(256) for channel in (entry, (entry * 5) % 256, (entry * 11) % 256)])
    picture.save(path)


def write_frame(path: Path, number: int, size: tuple[int, int] = SIZE) -> None:
    """A JPEG with a gradient that moves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([(rows * 7 + number * 9) % 256, (columns * 5) % 256, (rows + columns + number) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def make_davis(root: Path, clips: Mapping[str, tuple[Mapping[int, str], Sequence[Ids]]]) -> Path:
    """A DAVIS 2017 tree: clip -> ({object id: word}, id masks, one a frame)."""
    for name, (_, masks) in clips.items():
        for number, ids in enumerate(masks):
            write_frame(root / "JPEGImages/480p" / name / f"{number:05d}.jpg", number, ids.shape)
            write_ids(root / "Annotations/480p" / name / f"{number:05d}.png", ids)
    lists = root / "ImageSets/2017"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in clips))
    semantics = {name: {str(number): word for number, word in words.items()} for name, (words, _) in clips.items()}
    (root / "davis_semantics.json").write_text(json.dumps(semantics))
    return root


def make_mose(root: Path, clips: Mapping[str, Sequence[Ids]], split: str = "train") -> Path:
    """A MOSE tree: clip -> id masks, one a frame."""
    for name, masks in clips.items():
        for number, ids in enumerate(masks):
            write_frame(root / split / "JPEGImages" / name / f"{number:05d}.jpg", number + 50, ids.shape)
            write_ids(root / split / "Annotations" / name / f"{number:05d}.png", ids)
    return root


def make_lvos(root: Path, clips: Mapping[str, Sequence[Ids]], split: str = "valid", first: int = 6, step: int = 5, every: int = 1) -> Path:
    """An LVOS tree: clip -> id masks, one a frame; frames are numbered from `first` in steps, every so many-th keeps its mask."""
    videos = {}
    for name, masks in clips.items():
        shown: dict[int, list[int]] = {}
        for place, ids in enumerate(masks):
            number = first + place * step
            write_frame(root / split / "JPEGImages" / name / f"{number:08d}.jpg", number + 100, ids.shape)
            if place % every == 0:
                write_ids(root / split / "Annotations" / name / f"{number:08d}.png", ids)
            for value in set(np.unique(ids).tolist()) - {0, 255}:
                shown.setdefault(value, []).append(number)
        ranges = {
            str(value): {"frame_range": {"start": str(numbers[0]), "end": str(numbers[-1]), "frame_nums": len(numbers)}}
            for value, numbers in shown.items()
        }
        videos[name] = {"objects": ranges}
    (root / split / f"{split}_meta.json").write_text(json.dumps({"videos": videos}))
    return root


def make_coco(root: Path, classes: Sequence[str] = ("dog", "cat", "person"), images: int = 6, size: tuple[int, int] = (60, 80)) -> Path:
    """A COCO val2017 tree: `images` pictures of each class, each with one large box of it, and one crowd."""
    (root / "val2017").mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    entries: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for place, name in enumerate(classes):
        for number in range(images):
            image_id = 1000 * (place + 1) + number
            file = f"{image_id:012d}.jpg"
            write_frame(root / "val2017" / file, image_id, size)
            entries.append({"id": image_id, "file_name": file, "height": size[0], "width": size[1], "license": 1})
            left, top = 5 + number, 6
            polygon = [left, top, left + 50, top, left + 50, top + 40, left, top + 40]
            annotations.append(
                {
                    "id": 10 * image_id,
                    "image_id": image_id,
                    "category_id": CATEGORY_IDS[name],
                    "iscrowd": 0,
                    "area": 2000.0,
                    "bbox": [left, top, 50, 40],
                    "segmentation": [polygon],
                }
            )
    first = entries[0]["id"]
    crowd = {"size": list(size), "counts": [100, 50, size[0] * size[1] - 150]}
    annotations.append(
        {
            "id": 7,
            "image_id": first,
            "category_id": CATEGORY_IDS[classes[0]],
            "iscrowd": 1,
            "area": 50,
            "bbox": [0, 0, 1, 1],
            "segmentation": crowd,
        }
    )
    categories = [{"id": number, "name": name, "supercategory": "thing"} for name, number in CATEGORY_IDS.items()]
    (root / "annotations/instances_val2017.json").write_text(
        json.dumps({"images": entries, "annotations": annotations, "categories": categories})
    )
    return root


def two_clips() -> dict[str, tuple[dict[int, str], list[Ids]]]:
    """A dog alone; and a cat with a person (id 2) and a goat (id 3), which is no COCO class."""
    both = [np.maximum(ids, box(16, 20, 6, 10, 2)) for ids in moving_box()]
    return {
        "rex": ({1: "dog"}, moving_box()),
        "tom": ({1: "cat", 2: "person", 3: "goat"}, [np.maximum(ids, box(0, 0, 3, 3, 3)) for ids in both]),
    }


POND = '''
import numpy as np
from icvos.masks import image_size, read_ids
from icvos.types import Clip, Frame, Instance


class Pond:
    """Clips whose objects nobody named, as MOSE has them: JPEGImages/<clip>/*.jpg, Annotations/<clip>/*.png."""

    name = "pond"

    def __init__(self, root):
        self.root = root

    def verify(self):
        return []

    def clips(self):
        for folder in sorted((self.root / "JPEGImages").iterdir()):
            masks = {path.stem: path for path in (self.root / "Annotations" / folder.name).glob("*.png")}
            frames = tuple(Frame(path.stem, path, masks.get(path.stem)) for path in sorted(folder.glob("*.jpg")))
            yield Clip(self.name, folder.name, image_size(frames[0].image), frames)

    def instances(self, clip):
        return tuple(Instance(int(n), None) for n in np.unique(read_ids(clip.frames[0].mask)) if n not in (0, 255))
'''


def install_pond(site: Path) -> None:
    """Install the source `pond` into a folder that a test puts on the path, by the door that every plug-in takes."""
    (site / "pond-1.dist-info").mkdir(parents=True)
    (site / "pond.py").write_text(POND)
    (site / "pond-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: pond\nVersion: 1\n")
    (site / "pond-1.dist-info/entry_points.txt").write_text("[icvos.sources]\npond = pond:Pond\n")


def make_pond(root: Path, clips: Mapping[str, Sequence[Ids | None]]) -> Path:
    """A tree of `pond`: clip -> id masks, one a frame, None where a frame is not annotated."""
    for name, masks in clips.items():
        size = next(ids.shape for ids in masks if ids is not None)
        for number, ids in enumerate(masks):
            write_frame(root / "JPEGImages" / name / f"{number:05d}.jpg", number, (size[0], size[1]))
            if ids is not None:
                write_ids(root / "Annotations" / name / f"{number:05d}.png", ids)
    return root


def make_candidates(folder: Path, davis: Path, warned: str = "rex") -> CandidateSet:
    """A set of candidates out of a toy DAVIS tree: one tube a named object; those of the clip `warned` carry a warning."""
    warning = (Warned(rule="every-instance", reason="more of the class may be outside the masks"),)
    source = Davis2017(davis)
    tubes = [
        CandidateTube(
            id=f"davis/{clip.name}/{instance.label}",
            source="davis",
            clip=clip.name,
            class_id=BY_NAME[instance.label].id,
            objects=(instance.id,),
            size=clip.size,
            encoding="ids",
            frames=tuple(frame.id for frame in clip.frames),
            annotated=tuple(frame.mask is not None for frame in clip.frames),
            image=f"JPEGImages/480p/{clip.name}/{{}}.jpg",
            mask=f"Annotations/480p/{clip.name}/{{}}.png",
            content=sha256_text(clip.name),
            warnings=warning if clip.name == warned else (),
        )
        for clip in source.clips()
        for instance in source.instances(clip)
        if instance.label in BY_NAME
    ]
    return write_candidates(folder, tubes, {"every-instance": "every instance is annotated on the first frame"}, {"davis": davis})


def with_totals(result: Result) -> Result:
    """The result with the totals that follow from its draws; as many masks are missing as were."""
    tubes = tuple(replace(tube, mean=mean_scores(tube.draws.values())) for tube in result.tubes)
    totals = totals_of(tubes, result.method, quick_intervals)
    missing = result.coverage.expected - result.coverage.present
    notes = tuple(dict.fromkeys([*result.notes, *([MISSING_ALLOWED] if missing else [])]))
    return replace(
        result,
        tubes=tubes,
        notes=notes,
        overall=totals.overall,
        intervals=totals.intervals,
        support_spread=totals.support_spread,
        groups=totals.groups,
        coverage=Coverage(totals.expected, totals.expected - missing),
    )
