"""Result files: what is saved comes back, what is not a result is refused, and signatures keep two numbers apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import with_totals

from icvos.errors import DataError, UserInputError
from icvos.results import Coverage, Result, Scores, Timing, TubeScores, find_results

HIGH = Scores(0.5, 0.7, 0.6, 0.25, 0.75, -0.125, 0.1 + 0.2, 1.0, 0.0)  # 0.1 + 0.2 must read back to the last bit
LOW = Scores(0.1, 0.2, 0.15, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2)


def a_result(**changes: Any) -> Result:
    result = Result(
        method={"name": "mine", "version": "2", "weights": "ab" * 32, "precision": "fp32", "training_data": []},
        benchmark={"name": "ic-vos", "version": "1", "digest": "0123456789abcdef" * 4},
        protocol="native@1",
        environment={"icvos": "0.1.0", "numpy": "2.0"},
        coverage=Coverage(30, 24),
        overall=HIGH,
        intervals={},
        support_spread=0.0,
        groups={},
        tubes=(
            TubeScores("davis/rex/dog", "davis", "rex", "dog", 6, HIGH, {"s0": HIGH, "s1": LOW}),
            TubeScores("davis/tom/sports-ball", "davis", "tom", "sports ball", 150, LOW, {"s0": LOW, "s1": LOW}),
            TubeScores("mose/tom/dog", "mose", "tom", "dog", 9, HIGH, {"s0": HIGH, "s1": HIGH}),
        ),
        notes=("missing masks allowed, counted 0",),
    )
    return replace(with_totals(result), **changes)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "results/native@1.json"
    a_result().save(path)
    assert Result.load(path) == a_result()
    before = path.read_bytes()
    Result.load(path).save(path)
    assert path.read_bytes() == before
    data = json.loads(before)
    assert data["format"] == "icvos-result/1" and data["signature"] == a_result().signature
    assert data["overall"]["J&F"] == pytest.approx((0.375 + 0.15 + 0.6) / 3) and data["coverage"]["part"] == 324 / 330
    assert data["tubes"][0]["draws"]["s0"]["F_decay"] == 0.1 + 0.2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "corrupt JSON"),
        ('{"format": "icvos-result/1",', "corrupt JSON"),
        ("[1, 2]", "not a result file"),
        ("{}", "no format"),
        ('{"format": "icvos-result/9"}', "icvos-result/9"),
        ('{"format": "icvos-result/1"}', "incomplete"),
        ("\udcff", "corrupt JSON"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "native@1.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        Result.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def damaged() -> dict[str, tuple[list[str | int], Any]]:
    """Where to change a good file, and to what; None takes the entry out."""
    return {
        "a part missing": (["overall"], None),
        "a score missing": (["overall", "J"], None),
        "a score of text": (["overall", "J"], "0.5"),
        "a score that is no number": (["tubes", 0, "mean", "F"], float("nan")),
        "an infinite score": (["groups", "class", "dog", "F"], float("inf")),
        "a score of null": (["groups", "class", "dog", "F"], [None]),
        "a truth value": (["overall", "J"], True),
        "a list for an object": (["groups"], [1]),
        "a method without a name": (["method", "name"], None),
        "a method that is text": (["method"], "mine"),
        "a release without a digest": (["benchmark", "digest"], None),
        "an interval of one end": (["intervals", "J&F"], [0.5]),
        "another release's name": (["benchmark", "name"], "other"),
        "another protocol": (["protocol"], "paper-512@1"),
    }


@pytest.mark.parametrize("fault", damaged())
def test_a_damaged_result_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "native@1.json"
    a_result().save(path)
    data = json.loads(path.read_text())
    (*way, last), value = damaged()[fault]
    place: Any = data
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="incomplete result file") as caught:
        Result.load(path)
    assert str(path) in str(caught.value) and "score the run again" in str(caught.value)


def test_results_are_found_once_sorted_and_without_their_companions(tmp_path: Path) -> None:
    for run in ("b", "a"):
        for name in ("native@1.json", "paper-512@1.json", "native@1.timing.json", "native@1.frames.csv"):
            (tmp_path / run / "results").mkdir(parents=True, exist_ok=True)
            (tmp_path / run / "results" / name).touch()
        (tmp_path / run / "run.json").touch()
    expected = [tmp_path / run / "results" / name for run in "ab" for name in ("native@1.json", "paper-512@1.json")]
    assert list(find_results([tmp_path])) == expected
    assert list(find_results([tmp_path / "a", tmp_path, tmp_path / "a/results/native@1.json"])) == expected
    assert list(find_results([tmp_path / "a/results"])) == expected[:2]  # as `score --out DIR` leaves them, whatever DIR is called
    named = tmp_path / "mine.json"
    named.touch()
    assert list(find_results([named])) == [named]
    with pytest.raises(UserInputError, match="no such folder"):
        list(find_results([tmp_path / "nowhere"]))


def test_signatures_tell_apart_what_must_not_be_compared() -> None:
    base = a_result()
    others = [
        a_result(protocol="paper-512@1"),
        a_result(benchmark={**base.benchmark, "digest": "f" * 64}),
        a_result(benchmark={**base.benchmark, "version": "2"}),
        a_result(method={**base.method, "version": "3"}),
        a_result(method={**base.method, "weights": "cd" * 32}),
        a_result(method={**base.method, "weights": f"dcsam_nano {'cd' * 32} on sam2_nano {'ab' * 32}"}),
        a_result(method={**base.method, "weights": f"dcsam_nano {'ef' * 32} on sam2_nano {'ab' * 32}"}),
        a_result(method={**base.method, "precision": "bf16"}),
        a_result(environment={"icvos": "0.2.0"}),
    ]
    assert len({result.signature for result in [base, *others]}) == len(others) + 1
    assert a_result(overall=LOW, notes=()).signature == base.signature
    assert "|weights:dcsam_nano efefefefefef on sam2_nano abababababab|" in others[6].signature
    assert "|protocol:native@1|" in base.signature and "\n" not in base.signature


def test_timings_are_numbers_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "native@1.json"
    assert Timing.beside(path) is None
    beside = tmp_path / "native@1.timing.json"
    beside.write_text('{"frames": 30, "seconds": 1.5, "peak_rss_bytes": 1000}')
    timing = Timing.beside(path)
    assert timing == Timing(30, 1.5, 1000) and timing.frames_per_second == 20
    assert Timing(0, 0, 0).frames_per_second is None
    for wrong in ("{}", "[]", '{"frames": "x", "seconds": 1, "peak_rss_bytes": 1}', '{"frames": 1, "seconds": -1, "peak_rss_bytes": 1}'):
        beside.write_text(wrong)
        with pytest.raises(DataError, match="not a timing file"):
            Timing.beside(path)
