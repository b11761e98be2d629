"""`icvos diff`: what changed between two releases."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("diff")
@click.argument("before", type=options.FOLDER)
@click.argument("after", type=options.FOLDER)
@options.as_json
def command(before: Path, after: Path, as_json: bool) -> None:
    """Say what changed from the release BEFORE to the release AFTER: tubes in and out, classes, frames, files, supports, rules.

    Needs no data on disk. Exit code 0, whatever it finds.

    \b
    icvos diff ic-vos-1 ic-vos-2
    icvos diff ic-vos-1 ic-vos-2 --json
    """
    import json
    from dataclasses import asdict

    from icvos.benchmark import Benchmark
    from icvos.release_diff import release_changes

    releases = [Benchmark.open(path) for path in (before, after)]
    changes = release_changes(*releases)
    if as_json:
        labels = dict(zip(("before", "after"), (release.label for release in releases), strict=True))
        click.echo(json.dumps(labels | {"changes": [asdict(change) for change in changes]}, indent=1, ensure_ascii=False))
        return
    for change in changes:
        click.echo(str(change))
    click.echo(f"{releases[0].label} -> {releases[1].label}: {len(changes) or 'no'} change{'' if len(changes) == 1 else 's'}")
