"""The curve of a training run: `python benchmarks/nano/curve.py benchmarks/nano/log.jsonl benchmarks/nano/curve.png` (extra `report`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import altair

NAMES = {"still_mask": "stills (two masks)", "correct_mask": "corrected stills (two masks)", "track_mask": "tracked frames"}


def main() -> None:
    """Mean mask losses between two reports, over the steps."""
    source, out = Path(sys.argv[1]), sys.argv[2]
    entries = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    rows = [
        {"step": entry["step"], "loss of masks": entry[name], "of": words}
        for entry in entries
        for name, words in NAMES.items()
        if name in entry
    ]
    chart = altair.Chart(altair.Data(values=rows)).mark_line()
    fields = {"x": "step:Q", "y": altair.Y("loss of masks:Q", scale=altair.Scale(domainMax=6, clamp=True)), "color": "of:N"}
    chart.encode(**fields).properties(width=560, height=260).save(out, scale_factor=1.5)


if __name__ == "__main__":
    main()
