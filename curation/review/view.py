"""What one reviewer sees of a set of candidates, and may do: the review page's server asks here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from curation.candidates import CandidateSet, CandidateTube
from curation.review.agreement import Answers, State, agreements, answer_of, standing
from curation.review.decisions import Decision, DecisionReader, append_decisions, decide
from curation.review.pictures import Pictures, clip_type
from icvos.categories import BY_ID, CATEGORIES
from icvos.errors import Finding, UserInputError
from icvos.files import AnyPath


def refuse_nothing(candidates: CandidateSet) -> None:
    """Raise UserInputError where there is no tube to review."""
    if not candidates.tubes:
        fix = "see with `icvos build --dry-run` why each class of each clip is out"
        raise UserInputError("no candidates to review", candidates.path, "0 tubes", "one or more", fix)


class Review:
    """One reviewer's view of a set and its decisions; several may share the file."""

    def __init__(self, candidates: CandidateSet, decisions: AnyPath, reviewer: str) -> None:
        decisions = Path(decisions)
        refuse_nothing(candidates)
        self.candidates, self.decisions, self.reviewer = candidates, decisions, reviewer
        self.pictures = Pictures(candidates)
        self._reader = DecisionReader(decisions)
        self._reading = Lock()

    def log(self) -> tuple[Decision, ...]:
        """All decisions up to now, whoever took them."""
        with self._reading:
            return self._reader.read().decisions

    def standing(self) -> dict[str, Answers]:
        """What stands about each tube that somebody answered."""
        return standing(self.log(), self.candidates)[0]

    def findings(self) -> list[Finding]:
        """What could not be used of the file."""
        with self._reading:
            log = self._reader.read()
        return [*log.findings, *standing(log.decisions, self.candidates)[1]]

    def take(self, given: Mapping[str, Any]) -> str:
        """Keep a decision that the page sent; gives the tube that it was about.

        Raises:
            UserInputError: it is none, or it cannot be kept.
        """
        names = {"tube": str, "verdict": str, "reason": str, "class_name": str, "settles": bool}
        if not set(given) <= set(names) or any(not isinstance(value, names[name]) for name, value in given.items()):
            raise UserInputError("not a decision", found=", ".join(map(str, given)), expected=", ".join(names), fix="load the page again")
        tube, verdict, settles = given.get("tube", ""), given.get("verdict", ""), given.get("settles", False)
        if verdict == "undo" and not tube:
            tube, settles = self._last()
        more = {name: given[name] for name in ("reason", "class_name") if name in given}
        append_decisions(self.decisions, [decide(self.candidates, tube, verdict, self.reviewer, settles=settles, **more)])
        return str(tube)

    def _last(self) -> tuple[str, bool]:
        """The tube of this reviewer's last decision that still stands, and whether it settled a conflict."""
        left: list[Decision] = []
        for decision in self.log():
            if decision.reviewer != self.reviewer or decision.candidates != self.candidates.digest:
                continue
            if decision.verdict != "undo":
                left.append(decision)
                continue
            of_tube = [place for place, one in enumerate(left) if (one.tube, one.settles) == (decision.tube, decision.settles)]
            if of_tube:
                del left[of_tube[-1]]
        if not left:
            raise UserInputError("nothing to undo", self.reviewer, fix="decide first")
        return left[-1].tube, left[-1].settles


def set_facts(review: Review) -> dict[str, Any]:
    """All that does not change while the page is open."""
    return {
        "reviewer": review.reviewer,
        "rules": dict(review.candidates.rules),
        "classes": [category.name for category in CATEGORIES],
        "clip_type": clip_type(),
        "findings": [str(finding) for finding in review.findings()],
        "tubes": [_tube_facts(tube) for tube in review.candidates.tubes],
    }


def _tube_facts(tube: CandidateTube) -> dict[str, Any]:
    return {
        "id": tube.id,
        "source": tube.source,
        "clip": tube.clip,
        "class": BY_ID[tube.class_id].name,
        "objects": tube.objects,
        "size": tube.size,
        "frames": len(tube.frames),
        "annotated": sum(tube.annotated),
        "warnings": [warned.model_dump() for warned in tube.warnings],
    }


def answer_facts(answers: Answers, reviewer: str) -> dict[str, Any]:
    """What the page may know of a tube: what others said only where there is a conflict to settle, so that nobody is led."""
    mine = answers.by_reviewer.get(reviewer)
    is_open_to_all = bool(answers.settled) or answers.state == "conflict"
    shown = answers.by_reviewer if is_open_to_all else {}
    return {
        "state": answers.state if is_open_to_all or mine else "open",
        "reviewers": len(answers.by_reviewer),
        "mine": _decision_facts(mine) if mine else None,
        "others": [_decision_facts(decision) for _, decision in sorted(shown.items())],
        "settled": _decision_facts(answers.settled) if answers.settled else None,
    }


def _decision_facts(decision: Decision) -> dict[str, str]:
    return {name: getattr(decision, name) for name in ("reviewer", "verdict", "reason", "class_name", "when")}


def summary_facts(review: Review) -> dict[str, Any]:
    """How far everybody is, what it comes to, how well they agree, and which conflicts are left."""
    found = review.standing()
    states = Counter(answers.state for answers in found.values())
    states["open"] += len(review.candidates.tubes) - len(found)
    reviewers = Counter(reviewer for answers in found.values() for reviewer in answers.by_reviewer)
    return {
        "tubes": len(review.candidates.tubes),
        "states": {state: states[state] for state in get_args(State)},
        "reviewers": dict(sorted(reviewers.items())),
        "agreements": [asdict(pair) for pair in agreements(found)],
        "conflicts": {
            tube: {name: answer_of(decision) for name, decision in sorted(answers.by_reviewer.items())}
            for tube, answers in sorted(found.items())
            if answers.state == "conflict"
        },
        "findings": [finding.as_dict() for finding in review.findings()],
    }


def summary_text(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    states = ", ".join(f"{count} {state}" for state, count in facts["states"].items())
    lines = [f"{facts['tubes']} tubes: {states}"]
    lines += [f"{name} answered {count}" for name, count in facts["reviewers"].items()]
    for pair in facts["agreements"]:
        kappa = "not defined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
        lines.append(f"{pair['first']} and {pair['second']} agree on {pair['agreed']} of {pair['tubes']} tubes, Cohen's kappa {kappa}")
    for tube, said in facts["conflicts"].items():
        lines.append(f"conflict  {tube}  {', '.join(f'{name}: {answer}' for name, answer in said.items())}")
    lines += [f"{finding['where']}: found {finding['found']}, expected {finding['expected']}" for finding in facts["findings"]]
    return "\n".join(lines)
