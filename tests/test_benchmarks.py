"""The measuring scripts still run, and what they compare still agrees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toys import box, write_ids

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


def run(script: str, *words: object) -> str:
    command = [sys.executable, str(SCRIPTS / script), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("cores", [1, 2])
def test_scoring_gives_the_same_numbers_in_every_way(tmp_path: Path, cores: int) -> None:
    pytest.importorskip("numba", reason="compares with the compiled kernel: pip install 'icvos[fast]'")
    for number in range(6):
        write_ids(tmp_path / "truth/rex" / f"{number:05d}.png", box(5, 2 + 2 * number, 10, 12))
        write_ids(tmp_path / "predictions/rex" / f"{number:05d}.png", box(6, 3 + 2 * number, 9, 14))
    said = run("scoring.py", "--truth", tmp_path / "truth", "--predictions", tmp_path / "predictions", "--repetitions", 1, "--cores", cores)
    assert f"6 pairs, {cores} cores" in said
    assert {line.split("  ")[0] for line in said.splitlines()[2:]} == {"naive", "naive + ids", "numpy", "numba", "inflate only"}


def test_start_up_is_compared_with_the_interpreter_alone() -> None:
    said = run("startup.py", "--rounds", 1)
    assert "icvos --help" in said and "x the interpreter alone" in said
