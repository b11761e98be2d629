"""The whole way on real DAVIS clips and COCO images: build, run everything that is built in, score, rank; and OSVOS' own masks."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from conftest import Said
from PIL import Image

from icvos.metrics import boundary_f, boundary_tolerance, region_similarity

Command = Callable[..., Said]
FLOORS = ("empty", "full-frame", "centre-box", "support-shape")
CEILINGS = ("identity", "oracle-first-frame")
METHODS = (*FLOORS, *CEILINGS, "naive-sam2")
TUBES = {"blackswan": "bird", "car-shadow": "car", "cows": "cow", "dog": "dog", "parkour": "person"}


@pytest.fixture(scope="module")
def world(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the release R and the scored runs of all built-in methods."""
    from icvos.cli import main

    folder = tmp_path_factory.mktemp("real")

    def say(*words: object) -> None:
        with pytest.raises(SystemExit) as leaving:
            main([str(word) for word in words])
        assert not leaving.value.code

    # Every fifth frame: the numbers of the frames skip, as in other data sets, and it takes a fifth of the time.
    for kind in ("JPEGImages", "Annotations"):
        for path in sorted((sample_data / "davis" / kind / "480p").glob("*/*")):
            if int(path.stem) % 5 == 0 and path.parent.name in TUBES:
                target = folder / "DAVIS" / path.relative_to(sample_data / "davis")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)
    (folder / "DAVIS/ImageSets/2017").mkdir(parents=True)
    (folder / "DAVIS/ImageSets/2017/val.txt").write_text("".join(f"{clip}\n" for clip in TUBES))
    say("build", "--davis", folder / "DAVIS", "--coco", sample_data / "coco", "--out", folder / "R")
    for method in METHODS:
        say("run", "--method", method, "--benchmark", folder / "R", "--out", folder / "runs")
    say("score", folder / "runs")
    return folder


def result_of(world: Path, method: str) -> dict[str, object]:
    data: dict[str, object] = json.loads((world / f"runs/{method}/results/native@1.json").read_text())
    return data


def test_the_release_holds_the_clips(world: Path) -> None:
    manifest = json.loads((world / "R/manifest.json").read_text())
    assert {clip["name"]: [tube["class_name"] for tube in clip["tubes"]] for clip in manifest["clips"]} == {
        clip: [name] for clip, name in TUBES.items()
    }
    assert [clip["frames"][:2] for clip in manifest["clips"]] == [["00000", "00005"]] * 5
    assert len((world / "R/episodes.jsonl").read_text().splitlines()) == 25


def test_the_order_of_methods_is_the_plausible_one(world: Path) -> None:
    scores = {method: result_of(world, method)["overall"] for method in METHODS}
    assert all(scores["identity"]["J&F"] > scores[floor]["J&F"] + 0.1 for floor in FLOORS)
    assert scores["oracle-first-frame"]["J&F"] > scores["identity"]["J&F"] + 0.1
    assert scores["empty"]["J"] == 0 and scores["empty"]["F"] == 0
    assert 0 < scores["full-frame"]["J"] < scores["centre-box"]["J"] < scores["identity"]["J"] < 1
    assert scores["full-frame"]["F"] == 0 and scores["support-shape"]["J&F"] > 0.05
    assert scores["identity"]["J_first"] == scores["identity"]["F_first"] == 1
    assert result_of(world, "centre-box")["support_spread"] == 0 < result_of(world, "support-shape")["support_spread"]
    assert result_of(world, "empty")["coverage"]["part"] == 1


def test_the_board_in_every_format(world: Path, icvos: Command) -> None:
    markdown = icvos("leaderboard", world / "runs").out
    lines = {name: next(line for line in markdown.splitlines() if f"| {name} " in line) for name in METHODS}
    assert all(line.startswith("| floor |") for name, line in lines.items() if name in FLOORS)  # a kind where others have a rank
    assert all(lines[name].startswith("| ceiling |") for name in CEILINGS)
    assert lines["naive-sam2"].startswith("| 1 |")
    assert "without a rank" in markdown
    board = json.loads(icvos("leaderboard", world / "runs", "--format", "json").out)
    text = json.dumps(board)
    assert all(name in text for name in lines)
    ranks = {row.get("method") or row.get("name"): row["rank"] for row in walk(board) if "rank" in row}
    assert {name: ranks[name] for name in lines} == {name: 1 if name == "naive-sam2" else None for name in lines}
    rows = list(csv.DictReader(icvos("leaderboard", world / "runs", "--format", "csv", "--no-reported").out.splitlines()))
    assert sorted(row["method"] for row in rows) == sorted(lines)
    assert {row["method"]: row["rank"] for row in rows} == {name: "1" if name == "naive-sam2" else "" for name in lines}
    said = icvos("leaderboard", world / "runs", "--format", "html", "--out", world / "board.html")
    assert said.code == 0 and "board.html" in said.out
    page = (world / "board.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert all(name in page for name in lines)


def walk(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(row for entry in value.values() for row in walk(entry))]
    return [row for entry in value for row in walk(entry)] if isinstance(value, list) else []


def test_a_board_of_nothing_is_a_named_error(icvos: Command, tmp_path: Path) -> None:
    said = icvos("leaderboard", tmp_path)
    assert said.code == 3 and "no results" in said.err and "icvos score" in said.err
    said = icvos("leaderboard", tmp_path / "nowhere")
    assert said.code == 2 and "no such folder" in said.err


def test_osvos_own_masks_score_as_the_public_functions_say(world: Path, sample_data: Path, icvos: Command, tmp_path: Path) -> None:
    """Predictions as DAVIS gives them: id 1, palette PNGs, one folder a clip; handed in for one draw."""
    theirs = sample_data / "davis_results/semi-supervised/osvos"
    expected: dict[str, dict[str, tuple[float, float]]] = {}
    for clip in [clip for clip in TUBES if (theirs / clip).is_dir()]:
        episode = f"davis/{clip}/{TUBES[clip]}#s0"
        (tmp_path / "osvos" / episode).mkdir(parents=True)
        for truth_path in sorted((world / "DAVIS/Annotations/480p" / clip).iterdir()):
            source = theirs / clip / truth_path.name
            shutil.copy(source, tmp_path / "osvos" / episode / truth_path.name)
            prediction, truth = np.array(Image.open(source)) == 1, np.array(Image.open(truth_path)) == 1
            scores = region_similarity(prediction, truth), boundary_f(prediction, truth, tolerance=boundary_tolerance(truth.shape))
            expected.setdefault(episode, {})[truth_path.stem] = scores
    words = ("score", tmp_path / "osvos", "--benchmark", world / "R", "--out", tmp_path / "out")
    assert icvos(*words).code == 4  # the other draws, and parkour, are not there
    assert icvos(*words, "--allow-missing").code == 0
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in csv.DictReader((tmp_path / "out/native@1.frames.csv").read_text().splitlines()):
        found.setdefault(row["episode"], {})[row["frame"]] = (float(row["J"]), float(row["F"]))
    assert len(expected) == 4 and {episode: found[episode] for episode in expected} == expected
    assert all(fmean(j for j, _ in frames.values()) > 0.7 for frames in expected.values())  # OSVOS is told the first frame
    part = json.loads((tmp_path / "out/native@1.json").read_text())["coverage"]["part"]
    assert part == sum(map(len, expected.values())) / sum(map(len, found.values()))
