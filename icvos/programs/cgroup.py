"""A control group (cgroup v2) of a program's own, where one may be made: all in it is killed at once. Standard library only."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE = 5.0  # seconds for killed processes to leave a group


class Group:
    """A group for one call. Its switch is opened when it is made, so that it works when no file can be opened any more."""

    def __init__(self) -> None:
        """Make the group below the one that this process is in.

        Raises:
            OSError: none may be made, or this kernel cannot kill one (5.14).
        """
        self.folder = _own() / f"icvos-{os.getpid()}-{time.monotonic_ns()}"
        self.folder.mkdir()
        try:
            self._switch = os.open(self.folder / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
            with (self.folder / "cgroup.procs").open("w"):
                pass
        except OSError:
            self.folder.rmdir()
            raise

    def join(self) -> None:
        """Move this process into the group.

        Raises:
            OSError: the kernel refuses.
        """
        (self.folder / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        """Kill all that is in the group, also what is just being started."""
        with suppress(OSError):
            os.write(self._switch, b"1")

    def remove(self) -> None:
        """Remove the group once it is empty."""
        with suppress(OSError):
            os.close(self._switch)
        give_up_at = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up_at:
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.005)
            else:
                return


def _own() -> Path:
    """The folder of the group that this process is in."""
    path = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), None)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        if path is not None and kind.startswith("cgroup2 "):
            root, target = place.split()[3:5]
            return Path(target) / os.path.relpath(path, root)
    raise FileNotFoundError(2, "no cgroup v2 here")
