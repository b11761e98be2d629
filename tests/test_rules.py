"""The rules, one by one and in a build: what each refuses, what it says, and `icvos build --explain`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import box, install_pond, make_coco, make_davis, make_pond, moving_box, two_clips

from curation.rules import EVERY_INSTANCE, Limits, rules_with
from curation.sources.coco import Coco
from curation.sources.davis import Davis2017
from curation.sources.scan import scan
from curation.tubes import curate
from icvos.benchmark import Benchmark

Icvos = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("nothing_set")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """DAVIS/ with a clip for each rule, and COCO/ with dogs, cats and people."""
    make_davis(
        tmp_path / "data/DAVIS",
        {
            **two_clips(),
            "late": ({1: "dog", 2: "cat"}, [box(0, 0, 5, 5, 2), *moving_box(5)]),
            "short": ({1: "dog"}, [*moving_box(4), *[np.zeros((24, 40), np.uint8)] * 2]),
            "tiny": ({1: "dog"}, [box(3, 3, 1, 1, size=(60, 80))] * 6),
            "car": ({1: "car"}, moving_box()),
        },
    )
    make_coco(tmp_path / "data/COCO")
    return tmp_path / "data"


def left_out(data: Path, limits: Limits | None = None) -> dict[str, tuple[str, str]]:
    curated = curate([Davis2017(data / "DAVIS")], Coco(data / "COCO"), rules=rules_with(limits or Limits()))
    return {f"{entry.clip}/{entry.label}": (entry.rule, entry.reason) for entry in curated.left_out}


def test_every_rule_refuses_with_its_reason(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, icvos: Icvos) -> None:
    assert left_out(data) == {
        "davis/late/dog": ("first-frame", "not there on the first frame 00000"),
        "davis/short/dog": ("min-length", "to be seen on 4 annotated frames, fewer than 5"),
        "davis/tiny/dog": ("min-area", "covers 0.021 % of the first frame, less than 0.05 %"),
        "davis/car/car": ("support", "COCO has no usable support of the class here"),
        "davis/tom/goat": ("coco-class", "'goat' is not one of COCO's 80 classes"),
        # The cat of `late` is on one frame only.
        "davis/late/cat": ("min-length", "to be seen on 1 annotated frames, fewer than 5"),
    }
    install_pond(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    make_pond(tmp_path / "POND", {"hidden": [moving_box(1)[0], None, None, None, None, None], "one": moving_box()})
    (tmp_path / "labels.csv").write_text("source,clip,object,class,who,when,how\npond,hidden,1,dog,ann,,\n")
    words = ("--sources", "pond", "--data", data, "--root", f"pond={tmp_path / 'POND'}", "--labels", tmp_path / "labels.csv", "--dry-run")
    said = icvos("build", *words)
    assert "out  pond/hidden/dog  truth: of 6 frames only the first is annotated: the rest of the truth is hidden" in said.out
    assert "out  pond/one/?  named: object 1 has no name in the label list" in said.out
    refusing = {rule for rule, _ in left_out(data).values()} | {"truth", "named"}
    assert refusing == {rule.name for rule in rules_with()}


def test_the_numbers_in_the_rules_decide_and_are_recorded(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    generous = Limits(min_area=0.02, min_length=4)
    assert {"davis/short/dog", "davis/tiny/dog"}.isdisjoint(left_out(data, generous))
    said = icvos("build", "--data", data, "--min-area", "0.02", "--min-length", 4, "--out", tmp_path / "R")
    assert said.code == 0, said.err
    assert "in   davis/tiny/dog" in said.out
    rules = Benchmark.open(tmp_path / "R").manifest.rules
    assert rules["min-area"] == "the class covers at least 0.02 % of the first frame"
    assert rules["min-length"] == "the class is to be seen on at least 4 annotated frames"
    assert left_out(data, Limits(min_area=12.6))["davis/rex/dog"] == ("min-area", "covers 12 % of the first frame, less than 12.6 %")


@pytest.mark.parametrize("words", [("--min-area", "-1"), ("--min-area", "101"), ("--min-length", "0"), ("--min-length", "many")])
def test_numbers_that_cannot_be_are_refused(icvos: Icvos, data: Path, words: tuple[str, str]) -> None:
    said = icvos("build", "--data", data, *words)
    assert (said.code, words[0] in said.err) == (2, True)


def test_areas_count_pixels_and_leave_void_out(tmp_path: Path) -> None:
    masks = [np.maximum(box(0, 0, 4, 5, 1), box(10, 10, 3, 3, 255)), np.zeros((24, 40), np.uint8), box(2, 2, 6, 6, 7)]
    root = make_davis(tmp_path, {"rex": ({1: "dog"}, masks)})
    (clip,) = Davis2017(root).clips()
    areas = scan(clip)
    assert areas.frames == ({1: 20}, {}, {7: 36})
    assert areas.objects == (1, 7)
    assert areas.first_share([1, 7]) == 20 / (24 * 40)
    assert (areas.length([1]), areas.length([1, 7]), areas.first_seen(7), areas.first_seen(9)) == (1, 2, "00002", None)


# --explain


def test_explain_gives_every_rules_verdict_on_every_class_of_a_clip(icvos: Icvos, data: Path) -> None:
    said = icvos("build", "--data", data, "--explain", "late")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "out  davis/late/dog  (objects 1)"
    assert "     NO   first-frame: not there on the first frame 00000" in lines
    assert "     yes  min-length" in lines
    assert (
        f"     -    {EVERY_INSTANCE}: only a person can say; see `icvos build --candidates DIR` and `icvos build --decisions FILE`" in lines
    )
    said = icvos("build", "--data", data, "--explain", "davis/tom", "--json")
    report = {entry["name"]: entry for entry in json.loads(said.out)}
    assert {name: entry["in"] for name, entry in report.items()} == {
        "davis/tom/cat": True,
        "davis/tom/person": True,
        "davis/tom/goat": False,
    }
    verdicts = {verdict["rule"]: verdict["passed"] for verdict in report["davis/tom/goat"]["verdicts"]}
    expected = dict.fromkeys([rule.name for rule in rules_with()], True) | {"coco-class": False, "support": None, EVERY_INSTANCE: None}
    assert verdicts == expected


def test_explain_agrees_with_the_build(icvos: Icvos, data: Path) -> None:
    report = json.loads(icvos("build", "--data", data, "--dry-run", "--json").out)
    built = {tube["id"] for tube in report["tubes"]}
    explained = set()
    for clip in ("rex", "tom", "late", "short", "tiny", "car"):
        said = json.loads(icvos("build", "--data", data, "--explain", clip, "--json").out)
        explained |= {entry["tube"] for entry in said if entry["in"]}
    assert explained == built


def test_a_clip_that_is_not_there_is_answered_with_the_nearest(icvos: Icvos, data: Path) -> None:
    said = icvos("build", "--data", data, "--explain", "shrot")
    assert said.code == 2
    assert "no such clip: shrot: expected a clip of the sources; did you mean short" in said.err
