"""Where a score is lost: on the first frame, or by propagation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from icvos.results import Result, Scores, score_field


@dataclass(frozen=True, slots=True)
class Loss:
    """Where a score S falls short of 1, split in two ways, each of which adds up to 1 - S.

    By the first frame's own score: `on_first` = 1 - S(first frame), `afterwards` = S(first frame) - S. By the oracle, which is told
    the true first mask and propagates it: `propagation` = 1 - S(oracle), `first_frame` = S(oracle) - S; None without an oracle.
    `afterwards` and `first_frame` are below 0 where a method gets better after the first frame, or beats the oracle.
    """

    on_first: float
    afterwards: float
    propagation: float | None
    first_frame: float | None


def losses_of(result: Result, oracle: Result | None, by: str) -> dict[str, Loss]:
    """Tube id -> where it is lost in J&F, J or F; `oracle`, if there is one, is of the same tubes."""
    truth = {tube.id: tube.mean for tube in oracle.tubes} if oracle else {}
    return {tube.id: _loss(tube.mean, truth.get(tube.id), by) for tube in sorted(result.tubes, key=lambda tube: tube.id)}


def mean_loss(losses: Mapping[str, Loss]) -> Loss:
    """Part by part, the mean over tubes, of which there is at least one."""
    rows = list(losses.values())
    return Loss(
        on_first=_mean([row.on_first for row in rows]),
        afterwards=_mean([row.afterwards for row in rows]),
        propagation=_known_mean([row.propagation for row in rows]),
        first_frame=_known_mean([row.first_frame for row in rows]),
    )


def _loss(scores: Scores, oracle: Scores | None, by: str) -> Loss:
    score = getattr(scores, score_field(by))
    first = {"J&F": (scores.J_first + scores.F_first) / 2, "J": scores.J_first, "F": scores.F_first}[by]
    told = None if oracle is None else getattr(oracle, score_field(by))
    return Loss(1 - first, first - score, None if told is None else 1 - told, None if told is None else told - score)


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None
