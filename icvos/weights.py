"""The weights that methods start from: what is known of each file, where it lies, and how it comes there.

A file counts only by its sha256: the published one, or, where none was published, that of the first file seen here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from icvos.cache import ENVIRONMENT, cache_folder
from icvos.download import Progress, alone, download
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.files import AnyPath, make_folder, parse_json, read_json, sha256_file, to_json, write_text

FORMAT = "icvos-weights/1"
REGISTRY = Path(__file__).parent / "data" / "weights.json"
FOLDER = "ICVOS_WEIGHTS"  # environment: the folder of weights
OFFLINE = "ICVOS_OFFLINE"  # environment: download nothing

PRECISIONS = ("fp32", "bf16")
YAML = frozenset({".yaml", ".yml"})  # of a SAM 2's configuration
UNTRAINED = "untrained"  # in the place of a file: parameters as torch's generator draws them

_SHA256 = r"[0-9a-f]{64}"
_FORMS = {
    "name": r"[a-z0-9][a-z0-9_.+-]*",
    "file": r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.(pt|pth|safetensors)",
    "url": r"(https://\S+)?",
    "sha256": rf"({_SHA256})?",
    "sha256_prefix": r"([0-9a-f]{8,63})?",
    "licence": r".+",
    "source": r"https://\S+",
    "what": r".+",
    "format": r"pt|safetensors",
    "by_hand": r"(https://\S+)?",
}


_LISTS = ("training_data", "training_classes", "validation_clips")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One published file of weights."""

    name: str  # as `icvos weights` takes it
    file: str  # its name on disk, the publisher's
    url: str  # empty where a program cannot fetch it
    sha256: str  # empty where it is not publicly known
    sha256_prefix: str  # the first digits, where only those are
    size: int | None  # bytes, where known
    licence: str
    source: str  # the page of the project
    what: str  # one line
    format: str  # "pt" (pickled tensors) or "safetensors"
    by_hand: str = ""  # the page to take it from where there is no url
    embedded: bool = False  # it comes with icvos
    training_data: tuple[str, ...] = ()  # what the model has seen, as its publisher says
    training_classes: tuple[str, ...] = ()  # of COCO, seen with their masks
    validation_clips: tuple[str, ...] = ()  # videos (source/clip) that were looked at while its training and settings were chosen

    @property
    def public_hash(self) -> str:
        """What is publicly known of its sha256: all of it, its first digits, or nothing."""
        return self.sha256 or self.sha256_prefix


@dataclass(frozen=True, slots=True)
class _Record:
    """Beside a file: its sha256, and size and time when it was taken, so that it is taken once."""

    sha256: str
    size: int
    mtime_ns: int


def weight_files(path: AnyPath = REGISTRY) -> dict[str, WeightFile]:
    """The registry, name -> file, in its own order.

    Raises:
        DataError: the file is not a registry of weights, or an entry is not as it must be.
    """
    path = Path(path)
    data = read_json(path)
    found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
    if found != FORMAT or not isinstance(data.get("files"), list):
        raise DataError("not a registry of weights", path, found=found, expected=FORMAT, fix="install icvos again")
    files = [_entry(path, number, row) for number, row in enumerate(data["files"])]
    registry = {file.name: file for file in files}
    if len(registry) < len(files) or len({file.file for file in files}) < len(files):
        raise DataError("two weights of one name", path, fix="give each entry its own `name` and `file`")
    return registry


def _entry(path: Path, number: int, row: Any) -> WeightFile:
    where = f"{path}, files[{number}]"
    try:
        file = WeightFile(**{**row, **{key: tuple(row.get(key, ())) for key in _LISTS}})
    except TypeError as error:
        raise DataError("not an entry of weights", where, str(error), "the fields of WeightFile", "complete it") from error
    for key, form in _FORMS.items():
        value = getattr(file, key)
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise DataError("wrong entry of weights", f"{where}, {key}", repr(value), f"text like {form}", "correct it")
    if not (file.size is None or (type(file.size) is int and file.size > 0)):
        raise DataError("wrong entry of weights", f"{where}, size", repr(file.size), "a number of bytes, or null", "correct it")
    if bool(file.url) + bool(file.by_hand) + (file.embedded is True) != 1:
        raise DataError(
            "wrong entry of weights", f"{where}, url", repr(file.url), "one of `url`, `by_hand`, `embedded`", "give one of them"
        )
    return file


def weight_file(name: str, registry: Mapping[str, WeightFile] | None = None) -> WeightFile:
    """What the registry says of `name`.

    Raises:
        UserInputError: it does not know the name.
    """
    known = weight_files() if registry is None else registry
    if name not in known:
        raise UserInputError("unknown weights", name, fix=did_you_mean(name, known))
    return known[name]


def weight_folder() -> Path:
    """Where weights lie: `ICVOS_WEIGHTS`, else ``weights`` in the cache (`ICVOS_CACHE`)."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen).expanduser()
    return cache_folder("weights")


def weight_path(file: WeightFile) -> Path:
    """Where this file lies, or would."""
    return REGISTRY.parent / file.file if file.embedded else weight_folder() / file.file


def fetch(
    name: str, *, offline: bool = False, on_progress: Progress | None = None, registry: Mapping[str, WeightFile] | None = None
) -> Path:
    """The path of these weights, downloaded unless they are there, and of the right sha256.

    Args:
        name: of the registry.
        offline: download nothing; so does `ICVOS_OFFLINE=1`.
        on_progress: called during a download with (bytes here, bytes in all or None).
        registry: instead of icvos' own.

    Raises:
        UserInputError: unknown name, not there and not to be downloaded, no connection (the same call goes on), unwritable folder.
        DataError: the file has another sha256.
    """
    file = weight_file(name, registry)
    path = weight_path(file)
    if not path.is_file():
        _refuse_unless_online(file, path, offline or is_offline())
        try:
            _obtain(file, path, on_progress)
        except OSError as error:
            fix = f"free some space, or choose another folder with {FOLDER} or {ENVIRONMENT}"
            raise UserInputError("cannot write", error.filename or path, error.strerror or str(error), fix=fix) from error
    _verify(file, path)
    return path


def resolve(
    weights: str | Path | None,
    name: str,
    *,
    offline: bool = False,
    on_progress: Progress | None = None,
    registry: Mapping[str, WeightFile] | None = None,
) -> Path:
    """The file that a user means: a path of their own, taken as it is; another name of the registry; or, by default, `name`.

    Raises:
        UserInputError: there is no such path, or what `fetch` raises.
        DataError: what `fetch` raises.
    """
    known = weight_files() if registry is None else registry
    if weights is None or (isinstance(weights, str) and weights in known):
        return fetch(weights or name, offline=offline, on_progress=on_progress, registry=known)
    path = Path(weights).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        close = did_you_mean(str(weights), known)
        fix = close if close.startswith("did") else "check the path, or take a name from `icvos weights`"
        raise UserInputError("no such weights", path, found, "a file, or a name of the registry", fix)
    return path


def is_offline() -> bool:
    """Whether the environment forbids downloads."""
    return os.environ.get(OFFLINE, "0") not in ("", "0")


def model_names(family: str) -> list[str]:
    """The registry's names of a family, ``sam2`` or ``sam_vit``."""
    return [name for name in weight_files() if name.startswith(family)]


def is_first_sam(model: str) -> bool:
    """Whether a name is that of a first SAM, which has no memory."""
    return model in model_names("sam_vit")


def sam_kind(model: str) -> str:
    """What a SAM is called in a sentence."""
    return "SAM" if is_first_sam(model) else "SAM 2"


def sam_facts(model: str, weights: str | None = None, precision: str = "fp32") -> dict[str, Any]:
    """What a card must say of a SAM: weights, precision, licence and training data. Nothing is downloaded or built.

    Args:
        model: a name of the registry, or a configuration file of a SAM 2.
        weights: as `resolve` takes them, or "untrained".
        precision: fp32 or bf16.

    Raises:
        UserInputError: there is no such model, file, or precision.
        DataError: a file cannot be read.
    """
    facts: dict[str, Any] = {"precision": checked_precision(precision)}
    known, first = weight_files(), is_first_sam(model)
    if not first and model not in known and Path(model).suffix not in YAML:
        raise UserInputError("unknown SAM", model, fix=did_you_mean(model, [*model_names("sam2"), *model_names("sam_vit")]))
    config = None if first else sam2_config(model)
    said = model if config is None else f"{config.name} {_hash(config)}"
    chosen = weights or model
    if chosen == UNTRAINED:
        return {**facts, "weights": f"{said} {UNTRAINED}"}
    if file := known.get(chosen):
        of = "" if chosen == model else f" {chosen}"
        return {
            **facts,
            "weights": f"{said}{of} {file.public_hash}".strip(),
            "licence": file.licence,
            "training_data": file.training_data,
            "validation_clips": file.validation_clips,
        }
    return {**facts, "weights": f"{said} {_hash(sam_weights(model, weights))}"}


def sam2_config(model: str) -> Path | None:
    """The configuration file that a SAM 2 is named by, or None where `model` is a name of the registry.

    Raises:
        UserInputError: it is neither.
    """
    names, path = model_names("sam2"), Path(model)
    if model in names:
        return None
    if path.suffix not in YAML:
        raise UserInputError("unknown SAM 2", model, fix=did_you_mean(model, names))
    if not path.is_file():
        raise UserInputError("no such configuration", path, expected=f"a YAML file or one of {', '.join(names)}", fix="check the path")
    return path


def sam_weights(model: str, weights: str | Path | None = None, *, offline: bool = False) -> Path:
    """The file of weights of a SAM, as `resolve` finds it; it is there afterwards.

    Raises:
        UserInputError: a configuration of one's own without weights, or a file that is not there and cannot be fetched.
        DataError: the file has another sha256.
    """
    if weights is None and not is_first_sam(model) and sam2_config(model):
        raise UserInputError("no weights", model, expected="a file for a configuration of your own", fix="give its file of weights, too")
    return resolve(weights, model, offline=offline)


def checked_precision(precision: str) -> str:
    """The precision, if it is one.

    Raises:
        UserInputError: it is neither fp32 nor bf16.
    """
    if precision not in PRECISIONS:
        raise UserInputError("unknown precision", precision, fix=did_you_mean(precision, PRECISIONS))
    return precision


def _refuse_unless_online(file: WeightFile, path: Path, offline: bool) -> None:
    if not file.url:
        fix = f"take {file.file} from {file.by_hand} and put it there"
        raise UserInputError(f"the weights {file.name} can only be fetched by hand", path, "nothing", file.what, fix)
    if offline:
        fix = f"fetch {file.url} where there is a network and put it there"
        raise UserInputError(f"the weights {file.name} are not here, and nothing may be downloaded", path, "nothing", file.what, fix)


def _obtain(file: WeightFile, path: Path, on_progress: Progress | None) -> None:
    """Download, hash, and only then give the file its name. Whoever comes second finds it done."""
    fix = f"choose another folder with {FOLDER} or {ENVIRONMENT}"
    if path.parts[0] == "~":  # the platform's, where nobody knows this user's home
        raise UserInputError("nowhere to keep weights", path, "no home folder", "a folder", fix)
    try:
        make_folder(path.parent)
    except UserInputError as error:
        raise UserInputError("cannot write", error.where, error.found, fix=fix) from error
    part = path.with_name(f"{path.name}.partial")
    with alone(path.with_name(f".{path.name}.lock")):
        if path.is_file():
            return
        download(file.url, part, resume=bool(file.public_hash), on_progress=on_progress)
        found, expected = _hash(part), _expected(file, _recorded(path))
        if not found.startswith(expected):
            part.unlink()
            fix = "it was removed; try again, and if it stays so the publisher's file has changed"
            raise DataError(f"wrong weights {file.name}", file.url, f"sha256 {found}", _said(expected), fix)
        _record(path, found, part.stat())
        part.replace(path)


def _verify(file: WeightFile, path: Path) -> None:
    """Compare the file's sha256, taken again only where size or time of the file have changed since."""
    if file.embedded:
        if (found := _hash(path)) != file.sha256:
            raise DataError("damaged weights", path, f"sha256 {found}", f"sha256 {file.sha256}", "install icvos again")
        return
    record, stat = _recorded(path), path.stat()
    fresh = record is not None and (record.size, record.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    if record and fresh and record.sha256.startswith(file.public_hash):
        return
    found, expected = _hash(path), _expected(file, record)
    if not found.startswith(expected):
        also = "" if file.sha256 else f" and {_beside(path).name}"
        again = f"run `icvos weights {file.name}`" if file.url else f"take it again from {file.by_hand}"
        raise DataError("wrong or damaged weights", path, f"sha256 {found}", _said(expected), f"delete the file{also}, then {again}")
    with suppress(UserInputError):  # a folder that others share may be read only: then the hash is taken each time
        _record(path, found, stat)


def _expected(file: WeightFile, record: _Record | None) -> str:
    """The sha256 or its first digits: as published, else as first seen here."""
    return file.sha256 or (record.sha256 if record else "") or file.sha256_prefix


def _said(expected: str) -> str:
    return f"sha256 {expected}" if len(expected) == 64 else f"a sha256 that begins with {expected}"


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError("cannot read", path, found=error.strerror or str(error), fix="check the file and its permissions") from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> _Record | None:
    try:
        record = _Record(**parse_json(_beside(path).read_bytes(), _beside(path)))
    except (OSError, TypeError, DataError):  # none, or not one of ours
        return None
    return record if isinstance(record.sha256, str) and re.fullmatch(_SHA256, record.sha256) else None


def _record(path: Path, sha256: str, stat: os.stat_result) -> None:
    write_text(_beside(path), to_json(asdict(_Record(sha256, stat.st_size, stat.st_mtime_ns))))
