"""What a paper printed, as numbers, and whether its own arithmetic holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from icvos.reproduce.recipes import Column

_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?")


def number(cell: str) -> float | None:
    """The number that a printed cell begins with (``70.4``, ``99,549``, ``1.9M``, ``76.9 (+5.2)``), or None."""
    found = _NUMBER.match(cell)
    return float(found[0].replace(",", "")) if found else None


def decimals(cell: str) -> int:
    """Digits after the point of a printed number."""
    found = _NUMBER.match(cell)
    return len((found[1] or ".")[1:]) if found else 0


def flags(columns: Sequence[Column], cells: Sequence[str]) -> list[str]:
    """What of a row does not follow from its other cells, further off than their rounding explains."""
    by_name = dict(zip((column.name for column in columns), cells, strict=True))
    found = [_mean_flag(column, by_name) or _ratio_flag(column, by_name) for column in columns]
    return [flag for flag in found if flag]


def changes(columns: Sequence[Column], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Which numbers of a row another edition prints otherwise, and by how much."""
    found = []
    for column, old, new in zip(columns, map(number, before), map(number, after), strict=True):
        if old is not None and new is not None and (change := round(new - old, 6)):
            found.append(f"{column.name} {change:+.{column.digits}f}")
    return [", ".join(found)] if found else []


def _mean_flag(column: Column, cells: Mapping[str, str]) -> str:
    printed, parts = number(cells[column.name]), [number(cells[name]) for name in column.mean_of]
    if printed is None or not parts or None in parts:
        return ""
    mean, digits = fmean(part for part in parts if part is not None), decimals(cells[column.name])
    # Both the mean and its parts are rounded, each by half a unit of the last digit at most.
    if abs(printed - mean) <= 10.0**-digits + 1e-9:
        return ""
    said = f"{mean:.{digits + 1}f}".removesuffix("0")
    return f"{column.name} printed {cells[column.name]}, the mean of {', '.join(column.mean_of)} is {said}"


def _ratio_flag(column: Column, cells: Mapping[str, str]) -> str:
    printed, parts = number(cells[column.name]), [number(cells[name]) for name in column.ratio_of]
    if printed is None or len(parts) != 2 or parts[0] is None or not parts[1]:
        return ""
    ratio = parts[0] / parts[1]
    if abs(printed - ratio) <= 0.5 + 1e-9:
        return ""
    return f"{column.name} printed {cells[column.name]}, {' / '.join(column.ratio_of)} is {ratio:.1f}"
