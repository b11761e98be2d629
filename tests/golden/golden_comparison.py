"""How computed arrays are held against those of the official code: by name, all of them, with what differs told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from golden_recipe import summary
from golden_sets import Array, is_summary
from torch import Tensor

RTOL = 1e-4
LEAST, MOST = 1e-5, 3e-4  # parts of a reference's largest magnitude by which values may differ
CONDITIONED = 3.0  # times the measured conditioning
STEEP = 2.0  # gains beyond it: attention amplifies the rounding of float32, and the conditioning is measured


class Shots(NamedTuple):
    """An array of which every shot has its own, (B * K, ...), the K shots of one episode together."""

    each: Tensor
    count: int  # K
    mean: Tensor | None = None  # (B, ...), where the method averages


Answer: TypeAlias = Tensor | Array | Shots | float | int
Answers: TypeAlias = Mapping[str, Any]  # of Answer


@dataclass(frozen=True)
class Fault:
    """What is wrong with one array."""

    name: str
    words: str
    difference: float | None = None  # the largest, where values differ

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


def faults(found: Answers, outputs: Mapping[str, Array], single: Answers | None = None) -> list[Fault]:
    """Every stored array that has no answer or another one.

    A stored array is answered by its own name, without ``_stats``, or by that of an array of which every shot has its own:
    ``NAME_k`` is shot k; an array of the size of all shots is all of them; one of the size of a single shot is the mean where the
    method averages, and otherwise one shot's. All arrays of a set that do not say which shot they are must be of the same shot.

    Args:
        found: what our code computes, in float64.
        outputs: of the official code.
        single: the same in float32, to measure how much rounding is amplified; None where little is.
    """
    shots = max((value.count for value in found.values() if isinstance(value, Shots)), default=1)
    tries = [
        [fault for name, stored in outputs.items() if (fault := _fault(name, stored, found, single, shot)) is not None]
        for shot in range(shots)
    ]
    return min(tries, key=len)


def report(found: list[Fault], where: str) -> str:
    """All faults of a set as a message."""
    return "\n".join([f"{where}: {len(found)} arrays differ from the official code's", *(f"  {fault}" for fault in found)])


def conditioning(values: Array, single: Array) -> float:
    """The largest difference between an array in float64 and in float32, as a part of its largest magnitude."""
    largest = float(np.abs(values).max(initial=0))
    return float(np.abs(values - single).max(initial=0)) / largest if largest else 0.0


def _fault(name: str, stored: Array, found: Answers, single: Answers | None, shot: int) -> Fault | None:
    values = _answer(name, stored, found, shot)
    if values is None:
        return Fault(name, "nothing is computed under this name")
    part = LEAST
    if single is not None and values.dtype.kind == "f":
        again = _answer(name, stored, single, shot)
        k = conditioning(values, again) if again is not None else 0.0
        part = max(LEAST, min(CONDITIONED * k, MOST))
    if is_summary(stored, values):
        if values.size != stored[0]:
            return Fault(name, f"{values.size} values {values.shape}, stored is a summary of {stored[0]:.0f}")
        return _difference(name, summary(values)[1:], stored[1:], float(stored[3]), part)
    if values.shape != stored.shape:
        return Fault(name, f"shape {values.shape}, stored is {stored.shape}")
    if stored.dtype.kind in "biu":
        return _exact(name, values, stored)
    return _difference(name, values, stored, float(np.abs(stored).max(initial=0)), part)


def _answer(name: str, stored: Array, found: Answers, shot: int) -> Array | None:
    """What answers for a stored array, or None; see `faults`."""
    plain = name if name in found else name.removesuffix("_stats")
    numbered = re.fullmatch(r"(.+)_(\d+)", plain)
    if plain in found:
        value = found[plain]
    elif numbered and isinstance(found.get(numbered[1]), Shots) and int(numbered[2]) < found[numbered[1]].count:
        value, shot = found[numbered[1]], int(numbered[2])
        return _numpy(value.each[shot :: value.count])
    else:
        return None
    if not isinstance(value, Shots):
        return _numpy(value)
    size = stored[0] if stored.ndim == 1 and is_summary(stored, _numpy(value.each)) else stored.size
    if size == value.each.numel():
        every = _numpy(value.each)
        apart = (len(every) // value.count, value.count, *every.shape[1:])
        return every.reshape(apart) if stored.shape == apart else every
    return _numpy(value.each[shot :: value.count] if value.mean is None else value.mean)


def _numpy(value: Any) -> Array:
    return np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)


def _exact(name: str, values: Array, stored: Array) -> Fault | None:
    """Integers and truth values, equal one by one."""
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return Fault(name, "values are not whole numbers, stored are integers")
    wrong = int(np.count_nonzero(values != stored))
    if not wrong:
        return None
    largest = float(np.abs(values.astype(np.float64) - stored.astype(np.float64)).max())
    return Fault(name, f"{wrong} of {stored.size} {stored.dtype} values differ, by {largest:.0f} at most", largest)


def _difference(name: str, values: Array, stored: Array, scale: float, part: float) -> Fault | None:
    """Floats, as far as rounding on another machine leaves them; what is not a number is never equal."""
    apart = np.abs(np.asarray(values, np.float64) - np.asarray(stored, np.float64))
    beyond = ~(apart <= part * scale + RTOL * np.abs(stored))
    if not beyond.any():
        return None
    largest = float(apart.max()) if not np.isnan(apart).any() else float("nan")
    words = f"max difference {largest:.3g}, scale {scale:.3g}, ratio {largest / scale if scale else float('inf'):.3g}"
    return Fault(name, f"{words}, {np.count_nonzero(beyond)} of {beyond.size} beyond rtol {RTOL:g} and atol {part:.3g} x scale", largest)
