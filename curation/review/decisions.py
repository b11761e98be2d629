"""What reviewers decided: one line a decision, appended and synced at once, so that a crash loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["accept", "reject", "unsure", "undo"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of `decisions.jsonl`. The last of a reviewer about a tube counts; ``undo`` takes the one before back."""

    candidates: str  # sha256 of the candidates.json that was looked at
    tube: str  # source/clip/class
    content: str  # of the candidate: what its clip was when it was looked at
    verdict: Verdict
    reviewer: str
    when: str  # ISO 8601, UTC
    reason: str = ""  # of a reject
    class_name: str = ""  # with accept: the objects are of this class instead
