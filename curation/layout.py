"""The official IC-VOS tree, written and read: `<video>/JPEGImages/*.jpg`, `<video>/Annotations/<k>/*.png`.

k is the place of the class in COCO's list of 80, from 1; it is not the COCO id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from curation.sources.catalogue import recognise
from curation.sources.faults import same_frame
from curation.sources.scan import scan_masks, unreadable
from icvos.benchmark import Benchmark
from icvos.categories import at_official_position, official_position
from icvos.errors import DataError, Finding, UserInputError
from icvos.files import AnyPath, make_folder, map_files, read_data, write_bytes
from icvos.masks import image_size, read_tube_masks, turned_fix
from icvos.names import MASKS, PICTURES, data_in, folders_in
from icvos.png import encode_png
from icvos.types import Category, Clip, Frame, Size, Tube

IMPORTED = "ic-vos"  # the source's name of an imported tree


def materialise(benchmark: Benchmark, folder: AnyPath, on_progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Lay a release out as the official tree; returns the number of files that had to be written.

    Frames are hard-linked, or copied where that cannot be; masks are 1-bit PNGs, which the released loader reads as 0
    and 1. What is there already is kept, so that an interrupted call goes on where it stopped.

    Raises:
        DataError: a source file is not the one that the release names.
        UserInputError: the disk is full, or the folder cannot be written.
    """
    folder = Path(folder)
    tubes = list(benchmark.tubes.values())
    names = _video_names(tubes)
    images: dict[Path, Frame] = {}
    masks: dict[tuple[str, Path], tuple[Frame, dict[Path, Tube]]] = {}  # by clip and annotation, what is made of it
    for tube in tubes:
        video = folder / names[tube.clip.key]
        for frame in tube.clip.frames:
            images[video / "JPEGImages" / f"{frame.id}{_ending(frame.image)}"] = frame
            path = video / "Annotations" / str(official_position(tube.category)) / f"{frame.id}.png"
            if frame.mask and not path.exists():
                masks.setdefault((tube.clip.key, frame.mask), (frame, {}))[1][path] = tube
    jobs: list[Callable[[], int]] = [partial(_place_image, path, frame) for path, frame in images.items() if not path.exists()]
    total, done = len(jobs) + sum(len(wanted) for _, wanted in masks.values()), 0
    jobs += [partial(_place_masks, frame, wanted) for frame, wanted in masks.values()]
    for written in map_files(lambda job: job(), jobs):
        done += written
        on_progress(done, total)
    return total


def _ending(image: Path) -> str:
    """As the official tree writes it: of JPEGs always the same."""
    return ".jpg" if image.suffix.lower() in PICTURES else image.suffix


def _video_names(tubes: Iterable[Tube]) -> dict[str, str]:
    clips = {tube.clip.key: tube.clip for tube in tubes}
    shared = Counter(clip.name for clip in clips.values())
    return {key: clip.name if shared[clip.name] == 1 else f"{clip.source}_{clip.name}" for key, clip in clips.items()}


def _place_image(path: Path, frame: Frame) -> int:
    data = read_data(frame.image, frame.image_sha256)
    make_folder(path.parent)
    with suppress(OSError):  # another device, or a file system without links
        path.hardlink_to(frame.image.resolve())  # a link to a symbolic link would not follow it
        return 1
    write_bytes(path, data)
    return 1


def _place_masks(frame: Frame, wanted: Mapping[Path, Tube]) -> int:
    """Write the masks of all of a frame's tubes; the annotation is decoded once."""
    for path, mask in zip(wanted, read_tube_masks(tuple(wanted.values()), frame), strict=True):
        write_bytes(path, encode_png(mask))
    return len(wanted)


def read_official_tree(root: AnyPath) -> list[Tube]:
    """The tubes of a tree in the official layout, sorted by id.

    Raises:
        UserInputError: there is no such folder.
        DataError: it is not such a tree; the error lists every fault.
    """
    root = Path(root)
    tubes, faulty = read_official_videos(root)
    if faulty:
        raise _faults_in(root, faulty)
    return tubes


def read_official_videos(root: AnyPath) -> tuple[list[Tube], dict[str, list[Finding]]]:
    """The tubes of the videos without a fault, sorted by id, and the other videos with all that is wrong with each.

    Raises:
        UserInputError: there is no such folder.
        DataError: it is not such a tree, or every video has faults; the error lists them.
    """
    root = Path(root)
    if not root.is_dir():
        raise (DataError if root.exists() else UserInputError)(
            "no such folder", root, expected="a tree in the official IC-VOS layout", fix="check the path"
        )
    videos = [root / name for name in folders_in(root)]
    if not any(_is_video(video) for video in videos):
        layout = "<video>/JPEGImages/*.jpg, <video>/Annotations/<k>/*.png"
        raise DataError("another data set", root, recognise(root), layout, "give the folder that holds the videos")
    findings: dict[str, list[Finding]] = {video.name: [] for video in videos}
    tubes = [tube for video in videos for tube in _video_tubes(video, findings[video.name])]
    for tube, found in zip(tubes, map_files(_mask_findings, tubes), strict=True):
        findings[tube.clip.name] += found
    faulty = {name: found for name, found in findings.items() if found}
    if len(faulty) == len(videos):
        raise _faults_in(root, faulty)
    return sorted((tube for tube in tubes if tube.clip.name not in faulty), key=lambda tube: tube.id), faulty


def _faults_in(root: Path, faulty: Mapping[str, list[Finding]]) -> DataError:
    findings = [finding for found in faulty.values() for finding in found]
    return DataError("faults in the tree", root, f"{len(findings)}", "none", f"first: {findings[0]}", findings=findings)


def _is_video(folder: Path) -> bool:
    """Whether it has a frame or a mask where the official tree has them."""
    masks = folder / "Annotations"
    return bool(data_in(folder / "JPEGImages", PICTURES)) or any(data_in(masks / name, MASKS) for name in folders_in(masks))


def _video_tubes(video: Path, findings: list[Finding]) -> Iterator[Tube]:
    images = data_in(video / "JPEGImages", PICTURES)
    if not images:
        findings.append(Finding("no-frames", str(video / "JPEGImages"), "no frames", "*.jpg", "fetch the video again"))
        return
    size, faults = _frame_size(images)
    findings.extend([*same_frame(images), *faults])
    folders = sorted(data_in(video / "Annotations"))
    if not folders:
        findings.append(Finding("no-masks", str(video / "Annotations"), "no masks", "<k>/*.png", "fetch the video again"))
    for folder in folders:
        category = at_official_position(int(folder.name)) if folder.name.isdecimal() else None
        if category is None or folder.name != str(official_position(category)):
            findings.append(
                Finding("unknown-class", str(folder), folder.name, "a class position from 1 to 80", "rename or remove the folder")
            )
            continue
        yield _official_tube(video, folder, category, images, size, findings)


def _frame_size(images: Sequence[Path]) -> tuple[Size, list[Finding]]:
    """The size of the first frame that can be read, and the frames that cannot or have another one."""
    size, findings = None, []
    for image in images:
        try:
            found = image_size(image)
        except DataError as error:
            findings.append(Finding("unreadable", error.where, error.found, error.expected, error.fix))
            continue
        size = size or found
        if found != size:
            fix = turned_fix(image, size) or "fetch the video again"
            findings.append(Finding("size", str(image), f"{found}", f"{size}, as the first frame", fix))
    return size or (0, 0), findings


def _official_tube(video: Path, folder: Path, category: Category, images: Sequence[Path], size: Size, findings: list[Finding]) -> Tube:
    found = data_in(folder, MASKS)
    masks = {path.stem: path for path in found}
    findings.extend(same_frame(found))
    frames = tuple(Frame(image.stem, image, masks.get(image.stem)) for image in images)
    strangers = sorted(set(masks) - {frame.id for frame in frames})
    findings.extend(
        Finding("mask-without-frame", str(masks[stem]), "no frame", f"{video.name}/JPEGImages/{stem}.jpg", "fetch the video again")
        for stem in strangers
    )
    if not any(frame.mask for frame in frames):
        findings.append(Finding("frames-without-masks", str(folder), "no mask", "*.png, one a frame", "fetch the video again"))
    return Tube(Clip(IMPORTED, video.name, size, frames, "binary"), category, (1,))


def _mask_findings(tube: Tube) -> list[Finding]:
    images = {frame.mask: frame.image for frame in tube.clip.frames if frame.mask}
    findings = []
    for (path, image), found in zip(images.items(), scan_masks(list(images)), strict=True):
        if isinstance(found, DataError):
            findings.append(unreadable(found))
            continue
        if found.size != tube.clip.size and tube.clip.size != (0, 0):
            fix = turned_fix(image, found.size) or "fetch the video again"
            findings.append(Finding("size", str(path), f"{found.size}", f"{tube.clip.size}, as the frames", fix))
        if not found.values.keys() <= {1, 255}:
            values = f"{[0, *found.values][:6]}"
            findings.append(Finding("values", str(path), values, "0 and 1, or 0 and 255", "store one binary mask a class"))
    return findings
