"""`icvos demo`: the whole way on the embedded sample."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("demo")
@click.option("--out", type=options.FOLDER, default=Path("icvos-demo"), show_default=True, help="Where everything goes.")
def command(out: Path) -> None:
    """Make the embedded sample, then build, run methods, score and rank: a minute or two, no download.

    \b
    icvos demo
    icvos demo --out /tmp/icvos-demo
    """
    import time
    from importlib.util import find_spec

    from icvos.cli import group
    from icvos.playground import make_playground

    started = time.perf_counter()
    data, release, runs = out / "data", out / "ic-vos", out / "runs"
    make_playground(data)
    _say("icvos build", f"--sources davis --data {data} --name playground --out {release}", group)
    methods = "naive-sam2,dcsam,oracle-first-frame," if find_spec("sam2") else ""
    _say("icvos run", f"--method {methods}empty,full-frame,centre-box,support-shape,identity --benchmark {release} --out {runs}", group)
    _say("icvos score", f"{runs}", group)
    _say("icvos leaderboard", f"{runs} --format html --out {out / 'board.html'}", group)
    _say("icvos leaderboard", f"{runs} --format markdown", group)
    click.echo(f"\nThe sample, release, runs and board lie in {out}; {time.perf_counter() - started:.0f} s.", err=True)


def _say(command: str, arguments: str, group: click.Group) -> None:
    """Print a command as a person would type it, and carry it out."""
    click.echo(f"$ {command} {arguments}", err=True)
    name = command.split()[1]
    group.main(args=[name, *arguments.split(" ")], prog_name="icvos", standalone_mode=False)
