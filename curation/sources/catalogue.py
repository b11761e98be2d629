"""What a person must fetch, from where, how large, under which terms, and the layout that icvos expects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icvos.benchmark import SourceRecord
from icvos.errors import DataError, UserInputError


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set: facts for people, and the signs by which its tree is known."""

    name: str
    folder: str  # its name below --data DIR
    title: str
    page: str
    download: str
    licence: str
    layout: str
    signs: tuple[str, ...]  # globs below its root, all of which such a tree matches


CATALOGUE = (
    Entry(
        "davis",
        "DAVIS",
        "DAVIS 2017, trainval, 480p",
        "https://davischallenge.org/davis2017/code.html",
        "0.8 GB",
        "non-commercial research, see the page",
        "JPEGImages/480p/<clip>/*.jpg, Annotations/480p/<clip>/*.png, ImageSets/2017/*.txt",
        ("JPEGImages/*/*/*.jpg", "ImageSets/*"),
    ),
    Entry(
        "mose",
        "MOSE",
        "MOSE, train",
        "https://mose.video",
        "20 GB",
        "CC BY-NC-SA 4.0",
        "train/JPEGImages/<clip>/*.jpg, train/Annotations/<clip>/*.png",
        ("train/JPEGImages/*", "train/Annotations/*"),
    ),
    Entry(
        "lvos2",
        "LVOS",
        "LVOS v2, train and valid",
        "https://lingyihongfd.github.io/lvos.github.io",
        "large, see the page",
        "non-commercial research, see the page",
        "<split>/JPEGImages/<clip>/*.jpg, <split>/Annotations/<clip>/*.png, <split>_meta.json",
        ("*/JPEGImages/*", "*_meta.json"),
    ),
    Entry(
        "coco",
        "COCO",
        "COCO 2017, val images and annotations",
        "https://cocodataset.org/#download",
        "1 GB",
        "annotations CC BY 4.0, images under Flickr's terms",
        "annotations/instances_val2017.json, val2017/*.jpg",
        ("annotations/instances_*.json",),
    ),
)
ENTRIES = {entry.name: entry for entry in CATALOGUE}
_OTHER_SIGNS = (
    ("PASCAL VOC", ("SegmentationClass*", "JPEGImages")),
    ("an official IC-VOS tree", ("*/JPEGImages", "*/Annotations/*/*.png")),
)


def entry_of(name: str) -> Entry | None:
    """The catalogue's entry for a source, or None for a plug-in's; `davis2016` is another reading of DAVIS' tree."""
    return ENTRIES.get("davis" if name == "davis2016" else name)


def folder_of(name: str) -> str:
    """The folder of a source below --data DIR: the catalogue's, or the source's own name in capitals."""
    entry = entry_of(name)
    return entry.folder if entry else name.upper()


def source_record(name: str, version: str = "") -> SourceRecord:
    """A source as a release states it."""
    entry = entry_of(name)
    if entry is None:
        return SourceRecord(title=name, page="", licence="see the source", version=version)
    return SourceRecord(title=entry.title, page=entry.page, licence=entry.licence, version=version)


def recognise(root: Path) -> str:
    """What the tree at `root` looks like, in words: a data set's title, or what its first entries are."""
    # MOSE's signs are a part of LVOS', so the one with more to say is asked first.
    for title, signs in ((ENTRIES["lvos2"].title, ENTRIES["lvos2"].signs), *((e.title, e.signs) for e in CATALOGUE), *_OTHER_SIGNS):
        if all(next(root.glob(sign), None) is not None for sign in signs):
            return f"what looks like {title}"
    entries = sorted(entry.name for entry in root.iterdir())[:3]
    return "a folder with " + ", ".join(entries) if entries else "an empty folder"


def check_root(name: str, root: Path) -> None:
    """Refuse a folder that is not there or that holds another data set than the catalogue's `name`.

    Raises:
        UserInputError: there is no such folder.
        DataError: the tree is not laid out as `name` is.
    """
    entry = ENTRIES[name]
    if not root.is_dir():
        raise UserInputError(
            "no such folder", root, expected=f"{entry.title}: {entry.layout}", fix=f"check the path, or fetch it from {entry.page}"
        )
    if not all(next(root.glob(sign), None) is not None for sign in entry.signs):
        raise DataError("another data set", root, recognise(root), f"{entry.title}: {entry.layout}", f"give the folder of {name}")
