"""Looking at what is at hand: the release, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from icvos.benchmark import Benchmark
from icvos.errors import UserInputError, did_you_mean
from icvos.reproduce.jobs import Here
from icvos.reproduce.recipes import SCALES

RELEASE = "release"  # below the work folder, where a sample is built
MANIFEST = "manifest.json"


def look(
    scale: str,
    *,
    out: Path,
    roots: Mapping[str, Path],
    release: Path | None,
    runs: Path | None,
    commands: Iterable[str],
) -> Here:
    """What is at hand.

    Args:
        scale: one of `SCALES`.
        out: the work folder; each scale has its own below it.
        roots: data set -> its folder.
        release: None: at sample scale, one that is built in the work folder.
        runs: a folder of runs that are there already.
        commands: of this command line.

    Raises:
        UserInputError: no such scale; a release or folder of runs that was named is not there.
        DataError: the release is corrupt.
    """
    if scale not in SCALES:
        raise UserInputError("no such scale", scale, fix=did_you_mean(scale, SCALES))
    if runs is not None and not runs.is_dir():
        raise UserInputError("no such folder of runs", runs, fix="check --runs")
    if release is not None and not (release / MANIFEST).is_file():
        raise UserInputError("no release", release, expected=f"a folder with {MANIFEST}", fix="run `icvos build`, or check --benchmark")
    work = out / scale
    found = release or work / RELEASE
    opened = Benchmark.open(found) if (found / MANIFEST).is_file() else None
    return Here(
        scale=scale,
        roots=roots,
        release=found,
        runs=(*([runs] if runs else []), work / "runs"),
        work=work,
        commands=frozenset(commands),
        digest=opened.digest if opened else "",
        sources=frozenset(opened.manifest.sources) - {"coco"} if opened else frozenset(),
    )
