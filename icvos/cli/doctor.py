"""`icvos doctor`: what is installed, whose it is, and what is missing with the command that brings it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import options

if TYPE_CHECKING:
    from packaging.requirements import Requirement

COLLECTIONS = {"all", "test"}  # extras made of others
ROOMS = ("icvos", "curation", "baselines", "dcsam")


@click.command("doctor")
@options.as_json
def command(as_json: bool) -> None:
    """Report versions, whose modules are imported, PyTorch and CUDA, devices with their memory, data folders, and what each extra lacks.

    \b
    icvos doctor
    icvos doctor --json
    """
    import json

    report = {
        "versions": _versions(),
        "modules": _modules(),
        "torch": _torch(),
        "devices": _devices(),
        "scoring kernel": _kernel(),
        "programs": _programs(),
        "data": _data(),
        "extras": _extras(),
    }
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    for title, entries in report.items():
        click.echo(f"{title}:")
        for name, value in entries.items() if isinstance(entries, dict) else [("", entries)]:
            click.echo(f"  {name}: {value}" if name else f"  {value}")


def _versions() -> dict[str, str]:
    always = {one.name for one in _requirements() if one.marker is None or one.marker.evaluate({"extra": ""})}
    return {"python": sys.version.split()[0]} | {name: _version(name) or "missing" for name in ("icvos", *sorted(always))}


def _modules() -> dict[str, str]:
    """Where each room was found; another package may carry the same plain name and stand before ours."""
    from importlib.util import find_spec

    home = Path(str(import_module("icvos").__file__)).parent.parent
    found = {}
    for room in ROOMS:
        spec = find_spec(room)
        path = Path(spec.origin).parent if spec and spec.origin else None
        ours = path is not None and path.parent == home
        found[room] = f"{path} (ours)" if ours else f"{path} (NOT ours: expected {home / room}; rename or uninstall the other package)"
    return found


def _torch() -> dict[str, str]:
    """PyTorch's version and build, and whether it finds CUDA; a torch that cannot be imported says why."""
    try:
        torch = import_module("torch")
    except ModuleNotFoundError:
        return {"version": "missing", "fix": "run: pip install 'icvos[models]'"}
    except Exception as error:  # a build that does not fit this machine
        return {"version": _version("torch") or "unknown", "cannot be imported": f"{type(error).__name__}: {error}"}
    built = (
        f"for CUDA {torch.version.cuda}"
        if torch.version.cuda
        else f"for ROCm {torch.version.hip}"
        if torch.version.hip
        else "for CPU alone"
    )
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        cuda = f"available, {torch.version.cuda or torch.version.hip}, {count} device{'' if count == 1 else 's'}"
    else:
        cuda = "not available: no device or driver found" if torch.version.cuda or torch.version.hip else "not available: built without it"
    return {"version": str(torch.__version__), "build": built, "CUDA": cuda}


def _devices() -> dict[str, str]:
    """What can compute here; of each GPU its memory and how much of it is free."""
    devices = {"cpu": f"{_cores()} cores"}
    try:
        torch = import_module("torch")
    except Exception:  # `_torch` says why
        return devices | {"accelerators": "unknown without torch"}
    for number in range(torch.cuda.device_count()):
        devices[f"cuda:{number}"] = f"{torch.cuda.get_device_name(number)}, {_memory(torch, number)}"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _memory(torch: Any, number: int) -> str:
    total = torch.cuda.get_device_properties(number).total_memory
    try:
        free, _ = torch.cuda.mem_get_info(number)
    except Exception as error:  # another process holds all of it, or the GPU for itself
        return f"{total / 2**30:.1f} GiB of memory, free memory unknown ({type(error).__name__})"
    return f"{total / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB free"


def _cores() -> int:
    from icvos.parallel import core_count

    return core_count()


def _kernel() -> str:
    from icvos.kernels import best_kernel

    return best_kernel().name


def _programs() -> dict[str, str]:
    """What `--program` is kept in by on this machine."""
    if not sys.platform.startswith("linux"):
        return {"programs, containers": f"run on Linux alone, and this is {sys.platform}"}
    from icvos.programs.job import walls_here

    return walls_here().about()


def _data() -> dict[str, str]:
    from curation.sources.catalogue import ENTRIES
    from icvos.errors import UserInputError
    from icvos.settings import known_roots

    try:
        roots = known_roots(ENTRIES)
    except UserInputError as error:  # what is wrong is just what this command is asked
        return {"settings": str(error)}
    return {name: str(roots.get(name, "not set: set ICVOS_DATA, or `data` in icvos.toml")) for name in ENTRIES}


def _extras() -> dict[str, str]:
    """Of each extra what it lacks, and the command that brings it."""
    lacking: dict[str, list[str]] = {extra: [] for extra in metadata("icvos").get_all("Provides-Extra") or [] if extra not in COLLECTIONS}
    for extra, missing in lacking.items():
        for one in _requirements():
            if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""}):
                found = _version(one.name)
                if found is None:
                    missing.append(one.name)
                elif not one.specifier.contains(found, prereleases=True):
                    missing.append(f"{one.name} {one.specifier} (found {found})")
    return {extra: f"lacks {', '.join(names)}: pip install 'icvos[{extra}]'" if names else "complete" for extra, names in lacking.items()}


def _requirements() -> list[Requirement]:
    """What the installed package asks for, its extras included."""
    from packaging.requirements import Requirement

    return [Requirement(line) for line in requires("icvos") or []]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
