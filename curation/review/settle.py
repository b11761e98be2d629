"""From what stands of reviewers' decisions to one verdict a tube, as a release needs it: with reasons, and with what cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from curation.candidates import CandidateSet, CandidateTube
from curation.review.agreement import NO_ANSWERS, Answers, standing
from curation.review.decisions import Decision
from icvos.categories import BY_ID
from icvos.errors import Finding, UserInputError

_REVIEW_THESE = "review the set that is to be frozen, or freeze the one that was reviewed"
Outcome: TypeAlias = Literal["accepted", "rejected", "unsure", "conflict", "undecided"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What all reviewers together say of one tube."""

    tube: str
    outcome: Outcome
    class_name: str = ""  # accepted: the class that its objects are of
    reason: str = ""  # why it is not accepted, in words


@dataclass(frozen=True, slots=True)
class Settlement:
    """Every tube's verdict, in the order of the candidates, and the decisions that could not be used."""

    tubes: tuple[Settled, ...]
    findings: tuple[Finding, ...]


def settle(decisions: Iterable[Decision], candidates: CandidateSet) -> Settlement:
    """One verdict a tube.

    The last decision of each reviewer counts. Who is unsure asks for another's opinion and stands in nobody's way; all others
    must agree, on the class too, or the tube is in conflict until one of them decides again, or somebody settles it.
    Decisions about another candidate set, about unknown tubes, or about other content are passed over and told.

    Raises:
        UserInputError: all decisions are about another candidate set.
    """
    known = {tube.id: tube for tube in candidates.tubes}
    decisions = list(decisions)
    if decisions and all(decision.candidates != candidates.digest for decision in decisions):
        found = ", ".join(sorted({decision.candidates[:12] for decision in decisions}))
        raise UserInputError("decisions about other candidates", candidates.path, found, candidates.digest[:12], _REVIEW_THESE)
    usable: list[Decision] = []
    findings: dict[Finding, None] = {}
    for decision in decisions:
        if fault := _fault(decision, candidates, known):
            findings[fault] = None
        else:
            usable.append(decision)
    answers = standing(usable, candidates)[0]
    settled = [_settled(tube, _counting(answers.get(tube.id, NO_ANSWERS))) for tube in candidates.tubes]
    return Settlement(tuple(settled), tuple(findings))


def _counting(answers: Answers) -> list[Decision]:
    """The decisions that count: one that settled a conflict stands above all others."""
    return [answers.settled] if answers.settled else list(answers.by_reviewer.values())


def _fault(decision: Decision, candidates: CandidateSet, known: dict[str, CandidateTube]) -> Finding | None:
    """Why a decision cannot be used, or None."""
    if decision.candidates != candidates.digest:
        found, expected = f"decisions of {decision.reviewer} on candidates {decision.candidates[:12]}", candidates.digest[:12]
        return Finding("other-candidates", str(candidates.path), found, expected, _REVIEW_THESE)
    if decision.tube not in known:
        return Finding("unknown-tube", decision.tube, f"a decision of {decision.reviewer}", "a tube of the set", "take the line out")
    if decision.content != known[decision.tube].content:
        return Finding("other-content", decision.tube, decision.content[:12], known[decision.tube].content[:12], "decide again")
    return None


def _settled(tube: CandidateTube, last: Sequence[Decision]) -> Settled:
    """What the reviewers' last decisions on a tube come to."""
    own = BY_ID[tube.class_id].name
    if not last:
        return Settled(tube.id, "undecided", reason="nobody has decided yet")
    sure = sorted((decision for decision in last if decision.verdict != "unsure"), key=lambda decision: decision.reviewer)
    if not sure:
        return Settled(tube.id, "unsure", reason=f"{_names(last)} unsure, and nobody else has decided")
    opinions = {(decision.verdict, (decision.class_name or own) if decision.verdict == "accept" else "") for decision in sure}
    if len(opinions) > 1:
        return Settled(tube.id, "conflict", reason=f"reviewers do not agree: {', '.join(_opinion(decision, own) for decision in sure)}")
    verdict, class_name = opinions.pop()
    if verdict == "accept":
        return Settled(tube.id, "accepted", class_name)
    said = "; ".join(dict.fromkeys(decision.reason for decision in sure if decision.reason))
    return Settled(tube.id, "rejected", reason=f"rejected by {_names(sure)}" + (f": {said}" if said else ""))


def _names(decisions: Iterable[Decision]) -> str:
    return ", ".join(sorted(decision.reviewer for decision in decisions))


def _opinion(decision: Decision, own: str) -> str:
    if decision.verdict != "accept":
        return f"{decision.reviewer} rejects"
    other = decision.class_name or own
    return f"{decision.reviewer} accepts" + (f" as {other}" if other != own else "")
