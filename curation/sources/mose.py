"""MOSE v1 and v2, train: palette masks on every frame, numbered from 00000. Nobody names the objects.

The clips of `valid/` have a mask on their first frame and no other: their owners keep the rest, so nothing can be scored on
them, and they are not read. v2 is a set of its own, larger and with other masks, so a release must say which of the two it
means: each has its own name, though they lie on disk in one layout.
"""

from __future__ import annotations

from pathlib import Path

from curation.sources.tree import Tree
from icvos.errors import DataError
from icvos.files import AnyPath
from icvos.names import folders_in


class Mose(Tree):
    """MOSE v1: `train/JPEGImages/<clip>/00000.jpg`, `train/Annotations/<clip>/00000.png`."""

    name = "mose"

    def __init__(self, root: AnyPath) -> None:
        root = Path(root)
        if (root / "valid").is_dir() and not (root / "train").is_dir():
            fix = "fetch train: what valid/ has can be answered, but not scored"
            raise DataError("the truth of MOSE's valid clips is hidden", root, "masks of first frames only", "train/ beside valid/", fix)
        super().__init__(root)

    def sequences(self) -> list[str]:
        """Every clip of train, sorted."""
        return folders_in(self.root / "train/JPEGImages", self.root / "train/Annotations")

    def folders(self, name: str) -> tuple[Path, Path]:
        """Where a clip's frames and its masks lie."""
        return self.root / "train/JPEGImages" / name, self.root / "train/Annotations" / name


class Mose2(Mose):
    """MOSE v2, in the same layout."""

    name = "mose2"
