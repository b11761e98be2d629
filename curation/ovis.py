"""Names for MOSE's objects out of OVIS: both annotated 507 of the same videos, and OVIS says what each instance is.

A file of OVIS annotations (``annotations_train.json``) has the form of YouTube-VIS: `videos` with `file_names`, `annotations`
with one run-length mask a frame, `categories`. Frame i of a video is frame i of the clip that has its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.label_files import NONE, Label
from curation.labels import coco_category
from icvos.errors import DataError, Finding
from icvos.files import AnyPath, map_files, read_json
from icvos.masks import decode_rle, read_ids, size_text, union_of_segmentations
from icvos.types import Clip, Frame, Mask, Size

THRESHOLD = 0.7  # of the overlap through the whole clip: below it two annotations do not mean the same object
MARGIN = 0.2  # by which the best partner of an object must lead the next one of another class
_SEVERAL_CLASSES = {"vehical", "vehicle", "giant panda"}  # a car, bus or truck; a bear to some. A person must say
_FIX = "label it by hand"


@dataclass(frozen=True, slots=True)
class OvisInstance:
    """One instance of a video: OVIS' own word for it, and its run lengths frame by frame, None where it is not seen."""

    word: str
    segmentations: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class OvisVideo:
    """One video and what is in it."""

    name: str
    size: Size
    frames: int
    instances: tuple[OvisInstance, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """What matching came to: labels, and what a person must look at."""

    labels: tuple[Label, ...]
    findings: tuple[Finding, ...]


def read_ovis(path: AnyPath) -> dict[str, OvisVideo]:
    """The videos of a file of OVIS annotations, by name.

    Raises:
        DataError: it is no such file.
    """
    path = Path(path)
    data = read_json(path)
    try:
        words = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
        instances: dict[int, list[OvisInstance]] = {}
        for entry in data["annotations"]:
            instance = OvisInstance(words[entry["category_id"]], tuple(entry["segmentations"]))
            instances.setdefault(entry["video_id"], []).append(instance)
        videos = [_video(entry, instances.get(entry["id"], [])) for entry in data["videos"]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        expected = "videos, annotations and categories as OVIS has them"
        raise DataError("not OVIS annotations", path, f"{type(error).__name__} {error}", expected, "fetch the file again") from error
    return {video.name: video for video in videos}


def _video(entry: Mapping[str, Any], instances: Iterable[OvisInstance]) -> OvisVideo:
    name = PurePosixPath(entry["file_names"][0]).parent.name
    return OvisVideo(name, (int(entry["height"]), int(entry["width"])), len(entry["file_names"]), tuple(instances))


def match_clips(clips: Iterable[Clip], videos: Mapping[str, OvisVideo], threshold: float = THRESHOLD) -> Matched:
    """Label the objects of the clips that OVIS has too, on all cores; what is not clear is listed and gets no label.

    Raises:
        DataError: a mask cannot be read, or is not what its file says.
    """
    shared = (clip for clip in clips if clip.name in videos)
    matched = list(map_files(lambda clip: match_clip(clip, videos[clip.name], threshold), shared))
    labels = sorted(label for one in matched for label in one.labels)
    return Matched(tuple(labels), tuple(finding for one in matched for finding in one.findings))


def match_clip(clip: Clip, video: OvisVideo, threshold: float = THRESHOLD) -> Matched:
    """Pair the objects of one clip with the instances of its video so that the overlaps add up to the most (Hungarian).

    The overlap of two annotations is the pixels that both have over the pixels that one of them has, summed over all
    annotated frames of the clip.

    Raises:
        DataError: a mask cannot be read, or is not what its file says.
    """
    if (len(clip.frames), clip.size) != (video.frames, video.size):
        found = f"{video.frames} frames of {size_text(video.size)}"
        expected = f"{len(clip.frames)} of {size_text(clip.size)}, as the clip has"
        return Matched((), (Finding("other-video", clip.key, found, expected, "label its objects by hand"),))
    objects, overlap = overlaps(clip, video)
    partner = _assigned(overlap)
    labels, findings = [], []
    for row, number in enumerate(objects):
        best = partner.get(row)
        fault = _fault(overlap[row], best, video, threshold)
        if best is None or fault:
            found, expected = fault or ("no instance", "one instance of OVIS")
            findings.append(Finding("unmatched-object", f"{clip.key} object {number}", found, expected, _FIX))
            continue
        category = coco_category(video.instances[best].word)
        how = f"{video.instances[best].word} by matching masks, overlap {overlap[row, best]:.2f}"
        labels.append(Label(clip.source, clip.name, number, category.name if category else NONE, "OVIS", "", how))
    return Matched(tuple(labels), tuple(findings))


def overlaps(clip: Clip, video: OvisVideo) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The ids of a clip's objects, sorted, and their overlap with each instance, (objects, instances) in [0, 1]."""
    both = np.zeros((256, len(video.instances)), np.int64)
    ours, theirs = np.zeros(256, np.int64), np.zeros(len(video.instances), np.int64)
    for place, frame in enumerate(clip.frames):
        if frame.mask is None:
            continue
        ids = read_ids(frame.mask)
        if ids.shape != clip.size:
            raise DataError("mask of another size than its clip", frame.mask, size_text(ids.shape), size_text(clip.size), "fetch it again")
        ours += np.bincount(ids.reshape(-1), minlength=256)
        for column, instance in enumerate(video.instances):
            mask = _mask(instance, place, video, frame)
            if mask is not None:
                counts = np.bincount(ids[mask], minlength=256)
                both[:, column] += counts
                theirs[column] += counts.sum()
    objects = [number for number in np.flatnonzero(ours).tolist() if number not in (0, 255)]
    union = ours[objects, None] + theirs[None] - both[objects]
    return tuple(objects), both[objects] / np.maximum(union, 1)


def _mask(instance: OvisInstance, place: int, video: OvisVideo, frame: Frame) -> Mask | None:
    segmentation = instance.segmentations[place] if place < len(instance.segmentations) else None
    if not segmentation:
        return None
    try:
        return decode_rle(union_of_segmentations([segmentation], video.size))
    except ValueError as error:
        where = f"OVIS, {video.name}, {instance.word}, frame {frame.id}"
        raise DataError("a malformed segmentation", where, str(error), "run lengths", "fetch the file again") from error


def _assigned(overlap: NDArray[np.float64]) -> dict[int, int]:
    """Row -> column of the assignment with the largest sum."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only this needs it

    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _fault(row: NDArray[np.float64], best: int | None, video: OvisVideo, threshold: float) -> tuple[str, str] | None:
    """Why an object's partner is not to be trusted: what was found, and what would do."""
    if best is None:
        return None
    word = video.instances[best].word
    if row[best] < threshold:
        return f"{word} with overlap {row[best]:.2f}", f"at least {threshold:g}"
    others = [(row[column], other.word) for column, other in enumerate(video.instances) if other.word != word]
    if others and row[best] - max(others)[0] < MARGIN:
        return f"{word} with overlap {row[best]:.2f}, and {max(others)[1]} with {max(others)[0]:.2f}", f"a lead of {MARGIN:g}"
    if word.lower().replace("_", " ") in _SEVERAL_CLASSES:
        return f"{word}, which is not one class of COCO", "one of COCO's 80 classes"
    return None
