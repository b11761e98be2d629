"""What the paper prints of its own IC-VOS, to stand beside the statistics of a release.

The figures are facts of the paper's Table 1 and Section 3.3, in `data/ic_vos_paper.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from icvos.errors import DataError
from icvos.files import AnyPath, read_json

FORMAT = "icvos-published/1"
PAPER = Path(__file__).parent / "data" / "ic_vos_paper.json"


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One line of a table that compares data sets: how many videos and frames, of how many classes."""

    dataset: str
    videos: int
    mean_frames: float  # a video
    frames: int
    classes: int | None  # None where nobody said
    annotation: str  # mask or box


@dataclass(frozen=True, slots=True)
class Published:
    """The printed figures."""

    source: str  # where they are printed
    note: str
    table: tuple[DatasetRow, ...]  # in the paper's order
    benchmark: DatasetRow  # its row of IC-VOS
    source_shares: Mapping[str, float]  # source -> part of the videos, in [0, 1]


def published(path: AnyPath = PAPER) -> Published:
    """The figures of a file; without `path`, those of the paper.

    Raises:
        DataError: it is not such a file.
    """
    path = Path(path)
    data = read_json(path)
    found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
    if found != FORMAT:
        raise DataError("not a file of published figures", path, found=found, expected=FORMAT, fix="check the path")
    try:
        table = tuple(DatasetRow(**row) for row in data["table"])
        own = next(row for row in table if row.dataset == data["ours"])
        return Published(data["source"], data["note"], table, own, data["source_shares"])
    except (KeyError, TypeError, StopIteration) as error:
        found = f"{type(error).__name__} {error}".strip()
        raise DataError("incomplete file of published figures", path, found=found, fix="complete it") from error
