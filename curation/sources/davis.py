"""DAVIS 2016 and 2017 (480p or full resolution) as clips and instances.

DAVIS 2017 masks are palette PNGs: the value is the object's id, 255 is void and belongs to no object. DAVIS 2016 masks
are grey PNGs, 0 and 255, one object that is the union of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from curation.labels import Labels, davis_labels, read_semantics
from curation.sources.catalogue import check_root
from icvos.benchmark import plain_name
from icvos.errors import DataError, Finding
from icvos.masks import image_size, read_ids
from icvos.types import Clip, Encoding, Frame, Instance, Size

VOID = 255


class _Davis:
    """One reading of a DAVIS tree: the sequences of `year`'s lists with that year's masks."""

    name: ClassVar[str]
    year: ClassVar[str]
    annotation_folders: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path) -> None:
        check_root("davis", root)
        self.root = root
        self.images = self._resolution(root / "JPEGImages")
        self.annotations = self._annotation_folder()
        self.labels: Labels = davis_labels()
        if (root / "davis_semantics.json").is_file():
            self.labels = self.labels | read_semantics(root / "davis_semantics.json")

    def verify(self) -> list[Finding]:
        """Every fault of the tree: sequences without a folder, frames without masks and the reverse, sizes, ids without a name."""
        return [finding for name in self.sequences() for finding in self._verify_clip(name)]

    def clips(self) -> Iterator[Clip]:
        """The clips of the lists that this year has, sorted by name.

        Raises:
            DataError: frames and masks do not match (the error lists every such fault), or a file cannot be read.
        """
        names = self.sequences()
        if findings := [finding for name in names for finding in self._unmatched(name)]:
            faults = f"{len(findings)} faults"
            fix = f"fetch these sequences, and see `icvos verify --source {self.name} --davis DIR`"
            raise DataError("frames and masks do not match", self.root, faults, "one mask a frame", fix, findings)
        yield from map(self._clip, names)

    def instances(self, clip: Clip) -> tuple[Instance, ...]:
        """The objects of the clip's first frame and of the label list, sorted by id."""
        named = self.labels.get(clip.name, {})
        if clip.encoding == "binary":  # one object that is the union: it has a name only if all parts share it
            words = set(named.values())
            return (Instance(1, words.pop() if len(words) == 1 else None),)
        present = {int(value) for value in np.unique(read_ids(_mask(clip.frames[0])))} - {0, VOID}
        return tuple(Instance(number, named.get(number)) for number in sorted(present | set(named)))

    def sequences(self) -> list[str]:
        """The names in the year's lists (train and val), or every folder where there is no list; sorted.

        Raises:
            DataError: a list cannot be read or holds something that is no name.
        """
        # Of the test lists' sequences only the first mask is public.
        lists = sorted(path for path in self.root.glob(f"ImageSets/{self.year}/*.txt") if not path.name.startswith("test"))
        if not lists:
            return sorted(folder.name for folder in self.annotations.iterdir() if folder.is_dir())
        return sorted({name for path in lists for name in _names_in(path)})

    def _clip(self, name: str) -> Clip:
        frames = tuple(Frame(image.stem, image, self.annotations / name / f"{image.stem}.png") for image in self._frames(name))
        return Clip(self.name, name, image_size(frames[0].image), frames, _encoding(frames))

    def _frames(self, name: str) -> list[Path]:
        return sorted((self.images / name).glob("*.jpg"))

    def _unmatched(self, name: str) -> list[Finding]:
        images = {path.stem: path for path in self._frames(name)}
        masks = {path.stem: path for path in (self.annotations / name).glob("*.png")}
        if not images:
            return [Finding("no-frames", str(self.images / name), "no frames", "*.jpg", "fetch the sequence, or take it off the list")]
        return [
            _lonely("frame-without-mask", images[stem], "no mask", self.annotations / name / f"{stem}.png")
            for stem in sorted(images.keys() - masks.keys())
        ] + [
            _lonely("mask-without-frame", masks[stem], "no frame", self.images / name / f"{stem}.jpg")
            for stem in sorted(masks.keys() - images.keys())
        ]

    def _verify_clip(self, name: str) -> list[Finding]:
        findings = self._unmatched(name)
        if any(finding.code == "no-frames" for finding in findings):
            return findings
        size = None
        for image in self._frames(name):
            mask = self.annotations / name / f"{image.stem}.png"
            try:
                size = size or image_size(image)
                if (found := image_size(image)) != size:
                    findings.append(Finding("size", str(image), f"{found}", f"{size}, as the first frame", "fetch the sequence again"))
                if mask.is_file():
                    findings.extend(self._mask_faults(name, mask, size))
            except DataError as error:
                findings.append(Finding("unreadable", error.where, error.found or error.what, error.expected or "a whole file", error.fix))
        return findings

    def _mask_faults(self, name: str, mask: Path, size: Size) -> Iterator[Finding]:
        ids = read_ids(mask)
        if ids.shape != size:
            yield Finding("size", str(mask), f"{ids.shape}", f"{size}, as the frames", "fetch the sequence again")
        unnamed = set(np.unique(ids).tolist()) - {0, VOID} - set(self.labels.get(name, {}))
        if unnamed and name in self.labels:
            found, named = (", ".join(map(str, sorted(ids))) or "none" for ids in (unnamed, self.labels[name]))
            fix = "fetch the sequence again, or name them in davis_semantics.json"
            yield Finding("unnamed-object", str(mask), f"ids {found}", f"{named}, as the label list names", fix)

    def _annotation_folder(self) -> Path:
        for folder in self.annotation_folders:
            if (self.root / folder).is_dir():
                return self._resolution(self.root / folder)
        raise DataError("no masks", self.root, expected=" or ".join(self.annotation_folders), fix="fetch the annotations of DAVIS")

    def _resolution(self, folder: Path) -> Path:
        for resolution in ("480p", "Full-Resolution", "1080p"):
            if (folder / resolution).is_dir():
                return folder / resolution
        raise DataError("no frames", folder, expected="480p or Full-Resolution inside", fix="fetch DAVIS again")


class Davis2017(_Davis):
    """The 2017 reading: palette masks with one id an object."""

    name = "davis"
    year = "2017"
    annotation_folders = ("Annotations",)


class Davis2016(_Davis):
    """The 2016 reading: one mask a frame, the union of all objects (or, where only they are there, the ids of 2017)."""

    name = "davis2016"
    year = "2016"
    annotation_folders = ("Annotations_2016", "Annotations")


def _names_in(path: Path) -> Iterator[str]:
    """The sequences of a list: names, or pairs of paths as in 2016, /JPEGImages/480p/<clip>/00000.jpg."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("not a list of sequences", path, "bytes that are not UTF-8", "one name a line", "fetch it again") from error
    for number, line in enumerate(lines, 1):
        if words := line.split():
            name = Path(words[0]).parent.name if "/" in words[0] else words[0]
            try:
                yield plain_name(name)
            except ValueError as error:
                raise DataError("not a sequence", f"{path}, line {number}", words[0], "a folder's name", "mend the list") from error


def _lonely(code: str, path: Path, found: str, twin: Path) -> Finding:
    return Finding(code, str(path), found, str(twin), "fetch the sequence again")


def _mask(frame: Frame) -> Path:
    if frame.mask is None:
        raise DataError("frame without a mask", frame.image, fix="fetch DAVIS again")
    return frame.mask


def _encoding(frames: Iterable[Frame]) -> Encoding:
    """How a clip's masks are to be read, by the first of them that shows anything."""
    for frame in frames:
        if found := set(np.unique(read_ids(_mask(frame))).tolist()) - {0}:
            # Only a grey mask of DAVIS 2016 has 255 and nothing else; in a palette mask 255 is void, beside ids.
            return "binary" if found == {VOID} and _is_grey(_mask(frame)) else "ids"
    return "ids"


def _is_grey(mask: Path) -> bool:
    with mask.open("rb") as stream:
        return stream.read(26)[25:26] == b"\0"  # the colour type in the header: 0 grey, 3 palette
