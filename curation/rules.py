"""Why a class of a clip is a tube of the benchmark or not: named predicates, each with its reason in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curation.sources.scan import ClipScan
from icvos.types import Category, Clip, Instance


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word of one clip with its objects, before any rule has spoken."""

    clip: Clip
    label: str | None
    category: Category | None
    instances: tuple[Instance, ...]
    supports: int  # usable support images of the class
    scan: ClipScan  # what the clip's masks show

    @property
    def ids(self) -> tuple[int, ...]:
        """The object ids, sorted."""
        return tuple(instance.id for instance in self.instances)


@dataclass(frozen=True, slots=True)
class Rule:
    """A predicate with a name: `reason` says why a candidate is out, or None where it may stay."""

    name: str
    summary: str
    reason: Callable[[Candidate], str | None]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A candidate that a rule refused."""

    clip: str
    label: str
    rule: str
    reason: str


def _named(candidate: Candidate) -> str | None:
    if candidate.label is not None:
        return None
    if candidate.clip.encoding == "binary":
        return "the one mask of the clip merges objects of several classes"
    return f"object {', '.join(map(str, candidate.ids))} has no name in the label list"


def _coco_class(candidate: Candidate) -> str | None:
    return None if candidate.category else f"{candidate.label!r} is not one of COCO's 80 classes"


def _support(candidate: Candidate) -> str | None:
    return None if candidate.supports else "COCO has no usable support of the class here"


def _first_frame(candidate: Candidate) -> str | None:
    shown = candidate.scan.frames[0]
    if shown is None:
        return "the first frame is not annotated"
    return None if any(number in shown for number in candidate.ids) else f"not there on the first frame {candidate.clip.frames[0].id}"


# In the order in which they are asked: the first refusal is the reason given. The two rules of the paper's Section 3.2
# are `coco-class` and, as far as files can tell, `first-frame`; that *every* instance is annotated only a person can say.
RULES = (
    Rule("named", "the label list names the objects", _named),
    Rule("coco-class", "the class is one of COCO's 80 (paper, Section 3.2, second rule)", _coco_class),
    Rule("support", "COCO has at least one usable support of the class", _support),
    Rule("first-frame", "the class is there on the first frame (paper, Section 3.2, first rule)", _first_frame),
)


def judge(candidate: Candidate) -> LeftOut | None:
    """The first rule that refuses a candidate, or None where it is in."""
    for rule in RULES:
        if reason := rule.reason(candidate):
            return LeftOut(candidate.clip.key, candidate.label or "?", rule.name, reason)
    return None
