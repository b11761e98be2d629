"""Where what was read, compiled and fetched is kept, so that it is had again at once. All of it may be removed at any time.

One folder holds everything: the one that `ICVOS_CACHE` names, else ``icvos`` in the platform's own cache folder. Where it
cannot be written nothing is kept, which is told once and costs only time.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from icvos.errors import DataError, UserInputError
from icvos.files import make_folder, parse_json, write_text

ENVIRONMENT = "ICVOS_CACHE"
_told: set[Path] = set()  # caches of which was said that they cannot be used


def cache_folder(room: str) -> Path:
    """The folder of one kind of things in the user's cache; it may not be there yet, nor possible."""
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(os.path.expanduser(chosen)).absolute() / room  # noqa: PTH111 - where nobody has a home, Path.expanduser raises
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("icvos")) / room


def key_file() -> Path:
    """The key that seals what was scored here (`icvos.badges`); where it is lost, results must be scored again to be vouched for."""
    return cache_folder("keys") / "badges.key"


def usable_cache(room: str) -> Path | None:
    """The same, made and ready to be written to; None, and told once, where it cannot be."""
    folder = cache_folder(room)
    if not folder.is_absolute():  # "~/.cache": nobody knows where this user's home is
        tell_nothing_kept(folder, "no home folder")
        return None
    try:
        make_folder(folder)
    except UserInputError as error:
        tell_nothing_kept(folder, error.found)
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        tell_nothing_kept(folder, "it may not be written to")
        return None
    return folder


def cached_folder(kind: str, about: Path, state: Sequence[object]) -> Path | None:
    """A folder for what was read of `about` while it was in this state (its size, its time); another state has another folder.

    It is there already where it can only be read; None where nothing is kept.
    """
    key = sha256(repr((str(about.resolve()), *state)).encode()).hexdigest()[:16]
    name = f"{kind}-{key}"
    known = cache_folder("training") / name
    if known.is_absolute() and known.is_dir():
        return known
    room = usable_cache("training")
    if room:
        make_folder(room / name)
    return room and room / name


def kept_json(path: Path | None, make: Callable[[], Any]) -> Any:
    """What the JSON file at `path` of a cache holds; where it is not there or is broken, what `make` gives, kept there if it can be."""
    if path:
        with suppress(OSError, DataError):
            return parse_json(path.read_bytes(), path)
    text = json.dumps(make())
    if path:
        keep_text(path, text)
    return json.loads(text)  # as it will be read the next time


def keep_text(path: Path, text: str) -> None:
    """Write a text to a file of a cache, or tell that nothing is kept."""
    try:
        write_text(path, text)
    except UserInputError as error:
        tell_nothing_kept(path.parent, error.found)


def tell_nothing_kept(folder: Path, why: str) -> None:
    """Say once that nothing is kept in the cache, and how it could be; workers leave that to who started them."""
    root = cache_folder("")
    if root not in _told and parent_process() is None:
        _told.add(root)
        fix = f"{ENVIRONMENT}=DIR names another folder"
        sys.stderr.write(f"icvos: nothing is kept in {folder} ({why}), so that some things take longer; {fix}\n")
