"""Linux' Landlock: a process shuts itself in, with all that it starts, and needs no rights for it.

What is asked for here: writing below a few folders only, reading everywhere but below others, no TCP, no signals to processes
outside. The numbers are the kernel's own (include/uapi/linux/landlock.h). Standard library only: the keeper imports it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture but Alpha
_PATH_BENEATH, _ASK_VERSION = 1, 1
_NO_NEW_PRIVILEGES = 38  # of prctl

_EXECUTE, _WRITE, _READ, _LIST = (1 << bit for bit in range(4))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FIRST_RIGHTS = (1 << 13) - 1  # all of the first version
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def version() -> int:
    """Which Landlock this kernel has: 0 none, from 3 on files cannot be emptied either, 4 TCP is shut, 6 signals are."""
    try:
        return max(0, _call(_CREATE, None, 0, _ASK_VERSION))
    except OSError:
        return 0


def ruleset(writable: Iterable[str], readable: Iterable[str], hidden: Iterable[str]) -> int:
    """A descriptor of the rules, for `shut_in`: write below `writable` alone, read all but what is below `hidden`
    and not below `readable`.

    Names of files may be listed everywhere: a folder beside a hidden one must go on being searched for modules.

    Raises:
        OSError: the kernel has no Landlock.
    """
    has = version()
    handled = _FIRST_RIGHTS | (_REFER if has >= 2 else 0) | (_TRUNCATE if has >= 3 else 0)
    words = [handled, *([_TCP] if has >= 4 else []), *([_SCOPES] if has >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = _call(_CREATE, attributes, len(attributes), 0)
    _allow(rules, "/", _LIST)
    for path in (*visible(hidden), *readable):
        _allow(rules, path, _EXECUTE | _READ | _LIST)
    for path in writable:
        _allow(rules, path, handled)
    return rules


def shut_in(rules: int) -> None:
    """Put this process under the rules for good.

    Raises:
        OSError: the kernel refuses.
    """
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _call(_RESTRICT, rules, 0)


def visible(hidden: Iterable[str]) -> list[str]:
    """The topmost folders and files that are neither hidden nor above something hidden; links are left to what they lead to."""
    shut = {os.path.realpath(path) for path in hidden}
    above = {str(parent) for path in shut for parent in Path(path).parents}
    if not shut:
        return ["/"]
    found, waiting = list[str](), ["/"]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # nor could the program look into it
            continue
        for entry in entries:
            if entry.path in above and entry.path not in shut:
                waiting.append(entry.path)
            elif entry.path not in shut and not entry.is_symlink():
                found.append(entry.path)
    return found


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it went away, or is not there on this machine
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112  # a keeper of a few lines, where strings are enough
            rights &= _EXECUTE | _WRITE | _READ | _TRUNCATE
        _call(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *words: bytes | int | None) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(word) if isinstance(word, int) else word for word in words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
