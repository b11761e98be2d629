"""Words and numbers that markdown, latex and html share. Percent appears here and nowhere below.

Names, notes and versions come from other people's result files and are never trusted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from icvos.results import release_label

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.reported import ReportedRow
    from icvos.results import Coverage, Timing

NOTHING = "–"
METHODS = "Methods"
APART = "Ceilings and floors"
APART_WHY = "Bounds, not rivals, so without a rank: a ceiling is told the truth about the first frame, a floor looks at no picture."
REPORTED = "Reported by the paper"
INTERVALS = "In brackets: 95 % intervals, by a bootstrap over clips."
SPREAD = (
    "First J: J on the first frame, before anything is followed. "
    "Spread: the standard deviation of J&F over support draws, averaged over tubes."
)

NOISE_GROUPS = (
    "A method is in the noise group of the one above it unless a paired test (sign flips of whole clips, Holm's correction over "
    "neighbours) tells the two apart at 0.05."
)

# Headings of columns whose scores are means over tubes -> the score, so that the page can form them over some of the tubes.
RECOMPUTED = {"first J": "J_first", "spread": "spread"} | {
    name: name for name in ("J&F", "J", "F", "J_recall", "F_recall", "J_decay", "F_decay", "J_first", "F_first")
}

WHOLE = frozenset({"noise group"})  # columns that a test of whole runs gives

# Marks that turn the direction of the text after them: a name could make its whole line read backwards.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Cell(NamedTuple):
    """One cell of a table: its text, and what stands smaller beside it."""

    text: str
    aside: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.aside}".rstrip()


def one_line(text: object) -> str:
    """Foreign text on one line, without control characters or marks that turn its direction."""
    spaced = " ".join(str(text).split())
    return "".join("\N{REPLACEMENT CHARACTER}" if c in _TURNS or unicodedata.category(c) in ("Cc", "Cs") else c for c in spaced)


def shortened(line: str, most: int) -> str:
    """A name where there is little room; the full one stands elsewhere on the page."""
    return line if len(line) <= most else f"{line[: most - 1]}…"


def percent(value: float | None) -> str:
    """A score in [0, 1] as a percent with two decimals, without its sign."""
    return NOTHING if value is None else f"{round(100 * value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0


def score_cell(row: Row, by: str) -> Cell:
    """A score, and its interval where there is one: ``71.52 [68.10, 74.33]``."""
    interval = row.interval(by)
    return Cell(percent(row.score(by)), f"[{percent(interval[0])}, {percent(interval[1])}]" if interval else "")


def rank_cell(row: Row) -> Cell:
    """A rank, and its interval where there is one: ``2 [1, 4]``."""
    interval = row.rank_interval
    return Cell(NOTHING if row.rank is None else str(row.rank), f"[{interval[0]}, {interval[1]}]" if interval else "")


def noise_columns(methods: Sequence[Row]) -> dict[str, Callable[[Row], Cell]]:
    """The column of noise groups, where methods have them."""
    return {"noise group": lambda row: Cell(str(row.noise_group))} if any(row.noise_group for row in methods) else {}


def covered(coverage: Coverage) -> str:
    """The part of masks that were predicted, rounded down: 100.00 % only where all were."""
    return f"{floor(1e4 * coverage.part + 1e-6) / 100:.2f} %"


def speed(timing: Timing | None) -> str:
    """Frames a second."""
    frames = None if timing is None else timing.frames_per_second
    return NOTHING if frames is None else f"{frames:.1f}" if frames >= 1 else f"{frames:.3f}"


def memory(timing: Timing | None) -> str:
    """The most memory held."""
    return NOTHING if timing is None or not timing.peak_rss_bytes else f"{timing.peak_rss_bytes / 2**30:.2f} GiB"


def printed(row: ReportedRow, score: str) -> str:
    """A score of a paper as it is printed there, with what stands behind ±."""
    value = {"J&F": row.JF, "J": row.J, "F": row.F}[score]
    deviation = (row.deviation or {}).get(score)
    return percent(value) if deviation is None else f"{percent(value)} ± {100 * deviation:.3f}"


def columns(rows: Sequence[Row], by: str) -> dict[str, Callable[[Row], Cell]]:
    """Heading -> what stands below it, from the scores on. `by` comes first where it is not one of the usual three."""
    scores = dict.fromkeys([by, "J&F", "J", "F"] if by not in ("J&F", "J", "F") else ["J&F", "J", "F"])
    found: dict[str, Callable[[Row], Cell]] = {name: partial(score_cell, by=name) for name in scores}
    found["first J"] = lambda row: Cell(percent(row.score("J_first")))
    found["spread"] = lambda row: Cell(percent(row.result.support_spread))
    found["coverage"] = lambda row: Cell(covered(row.result.coverage), "" if row.complete else "incomplete")
    if any(row.timing for row in rows):
        found["frames/s"] = lambda row: Cell(speed(row.timing))
        found["memory"] = lambda row: Cell(memory(row.timing))
    return found


def counts(row: Row) -> str:
    """How much was scored."""
    return ", ".join(many(n, word) for n, word in ((row.clips, "clip"), (row.tubes, "tube"), (row.episodes, "episode")))


def remarks(row: Row) -> tuple[str, ...]:
    """What qualifies the row's numbers: what is missing, seen in training, looked at when settings were chosen, then its notes."""
    coverage = row.result.coverage
    missing = f"{coverage.expected - coverage.present} of {many(coverage.expected, 'mask')} missing, counted as 0"
    seen, validation = row.result.seen_clips, row.result.validation_clips
    contaminated = f"contaminated: {many(len(seen), 'clip')} of {row.clips} seen in training ({shortened(one_line(', '.join(seen)), 120)})"
    optimistic = f"optimistic: settings were chosen on {len(validation)} of {many(row.clips, 'clip')}"
    said = ((not row.complete, missing), (seen, contaminated), (validation, optimistic))
    return (*(sentence for holds, sentence in said if holds), *(one_line(note) for note in row.result.notes))


def ranked_by(by: str, group: str | None) -> str:
    """What the order of the rows means."""
    return f"Ranked by {by}" + (f" of {one_line(group)}" if group else "")


def how_sure(rows: Sequence[Row], group: str | None) -> str:
    """What brackets and noise groups mean, where the tables have them; ends in a space if it says anything."""
    said = ("" if group else INTERVALS, NOISE_GROUPS if any(row.noise_group for row in rows) else "")
    return "".join(f"{sentence} " for sentence in said if sentence)


def release(board: Leaderboard) -> str:
    """The release's name, version and short digest, by which two of one name are told apart."""
    return one_line(release_label(board.benchmark))


def many(number: int, word: str, several: str = "") -> str:
    """A number of things: ``1 clip``, ``2 clips``; `several` is the plural where it is another."""
    return f"{number} {word}" if number == 1 else f"{number} {several or word + 's'}"
