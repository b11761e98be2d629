"""A foreign program or image as a method: each clip, or single picture, with all its episodes is one call of it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from icvos.cards import card_faults
from icvos.errors import Finding, PluginError, UserInputError, did_you_mean
from icvos.files import read_json
from icvos.programs.job import Limits, Report, kept_job
from icvos.programs.launch import Container, Launch, Program
from icvos.programs.layout import MEND, check_input, not_data, read_masks, write_task
from icvos.registry import LoadedMethod
from icvos.types import Clip, Mask, MethodCard, Segmenter, Support

_LAST_LINES, _LAST_LETTERS = 3, 300
_PATHS = re.compile(r"'(/[^'\n]+)'|\"(/[^\"\n]+)\"|(/[^\s:'\"]+)(?=: )")  # in quotes, or before a colon


class ForeignMethod:
    """A segmenter whose work is done by another program, over files."""

    def __init__(self, card: MethodCard, launch: Launch, limits: Limits) -> None:
        self.card, self.launch, self.limits = card, launch, limits
        self.peak_bytes = 0  # the most memory that a call held; 0 where it cannot be known
        self._findings: list[tuple[int, Finding]] = []
        self._told = False  # that there is what is no data: of the first call that leaves some, not of all

    def segment_files(self, clip: Clip, episodes: Mapping[str, Sequence[Support]]) -> Iterator[tuple[Mask, ...]]:
        """For each frame of the clip, one mask an episode (id -> supports), by one call of the program.

        Raises:
            PluginError: the program fails, goes beyond a limit, or leaves anything but the masks that were asked for.
        """
        where = f"{self.card.name} on {clip.key}"
        with kept_job() as job:
            task = write_task(job.input, clip, episodes)
            limits = replace(self.limits, files=self.limits.files + 2 * task.masks)
            report = job.run(self.launch.order(job, limits))
            self.peak_bytes = max(self.peak_bytes, report.peak_bytes)
            _refuse(report, self.limits, where, self.launch)
            check_input(job.input, task, where)
            if (left := not_data(job.output)) and not self._told:
                self._told = True
                self._findings.append((0, Finding("not-data", where, str(left), "masks alone", "no harm is done")))
            yield from read_masks(job.output, task, where)

    def take_findings(self) -> list[tuple[int, Finding]]:
        """That a call left what is no data beside its masks, told of that call's first episode; once for all calls."""
        taken, self._findings = self._findings, []
        return taken


def foreign_method(launch: Launch, limits: Limits, card: Path | None = None, name: str | None = None) -> LoadedMethod:
    """A method out of a program or an image.

    Args:
        launch: how it is started.
        limits: of each call.
        card: a JSON file with the fields of a `MethodCard`.
        name: goes before the card's; by default that of the program's file or the image.

    Raises:
        UserInputError: the card has unknown fields, or this is not Linux, whose means keep a program in its place.
        DataError: the card is no JSON.
        PluginError: the card has fields of a wrong type, or says that the method is told the truth.
    """
    if not sys.platform.startswith("linux"):
        raise UserInputError("programs and images are run on Linux alone", found=sys.platform, fix="run it there, or hand in masks")
    said = _read_card(card) if card else {}
    if isinstance(launch, Container):
        said = {"weights": f"image {launch.image_id or 'not looked up'}"} | said
    said = {"name": launch.name} | said | ({"name": name} if name else {})
    for fault in card_faults(said):
        raise PluginError("the method's card is wrong", f"{card or launch.name}, {fault.field}", fault.found, fault.expected, fault.fix)
    typed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    made = MethodCard(**typed)
    if made.kind == "ceiling":
        raise PluginError("no program is told the truth", card or made.name, "kind 'ceiling'", "'method' or 'floor'", "mend its card")
    return LoadedMethod(launch.name, cast(Segmenter, ForeignMethod(made, launch, limits)), launch.code)


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserInputError("no such file", path, expected="a method's card, as JSON", fix="check the path")
    said, known = read_json(path), [field.name for field in fields(MethodCard)]
    if not isinstance(said, dict):
        raise UserInputError("not a card", path, type(said).__name__, "an object with the fields of a card", f"known: {', '.join(known)}")
    for key in said:
        if key not in known:
            raise UserInputError("unknown field of a card", f"{path}, {key!r}", fix=did_you_mean(key, known))
    return said


def _refuse(report: Report, limits: Limits, where: str, launch: Launch) -> None:
    """Raise what a call's end means, unless it ended well."""
    beyond = {
        "time": ("took too long", f"not done after {limits.seconds:g} s", "an end within --time-limit"),
        "memory": ("took too much memory", f"more than {limits.memory_bytes / 1e9:g} GB", "less than --memory-limit"),
        "disk": ("wrote too much", f"more than {limits.disk_bytes / 1e9:g} GB", "less than --disk-limit"),
        "files": ("wrote too many files", f"more than {limits.files}, or too deep", "a mask a frame"),
        "processes": ("started too many processes", f"more than {limits.processes}", "fewer"),
    }
    said = _last_words(report.tail) + _closed(report.tail, launch)
    if report.end in beyond:
        what, found, expected = beyond[report.end]
        raise PluginError(f"the program {what} and was ended", where, found + said, expected, MEND)
    if report.end == "walls":
        fix = "run fewer --workers, or the same command again"
        raise UserInputError("the walls around the program cannot be made any more", where, report.tail, "what `icvos doctor` says", fix)
    if report.end == "left":
        found = "processes that the kernel does not let go" + said
        raise PluginError("something of the program cannot be ended", where, found, "an end", "see what of it runs, end it, run again")
    if report.end == "start":
        raise PluginError("the program cannot be started", where, report.tail, "an executable program", MEND)
    if report.end == "signal":
        raise PluginError("the program was killed", where, _signal_name(report.code) + said, "exit code 0", MEND)
    if report.code:
        maybe = " (killed, perhaps for want of memory)" if isinstance(launch, Container) and report.code == 137 else ""
        raise PluginError("the program failed", where, f"exit code {report.code}{maybe}{said}", "exit code 0", MEND)


def _closed(tail: str, launch: Launch) -> str:
    """What to do where a program's last words say that a file was closed to it: the option that opens it, as it is typed."""
    from icvos.render.text import one_line

    if not isinstance(launch, Program) or not (named := [path for path in _refused_paths(tail) if _there(path)]):
        return ""
    path = named[-1]
    if launch.is_hidden(path):
        return f"; {one_line(str(path))} is closed to every program, for the truth lies there"
    if launch.is_readable(path) or not os.access(path, os.R_OK):
        return ""
    folder = path if path.is_dir() else path.parent
    opened = path if launch.opens_hidden(folder) else folder
    return f"; {one_line(str(path))} is closed to programs: to let it read there, say --allow-read {shlex.quote(str(opened))}"


def _refused_paths(tail: str) -> list[Path]:
    """The absolute paths beside the words of a refusal: of Python, of C programs, of the mount namespace's empty places."""
    lines = [line for line in tail.splitlines() if "Permission denied" in line or "No such file or directory" in line]
    return [Path(found) for line in lines for match in _PATHS.finditer(line) if (found := next(filter(None, match.groups()), ""))]


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_words(tail: str) -> str:
    """The last lines of what a program printed, made harmless."""
    from icvos.render.text import one_line

    lines = [one_line(line) for line in tail.splitlines() if line.strip()][-_LAST_LINES:]
    words = " / ".join(lines)
    words = words if len(words) <= _LAST_LETTERS else f"…{words[-_LAST_LETTERS:]}"
    return f"; its last words: {words}" if words else ""
