"""Calls of the Linux kernel for which Python has no function, shared by the walls around a program. Standard library only."""

from __future__ import annotations

import ctypes
import os

_DUMPABLE, _DIES_WITH_PARENT, _DROP_FROM_BOUNDING_SET, _SUBREAPER, _NO_NEW_PRIVILEGES, _AMBIENT = 4, 1, 24, 36, 38, 47
_CLEAR_AMBIENT = 4
_OVERRIDE_FILE_MODES = 1  # CAP_DAC_OVERRIDE: root goes on reading what belongs to others, as in a folder mounted into a container
_MOST_CAPABILITIES = 64
_PIVOT_ROOT, _DETACH = {"x86_64": 155, "aarch64": 41, "riscv64": 41}, 2

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *words: bytes | int | None) -> int:
    """A system call by its number.

    Raises:
        OSError: the kernel refuses, or does not know it.
    """
    result: int = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(word) if isinstance(word, int) else word for word in words))
    return _checked(result)


def prctl(option: int, *words: object) -> int:
    """A property of this process.

    Raises:
        OSError: the kernel refuses.
    """
    filled = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in (*words, 0, 0, 0, 0)[:4]]
    return _checked(int(_libc.prctl(option, *filled)))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones.

    Raises:
        OSError: they are not allowed here.
    """
    _checked(int(_libc.unshare(flags)))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, bind or remount.

    Raises:
        OSError: the kernel refuses.
    """
    words = [word.encode() if word else None for word in (source, target, kind)]
    _checked(int(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None)), target)


def swap_root(folder: str) -> None:
    """Make a mounted folder the root of this mount namespace, and forget the former root.

    Raises:
        OSError: the kernel refuses.
    """
    os.chdir(folder)
    call(_PIVOT_ROOT.get(os.uname().machine, -1), b".", b".")
    _checked(int(_libc.umount2(b".", _DETACH)))
    os.chdir("/")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    prctl(_SUBREAPER, 1)


def end_with_parent(signal: int) -> None:
    """Have this signal sent to this process when its parent ends."""
    prctl(_DIES_WITH_PARENT, signal)


def refuse_tracing() -> None:
    """Let no process without rights over this one trace it or look through its files in /proc."""
    prctl(_DUMPABLE, 0)


def forbid_new_rights() -> None:
    """No program that this process executes gains rights by its file: set-user-id bits and file capabilities are without effect."""
    prctl(_NO_NEW_PRIVILEGES, 1)


def drop_capabilities() -> None:
    """What this process executes has no capability but that over file modes, and that one only where it is root."""
    for number in range(_MOST_CAPABILITIES):
        if number != _OVERRIDE_FILE_MODES:
            try:
                prctl(_DROP_FROM_BOUNDING_SET, number)
            except OSError:  # no such capability, or none to drop it with: then there is little to drop
                continue
    try:
        prctl(_AMBIENT, _CLEAR_AMBIENT)
    except OSError:  # a kernel older than ambient capabilities
        return


def _checked(result: int, where: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), where or None)
    return result
