"""The package's own functions: the way through in a program, with the same files and numbers as on the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said

import icvos
from icvos.errors import PluginError, SubmissionError, UserInputError

Command = Callable[..., Said]


@pytest.fixture(scope="module")
def runs(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two floors on the toy release, run and scored by the functions."""
    out = tmp_path_factory.mktemp("api") / "runs"
    benchmark = icvos.load_benchmark(toy_release)
    for name in ("support-shape", "full-frame"):
        icvos.score(icvos.run(name, benchmark, out=out), benchmark=benchmark)
    return out


def test_functions_write_what_the_commands_write(runs: Path, icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    assert icvos("run", "--method", "support-shape", "--benchmark", toy_release, "--out", tmp_path).code == 0
    assert icvos("score", tmp_path).code == 0
    for file in ("results/native@1.json", "results/native@1.frames.csv", "run.json"):
        assert (runs / "support-shape" / file).read_bytes() == (tmp_path / "support-shape" / file).read_bytes()


def test_a_run_goes_on_and_says_so(toy_release: Path, tmp_path: Path) -> None:
    first = icvos.run("empty", toy_release, out=tmp_path, limit=2)
    again = icvos.run("empty", str(toy_release), out=str(tmp_path))
    assert (first.episodes_done, again.episodes_done, again.episodes_kept) == (2, 13, 2)
    assert first.store == again.store == tmp_path / "empty"


def test_results_are_ranked_and_compared(runs: Path) -> None:
    results = [icvos.Result.load(runs / name / "results/native@1.json") for name in ("full-frame", "support-shape")]
    board = icvos.Leaderboard.collect(results)
    assert [row.label for row in board.rank()] == ["support-shape", "full-frame"]
    compared = icvos.compare(*results)
    assert [standing.label for standing in compared.standings] == ["full-frame", "support-shape"]
    assert icvos.compare(runs / "full-frame", str(runs / "support-shape")).pairs == compared.pairs


def test_the_release_of_a_run_is_remembered(runs: Path, toy_release: Path) -> None:
    assert icvos.score(runs / "full-frame").benchmark["digest"] == icvos.load_benchmark(toy_release).digest


def test_a_folder_of_masks_is_scored_and_written_only_where_asked(runs: Path, toy_release: Path, tmp_path: Path) -> None:
    masks = runs / "support-shape/predictions"
    before = sorted(masks.rglob("*"))
    result = icvos.score(masks, benchmark=toy_release, out=tmp_path / "out")
    assert sorted(masks.rglob("*")) == before
    assert icvos.Result.load(tmp_path / "out/native@1.json").tubes == result.tubes
    assert result.overall == icvos.Result.load(runs / "support-shape/results/native@1.json").overall


def test_data_is_found_where_it_is_said_to_lie(toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").symlink_to(toy_data)
    assert icvos.load_benchmark(toy_release, data=tmp_path / "moved").root("davis") == tmp_path / "moved/DAVIS"
    one = icvos.load_benchmark(toy_release, roots={"coco": str(tmp_path / "moved/COCO")})
    assert (one.root("coco"), one.root("davis")) == (tmp_path / "moved/COCO", toy_data / "DAVIS")


def test_what_is_not_there_is_one_sentence(toy_release: Path, tmp_path: Path, nothing_set: None) -> None:
    with pytest.raises(UserInputError, match="no release here: ic-vos"):
        icvos.load_benchmark()
    with pytest.raises(UserInputError, match="did you mean support-shape"):
        icvos.run("suport-shape", toy_release)
    with pytest.raises(UserInputError, match="unknown protocol"):
        icvos.score(tmp_path, protocol="native")
    done = icvos.run("empty", toy_release, out=tmp_path, limit=1)
    with pytest.raises(SubmissionError) as refused:
        icvos.score(done)
    assert len(refused.value.findings) == 14
    assert icvos.score(done, allow_missing=True).coverage.present == 6
    (tmp_path / "bad.py").write_text(
        "from icvos.types import MethodCard\nclass M:\n card = MethodCard('a/b')\n def segment(self, f, s): ...\n"
    )
    with pytest.raises(PluginError, match="cannot be a folder"):
        icvos.run(f"{tmp_path / 'bad.py'}:M", toy_release)


def test_a_run_of_another_release_is_refused(runs: Path, toy_data: Path, tmp_path: Path, icvos: Command) -> None:
    from icvos import score

    assert icvos("build", "--data", toy_data, "--out", tmp_path / "other", "--name", "other").code == 0
    with pytest.raises(UserInputError, match="the run was made on another release"):
        score(runs / "full-frame", benchmark=tmp_path / "other")


def test_names_are_listed_and_others_are_no_attributes() -> None:
    assert set(icvos.__all__) <= set(dir(icvos))
    assert all(getattr(icvos, name).__doc__ for name in icvos.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'lead_benchmark'"):
        _ = icvos.lead_benchmark  # type: ignore[attr-defined]


def test_functions_are_there_without_torch() -> None:
    code = "import icvos, sys; [getattr(icvos, name) for name in icvos.__all__]; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
