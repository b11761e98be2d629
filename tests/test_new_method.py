"""`icvos new-method`: a package that is installed, found, run, scored and tested as it comes; names and folders that are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Said

from icvos.conformance import habits
from icvos.conformance.checks import CHECKS
from icvos.errors import UserInputError
from icvos.new_method import check_name, module_name, write_method
from icvos.registry import load_method

Command = Callable[..., Said]
NAME, MODULE = "colour-likelihood", "colour_likelihood"
FILES = ["README.md", f"{MODULE}.py", "pyproject.toml", f"tests/test_{MODULE}.py"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new method's package, as it is written; tests must not change it."""
    return write_method(NAME, tmp_path_factory.mktemp("new") / NAME).folder


def test_the_command_writes_the_package_and_says_what_next(icvos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = icvos("new-method", NAME)
    assert said.code == 0 and said.out.splitlines()[:-1] == [f"{NAME}/{file}" for file in FILES]
    assert f"icvos run --method {NAME}" in said.out
    assert sorted(str(path.relative_to(tmp_path / NAME)) for path in (tmp_path / NAME).rglob("*") if path.is_file()) == sorted(FILES)
    report = json.loads(icvos("new-method", NAME, "--out", "elsewhere/it", "--json").out)
    assert report == {"method": NAME, "path": "elsewhere/it", "module": MODULE, "files": FILES}
    assert [path.name for path in tmp_path.iterdir() if path.name not in {NAME, "elsewhere"}] == []  # no half-written folder


def test_ruff_has_nothing_to_say_of_it(package: Path) -> None:
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache"], cwd=package, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_its_own_tests_pass(package: Path) -> None:
    """All of them but those that take seconds: the sample made anew, a clip of 600 frames, and asking torch for a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not real_episode and not memory and not gpu"]
    done = subprocess.run(command, cwd=package, text=True, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0 and f"{len(CHECKS) - 3} passed, 1 skipped, 3 deselected" in done.stdout, done


def test_its_memory_is_that_of_a_window(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(habits, "SETTLED", 20)
    monkeypatch.setattr(habits, "LONG", 60)
    CHECKS["memory"](load_method(f"{package / MODULE}.py:Method"), tmp_path)


@pytest.mark.skipif(not (find_spec("pip") and find_spec("setuptools")), reason="needs pip and setuptools")
def test_installed_without_a_network_it_is_found_run_and_scored(
    icvos: Command, package: Path, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *offline, "--target", site, package], check=True, timeout=300)
    monkeypatch.syspath_prepend(site)
    assert {card["name"]: card for card in json.loads(icvos("methods", "--json").out)}[NAME]["licence"] == "Apache-2.0"
    said = icvos("run", "--method", NAME, "--benchmark", toy_release, "--out", tmp_path / "runs", "--json")
    assert said.code == 0 and json.loads(said.out)["masks"] == 90
    (result,) = json.loads(icvos("score", tmp_path / "runs", "--json").out)
    assert f"method:{NAME}@1" in result["signature"] and 0 < result["J"] < 1
    run = json.loads((tmp_path / "runs" / NAME / "run.json").read_text())
    assert run["key"]["code"] == f"{NAME} 0.1.0"  # the package, by which a run is continued
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Method!", "did you mean my-method?"),
        ("1st", "did you mean method-1st?"),
        ("class", "did you mean method-class?"),
        ("-x-", "did you mean x?"),
        ("../x", "did you mean x?"),
        ("", "choose another"),
        ("é", "choose another"),
        ("a\nb", "did you mean a-b?"),
        ("x" * 61, "at most 60 letters"),
        ("json", "the name is another package's: json"),
        ("numpy", "the name is another package's: numpy"),
        ("dcsam", "the name is taken: dcsam"),
        ("Support_Shape", "found support-shape"),
        ("all-embedded", "the name is taken"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_another(icvos: Command, tmp_path: Path, name: str, said: str) -> None:
    found = icvos("new-method", "--out", tmp_path / "it", "--", name)
    assert (found.code, found.out) == (2, "") and said in found.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "Ab9", "a.b-c_d", "x" * 60])
def test_other_names_are_taken_as_they_are(name: str) -> None:
    assert check_name(name, ["y"]) == name and module_name(name).isidentifier()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_is_never_written_over(icvos: Command, tmp_path: Path, kind: str) -> None:
    there = tmp_path / "there"
    {"folder": there.mkdir, "file": there.touch, "link": lambda: there.symlink_to(tmp_path / "nowhere")}[kind]()
    said = icvos("new-method", NAME, "--out", there)
    assert said.code == 2 and "the folder is there already" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["there"] and not (there.is_dir() and list(there.iterdir()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserInputError, match="cannot write"):
        write_method(NAME, tmp_path / NAME)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserInputError, match="cannot write"):
        write_method(NAME, tmp_path / "file" / NAME)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
