"""Submissions for tests: whole ones, and the faults that are planted into them, each with what must be found."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from icvos.png import encode_png

MASK = encode_png(np.zeros((24, 40), bool))
EPISODE = "davis/rex/dog#s0"
FRAME = f"{EPISODE}/00002.png"
PLACE = "dog#s0: 00002.png"

Expected = list[tuple[str, str]]  # codes, and what their paths end with


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(values: Any, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def grey(*first: int, size: tuple[int, int] = (24, 40)) -> bytes:
    values = np.zeros(size, np.uint8)
    values[0, : len(first)] = first
    return picture(values)


def header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(head: bytes, rows: bytes) -> bytes:
    return head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# What stands in the place of one mask, and the code of its fault.
CONTENTS: dict[str, tuple[str, bytes]] = {
    "empty file": ("unreadable", b""),
    "JPEG": ("unreadable", picture(np.zeros((24, 40), np.uint8), "jpeg")),
    "GIF": ("unreadable", picture(np.zeros((24, 40), np.uint8), "gif")),
    "web page": ("unreadable", b"<html><script>alert(1)</script></html>"),
    "pickle": ("unreadable", b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR."),
    "signature alone": ("unreadable", MASK[:8]),
    "truncated": ("unreadable", MASK[:-15]),
    "without its end": ("unreadable", MASK[:-12]),
    "checksum": ("unreadable", MASK[:40] + bytes([MASK[40] ^ 1]) + MASK[41:]),
    "behind the end": ("unreadable", MASK + b"PK\3\4 and more"),
    "two pictures": ("unreadable", MASK + MASK),
    "animated": ("unreadable", MASK[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + MASK[33:]),
    "RGB": ("unreadable", picture(np.zeros((24, 40, 3), np.uint8))),
    "RGBA": ("unreadable", picture(np.zeros((24, 40, 4), np.uint8))),
    "grey with alpha": ("unreadable", picture(np.zeros((24, 40, 2), np.uint8))),
    "16 bits": ("unreadable", picture(np.zeros((24, 40), np.uint16))),
    "3 bits": ("unreadable", png(header(40, 24, 3), bytes(24 * 16))),
    "declared giant": ("unreadable", png(header(100_000, 100_000), b"")),
    "no pixels": ("unreadable", png(header(0, 24), b"")),
    "inflates past its size": ("unreadable", png(header(40, 24), bytes(10**7))),
    "too few rows": ("unreadable", png(header(40, 24), bytes(41 * 23))),
    "row filter": ("unreadable", png(header(40, 24), (b"\7" + bytes(40)) * 24)),
    "third value": ("values", grey(1, 2)),
    "both forms": ("values", grey(1, 255)),
    "grey levels": ("values", grey(*range(40))),
    "254": ("values", grey(254)),
    "transposed": ("size", grey(1, size=(40, 24))),
    "large": ("size", png(header(8000, 8000), bytes(8001 * 8000))),
    "one pixel": ("size", grey(1, size=(1, 1))),
}


def write_folder(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MASK)
    return root


# Faults of folders: done to the folder itself.


def removed(*names: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return plant


def moved(old: str, new: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return plant


def added(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    return plant


def gone(name: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink(missing_ok=True)

    return plant


def steps(*plants: Callable[[Any], None]) -> Callable[[Any], None]:
    def plant(root: Any) -> None:
        for one in plants:
            one(root)

    return plant


def link(name: str, target: str) -> Callable[[Path], None]:
    return steps(gone(name), lambda root: (root / name).symlink_to(target))


def flat(root: Path) -> None:
    for clip in ("rex", "tom"):
        (root / "davis" / clip).rename(root / clip)
    (root / "davis").rmdir()


def pipe(name: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return plant


def zipped_episode(change: Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None] = lambda entries: None) -> Callable[[Path], None]:
    """The episode as a zip of its own instead of a folder."""

    def plant(root: Path) -> None:
        names = sorted(path.name for path in (root / EPISODE).iterdir())
        gone(EPISODE)(root)
        entries = [(zipfile.ZipInfo(name), MASK) for name in names]
        change(entries)
        (root / f"{EPISODE}.zip").write_bytes(zip_of(entries))

    return plant


def emptied(root: Path) -> None:
    for file in (root / EPISODE).iterdir():
        file.unlink()


def replaced(name: str, data: bytes) -> Callable[[Path], None]:
    return added(name, data)


def undecodable(root: Path) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/davis/rex/dog#s0/\xff\xfe.png"))).write_bytes(MASK)


def encoded(root: Path) -> None:
    for path in sorted((root / "davis/rex").iterdir()):
        path.rename(path.with_name(path.name.replace("#", "%23")))


def both_forms(root: Path) -> None:
    with zipfile.ZipFile(root / f"{EPISODE}.zip", "w") as archive:
        for file in sorted((root / EPISODE).iterdir()):
            archive.write(file, file.name)


def nested_too_deep(root: Path) -> None:
    zipped_episode(lambda entries: entries.append((zipfile.ZipInfo("more.zip"), zip_of([(zipfile.ZipInfo("a.png"), MASK)]))))(root)


wrapped = steps(moved(EPISODE, "davis/rex/inner"), moved("davis/rex/inner", f"{EPISODE}/inner"))
climbing_zip = zipped_episode(lambda entries: entries.append((zipfile.ZipInfo("../../up.png"), MASK)))

FOLDER: dict[str, tuple[Callable[[Path], None], Expected]] = {
    "a missing frame": (removed(FRAME), [("missing-mask", PLACE)]),
    "two missing frames": (removed(FRAME, f"{EPISODE}/00004.png"), [("missing-mask", PLACE), ("missing-mask", "dog#s0: 00004.png")]),
    "a missing episode": (gone(EPISODE), [("missing-episode", "dog#s0 (.zip or folder)")]),
    "an empty episode": (emptied, [("missing-episode", "rex/dog#s0")]),
    "an extra frame": (added(f"{EPISODE}/00006.png", MASK), [("extra-mask", "dog#s0/00006.png")]),
    "an extra draw": (added("davis/rex/dog#s5/00000.png", MASK), [("extra-episode", "davis/rex/dog#s5")]),
    "an extra class": (added("davis/rex/zebra#s0/00000.png", MASK), [("extra-episode", "davis/rex/zebra#s0")]),
    "an extra clip": (added("davis/max/dog#s0/00000.png", MASK), [("extra-episode", "davis/max/dog#s0")]),
    "an extra source": (added("mose/rex/dog#s0/00000.png", MASK), [("extra-episode", "mose/rex/dog#s0")]),
    "a folder of anything": (added("davis/rex/logs/a/b/train.log"), [("extra-file", "davis/rex/logs")]),
    "a file where episodes lie": (added("davis/rex/notes.txt"), [("extra-file", "rex/notes.txt")]),
    "a file at the top": (added("README.md"), [("extra-file", "README.md")]),
    "a program": (added("evaluate.py", b"import os"), [("extra-file", "evaluate.py")]),
    "a pickle": (added("davis/results.pkl", b"\x80\x04."), [("extra-file", "results.pkl")]),
    "an array": (added(f"{EPISODE}/masks.npy"), [("extra-file", "masks.npy")]),
    "a folder in an episode": (added(f"{EPISODE}/overlay/00000.png", MASK), [("extra-file", "dog#s0/overlay")]),
    "a link to a neighbour": (link(FRAME, "00001.png"), [("link", "dog#s0/00002.png")]),
    "a link out": (link(FRAME, "/etc/passwd"), [("link", "dog#s0/00002.png")]),
    "a link to nothing": (link(FRAME, "nowhere"), [("link", "dog#s0/00002.png")]),
    "a link for an episode": (link(EPISODE, "dog#s1"), [("link", "rex/dog#s0")]),
    "a link in a circle": (link("davis/rex/loop", ".."), [("link", "rex/loop")]),
    "a pipe for a mask": (pipe(FRAME), [("special-file", "dog#s0/00002.png")]),
    "a pipe at the top": (pipe("pipe"), [("special-file", "pipe")]),
    "a frame without zeros": (moved(FRAME, f"{EPISODE}/2.png"), [("name", "dog#s0/2.png")]),
    "a frame in capitals": (moved(FRAME, f"{EPISODE}/00002.PNG"), [("name", "dog#s0/00002.PNG")]),
    "a frame of another form": (moved(FRAME, f"{EPISODE}/00002.jpg"), [("unreadable", "dog#s0/00002.jpg")]),
    "a frame as an array": (moved(FRAME, f"{EPISODE}/00002.npy"), [("unreadable", "dog#s0/00002.npy")]),
    "a frame twice": (added(f"{EPISODE}/00002.jpg"), [("extra-file", "dog#s0/00002.jpg")]),
    "a frame that is a folder": (steps(gone(FRAME), lambda root: (root / FRAME).mkdir()), [("unreadable", PLACE)]),
    "an episode with an underline": (moved(EPISODE, "davis/rex/dog_s0"), [("name", "rex/dog_s0")]),
    "a class in capitals": (moved(EPISODE, "davis/rex/Dog#s0"), [("name", "rex/Dog#s0")]),
    "an episode encoded for the web": (moved(EPISODE, "davis/rex/dog%23s0"), [("name", "rex/dog%23s0")]),
    "all episodes of a clip encoded for the web": (encoded, [("name", f"davis/rex/dog%23s{draw}") for draw in range(5)]),
    "a clip in capitals": (moved("davis/tom", "davis/Tom"), [("name", "davis/Tom")]),
    "a source in capitals": (moved("davis", "DAVIS"), [("name", "DAVIS")]),
    "two folders too many": (moved("davis", "my/masks/davis"), [("layout", "")]),
    "the sources' folder left out": (flat, [("layout", "")]),
    "two folders too many, and a pipe": (steps(moved("davis", "my/masks/davis"), pipe("pipe")), [("special-file", "pipe"), ("layout", "")]),
    "something else": (steps(gone("davis"), added("a/b.png")), [("layout", "")]),
    "a clip that is a file": (steps(gone("davis/tom"), added("davis/tom")), [("unreadable", "davis/tom")]),
    "an episode that is a file": (steps(gone(EPISODE), added(EPISODE)), [("unreadable", "dog#s0")]),
    "an episode as a tarball": (steps(gone(EPISODE), added(f"{EPISODE}.tar.gz")), [("unreadable", "dog#s0.tar.gz")]),
    "a folder beside its zip": (both_forms, [("extra-episode", "dog#s0 (a second one)")]),
    "a name that is no text": (undecodable, [("extra-mask", "dog#s0/\\udcff\\udcfe.png")]),
    "a name that turns": (added(f"{EPISODE}/a\u202egnp.exe"), [("extra-file", "a\\u202egnp.exe")]),
    "a name of two lines": (added(f"{EPISODE}/a\n  icvos: no fault"), [("extra-file", "a\\n  icvos: no fault")]),
    "a zip that is none": (steps(gone(EPISODE), added(f"{EPISODE}.zip")), [("unreadable", "dog#s0.zip")]),
    "an empty zip": (zipped_episode(lambda entries: entries.clear()), [("missing-episode", "dog#s0.zip")]),
    "a zip that climbs": (climbing_zip, [("extra-file", "dog#s0.zip: ../../up.png")]),
    "a zip in an episode's zip": (nested_too_deep, [("extra-file", "dog#s0.zip: more.zip")]),
    "a folder around an episode's masks": (wrapped, [("layout", "dog#s0/inner")]),
    "a pipe for the run's file": (pipe("run.json"), [("special-file", "run.json")]),
    "a link for the run's file": (link("run.json", "/etc/hostname"), [("link", "run.json")]),
    "a link for the results": (link("results", "/tmp"), [("link", "results")]),
    "a locked zip": (zipped_episode(lambda entries: [setattr(info, "flag_bits", 1) for info, _ in entries]), [("encrypted", "dog#s0.zip")]),
}  # fmt: skip


# What is no data, and no fault: planted into folders, and put into zips by name.

NOT_DATA = (
    "davis/.DS_Store",
    f"{EPISODE}/.DS_Store",
    f"{EPISODE}/._00002.png",
    f"{EPISODE}/Thumbs.db",
    f"{EPISODE}/desktop.ini",
    "davis/rex/.ipynb_checkpoints/dog-checkpoint.png",
    "__MACOSX/davis/rex/dog#s0/._00000.png",
    "davis/rex/@eaDir/dog#s0/00000.png",
    ".git/config",
    "davis/rex/._dog#s0.zip",
)

# Faults of zips: done to the entries, or to the bytes.


def zip_of(entries: Iterable[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """A zip with these entries as they are: names twice, any flags, nothing tidied."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for info, data in entries:
            flags, archive.NameToInfo = info.flag_bits, {}
            archive.writestr(info, data)
            info.flag_bits = flags
        archive.NameToInfo = {}
    data, locked = stream.getvalue(), [info for info, _ in entries if info.flag_bits & 1]
    for info in locked:
        data = data[: info.header_offset + 6] + b"\1" + data[info.header_offset + 7 :]
    return data


@dataclass
class Draft:
    """A zip that is being made."""

    entries: list[tuple[zipfile.ZipInfo, bytes]]
    patches: list[Callable[[bytes], bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, names: Iterable[str]) -> Draft:
        return cls([(zipfile.ZipInfo(name), MASK) for name in names])

    def info(self, name: str) -> zipfile.ZipInfo:
        return next(info for info, _ in self.entries if info.filename == name)

    def add(self, name: str, data: bytes = MASK, **attributes: Any) -> None:
        info = zipfile.ZipInfo(name)
        info.filename = info.orig_filename = name  # zipfile itself cuts at NUL
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        self.entries.append((info, data))

    def put(self, name: str, data: bytes, **attributes: Any) -> None:
        self.entries = [(info, old) for info, old in self.entries if info.filename != name]
        self.add(name, data, **attributes)

    def rename(self, old: str, new: str) -> None:
        for info, _ in self.entries:
            if info.filename.startswith(old):
                info.filename = info.orig_filename = new + info.filename[len(old) :]

    def bytes(self) -> bytes:
        data = zip_of(self.entries)
        for patch in self.patches:
            data = patch(data)
        return data


def mode(kind: int) -> int:
    return (kind | 0o644) << 16


def in_directory(name: str, place: int, value: bytes) -> Callable[[bytes], bytes]:
    """Change a field of an entry in the zip's directory."""

    def patch(data: bytes) -> bytes:
        at = data.rindex(name.encode()) - 46 + place
        return data[:at] + value + data[at + len(value) :]

    return patch


def damaged(data: bytes) -> bytes:
    at = data.index(FRAME.encode()) + len(FRAME) + 50
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def nameless(data: bytes) -> bytes:
    """A zip with one more entry, whose name has no letter."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = ""
        archive.writestr(info, b"")
    return stream.getvalue()


def locked(draft: Draft) -> None:
    for info, _ in draft.entries:
        info.flag_bits |= 1


def windows(draft: Draft) -> None:
    for info, _ in draft.entries:
        info.filename = info.orig_filename = info.filename.replace("/", "\\")


def nested(draft: Draft, **attributes: Any) -> None:
    """The episode as a zip within the zip."""
    inner = [
        (zipfile.ZipInfo(info.filename.rpartition("/")[2]), data) for info, data in draft.entries if info.filename.startswith(f"{EPISODE}/")
    ]
    draft.entries = [entry for entry in draft.entries if not entry[0].filename.startswith(f"{EPISODE}/")]
    draft.add(f"{EPISODE}.zip", zip_of(inner), **attributes)


def nested_with(data: bytes, **attributes: Any) -> Callable[[Draft], None]:
    def plant(draft: Draft) -> None:
        nested(draft)
        draft.put(f"{EPISODE}.zip", data, **attributes)

    return plant


def overlapping(draft: Draft) -> None:
    first = draft.entries[0][0].filename
    draft.patches.append(in_directory(draft.entries[1][0].filename, 42, struct.pack("<I", 0)))
    draft.patches.append(in_directory(first, 42, struct.pack("<I", 0)))


def crowd(draft: Draft) -> None:
    for number in range(10_200):
        draft.add(f"spam/{number}", b"")


def bad_utf8(draft: Draft) -> None:
    draft.add("davis/rex/\u00e9", b"x")
    draft.patches.append(lambda data: data.replace("davis/rex/\u00e9".encode(), b"davis/rex/\xff\xff"))


def zipped_by_finder(draft: Draft) -> None:
    draft.rename("davis", "masks/davis")
    draft.add("__MACOSX/masks/._davis")


MOVED: Expected = [("extra-episode", "rex/dog#s9"), ("missing-mask", PLACE)]
APART = unicodedata.normalize("NFD", "é.txt")

ZIP: dict[str, tuple[Callable[[Draft], None], Expected]] = {
    "a path that climbs": (lambda draft: draft.add("../../../etc/cron.d/job"), [("extra-file", "../../../etc/cron.d/job")]),
    "a path that climbs from within": (lambda draft: draft.add("davis/../../x.png"), [("extra-file", "davis/../../x.png")]),
    "a path from the root": (lambda draft: draft.add("/etc/passwd"), [("extra-file", "/etc/passwd")]),
    "a path from a drive": (lambda draft: draft.add("C:/Windows/x.png"), [("extra-file", "C:/Windows/x.png")]),
    "a path with backslashes": (lambda draft: draft.add("..\\..\\x.png"), [("extra-file", "..\\..\\x.png")]),
    "a share": (lambda draft: draft.add("\\\\host\\share\\x.png"), [("extra-file", "\\\\host\\share\\x.png")]),
    "a mask with backslashes": (lambda draft: draft.rename(FRAME, FRAME.replace("/", "\\")), [("extra-file", FRAME.replace("/", "\\"))]),
    "a zip from Windows": (windows, [("extra-file", ".zip")]),
    "no name": (lambda draft: draft.patches.append(nameless), [("extra-file", ".zip: ")]),
    "a name with NUL": (lambda draft: draft.add("davis/rex/a\0.png"), [("extra-file", "davis/rex/a\\x00.png")]),
    "a name that turns": (lambda draft: draft.add("davis/\u202egnp.exe"), [("extra-file", "davis/\\u202egnp.exe")]),
    "a name that is no text": (bad_utf8, [("unreadable", ".zip")]),
    "a name without end": (lambda draft: draft.add("x" * 60_000), [("extra-file", "x" * 160 + "…")]),
    "a link": (lambda draft: draft.put(FRAME, b"/etc/passwd", external_attr=mode(stat.S_IFLNK)), [("link", FRAME)]),
    "a link beside": (lambda draft: draft.add("davis/x", b"/", external_attr=mode(stat.S_IFLNK)), [("link", "davis/x")]),
    "a pipe": (lambda draft: draft.put(FRAME, b"", external_attr=mode(stat.S_IFIFO)), [("special-file", FRAME)]),
    "a device": (lambda draft: draft.add("davis/sda", b"", external_attr=mode(stat.S_IFBLK)), [("special-file", "davis/sda")]),
    "a locked entry": (lambda draft: setattr(draft.info(FRAME), "flag_bits", 1), [("encrypted", FRAME)]),
    "a locked zip": (locked, [("encrypted", ".zip")]),
    "lzma": (lambda draft: draft.put(FRAME, MASK, compress_type=zipfile.ZIP_LZMA), [("packing", FRAME)]),
    "bzip2": (lambda draft: draft.put(FRAME, MASK, compress_type=zipfile.ZIP_BZIP2), [("packing", FRAME)]),
    "an unknown packing": (lambda draft: draft.patches.append(in_directory(FRAME, 10, b"\x63\0")), [("packing", FRAME)]),
    "a name twice": (lambda draft: draft.add(FRAME), [("extra-file", f"{FRAME} (a second one)")]),
    "a name twice but for case": (lambda draft: draft.add(f"{EPISODE}/00002.Png"), [("extra-file", "00002.Png")]),
    "a file and a folder of one name": (lambda draft: draft.add(f"{FRAME}/x.png"), [("extra-file", f"{FRAME}/x.png")]),
    "a bomb for a mask": (lambda draft: draft.put(FRAME, bytes(20_000_000), compress_type=8), [("too-large", PLACE)]),
    "a bomb beside": (lambda draft: draft.add("bomb.bin", bytes(80_000_000), compress_type=8), [("extra-file", "bomb.bin")]),
    "a bomb that lies": (lambda draft: draft.patches.append(in_directory(FRAME, 24, struct.pack("<I", 5_000_000))), [("too-large", PLACE)]),
    "a size that lies": (lambda draft: draft.patches.append(in_directory(FRAME, 24, struct.pack("<I", 4000))), [("unreadable", PLACE)]),
    "shared bytes": (overlapping, [("overlap", ".zip")]),
    "a crowd": (crowd, [("too-large", ".zip")]),
    "a checksum": (lambda draft: draft.patches.append(damaged), [("unreadable", PLACE)]),
    "a zip cut short": (lambda draft: draft.patches.append(lambda data: data[: len(data) // 2]), [("unreadable", ".zip")]),
    "no entry": (lambda draft: draft.entries.clear(), [("layout", ".zip")]),
    "a deep path": (lambda draft: draft.add("a/" * 2000 + "x.png"), [("extra-file", ("a/" * 80) + "…")]),
    "no zip": (lambda draft: draft.patches.append(lambda data: b"Rar!\x1a\7\0" + data[::-1]), [("unreadable", ".zip")]),
    "an empty file": (lambda draft: draft.patches.append(lambda data: b""), [("unreadable", ".zip")]),
    "a spare header": (lambda draft: draft.patches.append(in_directory(FRAME, 42, struct.pack("<I", 7))), [("overlap", ".zip")]),
    "a broken zip within": (nested_with(b"PK\3\4 no"), [("unreadable", f"{EPISODE}.zip")]),
    "a bomb within": (nested_with(bytes(70_000_000), compress_type=zipfile.ZIP_DEFLATED), [("too-large", f"{EPISODE}.zip")]),
    "a frame in another place": (lambda draft: draft.rename(FRAME, "davis/rex/dog#s9/00002.png"), MOVED),
    "two folders too many": (lambda draft: draft.rename("davis", "a/b/davis"), [("layout", ".zip")]),
    "a program": (lambda draft: draft.add("setup.py", b"raise SystemExit"), [("extra-file", "setup.py")]),
    "letters apart from their accents": (lambda draft: draft.add(f"davis/rex/{APART}"), [("extra-file", f"rex/{APART}")]),
}  # fmt: skip


# Faults of run.json


def changed(*way: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def plant(data: dict[str, Any]) -> None:
        for name in way[:-1]:
            data = data[name]
        data[way[-1]] = value

    return plant


def dropped(*way: str) -> Callable[[dict[str, Any]], None]:
    def plant(data: dict[str, Any]) -> None:
        for name in way[:-1]:
            data = data[name]
        del data[way[-1]]

    return plant


RECORDS: dict[str, tuple[Callable[[dict[str, Any]], None], Expected]] = {
    "another release": (changed("key", "digest", value="0" * 64), [("release", "run.json")]),
    "no key": (dropped("key"), [("run", "run.json: key")]),
    "a key of numbers": (changed("key", "code", value=7), [("run", "run.json: key.code")]),
    "an unknown field": (changed("card", "licens", value="MIT"), [("card", "run.json: card.licens")]),
    "no card": (dropped("card"), [("card", "run.json: card")]),
    "a card that is a list": (changed("card", value=[1]), [("card", "run.json: card")]),
    "text for a list": (changed("card", "training_data", value="COCO"), [("card", "run.json: card.training_data")]),
    "a number for text": (changed("card", "paper", value=3), [("card", "run.json: card.paper")]),
    "an unknown kind": (changed("card", "kind", value="best"), [("card", "run.json: card.kind")]),
    "text for yes or no": (changed("card", "parallel", value="yes"), [("card", "run.json: card.parallel")]),
    "another name than the key's": (changed("card", "name", value="other"), [("card", "run.json: card.name")]),
    "a name that is a path": (changed("card", "name", value="../../home"), [("card", "run.json: card.name")]),
    "no name": (changed("card", "name", value=" "), [("card", "run.json: card.name")]),
    "text without end": (changed("card", "summary", value="x" * 20_000), [("card", "run.json: card.summary")]),
    "half a letter": (changed("card", "summary", value="\ud800"), [("card", "run.json: card.summary")]),
}

DOCUMENTS: dict[str, bytes] = {
    "no JSON": b"{'key': 1}",
    "no text": b"\xff\xfe\x00{",
    "a list": b"[1, 2]",
    "nothing": b"",
    "without end": b"[" * 100_000,
    "huge": b'{"key": "' + b"x" * 9_000_000 + b'"}',
    "a long number": b'{"key": ' + b"9" * 5000 + b"}",
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
    "a page": json.dumps("<script>alert(1)</script>").encode(),
}
