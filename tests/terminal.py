"""Commands on a pseudo-terminal of so many columns, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Seen(NamedTuple):
    """The exit code, and all that was written to the terminal, in order."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        """Every line as it was drawn, each state of a line that was drawn again included, without colours."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", self.text))]


def on_terminal(words: Sequence[object], columns: int, folder: Path, environment: Mapping[str, str] | None = None) -> Seen:
    """Run ``python`` with these words in a folder, with input, output and errors on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    command = [sys.executable, *map(str, words)]
    variables = {**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **(environment or {})}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=variables, start_new_session=True
    ) as process:
        os.close(theirs)
        read = bytearray()
        while True:
            try:
                block = os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other end is closed
                break
            if not block:
                break
            read += block
        code = process.wait(60)
    os.close(ours)
    return Seen(code, read.decode("utf-8", "replace"))
