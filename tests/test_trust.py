"""What a board believes: totals are derived again from what a file holds, and a badge is what is known on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_results import a_result
from toys import make_coco, make_davis, moving_box

from icvos.badges import REPORTED, record_path
from icvos.board import FORMATS, Leaderboard
from icvos.cache import key_file
from icvos.errors import DataError
from icvos.results import Result, find_results
from icvos.scores import Scores
from icvos.totals import bootstrap_intervals, mean_scores, quick_intervals

Icvos = Callable[..., Any]
PROTOCOL = "native@1"


def forged(path: Path, *way: str | int, value: Any) -> None:
    """Change one entry of a JSON file, as somebody does with an editor; a callable is handed what stands there."""
    data = json.loads(path.read_text())
    place = data
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value(place[way[-1]]) if callable(value) else value
    path.write_text(json.dumps(data, indent=1))


# ---------------------------------------------------------------- totals of clips


def more(step: float) -> Callable[[float], float]:
    return lambda found: found + step


FORGED: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "the total": (("overall", "J&F"), 0.99, "overall.J&F"),
    "another total": (("overall", "F_decay"), more(0.01), "overall.F_decay"),
    "a total by a little": (("overall", "J"), more(1e-6), "overall.J"),
    "a class": (("groups", "class", "dog", "J"), more(0.1), "groups.class.dog.J"),
    "a class that no tube has": (("groups", "class", "horse"), lambda _: {}, "incomplete"),
    "a length": (("groups", "length", "up to 100 frames", "F"), more(-0.1), "groups.length.up to 100 frames.F"),
    "a draw": (("groups", "support", "s1", "J_first"), more(0.1), "groups.support.s1.J_first"),
    "no groups of sources": (("groups", "source"), {}, "groups.source.davis"),
    "another kind of group": (("groups", "weather"), {}, "groups.weather"),
    "an interval": (("intervals", "F"), [0.5, 0.6], "intervals.F"),
    "no interval": (("intervals", "J"), None, "intervals.J"),
    "an interval of another score": (("intervals", "J_first"), [0.1, 0.2], "intervals.J_first"),
    "a mean of draws": (("tubes", 1, "mean", "J"), more(0.2), "tubes[1].mean.J"),
    "a draw above 1": (("tubes", 0, "draws", "s0", "J_recall"), 1.2, "tubes[0].draws.s0.J_recall"),
    "a draw below 0": (("tubes", 0, "draws", "s1", "F"), -0.2, "tubes[0].draws.s1.F"),
    "a decay below -1": (("tubes", 0, "draws", "s1", "J_decay"), -1.5, "tubes[0].draws.s1.J_decay"),
    "J&F that is no mean": (("tubes", 2, "draws", "s0", "J&F"), 0.9, "tubes[2].draws.s0.J&F"),
    "a tube twice": (("tubes",), lambda tubes: [*tubes, tubes[0]], "tubes[0].id"),
    "a tube of another name": (("tubes", 0, "id"), "davis/rex/cat", "tubes[0].id"),
    "frames of text": (("tubes", 0, "frames"), "6", "tubes[0].frames"),
    "no frames": (("tubes", 0, "frames"), 0, "tubes[0].frames"),
    "more frames": (("tubes", 0, "frames"), 7, "coverage.expected"),
    "no draws": (("tubes", 0, "draws"), {}, "tubes[0].draws"),
    "no tubes": (("tubes",), [], "tubes"),
    "the spread": (("support_spread",), 0.0, "support_spread"),
    "masks asked for": (("coverage", "expected"), 324, "coverage.expected"),
    "masks there": (("coverage", "present"), 331, "coverage.present"),
    "the part covered": (("coverage", "part"), 1.0, "coverage.part"),
    "the note of what is missing": (("notes",), [], "notes"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_number_that_does_not_follow_from_the_tubes_is_refused_by_its_name(what: str, tmp_path: Path) -> None:
    way, value, field = FORGED[what]
    path = tmp_path / "native@1.json"
    a_result().save(path)
    assert Result.load(path) == a_result()
    if what == "a class that no tube has":
        forged(path, *way[:-1], value=lambda rows: rows | {"horse": rows["dog"]})
        field = "groups.class.horse"
    else:
        forged(path, *way, value=value)
    with pytest.raises(DataError) as caught:
        Result.load(path)
    assert f"{path}, {field}: found " in str(caught.value) and "expected " in str(caught.value)


def test_what_json_may_change_is_no_forgery(tmp_path: Path) -> None:
    path = tmp_path / "native@1.json"
    a_result().save(path)
    forged(path, "overall", "J", value=more(1e-12))
    forged(path, "intervals", "J", value=lambda ends: [end + 1e-12 for end in ends])
    assert Result.load(path)


def test_intervals_of_another_numpy_may_be_of_other_resamples(tmp_path: Path) -> None:
    path = tmp_path / "native@1.json"
    a_result(environment={"icvos": "0.1.0", "numpy": "1.0", "scipy": "1.0"}).save(path)
    low, high = a_result().intervals["F"] or (0.0, 0.0)
    forged(path, "intervals", "F", value=[low + 0.04 * (high - low), high])
    assert Result.load(path)
    forged(path, "intervals", "F", value=[low + 0.06 * (high - low), high])
    with pytest.raises(DataError, match=r"intervals\.F"):
        Result.load(path)


def test_the_quick_intervals_are_those_of_results() -> None:
    tubes = a_result().tubes
    slow, quick = bootstrap_intervals(tubes), quick_intervals(tubes)
    assert slow.keys() == quick.keys()
    for name, pair in slow.items():
        assert pair is not None and quick[name] == pytest.approx(pair, abs=1e-9)
    assert quick_intervals(tubes[:1]) == bootstrap_intervals(tubes[:1]) == {"J&F": None, "J": None, "F": None}


@pytest.mark.parametrize("count", [1, 7, 9, 130, 1025])
def test_means_are_those_of_numpy_to_the_bit(count: int) -> None:
    import numpy as np

    rng = np.random.default_rng(count)
    rows = [Scores(*rng.random(9).tolist()) for _ in range(count)]
    assert mean_scores(rows).J_first == float(np.mean([row.J_first for row in rows]))


# ---------------------------------------------------------------- the way through: score, forge, show


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release beside its data, and two floors run and scored on it; tests must not change it."""
    from icvos.cli import main

    room = tmp_path_factory.mktemp("trust")
    make_davis(room / "data/DAVIS", {"rex": ({1: "dog"}, moving_box()), "tom": ({1: "cat"}, moving_box())})
    make_coco(room / "data/COCO")
    for words in (
        f"build --data {room}/data --out {room}/R",
        f"run --method centre-box,full-frame --benchmark {room}/R --out {room}/runs",
        f"score {room}/runs",
    ):
        with pytest.raises(SystemExit) as leaving:
            main(words.split())
        assert not leaving.value.code
    return room


@pytest.fixture
def room(scored: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(scored, tmp_path / "room"))


def result_of(room: Path, method: str = "centre-box") -> Path:
    return room / "runs" / method / "results" / f"{PROTOCOL}.json"


def badges(icvos: Icvos, room: Path, *words: object) -> list[str]:
    said = icvos("leaderboard", room / "runs", "--format", "json", *words)
    assert said.code == 0, said.err
    return [row["badge"] for row in json.loads(said.out)["rows"]]


def test_a_forged_total_reaches_no_board_no_comparison_and_no_report(icvos: Icvos, room: Path) -> None:
    forged(result_of(room), "overall", "J&F", value=0.99)
    for words in (("leaderboard", room / "runs"), ("compare", room / "runs"), ("leaderboard", room / "runs", "--format", "csv")):
        said = icvos(*words)
        assert said.code == 3 and "overall.J&F: found 0.99, expected 0." in said.err and said.out == "", words


def test_what_was_scored_here_has_its_badge_and_leaves_the_result_as_it_was(icvos: Icvos, room: Path) -> None:
    assert badges(icvos, room) == ["rescored", "rescored"]
    path = result_of(room)
    record = json.loads(record_path(path).read_text())
    assert set(record) == {"format", "result", "masks", "release", "badge", "icvos", "seal"} and record["format"] == "icvos-record/1"
    assert record["release"] == json.loads(path.read_text())["benchmark"]["digest"]
    assert list(find_results([path.parent])) == [path]
    assert key_file().stat().st_mode & 0o777 == 0o600
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert icvos("score", path.parents[1], "--workers", 2).code == 0
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("form", FORMATS)
def test_every_board_says_who_reports(form: str, icvos: Icvos, room: Path) -> None:
    record_path(result_of(room)).unlink()
    said = icvos("leaderboard", room / "runs", "--format", form)
    assert said.code == 0 and REPORTED in said.out and "rescored" in said.out


def test_a_record_that_is_not_ours_is_not_believed(icvos: Icvos, room: Path) -> None:
    path = result_of(room)
    record = record_path(path)
    good = record.read_text()
    other = json.loads(record_path(result_of(room, "full-frame")).read_text())
    wrong: list[dict[str, Any]] = [
        {"seal": None},
        {"seal": "0" * 64},
        {"seal": other["seal"]},
        {"badge": "rerun"},
        {"masks": other["masks"]},
        {"release": "0" * 64},
        {"icvos": "9"},
        {"format": "icvos-record/2"},
        {"more": 1},
        {"seal": 3},
        {"seal": "ü" * 64},
        other,
    ]
    for change in wrong:
        record.write_text(json.dumps(json.loads(good) | change))
        assert Result.load(path).badge_here == REPORTED, change
    for text in ("", "[]", "{"):
        record.write_text(text)
        assert Result.load(path).badge_here == REPORTED
    record.write_text(good)
    assert Result.load(path).badge_here == "rescored"
    path.write_text(path.read_text().rstrip())  # the same numbers, another file
    assert Result.load(path).badge_here == REPORTED


def test_a_key_of_another_user_believes_nothing(icvos: Icvos, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert badges(icvos, room) == [REPORTED, REPORTED]
    assert not key_file().exists()  # looking makes no key
    assert icvos("score", room / "runs/centre-box").code == 0
    assert sorted(badges(icvos, room)) == [REPORTED, "rescored"]
    key_file().chmod(0o644)
    assert badges(icvos, room) == [REPORTED, REPORTED]
    said = icvos("score", room / "runs/centre-box")
    assert said.code == 0 and "a key that is not yours alone" in said.err and "mode 644" in said.err


def test_without_a_home_there_is_no_seal_and_it_is_said(icvos: Icvos, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = result_of(room).read_bytes()
    said = icvos("score", room / "runs/centre-box")
    assert said.code == 0 and said.err.count("has no seal") == 1 and "ICVOS_CACHE" in said.err
    assert result_of(room).read_bytes() == before and json.loads(record_path(result_of(room)).read_text())["seal"] is None
    assert badges(icvos, room) == [REPORTED, REPORTED]


def test_rerun_is_kept_and_what_python_scored_has_its_badge(icvos: Icvos, room: Path) -> None:
    import icvos as package

    assert icvos("score", room / "runs/centre-box", "--rerun").code == 0
    assert badges(icvos, room) == ["rerun", "rescored"]
    assert badges(icvos, room, "--rescore") == ["rerun", "rescored"]
    result = package.score(room / "runs/full-frame")
    assert Leaderboard.collect([result]).rows[0].result.badge_here == "rescored" == Result.load(result_of(room, "full-frame")).badge_here


# ---------------------------------------------------------------- --rescore


def test_results_of_others_are_vouched_for_once_their_masks_are_scored(icvos: Icvos, room: Path) -> None:
    for method in ("centre-box", "full-frame"):
        record_path(result_of(room, method)).unlink()
    good = result_of(room).read_bytes()
    forged(result_of(room), "overall", "J&F", value=0.99)
    shutil.rmtree(room / "runs/full-frame/predictions")
    said = icvos("leaderboard", room / "runs", "--rescore", "--format", "json")
    assert said.code == 0
    rows = {row["method"]: row["badge"] for row in json.loads(said.out)["rows"]}
    assert rows == {"centre-box": "rescored", "full-frame": REPORTED}
    assert "where its file said 99.00" in said.err and result_of(room).read_bytes() == good
    assert f"not rescored: {result_of(room, 'full-frame')}: no masks lie beside it" in said.err
    assert badges(icvos, room) == ["rescored", REPORTED]


def test_masks_that_were_changed_give_other_numbers(icvos: Icvos, room: Path) -> None:
    shutil.rmtree(room / "runs/centre-box/predictions")
    shutil.copytree(room / "runs/full-frame/predictions", room / "runs/centre-box/predictions")
    said = icvos("leaderboard", room / "runs", "--rescore", "--format", "json")
    assert said.code == 0 and said.err.count("where its file said") == 1
    first, second = (row["scores"]["J&F"] for row in json.loads(said.out)["rows"])
    assert first == second


def test_a_folder_of_masks_is_rescored_under_its_own_card_and_leniency(icvos: Icvos, room: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs/some"
    shutil.copytree(room / "runs/centre-box/predictions", theirs / "predictions")
    next(theirs.rglob("*.zip")).unlink()
    words = ("score", theirs, "--benchmark", room / "R", "--out", theirs / "results", "--method-name", "named")
    assert icvos(*words).code == 4 and icvos(*words, "--allow-missing").code == 0
    before = (theirs / f"results/{PROTOCOL}.json").read_bytes()
    record_path(theirs / f"results/{PROTOCOL}.json").unlink()
    said = icvos("leaderboard", tmp_path / "theirs", "--rescore", "--benchmark", room / "R", "--format", "json")
    assert said.code == 0 and [row["badge"] for row in json.loads(said.out)["rows"]] == ["rescored"]
    assert (theirs / f"results/{PROTOCOL}.json").read_bytes() == before


def test_what_cannot_be_rescored_is_told_and_stays(icvos: Icvos, room: Path) -> None:
    next((room / "runs/centre-box/predictions").rglob("*.zip")).write_bytes(b"no zip")
    record_path(result_of(room)).unlink()
    said = icvos("leaderboard", room / "runs", "--rescore", "--format", "json")
    assert said.code == 0 and "not rescored" in said.err and "the predictions have faults" in said.err
    assert sorted(row["badge"] for row in json.loads(said.out)["rows"]) == [REPORTED, "rescored"]


def test_the_published_schema_takes_records(icvos: Icvos, room: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the report extra")
    schema = json.loads(icvos("schema", "record").out)
    record = json.loads(record_path(result_of(room)).read_text())
    jsonschema.validate(record, schema)
    jsonschema.validate(record | {"seal": None}, schema)
    for wrong in ({"seal": "x"}, {"badge": REPORTED}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(record | wrong, schema)
