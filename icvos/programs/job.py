"""One call of a foreign program: a folder of its own, and the keeper that runs it there and clears up."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from icvos.errors import PluginError, UserInputError
from icvos.programs.keeper import Order
from icvos.programs.walls import Walls

SLACK = 300.0  # seconds that a keeper has for ending processes
_PROBE_SECONDS = 60
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take. `files` counts what lies in its two folders, `processes` what runs at one time."""

    seconds: float = 3600.0
    memory_bytes: int = 16 * 10**9
    disk_bytes: int = 10 * 10**9
    files: int = 100_000
    processes: int = 1024


class Report(NamedTuple):
    """How a call ended: exit, signal, start, walls, left, time, memory, disk, files or processes; its code, last words, peak memory."""

    end: str
    code: int
    tail: str
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A folder with `input`, `output`, `scratch` and `root` inside, which is removed with all that runs in it when the block ends."""

    folder: Path
    keeper: subprocess.Popen[bytes]

    @property
    def input(self) -> Path:
        """What the program is given."""
        return self.folder / "input"

    @property
    def output(self) -> Path:
        """Where it writes its masks."""
        return self.folder / "output"

    @property
    def scratch(self) -> Path:
        """Where it runs, and may write as well."""
        return self.folder / "scratch"

    @property
    def root(self) -> Path:
        """An empty folder, where its view of the disk is built where Landlock does not give it one."""
        return self.folder / "root"

    def run(self, order: Order) -> Report:
        """Have the keeper run the program; once for each job.

        Raises:
            PluginError: the keeper itself was killed or stopped, or limits of this process were changed meanwhile.
        """
        limits = {limit: resource.getrlimit(limit) for limit in _LIMITS}
        said, heard = self.keeper.stdin, self.keeper.stdout
        line = b""
        if said and heard:
            with suppress(BrokenPipeError):
                said.write(json.dumps(order).encode() + b"\n")
                said.flush()
                if wait([heard.fileno()], order["seconds"] + SLACK):
                    line = heard.readline()
        if not line:  # killed, or stopped: nothing but the walls of a recent kernel keeps a program from that
            self.keeper.kill()
        _check_limits(limits, self.folder)
        try:
            about: dict[str, Any] = json.loads(line)
        except ValueError:
            fix = "see whether the program did it, and what of it still runs; then run the same command again"
            raise PluginError("the process that watches over the program was killed", self.folder, fix=fix) from None
        return Report(**about)


def _check_limits(before: dict[int, tuple[int, int]], where: Path) -> None:
    """See that nobody has changed what this process may take; as much of it as can be is put back.

    Raises:
        PluginError: somebody has.
    """
    changed = {limit: were for limit, were in before.items() if resource.getrlimit(limit) != were}
    for limit, (soft, hard) in changed.items():
        with suppress(OSError, ValueError):  # whoever is not root cannot raise the harder of the two again
            most = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (soft if most in (hard, resource.RLIM_INFINITY) else min(soft, most) if soft >= 0 else most, most))
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (soft, hard))
    if changed:
        names = ", ".join(sorted(name for name in dir(resource) if name.startswith("RLIMIT_") and getattr(resource, name) in changed))
        fix = "mend the program, or run it by --container; then run the same command again"
        raise PluginError("the program changed the limits of icvos itself", where, names, "no harm to other processes", fix)


@cache
def walls_here() -> Walls:
    """What this machine allows this user to keep a program in by: found out once, by trying."""
    try:
        said = subprocess.run(_python("walls"), capture_output=True, timeout=_PROBE_SECONDS, check=True).stdout
        return Walls(*json.loads(said))
    except (OSError, subprocess.SubprocessError, ValueError):
        return Walls()


def _python(module: str, *words: str) -> list[str]:
    """A module of this package as a process of the standard library alone, untouched by what is set in the environment."""
    start = f"import sys; sys.path.insert(0, sys.argv[1]); from icvos.programs.{module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", start, str(Path(__file__).parents[2]), *words]


@contextmanager
def kept_job() -> Iterator[Job]:
    """A job. Whatever ends this process, its keeper ends the program and removes the folder.

    Raises:
        UserInputError: there is no room for temporary files.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="icvos-job-"))
        for name in ("output", "scratch", "root"):
            (folder / name).mkdir()
    except OSError as error:
        fix = "free some space, or set TMPDIR to another folder"
        raise UserInputError("cannot make a temporary folder", tempfile.gettempdir(), error.strerror or str(error), fix=fix) from error
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "bufsize": 0}
    try:
        with subprocess.Popen(_python("keeper", str(folder)), start_new_session=True, **pipes) as keeper:  # type: ignore[call-overload]
            yield Job(folder.resolve(), keeper)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already, unless somebody killed the keeper
