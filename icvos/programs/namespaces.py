"""Linux namespaces for one call: process ids, mounts, memory files and a network of its own. Standard library only.

The first process of a PID namespace takes all others with it when it ends, however they were started, and none of them can name
a process outside. Whoever may not make namespaces by right makes a user namespace first, which most distributions allow to all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from icvos.programs.kernel import end_with_parent, mount, refuse_tracing, swap_root, unshare

_USER, _OTHERS = 0x10000000, 0x20000000 | 0x00020000 | 0x08000000 | 0x40000000  # PID, mount, IPC, network
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXECUTION, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_KEPT_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
_PLAIN = _NO_SUID | _NO_DEVICES
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS_OF_DEVICES = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
MEMORY_FILES = "/dev/shm"


class View(NamedTuple):
    """What of the disk is there for a program, where Landlock does not say so."""

    root: str  # an empty folder to build it in
    writable: list[str]
    given: list[str]
    readable: list[str]
    hidden: list[str]  # goes before `readable`


def begin(first: Callable[[], None]) -> int:
    """Run a function as the first process of new namespaces, and return that process' id out here.

    It dies with this process, which becomes its parent and must be one that adopts orphans (`kernel.adopt_orphans`).

    Raises:
        OSError: namespaces are not allowed here.
    """
    heard, said = os.pipe()
    ordered, order = os.pipe()
    between = os.fork()
    if not between:
        os.close(heard)
        os.close(order)
        _between(first, said, ordered)
    os.close(said)
    os.close(ordered)
    try:
        made = os.read(heard, 64)
        if made == b"user":
            _map_ids(between)
        elif made != b"plain":
            raise OSError(int(made or b"1"), os.strerror(int(made or b"1")))
        os.write(order, b"m")
        pid = int(os.read(heard, 64) or b"0")
        os.waitpid(between, 0)
        if not pid:
            raise OSError(1, os.strerror(1))
        os.write(order, b"g")
    except OSError:
        with suppress(OSError):
            os.kill(between, signal.SIGKILL)
            os.waitpid(between, 0)
        raise
    finally:
        os.close(heard)
        os.close(order)
    return pid


def _between(first: Callable[[], None], said: int, ordered: int) -> None:
    """The process that makes the namespaces: what it starts next is the first in them. It does not return."""
    try:
        try:
            unshare(_USER | _OTHERS)
            os.write(said, b"user")
        except OSError:
            if os.geteuid():
                raise
            unshare(_OTHERS)  # root where user namespaces are switched off
            os.write(said, b"plain")
        if os.read(ordered, 1) == b"m":
            pid = os.fork()
            if not pid:
                if os.read(ordered, 1) == b"g":  # now the parent is the one that stays
                    end_with_parent(signal.SIGKILL)
                    refuse_tracing()
                    os.close(ordered)
                    os.close(said)
                    first()
                os._exit(0)
            os.write(said, str(pid).encode())
    except OSError as error:
        os.write(said, str(error.errno or 1).encode())
    finally:
        os._exit(1)


def _map_ids(pid: int) -> None:
    """Let every user and group that may be known in a new user namespace keep its number."""
    if os.geteuid():
        with suppress(OSError):  # a kernel older than this rule
            Path(f"/proc/{pid}/setgroups").write_text("deny")
    for kind, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        known = [line.split() for line in Path(f"/proc/self/{kind}").read_text().splitlines()]
        lines = [f"{own} {own} 1"] if os.geteuid() else [f"{inner} {inner} {count}" for inner, _, count in known]
        Path(f"/proc/{pid}/{kind}").write_text("\n".join(lines) + "\n")


def settle(memory_bytes: int, files: int, kept: Iterable[str]) -> None:
    """In new namespaces: only their own processes in /proc, and memory files that go with them.

    Args:
        memory_bytes: how much the memory files may hold.
        files: how many there may be.
        kept: files and folders that stay even if they lie where the memory files are.
    """
    mount("none", "/", flags=_RECURSIVE | _PRIVATE)
    with suppress(OSError):  # in a container whose engine hides parts of /proc: other processes stay out of reach, their names are seen
        mount("proc", "/proc", "proc", _PLAIN | _NO_EXECUTION)
    if not Path(MEMORY_FILES).is_dir():
        return
    held = [(path, os.open(path, os.O_PATH)) for path in kept if Path(path).is_relative_to(MEMORY_FILES) and Path(path).exists()]
    mount("tmpfs", MEMORY_FILES, "tmpfs", _PLAIN, f"mode=1777,size={memory_bytes},nr_inodes={files}")
    for path, descriptor in held:
        _bind(f"/proc/self/fd/{descriptor}", path)
        os.close(descriptor)


def narrow(view: View, memory_bytes: int, files: int) -> None:
    """In new namespaces: a root in which nothing of the disk is but what the view names; what is not writable is read-only.

    Raises:
        OSError: the kernel refuses.
    """
    root, limits = view.root, f"mode=1777,size={memory_bytes},nr_inodes={files}"
    mount("none", "/", flags=_RECURSIVE | _PRIVATE)
    mount("tmpfs", root, "tmpfs", _PLAIN, "mode=755,size=16m")
    for name in ("/tmp", "/var/tmp", MEMORY_FILES):
        Path(root + name).mkdir(parents=True)
    mount("tmpfs", f"{root}/tmp", "tmpfs", _PLAIN, limits)
    Path(f"{root}/tmp").chmod(0o755)  # a place to build in, not to write to
    mount("tmpfs", root + MEMORY_FILES, "tmpfs", _PLAIN, limits)
    _show(root, [f"/dev/{name}" for name in _DEVICES])
    for name, target in _LINKS_OF_DEVICES.items():
        Path(f"{root}/dev/{name}").symlink_to(target)
    _show(root, view.readable)
    Path(f"{root}/proc").mkdir(exist_ok=True)
    try:
        mount("proc", f"{root}/proc", "proc", _PLAIN | _NO_EXECUTION)
    except OSError:
        mount("/proc", f"{root}/proc", flags=_BIND | _RECURSIVE)
    for path in filter(os.path.exists, (f"{root}{os.path.realpath(path)}" for path in view.hidden)):
        if Path(path).is_dir():
            mount("tmpfs", path, "tmpfs", _PLAIN, "mode=000")
        else:
            mount("/dev/null", path, flags=_BIND)
    _show(root, view.given)
    writable = _show(root, (path for path in view.writable if path != MEMORY_FILES))
    _set_read_only(root, {root + path for path in (*writable, MEMORY_FILES, "/proc")})
    swap_root(root)


def _show(root: str, paths: Iterable[str]) -> set[str]:
    """Bind files and folders to their own places below a root, those that lie in others with these; their real paths.

    Nothing of /proc, which is another one there.
    """
    real = {here for path in paths if Path(here := _lead_to(root, path)).exists() and Path(here).parts[1:2] != ("proc",)}
    top = {path for path in real if real.isdisjoint(map(str, Path(path).parents))}
    for path in sorted(top):
        _bind(path, root + path)
    return top


def _lead_to(root: str, path: str) -> str:
    """The real path of a file or folder; the links that lead to it are made below a root as well."""
    here, parts = "/", Path(path).parts[1:]
    while parts:
        step, parts = str(Path(here, parts[0])), parts[1:]
        if not Path(step).is_symlink():
            here = step
            continue
        target = str(Path(step).readlink())
        Path(root + here).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            Path(root + step).symlink_to(target)
        here, parts = "/", (*Path(os.path.normpath(Path(here, target))).parts[1:], *parts)
    return here


def _bind(source: str, target: str) -> None:
    if not os.path.lexists(target):
        place = Path(target)
        (place if Path(source).is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.touch()
    mount(source, target, flags=_BIND | _RECURSIVE)


def _set_read_only(root: str, writable: set[str]) -> None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target, options = line.split()[4:6]
        target = target.encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        if (target == root or target.startswith(f"{root}/")) and target not in writable and not target.startswith(f"{root}/dev/"):
            flags = sum(_KEPT_FLAGS.get(word, 0) for word in options.split(","))
            mount("none", target, flags=_REMOUNT | _BIND | _READ_ONLY | flags)
