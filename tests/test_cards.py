"""Cards and what a reader is told of them: faults, contamination, seen classes, badges, published schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from test_results import HIGH, LOW, a_result

from icvos.board import FORMATS, Leaderboard
from icvos.cards import card_faults, seen_clips, seen_in_training
from icvos.cli.schema import SCHEMAS
from icvos.errors import DataError
from icvos.registry import load_method, method_names
from icvos.results import Result, TubeScores
from icvos.types import MethodCard
from icvos.weights import weight_file

Icvos = Callable[..., Said]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", " ", "a name"),
        ("summary", 7, "text"),
        ("kind", "best", "ceiling"),
        ("parallel", "yes", "True or False"),
        ("training_data", "COCO", "a list of texts"),
        ("training_classes", ["persn"], "did you mean person?"),
        ("training_clips", ["dog"], "source/clip"),
        ("training_clips", [None], "a list of texts"),
        ("validation_clips", ["dog"], "source/clip"),
    ],
)
def test_each_fault_of_a_card_is_named(field: str, value: Any, words: str) -> None:
    (fault,) = card_faults({"name": "mine", field: value})
    assert fault.field == field and words in f"{fault.expected}; {fault.fix}"


def test_cards_of_installed_methods_have_no_fault_and_fit_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the report extra")
    schema = json.loads((SCHEMAS / "card.json").read_text())
    for name in method_names():
        card = load_method(name).card
        said = json.loads(json.dumps({field.name: getattr(card, field.name) for field in fields(card)}))
        assert not list(card_faults(said))
        jsonschema.validate(said, schema)
    assert set(schema["properties"]) == {field.name for field in fields(MethodCard)}


def test_seen_clips_know_whole_sources_and_other_editions() -> None:
    clips = ["davis/dog", "davis/cows", "lvos2/a", "mose/b"]
    assert seen_clips({"training_clips": ["davis2016/dog", "lvos1/*"]}, clips) == ("davis/dog", "lvos2/a")
    assert seen_clips({}, clips) == ()


def test_classes_are_seen_unseen_or_not_known() -> None:
    assert [seen_in_training({"training_classes": ["dog"]}, name) for name in ("dog", "cat")] == ["seen", "unseen"]
    assert seen_in_training({}, "dog") is None


def contaminated() -> Result:
    method = {"name": "mine", "training_clips": ["davis/rex"]}
    tubes = tuple(TubeScores(f"davis/{clip}/dog", "davis", clip, "dog", 6, HIGH, {"s0": HIGH, "s1": LOW}) for clip in ("rex", "tom"))
    return a_result(method=method, tubes=tubes, badge="rerun", scored_here=True)


@pytest.mark.parametrize("form", FORMATS)
def test_every_board_flags_contamination_and_says_the_badge(form: str) -> None:
    board = Leaderboard.collect([contaminated(), a_result()]).render(form)
    assert all(words in board for words in ("rerun", "reported by their author"))
    words = {"json": '"seen_clips": [\n    "davis/rex"\n   ]', "csv": ",rerun,1,"}
    assert words.get(form, "1 clip of 2 seen in training (davis/rex)") in board


@pytest.mark.parametrize("form", FORMATS)
def test_every_board_says_on_which_clips_settings_were_chosen(form: str) -> None:
    result = contaminated()
    tuned = replace(result, method={"name": "mine", "validation_clips": ["davis2016/tom"]})
    board = Leaderboard.collect([tuned, a_result()]).render(form)
    words = {"json": '"validation_clips": [\n    "davis/tom"\n   ]', "csv": ",0,1,"}
    assert words.get(form, "settings were chosen on 1 of 2 clips") in board


def test_embedded_methods_name_the_clips_on_which_they_were_chosen() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    chosen = weight_file("sam2_nano").validation_clips
    assert chosen and all(clip.startswith("davis/") for clip in chosen)
    for name in method_names():
        card = load_method(name).card
        assert (card.validation_clips == chosen) == ("sam2_nano" in card.weights or name.startswith("persam")), name


def test_a_result_with_another_badge_or_a_faulty_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "native@1.json"
    for key, value, words in [("badge", "official", "badge"), ("method", {"name": "mine", "training_clips": "all"}, "training_clips")]:
        a_result().save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        with pytest.raises(DataError, match=words):
            Result.load(path)


def test_the_published_schema_takes_results_and_refuses_others(icvos: Icvos, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the report extra")
    schema = json.loads(icvos("schema", "result").out)
    result = a_result()
    groups = {**result.groups, "source": {"davis": HIGH}, "length": {"up to 100 frames": HIGH}}
    replace(result, groups=groups).save(tmp_path / "native@1.json")
    data = json.loads((tmp_path / "native@1.json").read_text())
    assert set(schema["properties"]) == set(data)
    jsonschema.validate(data, schema)
    for wrong in ({"badge": "official"}, {"overall": {}}, {"support_spread": 2}, {"method": {"name": ""}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**data, **wrong}, schema)


def test_scoring_says_the_badge_and_groups_by_training(icvos: Icvos, tmp_path: Path) -> None:
    from toys import make_coco, make_davis, moving_box

    data = tmp_path / "data"
    make_davis(data / "DAVIS", {"rex": ({1: "dog"}, moving_box()), "tom": ({1: "cat"}, moving_box())})
    make_coco(data / "COCO")
    assert icvos("build", "--sources", "davis", "--data", data, "--out", tmp_path / "R").code == 0
    method = tmp_path / "mine.py"
    method.write_text(
        "from icvos.types import MethodCard\n\n\nclass Mine:\n"
        "    card = MethodCard('mine', training_classes=('dog',), training_clips=('davis/tom',))\n\n"
        "    def segment(self, frames, supports):\n        for frame in frames:\n            yield frame[..., 0] > 90\n"
    )
    assert icvos("run", "--method", f"{method}:Mine", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs").code == 0
    said = icvos("score", tmp_path / "runs/mine", "--rerun", "--json")
    assert said.code == 0, said.err
    result = Result.load(Path(json.loads(said.out)[0]["path"]))
    assert result.badge == "rerun" and result.seen_clips == ("davis/tom",)
    by_class = {tube.category: tube.mean for tube in result.tubes}
    assert result.groups["training"] == {"seen": by_class["dog"], "unseen": by_class["cat"]}
    masks = icvos("score", tmp_path / "runs/mine/predictions", "--benchmark", tmp_path / "R", "--rerun", "--out", tmp_path / "x")
    assert masks.code == 2 and "not a run" in masks.err and "leave --rerun out" in masks.err
