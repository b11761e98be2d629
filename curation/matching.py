"""The clips of an official tree, matched to the sources that they were made of: by the bytes of their frames, and never by guess.

A published tree names neither source nor object ids, and may have its frames numbered anew. Where a source lies on disk, its
files are hashed against the tree's. A clip is named by its source when every frame is a file of one of the source's clips, in
that clip's order, and every mask is exactly the union of some of its objects. Everything else stays what it is, and is told.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curation.sources.scan import VOID
from curation.sources.tree import whole_clips
from icvos.files import map_files, sha256_file
from icvos.masks import foreground_values, read_ids, read_tube_mask
from icvos.types import Clip, Frame, Source, Tube

_SHARED_SIZES = 3  # so many files of equal length make a clip worth hashing; fewer are chance in a large tree


@dataclass(frozen=True, slots=True)
class Match:
    """What became of one clip of the tree."""

    clip: str  # its key in the tree
    source_clip: str  # the source's clip that has most of its frames, or "" where none has any
    frames: int
    matched: int  # of them, those whose bytes are a frame of `source_clip`, in its order
    reason: str  # why the clip keeps the tree's name; "" where it is named by its source

    def as_dict(self) -> dict[str, object]:
        """The same as plain data, for ``--json``."""
        return {name: getattr(self, name) for name in ("clip", "source_clip", "frames", "matched", "reason")}


def match_sources(
    tubes: Sequence[Tube], sources: Iterable[Source], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[Tube], list[Match]]:
    """Name the tubes by their sources where that is certain.

    Args:
        tubes: of an official tree, as `curation.layout.read_official_tree` gives them.
        sources: where to look; of clips that several have byte for byte, the source named first has it.
        on_progress: told the clips done and the clips in all.

    Returns:
        The tubes, sorted by id, those of matched clips now of the source's clip, files and object ids; and one match a clip.

    Raises:
        DataError: a source or a file cannot be read.
    """
    clips: dict[str, list[Tube]] = defaultdict(list)
    for tube in tubes:
        clips[tube.clip.key].append(tube)
    worth = _worth_hashing([group[0].clip for group in clips.values()], sources)
    certain: list[_Certain] = []
    told: dict[str, Match] = {}
    for done, (key, group) in enumerate(sorted(clips.items()), 1):
        found, told[key] = _compare(group, worth.get(key, []))
        certain.extend(found)
        on_progress(done, len(clips))
    given = _give_names(certain)
    owners = {one.source_clip: one.clip for one in given.values()}
    for one in certain:
        if one.clip not in given:
            told[one.clip] = replace(told[one.clip], reason=f"{owners[one.source_clip]} is that clip already")
    named = [tube for key, group in clips.items() for tube in (given[key].tubes if key in given else group)]
    matches = [replace(told[key], source_clip=given[key].source_clip) if key in given else told[key] for key in sorted(clips)]
    return sorted(named, key=lambda tube: tube.id), matches


@dataclass(frozen=True, slots=True)
class _Certain:
    """A clip of the tree that may have a source's clip's name: all its frames and masks are that clip's."""

    clip: str
    source_clip: str
    left_over: int  # frames of the source's clip that the tree's does not have
    tubes: tuple[Tube, ...]  # of the source's clip


def _give_names(certain: Sequence[_Certain]) -> dict[str, _Certain]:
    """For each clip one name, and each name once: those that leave the fewest frames over choose first, then by the tree's names."""
    given: dict[str, _Certain] = {}
    taken: set[str] = set()
    for one in sorted(certain, key=lambda one: (one.left_over, one.clip)):  # a stable sort: the source named first stays first
        if one.clip not in given and one.source_clip not in taken:
            given[one.clip] = one
            taken.add(one.source_clip)
    return given


def _worth_hashing(clips: Sequence[Clip], sources: Iterable[Source]) -> dict[str, list[Clip]]:
    """For each clip of the tree the sources' clips that share lengths of files with it: a look at the folders, nothing is read."""
    with_length: dict[int, set[str]] = defaultdict(set)
    enough = {}
    for clip in clips:
        lengths = {_length(frame.image) for frame in clip.frames}
        enough[clip.key] = min(_SHARED_SIZES, len(lengths))
        for length in lengths:
            with_length[length].add(clip.key)
    worth: dict[str, list[Clip]] = defaultdict(list)
    for source in sources:
        for candidate in whole_clips(source):
            shared = Counter(key for length in {_length(frame.image) for frame in candidate.frames} for key in with_length.get(length, ()))
            for key, count in shared.items():
                if count >= enough[key]:
                    worth[key].append(candidate)
    return worth


def _length(path: Path) -> int:
    return path.stat().st_size


def _compare(tubes: Sequence[Tube], candidates: Sequence[Clip]) -> tuple[list[_Certain], Match]:
    """The candidates that one clip certainly is; and what to say of the one with most of its frames."""
    clip = tubes[0].clip
    hashes = list(map_files(sha256_file, [frame.image for frame in clip.frames])) if candidates else []
    certain = []
    best = Match(clip.key, "", len(clip.frames), 0, "no clip of the sources has more than a file or two of it")
    for candidate in candidates:
        places = _places(hashes, clip, candidate)
        frames = [candidate.frames[place] for place in places if place is not None]
        reason = "not every frame is in the source's clip, in its order"
        if len(frames) == len(places):
            renamed = [_renamed(tube, candidate, frames) for tube in tubes]
            lost = [tube.category.name for tube, new in zip(tubes, renamed, strict=True) if new is None]
            reason = f"the masks of {', '.join(lost)} are no union of the source's objects" if lost else ""
            if not lost:
                whole = tuple(tube for tube in renamed if tube)
                certain.append(_Certain(clip.key, candidate.key, len(candidate.frames) - len(frames), whole))
        if len(frames) > best.matched or (not reason and best.reason):
            best = Match(clip.key, candidate.key, len(places), len(frames), reason)
    return certain, best


def _places(hashes: Sequence[str], clip: Clip, candidate: Clip) -> list[int | None]:
    """For each frame of `clip` the place of the same file in `candidate`, each after the one before; None where there is none."""
    lengths = {_length(frame.image) for frame in clip.frames}
    alike = [(place, frame.image) for place, frame in enumerate(candidate.frames) if _length(frame.image) in lengths]
    where: dict[str, list[int]] = defaultdict(list)  # a clip may show one picture twice
    for (place, _), digest in zip(alike, map_files(sha256_file, [image for _, image in alike]), strict=True):
        where[digest].append(place)
    places: list[int | None] = []
    last = -1
    for digest in hashes:
        later = where[digest][bisect_right(where[digest], last) :]
        places.append(later[0] if later else None)
        last = later[0] if later else last
    return places


def _renamed(tube: Tube, candidate: Clip, frames: Sequence[Frame]) -> Tube | None:
    """The tube as one of the source's clip, or None where its masks are no union of the clip's objects."""
    pairs = list(zip(tube.clip.frames, frames, strict=True))
    own = tuple(replace(theirs, mask=theirs.mask if ours.mask else None) for ours, theirs in pairs)
    if any((ours.mask is None) != (theirs.mask is None) for ours, theirs in zip(tube.clip.frames, own, strict=True)):
        return None
    objects = _union_of(tube, candidate, own)
    return Tube(replace(candidate, frames=own), tube.category, objects) if objects else None


def _union_of(tube: Tube, candidate: Clip, frames: Sequence[Frame]) -> tuple[int, ...]:
    """The ids of the source whose union each mask of the tube is, pixel for pixel; none where there are no such."""
    inside, outside = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
    for ours, theirs in zip(tube.clip.frames, frames, strict=True):
        if ours.mask is None or theirs.mask is None:
            continue
        mask, ids = read_tube_mask(tube, ours), read_ids(theirs.mask)
        if candidate.encoding == "binary":
            ids = foreground_values((1,), "binary")[ids].astype(np.uint8)
        if mask is None or mask.shape != ids.shape:
            return ()
        inside[ids[mask]] = True
        outside[ids[~mask]] = True
        if (inside & outside).any():
            return ()
    return tuple(np.flatnonzero(inside).tolist()) if not inside[0] and not inside[VOID] else ()


def describe(matches: Sequence[Match]) -> Iterator[str]:
    """One line a clip for people, and one for all."""
    for match in matches:
        found = f"{match.matched} of {match.frames} frames in {match.source_clip}" if match.source_clip else f"0 of {match.frames} frames"
        yield f"{'named' if not match.reason else 'kept '}  {match.clip}  {found}{f': {match.reason}' if match.reason else ''}"
    yield f"{sum(not match.reason for match in matches)} of {len(matches)} clips named by their sources"


def roots_in_use(tubes: Iterable[Tube], roots: Mapping[str, Path]) -> dict[str, Path]:
    """Of these roots those of sources that tubes are of."""
    used = {tube.clip.source for tube in tubes}
    return {name: root for name, root in roots.items() if name in used}
