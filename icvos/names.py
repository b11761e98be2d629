"""Names of files in folders of data: which of them are data, in which order frames come, and spellings that look alike.

Every reader of somebody else's folder asks here: what `is_junk` is never data and never a fault, and is told once as a note
(`NotData`); names that are an order of time are sorted by `natural_key`; `order_doubt` says where such an order is not certain.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from icvos.errors import DataError

PICTURES = (".jpg", ".jpeg")  # the endings of frames, in whatever case
MASKS = (".png",)

# Left behind by Windows, macOS, network drives and archives; whatever begins with a dot is hidden, and no data either.
_JUNK = frozenset(
    {
        "__macosx",
        "icon\r",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "@eadir",
        "#recycle",
        "#snapshot",
        "__pycache__",
    }
)
_NUMBER = re.compile(r"(\d+)")

NaturalKey: TypeAlias = tuple[tuple[str | int, ...], str]


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is no data: hidden, or left behind by an operating system or a program."""
    return name.startswith(".") or name.casefold() in _JUNK


@dataclass(frozen=True, slots=True)
class NotData:
    """What lies beside data and is none: how many files and folders, and one of them."""

    count: int = 0
    example: str = ""

    def __add__(self, other: NotData) -> NotData:
        """Both together; the example stays the first."""
        return NotData(self.count + other.count, self.example or other.example)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.count > 0

    def __str__(self) -> str:
        """One sentence for people."""
        what = "1 file that is no data is" if self.count == 1 else f"{self.count} files that are no data are"
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in self.example)
        return f"{what} not read (hidden, or left by an operating system), as {shown}"

    @classmethod
    def of(cls, paths: Iterable[Path | str]) -> NotData:
        """All of these."""
        names = [str(path) for path in paths]
        return cls(len(names), min(names, default=""))


NONE_LEFT = NotData()


def lies_in_junk(path: Path, root: Path) -> bool:
    """Whether a path below `root` is no data, or lies in a folder that is none."""
    return any(map(is_junk, path.relative_to(root).parts))


def data_in(folder: str | os.PathLike[str], endings: Sequence[str] = ()) -> tuple[Path, ...]:
    """The data in a folder, in natural order: all, or what has one of these endings, in whatever case. Nothing where there is no folder.

    Raises:
        DataError: it may not be listed.
    """
    folder = Path(folder)
    try:
        names = os.listdir(folder)  # noqa: PTH208  # half the time of `iterdir`, for hundreds of thousands of files
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise DataError("cannot list the folder", folder, error.strerror, fix="check its permissions") from error
    paths = [folder / name for name in names if not is_junk(name)]
    chosen = [path for path in paths if not endings or path.suffix.lower() in endings]
    return tuple(sorted(chosen, key=lambda path: (natural_key(path.stem), path.name)))


def by_stem(folder: str | os.PathLike[str], endings: Sequence[str]) -> dict[str, Path]:
    """The files of these endings in a folder by their stems. Of two of one stem the one with the first ending, in small letters, counts.

    Raises:
        DataError: it may not be listed.
    """
    ordered = sorted(data_in(folder, endings), key=lambda path: path.suffix != endings[0])
    found: dict[str, Path] = {}
    for path in ordered:
        found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def folders_in(*parents: str | os.PathLike[str]) -> list[str]:
    """The names of the folders in any of these, sorted; parents that are not there are left out."""
    return sorted({path.name for parent in parents for path in data_in(parent) if path.is_dir()})


def not_data_below(root: str | os.PathLike[str], depth: int = 3) -> NotData:
    """What is no data in a folder and down to so many folders below it (3 lead to the frames of a clip in all trees that are read).

    What lies inside of it is not counted, and links are not followed.
    """
    root = Path(root)
    try:
        with os.scandir(root) as entries:
            found = [(entry.name, depth > 0 and entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return NONE_LEFT
    below = (not_data_below(root / name, depth - 1) for name, is_folder in sorted(found) if is_folder and not is_junk(name))
    return sum(below, NotData.of(root / name for name, _ in found if is_junk(name) and not name.endswith(".partial")))


def natural_key(name: str) -> NaturalKey:
    """What names are sorted by where they are an order of time: numbers in them count as numbers, so that 2 comes before 10."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(name))), name


def order_doubt(stems: Sequence[str]) -> str:
    """Why these names do not say for certain in which order they follow one another, in words; empty where they do.

    They do where they differ in one number, or in several that grow together.
    """
    parts = {stem: _NUMBER.split(stem) for stem in sorted(stems, key=natural_key)}
    kinds: dict[tuple[str, ...], str] = {}
    numbers: dict[tuple[int, ...], str] = {}
    for stem, split in parts.items():
        kinds.setdefault(tuple(split[::2]), stem)
        twin = numbers.setdefault(tuple(map(int, split[1::2])), stem)
        if len(kinds) > 1:
            first, other = list(kinds.values())[:2]
            return f"{first} and {other} differ in more than a number"
        if twin != stem:
            return f"{twin} and {stem} are the same number"
    return _fractions_doubt(parts) or _fields_doubt(numbers)


def _fractions_doubt(parts: dict[str, list[str]]) -> str:
    """Names like 1.5 and 1.25, of which nobody can say whether a point or a counter is meant."""
    for place in range(3, len(next(iter(parts.values()), ())), 2):
        lengths = {len(split[place]): stem for stem, split in parts.items() if split[place - 1] == "."}
        if len(lengths) > 1:
            first, other = (lengths[length] for length in sorted(lengths)[:2])
            return f"{first} and {other} have numbers of different lengths behind a point"
    return ""


def _fields_doubt(numbers: dict[tuple[int, ...], str]) -> str:
    """Names with several numbers, of which one grows where another falls."""
    found = list(numbers.items())
    for (before, first), (after, other) in pairwise(found):
        if any(late < early for early, late in zip(before, after, strict=True)):
            return f"from {first} to {other} one number grows and another falls"
    return ""


def plain_form(name: str) -> str:
    """The name with each letter and its accents as one sign where there is one (NFC): the same for names that look the same."""
    return unicodedata.normalize("NFC", name)


def differ_in_accents_alone(first: str, second: str) -> bool:
    """Whether two names look the same, and are not: their accents are written in different ways (NFC and NFD)."""
    return first != second and plain_form(first) == plain_form(second)


def spelled_otherwise(path: Path) -> Path | None:
    """Where `path` is not there: what is there under a name with its accents written in another way (NFC, NFD), if anything is."""
    if str(path).isascii():
        return None
    there = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        following = there / part
        if not os.path.lexists(following):
            try:
                twins = [name for name in os.listdir(there) if differ_in_accents_alone(name, part)]  # noqa: PTH208
            except OSError:
                return None
            if not twins:
                return None
            following = there / min(twins)
        there = following
    return there if there != path else None


def accents_note(path: Path) -> str:
    """In words, what is there in the place of a file that is not: one whose name looks the same; empty where there is none."""
    twin = spelled_otherwise(path)
    return f"{twin.name}, which looks the same with its accents written otherwise ({form_of(str(twin))})" if twin else ""


def form_of(name: str) -> str:
    """How the accents of a name are written: NFC (a sign each), NFD (letters and accents apart) or mixed."""
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, name)), "mixed")
