"""Asking a method as the runner does, and what goes wrong while it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from icvos.conformance.scene import Question, Scene
from icvos.errors import PluginError
from icvos.plugins import plugin_items
from icvos.registry import LoadedMethod
from icvos.types import Image, NeedsTruth, SegmentsTogether

Answer = list[Any]  # one thing a frame, a mask if the method keeps its contract


def asked(method: LoadedMethod, frames: Iterable[Image], questions: Sequence[Question]) -> Iterator[tuple[Any, ...]]:
    """What the method yields for each frame, one answer a question; several questions only where it can take them together.

    Raises:
        PluginError: the method raises anything that is no error of icvos, or not as many answers come as there are questions.
    """
    fix = "mend the method; what it cannot answer, it may refuse with an icvos.errors.IcvosError"
    for answers in plugin_items(lambda: _stream(method, frames, questions), "the method failed", method.spec, fix=fix):
        if not isinstance(answers, tuple | list) or len(answers) != len(questions):
            found = f"{len(answers)}" if isinstance(answers, tuple | list) else type(answers).__name__
            raise fault(method, "segment_together answers not every episode", found, len(questions), "yield one mask an episode")
        yield tuple(answers)


def _stream(method: LoadedMethod, frames: Iterable[Image], questions: Sequence[Question]) -> Iterator[Any]:
    segmenter = method.segmenter
    if isinstance(segmenter, NeedsTruth):
        return segmenter.segment_from_truth(frames, [question.first for question in questions])
    if isinstance(segmenter, SegmentsTogether):
        return segmenter.segment_together(frames, [question.supports for question in questions])
    return ((mask,) for mask in segmenter.segment(frames, questions[0].supports))


def answer(method: LoadedMethod, scene: Scene, question: Question, frames: Iterable[Image] | None = None) -> Answer:
    """All that the method answers to one question about a scene; `frames` in the place of the scene's own."""
    return [masks[0] for masks in asked(method, scene.frames() if frames is None else frames, [question])]


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are alike, pixel by pixel."""
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def takes_supports(method: LoadedMethod) -> bool:
    """Whether it looks at supports; a ceiling is told the mask of frame 0 in their place."""
    return not isinstance(method.segmenter, NeedsTruth)


def fault(method: LoadedMethod, what: str, found: object, expected: object, fix: str) -> PluginError:
    """The error for a method that does not conform."""
    return PluginError(what, method.spec, found, expected, fix)
