"""Between the rules and the release: the candidates that people look at, and the tubes that they leave in.

The set of candidates is what was reviewed, so it is what is frozen: a clip that has changed on disk since then, or a tube on
which reviewers do not agree, stays out with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from curation.candidates import CandidateSet, CandidateTube
from curation.freeze import fit_for_release, path_pattern
from curation.review.decisions import read_decisions
from curation.review.settle import Settled, Settlement, settle
from curation.rules import EVERY_INSTANCE, LeftOut, Verdict
from curation.sources.coco import Coco
from curation.tubes import Curated, Explained
from icvos.categories import BY_ID, BY_NAME
from icvos.errors import UserInputError
from icvos.files import AnyPath, map_files, sha256_file, sha256_text
from icvos.types import Clip, Tube

REVIEWED = "a person saw that every instance of the class is annotated on the first frame (paper, Section 3.2, first rule)"
GONE = "gone"


def clip_content(clip: Clip) -> str:
    """sha256 of a clip's masks and first picture: frame ids with the sha256 of each file, in order.

    A file that is gone, or cannot be read, makes another content.
    """
    masks = [frame.mask for frame in clip.frames]
    digests = map_files(_digest, [clip.frames[0].image, *masks])
    lines = [next(digests), *(f"{frame.id} {digest}" for frame, digest in zip(clip.frames, digests, strict=True))]
    return sha256_text("\n".join(lines))


def _digest(path: Path | None) -> str:
    try:
        return sha256_file(path) if path else "-"
    except OSError:
        return GONE


def candidate_tubes(
    curated: Curated, roots: Mapping[str, Path], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[CandidateTube]:
    """What the rules left in, as people are asked about it; every mask file is hashed, once a clip.

    Args:
        curated: the tubes, and what to warn of.
        roots: where the sources lie.
        on_progress: called with the tubes done and the tubes in all.

    Raises:
        DataError: a name cannot stand in a release, or files of a clip are not named alike.
    """
    ordered = sorted(curated.tubes, key=lambda tube: (tube.clip.key, tube.id))
    made: list[CandidateTube] = []
    for _, group in groupby(ordered, key=lambda tube: tube.clip.key):
        of_clip = list(group)
        clip = of_clip[0].clip
        content, root = clip_content(clip), roots[clip.source]
        with fit_for_release(clip):
            made += [_candidate_tube(tube, content, root, curated) for tube in of_clip]
        on_progress(len(made), len(ordered))
    return made


def _candidate_tube(tube: Tube, content: str, root: Path, curated: Curated) -> CandidateTube:
    frames = tube.clip.frames
    return CandidateTube(
        id=tube.id,
        source=tube.clip.source,
        clip=tube.clip.name,
        class_id=tube.category.id,
        objects=tube.instances,
        size=tube.clip.size,
        encoding=tube.clip.encoding,
        frames=tuple(frame.id for frame in frames),
        annotated=tuple(frame.mask is not None for frame in frames),
        image=path_pattern([(frame.id, frame.image) for frame in frames], root),
        mask=path_pattern([(frame.id, frame.mask) for frame in frames if frame.mask], root),
        content=content,
        warnings=curated.warnings.get(tube.id, ()),
    )


def reviews_of(decisions: AnyPath, candidates: CandidateSet) -> Settlement:
    """What the reviewers' file comes to; what could not be used of the file itself stands first among the findings.

    Raises:
        UserInputError: there is no such file, or it is about other candidates.
        DataError: it cannot be read.
    """
    decisions = Path(decisions)
    if not decisions.is_file():
        raise UserInputError("no such file of decisions", decisions, fix="check the path, or make it with `icvos review`")
    log = read_decisions(decisions)
    settlement = settle(log.decisions, candidates)
    return replace(settlement, findings=(*log.findings, *settlement.findings))


def accepted(candidates: CandidateSet, settlement: Settlement, pool: Coco) -> Curated:
    """The tubes that reviewers accepted, under the class that they gave; all others with the reason that keeps them out.

    Raises:
        UserInputError: it is not known where a source lies.
    """
    left_out: dict[str, LeftOut] = {}
    chosen: dict[str, list[tuple[CandidateTube, str]]] = {}  # id of the tube to be -> what it is made of, and its class
    changed = _changed(candidates)
    for tube, settled in zip(candidates.tubes, settlement.tubes, strict=True):
        if reason := _refusal(tube, settled, changed):
            left_out[tube.id] = LeftOut(f"{tube.source}/{tube.clip}", BY_ID[tube.class_id].name, *reason)
        else:
            target = f"{tube.source}/{tube.clip}/{BY_NAME[settled.class_name].slug}"
            chosen.setdefault(target, []).append((tube, settled.class_name))
    tubes, refused = [], dict(left_out)
    for target, parts in sorted(chosen.items()):
        class_name = parts[0][1]
        if refusal := _class_refusal(class_name, target in left_out, pool):
            refused |= {part.id: LeftOut(f"{part.source}/{part.clip}", BY_ID[part.class_id].name, *refusal) for part, _ in parts}
        else:
            tubes.append(_union([part for part, _ in parts], class_name, candidates))
    return Curated(tuple(sorted(tubes, key=lambda tube: tube.id)), tuple(refused[name] for name in sorted(refused)))


def _class_refusal(class_name: str, others_out: bool, pool: Coco) -> tuple[str, str] | None:
    """The rule and the reason that keep accepted objects out under the class that reviewers gave them, or None."""
    if others_out:
        return EVERY_INSTANCE, f"is {class_name} to the reviewers, and other {class_name} objects of the clip are not accepted"
    if not pool.candidates(BY_NAME[class_name])[0]:
        return "support", f"COCO has no usable support of {class_name} here"
    return None


def _changed(candidates: CandidateSet) -> set[str]:
    """The clips (source/name) whose files are not those that the reviewers saw."""
    first = {f"{tube.source}/{tube.clip}": tube for tube in candidates.tubes}
    return {key for key, tube in first.items() if clip_content(tube.tube(candidates.root(tube.source)).clip) != tube.content}


def _refusal(tube: CandidateTube, settled: Settled, changed: set[str]) -> tuple[str, str] | None:
    """The rule and the reason that keep a candidate out, or None."""
    if f"{tube.source}/{tube.clip}" in changed:
        return "unchanged", "the clip on disk is another one than the reviewers saw; review it again"
    return None if settled.outcome == "accepted" else (EVERY_INSTANCE, settled.reason)


def _union(parts: Iterable[CandidateTube], class_name: str, candidates: CandidateSet) -> Tube:
    """One tube of all objects that the reviewers say are of one class."""
    made = [part.tube(candidates.root(part.source)) for part in parts]
    return Tube(made[0].clip, BY_NAME[class_name], tuple(sorted({number for tube in made for number in tube.instances})))


def refuse_other_settings(candidates: CandidateSet, rules: Mapping[str, str], sources: Iterable[str]) -> None:
    """Refuse rules and sources that are not those of the reviewed set: what was reviewed is frozen, not something else.

    Raises:
        UserInputError: one differs (the message names it).
    """
    fix = "leave the option out, or make and review the candidates again"
    for name, said in rules.items():
        if candidates.rules.get(name) != said:
            what, found = f"the candidates were made with another `{name}`", candidates.rules.get(name, "none")
            raise UserInputError(what, candidates.path, found, said, fix)
    there = {tube.source for tube in candidates.tubes}
    if (asked := set(sources)) and there - asked:  # a source may well have given no candidate
        raise UserInputError(
            "the candidates are of other sources", candidates.path, ", ".join(sorted(there)), ", ".join(sorted(asked)), fix
        )


def with_reviews(explained: Iterable[Explained], decisions: Path | None, folder: Path | None = None) -> list[Explained]:
    """The same with what reviewers say as one more verdict: that every instance is annotated only a person can say.

    Args:
        explained: what the rules say.
        decisions: the reviewers' file, if there is one.
        folder: the candidates that it is about; by default those beside it.

    Raises:
        UserInputError: there are no candidates or no decisions, or the decisions are about others.
        DataError: a file cannot be read.
    """
    unasked = Verdict(EVERY_INSTANCE, None, "only a person can say; see `icvos build --candidates DIR` and `icvos build --decisions FILE`")
    said: dict[str, Verdict] = {}
    if decisions:
        for one in reviews_of(decisions, CandidateSet.open(folder or decisions.parent)).tubes:
            outcome = f"accepted as {one.class_name}" if one.outcome == "accepted" else one.reason
            said[one.tube] = Verdict(EVERY_INSTANCE, one.outcome == "accepted", outcome)
    return [replace(one, verdicts=(*one.verdicts, said.get(one.tube or "", unasked))) for one in explained]
