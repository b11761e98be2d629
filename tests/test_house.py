"""The house's own rules: who may import whom, what is loaded when, and that everything says what it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icvos.cli import COMMANDS

ROOT = Path(__file__).parents[1]
ROOMS = ("icvos", "curation", "baselines", "dcsam")
HEAVY = ("torch", "pandas", "numba", "skimage", "scipy", "cv2")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
Icvos = Callable[..., Any]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def may_import(path: Path) -> set[str]:
    """The rooms that a module may import: only the command line knows all."""
    room = path.relative_to(ROOT).parts[0]
    if path.is_relative_to(ROOT / "icvos/cli"):
        return set(ROOMS)
    return {"icvos", room}


def test_every_room_is_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    ours = {name for name in imports_of(path) if name.partition(".")[0] in ROOMS}
    forbidden = {name for name in ours if name.partition(".")[0] not in may_import(path)}
    if path.is_relative_to(ROOT / "dcsam"):
        forbidden = {name for name in forbidden if not name.startswith("baselines.common")}
    assert not forbidden
    if not path.is_relative_to(ROOT / "icvos/cli") and path.name != "__main__.py":
        assert not any(name.startswith("icvos.cli") for name in ours)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is(path: Path) -> None:
    if path.stem != "__init__" or path.read_text(encoding="utf-8").strip():
        assert (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()


@pytest.mark.parametrize(
    "code", ["import icvos", "from icvos.cli import main; main(['--help'])", "from icvos.cli import main; main(['build', '-h'])"]
)
def test_importing_and_asking_for_help_load_nothing_heavy(code: str) -> None:
    script = f"import sys, atexit; atexit.register(lambda: print('LOADED', *sorted(set({HEAVY}) & set(sys.modules)))); {code}"
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=False, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_help_names_every_command(icvos: Icvos) -> None:
    said = icvos("--help")
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name in COMMANDS)
    assert "Exit codes" in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_gives_an_example(icvos: Icvos, name: str) -> None:
    said = icvos(name, "--help")
    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith(f"Usage: icvos {name}")
    assert f"\n  icvos {name}" in said.out
    assert said.out == icvos(name, "-h").out


def test_an_unknown_command_is_answered_with_the_nearest(icvos: Icvos) -> None:
    said = icvos("biuld")
    assert said.code == 2
    assert "did you mean build" in said.err


def test_the_version_is_the_packages(icvos: Icvos) -> None:
    from icvos import __version__

    assert icvos("--version").out == f"icvos, version {__version__}\n"


def test_the_command_is_installed_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "icvos", "--version"], text=True, capture_output=True, check=True, cwd=ROOT, timeout=60)
    assert done.stdout.startswith("icvos, version")


# doctor and methods


def test_the_doctor_reports_even_where_the_settings_are_wrong(icvos: Icvos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICVOS_DATA", str(tmp_path / "nowhere"))
    said = icvos("doctor")
    assert said.code == 0
    assert "no such data folder" in said.out
    assert "(ours)" in said.out
    (tmp_path / "icvos.toml").write_text("dtaa = 1")
    said = icvos("doctor")
    assert said.code == 0
    assert "unknown setting" in said.out


def test_the_doctor_says_where_each_source_lies(icvos: Icvos, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICVOS_DATA", str(toy_data))
    report = json.loads(icvos("doctor", "--json").out)
    assert report["data"]["davis"] == str(toy_data / "DAVIS")
    assert "not set" in report["data"]["mose"]
    assert set(report["modules"]) == set(ROOMS)
    assert report["versions"]["numpy"] != "missing"


def test_a_broken_plug_in_does_not_hide_the_other_methods(icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from icvos import registry

    names = [*registry.method_names(), "broken"]
    load = registry.load_method

    def load_or_fail(name: str) -> object:
        if name == "broken":
            raise registry.PluginError("the plug-in cannot be loaded", name, fix="see `icvos doctor`")
        return load(name)

    monkeypatch.setattr(registry, "method_names", lambda: names)
    monkeypatch.setattr(registry, "load_method", load_or_fail)
    said = icvos("methods")
    assert said.code == 0
    assert "support-shape" in said.out
    assert "the plug-in cannot be loaded: broken" in said.err
    listed = json.loads(icvos("methods", "--json").out)
    assert {"name": "broken", "error": "the plug-in cannot be loaded: broken; see `icvos doctor`."} in listed
    assert len(listed) == len(names)
