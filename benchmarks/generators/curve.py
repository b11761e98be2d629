"""Logs of trainings put behind one another, and their curve (extra `report`).

    python benchmarks/generators/curve.py benchmarks/generators dcsam=LEG/log.jsonl dcsam=LEG/log.jsonl vrp_sam=LEG/log.jsonl ...

Writes METHOD.jsonl, whose steps count on from leg to leg, and curve.png. Without legs it draws the logs that are there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import altair

from icvos.files import write_text

SMOOTHED = 6  # reports to a point of the curve: a report is the mean over 200 episodes


def joined(legs: list[Path]) -> str:
    """The reports of one method's legs as lines; a leg that was cut off counts as far as it came."""
    lines, before = [], 0
    for number, path in enumerate(legs, 1):
        reports = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        reports = [report for report in reports if "step" in report]
        lines += [json.dumps({"leg": number, **report, "step": before + report["step"]}) for report in reports]
        before += reports[-1]["step"]
    return "".join(f"{line}\n" for line in lines)


def points(path: Path) -> list[dict[str, Any]]:
    """Means of a few reports at a time, never of two legs."""
    reports, rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], []
    for leg in sorted({report["leg"] for report in reports}):
        own = [report for report in reports if report["leg"] == leg]
        for first in range(0, len(own), SMOOTHED):
            part = own[first : first + SMOOTHED]
            iou = sum(report["iou"] for report in part) / len(part)
            rows.append({"method": path.stem, "leg": f"{path.stem} {leg}", "step": part[-1]["step"], "IoU in training": iou})
    return rows


def main() -> None:
    """Join, and draw."""
    folder, legs = Path(sys.argv[1]), dict[str, list[Path]]()
    for word in sys.argv[2:]:
        name, _, path = word.partition("=")
        legs.setdefault(name, []).append(Path(path))
    for name, paths in legs.items():
        write_text(folder / f"{name}.jsonl", joined(paths))
    rows = [row for path in sorted(folder.glob("*.jsonl")) for row in points(path)]
    chart = altair.Chart(altair.Data(values=rows)).mark_line(point=True)
    fields = {"x": "step:Q", "y": altair.Y("IoU in training:Q", scale=altair.Scale(zero=False)), "color": "method:N", "detail": "leg:N"}
    chart.encode(**fields).properties(width=560, height=260).save(str(folder / "curve.png"), scale_factor=1.5)


if __name__ == "__main__":
    main()
