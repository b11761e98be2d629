"""The command line: one file a command. Commands import what they need when they are called, so that help is instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from icvos import __version__
from icvos.errors import IcvosError, UserInputError, did_you_mean, missing_package

# In the order of the way through.
COMMANDS = {
    "demo": "demo",
    "labels": "labels",
    "build": "build",
    "import": "import_tree",
    "review": "review",
    "verify": "verify",
    "diff": "diff",
    "stats": "stats",
    "new-method": "new_method",
    "methods": "methods",
    "weights": "weights",
    "train": "train",
    "sizes": "sizes",
    "run": "run",
    "score": "score",
    "fewshot": "fewshot",
    "submit": "submit",
    "leaderboard": "leaderboard",
    "export": "export",
    "compare": "compare",
    "reproduce": "reproduce",
    "schema": "schema",
    "completion": "completion",
    "doctor": "doctor",
}
INTERRUPTED = 130
TRACEBACK, TRACEBACK_ENVIRONMENT = "--traceback", "ICVOS_TRACEBACK"


class _Commands(click.Group):
    """Finds each command in its own module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"icvos.cli.{COMMANDS[cmd_name]}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"unknown command {args[0]!r}; {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="icvos")
@click.option(
    TRACEBACK,
    is_flag=True,
    help=f"With an error, also say how the program came there; any command takes it.  [also: {TRACEBACK_ENVIRONMENT}=1]",
)
def group(traceback: bool) -> None:
    """In-context video object segmentation: build the benchmark, run methods, score them, rank them.

    \b
    icvos demo                                          the whole way on the embedded sample, no download
    icvos build --sources davis --data /data            freeze a release from data on disk
    icvos run --method support-shape                    predict every episode, resumable
    icvos score runs/support-shape                      J, F and J&F
    icvos submit check masks.zip                        every fault of somebody's masks, without the truth
    icvos leaderboard                                   rank what was scored
    icvos fewshot --benchmark coco20i --method dcsam    the same method on images, COCO-20i and PASCAL-5i
    icvos compare runs/dcsam runs/vrp_sam               say how sure a difference is
    icvos reproduce table4                              the paper's tables: printed, ours, what is missing

    Exit codes: 2 your input, 3 data on disk, 4 a submission, 5 a method, 130 interrupted (run again to go on).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    traced = TRACEBACK in words or os.environ.get(TRACEBACK_ENVIRONMENT, "0") not in ("", "0")
    words = [word for word in words if word != TRACEBACK]  # wherever it stands
    try:
        result: Any = group.main(args=words, prog_name="icvos", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except IcvosError as error:
        if traced:
            _show_traceback(error)
        return _report(error, as_json)
    except click.ClickException as error:
        if as_json:
            return _report(UserInputError(error.format_message().rstrip("."), fix="see --help"), as_json)
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report(_Interrupted("interrupted", fix="what is done is kept, run the same command again to go on"), as_json)
    except BrokenPipeError:
        _read_no_further()
        return 0
    except ModuleNotFoundError as error:
        if not (extra := _extra_with(str(error.name))):
            raise
        return _report(missing_package(f"icvos {' '.join(words[:1])}", error, extra), as_json)
    except OSError as error:  # a folder that may not be listed, a disk that went away
        if traced:
            _show_traceback(error)
        found = error.strerror or str(error)
        fault = UserInputError("cannot read or write", error.filename or "a file", found, fix="check it and its permissions")
        return _report(fault, as_json)


def _show_traceback(error: Exception) -> None:
    from traceback import format_exception

    with suppress(BrokenPipeError):
        click.echo("".join(format_exception(error)), err=True, nl=False)


def _extra_with(module: str) -> str:
    """The extra of this package that brings a module; empty where none does."""
    from importlib import metadata

    top = module.partition(".")[0]
    wanted = {"ot": "pot", "vl_convert": "vl_convert_python"}.get(top, top)  # the others are called as their packages are
    for requirement in metadata.requires("icvos") or ():
        head, _, marker = requirement.partition(";")
        name, extra = head.strip().replace("-", "_"), marker.partition("extra ==")[2].strip(" '\"")
        if extra not in ("", "all", "test") and name.startswith(wanted) and not name[len(wanted) :][:1].isidentifier():
            return extra
    return ""


class _Interrupted(IcvosError):
    """Somebody pressed Ctrl-C."""

    exit_code = INTERRUPTED


def _report(error: IcvosError, as_json: bool) -> int:
    """Say what went wrong, in words on stderr and for machines on stdout; gives the exit code, whether or not anybody reads on."""
    try:
        if as_json:
            import json

            click.echo(json.dumps(error.as_dict(), indent=1, ensure_ascii=False))
        for finding in () if as_json else error.findings:
            click.echo(f"  {finding}", err=True)
        click.echo(f"icvos: {error}", err=True)
        sys.stdout.flush()
    except BrokenPipeError:
        _read_no_further()
    return error.exit_code


def _read_no_further() -> None:
    """The reader of a pipe went away: nothing is wrong, and the interpreter must not stumble over what is left in its buffers."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
