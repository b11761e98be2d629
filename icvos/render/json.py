"""The board for programs: everything, scores in [0, 1] with all their digits, every key in every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icvos.cards import LISTS
from icvos.files import to_json

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.reported import ReportedRow

FORMAT = "icvos-board/1"
_CARD = ("name", "version", "weights", "precision", "hand_over", "summary", "paper", "licence")


def render_json(board: Leaderboard, by: str, group: str | None) -> str:
    """One JSON document, format ``icvos-board/1``; what is not known is null."""
    return to_json(
        {
            "format": FORMAT,
            "benchmark": {key: board.benchmark[key] for key in ("name", "version", "digest")},
            "protocol": board.protocol,
            "by": by,
            "group": group,
            "notes": list(board.notes),
            "rows": [_row(row) for row in board.rank(by, group)],
            "reported": [_reported(row) for row in board.reported],
        }
    )


def _row(row: Row) -> dict[str, Any]:
    result, timing = row.result, row.timing
    return {
        "kind": row.kind,
        "rank": row.rank,
        "rank_interval": None if row.rank_interval is None else list(row.rank_interval),
        "noise_group": row.noise_group,
        "method": row.label,
        "scores": None if row.scores is None else row.scores.as_dict(),
        "intervals": {name: None if (pair := row.interval(name)) is None else list(pair) for name in ("J&F", "J", "F")},
        "support_spread": result.support_spread,
        "coverage": {"expected": result.coverage.expected, "present": result.coverage.present, "part": result.coverage.part},
        "clips": row.clips,
        "tubes": row.tubes,
        "episodes": row.episodes,
        "frames_per_second": None if timing is None else timing.frames_per_second,
        "peak_rss_bytes": None if timing is None else timing.peak_rss_bytes,
        "signature": result.signature,
        "badge": result.badge_here,
        "seen_clips": list(result.seen_clips),
        "validation_clips": list(result.validation_clips),
        "card": {key: None if (value := result.method.get(key)) is None else str(value) for key in _CARD}
        | {key: [str(name) for name in result.method.get(key, ())] for key in sorted(LISTS)},
        "environment": {str(key): str(value) for key, value in sorted(result.environment.items())},
        "notes": [str(note) for note in result.notes],
        "groups": {kind: {name: scores.as_dict() for name, scores in rows.items()} for kind, rows in result.groups.items()},
    }


def _reported(row: ReportedRow) -> dict[str, Any]:
    return {
        "kind": "reported",
        "method": row.method,
        "scores": {"J&F": row.JF, "J": row.J, "F": row.F},
        "deviation": None if row.deviation is None else dict(row.deviation),
        "edition": row.edition or None,
        "date": row.date or None,
        "source": row.source,
        "protocol": row.protocol,
        "note": row.note,
        "flag": row.flag or None,
    }
