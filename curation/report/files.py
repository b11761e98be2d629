"""The statistics as a folder of files."""

from __future__ import annotations

from pathlib import Path

from curation.published import Published
from curation.report.charts import charts, png
from curation.report.data import render_csv, render_json
from curation.report.examples import examples, sheet
from curation.report.page import render_page
from curation.statistics import Statistics
from icvos.benchmark import Benchmark
from icvos.files import AnyPath, write_bytes

PAGE, JSON, TUBES, EXAMPLES = "statistics.html", "statistics.json", "tubes.csv", "examples.jpg"


def write_report(folder: AnyPath, statistics: Statistics, benchmark: Benchmark, paper: Published) -> Path:
    """Write JSON, CSV, each chart as SVG and PNG, the example episodes and the page; gives the page's path.

    Raises:
        DataError: a picture of an example is missing, damaged, or not the one that the release names.
        UserInputError: the folder cannot be written.
    """
    folder = Path(folder)
    drawn, shown = charts(statistics, paper), examples(statistics, benchmark)
    contents = {JSON: render_json(statistics, paper).encode(), TUBES: render_csv(statistics).encode()}
    for name, svg in drawn.items():
        contents |= {f"{name}.svg": svg.encode(), f"{name}.png": png(svg)}
    if shown:
        contents[EXAMPLES] = sheet(shown)
    contents[PAGE] = render_page(statistics, paper, drawn, shown).encode()
    for name, content in contents.items():
        write_bytes(folder / name, content)
    if not shown:  # those of an earlier call would pass for this one's
        (folder / EXAMPLES).unlink(missing_ok=True)
    return folder / PAGE
