"""Frozen episodes of images on disk: `manifest.json`, `pictures.jsonl` (hashes, masks of classes) and `episodes.jsonl`; no pixels.

An episode asks for a class in one picture, so to the runner it is one of a clip of one frame. `roots.json` beside the files says
where the pictures lie on this machine; it is not part of the release. To check and to score masks no picture is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from icvos.benchmark import EPISODES, MANIFEST, Name, RelativePath, Sha256, Side, tube_id
from icvos.categories import BY_ID
from icvos.errors import DataError, UserInputError
from icvos.fewshot.folds import FOLDS, fold_classes
from icvos.fewshot.protocols import PROTOCOLS, VERSION, ImageProtocol
from icvos.files import AnyPath, json_fault, parse_json, read_data, read_json, to_json, write_text
from icvos.handed_in.asked import Asked, Wanted
from icvos.masks import check_rle, decode_rle
from icvos.names import data_in
from icvos.places import ROOTS, read_roots, write_roots
from icvos.types import RLE, Category, Clip, Episode, Frame, Mask, Support, Tube

if TYPE_CHECKING:
    from icvos.protocol import ScoringProtocol

FORMAT = "icvos-images/1"
PICTURES = "pictures.jsonl"
AGAIN = "remove the folder and run the same command again"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageManifest(_Record):
    """What was asked for: all that decides the episodes, and what was left out."""

    format: Literal["icvos-images/1"] = "icvos-images/1"
    name: Name
    version: Name = str(VERSION)
    benchmark: Literal["coco20i", "pascal5i", "coco2pascal"]
    fold: Annotated[int, Field(ge=0, lt=FOLDS)]
    shots: Annotated[int, Field(gt=0)]
    seed: int
    protocol: Literal["native", "native-10k", "hsnet", "pfenet", "bam", "dcsam", "matcher"]
    episodes: Annotated[int, Field(gt=0)]
    source: Literal["coco", "pascal"]
    pool: Name  # which pictures: val2014, val, all, ...
    classes: tuple[str, ...] = Field(min_length=1)
    left_out: tuple[str, ...] = ()  # classes of the fold without enough pictures
    absent: int = 0  # listed pictures that were not on disk
    unreadable: int = 0  # pictures whose annotations could not all be read

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Manifests of sound data stay as they were before `unreadable` was counted."""
        said: dict[str, Any] = write(self)
        return said if self.unreadable else {name: value for name, value in said.items() if name != "unreadable"}


class PictureRecord(_Record):
    """One picture: its file, and the mask of each class that an episode asks or shows in it; `void` counts nowhere."""

    name: Name
    file: RelativePath
    sha256: Sha256
    size: tuple[Side, Side]
    masks: dict[int, str]  # COCO id -> counts
    void: str | None = None

    @model_validator(mode="after")
    def _whole_masks(self) -> PictureRecord:
        for counts in (*self.masks.values(), *([self.void] if self.void else [])):
            check_rle(RLE(self.size, counts))
        if not set(self.masks) <= set(BY_ID):
            raise ValueError("a class that is none of COCO's")
        return self


class ImageEpisodeRecord(_Record):
    """One line of `episodes.jsonl`."""

    query: Name
    class_id: int
    supports: tuple[Name, ...] = Field(min_length=1)


@dataclass(frozen=True)
class ImageRelease:
    """A release of images, opened. The runner takes it as it takes one of clips."""

    path: Path
    manifest: ImageManifest
    pictures: Mapping[str, PictureRecord]
    records: tuple[ImageEpisodeRecord, ...]
    digest: str
    place: Path | None  # where its pictures lie; None where nobody said

    @classmethod
    def open(cls, path: AnyPath, roots: Mapping[str, AnyPath] | None = None) -> ImageRelease:
        """Read the release in the folder `path`; `roots`, by source, override where its pictures lie.

        Raises:
            UserInputError: there is no release of images.
            DataError: its files are corrupt or do not fit together.
        """
        path = Path(path)
        data = _files(path)
        manifest = _parsed(ImageManifest, parse_json(data[0], path / MANIFEST), str(path / MANIFEST))
        pictures = {one.name: one for one in _lines(PictureRecord, data[1], path / PICTURES)}
        records = _lines(ImageEpisodeRecord, data[2], path / EPISODES)
        said = (roots or {}).get(manifest.source)
        place = Path(said) if said else read_roots(path).get(manifest.source)
        release = cls(path, manifest, pictures, records, _digest(data), place and place.absolute())
        release._check()
        return release

    def __reduce__(self) -> tuple[Callable[[Path, Mapping[str, Path]], ImageRelease], tuple[Path, Mapping[str, Path]]]:
        """Another process opens the release for itself."""
        return ImageRelease.open, (self.path, {self.manifest.source: self.place} if self.place else {})

    @property
    def root(self) -> Path:
        """Where its pictures lie on this machine.

        Raises:
            UserInputError: nobody said so.
        """
        if self.place is None:
            raise UserInputError(
                f"where is {self.manifest.source}?", self.path / ROOTS, fix=f"say --{self.manifest.source} DIR or --data DIR"
            )
        return self.place

    @property
    def label(self) -> str:
        """``name@version#digest`` for messages and signatures."""
        return f"{self.manifest.name}@{self.manifest.version}#{self.digest[:12]}"

    @property
    def protocol(self) -> ImageProtocol:
        """How it is scored."""
        return PROTOCOLS[self.manifest.protocol]

    @property
    def classes(self) -> tuple[Category, ...]:
        """Those that are asked for."""
        return tuple(
            category for category in fold_classes(self.manifest.benchmark, self.manifest.fold) if category.name in self.manifest.classes
        )

    @cached_property
    def tubes(self) -> dict[str, Tube]:
        """What is asked for in each picture, by ``source/picture/class``."""
        return {episode.tube.id: episode.tube for episode in self.episodes}

    @cached_property
    def episodes(self) -> tuple[Episode, ...]:
        """Every episode, in order."""
        return tuple(self._episode(episode_id, record) for episode_id, record in zip(self.episode_ids, self.records, strict=True))

    @cached_property
    def episode_ids(self) -> tuple[str, ...]:
        """``source/picture/class#e0``, numbered in order; they need no data on disk."""
        source = self.manifest.source
        return tuple(f"{source}/{one.query}/{BY_ID[one.class_id].slug}#e{number}" for number, one in enumerate(self.records))

    def asked(self, protocol: ScoringProtocol | None = None) -> Asked:
        """What it asks of whoever hands in masks; needs no data on disk.

        Raises:
            UserInputError: a protocol is given; the release has its own.
        """
        if protocol is not None:
            found, fix = f"--protocol {protocol.id}", "leave --protocol out"
            raise UserInputError("images are scored as their release says", self.path, found, f"its own, {self.protocol.name}", fix)
        tubes = dict[str, Wanted]()
        for episode_id, record in zip(self.episode_ids, self.records, strict=True):
            picture = self.pictures[record.query]
            tubes[tube_id(episode_id)] = Wanted(picture.size, (picture.name,), (picture.name,))
        release = f"{self.manifest.name}@{self.manifest.version}"
        return Asked(release, self.digest, "<source>/<picture>/<class>#e0/<picture>.png", self.protocol, tubes, self.episode_ids)

    def truth(self, record: ImageEpisodeRecord) -> tuple[Mask, Mask | None]:
        """What is to be found, and what counts nowhere, each (H, W) bool."""
        picture = self.pictures[record.query]
        void = decode_rle(RLE(picture.size, picture.void)) if picture.void else None
        return decode_rle(RLE(picture.size, picture.masks[record.class_id])), void

    def _episode(self, episode_id: str, record: ImageEpisodeRecord) -> Episode:
        picture, category = self.pictures[record.query], BY_ID[record.class_id]
        frame = Frame(picture.name, self.root / picture.file, None, picture.sha256)
        clip = Clip(self.manifest.source, picture.name, picture.size, (frame,))
        return Episode(episode_id, Tube(clip, category, ()), tuple(self._support(name, category) for name in record.supports))

    def _support(self, name: str, category: Category) -> Support:
        picture = self.pictures[name]
        return Support(self.root / picture.file, RLE(picture.size, picture.masks[category.id]), category, name, picture.sha256)

    def _check(self) -> None:
        if len(self.records) != self.manifest.episodes:
            where = self.path / EPISODES
            raise DataError("episodes are missing or too many", where, len(self.records), self.manifest.episodes, AGAIN)
        asked = {category.id for category in self.classes}
        for number, record in enumerate(self.records):
            for name in (record.query, *record.supports):
                if name not in self.pictures or record.class_id not in asked or record.class_id not in self.pictures[name].masks:
                    raise DataError("an episode without its picture", f"{self.path / EPISODES}, line {number + 1}", name, fix=AGAIN)


def digest_of(path: AnyPath) -> str:
    """The digest of the release of images in the folder `path`, which is not opened.

    Raises:
        UserInputError: there is no release of images.
        DataError: a file of it is missing.
    """
    path = Path(path)
    return _digest(_files(path))


def _files(path: Path) -> list[bytes]:
    if not (path / MANIFEST).is_file():
        raise (DataError if path.exists() else UserInputError)("no release of images here", path, fix="make one with `icvos fewshot`")
    if not is_image_release(path):
        raise DataError("not a release of images", path, expected=FORMAT, fix="releases of clips are for `icvos run`")
    return [read_data(path / name) for name in (MANIFEST, PICTURES, EPISODES)]


def _digest(data: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\0".join(data)).hexdigest()


def is_image_release(path: AnyPath) -> bool:
    """Whether a folder holds a release of images and not one of clips, nor nothing.

    Raises:
        DataError: its manifest is no JSON.
    """
    path = Path(path)
    manifest = read_json(path / MANIFEST) if (path / MANIFEST).is_file() else None
    return isinstance(manifest, dict) and str(manifest.get("format", "")).startswith(FORMAT.partition("/")[0] + "/")


def write_images(
    path: AnyPath, manifest: ImageManifest, pictures: Sequence[PictureRecord], records: Sequence[ImageEpisodeRecord], root: AnyPath
) -> ImageRelease:
    """Write a release of images into the folder `path` and open it; the same arguments give the same bytes.

    Raises:
        UserInputError: the folder holds another release or other files.
    """
    # the manifest last: with it the release is there
    path = Path(path)
    root = Path(root)
    texts = {PICTURES: _text(pictures), EPISODES: _text(records), MANIFEST: to_json(manifest.model_dump(mode="json"))}
    strangers = sorted(entry.name for entry in data_in(path) if entry.name not in {*texts, ROOTS})
    if strangers:
        raise UserInputError("the folder holds other files", path, ", ".join(strangers[:3]), "an empty folder", "give another --releases")
    if (path / MANIFEST).is_file():
        other = [name for name, text in texts.items() if not (path / name).is_file() or read_data(path / name) != text.encode()]
        if other:
            fix = "remove the folder, or give another --releases"
            raise UserInputError(f"the folder belongs to another release, {other[0]} differs", path, fix=fix)
    write_roots(path, {manifest.source: root}, up=2)  # releases of images lie together in a folder
    for name, text in texts.items():
        write_text(path / name, text)
    return ImageRelease.open(path)


def _text(records: Sequence[BaseModel]) -> str:
    return "".join(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)


R = TypeVar("R", bound=BaseModel)


def _lines(kind: type[R], data: bytes, path: Path) -> tuple[R, ...]:
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            found.append(_parsed(kind, json.loads(line), where))
        except (ValueError, RecursionError) as error:
            raise DataError("corrupt JSON", where, json_fault(error), "one record a line", AGAIN) from error
    return tuple(found)


def _parsed(kind: type[R], data: Any, where: str) -> R:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        found = first["msg"].removeprefix("Value error, ")
        raise DataError("a release of images with a wrong field", f"{where}, {field}", found, fix=AGAIN) from error
