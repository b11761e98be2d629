"""The frozen release: hashes of every file, and supports drawn so that nothing but the seed and the tube decides them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from curation.sources.coco import Candidate, Coco
from icvos.benchmark import (
    Benchmark,
    ClipRecord,
    EpisodeRecord,
    Manifest,
    SourceRecord,
    SupportRecord,
    TubeRecord,
    write_release,
)
from icvos.errors import DataError
from icvos.files import sha256_file, sha256_text
from icvos.types import Category, Tube

DRAWS = 5
SEED = "icvos"
OnProgress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a release says besides its files' hashes."""

    name: str
    version: str
    seed: str
    rules: Mapping[str, str]
    sources: Mapping[str, SourceRecord]
    roots: Mapping[str, Path]  # of every source, and of the supports under "coco"


def freeze(out: Path, draft: Draft, tubes: Sequence[Tube], pool: Coco, on_progress: OnProgress = lambda done, total: None) -> Benchmark:
    """Hash every file, draw the supports, and write the release into the folder `out`.

    The same draft, tubes and files give the same bytes, whatever the order of the file system and however many cores.

    Raises:
        DataError: there is no tube, or a file cannot be read.
        UserInputError: `out` holds another release.
    """
    if not tubes:
        raise DataError(
            "no tube qualifies", out, expected="at least one class of one clip", fix="run `icvos build --dry-run` to see why each is out"
        )
    supports = draw_supports(tubes, pool, draft.seed)
    hashes = _hash_all(_files(tubes, supports, pool), on_progress)
    ordered = sorted(tubes, key=lambda tube: (tube.clip.key, tube.id))
    clips = [_clip_record(list(group), draft.roots, hashes) for _, group in groupby(ordered, key=lambda tube: tube.clip.key)]
    manifest = Manifest(
        format="icvos-release/1",
        name=draft.name,
        version=draft.version,
        seed=draft.seed,
        draws=DRAWS,
        rules=dict(draft.rules),
        sources=dict(sorted(draft.sources.items())),
        clips=tuple(clips),
    )
    records = [
        EpisodeRecord(id=f"{tube.id}#s{draw}", supports=(_support_record(candidate, pool, hashes),))
        for tube in ordered
        for draw, candidate in enumerate(supports[tube.id])
    ]
    return write_release(out, manifest, records, draft.roots)


def draw_supports(tubes: Iterable[Tube], pool: Coco, seed: str) -> dict[str, tuple[Candidate, ...]]:
    """Five supports a tube: the usable images of its class in the order of a hash of seed, tube and image.

    Adding clips, tubes or even images never moves the order of the others. Where the pool has fewer than five images of
    a class, they are taken round again, so that every tube has five draws.
    """
    usable: dict[Category, list[Candidate]] = {}
    drawn = {}
    for tube in tubes:
        if tube.category not in usable:
            usable[tube.category] = pool.candidates(tube.category)[0]
        candidates = usable[tube.category]
        if not candidates:
            raise DataError(
                "no usable support", tube.id, f"no image of {tube.category.name} in {pool.path}", fix="give the full COCO val set"
            )
        order = sorted(candidates, key=lambda candidate: sha256_text(f"{seed}|{tube.id}|{candidate.image_id}"))
        drawn[tube.id] = tuple(order[draw % len(order)] for draw in range(DRAWS))
    return drawn


def _files(tubes: Iterable[Tube], supports: Mapping[str, Sequence[Candidate]], pool: Coco) -> list[Path]:
    files = {frame.image for tube in tubes for frame in tube.clip.frames}
    files |= {frame.mask for tube in tubes for frame in tube.clip.frames if frame.mask}
    files |= {pool.root / candidate.file for drawn in supports.values() for candidate in drawn}
    return sorted(files)


def _hash_all(files: Sequence[Path], on_progress: OnProgress) -> dict[Path, str]:
    hashes = {}
    # Reading and sha256 both let go of the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (path, digest) in enumerate(zip(files, pool.map(sha256_file, files), strict=True), 1):
            hashes[path] = digest
            on_progress(done, len(files))
    return hashes


def _clip_record(tubes: Sequence[Tube], roots: Mapping[str, Path], hashes: Mapping[Path, str]) -> ClipRecord:
    clip = tubes[0].clip
    root = roots[clip.source]
    return ClipRecord(
        source=clip.source,
        name=clip.name,
        size=clip.size,
        frames=tuple(frame.id for frame in clip.frames),
        image=_pattern([(frame.id, frame.image) for frame in clip.frames], root),
        image_sha256=tuple(hashes[frame.image] for frame in clip.frames),
        tubes=tuple(_tube_record(tube, root, hashes) for tube in tubes),
    )


def _tube_record(tube: Tube, root: Path, hashes: Mapping[Path, str]) -> TubeRecord:
    frames = tube.clip.frames
    return TubeRecord(
        class_id=tube.category.id,
        class_name=tube.category.name,
        objects=tube.instances,
        encoding=tube.clip.encoding,
        mask=_pattern([(frame.id, frame.mask) for frame in frames if frame.mask], root),
        mask_sha256=tuple(hashes[frame.mask] if frame.mask else None for frame in frames),
    )


def _pattern(files: Sequence[tuple[str, Path]], root: Path) -> str:
    """The one path below `root` that gives each file when ``{}`` stands for the frame's id."""
    frame_id, first = files[0]
    pattern = first.relative_to(root).with_name(first.name.replace(frame_id, "{}", 1)).as_posix()
    for name, path in files:
        if root / pattern.replace("{}", name) != path:
            raise DataError("files of one clip that are not named alike", path, expected=pattern, fix="rename them")
    return pattern


def _support_record(candidate: Candidate, pool: Coco, hashes: Mapping[Path, str]) -> SupportRecord:
    return SupportRecord(
        image_id=candidate.image_id,
        file=candidate.file,
        sha256=hashes[pool.root / candidate.file],
        annotations=candidate.annotations,
        size=candidate.mask.size,
        counts=candidate.mask.counts,
    )
