"""What a method says of itself, checked: cards are printed on boards and written to files, and come from other people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, get_args

from icvos.categories import BY_NAME
from icvos.errors import did_you_mean
from icvos.types import Kind, MethodCard

CLIPS = frozenset({"training_clips", "validation_clips"})
LISTS = frozenset({"training_data", "training_classes", *CLIPS})
WORDS = tuple(field.name for field in fields(MethodCard) if field.name not in {*LISTS, "parallel"})

NOT_TOLD = "not told"  # among `training_data`: weights of a method that is trained, which do not say on what

_CLIP = re.compile(r"[^/]+/[^/]+")
_EVERY = "*"  # as a clip's name: all of its source


class CardFault(NamedTuple):
    """One field of a card that is not as it must be."""

    field: str
    found: str
    expected: str
    fix: str = "mend its card"


def card_faults(card: Mapping[str, Any]) -> Iterator[CardFault]:
    """Every fault of a card given as plain data. Fields that are left out have their defaults; only a name must be there."""
    for field in WORDS:
        if not isinstance(value := card.get(field, ""), str):
            yield CardFault(field, repr(value), "text")
    for field in sorted(LISTS):
        value = card.get(field, ())
        if not isinstance(value, tuple | list) or not all(isinstance(name, str) for name in value):
            yield CardFault(field, repr(value), "a list of texts")
        else:
            yield from _named(field, value)
    if not isinstance(value := card.get("parallel", False), bool):
        yield CardFault("parallel", repr(value), "True or False")
    if (kind := card.get("kind", "method")) not in get_args(Kind):
        yield CardFault("kind", repr(kind), " or ".join(get_args(Kind)))
    if isinstance(name := card.get("name", ""), str) and not name.strip():
        yield CardFault("name", repr(name), "a name")


def _named(field: str, names: Iterable[str]) -> Iterator[CardFault]:
    """Classes that COCO has not, and clips that are not named as clips are: they could never be found on a board."""
    for name in names:
        if field == "training_classes" and name not in BY_NAME:
            yield CardFault(field, repr(name), "names of COCO classes", did_you_mean(name, BY_NAME))
        if field in CLIPS and not _CLIP.fullmatch(name):
            yield CardFault(field, repr(name), "source/clip, or source/* for all of a source")


def seen_clips(card: Mapping[str, Any], clips: Iterable[str]) -> tuple[str, ...]:
    """Those of `clips` (``source/name``) that the method of this card has seen in training, sorted.

    Editions of a source share videos, so that ``davis/*`` covers clips of ``davis2016`` too.
    """
    return _named_clips(card, "training_clips", clips)


def validation_clips(card: Mapping[str, Any], clips: Iterable[str]) -> tuple[str, ...]:
    """Those of `clips` that were looked at while settings of the method of this card were chosen, sorted; as `seen_clips`."""
    return _named_clips(card, "validation_clips", clips)


def _named_clips(card: Mapping[str, Any], field: str, clips: Iterable[str]) -> tuple[str, ...]:
    named = {_of_any_edition(clip) for clip in card.get(field, ())}
    whole = {source for source, _, name in (clip.partition("/") for clip in named) if name == _EVERY}
    found = {clip: _of_any_edition(clip) for clip in clips}
    return tuple(sorted(clip for clip, key in found.items() if key in named or key.partition("/")[0] in whole))


def seen_in_training(card: Mapping[str, Any], category: str) -> str | None:
    """``seen`` or ``unseen``: whether the class was among those of training; None where the card does not name them."""
    classes = card.get("training_classes", ())
    return ("seen" if category in classes else "unseen") if classes else None


def seen_classes(card: Mapping[str, Any], categories: Iterable[str]) -> tuple[str, ...]:
    """Those of the classes that the method of this card has seen in training, in their order."""
    return tuple(category for category in categories if seen_in_training(card, category) == "seen")


def _of_any_edition(clip: str) -> str:
    source, _, name = clip.partition("/")
    return f"{source.rstrip('0123456789')}/{name}"
