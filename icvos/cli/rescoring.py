"""`icvos leaderboard --rescore`: the masks that lie beside results are scored again before the board is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options

if TYPE_CHECKING:
    from icvos.scored import Release
    from icvos.store import PredictionStore


def rescore_all(paths: Sequence[Path], benchmark: Path | None, where: options.Where) -> None:
    """Score what lies beside each result again, and say on stderr what came out, and of which results that could not be done."""
    from icvos.badges import why_unsealed
    from icvos.cli.progress import bar
    from icvos.errors import IcvosError
    from icvos.rescoring import rescore

    def open_release(store: PredictionStore, digest: str) -> Release:
        return options.open_release(_folder(store, digest, benchmark), where)

    lines = []
    with bar("scoring again", len(paths), "results") as advance:
        for path in paths:
            try:
                lines += [rescore(path, open_release).line, *([why] if (why := why_unsealed(path)) else [])]
            except IcvosError as error:
                lines.append(f"not rescored: {path}: {error}")
            advance(1)
    for line in lines:
        click.echo(f"icvos: {line}", err=True)


def _folder(store: PredictionStore, digest: str, benchmark: Path | None) -> Path | None:
    """The release's folder: as said (of images, maybe the folder that they lie in), else where the run remembers it."""
    from icvos.fewshot.release import PICTURES, digest_of

    if benchmark is None:
        return store.remembered
    inside = [path.parent for path in sorted(benchmark.glob(f"*/{PICTURES}"))]
    return next((folder for folder in inside if digest_of(folder) == digest), benchmark)
