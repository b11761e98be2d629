"""Statistics for programs: one JSON document, and a line a tube for spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from typing import Any

from curation.attributes import LARGE, SMALL, Attributes
from curation.published import Published
from curation.statistics import Statistics, TubeCount
from icvos.files import to_json
from icvos.render.csv import harmless

FORMAT = "icvos-statistics/1"
_ATTRIBUTES = tuple(field.name for field in fields(Attributes))
_COUNTS = ("frames", "masks", "objects", "length")
COLUMNS = ("tube", "source", "clip", "class", *_COUNTS, *_ATTRIBUTES)


def render_json(statistics: Statistics, paper: Published) -> str:
    """Everything, areas and shares in [0, 1] with all their digits; what is not known is null."""
    return to_json(
        {
            "format": FORMAT,
            "release": {"name": statistics.name, "version": statistics.version, "digest": statistics.digest},
            "row": asdict(statistics.row),
            "masks": statistics.masks,
            "tubes_in_all": len(statistics.tubes),
            "episodes": statistics.episodes,
            "supports": statistics.supports,
            "sources": [asdict(count) for count in statistics.sources],
            "classes": [asdict(count) for count in statistics.classes],
            "groups": statistics.groups,
            "size_bounds": {"small_below": SMALL, "large_above": LARGE},
            "tubes": [_tube(tube) for tube in statistics.tubes],
            "not_measured": list(statistics.unmeasured),
            "paper": asdict(paper),
        }
    )


def render_csv(statistics: Statistics) -> str:
    """Comma-separated text, one line a tube; what is not known is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for tube in statistics.tubes:
        row = _tube(tube)
        row |= row.pop("attributes") or {}
        writer.writerow({name: harmless(value) for name, value in row.items()})
    return stream.getvalue()


def _tube(tube: TubeCount) -> dict[str, Any]:
    names = {"tube": tube.id, "source": tube.source, "clip": tube.clip, "class": tube.category}
    counts = {name: getattr(tube, name) for name in _COUNTS}
    return names | counts | {"attributes": asdict(tube.attributes) if tube.attributes else None}
