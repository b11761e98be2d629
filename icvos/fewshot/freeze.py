"""Episodes of one fold, frozen: nothing but the seed, the fold and the pictures decides them.

Each is drawn by hashes of its own: a class, a picture of it, then others of it. So the first thousand of ten thousand are the
thousand, and the first support of five is that of one: what differs between two settings is what they are named for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from icvos.errors import DataError, Finding
from icvos.fewshot.folds import fold_classes
from icvos.fewshot.pools import STANDARD, Pool, absent, left_out, open_pool
from icvos.fewshot.protocols import IGNORED, VERSION, image_protocol
from icvos.fewshot.release import ImageEpisodeRecord, ImageManifest, ImageRelease, PictureRecord, write_images
from icvos.files import AnyPath, map_files, sha256_file, sha256_text
from icvos.masks import encode_rle, image_size, size_text, turned_fix
from icvos.types import Category

OnProgress = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True, slots=True)
class Setting:
    """One fold of a benchmark, as it is asked: what makes its episodes, and how they are scored.

    `episodes`: None for the protocol's own number. `split` (of COCO) and `lists` (HSNet's ``splits``) say which pictures; neither:
    the field's, val2014 of COCO and val of VOC. `allow_missing` leaves out absent pictures, and classes without shots + 1.
    """

    benchmark: str  # coco20i, pascal5i, coco2pascal
    fold: int
    shots: int = 1
    seed: int = 0
    protocol: str = "native"
    episodes: int | None = None
    split: str | None = None
    lists: Path | None = None
    allow_missing: bool = False


def protocol_id(manifest: ImageManifest) -> str:
    """What stands beside every number: ``coco20i-1shot@1``, with all that is not the field's own named in it."""
    named, usual = image_protocol(manifest.protocol), manifest.protocol == "native"
    parts = [manifest.benchmark, f"{manifest.shots}shot", *([] if usual else [named.name])]
    parts += [] if manifest.pool == STANDARD[manifest.source] else [manifest.pool]
    parts += ["partial"] if manifest.left_out or manifest.absent or manifest.unreadable else []
    parts += [] if manifest.episodes == named.episodes[manifest.benchmark] else [f"e{manifest.episodes}"]
    return f"{'-'.join(parts)}@{VERSION}"


@dataclass(frozen=True, slots=True)
class ImageDraft:
    """The episodes of a setting before anything is written, and where they would lie."""

    manifest: ImageManifest
    records: tuple[ImageEpisodeRecord, ...]
    folder: Path

    @property
    def shown(self) -> dict[str, set[int]]:
        """Every picture, sorted, with the ids of the classes that it is asked for or shows."""
        shown: defaultdict[str, set[int]] = defaultdict(set)
        for record in self.records:
            for stem in (record.query, *record.supports):
                shown[stem].add(record.class_id)
        return dict(sorted(shown.items()))


def draft_images(setting: Setting, pool: Pool, releases: AnyPath) -> ImageDraft:
    """Draw the episodes of a setting.

    Raises:
        UserInputError: no such benchmark, fold or protocol.
        DataError: listed pictures are absent, or a class has too few pictures.
    """
    releases = Path(releases)
    usual = image_protocol(setting.protocol).episodes
    members, few, missing, unreadable = _askable(setting, pool)
    often = setting.episodes or usual[setting.benchmark]
    manifest = ImageManifest.model_validate(
        {
            "name": f"{setting.benchmark}-fold{setting.fold}",
            "benchmark": setting.benchmark,
            "fold": setting.fold,
            "shots": setting.shots,
            "seed": setting.seed,
            "protocol": setting.protocol,
            "episodes": often,
            "source": pool.source,
            "pool": pool.kind,
            "classes": [category.name for category in members],
            "left_out": few,
            "absent": missing,
            "unreadable": unreadable,
        }
    )
    folder = releases / f"{protocol_id(manifest)}-fold{setting.fold}-seed{setting.seed}"
    return ImageDraft(manifest, tuple(draw(setting, members, number) for number in range(often)), folder)


def freeze_images(draft: ImageDraft, pool: Pool, root: AnyPath, on_progress: OnProgress = lambda done, total: None) -> ImageRelease:
    """Hash the pictures of a draft and write the release; one that is there already must be the same.

    Raises:
        UserInputError: another release lies in its folder.
        DataError: a mask and its picture differ in size, or a picture does not show its class; all are listed.
    """
    root = Path(root)
    shown = draft.shown
    pictures: list[PictureRecord | Finding] = []
    for picture in map_files(lambda stem: _picture(pool, root, stem, shown[stem]), shown):
        pictures.append(picture)
        on_progress(len(pictures), len(shown))
    if findings := [one for one in pictures if isinstance(one, Finding)]:
        raise DataError("pictures that cannot be asked", findings[0].where, f"{len(findings)} faults", "none", "fetch them again", findings)
    records = [one for one in pictures if isinstance(one, PictureRecord)]
    return write_images(draft.folder, draft.manifest, records, draft.records, root)


def frozen_images(setting: Setting, root: AnyPath, releases: AnyPath, on_progress: OnProgress = lambda done, total: None) -> ImageRelease:
    """Freeze a setting out of the pictures below `root` (of COCO, or of VOC 2012), below the folder `releases`.

    Raises:
        UserInputError: no such benchmark, fold, protocol or folder; or another release lies in its folder.
        DataError: the pictures are not what they should be; all faults are listed.
    """
    root = Path(root)
    releases = Path(releases)
    pool = open_pool(setting.benchmark, root, split=setting.split, lists=setting.lists)
    return freeze_images(draft_images(setting, pool, releases), pool, root, on_progress)


def draw(setting: Setting, members: Mapping[Category, Sequence[str]], number: int) -> ImageEpisodeRecord:
    """The episode of this number. Every class is as likely as any other, and so is every picture of it.

    Args:
        setting: names the draw.
        members: the pictures that may be asked for each class, at least a picture more than there are shots.
        number: from 0.
    """
    key = f"{setting.seed}|{setting.benchmark}|{setting.fold}|{number}"
    classes = tuple(members)
    category = classes[_hashed(f"{key}|class") % len(classes)]
    chosen: dict[str, None] = {}
    for stem in _picked(key, members[category]):
        chosen[stem] = None
        if len(chosen) == setting.shots + 1:
            break
    query, *supports = chosen
    return ImageEpisodeRecord(query=query, class_id=category.id, supports=tuple(supports))


def _picked(key: str, stems: Sequence[str]) -> Iterator[str]:
    """Pictures without end, drawn with replacement."""
    return (stems[_hashed(f"{key}|{draw}") % len(stems)] for draw in count())


def _hashed(text: str) -> int:
    return int(sha256_text(text)[:16], 16)


def _askable(setting: Setting, pool: Pool) -> tuple[dict[Category, list[str]], tuple[str, ...], int, int]:
    """Class to usable pictures on disk, the classes with too few, and how many pictures are not there, and how many cannot be read."""
    classes, where = fold_classes(setting.benchmark, setting.fold), f"{setting.benchmark}, fold {setting.fold}"
    fix = "complete the data, or leave them out with --allow-missing"
    gone = absent(pool, classes)
    if gone and not setting.allow_missing:
        raise DataError("listed pictures are absent", where, f"{len(gone)}, {gone[0].where} first", "none", fix, gone)
    names = {one.where for one in gone}
    unreadable = left_out(pool, classes) - names
    names |= unreadable
    members = {category: [stem for stem in pool.members.get(category, ()) if stem not in names] for category in classes}
    few = [category for category in classes if len(members[category]) <= setting.shots]
    if few and (len(few) == len(classes) or not setting.allow_missing):
        expected = f"{setting.shots + 1} pictures of each: one to segment, {setting.shots} that show it"
        findings = [Finding("few-pictures", one.name, str(len(members[one])), expected, "complete the data") for one in few]
        found = f"{len(few)} of {len(classes)}, {few[0].name} first"
        raise DataError("classes with too few pictures", where, found, expected, fix, findings)
    askable = {category: stems for category, stems in members.items() if category not in few}
    return askable, tuple(category.name for category in few), len(gone), len(unreadable)


def _picture(pool: Pool, root: Path, stem: str, ids: set[int]) -> PictureRecord | Finding:
    file = pool.file(stem)
    if file is None:
        return Finding("absent-picture", stem, "no file", "the picture", "complete the data")
    try:
        labels, size = pool.labels(stem), image_size(root / file)
    except DataError as error:
        return Finding("unreadable", error.where, error.found, error.expected, error.fix)
    if labels.shape != size:
        fix = turned_fix(root / file, (labels.shape[0], labels.shape[1])) or "fetch both again"
        return Finding("size", file, size_text(size), f"{size_text(labels.shape)}, as its mask", fix)
    if lost := [id_ for id_ in ids if not (labels == id_).any()]:
        return Finding("no-class", file, f"no pixel of class {lost[0]}", "what the list says", "fetch the masks again")
    void = labels == IGNORED
    masks = {id_: encode_rle(labels == id_).counts for id_ in sorted(ids)}
    counts = encode_rle(void).counts if void.any() else None
    return PictureRecord(name=stem, file=file, sha256=sha256_file(root / file), size=size, masks=masks, void=counts)
