"""Where things lie on this machine, remembered in files beside what needs them.

A release remembers sources that lie near by with the way to them, so that both may be moved together; any other with its whole path,
as earlier versions do all of them. A run remembers its release with its whole path, and knows it by its digest, so that it is found
beside the run, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from icvos.errors import DataError
from icvos.files import read_data, read_json, to_json, write_text

RELEASE_FILES = ("manifest.json", "pictures.jsonl", "episodes.jsonl")  # what a digest is of: those that a release has, in this order
ROOTS = "roots.json"  # beside a release or a set of candidates: source -> folder


def way_to(target: Path, folder: Path, *, up: int) -> str:
    """How `folder` remembers `target`: the way to it where that leads at most `up` folders up, and not to the disk's own root."""
    target, folder = target.resolve(), folder.resolve()
    around = folder.parents[up - 1] if up <= len(folder.parents) else None
    if around is None or around == around.parent or not target.is_relative_to(around):
        return str(target)
    return Path(os.path.relpath(target, folder)).as_posix()


def place_at(said: str, folder: Path) -> Path:
    """The place that `folder` remembers as `said`."""
    return Path(said) if Path(said).is_absolute() else Path(os.path.normpath(folder.resolve() / said))


def write_roots(folder: Path, roots: Mapping[str, Path], *, up: int = 1) -> None:
    """Remember beside a release where its sources lie; those beside its folder, or `up` folders above, by the way to them."""
    write_text(folder / ROOTS, to_json({name: way_to(root, folder, up=up) for name, root in sorted(roots.items())}))


def read_roots(folder: Path) -> dict[str, Path]:
    """Where the sources of what lies in `folder` were, as far as it remembers.

    Raises:
        DataError: the file is no list of roots.
    """
    path = folder / ROOTS
    said = read_json(path) if path.exists() else {}
    if not isinstance(said, dict) or not all(isinstance(root, str) for root in said.values()):
        raise DataError("not a list of roots", path, expected="{source: folder}", fix="remove the file, then say --data DIR")
    # What lay beside it and was left behind is asked for anew, as if nothing were remembered.
    return {name: place for name, root in said.items() if (place := place_at(root, folder)).exists() or Path(root).is_absolute()}


def find_release(said: str, run: Path, digest: str) -> Path | None:
    """The release with this digest that a run remembers at `said`: around the run's folder by the same name, where both were moved or
    copied together; else at that place, if there is a folder.
    """
    place = Path(said)
    for around in run.resolve().parents[:3]:
        for names in (place.parts[-1:], place.parts[-2:]):
            if _is_release(around.joinpath(*names), digest):
                return around.joinpath(*names)
    return place if place.is_dir() else None


def _is_release(folder: Path, digest: str) -> bool:
    files = [folder / name for name in RELEASE_FILES if (folder / name).is_file()]
    return bool(files) and hashlib.sha256(b"\0".join(map(read_data, files))).hexdigest() == digest
