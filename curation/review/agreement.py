"""What reviewers together say: each one's standing answers, where they differ, who settled it, and Cohen's kappa."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from curation.candidates import CandidateSet
from curation.review.decisions import Decision
from icvos.errors import Finding

State: TypeAlias = Literal["open", "accepted", "rejected", "unsure", "conflict"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What stands about one tube."""

    by_reviewer: Mapping[str, Decision]  # each one's last answer that was not taken back
    settled: Decision | None = None  # the last that settles a conflict

    @property
    def state(self) -> State:
        """What it comes to. Who is unsure stands in nobody's way; all others must say the same, unless one settled it."""
        if self.settled:
            return _STATES[self.settled.verdict]
        sure = {answer_of(decision): decision.verdict for decision in self.by_reviewer.values() if decision.verdict != "unsure"}
        if len(sure) > 1:
            return "conflict"
        return _STATES[next(iter(sure.values()))] if sure else "unsure" if self.by_reviewer else "open"


NO_ANSWERS = Answers({})
_STATES: dict[str, State] = {"accept": "accepted", "reject": "rejected", "unsure": "unsure"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two reviewers on the tubes that both answered; `kappa` is None where it is not defined (all answers are one)."""

    first: str
    second: str
    tubes: int
    agreed: int
    kappa: float | None


def answer_of(decision: Decision) -> str:
    """What two reviewers must say alike to agree: the verdict, with the other class if there is one; reasons may differ."""
    return f"accept as {decision.class_name}" if decision.verdict == "accept" and decision.class_name else decision.verdict


def standing(decisions: Iterable[Decision], candidates: CandidateSet) -> tuple[dict[str, Answers], list[Finding]]:
    """What stands about each tube that somebody answered, in the order of first answers, and what could not be used.

    Decisions about another set of candidates, known by its hash, do not count; they are told, one finding a set.
    """
    content = {tube.id: tube.content for tube in candidates.tubes}
    strangers: dict[str, int] = {}
    stacks: dict[tuple[str, bool, str], list[Decision]] = {}  # tube, whether it settles, reviewer
    settling: dict[str, list[Decision]] = {}  # by tube, of all reviewers in their order
    for decision in decisions:
        if decision.candidates != candidates.digest or content.get(decision.tube) != decision.content:
            strangers[decision.candidates] = strangers.get(decision.candidates, 0) + 1
            continue
        stack = stacks.setdefault((decision.tube, decision.settles, decision.reviewer), [])
        if decision.verdict != "undo":
            stack.append(decision)
            settling.setdefault(decision.tube, []).extend([decision] if decision.settles else [])
        elif stack:
            taken = stack.pop()
            if taken.settles:
                settling[decision.tube].remove(taken)
    answers: dict[str, dict[str, Decision]] = {}
    for (tube, settles, reviewer), stack in stacks.items():
        if not settles and stack:
            answers.setdefault(tube, {})[reviewer] = stack[-1]
    tubes = dict.fromkeys([*answers, *(tube for tube, taken in settling.items() if taken)])
    found = {tube: Answers(answers.get(tube, {}), last[-1] if (last := settling.get(tube)) else None) for tube in tubes}
    return found, [_stranger(candidates, digest, count) for digest, count in sorted(strangers.items())]


def _stranger(candidates: CandidateSet, digest: str, count: int) -> Finding:
    found = f"{count} decision{'s' if count > 1 else ''} about set {digest[:12]}…"
    return Finding("other-candidates", str(candidates.path), found, f"about {candidates.digest[:12]}…", "they do not count here")


def agreements(answers: Mapping[str, Answers]) -> list[Agreement]:
    """Every two reviewers who answered tubes in common, by their own answers; what settled a conflict is no answer."""
    reviewers = sorted({reviewer for tube in answers.values() for reviewer in tube.by_reviewer})
    found = []
    for first, second in combinations(reviewers, 2):
        both = [tube.by_reviewer for tube in answers.values() if first in tube.by_reviewer and second in tube.by_reviewer]
        pairs = [(answer_of(given[first]), answer_of(given[second])) for given in both]
        if pairs:
            agreed = sum(one == other for one, other in pairs)
            found.append(Agreement(first, second, len(pairs), agreed, cohens_kappa(pairs)))
    return found


def cohens_kappa(pairs: list[tuple[str, str]]) -> float | None:
    """Agreement beyond chance, (p_o - p_e) / (1 - p_e), of two raters' answers to the same questions; 1 is the most.

    None where both only ever gave one and the same answer, for which it is not defined (Cohen 1960).
    """
    count = len(pairs)
    names = {name for pair in pairs for name in pair}
    expected = sum(sum(a == name for a, _ in pairs) * sum(b == name for _, b in pairs) for name in names)
    if expected == count * count:
        return None
    observed = count * sum(a == b for a, b in pairs)
    return (observed - expected) / (count * count - expected)
