"""Where what was read of data sets is kept, so that they are read through once. It may be removed at any time."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from icvos.files import make_folder


def cache_folder(room: str) -> Path:
    """The folder of one kind of things in the user's cache; it may not be there yet."""
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("icvos")) / room


def key_file() -> Path:
    """The key that seals what was scored here (`icvos.badges`); where it is lost, results must be scored again to be vouched for."""
    return cache_folder("keys") / "badges.key"


def cached_folder(kind: str, about: Path, state: Sequence[object]) -> Path:
    """A folder for what was read of `about` while it was in this state (its size, its time); another state has another folder."""
    key = sha256(repr((str(about.resolve()), *state)).encode()).hexdigest()[:16]
    folder = cache_folder("training") / f"{kind}-{key}"
    make_folder(folder)
    return folder
