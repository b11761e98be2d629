"""Why a class of a clip is a tube of the benchmark or not: named predicates, each with its reason in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from curation.label_files import NONE
from curation.sources.scan import ClipScan
from icvos.types import Category, Clip, Instance

EVERY_INSTANCE = "every-instance"  # the rule that only a person can judge
FILES = "files"  # why a whole clip is out: its files are not all there, or cannot be used


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers in the rules."""

    min_area: float = 0.05  # percent of the first frame; 205 pixels at 480 x 854
    min_length: int = 5  # annotated frames that show the class


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word of one clip with its objects, before any rule has spoken."""

    clip: Clip
    label: str | None
    category: Category | None
    instances: tuple[Instance, ...]
    supports: int  # usable support images of the class
    scan: ClipScan  # of the clip
    disagreement: str = ""  # which of the clip's objects people call this, and do not agree on: who says what
    unnamed: tuple[int, ...] = ()  # other objects of the clip that nothing names

    @property
    def ids(self) -> tuple[int, ...]:
        """The object ids, sorted."""
        return tuple(instance.id for instance in self.instances)

    @property
    def name(self) -> str:
        """``source/clip/word``: what the candidate is called before it is a tube."""
        return f"{self.clip.key}/{self.category.slug if self.category else self.label or '?'}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A predicate with a name: `reason` says why a candidate is out, or None where it may stay.

    `of_class` marks those that can be asked only where the candidate has one of COCO's classes.
    """

    name: str
    summary: str
    reason: Callable[[Candidate], str | None]
    of_class: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one candidate: `reason` is empty where it may stay, or why it is out, or was not asked."""

    rule: str
    passed: bool | None  # None: not asked
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A candidate that a rule refused, or a whole clip whose files are faulty: that has no label."""

    clip: str
    label: str
    rule: str
    reason: str


def rules_with(limits: Limits = Limits()) -> tuple[Rule, ...]:
    """The rules with these numbers, in the order in which they are asked: the first refusal is the reason given.

    The two rules of the paper's Section 3.2 are `coco-class` and, as far as files can tell, `first-frame`; that *every*
    instance is annotated only a person can say (`EVERY_INSTANCE`).
    """
    small, short = f"{limits.min_area:g} % of the first frame", f"{limits.min_length} annotated frames"
    return (
        Rule("named", "a label names the objects, and nobody disagrees", _named),
        Rule("coco-class", "the class is one of COCO's 80 (paper, Section 3.2, second rule)", _coco_class),
        Rule("support", "COCO has at least one usable support of the class", _support, of_class=True),
        Rule("truth", "no truth is hidden: more than the first frame is annotated", _truth),
        Rule("first-frame", "the class is there on the first frame (paper, Section 3.2, first rule)", _first_frame),
        Rule("min-area", f"the class covers at least {small}", lambda candidate: _min_area(candidate, limits.min_area)),
        Rule("min-length", f"the class is to be seen on at least {short}", lambda candidate: _min_length(candidate, limits.min_length)),
    )


def verdicts(candidate: Candidate, rules: Iterable[Rule]) -> tuple[Verdict, ...]:
    """What every rule says, also those after the first refusal."""
    found = []
    for rule in rules:
        if rule.of_class and candidate.category is None:
            found.append(Verdict(rule.name, None, "there is no COCO class to ask about"))
        else:
            reason = rule.reason(candidate)
            found.append(Verdict(rule.name, reason is None, reason or ""))
    return tuple(found)


def judge(candidate: Candidate, rules: Iterable[Rule]) -> LeftOut | None:
    """The first rule that refuses a candidate, or None where it is in."""
    for rule in rules:
        if reason := rule.reason(candidate):
            return LeftOut(candidate.clip.key, candidate.label or "?", rule.name, reason)
    return None


def latecomers(candidate: Candidate) -> dict[int, str]:
    """The objects of the class that are not on the first frame -> where they are first seen.

    Nothing is wrong with them; but an object that comes late may have been in sight, and not annotated, before.
    """
    first = candidate.scan.frames[0] or {}
    seen = {number: candidate.scan.first_seen(number) for number in candidate.ids if number not in first}
    return {number: frame for number, frame in seen.items() if frame}


def _named(candidate: Candidate) -> str | None:
    if candidate.disagreement:  # also where other objects of the class are named well: not all of it would be in
        return f"labels do not agree: {candidate.disagreement}"
    if candidate.label is not None:
        return None
    if candidate.clip.encoding == "binary":
        return "the one mask of the clip merges objects of several classes"
    return f"object {', '.join(map(str, candidate.ids))} has no name in the label list"


def _coco_class(candidate: Candidate) -> str | None:
    if candidate.category:
        return None
    if candidate.label == NONE:
        return "labelled as none of COCO's 80 classes"
    return f"{candidate.label!r} is not one of COCO's 80 classes"


def _support(candidate: Candidate) -> str | None:
    return None if candidate.supports else "COCO has no usable support of the class here"


def _truth(candidate: Candidate) -> str | None:
    frames = candidate.clip.frames
    hidden = len(frames) > 1 and not any(frame.mask for frame in frames[1:])
    return f"of {len(frames)} frames only the first is annotated: the rest of the truth is hidden" if hidden else None


def _first_frame(candidate: Candidate) -> str | None:
    first = candidate.clip.frames[0]
    if first.mask is None:
        return "the first frame is not annotated"
    return None if candidate.scan.first_share(candidate.ids) != 0 else f"not there on the first frame {first.id}"


def _min_area(candidate: Candidate, percent: float) -> str | None:
    share = candidate.scan.first_share(candidate.ids)
    # A class that is not there at all has its own rule.
    if not share or 100 * share >= percent:
        return None
    return f"covers {100 * share:.2g} % of the first frame, less than {percent:g} %"


def _min_length(candidate: Candidate, frames: int) -> str | None:
    length = candidate.scan.length(candidate.ids)
    return None if length >= frames else f"to be seen on {length} annotated frames, fewer than {frames}"
