"""What changed between two releases: settings, rules, clips, tubes, frames, hashes, supports and known issues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from icvos.benchmark import Benchmark, ClipRecord, EpisodeRecord, Manifest, TubeRecord, tube_id
from icvos.categories import BY_ID

NOTHING = "none"
_Tubes = dict[str, tuple[ClipRecord, TubeRecord]]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs; `before` or `after` is ``none`` where it is only in the other release."""

    what: str  # setting, rule, source, tube, class, objects, frames, size, encoding, pictures, masks, supports, issues
    where: str  # the field, rule, source, clip or tube
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.where}: {self.before} -> {self.after}"


def release_changes(before: Benchmark, after: Benchmark) -> list[Change]:
    """Every difference of two releases, in a fixed order; empty for the same release. No data on disk is asked for."""
    old, new = before.manifest, after.manifest
    return [
        *(Change("setting", name, str(getattr(old, name)), str(getattr(new, name))) for name in _SETTINGS if _differs(old, new, name)),
        *_of_mappings("rule", old.rules, new.rules),
        *_of_mappings("source", _sources(old), _sources(new)),
        *_tube_changes(_tubes(old), _tubes(new)),
        *_clip_changes(old, new),
        *_support_changes(_supports(before), _supports(after)),
        *_of_mappings("issues", _issues(old), _issues(new)),
    ]


_SETTINGS = ("name", "version", "seed", "draws")


def _differs(old: Manifest, new: Manifest, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def _of_mappings(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Change(what, name, old.get(name, NOTHING), new.get(name, NOTHING))


def _sources(manifest: Manifest) -> dict[str, str]:
    return {name: ", ".join(part for part in (s.title, s.version, s.licence, s.page) if part) for name, s in manifest.sources.items()}


def _issues(manifest: Manifest) -> dict[str, str]:
    """Per clip, what is known of it."""
    found: dict[str, list[str]] = {}
    for issue in manifest.known_issues:
        frames = f"{len(issue.frames)} frames" if issue.frames else "all frames"
        classes = f" of {', '.join(issue.classes)}" if issue.classes else ""
        found.setdefault(f"{issue.source}/{issue.clip}", []).append(f"{issue.kind} on {frames}{classes}")
    return {clip: "; ".join(kinds) for clip, kinds in found.items()}


def _tubes(manifest: Manifest) -> _Tubes:
    return {f"{clip.source}/{clip.name}/{BY_ID[tube.class_id].slug}": (clip, tube) for clip in manifest.clips for tube in clip.tubes}


def _tube_changes(old: _Tubes, new: _Tubes) -> Iterator[Change]:
    gone, come = old.keys() - new.keys(), new.keys() - old.keys()
    renamed = dict(_renamed(old, new, gone, come))
    for name in sorted(gone | come):
        if name in renamed:
            yield Change("class", name, old[name][1].class_name, new[renamed[name]][1].class_name)
        elif name not in renamed.values():
            yield Change("tube", name, *(("in", "out") if name in gone else ("out", "in")))
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name][1], new[name][1]
        if before.objects != after.objects:
            yield Change("objects", name, _numbers(before.objects), _numbers(after.objects))
        if before.encoding != after.encoding:
            yield Change("encoding", name, before.encoding, after.encoding)
        masks = [dict(zip(clip.frames, tube.mask_sha256, strict=True)) for clip, tube in (old[name], new[name])]
        yield from _changed_files("masks", name, *masks)


def _renamed(old: _Tubes, new: _Tubes, gone: set[str], come: set[str]) -> Iterator[tuple[str, str]]:
    """Tubes that went, and came back under another class with the same objects."""
    for name in sorted(gone):
        clip, tube = old[name]
        for other in sorted(come):
            if (new[other][0].source, new[other][0].name, new[other][1].objects) == (clip.source, clip.name, tube.objects):
                yield name, other


def _clip_changes(old: Manifest, new: Manifest) -> Iterator[Change]:
    clips = [{f"{clip.source}/{clip.name}": clip for clip in manifest.clips} for manifest in (old, new)]
    for name in sorted(clips[0].keys() & clips[1].keys()):
        before, after = clips[0][name], clips[1][name]
        if before.frames != after.frames:
            yield Change("frames", name, *(f"{len(clip.frames)}, {clip.frames[0]} to {clip.frames[-1]}" for clip in (before, after)))
        if before.size != after.size:
            yield Change("size", name, *(" x ".join(map(str, clip.size)) for clip in (before, after)))
        yield from _changed_files("pictures", name, *(dict(zip(clip.frames, clip.image_sha256, strict=True)) for clip in (before, after)))


def _changed_files(what: str, name: str, old: Mapping[str, str | None], new: Mapping[str, str | None]) -> Iterator[Change]:
    """One change for all files of frames that both have, and that are other files now."""
    if changed := [frame for frame in old if frame in new and old[frame] != new[frame]]:
        first = changed[0]
        hashes = ((digests[first] or NOTHING)[:12] for digests in (old, new))
        yield Change(what, f"{name}, {len(changed)} of {len(new)}, first {first}", *hashes)


def _supports(benchmark: Benchmark) -> dict[str, tuple[EpisodeRecord, ...]]:
    by_tube: dict[str, tuple[EpisodeRecord, ...]] = {}
    for record in benchmark.records:
        by_tube[tube_id(record.id)] = (*by_tube.get(tube_id(record.id), ()), record)
    return by_tube


def _support_changes(old: Mapping[str, tuple[EpisodeRecord, ...]], new: Mapping[str, tuple[EpisodeRecord, ...]]) -> Iterator[Change]:
    for name in sorted(old.keys() & new.keys()):
        images = [_numbers(support.image_id for record in records for support in record.supports) for records in (old[name], new[name])]
        if images[0] != images[1]:
            yield Change("supports", name, *images)
        elif old[name] != new[name]:
            yield Change("supports", name, "other masks or files of the same images", "these")


def _numbers(numbers: Any) -> str:
    return ", ".join(map(str, numbers))
