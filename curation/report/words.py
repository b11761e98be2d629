"""What text, charts and page say alike: headings, numbers, and which figures stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation.attributes import LARGE, SMALL
from curation.published import DatasetRow, Published
from curation.statistics import ClassCount, SourceCount, Statistics
from icvos.render.text import NOTHING, one_line

HEADINGS = ("data set", "videos", "mean frames", "frames", "classes", "truth")
GROUP_TITLES = {
    "length": "Length of the clip",
    "objects": "Objects of the class",
    "size": "Size: mean part of the frame",
    "stay": "Presence",
}
_SIZES = {
    "small": f"small (under {100 * SMALL:.0f} %)",
    "medium": f"medium ({100 * SMALL:.0f} to {100 * LARGE:.0f} %)",
    "large": f"large (over {100 * LARGE:.0f} %)",
}


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A source in the release and in the paper, parts of the videos in [0, 1]; None where one of them has it not."""

    name: str
    count: SourceCount | None
    share: float
    paper: float | None


def number(value: float | None) -> str:
    """A count with its thousands parted: ``99,549``; a mean is rounded."""
    return NOTHING if value is None else f"{round(value):,}"


def part(value: float | None) -> str:
    """A part in [0, 1] as a percent: ``63.7 %``."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def cells(row: DatasetRow) -> tuple[str, ...]:
    """A line of Table 1, below `HEADINGS`."""
    counts = (row.videos, row.mean_frames, row.frames, row.classes)
    return (one_line(row.dataset), *map(number, counts), row.annotation)


def compared(statistics: Statistics, paper: Published) -> tuple[DatasetRow, ...]:
    """Table 1: the release, the paper's IC-VOS, then the other data sets."""
    return (statistics.row, paper.benchmark, *(row for row in paper.table if row != paper.benchmark))


def class_cells(count: ClassCount) -> tuple[str, ...]:
    """A class's line: name, clips, frames, masks, objects."""
    return (count.name, *map(number, (count.clips, count.frames, count.masks, count.objects)))


def sources(statistics: Statistics, paper: Published) -> tuple[SourceLine, ...]:
    """The release's sources, then those that only the paper has, each the largest first."""
    own = sorted(statistics.sources, key=lambda count: (-count.share, count.name))
    lines = [SourceLine(one_line(count.name), count, count.share, paper.source_shares.get(count.name)) for count in own]
    names = {count.name for count in own}
    return (*lines, *(SourceLine(name, None, 0.0, share) for name, share in paper.source_shares.items() if name not in names))


def group_label(kind: str, name: str) -> str:
    """A group in words; sizes with their bounds."""
    return _SIZES[name] if kind == "size" else name


def totals(statistics: Statistics) -> str:
    """What Table 1 has no column for."""
    counts = (
        (len(statistics.tubes), "tube"),
        (statistics.masks, "mask"),
        (statistics.episodes, "episode"),
        (statistics.supports, "support image"),
    )
    return ", ".join(f"{number(count)} {word}{'' if count == 1 else 's'}" for count, word in counts)


def not_measured(names: Sequence[str]) -> str:
    """What is missing where sources are not on disk, and how to get it; nothing where all are there."""
    if not names:
        return ""
    listed = ", ".join(map(one_line, names))
    return f"Not on this disk, so counted by the release's list alone, without sizes, presence and pictures: {listed} (say --data DIR)."
