"""Linux' Landlock: a process shuts itself in, with all that it starts, and needs no rights for it.

What is asked for here: writing below a few folders only, reading below a few others only, no TCP, no signals to processes
outside. The numbers are the kernel's own (include/uapi/linux/landlock.h). Standard library only: the keeper imports it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from icvos.programs.kernel import call

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture but Alpha
_PATH_BENEATH, _ASK_VERSION = 1, 1

_EXECUTE, _WRITE, _READ, _LIST = (1 << bit for bit in range(4))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FIRST_RIGHTS = (1 << 13) - 1  # all of the first version
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def version() -> int:
    """Which Landlock this kernel has: 0 none, from 3 on files cannot be emptied either, 4 TCP is shut, 6 signals are."""
    try:
        return max(0, call(_CREATE, None, 0, _ASK_VERSION))
    except OSError:
        return 0


def ruleset(writable: Iterable[str], given: Iterable[str], readable: Iterable[str], hidden: Iterable[str]) -> int:
    """A descriptor of the rules, for `shut_in`: write below `writable` alone, read there and below `given` and `readable`.

    Of `readable` is left out what lies below `hidden`; there names alone can be listed.

    Raises:
        OSError: the kernel has no Landlock.
    """
    has = version()
    handled = _FIRST_RIGHTS | (_REFER if has >= 2 else 0) | (_TRUNCATE if has >= 3 else 0)
    words = [handled, *([_TCP] if has >= 4 else []), *([_SCOPES] if has >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = call(_CREATE, attributes, len(attributes), 0)
    whole, parted = visible(readable, hidden)
    for path in parted:
        _allow(rules, path, _LIST)
    for path in (*whole, *given):
        _allow(rules, path, _EXECUTE | _READ | _LIST)
    for path in writable:
        _allow(rules, path, handled)
    return rules


def shut_in(rules: int) -> None:
    """Put this process under the rules for good; new rights must have been forbidden before.

    Raises:
        OSError: the kernel refuses.
    """
    call(_RESTRICT, rules, 0)


def visible(readable: Iterable[str], hidden: Iterable[str]) -> tuple[list[str], list[str]]:
    """What may be read whole, and the folders among `readable` that have something hidden below them.

    Of these, the topmost folders and files that are not hidden nor above something hidden are read whole. Links are left to what
    they lead to.
    """
    shut = {os.path.realpath(path) for path in hidden}
    above = {str(parent) for path in shut for parent in Path(path).parents}
    whole, parted = list[str](), list[str]()
    for path in dict.fromkeys(map(os.path.realpath, readable)):
        if shut.isdisjoint({path, *map(str, Path(path).parents)}):
            (parted if path in above else whole).append(path)
    waiting = list(parted)
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # nor could the program look into it
            continue
        for entry in entries:
            if entry.path in above and entry.path not in shut:
                waiting.append(entry.path)
            elif entry.path not in shut and not entry.is_symlink():
                whole.append(entry.path)
    return whole, parted


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it went away, or is not there on this machine
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112  # a keeper of a few lines, where strings are enough
            rights &= _EXECUTE | _WRITE | _READ | _TRUNCATE
        call(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
