"""The checks: each asks a method one thing, and raises an error that says what its author should change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from unittest import SkipTest

import numpy as np

from icvos.conformance import habits
from icvos.conformance.answers import answer, asked, fault, takes_supports
from icvos.conformance.scene import SUPPORT_SIZE, Question, Scene, write_support
from icvos.errors import IcvosError
from icvos.handed_in.names import is_folder_name
from icvos.masks import encode_rle, size_text
from icvos.registry import LoadedMethod, load_method
from icvos.types import Mask

Check = Callable[[LoadedMethod, Path], None]  # of a method, with an empty folder for supports

ODD_SIZES = ((1, 37), (37, 1), (61, 23), (33, 47))
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_ONE_A_FRAME = "yield one (H, W) bool mask a frame, in order"


def check_masks(method: LoadedMethod, folder: Path) -> None:
    """One bool mask a frame, of the frame's size."""
    scene = Scene()
    question = Question.about(scene, write_support(folder / "support.png"))
    count = 0
    for (mask,) in asked(method, scene.frames(), [question]):
        if not isinstance(mask, np.ndarray):
            raise fault(method, "a mask is no array", type(mask).__name__, "a numpy array", _ONE_A_FRAME)
        if mask.dtype != np.bool_:
            raise fault(method, "masks of another type", mask.dtype, "bool", "yield `mask > threshold` or `mask.astype(bool)`")
        if mask.shape != scene.size:
            raise fault(method, "masks of another size", size_text(mask.shape), size_text(scene.size), _ONE_A_FRAME)
        count += 1
    if count != scene.count:
        raise fault(method, "not one mask a frame", f"{count} masks", f"{scene.count}, as there are frames", _ONE_A_FRAME)


def check_sizes(method: LoadedMethod, folder: Path) -> None:
    """Frames a pixel high or wide, portrait, and of odd sides are answered at their own size."""
    support = write_support(folder / "support.png")
    for size in ODD_SIZES:
        scene = Scene(size, 2)
        for mask in answer(method, scene, Question.about(scene, support)):
            if np.shape(mask) != size:
                fix = "resize masks to frame.shape[:2] (height first), whatever the sides"
                raise fault(method, f"frames of {size_text(size)}", f"a mask of {size_text(np.shape(mask))}", size_text(size), fix)


def check_one_frame(method: LoadedMethod, folder: Path) -> None:
    """A clip of a single frame has a single mask."""
    scene = Scene(count=1)
    found = answer(method, scene, Question.about(scene, write_support(folder / "support.png")))
    if len(found) != 1:
        raise fault(method, "a clip of one frame", f"{len(found)} masks", "1 mask", "yield a mask for frame 0 before asking for frame 1")


def check_empty_support(method: LoadedMethod, folder: Path) -> None:
    """A support without a pixel is answered, or refused by an error of icvos."""
    try:
        _answer_marked(method, folder, np.zeros(SUPPORT_SIZE, np.bool_), "a support whose mask is empty")
    except IcvosError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, IcvosError):
            raise


def check_one_pixel(method: LoadedMethod, folder: Path) -> None:
    """A support of a single pixel is answered."""
    mask = np.zeros(SUPPORT_SIZE, np.bool_)
    mask[24, 30] = True
    _answer_marked(method, folder, mask, "a support of one pixel")


def _answer_marked(method: LoadedMethod, folder: Path, mask: Mask, what: str) -> None:
    """Ask with a support that is marked so; a ceiling is told such a mask of frame 0."""
    scene = Scene(count=3)
    support = replace(write_support(folder / "support.png"), annotation=encode_rle(mask))
    first = mask[: scene.size[0], : scene.size[1]]
    if len(found := answer(method, scene, Question((support,), first))) != scene.count:
        raise fault(method, what, f"{len(found)} masks", f"{scene.count}", "yield an empty mask where nothing is found")


def check_five_supports(method: LoadedMethod, folder: Path) -> None:
    """Five supports are taken; what is made of them is the method's affair."""
    if not takes_supports(method):
        raise SkipTest("a ceiling is told the truth of frame 0 and looks at no support")
    scene = Scene(count=3)
    supports = [write_support(folder / f"support{draw}.png", draw) for draw in range(5)]
    found = answer(method, scene, Question.about(scene, *supports))
    if len(found) != scene.count:
        raise fault(method, "five supports", f"{len(found)} masks", f"{scene.count}", "take a sequence of one or more supports")


def check_card(method: LoadedMethod, folder: Path) -> None:
    """The card can be written to files and printed on boards, says what readers must know, and stays the same."""
    card = method.card
    try:
        first, second = (json.dumps(asdict(one)) for one in (card, load_method(method.spec, method.compute).card))
        json.dumps(asdict(card), ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise fault(method, "the card cannot be written", error, "texts of Unicode letters", "mend the card") from error
    if first != second:
        raise fault(method, "the card is another one each time", second, first, "make it of constants: runs are continued by it")
    if not is_folder_name(card.name):
        raise fault(method, "the card's name cannot be a folder", repr(card.name), "letters, digits, - and _", "rename it")
    for name in ("summary", "licence"):
        if not getattr(card, name).strip():
            raise fault(method, f"the card has no {name}", "nothing", "a few words", f"give MethodCard {name}=...")
    if card.weights != "none" and not _SHA256.search(card.weights):
        fix = "give MethodCard weights='NAME SHA256', so that a number is known to be theirs"
        raise fault(method, "the card's weights have no hash", repr(card.weights), "their name and sha256, or 'none'", fix)


CHECKS: dict[str, Check] = {
    "masks": check_masks,
    "sizes": check_sizes,
    "one-frame-clip": check_one_frame,
    "empty-support": check_empty_support,
    "support-of-one-pixel": check_one_pixel,
    "five-supports": check_five_supports,
    "card": check_card,
    "repeated": habits.check_repeated,
    "together": habits.check_together,
    "inputs-untouched": habits.check_inputs,
    "reading-ahead": habits.check_reading_ahead,
    "memory": habits.check_memory,
    "no-truth": habits.check_no_truth,
    "fresh-process": habits.check_fresh_process,
    "gpu-as-cpu": habits.check_devices,
}
