"""The keeper: a small process between icvos and a foreign program, which ends all that the program started, whatever happens.

Where namespaces are allowed the program runs in some of its own (`namespaces`), and all of it dies with their first process.
Elsewhere a control group is killed as one (`cgroup`); and the keeper adopts every process that the program leaves behind (Linux'
child subreaper), so that none gets away by a session of its own, and kills until none is left. It watches time, memory, disk and
the number of processes; it keeps the last words that were printed and drops the rest. When icvos is gone, killed or interrupted, it
reads so from its standard input, ends everything and removes the job's folder. Standard library only, and nothing of icvos but the
walls: it starts in a few hundredths of a second.

It reads one line of JSON, an `Order`, and writes one, a report: `end` (exit, signal, start, walls, left, time, memory, disk, files
or processes), `code`, `tail`, `peak_bytes`.
"""

from __future__ import annotations

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

from icvos.programs import kernel, landlock, namespaces, seccomp
from icvos.programs.cgroup import Group
from icvos.programs.walls import Walls

TAIL = 4096  # bytes kept of what was printed
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
    walls: list[Any] | None  # `Walls`; None: a container engine's client, whose container has its own walls and limits
    root: str  # an empty folder, where a root of its own is built if need be
    writable: list[str]
    given: list[str]  # may be read, whatever is hidden
    readable: list[str]
    hidden: list[str]  # goes before `readable`
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
    kernel.adopt_orphans()
    call = _Call(order)
    try:
        call.start()
    except (OSError, subprocess.SubprocessError) as error:
        call.end_all()
        end = "start" if call.walled else "walls"
        return {"end": end, "code": 0, "tail": getattr(error, "strerror", None) or str(error), "peak_bytes": 0}
    try:
        end = call.until_it_ends()
    finally:
        nothing_left = call.end_all()
        if order["afterwards"]:
            _quietly(order["afterwards"])
    call.hear(last=True)
    fault, code = call.outcome()
    if fault:
        return {"end": "start", "code": 0, "tail": fault, "peak_bytes": 0}
    end = "" if end == "icvos is gone" else end
    end = end if nothing_left else "left"
    end = end or ("exit" if code >= 0 else "signal")
    return {"end": end, "code": abs(code), "tail": call.tail.decode(errors="replace"), "peak_bytes": call.peak}


class _Call:
    """A program that runs: its processes, and what is seen and heard of them."""

    def __init__(self, order: Order) -> None:
        self.order, self.tail, self.peak, self.pid = order, b"", 0, 0
        self.walls = Walls(*order["walls"]) if order["walls"] else None
        self.alone = self.walls is not None and self.walls.processes == "namespace"
        self.walled = False  # whether all that can be made before the program is there
        self.group: Group | None = None
        self.ended: dict[int, int] = {}  # how those children ended that were waited for
        self.heard, self.said = os.pipe()
        self.told, self.tell = os.pipe()  # by the first process of a namespace: how the program ended
        self.children = _children_of_this()

    def start(self) -> None:
        """Start the program behind its walls.

        Raises:
            OSError: a wall cannot be made, or the program not be executed.
            SubprocessError: the same.
        """
        if self.alone:
            self.pid = namespaces.begin(self._first)
            self.walled = True
        else:
            if self.walls and self.walls.processes == "cgroup":
                self.group = Group()
            self.walled = True
            program = _start(self.order, self.walls, self.said, self.group)
            self.pid, program.returncode = program.pid, 0  # waited for here
        os.close(self.said)
        os.close(self.tell)
        self.end_at = time.monotonic() + self.order["seconds"]

    def _first(self) -> None:
        """The first process of a namespace: it starts the program, and lets go what others leave behind until that has ended."""
        order = self.order
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # icvos reads from these when the keeper is gone
            os.dup2(silence, stream)
        try:
            if self.walls and self.walls.files == "mounts":
                view = namespaces.View(order["root"], order["writable"], order["given"], order["readable"], order["hidden"])
                namespaces.narrow(view, order["memory_bytes"], order["files"])
            else:
                kept = [*order["writable"], *order["given"], *order["readable"]]
                namespaces.settle(order["memory_bytes"], order["files"], [path for path in kept if path != namespaces.MEMORY_FILES])
            program = _start(order, self.walls, self.said, None)
        except (OSError, subprocess.SubprocessError) as error:
            os.write(self.tell, json.dumps({"fault": error.strerror if isinstance(error, OSError) else str(error)}).encode())
            return
        program.returncode = 0  # waited for here: a Popen that is forgotten waits by itself, and would know how a quick program ended
        os.close(self.said)
        ended, status = os.wait()
        while ended != program.pid:
            ended, status = os.wait()
        os.write(self.tell, json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())

    def until_it_ends(self) -> str:
        """Wait for the program; what it went beyond, or nothing if it ended by itself."""
        icvos, ended, look_at = sys.stdin.fileno(), os.pidfd_open(self.pid), 0.0
        waiting = [icvos, ended, self.heard]
        while True:
            now = time.monotonic()
            if now >= self.end_at:
                return "time"
            if now >= look_at:
                if beyond := self._looked():
                    return beyond
                took = time.monotonic() - now
                look_at = time.monotonic() + min(max(0.05, 20 * took), 1)  # a twentieth of a core at most
            ready, _, _ = select.select(waiting, [], [], max(0.0, min(look_at, self.end_at) - time.monotonic()))
            if icvos in ready:
                return "icvos is gone"
            if ended in ready:
                return ""
            if self.heard in ready and not self.hear():
                waiting.remove(self.heard)  # it has closed what it speaks through

    def hear(self, *, last: bool = False) -> bool:
        """Keep the last of what was printed; False when nothing more will come. The `last` time all that waits is taken."""
        os.set_blocking(self.heard, False)
        with suppress(BlockingIOError):
            while words := os.read(self.heard, 1 << 16):
                self.tail = (self.tail + words)[-TAIL:]
                if not last:
                    return True
            return False
        return True

    def end_all(self) -> bool:
        """Kill what there is below this process until there is nothing; False where the kernel holds something up for too long.

        Each process whose parent was killed becomes a child of this one, so that children alone need to be looked for. Nothing is
        opened for it: a program may have taken the right to open files away from this process.
        """
        give_up_at = time.monotonic() + _PATIENCE
        if self.pid and self.alone:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
        while True:
            if self.group:
                self.group.kill()
            if not self._let_go():
                break
            if time.monotonic() > give_up_at:
                return False
            for pid in self._living_children():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0 if self.walls and not self.alone else 0.001)  # a chain of processes has to be overtaken
        if self.group:
            self.group.remove()
        return True

    def outcome(self) -> tuple[str, int]:
        """Why the program could not be started, if so; and its exit code, or less than 0, the signal that ended it."""
        code = os.waitstatus_to_exitcode(self.ended.get(self.pid, 0))
        if self.alone:
            with suppress(ValueError):
                said = json.loads(os.read(self.told, 1 << 12))
                return said.get("fault", ""), said.get("code", 0)
        return "", code

    def _let_go(self) -> bool:
        """Wait for the children that have ended; False if there are no children any more."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                self.ended[pid] = status
        except ChildProcessError:
            return False

    def _living_children(self) -> list[int]:
        if self.children is None:
            return list(_descendants(os.getpid()))
        return [int(pid) for pid in os.pread(self.children, 1 << 20, 0).split()]

    def _looked(self) -> str:
        """What the program has gone beyond, if anything."""
        order = self.order
        if self.walls is not None:
            if not self.alone:
                self._let_go()
            pids = list(_descendants(self.pid if self.alone else os.getpid()))
            if len(pids) > order["processes"]:
                return "processes"
            held = sum(map(_resident, pids))
            if held > order["memory_bytes"]:
                held = sum(map(_proportional, pids))  # pages that processes share were counted for each
            self.peak = max(self.peak, held)
            if held > order["memory_bytes"]:
                return "memory"
        return _disk(order["watched"], order["disk_bytes"], order["files"])


def _start(order: Order, walls: Walls | None, said: int, group: Group | None) -> subprocess.Popen[bytes]:
    shut = walls is not None and walls.landlock > 0
    rules = landlock.ruleset(order["writable"], order["given"], order["readable"], order["hidden"]) if shut else None
    keeper, icvos = os.getpid(), os.getppid()

    def prepare() -> None:
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_DFL)
        kernel.end_with_parent(signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if walls is None:
            return
        if group:
            group.join()
        most, mine = order["disk_bytes"] + _SPARE, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most if mine == resource.RLIM_INFINITY else min(most, mine),) * 2)
        with suppress(OSError):  # where memory runs out all the same, the kernel shall choose the program
            Path("/proc/self/oom_score_adj").write_text("1000")
        kernel.drop_capabilities()
        kernel.forbid_new_rights()
        if rules is not None:
            landlock.shut_in(rules)
        if walls.filtered:
            seccomp.put_on(os.getpid(), (keeper, icvos))

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


def _children_of_this() -> int | None:
    """A descriptor from which this process' children can be read again and again; None where the kernel does not list them."""
    try:
        return os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


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


def _descendants(of: int) -> Iterator[int]:
    """The processes below one that live."""
    children: dict[int, list[tuple[int, bytes]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with suppress(OSError):
                state, parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[:2]
                children.setdefault(int(parent), []).append((int(name), state))
    waiting = [of]
    while waiting:
        for pid, state in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if state not in (b"Z", b"X"):
                yield pid


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


def _remove(folder: str) -> None:
    """Remove a folder, however deep, whatever its modes: the system's own tools have no limit of depth."""
    _quietly(["chmod", "-R", "u+rwx", "--", folder])
    _quietly(["rm", "-rf", "--", folder])


def _quietly(command: list[str]) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
