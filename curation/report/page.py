"""The statistics as one page: no script, nothing fetched, readable on a phone and in the dark."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from curation.published import Published
from curation.report import words
from curation.report.examples import Example, Picture
from curation.statistics import Statistics
from icvos.render.page import page_environment
from icvos.render.text import one_line


def render_page(statistics: Statistics, paper: Published, charts: Mapping[str, str], examples: Sequence[Example]) -> str:
    """One self-contained page.

    Args:
        statistics: of the release.
        paper: the printed figures that stand beside it.
        charts: name -> SVG, from `curation.report.charts`; their text is escaped already.
        examples: the episodes to show; none where their pictures are not on disk.
    """
    from markupsafe import Markup

    environment = page_environment(Path(__file__).parent / "templates")
    environment.filters |= {"line": one_line, "number": words.number}
    return environment.get_template("statistics.html.j2").render(
        statistics=statistics,
        paper=paper,
        words=words,
        charts={name: Markup(svg) for name, svg in charts.items()},
        examples=examples,
        address=_address,
    )


def _address(picture: Picture) -> str:
    """The picture itself in the place of an address."""
    return f"data:image/jpeg;base64,{b64encode(picture.jpeg()).decode()}"
