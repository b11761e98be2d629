"""The board for spreadsheets: one line a row, measured and reported, scores in [0, 1] with all their digits."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.reported import ReportedRow

_BOUNDED = ("J&F", "J", "F")  # scores with an interval
_OTHER = ("J_recall", "F_recall", "J_decay", "F_decay", "J_first", "F_first")
COLUMNS = (
    *("kind", "rank", "rank_low", "rank_high", "noise_group", "method"),
    *(name + end for name in _BOUNDED for end in ("", "_low", "_high")),
    *_OTHER,
    *("support_spread", "coverage", "clips", "tubes", "episodes", "frames_per_second", "peak_rss_bytes"),
    *("group", "protocol", "release", "digest", "signature", "badge", "seen_clips", "validation_clips", "notes"),
)

_Value = str | int | float | None


def render_csv(board: Leaderboard, by: str, group: str | None) -> str:
    """Comma-separated text with a heading line; what is not known is empty. `kind` tells reported lines from measured ones."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for values in [*(_row(row, group) for row in board.rank(by, group)), *map(_reported, board.reported)]:
        writer.writerow({name: harmless(value) for name, value in values.items()})
    return stream.getvalue()


def _row(row: Row, group: str | None) -> dict[str, _Value]:
    result, timing = row.result, row.timing
    values: dict[str, _Value] = {"kind": row.kind, "rank": row.rank, "noise_group": row.noise_group, "method": row.label}
    values["rank_low"], values["rank_high"] = row.rank_interval or (None, None)
    values |= {name: row.score(name) for name in (*_BOUNDED, *_OTHER)}
    for name in _BOUNDED:
        values[f"{name}_low"], values[f"{name}_high"] = row.interval(name) or (None, None)
    values |= {
        "support_spread": result.support_spread,
        "coverage": result.coverage.part,
        "clips": row.clips,
        "tubes": row.tubes,
        "episodes": row.episodes,
        "group": group,
        "protocol": result.protocol,
        "release": f"{result.benchmark['name']}@{result.benchmark['version']}",
        "digest": result.benchmark["digest"],
        "signature": result.signature,
        "badge": result.badge_here,
        "seen_clips": len(result.seen_clips),
        "validation_clips": len(result.validation_clips),
        "notes": "; ".join(str(note) for note in result.notes),
    }
    if timing is not None:
        values |= {"frames_per_second": timing.frames_per_second, "peak_rss_bytes": timing.peak_rss_bytes}
    return values


def _reported(row: ReportedRow) -> dict[str, _Value]:
    said = [f"{name} ± {100 * value:.3f} %" for name, value in (row.deviation or {}).items()]
    notes = "; ".join(filter(None, (row.where, *said, row.flag)))
    return {
        "kind": "reported",
        "badge": "reported",
        "method": row.method,
        "J&F": row.JF,
        "J": row.J,
        "F": row.F,
        "protocol": row.protocol,
        "notes": notes,
    }


def harmless(value: _Value) -> _Value:
    """Text that a spreadsheet would run as a formula gets the quote that makes it text; numbers stay as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
