"""What no program may read, because the truth lies there: releases, the data that they are made of, and where links in it lead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from icvos.benchmark import MANIFEST, Benchmark
from icvos.cache import cache_folder
from icvos.store import RUN

_A_STORE = 8  # so many folders that links in one folder lead to


def closed_folders(benchmark: Benchmark) -> list[Path]:
    """Of a release of clips: itself, the roots of its sources, and where links in these and among its masks end.

    Raises:
        UserInputError: it is not known where a source lies.
    """
    folders = {frame.mask.parent for tube in benchmark.tubes.values() for frame in tube.clip.frames if frame.mask}
    roots = {path.resolve() for path in (benchmark.path, *benchmark.roots.values()) if path.is_dir()}
    led = {place for root in roots for place in _led_to(root)}
    truth = {place for folder in folders for place in (folder.resolve(), *_ends_of_links(folder))}
    return _topmost(roots | led | truth)


def closed_to_images(root: Path, releases: Iterable[Path]) -> list[Path]:
    """Of releases of images: they, all others beside them, which may be of the same pictures, and the data set.

    Of that, everything below `root`, where its folders and the files in them lead, and what was read of its annotations before.

    Args:
        root: where the pictures and their annotations lie.
        releases: the releases' folders, which need not be there yet.
    """
    ours = {path.resolve() for path in releases}
    beside = {manifest.parent.resolve() for folder in {path.parent for path in ours} for manifest in folder.glob(f"*/{MANIFEST}")}
    kept = {path.resolve() for path in [cache_folder("training")] if path.is_dir()}
    return _topmost({root.resolve(), *ours, *beside, *kept, *_led_to(root)})


def run_folders(runs: Path) -> list[Path]:
    """The runs that are there already, of clips or of images: what a ceiling predicted is the truth again."""
    return _topmost({path.parent.resolve() for pattern in (f"*/{RUN}", f"*/*/{RUN}") for path in runs.glob(pattern)})


def _led_to(root: Path) -> Iterator[Path]:
    """The folders that links right below a folder, or in the folders there, lead to: of files, those that these lie in."""
    for entry in os.scandir(root):
        place = Path(entry.path).resolve()
        if not place.is_dir():
            yield place.parent
            continue
        yield place
        yield from _ends_of_links(place)


def _ends_of_links(folder: Path) -> set[Path]:
    """The folders that links in a folder lead to: of files, those that these lie in.

    Where files are links into a store (git-annex, DVC, caches of downloads) that has a folder for each, the store is named.
    """
    try:
        ends = {_folder(Path(inside.path).resolve()) for inside in os.scandir(folder) if inside.is_symlink()}
    except OSError:  # it is not there, or closed to us as well
        return set()
    if len(ends) < _A_STORE:
        return ends
    store = Path(os.path.commonpath(ends))
    wide = {*folder.resolve().parents, *_home().parents, _home()}
    return ends if store in wide or len(store.parts) < 3 else {store}


def _home() -> Path:
    try:
        return Path.home().resolve()
    except RuntimeError:  # a user without one
        return Path("/")


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _topmost(folders: set[Path]) -> list[Path]:
    """Without those that lie below others."""
    return sorted(folder for folder in folders if folders.isdisjoint(folder.parents))
