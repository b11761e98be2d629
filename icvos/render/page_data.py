"""What the board's script is told: every tube's scores, so that it can average any part of them as the harness would.

It goes into the page as JSON in which no mark has a meaning for HTML. Names are made one line here and are only ever put
into text by the script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import TYPE_CHECKING, Any

from icvos.render.text import one_line

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.render.over_time import Curve
    from icvos.render.pictures import Pictures
    from icvos.results import TubeScores

FILTERS = ("source", "class", "length")  # kinds of groups whose scores are means over tubes, which the page can form itself
_IN_HTML = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def page_json(boards: Sequence[Mapping[str, Any]], pictures: Pictures | None) -> str:
    """The data of all boards of a page as JSON that may stand in a script element."""
    shown = {} if pictures is None else {one_line(episode): picture.as_dict() for episode, picture in pictures.episodes.items()}
    data = {"boards": list(boards), "pictures": shown, "folder": "" if pictures is None else pictures.folder}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_IN_HTML)


def board_data(
    board: Leaderboard,
    rows: Sequence[Row],
    by: str,
    group: str | None,
    curves: Mapping[str, Mapping[str, Curve]],
    pictures: Pictures | None,
) -> dict[str, Any]:
    """One board's: its tubes, and for each of `rows` (in this order) the scores on each tube, or null.

    Args:
        board: what is shown.
        rows: its rows, ranked.
        by: the score that they are ranked by.
        group: the group that they are ranked by; the page starts with it as its filter, if it can.
        curves: signature -> episode -> its curve.
        pictures: those that lie beside the page.
    """
    from icvos.board import LOWER_IS_BETTER, SCORES
    from icvos.entries import KINDS

    tubes = {tube.id: tube for row in board.rows for tube in row.result.tubes}
    ids = sorted(tubes)
    kind, _, name = (group or "").partition("=")
    return {
        "by": by,
        "lower": by in LOWER_IS_BETTER,
        "kinds": list(KINDS),
        "scores": list(SCORES),
        "group": {"kind": kind, "name": one_line(name)} if group else None,
        "filterable": not group or kind in FILTERS,
        "tubes": [_tube(tubes[tube_id]) for tube_id in ids],
        "rows": [_row(row, ids, curves.get(row.result.signature, {}), pictures) for row in rows],
    }


def _tube(tube: TubeScores) -> dict[str, str]:
    from icvos.totals import length_group

    names = {"id": tube.id, "source": tube.source, "clip": tube.clip, "class": tube.category, "length": length_group(tube.frames)}
    return {key: one_line(name) for key, name in names.items()}


def _row(row: Row, ids: Sequence[str], curves: Mapping[str, Curve], pictures: Pictures | None) -> dict[str, Any]:
    own = {tube.id: tube for tube in row.result.tubes}
    masks = {} if pictures is None else pictures.masks.get(row.result.signature, {})
    return {
        "name": one_line(row.label),
        "kind": row.kind,
        "classesSeen": [one_line(name) for name in row.result.method.get("training_classes", ())],
        "clipsSeen": [one_line(name) for name in row.result.seen_clips],
        "means": [_means(own[tube_id]) if tube_id in own else None for tube_id in ids],
        "draws": [_draws(own[tube_id], curves) if tube_id in own else [] for tube_id in ids],
        "masks": {one_line(episode): file for episode, file in masks.items()},
    }


def _means(tube: TubeScores) -> list[float]:
    """The scores in the order of `SCORES`, then the deviation over draws."""
    from icvos.board import SCORES

    values = tube.mean.as_dict()
    deviation = stdev(scores.JF for scores in tube.draws.values()) if len(tube.draws) > 1 else 0.0
    return [*(values[name] for name in SCORES), deviation]


def _draws(tube: TubeScores, curves: Mapping[str, Curve]) -> list[list[str | float]]:
    """For each draw its name, J&F, J, F and the first frame's J as they are printed, and its curve or nothing."""
    return [
        [one_line(draw), *(round(value, 4) for value in (s.JF, s.J, s.F, s.J_first)), curve.drawn() if curve else ""]
        for draw, s in tube.draws.items()
        for curve in [curves.get(f"{tube.id}#{draw}")]
    ]
