"""Files and folders handed in, on disk and in zips alike, listed without following or loading anything.

A node is a folder, or a file whose bytes can be read; a file may be listed too, as the zip that it should be. Links, pipes and
devices, and entries of a zip that must not be read, are told as findings where they are listed, and keep their place so that
nobody reports the same fault as something missing.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from icvos.errors import Finding
from icvos.handed_in.limits import ANY, Limits
from icvos.handed_in.names import shown
from icvos.names import NONE_LEFT, NotData, is_junk


class Refused(ValueError):
    """Something handed in that cannot be read; `code` and the rest are those of its finding."""

    def __init__(self, code: str, found: str, expected: str, fix: str) -> None:
        super().__init__(found)
        self.code, self.found, self.expected, self.fix = code, found, expected, fix

    def at(self, where: str) -> Finding:
        """The finding."""
        return Finding(self.code, where, self.found, self.expected, self.fix)


def unreadable(error: Exception, expected: str) -> Refused:
    """What cannot be read, in the words of the error."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return Refused("unreadable", shown(said), expected, "write it again")


def too_large(size: int, most: int) -> Refused:
    """A file of more bytes than any mask needs."""
    fix = "hand in a PNG of one bit or one byte a pixel"
    return Refused("too-large", f"a file past {most / 2**20:.0f} MB ({size:,} bytes)", f"at most {most:,} bytes", fix)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder or a zip holds, by name, what had to be told of it, and what lies in it and is no data."""

    children: Mapping[str, Node]
    findings: tuple[Finding, ...] = ()
    not_data: NotData = NONE_LEFT


class Node(ABC):
    """A file or a folder."""

    def __init__(self, name: str, where: str, is_folder: bool, fault: Refused | None = None) -> None:
        self.name, self.where, self.is_folder = name, where, is_folder
        self.fault = fault  # a finding says already what is wrong with it: it is neither read nor missing

    @abstractmethod
    def listed(self, limits: Limits | None = None) -> Listing:
        """What the folder holds, or the zip, which is opened within these limits.

        Raises:
            Refused: it cannot be listed.
        """

    @abstractmethod
    def read(self, most: int) -> bytes:
        """The bytes of the file, at most so many.

        Raises:
            Refused: they cannot be read.
        """

    def child(self, name: str) -> Node | None:
        """What is called exactly so in it, if it can be listed and may be read."""
        try:
            found = self.listed().children.get(name)
        except Refused:
            return None
        return None if found is None or found.fault else found

    @abstractmethod
    def close(self) -> None:
        """Let go of what was opened to list it."""


class OnDisk(Node):
    """A file or folder on disk."""

    def __init__(self, path: Path, name: str = "", where: str = "", fault: Refused | None = None, limits: Limits = ANY) -> None:
        super().__init__(name or path.name, where or shown_path(path), fault is None and path.is_dir(), fault)
        self.path, self.limits = path, limits
        self._zip: Node | None = None
        self._listing: Listing | None = None

    def listed(self, limits: Limits | None = None) -> Listing:
        """See `Node.listed`."""
        if not self.is_folder:
            if self._zip is None:
                from icvos.handed_in.zips import open_zip

                self._zip = open_zip(self.path, self.where, limits or self.limits)
            return self._zip.listed()
        if self._listing is None:  # its nodes stay the same, so that what is noted in them stays
            self._listing = self._scanned()
        return self._listing

    def _scanned(self) -> Listing:
        children, findings, left = {}, [], []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    where = f"{self.where}/{shown(entry.name)}"
                    if is_junk(entry.name):
                        # a run that was killed, or that goes on at this moment, has written half of what is .partial
                        left += [] if entry.name.endswith(".partial") else [where]
                        continue
                    fault = _kind_fault(entry)
                    if fault:
                        findings.append(fault.at(where))
                    children[entry.name] = OnDisk(self.path / entry.name, entry.name, where, fault)
        except OSError as error:
            raise unreadable(error, "a folder that may be listed") from error
        return Listing(children, tuple(sorted(findings, key=lambda finding: finding.where)), NotData.of(left))

    def read(self, most: int) -> bytes:
        """See `Node.read`."""
        try:
            size = self.path.stat().st_size
            if size > most:
                raise too_large(size, most)
            return self.path.read_bytes()
        except OSError as error:
            raise unreadable(error, "a file that may be read") from error

    def child(self, name: str) -> Node | None:
        """See `Node.child`."""
        if not self.is_folder:
            return super().child(name)
        path = self.path / name
        try:
            kind = path.lstat().st_mode
        except OSError:
            return None
        return OnDisk(path, name, f"{self.where}/{shown(name)}") if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else None

    def close(self) -> None:
        """See `Node.close`."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None


def _kind_fault(entry: os.DirEntry[str]) -> Refused | None:
    if entry.is_symlink():
        return Refused("link", "a symbolic link", "a file or a folder", "put what it leads to in its place")
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        return Refused("special-file", "a pipe, socket or device", "a file or a folder", "remove it")
    return None


def shown_path(path: Path) -> str:
    """A path as it may stand in a message; long ones are not cut."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(path))
