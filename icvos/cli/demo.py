"""`icvos demo`: the whole way on the embedded sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from icvos.cli import options


@click.command("demo")
@click.option("--out", type=options.OUT, default=Path("icvos-demo"), show_default=True, help="Where everything goes.")
@options.as_json
def command(out: Path, as_json: bool) -> None:
    """Make the embedded sample, then build, run methods, score and rank: a minute or two, no download.

    \b
    icvos demo
    icvos demo --out /tmp/icvos-demo
    """
    import json
    import time
    from importlib.util import find_spec
    from shlex import quote

    from icvos.playground import make_playground

    started = time.perf_counter()
    make_playground(out / "data")
    data, release, runs, board = (quote(str(out / name)) for name in ("data", "ic-vos", "runs", "board.html"))
    methods = "naive-sam2,dcsam,oracle-first-frame," if find_spec("sam2") else ""
    steps = (
        f"build --sources davis --data {data} --name playground --out {release}",
        f"run --method {methods}empty,full-frame,centre-box,support-shape,identity --benchmark {release} --out {runs}",
        f"score {runs}",
        f"leaderboard {runs} --format html --out {board}",
        f"leaderboard {runs}",
    )
    told = [_step(words, as_json) for words in steps]
    if as_json:
        said = {"out": str(out), "steps": [{"command": f"icvos {words}", "said": one} for words, one in zip(steps, told, strict=True)]}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
    click.echo(f"\nThe sample, release, runs and board lie in {out}; {time.perf_counter() - started:.0f} s.", err=True)


def _step(words: str, as_json: bool) -> Any:
    """Print a command as a person would type it, and carry it out; what it says for machines is kept for the one document."""
    import json
    from contextlib import nullcontext, redirect_stdout
    from io import StringIO
    from shlex import split

    from icvos.cli import group

    click.echo(f"$ icvos {words}", err=True)
    said = StringIO()
    with redirect_stdout(said) if as_json else nullcontext():
        group.main(args=[*split(words), *(["--json"] if as_json else [])], prog_name="icvos", standalone_mode=False)
    return json.loads(said.getvalue()) if as_json else None
