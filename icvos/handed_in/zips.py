"""Zips as nodes, read where they lie. A zip's directory is written by whoever wrote the zip: it is judged before it is used."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from icvos.errors import Finding
from icvos.handed_in.limits import ANY, MOST_DEPTH, MOST_ENTRY_BYTES, MOST_INNER_BYTES, MOST_MASK_BYTES, MOST_RATIO, Limits
from icvos.handed_in.names import clean_parts, is_left_behind, shown, unsafe
from icvos.handed_in.nodes import Listing, Node, Refused, too_large, unreadable
from icvos.names import NONE_LEFT, NotData

# All that the standard library raises at damaged or hostile zips; ValueError includes undecodable names.
BROKEN = (OSError, EOFError, ValueError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile, zlib.error)
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # by a password, strongly, with its directory
_LOCAL_HEADER = 30  # bytes, before the name


class _Part:
    """A part of a file as a file of its own, as zipfile needs one; no single read may ask for more than `most`."""

    def __init__(self, stream: IO[bytes], start: int = 0, length: int | None = None) -> None:
        self._stream = stream
        self._start, self._place, self.most = start, 0, -1
        self.length = self._stream.seek(0, io.SEEK_END) - start if length is None else length

    def read(self, count: int = -1) -> bytes:
        left = max(self.length - self._place, 0)
        count = left if count < 0 else min(count, left)
        if 0 <= self.most < count:
            raise Refused("too-large", f"a directory of {count:,} bytes", f"at most {self.most:,}", "hand in the masks alone")
        self._stream.seek(self._start + self._place)
        data = self._stream.read(count)
        self._place += len(data)
        return data

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._place = place + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.length}[whence]
        if self._place < 0:
            raise OSError("a place before the beginning")  # as files say it, for which zipfile is ready
        return self._place

    def tell(self) -> int:
        return self._place

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()

    def __del__(self) -> None:  # a worker keeps its zip open for as long as there may be another clip
        self.close()


class _Archive:
    """An opened zip, and where in which file it lies."""

    def __init__(self, stream: _Part | io.BytesIO, path: Path | None, start: int, limits: Limits) -> None:
        self.stream, self.path, self.start = stream, path, start
        try:
            if isinstance(stream, _Part):
                stream.most = limits.entries * MOST_ENTRY_BYTES
            self.zip = zipfile.ZipFile(cast(IO[bytes], stream))
            if isinstance(stream, _Part):
                stream.most = -1
        except Refused:
            stream.close()
            raise
        except BROKEN as error:
            stream.close()
            raise unreadable(error, "a whole zip of PNGs") from error

    def data_of(self, info: zipfile.ZipInfo) -> int:
        """Where the bytes of an entry begin in the zip: behind its own header, whose lengths the directory does not tell.

        Raises:
            Refused: there is no such header.
        """
        try:
            self.zip.open(info).close()  # compares the header with the directory
            self.stream.seek(info.header_offset + _LOCAL_HEADER - 4)
            name, extra = struct.unpack("<HH", self.stream.read(4))
            return info.header_offset + _LOCAL_HEADER + int(name) + int(extra)
        except BROKEN as error:
            raise unreadable(error, "a whole zip of PNGs") from error

    def size(self) -> int:
        """Bytes of the zip itself."""
        return self.stream.length if isinstance(self.stream, _Part) else len(self.stream.getbuffer())

    def close(self) -> None:
        self.zip.close()
        self.stream.close()  # zipfile leaves open what it was handed


def open_zip(path: Path, where: str, limits: Limits) -> Node:
    """The zip at `path` as a folder.

    Raises:
        Refused: it is none, or asks for more than the limits allow.
    """
    try:
        if not path.is_file():  # to open a pipe would be to wait for ever
            raise OSError("neither a file nor a folder")
        stream = _Part(path.open("rb"))
    except OSError as error:
        raise unreadable(error, "a zip that may be read") from error
    return _planted(_Archive(stream, path, 0, limits), where, limits)


class _Packed(Node):
    """An entry of a zip, or a folder that entries lie in, or (without a parent) the zip itself."""

    def __init__(self, archive: _Archive, name: str, where: str, info: zipfile.ZipInfo | None = None, fault: Refused | None = None) -> None:
        super().__init__(name, where, info is None or _is_folder(info), fault)
        self.archive, self.info = archive, info
        self.children: dict[str, Node] = {}
        self.findings: tuple[Finding, ...] = ()
        self.not_data = NONE_LEFT
        self._inner: Node | None = None
        self.is_top = False

    def listed(self, limits: Limits | None = None) -> Listing:
        """See `Node.listed`."""
        if self.info is None or self.is_folder:
            return Listing(self.children, self.findings, self.not_data)
        if self._inner is None:
            self._inner = self._opened(self.info, limits or ANY)
        return self._inner.listed()

    def read(self, most: int) -> bytes:
        """See `Node.read`."""
        if self.info is None or self.is_folder:
            raise Refused("unreadable", "a folder", "a file", "put the file in its place")
        if self.info.file_size > most:
            raise too_large(self.info.file_size, most)
        try:
            data = self.archive.zip.read(self.info)
        except BROKEN as error:
            raise unreadable(error, "a whole entry of a zip") from error
        if len(data) != self.info.file_size:
            raise unreadable(ValueError(f"{len(data):,} bytes, {self.info.file_size:,} by the zip's directory"), "a whole entry of a zip")
        return data

    def _opened(self, info: zipfile.ZipInfo, limits: Limits) -> Node:
        """The zip within this zip: read where it lies if it is stored, else inflated into memory."""
        outer = self.archive
        if info.compress_type == zipfile.ZIP_STORED and outer.path:
            start = outer.start + outer.data_of(info)
            stream: _Part | io.BytesIO = _Part(outer.path.open("rb"), start, info.compress_size)
            return _planted(_Archive(stream, outer.path, start, limits), self.where, limits)
        return _planted(_Archive(io.BytesIO(self.read(MOST_INNER_BYTES)), None, 0, limits), self.where, limits)

    def close(self) -> None:
        """See `Node.close`."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None
        if self.is_top:
            self.archive.close()


def _planted(archive: _Archive, where: str, limits: Limits) -> Node:
    """The tree of a zip's entries, once the zip as a whole is within its limits.

    Raises:
        Refused: it is not.
    """
    infos = archive.zip.infolist()
    try:
        _check_whole(infos, archive.size(), limits)
    except Refused:
        archive.close()
        raise
    top = _Packed(archive, "", where)
    top.is_top = True
    left = {info.orig_filename for info in infos if is_left_behind(info.orig_filename)}
    top.not_data = NotData.of(_below(top, name) for name in left)
    infos = [info for info in infos if info.orig_filename not in left]
    faults = [(info, fault) for info in infos if (fault := _plant(top, info))]
    top.findings = tuple(_findings(faults, sum(not _is_folder(info) for info in infos), where))
    return top


def _check_whole(infos: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    fix = "hand in the masks alone, each once"
    if len(infos) > limits.entries:
        raise Refused("too-large", f"{len(infos):,} entries", f"at most {limits.entries:,} for this release", fix)
    readable = [info for info in infos if info.file_size <= MOST_MASK_BYTES]  # larger ones are refused one by one
    total = sum(info.file_size for info in readable)
    if total > limits.total:
        raise Refused("too-large", f"{total:,} bytes, unpacked", f"at most {limits.total:,} for this release", fix)
    end = 0
    for info in sorted(readable, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Refused("overlap", f"entries that share bytes ({shown(info.filename)})", "each entry in its own place", "write it again")
        end = info.header_offset + _LOCAL_HEADER + len(info.orig_filename.encode(errors="replace")) + info.compress_size
    if total > MOST_RATIO * max(size, 1):
        raise Refused("too-large", f"{total:,} bytes packed into {size:,}", "what deflate can do", fix)


def _plant(top: _Packed, info: zipfile.ZipInfo) -> Refused | None:
    """Put an entry where its name says; what is wrong with it, if anything is."""
    raw = info.orig_filename
    fault, parts = _fault(info, raw), clean_parts(raw)
    node = top
    if not parts or len(parts) > MOST_DEPTH:
        return fault
    for part in parts[:-1]:
        node = _folder(node, part, fault)
        if not node.is_folder:
            return fault or _second(raw, "a file that is a folder too")
    there = node.children.get(parts[-1])
    if there is None:
        there = node.children[parts[-1]] = _Packed(top.archive, parts[-1], _below(node, parts[-1]), info, fault)
    elif not fault and there.fault and isinstance(there, _Packed) and there.is_folder == _is_folder(info):
        there.info, there.fault = info, None  # a better entry than the one whose name came to the same
    elif not fault and not (_is_folder(info) and there.is_folder):
        return _second(raw, "a second entry of this name")
    return fault


def _folder(node: _Packed, part: str, fault: Refused | None) -> _Packed:
    """The folder of this name in a folder, made if it is not there; faulty unless something sound lies in it."""
    child = node.children.get(part)
    if child is None:
        child = node.children[part] = _Packed(node.archive, part, _below(node, part), fault=fault)
    child.fault = child.fault and fault
    return cast(_Packed, child)


def _below(node: _Packed, name: str) -> str:
    return f"{node.where}{': ' if node.is_top else '/'}{shown(name)}"


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith("/")  # zipfile's own way fails where there is no name


def _second(raw: str, found: str) -> Refused:
    return Refused("extra-file", found, "each name once", "remove it")


def _fault(info: zipfile.ZipInfo, raw: str) -> Refused | None:
    """Why an entry must not be read."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return Refused("link", "a symbolic link", "a file", "put what it leads to in its place")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return Refused("special-file", "a pipe, socket or device", "a file", "remove it")
    if reason := unsafe(raw):
        return Refused("extra-file", reason, "a path below the zip's top, with plain slashes", "write the zip again, with relative paths")
    if info.flag_bits & _ENCRYPTED:
        return Refused("encrypted", "an encrypted entry", "one that anybody can read", "write the zip again without a password")
    if not _is_folder(info) and info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packing = zipfile.compressor_names.get(info.compress_type, f"method {info.compress_type}")  # type: ignore[attr-defined]
        # Others may ask for any amount of memory.
        return Refused("packing", f"packed neither by store nor by deflate ({packing})", "either of them", "write the zip again")
    return None


def _findings(faults: Iterable[tuple[zipfile.ZipInfo, Refused]], files: int, where: str) -> list[Finding]:
    """One finding an entry; a single one where every file of the zip has the same fault."""
    faults = list(faults)
    counts = Counter(fault.found for info, fault in faults if not _is_folder(info))
    everywhere = {found for found, count in counts.items() if count == files > 1}
    findings = [fault.at(f"{where}: {_named(info, fault)}") for info, fault in faults if fault.found not in everywhere]
    for fault in {fault.found: fault for _, fault in faults if fault.found in everywhere}.values():
        findings.insert(0, Finding(fault.code, where, f"{fault.found}, as all {files} entries are", fault.expected, fault.fix))
    return findings


def _named(info: zipfile.ZipInfo, fault: Refused) -> str:
    name = shown(info.orig_filename)
    return f"{name} (a second one)" if fault.found.startswith("a second") else name
