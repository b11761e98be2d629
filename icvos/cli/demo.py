"""`icvos demo`: the whole way on the embedded sample."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("demo")
@click.option("--out", type=options.FOLDER, default=Path("icvos-demo"), show_default=True, help="Where everything goes.")
def command(out: Path) -> None:
    """Make the embedded sample, then build, run every method that needs nothing more, score and rank: a minute or two, no download.

    \b
    icvos demo
    icvos demo --out /tmp/icvos-demo
    """
    import time
    from importlib.util import find_spec

    from icvos.cli import group
    from icvos.playground import make_playground
    from icvos.registry import load_method, method_names
    from icvos.weights import BROUGHT

    started = time.perf_counter()
    data, release, runs = out / "data", out / "ic-vos", out / "runs"
    make_playground(data)
    _say("icvos build", f"--sources davis --data {data} --name playground --out {release}", group)
    for name in method_names():
        needed = load_method(name).card.weights
        if needed.startswith(BROUGHT):
            click.echo(f"{name} is left out: no weights of it come along", err=True)
            continue
        if needed != "none" and not find_spec("sam2"):
            click.echo(f"{name} is left out: it needs the models, pip install 'icvos[models]'", err=True)
            continue
        _say("icvos run", f"--method {name} --benchmark {release} --out {runs}", group)
    _say("icvos score", f"{runs}", group)
    _say("icvos leaderboard", f"{runs} --format html --out {out / 'board.html'}", group)
    _say("icvos leaderboard", f"{runs} --format markdown", group)
    click.echo(f"\nThe sample, release, runs and board lie in {out}; {time.perf_counter() - started:.0f} s.", err=True)


def _say(command: str, arguments: str, group: click.Group) -> None:
    """Print a command as a person would type it, and carry it out."""
    click.echo(f"$ {command} {arguments}", err=True)
    name = command.split()[1]
    group.main(args=[name, *arguments.split(" ")], prog_name="icvos", standalone_mode=False)
