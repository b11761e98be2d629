"""The files between icvos and a foreign method: one clip with its episodes goes in, one mask PNG a frame and episode comes out.

    input/task.json                 what is asked (docs/programs.md has every field)
    input/frames/<frame>.jpg        the clip's own files; of those that viewers turn, without the tag that says so
    input/supports/000.jpg, .png    a support and its mask
    output/<class>#s0/<frame>.png   what the method writes

There is no truth in it. Whatever comes out is foreign: only plain files are opened, and none is inflated before its header
says the clip's size.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from icvos.errors import DataError, Finding, PluginError
from icvos.files import read_data, to_json, write_bytes
from icvos.kernels import kernel_named
from icvos.masks import size_text, without_turn
from icvos.names import NotData, data_in, not_data_below
from icvos.png import PngError, ValuesError, encode_png, png_size
from icvos.types import Clip, Mask, Support

FORMAT = "icvos-task/1"
MOST_FINDINGS = 20
MOST_INPUT = 1 << 30  # bytes of a picture
MEND = "mend the program, then run the same command again"
_A_MASK = "a one-channel PNG of 0 and 1, or of 0 and 255"


@dataclass(frozen=True, slots=True)
class Task:
    """What a call was given: its clip, its episodes (id -> folder of its masks), and the sha256 of every file of the input."""

    clip: Clip
    folders: Mapping[str, str]
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def masks(self) -> int:
        """How many masks are asked for."""
        return len(self.clip.frames) * len(self.folders)


def write_task(folder: Path, clip: Clip, episodes: Mapping[str, Sequence[Support]]) -> Task:
    """Write the input of one call into `folder`, which nobody may write to afterwards.

    Args:
        folder: made here.
        clip: of which the frames' pictures are copied and nothing else.
        episodes: id -> supports.

    Raises:
        DataError: a frame or a support is not the file that the release names.
        UserInputError: the disk is full.
    """
    written: dict[str, str] = {}

    def keep(name: str, data: bytes) -> str:
        write_bytes(folder / name, data)
        written[name] = sha256(data).hexdigest()
        return name

    def keep_picture(name: str, path: Path, digest: str) -> str:
        return keep(name, without_turn(read_data(path, digest)))  # so that every program sees the pixels that masks are made of

    frames = [keep_picture(f"frames/{frame.id}{frame.image.suffix}", frame.image, frame.image_sha256) for frame in clip.frames]
    asked, number = [], 0
    for episode_id, supports in episodes.items():
        given = []
        for support in supports:
            image = keep_picture(f"supports/{number:03d}{support.image.suffix}", support.image, support.image_sha256)
            given.append({"image": image, "mask": keep(f"supports/{number:03d}.png", encode_png(support.read_mask()))})
            number += 1
        asked.append({"episode": episode_id, "class": supports[0].category.name, "folder": _folder(episode_id), "supports": given})
    masks = [f"{frame.id}.png" for frame in clip.frames]
    task = {"format": FORMAT, "clip": clip.key, "size": list(clip.size), "frames": frames, "masks": masks, "episodes": asked}
    keep("task.json", to_json(task).encode())
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return Task(clip, {episode_id: _folder(episode_id) for episode_id in episodes}, written)


def check_input(folder: Path, task: Task, where: str) -> None:
    """See that a program left its input as it was.

    Raises:
        PluginError: a file was changed, removed or added.
    """
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    changed = sorted(there ^ set(task.written))
    for name in sorted(there & set(task.written)):
        try:
            if sha256(_plain_file(folder / name, MOST_INPUT)).hexdigest() != task.written[name]:
                changed.append(name)
        except (OSError, ValueError):
            changed.append(name)
    if changed:
        raise PluginError("the program changed its input", where, _words(changed[0]), "the input as it was given", MEND)


def read_masks(folder: Path, task: Task, where: str) -> Iterator[tuple[Mask, ...]]:
    """For each frame, one mask an episode, (H, W) bool, out of the PNGs that a program left.

    Raises:
        PluginError: there are faults; its findings list them all (the first of very many). No mask comes after the first fault.
    """
    faults = list(_faults_of_names(folder, task))
    absent = {name for name in task.folders.values() if _kind(folder / name) != "folder"}
    for frame in task.clip.frames:
        masks: list[Mask] = []
        for name in task.folders.values():
            if name in absent:
                continue
            try:
                masks.append(_read_mask(folder / name / f"{frame.id}.png", task))
            except _Fault as fault:
                faults.append(fault.finding(f"{name}/{frame.id}.png"))
        if not faults:
            yield tuple(masks)
    if faults:
        raise _faulty(where, task, faults, nothing=_kind(folder) == "folder" and not _entries(folder))


def not_data(folder: Path) -> NotData:
    """What lies in the output and is no data, named from there."""
    found = not_data_below(folder, 1)
    return replace(found, example=str(Path(found.example).relative_to(folder))) if found else found


class _Fault(Exception):
    """A mask file that cannot be taken."""

    def finding(self, where: str) -> Finding:
        code, found, expected = self.args
        return Finding(code, _words(where), found, expected, "mend the program")


def _faulty(where: str, task: Task, faults: Sequence[Finding], *, nothing: bool) -> PluginError:
    shown = faults[:MOST_FINDINGS]
    if nothing:
        return PluginError("the program wrote nothing", where, "an empty output folder", f"{task.masks} masks", MEND)
    return PluginError(
        "the program's masks have faults", where, f"{len(faults)}, first {shown[0]}", f"{task.masks} masks and nothing else", MEND, shown
    )


def _faults_of_names(folder: Path, task: Task) -> Iterator[Finding]:
    """What is there and should not be, and the episodes that are not there; nothing is opened."""
    kind = _kind(folder)
    if kind != "folder":
        yield Finding("extra-file", "output", kind, "the folder that was there", "mend the program")
        return
    ours, due = set(task.folders.values()), {f"{frame.id}.png" for frame in task.clip.frames}
    for path in _entries(folder):
        kind = _kind(path)
        if path.name not in ours or kind != "folder":
            yield Finding("extra-file", _words(path.name), kind, "a folder for each episode and nothing else", "mend the program")
            continue
        for inside in _entries(path):
            if inside.name not in due:
                where = _words(f"{path.name}/{inside.name}")
                yield Finding("extra-file", where, _kind(inside), "<frame>.png and nothing else", "mend the program")
    for name in task.folders.values():
        if not (folder / name).is_symlink() and not (folder / name).exists():
            yield Finding("missing-episode", name, "nothing", f"{len(task.clip.frames)} masks", "mend the program")


def _read_mask(path: Path, task: Task) -> Mask:
    height, width = task.clip.size
    try:
        data = _plain_file(path, 2 * height * (width + 1) + (1 << 16))  # a PNG that does not pack at all, with a palette and notes
    except FileNotFoundError:
        raise _Fault("missing-mask", "nothing", "a mask of this frame") from None
    except (OSError, ValueError) as error:
        raise _Fault("unreadable", getattr(error, "strerror", None) or str(error), _A_MASK) from error
    try:
        if (size := png_size(data)) != task.clip.size:
            raise _Fault("size", size_text(size), size_text(task.clip.size))
        kernel = kernel_named("numpy")
        return kernel.unpack(kernel.read_prediction(data))
    except PngError as error:
        raise _Fault("values" if isinstance(error, ValuesError) else "unreadable", str(error), _A_MASK) from error


def _plain_file(path: Path, most: int) -> bytes:
    """The bytes of a plain file: no link is followed, no pipe waited for, and no more read than `most`.

    Raises:
        OSError: it is not there or cannot be opened.
        ValueError: it is no plain file, or a larger one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError("a link") if error.errno == errno.ELOOP else error from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"a {_kind(path)}")
        if about.st_size > most:
            raise ValueError(f"a file of {about.st_size} bytes, more than the {most} that a mask can have")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(about.st_size)
    finally:
        os.close(descriptor)


def _kind(path: Path) -> str:
    """What lies there, in a word; links are not followed."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "nothing"
    kinds = {stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFREG: "file", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _entries(folder: Path) -> list[Path]:
    """The data in a folder, sorted; nothing where it is closed to us: then each mask in it is a fault."""
    try:
        return sorted(data_in(folder))
    except DataError:
        return []


def _folder(episode_id: str) -> str:
    return episode_id.rpartition("/")[2]


def _words(name: str) -> str:
    """A name that a program chose, for messages."""
    from icvos.render.text import one_line, shortened

    return shortened(one_line(name), 200)
