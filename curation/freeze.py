"""The frozen release: hashes of every file, and supports drawn so that nothing but the seed and the tube decides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path

from pydantic import ValidationError

from curation.known_issues import carried
from curation.sources.catalogue import ENTRIES
from curation.sources.coco import Coco, SupportCandidate
from icvos.benchmark import (
    MANIFEST,
    SUPPORT_SOURCE,
    Benchmark,
    ClipRecord,
    EpisodeRecord,
    KnownIssue,
    Manifest,
    SourceRecord,
    SupportRecord,
    TubeRecord,
    refuse_other_files,
    write_release,
)
from icvos.errors import DataError, Finding
from icvos.files import AnyPath, map_files, read_json, sha256_file, sha256_text
from icvos.masks import image_size, size_text, turned_fix
from icvos.types import Clip, Size, Tube

DRAWS = 5
AGAIN = "fetch the data set again"
OnProgress = Callable[[int, int], None]  # files done, files in all


def release_name(folder: Path, sources: Iterable[str], shots: int = 1, *, how: str = "") -> str:
    """What a release is called where nobody says: by its sources, ``davis-mose-lvos2``, and its shots where they are several.

    A release that lies in `folder` already keeps its name, so that the command that made it can be given again. `how` is a last word.
    """
    if (folder / MANIFEST).is_file():
        data = read_json(folder / MANIFEST)
        if isinstance(data, dict) and isinstance(named := data.get("name"), str):
            return named
    known = [*ENTRIES]
    videos = sorted({*sources} - {SUPPORT_SOURCE}, key=lambda name: (known.index(name) if name in known else len(known), name))
    return "-".join([*videos, *([f"{shots}shot"] if shots > 1 else []), *([how] if how else [])])


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a release says besides its files' hashes."""

    name: str
    version: str
    seed: str
    rules: Mapping[str, str]
    sources: Mapping[str, SourceRecord]
    roots: Mapping[str, Path]  # of every source, and of the supports under "coco"
    known_issues: tuple[KnownIssue, ...] = ()  # of the sources' truth; those of the release's clips are carried
    shots: int = 1  # supports an episode


def freeze(out: AnyPath, draft: Draft, tubes: Sequence[Tube], pool: Coco, on_progress: OnProgress = lambda done, total: None) -> Benchmark:
    """Hash every file, draw the supports, and write the release into the folder `out`.

    The same draft, tubes and files give the same bytes, whatever the order of the file system and however many cores.

    Raises:
        DataError: there is no tube, a file cannot be read or has another size than its clip, or a name cannot stand in a release.
        UserInputError: `out` holds another release.
    """
    out = Path(out)
    refuse_other_files(out)
    if not tubes:
        raise DataError(
            "no tube qualifies", out, expected="at least one class of one clip", fix="run `icvos build --dry-run` to see why each is out"
        )
    supports = draw_supports(tubes, pool, draft.seed, draft.shots)
    sizes = _sizes(tubes, supports, pool)
    _check_sizes(sizes)
    hashes = _hash_all(sorted(sizes), on_progress)
    ordered = sorted(tubes, key=lambda tube: (tube.clip.key, tube.id))
    clips = []
    for _, group in groupby(ordered, key=lambda tube: tube.clip.key):
        of_clip = list(group)
        with fit_for_release(of_clip[0].clip):
            clips.append(_clip_record(of_clip, draft.roots, hashes))
    manifest = Manifest(
        format="icvos-release/1",
        name=draft.name,
        version=draft.version,
        seed=draft.seed,
        draws=DRAWS,
        rules=dict(draft.rules) | ({"shots": str(draft.shots)} if draft.shots > 1 else {}),
        sources=dict(sorted(draft.sources.items())),
        clips=tuple(clips),
        known_issues=carried(draft.known_issues, ordered),
    )
    records = [
        EpisodeRecord(id=f"{tube.id}#s{draw}", supports=tuple(_support_record(candidate, pool, hashes) for candidate in drawn))
        for tube in ordered
        for draw, drawn in enumerate(supports[tube.id])
    ]
    return write_release(out, manifest, records, draft.roots)


def draw_supports(tubes: Iterable[Tube], pool: Coco, seed: str, shots: int = 1) -> dict[str, tuple[tuple[SupportCandidate, ...], ...]]:
    """Five draws a tube, each of so many supports: the usable images of its class in the order of a hash of seed, tube and image.

    Adding clips, tubes or even images never moves the order of the others. Where the pool has fewer than five images of
    a class, they are taken round again, so that every tube has five draws. The first support of several is that of one, so that
    numbers of shots are compared in pairs; a draw holds no image twice, and all there are where they are fewer than `shots`.
    """
    drawn = {}
    for tube in tubes:
        candidates = pool.candidates(tube.category)[0]
        if not candidates:
            raise DataError(
                "no usable support", tube.id, f"no image of {tube.category.name} in {pool.path}", fix="give the full COCO val set"
            )
        order = sorted(candidates, key=lambda candidate: sha256_text(f"{seed}|{tube.id}|{candidate.image_id}"))
        drawn[tube.id] = tuple(_draw(order, draw, shots) for draw in range(DRAWS))
    return drawn


def _draw(order: Sequence[SupportCandidate], draw: int, shots: int) -> tuple[SupportCandidate, ...]:
    """The draw's own image, then those that no draw has for its own, as far as there are such."""
    own, start = draw % len(order), DRAWS + draw * (shots - 1)
    others = ((start + number) % len(order) for number in range(len(order)))
    return tuple(order[place] for place in (own, *islice((place for place in others if place != own), shots - 1)))


def _sizes(
    tubes: Iterable[Tube], supports: Mapping[str, Sequence[Sequence[SupportCandidate]]], pool: Coco
) -> dict[Path, tuple[Size, Path]]:
    """Every file of the release, with the size that it must have and the picture that it is or is a mask of."""
    frames = [(frame, tube.clip.size) for tube in tubes for frame in tube.clip.frames]
    sizes = {path: (size, frame.image) for frame, size in frames for path in (frame.image, frame.mask) if path}
    candidates = chain.from_iterable(drawn for draws in supports.values() for drawn in draws)
    files = {pool.root / candidate.file: candidate.mask.size for candidate in candidates}
    return sizes | {path: (size, path) for path, size in files.items()}


def _check_sizes(sizes: Mapping[Path, tuple[Size, Path]]) -> None:
    """Refuse pictures and masks that do not have the size that the release states, by their headers."""
    findings = [finding for finding in map_files(_size_fault, sorted(sizes.items())) if finding]
    if findings:
        raise DataError("files that cannot stand in a release", findings[0].where, f"{len(findings)} faults", "none", AGAIN, findings)


def _size_fault(expected: tuple[Path, tuple[Size, Path]]) -> Finding | None:
    """The fault of a picture or mask that cannot be read or has another size than this, or None."""
    path, (size, picture) = expected
    try:
        found = image_size(path)
    except DataError as error:
        return Finding("unreadable", str(path), error.found or error.what, error.expected or "a file", error.fix)
    if found == size:
        return None
    fix = turned_fix(picture, found if path != picture else size) or AGAIN
    return Finding("size", str(path), size_text(found), f"{size_text(size)}, as its clip or annotation", fix)


def _hash_all(files: Sequence[Path], on_progress: OnProgress) -> dict[Path, str]:
    hashes = {}
    for done, (path, digest) in enumerate(zip(files, map_files(sha256_file, files), strict=True), 1):
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
        image=path_pattern([(frame.id, frame.image) for frame in clip.frames], root),
        image_sha256=tuple(hashes[frame.image] for frame in clip.frames),
        tubes=tuple(_tube_record(tube, root, hashes) for tube in tubes),
    )


@contextmanager
def fit_for_release(clip: Clip) -> Iterator[None]:
    """Turns a name or path that a record refuses into an error about the clip.

    Raises:
        DataError: the block made a record of something that cannot stand in a release.
    """
    try:
        yield
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise DataError("a clip that cannot stand in a release", clip.key, fault, fix="rename its folder or files") from error


def _tube_record(tube: Tube, root: Path, hashes: Mapping[Path, str]) -> TubeRecord:
    frames = tube.clip.frames
    return TubeRecord(
        class_id=tube.category.id,
        class_name=tube.category.name,
        objects=tube.instances,
        encoding=tube.clip.encoding,
        mask=path_pattern([(frame.id, frame.mask) for frame in frames if frame.mask], root),
        mask_sha256=tuple(hashes[frame.mask] if frame.mask else None for frame in frames),
    )


def path_pattern(files: Sequence[tuple[str, Path]], root: Path) -> str:
    """The one path below `root` that gives each file when ``{}`` stands for the frame's id.

    Raises:
        DataError: no one path does.
    """
    frame_id, first = files[0]
    pattern = first.relative_to(root).with_name(first.name.replace(frame_id, "{}", 1)).as_posix()
    for name, path in files:
        if root / pattern.replace("{}", name) != path:
            raise DataError("files of one clip that are not named alike", path, expected=pattern, fix="rename them")
    return pattern


def _support_record(candidate: SupportCandidate, pool: Coco, hashes: Mapping[Path, str]) -> SupportRecord:
    return SupportRecord(
        image_id=candidate.image_id,
        file=candidate.file,
        sha256=hashes[pool.root / candidate.file],
        annotations=candidate.annotations,
        size=candidate.mask.size,
        counts=candidate.mask.counts,
    )
