"""`icvos doctor`: what is installed, whose it is, and what is missing with the command that brings it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from icvos.cli import options

ROOMS = ("icvos", "curation", "baselines", "dcsam")


@click.command("doctor")
@options.as_json
def command(as_json: bool) -> None:
    """Report versions, whose modules are imported, devices, data folders, and missing extras.

    \b
    icvos doctor
    icvos doctor --json
    """
    import json

    report = {
        "versions": _versions(),
        "modules": _modules(),
        "devices": _devices(),
        "scoring kernel": _kernel(),
        "programs": _programs(),
        "data": _data(),
        "missing extras": _missing_extras(),
    }
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    for title, entries in report.items():
        click.echo(f"{title}:")
        for name, value in entries.items() if isinstance(entries, dict) else [("", entries)]:
            click.echo(f"  {name}: {value}" if name else f"  {value}")


def _versions() -> dict[str, str]:
    from importlib import metadata

    names = ["icvos", *sorted({_name(requirement) for requirement in metadata.requires("icvos") or [] if "extra ==" not in requirement})]
    return {"python": sys.version.split()[0]} | {name: _version(name) for name in names}


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


def _devices() -> dict[str, str]:
    from importlib.util import find_spec

    devices = {"cpu": f"{_cores()} cores"}
    if find_spec("torch") is None:
        return devices | {"accelerators": "unknown without torch: pip install 'icvos[models]'"}
    torch = import_module("torch")
    for number in range(torch.cuda.device_count()):
        devices[f"cuda:{number}"] = torch.cuda.get_device_name(number)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _cores() -> int:
    from icvos.parallel import core_count

    return core_count()


def _kernel() -> str:
    from icvos.kernels import best_kernel

    return best_kernel().name


def _programs() -> dict[str, str]:
    """What `--program` is kept in by on this machine."""
    if not sys.platform.startswith("linux"):
        return {"--program, --container": f"run on Linux alone, and this is {sys.platform}"}
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
    return {name: str(roots.get(name, "not set: say --data DIR, or set ICVOS_DATA")) for name in ENTRIES}


def _missing_extras() -> dict[str, str]:
    from importlib import metadata

    missing: dict[str, list[str]] = {}
    for requirement in metadata.requires("icvos") or []:
        head, _, marker = requirement.partition(";")
        extra = marker.partition("extra ==")[2].strip(" '\"")
        name = _name(head)
        if extra and extra not in {"all", "test"} and name != "icvos" and _version(name) == "missing":
            missing.setdefault(extra, []).append(name)
    return {extra: f"{', '.join(names)}: pip install 'icvos[{extra}]'" for extra, names in missing.items()}


def _name(requirement: str) -> str:
    return next((requirement[:place] for place, letter in enumerate(requirement) if letter in " ;<>=!~["), requirement).strip()


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
