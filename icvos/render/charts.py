"""The board's charts (extra `report`) as SVGs that need no script, of all tubes. The same board gives the same bytes.

Colours are values that the page's style turns for the dark; J and F differ in Okabe and Ito's blue and vermilion, and in their dashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil, floor, log, log10
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from icvos.errors import missing_package
from icvos.render.over_time import POINTS, Curve, mean_curve
from icvos.render.text import one_line, shortened

try:
    import altair as alt
    import vl_convert
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


def board_charts(rows: Sequence[Row], by: str, curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, list[str]]:
    """Name -> SVGs: `speed` where runs were timed, `time`, one a row, where there are frame scores, `tubes`. All are of whole runs.

    Args:
        rows: of a board, ranked.
        by: the score that they are ranked by.
        curves: signature -> episode -> its curve.
    """
    means = [(row, mean) for row in rows if (mean := mean_curve(curves.get(row.result.signature, {})))]
    timed = [row for row in rows if row.timing and row.timing.frames_per_second]
    drawn = {"speed": [_speed(timed, by)] if timed else [], "time": _over_time(means) if means else [], "tubes": [_tubes(rows, by)]}
    return {name: [_svg(chart) for chart in several] for name, several in drawn.items()}


def _name(row: Row) -> str:
    return shortened(one_line(row.label), _LONGEST)


def _speed(rows: Sequence[Row], by: str) -> Any:
    """A point a row, the score over frames a second, its name beside it, or led to it by a line where points crowd."""
    speeds = [timing.frames_per_second or 1.0 for row in rows if (timing := row.timing)]
    scores = [100 * row.result.overall.as_dict()[by] for row in rows]
    x, y = (min(speeds) / 1.6, max(speeds) * 1.6), (min(scores) - 4, max(scores) + 4)
    width, height = WIDTH - 50, 320
    across = [width * log(speed / x[0]) / log(x[1] / x[0]) for speed in speeds]
    down = [height * (1 - (score - y[0]) / (y[1] - y[0])) for score in scores]
    values: list[dict[str, Any]] = []
    for place, (row, (left, top, side)) in enumerate(
        zip(rows, _label_places([*map(_name, rows)], across, down, width, height), strict=True)
    ):
        label = {"label_speed": x[0] * (x[1] / x[0]) ** (left / width), "label_score": y[1] - (y[1] - y[0]) * top / height}
        values.append({"name": _name(row), "kind": row.kind, "speed": speeds[place], "score": scores[place], "side": side, **label})
    x_axis = alt.Axis(title="frames a second", format="~g", values=_round(*x))
    base = alt.Chart(_values(values), width=width, height=height).encode(
        x=alt.X("speed:Q", scale=alt.Scale(type="log", domain=x, nice=False), axis=x_axis),
        y=alt.Y("score:Q", scale=alt.Scale(domain=y, nice=False), axis=alt.Axis(title=by)),
    )
    fill = alt.condition("datum.kind == 'method'", alt.value(_MARK), alt.value("transparent"))
    stroke = alt.condition("datum.kind == 'method'", alt.value(_MARK), alt.value(_SOFT))
    points = base.mark_point(size=64, opacity=1, strokeWidth=2, filled=False).encode(fill=fill, stroke=stroke)
    lines = base.mark_rule(color=_SOFT, opacity=0.5).encode(x2="label_speed:Q", y2="label_score:Q")
    names = [
        base.transform_filter(f"datum.side == '{side}'")
        .mark_text(align=side, color=_TEXT, dx=3 if side == "left" else -3)
        .encode(x="label_speed:Q", y="label_score:Q", text="name:N")
        for side in ("left", "right")
    ]
    return alt.layer(lines, points, *names)


def _round(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times a power of ten in this range."""
    return [
        step * 10.0**power
        for power in range(floor(log10(low)), ceil(log10(high)) + 1)
        for step in (1, 2, 5)
        if low <= step * 10.0**power <= high
    ]


def _label_places(
    names: Sequence[str], across: Sequence[float], down: Sequence[float], width: int, height: int
) -> list[tuple[float, float, str]]:
    """Where each point's name begins or ends, in pixels, and which of the two (``left`` or ``right``).

    It is the first place, the nearer the sooner, that lies inside and that no point and no earlier name covers.
    """
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in zip(across, down, strict=True)]
    steps = sorted(((dx, dy) for dx in (6, 20, 40) for dy in range(-72, 73, 12)), key=lambda step: abs(step[0]) + abs(step[1]))
    places = []
    for name, x, y in zip(names, across, down, strict=True):
        long = 0.53 * _LETTER * len(name) + 3
        options = [(x + sign * dx, y + dy, side) for dx, dy in steps for sign, side in ((1, "left"), (-1, "right"))]
        boxes = [
            (left if side == "left" else left - long, top - 7, left + long if side == "left" else left, top + 7)
            for left, top, side in options
        ]
        free = [
            place for place, box in enumerate(boxes) if _inside(box, width, height) and not any(_overlap(box, other) for other in taken)
        ]
        chosen = free[0] if free else 0
        taken.append(boxes[chosen])
        places.append(options[chosen])
    return places


def _inside(box: Sequence[float], width: int, height: int) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _over_time(means: Sequence[tuple[Row, Curve]]) -> list[Any]:
    """A small panel a row: J and F over the clip's time, from its first frame to its last, all on one scale."""
    most = max(10.0, *(100 * float(max(curve.J.max(), curve.F.max())) for _, curve in means))
    y = alt.Y("score:Q", scale=alt.Scale(domain=[0, most]), axis=alt.Axis(title=None, tickCount=3))
    axis = alt.Axis(title=None, values=[0, 50, 100], format="d", labelExpr="datum.label + ' %'")
    x = alt.X("time:Q", scale=alt.Scale(domain=[0, 100]), axis=axis)
    colour = alt.Color("of:N", scale=alt.Scale(domain=["J", "F"], range=[_MARK, _SECOND]), legend=None)
    dash = alt.StrokeDash("of:N", scale=alt.Scale(domain=["J", "F"], range=[[1, 0], [4, 3]]), legend=None)
    panels = []
    for row, curve in means:
        values = [
            {"time": 100 * point / (POINTS - 1), "score": 100 * float(score), "of": of}
            for of, scores in (("J", curve.J), ("F", curve.F))
            for point, score in enumerate(scores)
        ]
        base = alt.Chart(_values(values), width=150, height=84, title=_name(row))
        panels.append(base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash))
    return panels


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
    return str(vl_convert.vegalite_to_svg(dressed.to_dict()))
