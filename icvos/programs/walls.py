"""Which means of Linux stand between a program and everything else on this machine. Standard library only."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Literal, NamedTuple

from icvos.programs import kernel, landlock, namespaces, seccomp
from icvos.programs.cgroup import Group


class Walls(NamedTuple):
    """What a program is kept in by; `found_here` says what this machine allows."""

    processes: Literal["namespace", "cgroup", "sweep"] = "sweep"
    landlock: int = 0  # its version; 0: none
    filtered: bool = False  # by seccomp, where there is no PID namespace

    @property
    def files(self) -> Literal["landlock", "mounts", "open"]:
        """By what the files of the disk are shut."""
        return "landlock" if self.landlock else "mounts" if self.processes == "namespace" else "open"

    @property
    def weak(self) -> bool:
        """Whether something is open that a program could harm others or find the truth by."""
        alone = self.processes == "namespace"
        return self.files == "open" or not (alone or self.filtered) or not (alone or self.landlock >= 4)

    def about(self) -> dict[str, str]:
        """What holds a program in, by what it could reach, in words."""
        alone = self.processes == "namespace"
        ends = {
            "namespace": "ended with each call (PID namespace)",
            "cgroup": "ended with each call (cgroup)",
            "sweep": "hunted down after each call (no PID namespace, no cgroup)",
        }
        others = "out of reach (PID namespace)" if alone else "shut off (seccomp)" if self.filtered else "NOT shut off"
        files = {
            "landlock": f"its own alone (Landlock {self.landlock})",
            "mounts": "its own alone (mount namespace, no Landlock)",
            "open": "ALL that you may read and write (no Landlock, no mount namespace)",
        }
        network = "none" if alone else "no TCP (Landlock)" if self.landlock >= 4 else "NOT shut off"
        memory_files = "gone with each call" if alone else "NOT gone with each call"
        return {
            "its processes": ends[self.processes],
            "other processes": others,
            "files": files[self.files],
            "network": network,
            namespaces.MEMORY_FILES: memory_files,
        }

    def sentence(self) -> str:
        """All of it in one line."""
        return "the program is shut in: " + "; ".join(f"{what}: {how}" for what, how in self.about().items())


def found_here() -> Walls:
    """What this machine allows this user. To be asked in a process of its own, which is not the same afterwards."""
    alone = _works_in_child(lambda: _try_namespaces())
    grouped = not alone and _works_in_child(lambda: Group().remove())
    filtered = not alone and _works_in_child(_try_filter)
    return Walls("namespace" if alone else "cgroup" if grouped else "sweep", landlock.version(), filtered)


def main() -> None:
    """Print what was found, as JSON."""
    sys.stdout.write(json.dumps(found_here()))


def _try_namespaces() -> None:
    kernel.adopt_orphans()

    def first() -> None:
        namespaces.settle(1 << 20, 100, [])
        os._exit(7)

    if os.waitstatus_to_exitcode(os.waitpid(namespaces.begin(first), 0)[1]) != 7:
        raise OSError


def _try_filter() -> None:
    kernel.forbid_new_rights()
    seccomp.put_on(os.getpid())


def _works_in_child(trial: object) -> bool:
    """Whether something can be done, tried where it changes nothing here."""
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            trial()  # type: ignore[operator]
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0
