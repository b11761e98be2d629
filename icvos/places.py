"""Where things lie on this machine, remembered in files beside what needs them.

A folder that lies near by is remembered by the way to it, so that both may be moved together; any other by its whole path. Files of
earlier versions, with whole paths only, are read alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from icvos.errors import DataError
from icvos.files import read_json, to_json, write_text

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
    return {name: place_at(root, folder) for name, root in said.items()}
