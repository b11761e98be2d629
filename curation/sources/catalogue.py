"""What a person must fetch, from where, how large, under which terms, and the layout that icvos expects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icvos.benchmark import SourceRecord
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath
from icvos.names import data_in, is_junk
from icvos.settings import folder_of


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set: facts for people, and the signs by which its tree is known."""

    name: str
    title: str
    page: str
    download: str
    licence: str
    layout: str
    signs: tuple[str, ...]  # globs below its root, all of which such a tree matches; | between those of which one is enough
    never: str = ""  # what such a tree never matches

    @property
    def folder(self) -> str:
        """Its name below --data DIR."""
        return folder_of(self.name)


_MOSE_SIGNS = ("train/JPEGImages/*", "train/Annotations/*")
_LVOS_META = "*_meta.json|*/*_meta.json|*/meta.json"
_LVOS_SIGNS = ("*/JPEGImages/*", _LVOS_META)
_LVOS_LAYOUT = "<split>/JPEGImages/<clip>/*.jpg, <split>/Annotations/<clip>/*.png, <split>/<split>_meta.json"
_LVOS_LICENCE = "annotations CC BY 4.0, images for non-commercial research"

CATALOGUE = (
    Entry(
        "davis",
        "DAVIS 2017, trainval",
        "https://davischallenge.org/davis2017/code.html",
        "0.8 GB at 480p",
        "non-commercial research, see the page",
        "JPEGImages/480p/<clip>/*.jpg, Annotations/480p/<clip>/*.png, ImageSets/2017/*.txt",
        ("JPEGImages/*/*/*.[jJ][pP]*", "ImageSets/*"),
    ),
    Entry(
        "mose",
        "MOSE v1, train",
        "https://mose.video",
        "20 GB",
        "CC BY-NC-SA 4.0",
        "train/JPEGImages/<clip>/*.jpg, train/Annotations/<clip>/*.png",
        _MOSE_SIGNS,
        _LVOS_META,
    ),
    Entry(
        "mose2",
        "MOSE v2, train",
        "https://mose.video",
        "large, see the page",
        "CC BY-NC-SA 4.0",
        "train/JPEGImages/<clip>/*.jpg, train/Annotations/<clip>/*.png",
        _MOSE_SIGNS,
        _LVOS_META,
    ),
    Entry(
        "lvos2",
        "LVOS v2, train and valid",
        "https://lingyihongfd.github.io/lvos.github.io",
        "large, see the page",
        _LVOS_LICENCE,
        _LVOS_LAYOUT,
        _LVOS_SIGNS,
    ),
    Entry(
        "lvos1",
        "LVOS v1, train and valid",
        "https://lingyihongfd.github.io/lvos.github.io",
        "large, see the page",
        _LVOS_LICENCE,
        _LVOS_LAYOUT,
        _LVOS_SIGNS,
    ),
    Entry(
        "coco",
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
    ("an official IC-VOS tree", ("*/JPEGImages", "*/Annotations/*/*.[pP][nN][gG]")),
)


def entry_of(name: str) -> Entry | None:
    """The catalogue's entry for a source, or None for a plug-in's; `davis2016` is another reading of DAVIS' tree."""
    return ENTRIES.get("davis" if name == "davis2016" else name)


def source_record(name: str, version: str = "") -> SourceRecord:
    """A source as a release states it."""
    entry = entry_of(name)
    if entry is None:
        return SourceRecord(title=name, page="", licence="see the source", version=version)
    return SourceRecord(title=entry.title, page=entry.page, licence=entry.licence, version=version)


def recognise(root: AnyPath) -> str:
    """What the tree at `root` looks like, in words: a data set's title, or what its first entries are."""
    root = Path(root)
    known = [*((entry.title, _is(entry, root)) for entry in CATALOGUE), *((title, _shows(root, signs)) for title, signs in _OTHER_SIGNS)]
    if title := next((title for title, shown in known if shown), None):
        return f"what looks like {title}"
    entries = sorted(path.name for path in data_in(root))[:3]
    return "a folder with " + ", ".join(entries) if entries else "an empty folder"


def _is(entry: Entry, root: Path) -> bool:
    return _shows(root, entry.signs) and not (entry.never and _shows(root, (entry.never,)))


def _shows(root: Path, signs: tuple[str, ...]) -> bool:
    return all(any(not is_junk(path.name) for one in sign.split("|") for path in root.glob(one)) for sign in signs)


def check_root(name: str, root: AnyPath) -> None:
    """Refuse a folder that is not there or that holds another data set than the catalogue's `name`.

    Raises:
        UserInputError: there is no such folder.
        DataError: the tree is not laid out as `name` is.
    """
    root = Path(root)
    entry = entry_of(name)
    if entry is None:  # a plug-in's, which knows its own layout
        if not root.is_dir():
            raise UserInputError("no such folder", root, fix="check the path")
        return
    if not root.is_dir():
        raise UserInputError(
            "no such folder", root, expected=f"{entry.title}: {entry.layout}", fix=f"check the path, or fetch it from {entry.page}"
        )
    if not _is(entry, root):
        raise DataError("another data set", root, recognise(root), f"{entry.title}: {entry.layout}", f"give the folder of {entry.name}")
