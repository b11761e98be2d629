"""One folder for all caches, and every command without any: slower, told once, and with the same answers."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icvos.cache import cache_folder, cached_folder, kept_json, usable_cache
from icvos.errors import UserInputError
from icvos.weights import fetch, weight_folder

TOLD = "so that some things take longer; ICVOS_CACHE=DIR names another folder"


def test_one_variable_names_the_folder_of_all_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICVOS_CACHE", str(tmp_path))
    monkeypatch.delenv("ICVOS_WEIGHTS", raising=False)
    assert weight_folder() == tmp_path / "weights" and cache_folder("x") == tmp_path / "x" == usable_cache("x")
    monkeypatch.setenv("ICVOS_WEIGHTS", str(tmp_path / "mine"))
    assert weight_folder() == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ICVOS_CACHE", "~/kept")
    assert cache_folder("x") == tmp_path / "home/kept/x"


def places(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Homes and caches that cannot be written, as variables of the environment."""
    (tmp_path / "file").write_text("mine")
    return {
        "below a file": {"ICVOS_CACHE": str(tmp_path / "file/cache")},
        "a file": {"ICVOS_CACHE": str(tmp_path / "file")},
        "nowhere": {"ICVOS_CACHE": "/proc/nope"},
        "a home that is not there": {"HOME": "/proc/nope"},
        "a system's cache that is a file": {"XDG_CACHE_HOME": str(tmp_path / "file")},
    }


@pytest.mark.parametrize("where", ["below a file", "a file", "nowhere", "a home that is not there", "a system's cache that is a file"])
def test_a_cache_that_cannot_be_is_told_once(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ICVOS_CACHE", "XDG_CACHE_HOME", "ICVOS_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in places(tmp_path).get(where, {}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "data").mkdir()
    for _ in range(2):
        assert usable_cache(f"room of {tmp_path.name}") is None and cached_folder("x", tmp_path / "data", (1,)) is None
        assert kept_json(None, lambda: {"a": (1, 2)}) == {"a": [1, 2]}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and TOLD in said[0]
    with pytest.raises(UserInputError, match=r"cannot write: .*; choose another folder with ICVOS_WEIGHTS or ICVOS_CACHE"):
        fetch("sam2.1_hiera_t", offline=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_kept_and_broken_is_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"a": len(made)}

    assert [kept_json(tmp_path / "x.json", make) for _ in range(2)] == [{"a": 1}, {"a": 1}]
    (tmp_path / "x.json").write_text("{")
    assert kept_json(tmp_path / "x.json", make) == {"a": 2}


def as_stranger(words: list[str], here: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of icvos, run by somebody who may write nothing but `here`, without a home."""
    drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.getuid() == 0 else []
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "ICVOS_CACHE", "NUMBA_CACHE_DIR")}
    return subprocess.run(
        [*drop, sys.executable, "-m", "icvos", *words], cwd=here, env=kept | environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="only setpriv makes a superuser somebody else")
@pytest.mark.parametrize("home", [{}, {"HOME": "/proc/nope"}])
def test_every_command_works_without_a_home(toy_data: Path, home: dict[str, str]) -> None:
    here = Path("/tmp") / f"icvos-homeless-{os.getpid()}-{len(home.get('HOME', ''))}"  # where anybody may pass
    shutil.rmtree(here, ignore_errors=True)
    try:
        shutil.copytree(toy_data, here / "data")
        for path in (here, *here.rglob("*")):
            os.chmod(path, 0o777)  # noqa: PTH101
        try:
            as_stranger(["--version"], here, **home).check_returncode()
        except subprocess.CalledProcessError:
            pytest.skip("another user may not read this Python")
        steps = [
            ["build", "--data", "data", "--out", "R"],
            ["verify", "--source", "davis", "--data", "data"],
            ["run", "--method", "centre-box", "--benchmark", "R", "--out", "runs"],
            ["score", "runs"],
            ["leaderboard", "runs", "--format", "html", "--out", "board.html"],
        ]
        for words in steps if not home else steps[:1]:
            done = as_stranger(words, here, **home)
            assert done.returncode == 0 and "Traceback" not in done.stderr, (words, done.stderr)
            assert done.stderr.count(TOLD) == (1 if words[0] == "build" or "davis" in words else 0), (words, done.stderr)
        assert {path.name for path in here.iterdir()} <= {"data", "R", "runs", "board.html"}  # and no folder called "~"
    finally:
        shutil.rmtree(here, ignore_errors=True)


def test_scoring_compiles_without_a_cache_and_keeps_in_the_one_that_is_named(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    code = "from icvos.kernels import kernel_named, machine_code_folder; kernel_named('numba'); print(machine_code_folder())"
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    (tmp_path / "file").write_text("")
    for place, expected in ((tmp_path / "cache", f"{tmp_path / 'cache/numba'}"), (tmp_path / "file", "None")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=kept | {"ICVOS_CACHE": str(place)}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected and done.stderr.count(TOLD) == (expected == "None")


def test_indices_of_annotations_are_read_anew_where_nothing_is_kept(
    toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("msgspec", reason="the extra train is not installed")
    from icvos.training.coco_index import ARRAYS, CocoIndex

    annotations = toy_data / "COCO/annotations/instances_val2017.json"
    monkeypatch.setenv("ICVOS_CACHE", str(tmp_path / "cache"))
    kept = CocoIndex(annotations)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ICVOS_CACHE", str(tmp_path / "file"))
    without = CocoIndex(annotations)
    for index in (without, pickle.loads(pickle.dumps(without))):
        assert index.folder is None and kept.folder is not None
        for name in ARRAYS:
            np.testing.assert_array_equal(index.arrays[name], kept.arrays[name])
