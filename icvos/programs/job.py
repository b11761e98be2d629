"""One call of a foreign program: a folder of its own, and the keeper that runs it there and clears up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from icvos.errors import PluginError, UserInputError
from icvos.programs.keeper import Order

SLACK = 300.0  # seconds that a keeper has for ending processes
_START = "import sys; sys.path.insert(0, sys.argv[1]); from icvos.programs.keeper import main; main()"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take. `files` counts what lies in its two folders, `processes` what runs at one time."""

    seconds: float = 3600.0
    memory_bytes: int = 16 * 10**9
    disk_bytes: int = 10 * 10**9
    files: int = 100_000
    processes: int = 1024


class Report(NamedTuple):
    """How a call ended: exit, signal, start, time, memory, disk, files or processes; its code, last words and peak memory."""

    end: str
    code: int
    tail: str
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A folder with `input`, `output` and `scratch` inside, which is removed with all that runs in it when the block ends."""

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

    def run(self, order: Order) -> Report:
        """Have the keeper run the program; once for each job.

        Raises:
            PluginError: the keeper itself was killed or stopped.
        """
        said, heard = self.keeper.stdin, self.keeper.stdout
        line = b""
        if said and heard:
            with suppress(BrokenPipeError):
                said.write(json.dumps(order).encode() + b"\n")
                said.flush()
                if wait([heard.fileno()], order["seconds"] + SLACK):
                    line = heard.readline()
        if not line:  # killed, or stopped: older kernels let a program send its keeper any signal
            self.keeper.kill()
        try:
            about: dict[str, Any] = json.loads(line)
        except ValueError:
            fix = "see whether the program did it, and what of it still runs; then run the same command again"
            raise PluginError("the process that watches over the program was killed", self.folder, fix=fix) from None
        return Report(**about)


@contextmanager
def kept_job() -> Iterator[Job]:
    """A job. Whatever ends this process, its keeper ends the program and removes the folder.

    Raises:
        UserInputError: there is no room for temporary files.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="icvos-job-"))
        for name in ("output", "scratch"):
            (folder / name).mkdir()
    except OSError as error:
        fix = "free some space, or set TMPDIR to another folder"
        raise UserInputError("cannot make a temporary folder", tempfile.gettempdir(), error.strerror or str(error), fix=fix) from error
    home = Path(__file__).parents[2]
    # -S, -I: the standard library alone, untouched by what is set in the environment
    command = [sys.executable, "-I", "-S", "-c", _START, str(home), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "bufsize": 0}
    try:
        with subprocess.Popen(command, start_new_session=True, **pipes) as keeper:  # type: ignore[call-overload]
            yield Job(folder.resolve(), keeper)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already, unless somebody killed the keeper
