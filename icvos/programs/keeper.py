"""The keeper: a small process between icvos and a foreign program, which ends all that the program started, whatever happens.

It adopts every process that the program leaves behind (Linux' child subreaper), so that none gets away by a session of its
own; it watches time, memory, disk and the number of processes; it keeps the last words that were printed and drops the
rest. When icvos is gone, killed or interrupted, it reads so from its standard input, ends everything and removes the job's
folder. Standard library only, and nothing of icvos but `landlock`: it starts in a few hundredths of a second.

It reads one line of JSON, an `Order`, and writes one, a report: `end` (exit, signal, start, time, memory, disk, files or
processes), `code`, `tail`, `peak_bytes`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from icvos.programs.landlock import ruleset, shut_in

TAIL = 4096  # bytes kept of what was printed
_DIES_WITH_PARENT, _SUBREAPER = 1, 36  # of prctl
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the keeper ends when icvos does
_PATIENCE = 60  # seconds for killed processes to go, which the kernel may hold up
_SPARE = 1 << 16  # bytes: so that a look at the folders finds too much before the program is told
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Order(TypedDict):
    """What the keeper is told to run."""

    command: list[str]
    environment: dict[str, str]
    folder: str  # where it runs
    watched: list[str]  # folders whose size is limited
    seconds: float
    memory_bytes: int
    disk_bytes: int
    files: int
    processes: int
    ours: bool  # False: a container engine's client, whose container has its own limits of memory and processes
    shut_in: bool
    writable: list[str]
    readable: list[str]  # goes before `hidden`
    hidden: list[str]
    afterwards: list[str]  # a command that ends what is not among our processes; may be empty


def main() -> None:
    """Keep one job: its folder is the last word of the command line."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    try:
        if line := sys.stdin.buffer.readline():
            with suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(_kept(json.loads(line))) + "\n")
                sys.stdout.flush()
        sys.stdin.buffer.read()  # until icvos has taken what it wants, or is gone
    finally:
        _remove(sys.argv[-1])


def _kept(order: Order) -> dict[str, Any]:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    watch = _Watch(order)
    heard, said = os.pipe()
    try:
        program = _start(order, said)
    except (OSError, subprocess.SubprocessError) as error:
        return {"end": "start", "code": 0, "tail": getattr(error, "strerror", None) or str(error), "peak_bytes": 0}
    finally:
        os.close(said)
    try:
        end = watch.until_it_ends(program, heard)
    finally:
        _end_all()
        if order["afterwards"]:
            _quietly(order["afterwards"])
    watch.hear(heard, last=True)
    code = program.wait()
    end = end or ("exit" if code >= 0 else "signal")
    return {"end": end, "code": abs(code), "tail": watch.tail.decode(errors="replace"), "peak_bytes": watch.peak}


def _start(order: Order, said: int) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    rules = ruleset(order["writable"], order["readable"], order["hidden"]) if order["shut_in"] else None

    def prepare() -> None:
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_DFL)
        libc.prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if order["ours"]:
            most, mine = order["disk_bytes"] + _SPARE, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (most if mine == resource.RLIM_INFINITY else min(most, mine),) * 2)
            with suppress(OSError):  # where memory runs out all the same, the kernel shall choose the program
                Path("/proc/self/oom_score_adj").write_text("1000")
        if rules is not None:
            shut_in(rules)

    return subprocess.Popen(
        order["command"],
        env=order["environment"],
        cwd=order["folder"],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
        preexec_fn=prepare,
    )


class _Watch:
    """What is seen and heard of a program while it runs."""

    def __init__(self, order: Order) -> None:
        self.order, self.tail, self.peak = order, b"", 0
        self.end_at = time.monotonic() + order["seconds"]

    def until_it_ends(self, program: subprocess.Popen[bytes], heard: int) -> str:
        """Wait for the program; what it went beyond, or nothing if it ended by itself."""
        icvos, ended, look_at = sys.stdin.fileno(), os.pidfd_open(program.pid), 0.0
        waiting = [icvos, ended, heard]
        while program.poll() is None:
            now = time.monotonic()
            if now >= self.end_at:
                return "time"
            if now >= look_at:
                if beyond := self._looked(program.pid):
                    return beyond
                took = time.monotonic() - now
                look_at = time.monotonic() + min(max(0.05, 20 * took), 1)  # a twentieth of a core at most
            ready, _, _ = select.select(waiting, [], [], max(0.0, min(look_at, self.end_at) - time.monotonic()))
            if icvos in ready:
                return "icvos is gone"
            if heard in ready and not self.hear(heard):
                waiting.remove(heard)  # it has closed what it speaks through
        return ""

    def hear(self, heard: int, *, last: bool = False) -> bool:
        """Keep the last of what was printed; False when nothing more will come. The `last` time all that waits is taken."""
        os.set_blocking(heard, False)
        with suppress(BlockingIOError):
            while words := os.read(heard, 1 << 16):
                self.tail = (self.tail + words)[-TAIL:]
                if not last:
                    return True
            return False
        return True

    def _looked(self, program: int) -> str:
        """What the program has gone beyond, if anything."""
        order = self.order
        if order["ours"]:
            pids = list(_descendants(reap_but=program))
            if len(pids) > order["processes"]:
                return "processes"
            held = sum(map(_resident, pids))
            if held > order["memory_bytes"]:
                held = sum(map(_proportional, pids))  # pages that processes share were counted for each
            self.peak = max(self.peak, held)
            if held > order["memory_bytes"]:
                return "memory"
        return _disk(order["watched"], order["disk_bytes"], order["files"])


def _disk(folders: list[str], most_bytes: int, most_files: int) -> str:
    """Whether these folders hold more than they may; links are not followed."""
    held, files, waiting = 0, 0, list(folders)
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError as error:
            if error.errno in (36, 40):  # a path that is too long, or links in a ring
                return "files"
            continue  # removed in the meantime, or closed to us as well
        with entries:
            for entry in entries:
                files += 1
                if files > most_files:
                    return "files"
                with suppress(OSError):
                    held += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return "disk" if held > most_bytes else ""


def _descendants(reap_but: int = 0) -> Iterator[int]:
    """The processes below this one that live; those that have ended and were left to us are let go."""
    children: dict[int, list[tuple[int, bytes]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with suppress(OSError):
                state, parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[:2]
                children.setdefault(int(parent), []).append((int(name), state))
    waiting = [os.getpid()]
    while waiting:
        above = waiting.pop()
        for pid, state in children.get(above, ()):
            waiting.append(pid)
            if state not in (b"Z", b"X"):
                yield pid
            elif above == os.getpid() and pid != reap_but:
                with suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _proportional(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)  # it does not let us look


def _end_all() -> None:
    """Kill what there is below this process until there is nothing: what is born meanwhile is found in the next round."""
    empty, give_up_at = 0, time.monotonic() + _PATIENCE
    while empty < 2 and time.monotonic() < give_up_at:
        found = False
        for pid in _descendants(reap_but=-1):
            found = True
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        empty = 0 if found else empty + 1
        if found:
            time.sleep(0.002)


def _remove(folder: str) -> None:
    """Remove a folder, however deep, whatever its modes: the system's own tools have no limit of depth."""
    _quietly(["chmod", "-R", "u+rwx", "--", folder])
    _quietly(["rm", "-rf", "--", folder])


def _quietly(command: list[str]) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
