"""What a job needs, whether it is there, and what to do where it is not. Data sets and packages are described in `data/needs.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icvos.errors import DataError
from icvos.files import read_json
from icvos.registry import method_names
from icvos.reproduce.jobs import Here, Job
from icvos.reproduce.recipes import DATA
from icvos.weights import weight_file, weight_path

GPU = Path("/dev/nvidia0")  # looked at rather than asked for: importing torch takes longer than the whole list


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a job needs."""

    name: str
    what: str
    fix: str  # how to come by it
    present: bool
    fetched: bool = False  # not there, but the job fetches it itself
    bytes: int = 0  # on disk

    @property
    def missing(self) -> bool:
        """Whether a person must do something first."""
        return not (self.present or self.fetched)


@cache
def described() -> Mapping[str, Any]:
    """needs.json: what is known of data sets and packages."""
    data: Mapping[str, Any] = read_json(DATA / "needs.json")
    return data


def needs_of(jobs: Iterable[Job], here: Here) -> tuple[Need, ...]:
    """What these jobs need, each once."""
    return tuple(need(name, here) for name in dict.fromkeys(name for job in jobs for name in job.needs))


def need(name: str, here: Here) -> Need:
    """One need by its name: an entry of needs.json, or ``KIND:NAME`` with a kind of `_NAMED`.

    Raises:
        DataError: there is no such need.
    """
    kind, colon, rest = name.partition(":")
    if colon:
        return _NAMED[kind](name, rest, here)
    try:
        entry = described()["needs"][name]
    except KeyError as error:
        raise DataError("no such need", name, fix="mend the recipe") from error
    return Need(name, entry["what"], entry["fix"], _PRESENT[entry["kind"]](entry, here), bytes=entry.get("bytes", 0))


def _weights(name: str, file: str, here: Here) -> Need:
    known = weight_file(file)
    fix = f"icvos weights {file}" if known.url else f"take it from {known.by_hand}"
    return Need(name, f"weights {file}", fix, weight_path(known).is_file(), bool(known.url), known.size or 0)


def _command(name: str, command: str, here: Here) -> Need:
    return Need(name, f"the command `icvos {command}`", "update icvos: this version does not have it", command in here.commands)


def _method(name: str, method: str, here: Here) -> Need:
    return Need(name, f"the method {method}", "update icvos, or install the plug-in that has it", method in method_names())


def _file(name: str, file: str, here: Here) -> Need:
    entry = described()["needs"]["file"]
    return Need(name, f"{entry['what']}, {file}", entry["fix"], (here.work / file).is_file())


def _folder(entry: Mapping[str, Any], here: Here) -> bool:
    root = here.roots.get(entry["root"])
    return root is not None and any((root / sign).exists() for sign in entry["any"])


def _release(entry: Mapping[str, Any], here: Here) -> bool:
    return bool(here.digest) and set(entry["sources"]) <= here.sources


def _packages(entry: Mapping[str, Any], here: Here) -> bool:
    return all(find_spec(package) for package in entry["packages"])


def _gpu(entry: Mapping[str, Any], here: Here) -> bool:
    return GPU.exists()


_PRESENT: Mapping[str, Callable[[Mapping[str, Any], Here], bool]] = {
    "folder": _folder,
    "release": _release,
    "packages": _packages,
    "gpu": _gpu,
}
_NAMED: Mapping[str, Callable[[str, str, Here], Need]] = {
    "weights": _weights,
    "command": _command,
    "method": _method,
    "file": _file,
}
