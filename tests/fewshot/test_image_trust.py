"""What a board of images believes: numbers that follow from what the file and the counts beside it hold, badges of what was scored here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import make_voc

from icvos.badges import REPORTED, record_path
from icvos.cli import main
from icvos.errors import DataError
from icvos.fewshot.results import ImageResult

Icvos = Callable[..., Any]
PROTOCOL = "pascal5i-1shot-val-area-e12@1"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floor on toy images of two folds, scored; tests must not change it."""
    room = tmp_path_factory.mktemp("images")
    make_voc(room / "VOC2012")
    words = f"fewshot --benchmark pascal5i --fold 0 --episodes 12 --method centre-box,full-frame --pascal {room}/VOC2012"
    with pytest.raises(SystemExit) as leaving:
        main(f"{words} --releases {room}/fewshot --out {room}/runs".split())
    assert not leaving.value.code
    return room


@pytest.fixture
def room(scored: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(scored, tmp_path / "room"))


def result_of(room: Path, method: str = "centre-box") -> Path:
    return next(path for path in (room / "runs").rglob(f"{method}/results/*@1.json"))


def forged(path: Path, *way: str, value: Any) -> None:
    data = json.loads(path.read_text())
    place = data
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value(place[way[-1]]) if callable(value) else value
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(
    ("way", "value", "field"),
    [
        (("mIoU",), 0.99, "mIoU"),
        (("episodes",), 13, "episodes"),
        (("classes", "bird", "IoU"), 0.9, "mIoU"),
        (("classes", "bird", "episodes"), lambda found: found + 1, "episodes"),
    ],
)
def test_what_does_not_follow_from_the_classes_is_refused(
    way: tuple[str, ...], value: Any, field: str, beside: bool, room: Path, icvos: Icvos
) -> None:
    path = result_of(room)
    if not beside:
        next(path.parent.glob("*.episodes.csv")).unlink()
    forged(path, *way, value=value)
    with pytest.raises(DataError, match=f"{path}, {field}: found .*, expected"):
        ImageResult.load(path)
    for words in (("leaderboard", room / "runs"), ("compare", room / "runs")):
        said = icvos(*words)
        assert said.code == 3 and f", {field}: found " in said.err


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("FB_IoU",), 0.99),
        (("mIoU_interval",), lambda pair: [pair[0], min(1.0, pair[1] + 0.01)]),
        (("FB_IoU_interval",), None),
    ],
)
def test_what_does_not_follow_from_the_counts_beside_it_is_refused(way: tuple[str, ...], value: Any, room: Path) -> None:
    path = result_of(room)
    forged(path, *way, value=value)
    with pytest.raises(DataError, match=f"not the result's: {path}, {way[0]}: found .*, expected .* by the counts"):
        ImageResult.load(path)
    next(path.parent.glob("*.episodes.csv")).unlink()
    assert ImageResult.load(path).badge_here == REPORTED  # nothing here can tell, and nobody here vouches for it


def test_two_classes_that_change_places_keep_the_mean_and_are_refused(room: Path) -> None:
    path = result_of(room)
    classes = json.loads(path.read_text())["classes"]
    first, *_, last = sorted(classes, key=lambda name: classes[name]["IoU"])
    low, high = classes[first]["IoU"], classes[last]["IoU"]
    assert low < high
    forged(path, "classes", first, "IoU", value=high)
    forged(path, "classes", last, "IoU", value=low)
    with pytest.raises(DataError, match=r"not the result's: .*classes"):
        ImageResult.load(path)


@pytest.mark.parametrize("form", ["markdown", "html", "json", "csv", "latex"])
def test_every_board_says_the_badge(form: str, room: Path, icvos: Icvos) -> None:
    said = icvos("leaderboard", room / "runs", "--format", form)
    assert said.code == 0 and "rescored" in said.out and REPORTED not in said.out.lower()
    record_path(result_of(room)).unlink()
    said = icvos("leaderboard", room / "runs", "--format", form)
    assert said.code == 0 and "rescored" in said.out and REPORTED in said.out.lower()


def test_images_of_others_are_rescored(room: Path, icvos: Icvos) -> None:
    path = result_of(room)
    good = path.read_bytes()
    record_path(path).unlink()
    forged(path, "mIoU", value=0.99)
    said = icvos("leaderboard", room / "runs", "--rescore", "--format", "json", "--benchmark", room / "fewshot")
    assert said.code == 0, said.err
    assert {row["badge"] for row in json.loads(said.out)["rows"]} == {"rescored"} and path.read_bytes() == good
    assert "mIoU" in said.err and "where its file said 99.00" in said.err


def test_a_file_cannot_say_its_own_badge(room: Path) -> None:
    path = result_of(room)
    record_path(path).unlink()
    forged(path, "_badge", value="rescored")
    with pytest.raises(DataError, match="_badge"):
        ImageResult.load(path)
