"""Checks of how a method works: that it repeats itself, reads a clip as it goes, touches nothing, and runs anywhere."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from unittest import SkipTest

import numpy as np

from icvos.conformance.answers import Answer, answer, asked, fault, same
from icvos.conformance.scene import Question, Scene, write_support
from icvos.files import write_bytes
from icvos.png import encode_png
from icvos.registry import LoadedMethod, load_method
from icvos.types import Compute, Image, NeedsTruth, SegmentsTogether, Support

AHEAD = 32  # frames that a method may have taken beyond the one that it answers: a batch for a GPU, not a clip
TOLERANCE = 0.01  # the part of pixels that rounding may turn, between devices or batches
SETTLED, LONG = 200, 600  # frames after which memory is measured, and measured again
MORE_ARRAYS = 2 << 20  # bytes that Python and numpy may hold more of; the masks of 400 frames are 5 MB, the frames 15 MB
MORE_RESIDENT = 128 << 20  # bytes of the whole process, for what networks keep


def check_repeated(method: LoadedMethod, folder: Path) -> None:
    """The same question has the same answer, whatever was asked in between."""
    scene = Scene()
    question, other = (Question.about(scene, write_support(folder / f"support{draw}.png", draw)) for draw in range(2))
    before = answer(method, scene, question)
    answer(method, scene, other)
    if not same(before, answer(method, scene, question)):
        fix = "seed every generator anew for each clip, and keep nothing from one clip to the next"
        raise fault(method, "the same episode is answered differently", "other masks the second time", "the same", fix)


def check_together(method: LoadedMethod, folder: Path) -> None:
    """Episodes of a clip that are answered in one pass are answered as each alone, in the order of the episodes."""
    if not isinstance(method.segmenter, NeedsTruth | SegmentsTogether):
        raise SkipTest("it answers one episode at a time")
    scene = Scene()
    supports = [write_support(folder / f"support{draw}.png", draw) for draw in range(3)]
    questions = [Question((support,), scene.truth(2 * number)) for number, support in enumerate(supports)]
    together = list(zip(*asked(method, scene.frames(), questions), strict=True))
    for number, question in enumerate(questions):
        if (part := _differing(list(together[number]), answer(method, scene, question))) > TOLERANCE:
            fix = "keep what belongs to an episode apart, and yield masks in the order in which supports were given"
            found = f"{part:.1%} of its pixels differ"
            raise fault(method, f"episode {number} of three in one pass", found, "as when it is asked alone", fix)


def check_inputs(method: LoadedMethod, folder: Path) -> None:
    """Frames and supports are as they were when the method is done."""
    scene, support = Scene(), write_support(folder / "support.png")
    given, picture = list(scene.frames()), support.image.read_bytes()
    answer(method, scene, Question.about(scene, support), iter(given))
    for number, (frame, before) in enumerate(zip(given, scene.frames(), strict=True)):
        if not np.array_equal(frame, before):
            fix = "work on a copy (frame.copy()): other methods are handed the same array"
            raise fault(method, "a frame is changed in place", f"frame {number} with other pixels", "as it was handed over", fix)
    if support.image.read_bytes() != picture:
        raise fault(method, "the support's file is changed", support.image, "as it was", "write nothing into the data")


def check_reading_ahead(method: LoadedMethod, folder: Path) -> None:
    """A mask comes when its frame and at most a few more are read: never before it, and not when the clip has ended."""
    scene, taken = Scene(count=AHEAD + 8), _Counted()
    question = Question.about(scene, write_support(folder / "support.png"))
    for number, _ in enumerate(asked(method, taken.through(scene.frames()), [question])):
        if taken.count > number + 1 + AHEAD:
            fix = f"yield a mask before taking {AHEAD} more frames; never list(frames): a clip may have thousands"
            raise fault(method, f"frames read before mask {number}", taken.count, f"at most {number + 1 + AHEAD}", fix)
        if taken.count <= number:
            fix = "take the frame that a mask is about before yielding it"
            raise fault(method, f"mask {number} comes before its frame", f"{taken.count} frames read", number + 1, fix)


class _Counted:
    """Counts what is taken from a stream."""

    def __init__(self) -> None:
        self.count = 0

    def through(self, frames: Iterable[Image]) -> Iterator[Image]:
        """The frames, counted as they are taken."""
        for frame in frames:
            self.count += 1
            yield frame


def check_memory(method: LoadedMethod, folder: Path) -> None:
    """Between frame 200 and frame 600 of a clip nothing is piled up."""
    scene = Scene((96, 128), LONG)
    question = Question.about(scene, write_support(folder / "support.png"))
    held = {}
    with _traced():
        for number, _ in enumerate(asked(method, scene.frames(), [question]), 1):
            if number in (SETTLED, LONG):
                gc.collect()
                held[number] = (tracemalloc.get_traced_memory()[0], _resident_bytes())
    if len(held) < 2:
        raise fault(method, f"a clip of {LONG} frames", f"{number} masks", LONG, "yield one mask a frame")
    limits = (MORE_ARRAYS, MORE_RESIDENT)
    for before, after, most in zip(held[SETTLED], held[LONG], limits, strict=True):
        if after - before > most:
            found = f"{(after - before) / 1e6:.1f} MB more after frame {LONG} than after frame {SETTLED}"
            fix = "keep a window of frames, masks or features, not all of them"
            raise fault(method, "memory grows with the clip", found, f"at most {most / 1e6:.0f} MB", fix)


@contextmanager
def _traced() -> Iterator[None]:
    """Allocations are traced within the block, unless they are anyway."""
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        yield
    finally:
        if ours:
            tracemalloc.stop()


def _resident_bytes() -> int:
    """What this process holds now; 0 where the system does not say so by a file."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def check_no_truth(method: LoadedMethod, folder: Path) -> None:
    """No file of the data is looked at but the support's picture: the truth lies beside it, as on a user's disk."""
    root = (folder / "data").resolve()
    scene, support = Scene(count=3), write_support(root / "COCO/val2017/000000000001.png")
    for number in range(scene.count):
        write_bytes(root / f"DAVIS/Annotations/480p/clip/{number:05d}.png", encode_png(scene.truth(number)))
    watch = _Watch(root, support)
    sys.addaudithook(watch)
    try:
        with _environment("ICVOS_DATA", str(root)):
            answer(method, scene, Question.about(scene, support))
    finally:
        watch.over = True
    if watch.seen:
        fix = "work from the frames and supports that are handed over; open nothing else of a data set"
        raise fault(method, "the method looks at the data set", ", ".join(sorted(watch.seen)[:3]), "the support's picture alone", fix)


@dataclass(slots=True)
class _Watch:
    """An audit hook, which Python never lets go of: notes what is opened or listed below a folder, until it is over."""

    root: Path
    support: Support
    seen: set[str] = field(default_factory=set)
    over: bool = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.over or event not in {"open", "os.listdir", "os.scandir"} or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = Path(os.fsdecode(arguments[0])).resolve()
        if path.is_relative_to(self.root) and path != self.support.image:
            self.seen.add(path.relative_to(self.root).as_posix())


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def check_fresh_process(method: LoadedMethod, folder: Path) -> None:
    """A method that may run in parallel answers in a process of its own as it does here."""
    if not method.card.parallel:
        raise SkipTest("its card does not say parallel=True")
    support = write_support(folder / "support.png")
    given = (method.spec, method.compute, support)
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            there = pool.submit(answered, *given).result()
    except BrokenProcessPool as error:
        raise fault(method, "a process of the method died", error, "an answer", "see what ends it, or say parallel=False") from error
    if there != answered(*given):
        fix = "let nothing depend on the process (hash(), its id, the order of sets), or say parallel=False"
        raise fault(method, "another process answers differently", "other masks", "the same", fix)


def answered(spec: str, compute: Compute, support: Support) -> list[str]:
    """The hashes of what the method, loaded anew, answers."""
    scene = Scene()
    masks = answer(load_method(spec, compute), scene, Question.about(scene, support))
    return [sha256(np.ascontiguousarray(mask).tobytes()).hexdigest() for mask in masks]


def check_devices(method: LoadedMethod, folder: Path) -> None:
    """A GPU and the CPU answer alike, but for rounding."""
    if not gpu_is_there():
        raise SkipTest("no GPU here that torch can use")
    scene = Scene()
    question = Question.about(scene, write_support(folder / "support.png"))
    answers = [answer(load_method(method.spec, replace(method.compute, device=device)), scene, question) for device in ("cpu", "cuda")]
    if (part := _differing(*answers)) > TOLERANCE:
        fix = "compute in fp32 on both, and look for what is seeded or initialised on one device alone"
        raise fault(method, "the GPU answers differently", f"{part:.1%} of pixels differ", f"at most {TOLERANCE:.0%}", fix)


def gpu_is_there() -> bool:
    """Whether torch is installed and finds a GPU."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _differing(one: Answer, other: Answer) -> float:
    """The part of pixels that differ, in [0, 1]; all of them where masks are missing or of another size."""
    if [np.shape(mask) for mask in one] != [np.shape(mask) for mask in other] or not one:
        return 1.0
    return float(np.mean([np.mean(np.asarray(a) != np.asarray(b)) for a, b in zip(one, other, strict=True)]))
