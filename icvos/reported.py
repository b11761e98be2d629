"""Numbers as a paper printed them, edition by edition: kept in view, never ranked with measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icvos.errors import DataError
from icvos.files import AnyPath, read_json

FORMATS = ("icvos-reported/1", "icvos-reported/2")  # 1: one table; 2: several editions of one
PAPER = Path(__file__).parent / "data" / "reported.json"

# In percent. Two decimals are printed: a mean of two rounded numbers is off by up to 0.01, and by no more.
_ROUNDING = 0.011
_SCORES = ("J&F", "J", "F")


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """One printed line. J, F and J&F lie in [0, 1] like every score here; the file holds the percents of the paper."""

    method: str
    J: float
    F: float
    JF: float
    source: str  # "DC-SAM (TPAMI), Table 3"
    protocol: str  # what is known of how it was measured
    note: str = ""  # what a reader of the whole table must know
    edition: str = ""  # "arXiv v2"; empty where there is one alone
    date: str = ""  # of the edition, as far as it is known
    deviation: Mapping[str, float] | None = None  # what is printed behind "±", by score, in [0, 1]
    earlier: tuple[str, float] | None = None  # an earlier edition and the J&F that it prints for this method

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of this row: arithmetic that does not hold, and a number that changed between editions."""
        printed, mean = 100 * self.JF, 50 * (self.J + self.F)
        found = [f"printed {printed:.2f}, mean of J and F is {mean:.2f}"] if abs(printed - mean) > _ROUNDING else []
        if self.earlier is not None and (change := round(printed - 100 * self.earlier[1], 2)):
            found.append(f"J&F changed by {change:+.2f} since {self.earlier[0]}")
        return tuple(found)

    @property
    def flag(self) -> str:
        """`flags` as one line, empty where there are none."""
        return "; ".join(self.flags)

    @property
    def where(self) -> str:
        """The source, with its date where that is known."""
        return f"{self.source} ({self.date})" if self.date else self.source


def reported_rows(path: AnyPath = PAPER) -> tuple[ReportedRow, ...]:
    """The rows of a file of reported numbers, edition by edition, in the file's order; without `path`, those of the DC-SAM paper.

    Raises:
        DataError: the file is not such a table.
    """
    path = Path(path)
    data = read_json(path)
    found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
    if found not in FORMATS:
        raise DataError("not a table of reported numbers", path, found=found, expected=" or ".join(FORMATS), fix="check the path")
    try:
        return tuple(_rows(data))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError("incomplete table of reported numbers", path, found=f"{type(error).__name__} {error}", fix="complete it") from error


def _rows(data: Mapping[str, Any]) -> Iterator[ReportedRow]:
    earlier: dict[str, tuple[str, float]] = {}  # method -> the first edition that has it, and its J&F there
    for table in data.get("editions", [data]):
        for row in table["rows"]:
            scores = {name: _part(row[name]) for name in _SCORES}
            deviation = {name: _part(value) for name, value in row.get("deviation", {}).items()}
            yield ReportedRow(
                method=row["method"],
                J=scores["J"],
                F=scores["F"],
                JF=scores["J&F"],
                source=table["source"],
                protocol=data["protocol"],
                note=data["note"],
                edition=table.get("edition", ""),
                date=table.get("date", ""),
                deviation=deviation or None,
                earlier=earlier.get(row["method"]),
            )
            earlier.setdefault(row["method"], (table.get("edition", ""), scores["J&F"]))


def _part(percent: float) -> float:
    """A printed percent in [0, 1], without the digits that dividing by 100 in binary would add."""
    return round(percent / 100, 6)
