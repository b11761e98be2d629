"""Where indices of training data are kept, so that a data set is read through once."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from icvos.files import make_folder


def cached_folder(kind: str, about: Path, state: Sequence[object]) -> Path:
    """A folder for what was read of `about` while it was in this state (its size, its time); another state has another folder."""
    import pooch  # type: ignore[import-untyped]

    key = sha256(repr((str(about.resolve()), *state)).encode()).hexdigest()[:16]
    folder = Path(pooch.os_cache("icvos")) / "training" / f"{kind}-{key}"
    make_folder(folder)
    return folder
