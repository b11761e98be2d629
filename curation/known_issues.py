"""Known faults of the sources' truth: facts with their origin, carried into every release that has such a clip.

`data/known_issues.json` starts with the frames of MOSE on which its mask is empty while OVIS, whose annotation of the same
video is aligned frame by frame, has an object: one of the two is wrong, or MOSE left an object out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from icvos.benchmark import KnownIssue
from icvos.files import parse_json
from icvos.types import Tube


@cache
def known_issues() -> tuple[KnownIssue, ...]:
    """The shipped issues."""
    name = "known_issues.json"
    data = parse_json((files("curation") / "data" / name).read_bytes(), Path(name))
    return tuple(
        KnownIssue(kind=group["kind"], note=group["note"], origin=group["origin"], **issue) for group in data for issue in group["issues"]
    )


def carried(issues: Iterable[KnownIssue], tubes: Iterable[Tube]) -> tuple[KnownIssue, ...]:
    """The issues that touch these tubes, with only the frames and classes that they have; sorted."""
    clips: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for tube in tubes:
        frames, classes = clips.setdefault((tube.clip.source, tube.clip.name), (set(), set()))
        frames.update(frame.id for frame in tube.clip.frames)
        classes.add(tube.category.name)
    kept = []
    for issue in issues:
        frames, classes = clips.get((issue.source, issue.clip), (set(), set()))
        ours = issue.model_copy(
            update={
                "frames": tuple(sorted(frames & set(issue.frames))),
                "classes": tuple(sorted(classes & set(issue.classes))),
            }
        )
        # An issue that named frames or classes, and has none of them left, is none of this release.
        if frames and bool(ours.frames) == bool(issue.frames) and bool(ours.classes) == bool(issue.classes):
            kept.append(ours)
    return tuple(sorted(kept, key=lambda issue: (issue.source, issue.clip, issue.kind, issue.frames, issue.classes)))
