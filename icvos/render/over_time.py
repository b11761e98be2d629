"""Frame scores as curves over normalised time, so that clips of any length can be drawn in one picture and averaged."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icvos.errors import DataError
from icvos.files import read_data

POINTS = 33  # of a curve, the first frame and the last among them
_COLUMNS = ["episode", "frame", "J", "F"]
_LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"


@dataclass(frozen=True, slots=True)
class Curve:
    """J and F of one episode at `POINTS` evenly spaced times from its first scored frame to its last, both (POINTS,)."""

    J: NDArray[np.float64]
    F: NDArray[np.float64]

    def drawn(self) -> str:
        """J in 64 levels, one letter a point: all that a sparkline shows."""
        levels = np.rint(np.clip(self.J, 0, 1) * (len(_LEVELS) - 1)).astype(int)
        return "".join(_LEVELS[level] for level in levels)


def curves_beside(path: Path) -> dict[str, Curve]:
    """Episode -> its curve, from the frame scores beside the result file `path`; none where there are none.

    Raises:
        DataError: the file is there and is no table of frame scores.
    """
    file = path.with_name(f"{path.stem}.frames.csv")
    return read_curves(file) if file.exists() else {}


def read_curves(file: Path) -> dict[str, Curve]:
    """The same of a table of frame scores: ``episode, frame, J, F``, the frames of an episode in order.

    Raises:
        DataError: it is no such table.
    """
    frames: dict[str, tuple[list[float], list[float]]] = {}
    rows = csv.reader(io.StringIO(read_data(file).decode("utf-8", "replace"), newline=""))
    if (heading := next(rows, None)) != _COLUMNS:
        raise _no_table(file, 1, str(heading))
    try:
        for row in rows:
            episode, _, j, f = row
            into = frames.setdefault(episode, ([], []))
            into[0].append(_score(j))
            into[1].append(_score(f))
    except (ValueError, csv.Error) as error:
        raise _no_table(file, rows.line_num, str(error)) from error
    return {episode: Curve(_resampled(j), _resampled(f)) for episode, (j, f) in frames.items()}


def mean_curve(curves: Mapping[str, Curve]) -> Curve | None:
    """The mean over a tube's draws, then over tubes, as scores are averaged; None of nothing."""
    tubes: dict[str, list[Curve]] = {}
    for episode, curve in curves.items():
        tubes.setdefault(episode.rpartition("#")[0], []).append(curve)
    return _mean(_mean(draws) for draws in tubes.values()) if tubes else None


def _mean(curves: Iterable[Curve]) -> Curve:
    together = list(curves)
    return Curve(np.mean([curve.J for curve in together], axis=0), np.mean([curve.F for curve in together], axis=0))


def _resampled(values: list[float]) -> NDArray[np.float64]:
    return np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(values)), values)


def _score(text: str) -> float:
    value = float(text)
    if not (isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"a score of {text}")
    return value


def _no_table(file: Path, line: int, found: str) -> DataError:
    return DataError("not a table of frame scores", f"{file}, line {line}", found, ",".join(_COLUMNS), "score the run again")
