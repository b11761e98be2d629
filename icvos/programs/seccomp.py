"""A seccomp filter for programs that share their process ids with ours: system calls by which one process harms another.

Needed only where no PID namespace can be had; in one, other processes cannot be named. A filter sees numbers and no more, so that
"its own processes" has to be said in numbers: those from the program's own process id on. Every process that was there before has
a smaller id and is out of reach; of those that start later, none but the program's own can be told apart, and they are protected
from changed limits and from tracing, not from signals. The numbers are the kernel's own. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from icvos.programs.kernel import prctl

_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_SET_FILTER, _BY_FILTER = 22, 2  # of prctl
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in the kernel's struct seccomp_data
_NEW_USER_NAMESPACE = 0x10000000
_X32 = 0x40000000  # marks the calls of the x32 way of calling, which have numbers of their own

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# name: (number on x86_64, on aarch64)
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "add_key": (248, 217),  # keyrings outlive a call
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_OF_ITSELF_ALONE = {"prlimit64": (302, 261)}  # process id 0 is the caller
_OF_ITS_OWN = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_WITH_NAMESPACES = {"clone": (56, 220), "unshare": (272, 97)}
_CLONE3 = (435, 435)  # its flags lie in memory, where a filter cannot see them; the C library falls back on clone
# Whom the kernel sends signals to about a descriptor: F_SETOWN, F_SETOWN_EX of fcntl, FIOSETOWN, SIOCSPGRP of ioctl.
_SIGNALS_OF_DESCRIPTORS = {"fcntl": ((72, 25), (8, 15)), "ioctl": ((16, 29), (0x8901, 0x8902))}

_Step = tuple[int, int, int, int]  # code, steps over when true, when false, operand


def known_here() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return os.uname().machine in _ARCHITECTURES and struct.calcsize("P") == 8


def put_on(own: int, protected: Sequence[int] = ()) -> None:
    """Put this process, and all that it starts, under the filter for good; new rights must have been forbidden before.

    Args:
        own: the smallest process id that may be signalled.
        protected: ids that may not be, however large.

    Raises:
        OSError: the kernel has no such filters, or the machine is of another kind.
    """
    if not known_here():
        raise OSError(errno.ENOSYS, f"no filter for {os.uname().machine}")
    steps = _filter(*_ARCHITECTURES[os.uname().machine], own, protected)
    packed = b"".join(struct.pack("=HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(packed, len(packed))
    program = struct.pack("@HP", len(steps), ctypes.addressof(held))
    prctl(_SET_FILTER, _BY_FILTER, ctypes.c_char_p(program))


def _filter(architecture: int, column: int, own: int, protected: Sequence[int]) -> list[_Step]:
    refused, allowed = _refusal(errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    steps: list[_Step] = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 1, 0, architecture), refused, (_LOAD, 0, 0, _NUMBER_AT)]
    if column == 0:
        steps += [(_AT_LEAST, 0, 1, _X32), refused]
    for numbers in _REFUSED.values():
        steps += _case(numbers[column], [refused])
    for numbers in _OF_ITSELF_ALONE.values():
        steps += _case(numbers[column], [_argument(0), (_EQUAL, 0, 1, 0), allowed, refused])
    whom = [*protected, *(-pid & 0xFFFFFFFF for pid in protected)]  # a negative id is a process group
    bounds: list[_Step] = [(_EQUAL, 0, 1, 0), allowed, (_AT_LEAST, 1, 0, own), refused, (_GREATER, 0, 1, -own & 0xFFFFFFFF), refused]
    others = [step for pid in whom for step in ((_EQUAL, 0, 1, pid), refused)]
    for numbers in _OF_ITS_OWN.values():
        steps += _case(numbers[column], [_argument(0), *bounds, *others, allowed])
    for numbers in _WITH_NAMESPACES.values():
        steps += _case(numbers[column], [_argument(0), (_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE), refused, allowed])
    for numbers, commands in _SIGNALS_OF_DESCRIPTORS.values():
        body = [step for command in commands for step in ((_EQUAL, 0, 1, command), refused)]
        steps += _case(numbers[column], [_argument(1), *body, allowed])
    return [*steps, *_case(_CLONE3[column], [_refusal(errno.ENOSYS)]), allowed]


def _case(number: int, body: list[_Step]) -> list[_Step]:
    """What is done for one system call: its body ends in a return, so that the number is still loaded where it is skipped."""
    return [(_EQUAL, 0, len(body), number), *body]


def _argument(place: int) -> _Step:
    """Load the lower half of an argument: process ids, flags and commands are 32 bits wide."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place)


def _refusal(number: int) -> _Step:
    return (_RETURN, 0, 0, _REFUSE | number)
