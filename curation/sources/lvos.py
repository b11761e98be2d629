"""LVOS v1 and v2, train and valid: long clips whose frame numbers start anywhere and skip, with masks on some frames.

Objects may appear late. `<split>_meta.json` says for each object the first and the last frame that shows it, and on how
many frames it is there; it names no class: names come from
`curation.labels`. Of the clips of `test/` only first masks are public, so they are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from curation.labels import lvos_labels
from curation.sources.faults import AGAIN, Listing
from curation.sources.scan import VOID, MaskScan
from curation.sources.tree import Tree
from icvos.errors import DataError, Finding
from icvos.files import AnyPath, read_json
from icvos.names import folders_in

_META_AGAIN = "fetch the meta file again"


class Range(NamedTuple):
    """What the meta file says of an object: the numbers of the first and last frame that shows it; on how many, or None."""

    start: int
    end: int
    frames: int | None


Ranges = Mapping[str, Mapping[int, Range]]  # clip -> object id -> range


class _Lvos(Tree):
    """`<split>/JPEGImages/<clip>/00000001.jpg`, `<split>/Annotations/<clip>/00000001.png`, `<split>/<split>_meta.json`."""

    every_frame = False
    counted = False

    def __init__(self, root: AnyPath) -> None:
        super().__init__(root)
        self.labels = lvos_labels()
        self._read: dict[Path, Ranges] = {}

    def listed(self, name: str) -> None:
        """See `Tree`: which objects there are the meta file says, not the list of names."""

    def sequences(self) -> list[str]:
        """Every clip of train and valid, sorted."""
        return sorted(self._split_of)

    def folders(self, name: str) -> tuple[Path, Path]:
        """Where a clip's frames and its masks lie."""
        split = self.root / self._split_of[name]
        return split / "JPEGImages" / name, split / "Annotations" / name

    def tree_faults(self) -> list[Finding]:
        """Splits without a whole meta file, clips that only it or only the disk has, and clips of two splits."""
        findings: list[Finding] = []
        for split in self._clips:
            try:
                findings.extend(self._meta_faults(split))
            except DataError as error:
                findings.append(Finding("meta", error.where, f"{error.what}: {error.found}", error.expected, error.fix))
        first, second = (set(self._clips.get(split, ())) for split in ("train", self._valid))
        for name in sorted(first & second):
            where = self.root / self._valid / "JPEGImages" / name
            findings.append(Finding("clip-twice", str(where), f"{name} in train too", "a clip in one split", AGAIN))
        return findings

    def own_faults(self, clip: Listing, scans: Sequence[MaskScan | DataError]) -> list[Finding]:
        """Objects of masks that the meta file does not have, objects of it that no mask shows, and ranges that masks disagree with."""
        try:
            ranges = self._ranges(self._split_of[clip.name]).get(clip.name)
        except DataError:  # told once, of the whole file
            return []
        return list(range_faults(clip, scans, ranges)) if ranges is not None else []

    @property
    def _valid(self) -> str:
        """The owners write both names."""
        return "val" if (self.root / "val").is_dir() and not (self.root / "valid").is_dir() else "valid"

    @cached_property
    def _clips(self) -> dict[str, list[str]]:
        splits = [split for split in ("train", self._valid) if (self.root / split).is_dir()]
        return {split: folders_in(self.root / split / "JPEGImages", self.root / split / "Annotations") for split in splits}

    @cached_property
    def _split_of(self) -> dict[str, str]:
        return {name: split for split in reversed(self._clips) for name in self._clips[split]}

    def _meta_file(self, split: str) -> Path | None:
        """The split's meta file, which the owners ask people to put into the split's folder."""
        names = [f"{alias}_meta.json" for alias in ([split] if split == "train" else ["valid", "val"])]
        places = [*(self.root / split / name for name in [*names, "meta.json"]), *(self.root / name for name in names)]
        return next((path for path in places if path.is_file()), None)

    def _ranges(self, split: str) -> Ranges:
        path = self._meta_file(split)
        if path and path not in self._read:
            self._read[path] = read_ranges(path)
        return self._read[path] if path else {}

    def _meta_faults(self, split: str) -> Iterator[Finding]:
        path = self._meta_file(split)
        if path is None:
            where = self.root / split / f"{split}_meta.json"
            yield Finding("no-meta", str(where), "no file", "the frames on which each object is there", "fetch the meta file of LVOS")
            return
        listed, there = set(self._ranges(split)), set(self._clips[split])
        for name in sorted(there - listed):
            yield Finding("unlisted-clip", f"{path}, {name}", "no entry", "one a clip", _META_AGAIN)
        for name in sorted(listed - there):
            yield Finding("missing-clip", str(self.root / split / "JPEGImages" / name), "no folder", f"a clip, as {path.name} says", AGAIN)


class Lvos2(_Lvos):
    """LVOS v2 (420 clips of train, 140 of valid)."""

    name = "lvos2"


class Lvos1(_Lvos):
    """LVOS v1 (120 clips of train, 50 of valid); v2 keeps its clips."""

    name = "lvos1"


def read_ranges(path: Path) -> Ranges:
    """The ranges of a meta file, {"videos": {clip: {"objects": {id: {"frame_range": {"start", "end", "frame_nums"}}}}}}.

    Raises:
        DataError: it is not such a file.
    """
    data = read_json(path)
    where = "the whole"
    try:
        ranges: dict[str, dict[int, Range]] = {}
        for clip, entry in data["videos"].items():
            where = str(clip)
            ranges[clip] = {int(number): _range(found["frame_range"]) for number, found in entry["objects"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        expected = "videos, objects and their frame_range"
        raise DataError("not a meta file of LVOS", f"{path}, {where}", found, expected, _META_AGAIN) from error
    return ranges


def _range(entry: Mapping[str, object]) -> Range:
    count = entry.get("frame_nums")
    return Range(int(str(entry["start"])), int(str(entry["end"])), None if count is None else int(str(count)))


def range_faults(clip: Listing, scans: Sequence[MaskScan | DataError], ranges: Mapping[int, Range]) -> Iterator[Finding]:
    """Where masks and meta file disagree on a clip's objects.

    Masks need not lie on every frame: an object may begin or end between two of them, but is never there outside its range, nor
    missing on a mask of the range's own first or last frame.
    """
    shown: dict[int, list[int]] = {}
    numbers = [int(path.stem) if path.stem.isdecimal() else -1 for path in clip.masks]
    for number, mask in zip(numbers, scans, strict=True):
        for value in mask.values if isinstance(mask, MaskScan) else ():
            shown.setdefault(value, []).append(number)
    where = str(clip.mask_folder)
    for number in sorted(shown.keys() - ranges.keys() - {VOID}):
        listed = ", ".join(map(str, sorted(ranges))) or "none"
        yield Finding("unlisted-object", where, f"object {number}", f"{listed}, as the meta file lists", AGAIN)
    for number, said in sorted(ranges.items()):
        if fault := _disagreement(shown.get(number, []), said, numbers, all_annotated=len(clip.masks) == len(clip.images)):
            yield Finding("object-nowhere" if number not in shown else "frame-range", where, f"object {number} {fault[0]}", fault[1], AGAIN)


def _disagreement(shown: Sequence[int], said: Range, annotated: Sequence[int], *, all_annotated: bool) -> tuple[str, str] | None:
    """What masks show of an object and what the meta file says, where they cannot both be right."""
    expected = f"frames {said.start} to {said.end}, as the meta file says"
    if not shown:
        return "on no mask", expected
    outside = shown[0] < said.start or shown[-1] > said.end
    absent = any(end in annotated and end not in shown for end in (said.start, said.end))
    if outside or absent:
        return f"on frames {shown[0]} to {shown[-1]}", expected
    if said.frames is not None and (len(shown) > said.frames or (all_annotated and len(shown) != said.frames)):
        return f"on {len(shown)} masks", f"{said.frames} frames, as the meta file says"
    return None
