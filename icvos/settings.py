"""Where things lie when the command line does not say: the environment, then `icvos.toml` in the current folder.

benchmark = "ic-vos"        # the release that `run` and `score` use
runs = "runs"               # where `run` writes and `leaderboard` reads
data = "/data"              # DAVIS/, MOSE/, LVOS/, COCO/ inside

[roots]                     # or one by one
davis = "/elsewhere/DAVIS"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icvos.errors import UserInputError, did_you_mean
from icvos.files import AnyPath

FILE = "icvos.toml"
ENVIRONMENT = "ICVOS_DATA"
# The folder of a source below a data folder; a plug-in's is its name in capitals.
FOLDERS = {"davis2016": "DAVIS", "mose2": "MOSEv2", "lvos2": "LVOS", "lvos1": "LVOSv1", "pascal": "VOC2012"}
_KEYS = {"benchmark": str, "runs": str, "data": str, "roots": dict}


@dataclass(frozen=True, slots=True)
class Settings:
    """What `icvos.toml` and the environment say; a command line's options go before both."""

    benchmark: Path = Path("ic-vos")
    runs: Path = Path("runs")
    data: Path | None = None
    roots: Mapping[str, Path] = field(default_factory=dict)

    def known_roots(self, folders: Mapping[str, str]) -> dict[str, Path]:
        """Where each of these sources lies (source -> its folder's name below a data folder), as far as this says.

        Raises:
            UserInputError: a data folder was named and is not there.
        """
        environment = os.environ.get(ENVIRONMENT)
        below_file = roots_below(self.data, folders, f"`data` in {FILE}") if self.data else {}
        below_environment = roots_below(environment, folders, ENVIRONMENT) if environment else {}
        return below_file | {name: root for name, root in self.roots.items() if name in folders} | below_environment


def folder_of(source: str) -> str:
    """The folder of a source below a data folder."""
    return FOLDERS.get(source, source.upper())


def located(sources: Iterable[str], known: Mapping[str, Path], said: Mapping[str, Path]) -> dict[str, Path]:
    """Where sources lie: as `said`, else where they were `known` to, else by the environment and `icvos.toml`.

    Raises:
        UserInputError: a data folder that is needed was named and is not there.
    """
    here = {name: root for name, root in known.items() if root.is_dir()} | dict(said)
    found = {**known, **known_roots(name for name in sources if name not in here), **here}
    return {name: root.absolute() if root.is_dir() else root for name, root in found.items()}  # whatever becomes the working folder


def known_roots(sources: Iterable[str]) -> dict[str, Path]:
    """Where these sources lie by the environment and `icvos.toml`.

    Raises:
        UserInputError: a data folder was named and is not there.
    """
    folders = {name: folder_of(name) for name in sources}
    return load_settings(Path()).known_roots(folders) if folders else {}


def roots_below(data: AnyPath, folders: Mapping[str, str], said_by: str = "--data") -> dict[str, Path]:
    """The folders of sources below a data folder, whichever way their names are cased; `said_by` is what named the folder.

    Raises:
        UserInputError: there is no such data folder.
    """
    data = Path(data)
    if not data.is_dir():
        expected = "a folder with " + ", ".join(f"{folder}/" for folder in folders.values()) + " inside"
        raise UserInputError("no such data folder", data, expected=expected, fix=f"check {said_by}")
    there = {entry.name.lower(): entry for entry in sorted(data.iterdir()) if entry.is_dir()}
    return {name: there[folder.lower()] for name, folder in folders.items() if folder.lower() in there}


def load_settings(folder: AnyPath) -> Settings:
    """The settings of `folder`: its `icvos.toml`, if there is one; paths in it are taken from `folder`.

    Raises:
        UserInputError: the file is not TOML, or has an unknown or wrong entry.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        return Settings()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError("cannot read", path, found=error.strerror or str(error), fix="check the file and its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserInputError("not TOML", path, found=str(error), fix="mend the file") from error
    _check(path, data)
    return Settings(
        benchmark=_from(folder, data.get("benchmark", Settings().benchmark)),
        runs=_from(folder, data.get("runs", Settings().runs)),
        data=_from(folder, data["data"]) if "data" in data else None,
        roots={name: _from(folder, root) for name, root in data.get("roots", {}).items()},
    )


def _from(folder: Path, path: str | Path) -> Path:
    # Nobody expands ~ in a file as a shell does on a command line.
    return folder / (Path(path).expanduser() if str(path).startswith("~/") else path)


def _check(path: Path, data: dict[str, Any]) -> None:
    for key, value in data.items():
        if key not in _KEYS:
            raise UserInputError("unknown setting", f"{path}, {key}", fix=did_you_mean(key, _KEYS))
        if not isinstance(value, _KEYS[key]) or (key == "roots" and not all(isinstance(root, str) for root in value.values())):
            raise UserInputError(
                "wrong setting", f"{path}, {key}", repr(value), "a path" if key != "roots" else "source = path", "mend the file"
            )
