"""Numbers as a paper printed them: kept in view, never ranked with measured ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icvos.errors import DataError
from icvos.files import AnyPath, read_json

FORMAT = "icvos-reported/1"
PAPER = Path(__file__).parent / "data" / "reported.json"

# In percent. Two decimals are printed: a mean of two rounded numbers is off by up to 0.01, and by no more.
_ROUNDING = 0.011


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """One printed line. J, F and J&F lie in [0, 1] like every score here; the file holds the percents of the paper."""

    method: str
    J: float
    F: float
    JF: float
    source: str  # "DC-SAM, Table 4"
    protocol: str  # what is known of how it was measured
    note: str = ""  # what a reader of the whole table must know

    @property
    def flag(self) -> str:
        """What is wrong with the row's own arithmetic, or nothing."""
        printed, mean = 100 * self.JF, 50 * (self.J + self.F)
        return f"printed {printed:.2f}, mean of J and F is {mean:.2f}" if abs(printed - mean) > _ROUNDING else ""


def reported_rows(path: AnyPath = PAPER) -> tuple[ReportedRow, ...]:
    """The rows of a reported table, in its own order; without `path`, Table 4 of the paper.

    Raises:
        DataError: the file is not such a table.
    """
    path = Path(path)
    data = read_json(path)
    found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
    if found != FORMAT:
        raise DataError("not a table of reported numbers", path, found=found, expected=FORMAT, fix="check the path")
    try:
        return tuple(
            ReportedRow(
                method=row["method"],
                J=_part(row["J"]),
                F=_part(row["F"]),
                JF=_part(row["J&F"]),
                source=data["source"],
                protocol=data["protocol"],
                note=data["note"],
            )
            for row in data["rows"]
        )
    except (KeyError, TypeError) as error:
        raise DataError("incomplete table of reported numbers", path, found=f"{type(error).__name__} {error}", fix="complete it") from error


def _part(percent: float) -> float:
    """A printed percent in [0, 1], without the digits that dividing by 100 in binary would add."""
    return round(percent / 100, 6)
