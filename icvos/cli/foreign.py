"""The options of `icvos run` and `icvos fewshot` for methods that are programs or container images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

if TYPE_CHECKING:
    from icvos.programs.walls import Walls
    from icvos.registry import LoadedMethod
    from icvos.types import Compute

Command = TypeVar("Command", bound=Callable[..., Any])
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def _size(ctx: click.Context, parameter: click.Parameter, value: str) -> int:
    """``16GB`` in bytes."""
    text = value.strip().lower()
    digits = text.rstrip("kmgtib ")
    unit = text[len(digits) :].strip()
    try:
        size = float(digits) * _UNITS[unit]
        if not 1 <= size < 2**60:
            raise ValueError
    except (KeyError, ValueError):
        raise click.BadParameter(f"found {value}, expected a size such as 16GB or 512MB") from None
    return int(size)


class Foreign(NamedTuple):
    """What the options say."""

    program: str | None
    container: str | None
    engine: str | None
    card: Path | None
    method_name: str | None
    time_limit: float
    memory_limit: int
    disk_limit: int
    allow_read: tuple[Path, ...] = ()

    @property
    def chosen(self) -> bool:
        """Whether it is a program or an image that shall run."""
        return self.program is not None or self.container is not None


def options(command: Command) -> Command:
    """--program, --container and what belongs to them, handed over as one `Foreign`."""

    @wraps(command)
    def gathered(**given: Any) -> Any:
        foreign = Foreign(**{name: given.pop(name) for name in Foreign._fields})
        return command(**given, foreign=foreign)

    for option in (
        click.option("--disk-limit", callback=_size, default="10GB", show_default=True, help="What one call may write."),
        click.option("--memory-limit", callback=_size, default="16GB", show_default=True, help="What one call may hold in memory."),
        click.option(
            "--time-limit",
            type=click.FloatRange(0, min_open=True),
            default=3600,
            show_default=True,
            help="Seconds for one call: a clip, or a picture.",
        ),
        click.option("--method-name", metavar="NAME", help="What the program is called on boards.  [default: its file's or image's name]"),
        click.option("--card", type=click.Path(path_type=Path), metavar="FILE.json", help="What the program says of itself."),
        click.option(
            "--allow-read",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="DIR",
            help="A folder or file that --program may read beside what it needs to run, such as its weights. Several times.",
        ),
        click.option("--engine", type=click.Choice(["docker", "podman"]), help="For --container.  [default: the one that is installed]"),
        click.option("--container", metavar="IMAGE", help="Instead of --method: an image that reads /input and writes /output."),
        click.option("--program", metavar="COMMAND", help="Instead of --method: any program, as 'COMMAND {input} {output}'."),
    ):
        gathered = option(gathered)
    return cast(Command, gathered)


def check(method: str | None, foreign: Foreign, compute: Compute) -> None:
    """See that exactly one method is named, and that no option is given which would not reach it.

    Raises:
        UserInputError: otherwise.
    """
    from icvos.errors import UserInputError

    said = {"--method": method, "--program": foreign.program, "--container": foreign.container}
    named = [name for name, value in said.items() if value is not None]
    if len(named) != 1:
        raise UserInputError(
            "one method must be named", found=" and ".join(named) or "none", expected=", ".join(said), fix="give one of them"
        )
    if not foreign.chosen:
        lost = ["--card"] * (foreign.card is not None) + ["--method-name"] * (foreign.method_name is not None)
    else:
        lost = _given(compute)
    if foreign.container is None and foreign.engine is not None:
        lost.append("--engine")
    if foreign.program is None and foreign.allow_read:
        lost.append("--allow-read")
    if lost:
        raise UserInputError(f"{lost[0]} says nothing to {named[0]}", fix=f"leave {' and '.join(lost)} out")


def _given(compute: Compute) -> list[str]:
    """The options that a program never hears of."""
    from icvos.types import Compute

    unheard = {"sam": "--sam", "weights": "--weights", "precision": "--precision", "objects_at_once": "--objects-at-once"}
    unheard |= {"compiled": "--compile", "offline": "--offline"}
    return [option for name, option in unheard.items() if getattr(compute, name) != getattr(Compute(), name)]


def load(foreign: Foreign, closed: Sequence[Path], runs: Path, compute: Compute, *, dry_run: bool) -> LoadedMethod:
    """The method that the options name.

    Args:
        foreign: the options.
        closed: the folders that are closed to a program.
        runs: the folder of runs, of which those that are there are closed as well.
        compute: which GPU may be seen.
        dry_run: an image need not be there.

    Raises:
        UserInputError: there is no such program or image, or it would be allowed to read the truth.
        PluginError: its card is wrong.
    """
    from icvos.errors import UserInputError
    from icvos.programs.closed import run_folders
    from icvos.programs.job import Limits
    from icvos.programs.launch import Container, Program, container, program
    from icvos.programs.method import foreign_method

    limits = Limits(foreign.time_limit, foreign.memory_limit, foreign.disk_limit)
    launch: Program | Container
    if foreign.program is not None:
        allowed = [path.expanduser() for path in foreign.allow_read]
        launch = program(foreign.program, compute.device, [*closed, *run_folders(runs)], allowed)
    else:
        try:
            launch = container(str(foreign.container), foreign.engine, compute.device)
        except UserInputError as error:
            if not dry_run:
                raise
            click.echo(f"icvos: {error}", err=True)
            launch = container(str(foreign.container), foreign.engine, compute.device, look=False)
    return foreign_method(launch, limits, foreign.card, foreign.method_name)


def warn_of_walls(method: LoadedMethod) -> None:
    """Say in one line, before it begins, what a program is kept in by where something is open that should not be."""
    if (walls := _walls(method)) and walls.weak:
        click.echo(f"icvos: {walls.sentence()}; --container shuts it in", err=True)


def tell_walls(method: LoadedMethod) -> None:
    """Say in one line, below what came out, what a program was kept in by where nothing is open that should not be."""
    if (walls := _walls(method)) and not walls.weak:
        click.echo(f"icvos: {walls.sentence()}")


def _walls(method: LoadedMethod) -> Walls | None:
    """What a method is kept in by; None for methods that are no programs of this machine."""
    from icvos.programs.launch import Program
    from icvos.programs.method import ForeignMethod

    launch = method.segmenter.launch if isinstance(method.segmenter, ForeignMethod) else None
    return launch.walls if isinstance(launch, Program) else None


def command_line(method: LoadedMethod) -> dict[str, str]:
    """For a dry run: the command that would be run for each clip or picture; nothing for other methods."""
    import shlex

    from icvos.programs.method import ForeignMethod

    one = method.segmenter
    return {"command": shlex.join(one.launch.command(limits=one.limits))} if isinstance(one, ForeignMethod) else {}
