"""What no program may read, because the truth lies there: releases, the data that they are made of, and where links in it lead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from icvos.benchmark import MANIFEST, Benchmark
from icvos.cache import cache_folder


def closed_folders(benchmark: Benchmark) -> list[Path]:
    """Of a release of clips: itself, the roots of its sources, and where links in them lead to truth.

    Raises:
        UserInputError: it is not known where a source lies.
    """
    firsts = (next((frame.mask for frame in tube.clip.frames if frame.mask), None) for tube in benchmark.tubes.values())
    truth = {mask.resolve().parent for mask in firsts if mask}
    roots = {path.resolve() for path in (benchmark.path, *benchmark.roots.values()) if path.is_dir()}
    return _topmost(roots | truth)


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


def _led_to(root: Path) -> Iterator[Path]:
    """The folders that links right below a folder, or in the folders there, lead to: of files, those that these lie in."""
    for entry in os.scandir(root):
        place = Path(entry.path).resolve()
        if not place.is_dir():
            yield place.parent
            continue
        yield place
        yield from {_folder(Path(inside.path).resolve()) for inside in os.scandir(place) if inside.is_symlink()}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _topmost(folders: set[Path]) -> list[Path]:
    """Without those that lie below others."""
    return sorted(folder for folder in folders if not any(parent in folders for parent in folder.parents))
