"""The board's charts (extra `report`) as SVGs that need no script, of all tubes. The same board gives the same bytes.

Colours are values that the page's style turns for the dark; J and F differ in Okabe and Ito's blue and vermilion, and in their dashes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from math import ceil, floor, log, log10
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from icvos.errors import missing_package
from icvos.render.over_time import POINTS, Curve, mean_curve
from icvos.render.text import one_line, shortened

try:
    import altair as alt
except ModuleNotFoundError as error:
    raise missing_package("drawing charts", error, "report") from error

if TYPE_CHECKING:
    from icvos.board import Row

WIDTH = 420  # pixels, so that a phone shows it with letters that can be read
_TEXT, _SOFT, _LINE, _MARK, _SECOND = "#1b1f24", "#59636e", "#d5dae0", "#0b5cad", "#9a4b00"
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_LONGEST = 26  # characters of a name
_NAMES = 130  # pixels for the names of rows
_LETTER = 12


def board_charts(rows: Sequence[Row], by: str, curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, str]:
    """Name -> SVG: `speed` where runs were timed, `time` where there are frame scores, `tubes`. All are of whole runs.

    Args:
        rows: of a board, ranked.
        by: the score that they are ranked by.
        curves: signature -> episode -> its curve.
    """
    means = [(row, mean) for row in rows if (mean := mean_curve(curves.get(row.result.signature, {})))]
    timed = [row for row in rows if row.timing and row.timing.frames_per_second]
    drawn: dict[str, Callable[[], Any]] = {}
    if timed:
        drawn["speed"] = lambda: _speed(timed, by)
    if means:
        drawn["time"] = lambda: _over_time(means)
    drawn["tubes"] = lambda: _tubes(rows, by)
    return {name: _svg(draw()) for name, draw in drawn.items()}


def _name(row: Row) -> str:
    return shortened(one_line(row.label), _LONGEST)


def _speed(rows: Sequence[Row], by: str) -> Any:
    """A point a row, the score over frames a second, its name beside it."""
    height = 300
    values: list[dict[str, Any]] = [
        {"row": number, "name": _name(row), "speed": row.timing and row.timing.frames_per_second}
        | {"score": 100 * row.result.overall.as_dict()[by], "kind": row.kind}
        for number, row in enumerate(rows)
    ]
    speeds, scores = [value["speed"] for value in values], [value["score"] for value in values]
    x_domain, y_domain = [min(speeds) / 1.6, max(speeds) * 1.6], [min(scores) - 4, max(scores) + 4]
    x = alt.Scale(type="log", domain=x_domain, nice=False)
    base = alt.Chart(_values(values), width=WIDTH - 50, height=height).encode(
        x=alt.X("speed:Q", scale=x, axis=alt.Axis(title="frames a second", format="~g", values=_round(*x_domain))),
        y=alt.Y("score:Q", scale=alt.Scale(domain=y_domain, nice=False), axis=alt.Axis(title=by)),
    )
    fill = alt.condition("datum.kind == 'method'", alt.value(_MARK), alt.value("transparent"))
    stroke = alt.condition("datum.kind == 'method'", alt.value(_MARK), alt.value(_SOFT))
    points = base.mark_point(size=64, opacity=1, strokeWidth=2, filled=False).encode(fill=fill, stroke=stroke)
    places = _label_places(values, x_domain, y_domain, WIDTH - 50, height)
    names = [
        base.transform_filter(f"datum.row == {number}").mark_text(dx=dx, dy=dy, align=align, color=_TEXT).encode(text="name:N")
        for number, (dx, dy, align) in enumerate(places)
    ]
    return alt.layer(points, *names)


def _round(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times a power of ten in this range."""
    return [
        step * 10.0**power
        for power in range(floor(log10(low)), ceil(log10(high)) + 1)
        for step in (1, 2, 5)
        if low <= step * 10.0**power <= high
    ]


def _label_places(values: Sequence[Mapping[str, Any]], x: Sequence[float], y: Sequence[float], width: int, height: int) -> list[Any]:
    """Where each point's name stands, as (dx, dy, align): the first place beside it that no point and no earlier name covers."""
    points = [
        (
            width * log(v["speed"] / x[0]) / log(x[1] / x[0]),
            height * (1 - (v["score"] - y[0]) / (y[1] - y[0])),
            0.53 * _LETTER * len(v["name"]),
        )
        for v in values
    ]
    taken = [(px - 5, py - 5, px + 5, py + 5) for px, py, _ in points]
    places = []
    for px, py, long in points:
        options = [(8 * side, dy, "left" if side > 0 else "right") for dy in (0, *_further(6)) for side in (1, -1)]
        for dx, dy, align in options:
            left = px + dx if align == "left" else px + dx - long
            box = (left, py + dy - 7, left + long, py + dy + 7)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if inside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                break
        else:
            dx, dy, align = options[0]
            box = (px, py, px, py)
        taken.append(box)
        places.append((dx, dy, align))
    return places


def _further(steps: int) -> list[int]:
    return [sign * 12 * step for step in range(1, steps + 1) for sign in (-1, 1)]


def _over_time(means: Sequence[tuple[Row, Curve]]) -> Any:
    """A small panel a row: J and F over the clip's time, from its first frame to its last."""
    values: list[dict[str, Any]] = [
        {"name": f"{place}", "time": 100 * point / (POINTS - 1), "score": 100 * float(score), "of": of}
        for place, (_, curve) in enumerate(means)
        for of, scores in (("J", curve.J), ("F", curve.F))
        for point, score in enumerate(scores)
    ]
    most = max(value["score"] for value in values)
    panels = []
    for place, (row, _) in enumerate(means):
        base = alt.Chart(
            _values([value for value in values if value["name"] == f"{place}"]), width=WIDTH // 2 - 46, height=84, title=_name(row)
        )
        panels.append(
            base.mark_line(strokeWidth=2).encode(
                x=alt.X(
                    "time:Q",
                    scale=alt.Scale(domain=[0, 100]),
                    axis=alt.Axis(title=None, values=[0, 50, 100], format="d", labelExpr="datum.label + ' %'"),
                ),
                y=alt.Y("score:Q", scale=alt.Scale(domain=[0, max(10, most)]), axis=alt.Axis(title=None, tickCount=3)),
                color=alt.Color("of:N", scale=alt.Scale(domain=["J", "F"], range=[_MARK, _SECOND]), legend=None),
                strokeDash=alt.StrokeDash("of:N", scale=alt.Scale(domain=["J", "F"], range=[[1, 0], [4, 3]]), legend=None),
            )
        )
    return alt.concat(*panels, columns=2, spacing=14)


def _tubes(rows: Sequence[Row], by: str) -> Any:
    """A row a method: a tick for each tube, and the box of their quartiles with its median."""
    names = [f"{place}" for place in range(len(rows))]
    values: list[dict[str, Any]] = [
        {"row": name, "score": 100 * tube.mean.as_dict()[by]} for name, row in zip(names, rows, strict=True) for tube in row.result.tubes
    ]
    labels = "[" + ",".join(_quoted(_name(row)) for row in rows) + "]"
    axis = alt.Axis(
        title=None,
        ticks=False,
        domain=False,
        grid=False,
        labelLimit=_NAMES + 20,
        minExtent=_NAMES,
        labelPadding=8,
        labelColor=_TEXT,
        labelExpr=f"{labels}[datum.value]",
    )
    base = alt.Chart(_values(values), width=WIDTH - _NAMES - 12, height=26 * len(rows)).encode(
        y=alt.Y("row:N", sort=names, axis=axis), x=alt.X("score:Q", axis=alt.Axis(title=f"{by} of a tube", tickCount=5))
    )
    ticks = base.mark_tick(color=_MARK, opacity=0.6, thickness=1.5, height=16)
    boxes = [_quartiles(name, [value["score"] for value in values if value["row"] == name]) for name in names]
    spans = alt.Chart(_values([box for box in boxes if box])).encode(y=alt.Y("row:N", sort=names, axis=axis))
    bars = spans.mark_bar(color=_SOFT, opacity=0.25, height=16).encode(x="low:Q", x2="high:Q")
    medians = spans.mark_tick(color=_TEXT, thickness=3, height=18, opacity=1).encode(x="median:Q")
    return alt.layer(bars, ticks, medians)


def _quartiles(name: str, scores: Sequence[float]) -> dict[str, Any] | None:
    if not scores:
        return None
    low, high = (float(end) for end in np.percentile(scores, [25, 75]))
    return {"row": name, "low": low, "high": high, "median": median(scores)}


def _quoted(text: str) -> str:
    """Foreign text as a string of Vega's expressions."""
    return json.dumps(text)


def _values(rows: Sequence[Mapping[str, object]]) -> Any:
    """Rows as Vega-Lite takes them in."""
    return {"values": list(rows)}


def _svg(chart: Any) -> str:
    stream = StringIO()
    dressed = (
        chart.configure(font=_FONT, background="transparent", padding=2, aria=False)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_SOFT,
            titleColor=_SOFT,
            labelFontSize=_LETTER,
            titleFontSize=_LETTER,
            titleFontWeight="normal",
            gridColor=_LINE,
            domainColor=_LINE,
            tickColor=_LINE,
        )
        .configure_title(color=_TEXT, fontSize=13, fontWeight="normal", anchor="start", frame="group", offset=4)
        .configure_text(fontSize=_LETTER)
    )
    dressed.save(stream, format="svg")
    return stream.getvalue()
