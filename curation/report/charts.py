"""The charts of the statistics (extra `report`), each as an SVG that reads alike on a page, in a paper and without colours.

Colours are those of `icvos/render/templates/page.css`; the page turns them for the dark by these very values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

from curation.published import Published
from curation.report import words
from curation.report.cloud import lay_out
from curation.statistics import Statistics
from icvos.errors import missing_package

try:
    import altair as alt
    import vl_convert
except ModuleNotFoundError as error:
    raise missing_package("drawing charts", error, "report") from error

WIDTH = 420  # pixels, so that a phone shows it with letters that can be read
_ROW = 22
_CLOUD = 230  # the cloud's height
_TEXT, _SOFT, _MARK, _PAPER = "#1b1f24", "#59636e", "#0b5cad", "#9a4b00"
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_NAMES = 130  # pixels for the names of rows


def charts(statistics: Statistics, paper: Published) -> dict[str, str]:
    """Name -> SVG: Figure 2's a, b and c, and the attributes. The same statistics give the same bytes."""
    drawn: dict[str, Callable[[], Any]] = {
        "sources": lambda: _sources(statistics, paper),
        "words": lambda: _words(statistics),
        "classes": lambda: _classes(statistics),
        "attributes": lambda: _attributes(statistics),
    }
    return {name: _svg(draw()) for name, draw in drawn.items()}


def png(svg: str) -> bytes:
    """An SVG as a PNG of twice its size, on white."""
    painted = svg.replace("<g ", '<rect width="100%" height="100%" fill="white"/><g ', 1)
    return bytes(vl_convert.svg_to_png(painted, scale=2))


def _sources(statistics: Statistics, paper: Published) -> Any:
    """Each source's part of the videos as a bar, the paper's as an upright line with its number."""
    lines = words.sources(statistics, paper)
    rows = [{"name": line.name, "share": line.share, "paper": line.paper, "own": _both(line)} for line in lines]
    base = alt.Chart(_values(rows)).encode(y=_rows("name", [line.name for line in lines]))
    longest = max(max(line.share, line.paper or 0.0) for line in lines)
    x = alt.X("share:Q", axis=None, scale=alt.Scale(domain=[0, 2.1 * longest]))  # room for the words at the bar's end
    bars = base.mark_bar(color=_MARK, height=14).encode(x=x)
    ticks = base.transform_filter("datum.paper != null").mark_tick(color=_PAPER, thickness=3, height=20, opacity=1).encode(x="paper:Q")
    return _layered(bars, ticks, _right_of(base, "edge", "own").transform_calculate(edge="max(datum.share, datum.paper)"), rows=len(rows))


def _both(line: words.SourceLine) -> str:
    own = words.part(line.share)
    return own if line.paper is None else f"{own} (paper {words.part(line.paper)})"


def _words(statistics: Statistics) -> Any:
    """The classes by their frames, as in Figure 2 b."""
    placed = lay_out({count.name: float(count.frames) for count in statistics.classes}, WIDTH, _CLOUD)
    rows = [{"text": word.text, "x": word.x, "y": word.y, "size": word.size, "heavy": word.size >= 18} for word in placed]
    return (
        alt.Chart(_values(rows), width=WIDTH, height=_CLOUD)
        .mark_text(fontWeight="bold", baseline="middle")
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, WIDTH], nice=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[_CLOUD, 0], nice=False)),
            text="text:N",
            size=alt.Size("size:Q", scale=None, legend=None),
            color=alt.condition("datum.heavy", alt.value(_MARK), alt.value(_SOFT)),
        )
    )


def _classes(statistics: Statistics) -> Any:
    """Clips and frames of each class, side by side, the most frames first."""
    rows = [
        {"name": count.name, "clips": count.clips, "frames": count.frames, "clips_text": words.number(count.clips)}
        | {"frames_text": words.number(count.frames)}
        for count in statistics.classes
    ]
    names = [count.name for count in statistics.classes]
    panels = []
    for place, field in enumerate(("clips", "frames")):
        base = alt.Chart(_values(rows)).encode(y=_rows("name", names, labels=place == 0))
        most = max(getattr(count, field) for count in statistics.classes)
        x = alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, 1.45 * most]))  # room for the number at the bar's end
        layers = alt.layer(base.mark_bar(color=_MARK, height=14).encode(x=x), _right_of(base, field, f"{field}_text"))
        panels.append(layers.properties(width=(WIDTH - _NAMES) // 2, height=_ROW * len(rows), title=field))
    return alt.hconcat(*panels, spacing=0)


def _attributes(statistics: Statistics) -> Any:
    """How many tubes have which attribute; one panel an attribute, all on one scale."""
    groups = statistics.groups
    most = max(tubes for counts in groups.values() for tubes in counts.values())
    panels = []
    for kind, counts in groups.items():
        names = [words.group_label(kind, name) for name in counts]
        rows = [{"name": name, "tubes": tubes, "text": words.number(tubes)} for name, tubes in zip(names, counts.values(), strict=True)]
        base = alt.Chart(_values(rows)).encode(y=_rows("name", names))
        x = alt.X("tubes:Q", axis=None, scale=alt.Scale(domain=[0, 1.2 * most]))
        layers = alt.layer(base.mark_bar(color=_MARK, height=14).encode(x=x), _right_of(base, "tubes", "text"))
        panels.append(layers.properties(width=WIDTH - _NAMES, height=_ROW * len(rows), title=words.GROUP_TITLES[kind]))
    return alt.vconcat(*panels, spacing=12)


def _values(rows: Sequence[Mapping[str, object]]) -> Any:
    """Rows as Vega-Lite takes them in."""
    return {"values": rows}


def _rows(field: str, names: Sequence[str], *, labels: bool = True) -> Any:
    """One row a name, in this order."""
    axis = alt.Axis(title=None, ticks=False, domain=False, labels=labels, labelLimit=_NAMES + 20, minExtent=_NAMES if labels else 0)
    return alt.Y(f"{field}:N", sort=list(names), axis=axis, scale=alt.Scale(paddingInner=0.2))


def _right_of(base: Any, field: str, text: str) -> Any:
    """A number in words at the end of each row's bar."""
    return base.mark_text(align="left", dx=5, color=_TEXT).encode(x=f"{field}:Q", text=f"{text}:N")


def _layered(*layers: Any, rows: int) -> Any:
    return alt.layer(*layers).properties(width=WIDTH - _NAMES, height=_ROW * rows)


def _svg(chart: Any) -> str:
    stream = StringIO()
    dressed = (
        chart.configure(font=_FONT, background="transparent", padding=2, aria=False)
        .configure_view(stroke=None)
        .configure_axis(labelColor=_TEXT, labelFontSize=13, labelPadding=6)
        .configure_title(color=_SOFT, fontSize=13, fontWeight="normal", anchor="start", frame="group")
        .configure_text(fontSize=13)
    )
    dressed.save(stream, format="svg")
    return stream.getvalue()
