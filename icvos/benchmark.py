"""A release on disk: `manifest.json` (clips, tubes, hashes) and `episodes.jsonl` (frozen supports); no pixels.

`roots.json` beside them says where the sources lie on this machine; it is not part of the release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from icvos.categories import BY_ID
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath, json_fault, parse_json, read_data, to_json, write_text
from icvos.handed_in.asked import Asked, Wanted
from icvos.masks import check_rle
from icvos.names import is_junk
from icvos.places import ROOTS, read_roots, write_roots
from icvos.protocol import ScoringProtocol, protocol_named
from icvos.types import RLE, Category, Clip, Encoding, Episode, Frame, Support, Tube

MANIFEST = "manifest.json"
EPISODES = "episodes.jsonl"
FORMAT = "icvos-release/1"
AGAIN = "fetch the release again, or remove the folder and build it again"
SUPPORT_SOURCE = "coco"  # the key of the support images' root


def plain_name(name: str) -> str:
    """The name as it is, if it may stand in a release: names become folders, which must not climb out of their own.

    Raises:
        ValueError: it is empty, a dot or two, or has a slash, a backslash, #, braces or something that cannot be printed.
    """
    if not name or name in {".", ".."} or any(c in "/\\#{}" or not c.isprintable() for c in name):
        raise ValueError(f"{name!r} is no plain name (no slash, backslash, #, braces)")
    return name


def _safe_path(path: str) -> str:
    if "\\" in path or not path.isprintable() or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError(f"{path!r} is no path below the source's folder")
    return path


def _safe_pattern(path: str) -> str:
    if path.count("{}") != 1:
        raise ValueError(f"{path!r} must hold {{}} once, for the frame's id")
    return _safe_path(path)


Name = Annotated[str, AfterValidator(plain_name)]
RelativePath = Annotated[str, AfterValidator(_safe_path)]
Pattern = Annotated[str, AfterValidator(_safe_pattern)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Side = Annotated[int, Field(gt=0, le=1 << 15)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceRecord(_Record):
    """Where clips or supports come from, and what their owners allow."""

    title: str
    page: str
    licence: str
    version: str = ""


class TubeRecord(_Record):
    """One class in one clip: its object ids and its annotation files, null where a frame is not annotated."""

    class_id: int
    class_name: str
    objects: tuple[int, ...]
    encoding: Encoding
    mask: Pattern
    mask_sha256: tuple[Sha256 | None, ...]

    @model_validator(mode="after")
    def _known_class(self) -> TubeRecord:
        if self.class_id not in BY_ID or BY_ID[self.class_id].name != self.class_name:
            raise ValueError(f"class {self.class_id} {self.class_name!r} is not a COCO class")
        if not all(0 < number < 255 for number in self.objects) or not self.objects:
            raise ValueError(f"object ids {self.objects} are not between 1 and 254")
        return self


class ClipRecord(_Record):
    """One clip: its frames with their hashes, and its tubes."""

    source: Name
    name: Name
    size: tuple[Side, Side]
    frames: tuple[Name, ...] = Field(min_length=1)
    image: Pattern
    image_sha256: tuple[Sha256, ...]
    tubes: tuple[TubeRecord, ...]

    @model_validator(mode="after")
    def _same_lengths(self) -> ClipRecord:
        lengths = {len(self.frames), len(self.image_sha256), *(len(tube.mask_sha256) for tube in self.tubes)}
        if len(lengths) > 1:
            raise ValueError(f"clip {self.source}/{self.name}: frames and hashes differ in number: {sorted(lengths)}")
        for what, values in (("frame id", self.frames), ("class", tuple(tube.class_name for tube in self.tubes))):
            if len(set(values)) != len(values):
                raise ValueError(f"clip {self.source}/{self.name}: a {what} stands twice")
        return self


class KnownIssue(_Record):
    """A fault of a source's truth that somebody found: which frames of a clip, of which classes, and who says so."""

    source: Name
    clip: Name
    frames: tuple[Name, ...] = ()  # none named: all of them
    classes: tuple[str, ...] = ()  # none named: all of them
    kind: str
    note: str
    origin: str


class Manifest(_Record):
    """The release but for its supports."""

    format: Literal["icvos-release/1"]
    name: Name
    version: Name
    seed: str
    draws: Annotated[int, Field(gt=0)]
    rules: dict[str, str]
    sources: dict[Name, SourceRecord]
    clips: tuple[ClipRecord, ...]
    known_issues: tuple[KnownIssue, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Manifest:
        keys = [f"{clip.source}/{clip.name}" for clip in self.clips]
        if len(set(keys)) != len(keys):
            raise ValueError(f"clip {next(key for key in keys if keys.count(key) > 1)} stands twice")
        if unsaid := {SUPPORT_SOURCE, *(clip.source for clip in self.clips)} - set(self.sources):
            raise ValueError(f"`sources` does not say what {', '.join(sorted(unsaid))} is")
        return self


class SupportRecord(_Record):
    """One frozen support: the COCO image and annotations, and the union mask that they gave when it was frozen."""

    image_id: int
    file: RelativePath
    sha256: Sha256
    annotations: tuple[int, ...]
    size: tuple[Side, Side]
    counts: str

    @model_validator(mode="after")
    def _whole_mask(self) -> SupportRecord:
        check_rle(RLE(self.size, self.counts))
        return self


class EpisodeRecord(_Record):
    """One line of `episodes.jsonl`."""

    id: str
    supports: tuple[SupportRecord, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Benchmark:
    """A release, opened: its records, and the paths that they stand for on this machine."""

    path: Path
    manifest: Manifest
    records: tuple[EpisodeRecord, ...]
    digest: str  # sha256 of both files
    roots: Mapping[str, Path]

    @classmethod
    def open(cls, path: AnyPath, roots: Mapping[str, AnyPath] | None = None) -> Benchmark:
        """Read the release in the folder `path`; `roots` overrides where its sources lie.

        Raises:
            UserInputError: there is no such folder.
            DataError: no release is in it, or its files are corrupt or do not fit together (file and line are named).
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            fix = "make one with `icvos build` or `icvos import`, or give the folder of one"
            if path.exists():
                raise DataError("no release here", path, f"no {MANIFEST}", fix=fix)
            raise UserInputError("no release here", path, "no such folder", fix=fix)
        known = read_roots(path) | {name: Path(root) for name, root in (roots or {}).items()}
        known = {name: root.absolute() for name, root in known.items()}
        manifest_bytes, episode_bytes = read_data(path / MANIFEST), read_data(path / EPISODES)
        digest = hashlib.sha256(manifest_bytes + b"\0" + episode_bytes).hexdigest()
        manifest, records = _parse_manifest(path / MANIFEST, manifest_bytes), _parse_episodes(path / EPISODES, episode_bytes)
        benchmark = cls(path, manifest, records, digest, known)
        benchmark._check_ids()
        return benchmark

    def __reduce__(self) -> tuple[Callable[[Path, Mapping[str, Path]], Benchmark], tuple[Path, Mapping[str, Path]]]:
        """Another process opens the release for itself: its files are smaller than all that was made of them."""
        return Benchmark.open, (self.path, dict(self.roots))

    @property
    def label(self) -> str:
        """``name@version#digest`` for messages and signatures."""
        return f"{self.manifest.name}@{self.manifest.version}#{self.digest[:12]}"

    def root(self, source: str) -> Path:
        """Where `source` lies on this machine.

        Raises:
            UserInputError: nobody said so, or there is no such folder.
        """
        if source not in self.roots:
            raise UserInputError(f"where is {source}?", self.path, fix=f"say --data DIR, --root {source}=DIR, or set ICVOS_DATA")
        root = self.roots[source]
        if not root.is_dir():
            raise UserInputError("no such folder", root, expected=f"the data of {source}", fix=f"say --data DIR or --root {source}=DIR")
        return root

    @cached_property
    def tubes(self) -> dict[str, Tube]:
        """Every tube by its id, in the order of the manifest.

        Raises:
            UserInputError: it is not known where a source lies.
        """
        return {tube.id: tube for record in self.manifest.clips for tube in self.tubes_of(record)}

    def tubes_of(self, record: ClipRecord) -> list[Tube]:
        """The tubes of one clip of the manifest; asks for the root of its source alone.

        Raises:
            UserInputError: it is not known where the source lies.
        """
        root = self.root(record.source)
        return [_tube(record, tube, root) for tube in record.tubes]

    @cached_property
    def episodes(self) -> tuple[Episode, ...]:
        """Every episode, in the order of the file; asks for the roots of the clips and of the supports."""
        return tuple(self.episode_of(record, self.tubes[tube_id(record.id)]) for record in self.records)

    def episode_of(self, record: EpisodeRecord, tube: Tube) -> Episode:
        """The episode of one line of the file, about this tube; asks for the root of the supports alone.

        Raises:
            UserInputError: it is not known where the supports lie.
        """
        root = self.root(SUPPORT_SOURCE)
        return Episode(record.id, tube, tuple(_support(support, tube.category, root) for support in record.supports))

    def faulty_frames(self, tube: Tube) -> frozenset[str]:
        """The ids of the frames on which the truth of a tube has a known issue."""
        issues = (issue for issue in self.manifest.known_issues if (issue.source, issue.clip) == (tube.clip.source, tube.clip.name))
        ours = [issue for issue in issues if not issue.classes or tube.category.name in issue.classes]
        everything = tuple(frame.id for frame in tube.clip.frames)
        return frozenset(name for issue in ours for name in issue.frames or everything)

    @property
    def episode_ids(self) -> tuple[str, ...]:
        """The ids of the episodes, which need no data on disk."""
        return tuple(record.id for record in self.records)

    def asked(self, protocol: ScoringProtocol | None = None) -> Asked:
        """What it asks of whoever hands in masks, under native@1 where no protocol is given; needs no data on disk."""
        protocol = protocol or protocol_named("native@1")
        tubes = dict[str, Wanted]()
        for clip in self.manifest.clips:
            for tube in clip.tubes:
                annotated = zip(clip.frames[: protocol.max_frames], tube.mask_sha256, strict=False)
                scored = tuple(frame for frame, digest in annotated if digest)
                tubes[f"{clip.source}/{clip.name}/{BY_ID[tube.class_id].slug}"] = Wanted(clip.size, clip.frames, scored)
        release = f"{self.manifest.name}@{self.manifest.version}"
        return Asked(release, self.digest, "<source>/<clip>/<class>#s0/<frame>.png", protocol, tubes, self.episode_ids)

    def _check_ids(self) -> None:
        known = [f"{clip.source}/{clip.name}/{BY_ID[tube.class_id].slug}" for clip in self.manifest.clips for tube in clip.tubes]
        expected = {f"{tube}#s{draw}" for tube in known for draw in range(self.manifest.draws)}
        seen: set[str] = set()
        for line, record in enumerate(self.records, 1):
            where = f"{self.path / EPISODES}, line {line}"
            if record.id in seen:
                raise DataError("an episode stands twice", where, found=record.id, fix=AGAIN)
            if record.id not in expected:
                draws = f"a tube of the manifest and #s0 to #s{self.manifest.draws - 1}"
                raise DataError("an episode without its tube", where, found=record.id, expected=draws, fix=AGAIN)
            seen.add(record.id)
        if missing := sorted(expected - seen):
            found, all_of_them = f"{len(seen)}, without {missing[0]}", f"{len(expected)}: {self.manifest.draws} a tube"
            raise DataError("episodes are missing", self.path / EPISODES, found, all_of_them, AGAIN)


def tube_id(episode_id: str) -> str:
    """The tube that an episode asks about."""
    return episode_id.rpartition("#")[0]


def by_clip(episode_ids: Iterable[str]) -> dict[str, list[str]]:
    """Episodes grouped by the clip that they ask about (its key), all in order."""
    clips: dict[str, list[str]] = {}
    for episode_id in episode_ids:
        clips.setdefault(tube_id(episode_id).rpartition("/")[0], []).append(episode_id)
    return clips


def write_release(path: AnyPath, manifest: Manifest, records: Sequence[EpisodeRecord], roots: Mapping[str, AnyPath]) -> Benchmark:
    """Write a release into the folder `path` and open it. The same arguments give the same bytes.

    Raises:
        UserInputError: the folder holds another release (the message says which field differs) or other files.
    """
    path = Path(path)
    manifest_text = to_json(manifest.model_dump(mode="json"))
    lines = "".join(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)
    refuse_other_files(path)
    _refuse_other_release(path, manifest, lines)
    write_roots(path, {name: Path(root) for name, root in roots.items()})
    write_text(path / EPISODES, lines)
    write_text(path / MANIFEST, manifest_text)  # last: with it the release is there
    return Benchmark.open(path)


def refuse_other_files(path: AnyPath) -> None:
    """Refuse a folder that no release can be written to, before any work is done for it.

    Raises:
        UserInputError: it is a file, or it holds files and no release.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserInputError("not a folder", path, expected="a folder to write the release to", fix="give another --out")
    if not path.is_dir() or (path / MANIFEST).exists():
        return
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in {ROOTS, EPISODES} and not is_junk(entry.name))
    if strangers:
        raise UserInputError(
            "the folder holds other files", path, found=", ".join(strangers[:3]), expected="an empty folder", fix="give another --out"
        )


def _refuse_other_release(path: Path, manifest: Manifest, episode_lines: str) -> None:
    if not (path / MANIFEST).exists():
        return
    old = _parse_manifest(path / MANIFEST, read_data(path / MANIFEST))
    differing = [name for name in Manifest.model_fields if getattr(old, name) != getattr(manifest, name)]
    if not differing and (path / EPISODES).exists() and read_data(path / EPISODES) != episode_lines.encode():
        differing = ["episodes"]
    if differing:
        field = differing[0]
        before, after = (str(getattr(release, field, "other supports")) for release in (old, manifest))
        values = (before, after) if max(len(before), len(after)) < 100 and before != after else ("another list", "this one")
        raise UserInputError(
            f"the folder belongs to another release, `{field}` differs", path, *values, fix="give another --out, or remove the folder"
        )


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    data = parse_json(content, path)
    if isinstance(data, dict) and data.get("format") != FORMAT:
        images = str(data.get("format", "")).startswith("icvos-images/")
        fix = (
            "images are run by `icvos fewshot`, scored by `icvos score` and `icvos submit`"
            if images
            else "build it again with this version of icvos"
        )
        raise DataError("not a release of this format", path, data.get("format", "no format"), FORMAT, fix)
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise _schema_error(str(path), error) from error


def _parse_episodes(path: Path, data: bytes) -> tuple[EpisodeRecord, ...]:
    records = []
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            records.append(EpisodeRecord.model_validate(json.loads(line)))
        except ValidationError as error:
            raise _schema_error(where, error) from error
        except (ValueError, RecursionError) as error:
            raise DataError("corrupt JSON", where, found=json_fault(error), expected="one episode a line", fix=AGAIN) from error
    return tuple(records)


def _schema_error(where: str, error: ValidationError) -> DataError:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    found = first["msg"].removeprefix("Value error, ") + more
    return DataError("a release with a wrong field", f"{where}, {field}", found=found, fix=AGAIN)


def _tube(record: ClipRecord, tube: TubeRecord, root: Path) -> Tube:
    frames = tuple(
        Frame(
            name,
            root / record.image.replace("{}", name),
            root / tube.mask.replace("{}", name) if mask_sha256 else None,
            image_sha256,
            mask_sha256 or "",
        )
        for name, image_sha256, mask_sha256 in zip(record.frames, record.image_sha256, tube.mask_sha256, strict=True)
    )
    return Tube(Clip(record.source, record.name, record.size, frames, tube.encoding), BY_ID[tube.class_id], tube.objects)


def _support(record: SupportRecord, category: Category, root: Path) -> Support:
    return Support(root / record.file, RLE(record.size, record.counts), category, str(record.image_id), record.sha256)
