"""Passes over a clip: each frame decoded once for all episodes that are answered together, of one method or of several."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path

import numpy as np

from icvos.errors import Finding, PluginError
from icvos.masks import read_tube_mask, size_text
from icvos.parallel import ahead
from icvos.plugins import plugin_items
from icvos.png import encode_png
from icvos.propagate.base import Propagated, followed, noticed
from icvos.results import Timing
from icvos.store import PredictionStore
from icvos.types import Clip, Episode, Frame, Image, Mask, NeedsTruth, Segmenter, SegmentsFiles, SegmentsTogether

_MEND = "mend the method, then run the same command again"
PREFETCH = 4  # frames decoded ahead of the methods


@dataclass(frozen=True, slots=True)
class Asked:
    """A method, the episodes of one clip that it is asked for, and where its answers go."""

    segmenter: Segmenter
    episodes: Sequence[Episode]
    store: PredictionStore

    @property
    def clip(self) -> Clip:
        """The clip."""
        return self.episodes[0].tube.clip


@dataclass(frozen=True, slots=True)
class ClipDone:
    """One clip is answered by one method: its key, its episodes, and the masks written."""

    clip: str
    episodes: int
    masks: int
    seconds: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Masks of one frame were written: of which clip, by which methods, and how many."""

    clip: str
    methods: str
    masks: int


OnWritten = Callable[[Written], None]


def answer_clip(asked: Sequence[Asked], on_written: OnWritten = lambda written: None) -> list[ClipDone]:
    """Let methods answer their episodes of one clip: in one pass those that can, in one pass an episode the others.

    Times are kept where a pass is one method's alone.

    Args:
        asked: all about the same clip.
        on_written: told of every frame's masks.

    Returns:
        What each did.

    Raises:
        PluginError: a method fails or breaks its contract.
        DataError: a frame is not the one that the release names.
    """
    started = time.perf_counter()
    findings: dict[int, list[Finding]] = {number: [] for number in range(len(asked))}
    for part in _passes(asked):
        pass_started = time.perf_counter()
        streams = _streams([one for _, one in part])
        _pass(streams, on_written)
        for episode_of, finding in (found for stream in streams for found in stream.noticed()):
            findings[next(number for number, one in part if one is episode_of)].append(finding)
        if len(part) == 1:
            _keep_times(part[0][1], time.perf_counter() - pass_started)
    seconds = time.perf_counter() - started
    return [
        ClipDone(one.clip.key, len(one.episodes), len(one.clip.frames) * len(one.episodes), seconds, tuple(findings[number]))
        for number, one in enumerate(asked)
    ]


def _passes(asked: Sequence[Asked]) -> list[list[tuple[int, Asked]]]:
    """Who goes over the clip together, each with its number: a method of one episode at a time is never interleaved."""
    able = [isinstance(one.segmenter, NeedsTruth | SegmentsTogether | SegmentsFiles) for one in asked]
    together = [(number, one) for number, one in enumerate(asked) if able[number]]
    slow = [(number, one) for number, one in enumerate(asked) if not able[number]]
    apart = [[(number, replace(one, episodes=[episode]))] for number, one in slow for episode in one.episodes]
    return [*([together] if together else []), *apart]


@dataclass(frozen=True, slots=True)
class _Stream:
    """Methods whose masks come from one iterator."""

    parts: list[Asked]

    @property
    def name(self) -> str:
        """The methods'."""
        return " and ".join(part.segmenter.card.name for part in self.parts)

    @property
    def episodes(self) -> list[Episode]:
        """All that are answered, in order."""
        return [episode for part in self.parts for episode in part.episodes]

    def masks(self, frames: Iterable[Image]) -> Iterator[tuple[Mask, ...]]:
        """One mask an episode for each frame."""
        segmenter = self.parts[0].segmenter
        supports = [episode.supports for episode in self.episodes]
        if len(self.parts) > 1:
            joined = [(part.segmenter, [episode.supports for episode in part.episodes]) for part in self.parts]
            return followed(frames, [(one, given) for one, given in joined if isinstance(one, Propagated)])
        if isinstance(segmenter, NeedsTruth):
            return segmenter.segment_from_truth(frames, [_first_truth(episode) for episode in self.episodes])
        if isinstance(segmenter, SegmentsFiles):
            return segmenter.segment_files(_untold(self.parts[0].clip), {episode.id: episode.supports for episode in self.episodes})
        if isinstance(segmenter, SegmentsTogether):
            return segmenter.segment_together(frames, supports)
        return ((mask,) for mask in segmenter.segment(frames, supports[0]))

    def noticed(self) -> Iterator[tuple[Asked, Finding]]:
        """What there was to notice, each with whom it concerns and where."""
        owners = [(part, episode) for part in self.parts for episode in part.episodes]
        first = self.parts[0].segmenter
        if len(self.parts) == 1 or not isinstance(first, Propagated):
            found = noticed(first)
        else:
            halves = [noticed(part.segmenter.prompter) for part in self.parts if isinstance(part.segmenter, Propagated)]
            before = np.cumsum([0, *(len(part.episodes) for part in self.parts)])
            found = [(int(start) + number, finding) for start, half in zip(before, halves, strict=False) for number, finding in half]
            found += noticed(first.propagator)
        for number, finding in found:
            part, episode = owners[number]
            yield part, replace(finding, where=episode.id)


def _streams(asked: Sequence[Asked]) -> list[_Stream]:
    """Who shares a propagator."""
    streams: list[_Stream] = []
    for one in asked:
        for stream in streams:
            first = stream.parts[0].segmenter
            if isinstance(one.segmenter, Propagated) and isinstance(first, Propagated) and one.segmenter.join(first):
                stream.parts.append(one)
                break
        else:
            streams.append(_Stream([one]))
    return streams


def _pass(streams: Sequence[_Stream], on_written: OnWritten) -> None:
    clip = streams[0].parts[0].clip
    with ExitStack() as stack:
        frames = stack.enter_context(closing(ahead(Frame.read_image, clip.frames, PREFETCH, threads=2)))
        # In step, so that a frame is let go of when the last has taken it.
        answers = [_guarded(stream, clip, feed) for stream, feed in zip(streams, tee(frames, len(streams)), strict=True)]
        writers = [
            [stack.enter_context(part.store.writer(episode.id)) for part in stream.parts for episode in part.episodes] for stream in streams
        ]
        for frame in clip.frames:
            for stream, answer, files in zip(streams, answers, writers, strict=True):
                _write(stream, clip, frame, next(answer, ()), files)
                on_written(Written(clip.key, stream.name, len(files)))
        for stream, answer in zip(streams, answers, strict=True):
            if any(True for _ in answer):
                raise _broken(stream, clip, f"after the last, {clip.frames[-1].id}", "another mask", f"{len(clip.frames)} in all")


def _write(stream: _Stream, clip: Clip, frame: Frame, masks: object, writers: Sequence[Callable[[str, bytes], None]]) -> None:
    if not isinstance(masks, tuple | list) or len(masks) != len(writers):
        raise _broken(stream, clip, frame.id, _how_many(masks), _how_many(writers))
    packed: dict[int, bytes] = {}  # one array for several episodes is packed once
    for write, mask in zip(writers, masks, strict=True):
        if id(mask) not in packed:
            _check(stream, clip, frame.id, mask)
            packed[id(mask)] = encode_png(mask)
        write(frame.id, packed[id(mask)])


def _keep_times(one: Asked, seconds: float) -> None:
    peak = one.segmenter.peak_bytes if isinstance(one.segmenter, SegmentsFiles) else peak_rss_bytes()
    for episode in one.episodes:
        one.store.write_timing(episode.id, Timing(len(one.clip.frames), seconds / len(one.episodes), peak))


def _untold(clip: Clip) -> Clip:
    """The clip without its annotations."""
    return replace(clip, frames=tuple(replace(frame, mask=None, mask_sha256="") for frame in clip.frames))


def _first_truth(episode: Episode) -> Mask:
    clip = episode.tube.clip
    mask = read_tube_mask(episode.tube, clip.frames[0])
    return np.zeros(clip.size, np.bool_) if mask is None else mask


def _guarded(stream: _Stream, clip: Clip, frames: Iterable[Image]) -> Iterator[tuple[Mask, ...]]:
    """What methods yield; what they raise, when they are called or later, becomes an error that names them."""
    return plugin_items(lambda: stream.masks(frames), "the method failed", f"{stream.name} on {clip.key}", fix=_MEND)


def _how_many(masks: object) -> str:
    if not isinstance(masks, tuple | list):
        return type(masks).__name__
    return "no mask" if not masks else "1 mask" if len(masks) == 1 else f"{len(masks)} masks"


def _check(stream: _Stream, clip: Clip, frame_id: str, mask: object) -> None:
    if not isinstance(mask, np.ndarray):
        raise _broken(stream, clip, frame_id, type(mask).__name__, "a numpy array")
    if mask.shape != clip.size:
        raise _broken(stream, clip, frame_id, f"a mask of {size_text(mask.shape)}", size_text(clip.size))
    if mask.dtype != np.bool_:
        raise _broken(stream, clip, frame_id, f"a mask of {mask.dtype}", "bool")


def _broken(stream: _Stream, clip: Clip, frame_id: str, found: str, expected: str) -> PluginError:
    where = f"{stream.name} on {clip.key}, frame {frame_id}"
    return PluginError("the method broke its contract", where, found, expected, "one (H, W) bool mask a frame, in order; mend the method")


def peak_rss_bytes() -> int:
    """The largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage also counts the size that the parent had when this process was born
        peaks = [int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if peaks:
            return peaks[0]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
