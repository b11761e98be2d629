"""DAVIS 2016 and 2017 (480p or full resolution) as clips and instances.

DAVIS 2017 masks are palette PNGs: the value is the object's id, 255 is void and belongs to no object. DAVIS 2016 masks
are grey PNGs, 0 and 255, one object that is the union of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from curation.labels import davis_labels, read_semantics
from curation.sources.scan import VOID, MaskScan, scan_masks
from curation.sources.tree import Tree
from icvos.benchmark import plain_name
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath
from icvos.names import data_in, folders_in
from icvos.types import Encoding

RESOLUTIONS = {"480p": ("480p",), "full": ("Full-Resolution", "1080p")}  # the folders' names, of 2017 and of 2016


class _Davis(Tree):
    """One reading of a DAVIS tree: the sequences of `year`'s lists with that year's masks.

    Args:
        root: the folder with JPEGImages/ and Annotations/.
        resolution: ``480p`` or ``full``; by default 480p where it is there.
    """

    year: ClassVar[str]
    annotation_folders: ClassVar[tuple[str, ...]]

    def __init__(self, root: AnyPath, resolution: str | None = None) -> None:
        super().__init__(root)
        root = self.root
        self.images, self.annotations = self._resolved(root / "JPEGImages", self._annotation_folder(), resolution)
        self.labels = davis_labels()
        if (root / "davis_semantics.json").is_file():
            self.labels = self.labels | read_semantics(root / "davis_semantics.json")

    def sequences(self) -> list[str]:
        """The names in the year's lists (train and val), or every folder where there is no list; sorted.

        Raises:
            DataError: a list cannot be read or holds something that is no name.
        """
        # Of the test lists' sequences only the first mask is public.
        lists = [path for path in data_in(self.root / "ImageSets" / self.year, (".txt",)) if not path.name.startswith("test")]
        if not lists:
            return folders_in(self.annotations)
        return sorted({name for path in lists for name in _names_in(path)})

    def folders(self, name: str) -> tuple[Path, Path]:
        """Where a sequence's frames and its masks lie."""
        return self.images / name, self.annotations / name

    def encoding(self, masks: Sequence[Path]) -> Encoding:
        """By the first mask that shows anything: only a grey one of 2016 has 255 and nothing else; beside ids, 255 is void."""
        for mask in scan_masks(masks):
            if isinstance(mask, MaskScan) and mask.values:
                return "binary" if set(mask.values) == {VOID} and not mask.palette else "ids"
        return "ids"

    def _annotation_folder(self) -> Path:
        for folder in self.annotation_folders:
            if (self.root / folder).is_dir():
                return self.root / folder
        raise DataError("no masks", self.root, expected=" or ".join(self.annotation_folders), fix="fetch the annotations of DAVIS")

    def _resolved(self, images: Path, annotations: Path, asked: str | None) -> tuple[Path, Path]:
        """The folders of one resolution that both frames and masks have."""
        if asked not in {None, *RESOLUTIONS}:
            raise UserInputError("no resolution of DAVIS", asked, expected=" or ".join(RESOLUTIONS), fix="give one of these")
        folders = [folder for name in ([asked] if asked else RESOLUTIONS) for folder in RESOLUTIONS[name]]
        for folder in folders:
            if (images / folder).is_dir() and (annotations / folder).is_dir():
                return images / folder, annotations / folder
        lacking = images if not any((images / folder).is_dir() for folder in folders) else annotations
        found = ", ".join(folders_in(lacking)) or "none"
        if asked:
            raise UserInputError("no such resolution here", lacking, found, " or ".join(folders), "give another --resolution, or fetch it")
        raise DataError("no frames" if lacking == images else "no masks", lacking, found, "480p or Full-Resolution", "fetch DAVIS again")

    def _option(self) -> str:
        return "--davis DIR"


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
