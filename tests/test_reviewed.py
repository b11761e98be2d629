"""From candidates through decisions to a release: what reviewers say is what is frozen, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import box, make_coco, make_davis, moving_box, two_clips, write_frame, write_ids

from curation.candidates import CandidateSet, CandidateTube
from curation.review.agreement import NO_ANSWERS, standing
from curation.review.decisions import Decision, Verdict, read_decisions
from curation.review.settle import Settled, settle
from curation.reviewed import clip_content
from curation.rules import EVERY_INSTANCE
from icvos.benchmark import EPISODES, MANIFEST, Benchmark

Icvos = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("nothing_set")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three clips: rex/dog, tom/cat and tom/person, pals/dog and pals/cat."""
    pals = [np.maximum(ids, box(0, 30, 5, 8, 2)) for ids in moving_box()]
    make_davis(tmp_path / "data/DAVIS", {**two_clips(), "pals": ({1: "dog", 2: "cat"}, pals)})
    make_coco(tmp_path / "data/COCO", ["dog", "cat", "person"])
    return tmp_path / "data"


@pytest.fixture
def candidates(icvos: Icvos, data: Path, tmp_path: Path) -> CandidateSet:
    said = icvos("build", "--data", data, "--candidates", tmp_path / "C")
    assert said.code == 0, said.err
    assert not (tmp_path / "here/ic-vos").exists()
    return CandidateSet.open(tmp_path / "C")


def tube_named(candidates: CandidateSet, name: str) -> CandidateTube:
    return next(tube for tube in candidates.tubes if tube.id == name)


def decided(
    candidates: CandidateSet, name: str, verdict: Verdict, reviewer: str = "ann", reason: str = "", class_name: str = ""
) -> Decision:
    content = tube_named(candidates, name).content
    return Decision(candidates.digest, name, content, verdict, reviewer, "2025-03-01T12:00:00+00:00", reason, class_name)


def write(folder: Path, decisions: Iterable[Decision]) -> Path:
    path = folder / "decisions.jsonl"
    path.write_text("".join(json.dumps(asdict(decision)) + "\n" for decision in decisions))
    return path


def accept_all(candidates: CandidateSet) -> list[Decision]:
    return [decided(candidates, tube.id, "accept") for tube in candidates.tubes]


# The candidates


def test_candidates_are_what_the_rules_leave_in_with_what_to_look_at(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    write_ids(data / "DAVIS/Annotations/480p/rex/00003.png", np.maximum(moving_box()[3], box(18, 30, 4, 4, 2)))
    semantics = json.loads((data / "DAVIS/davis_semantics.json").read_text())
    semantics["rex"]["2"] = "dog"
    (data / "DAVIS/davis_semantics.json").write_text(json.dumps(semantics))
    said = icvos("build", "--data", data, "--candidates", tmp_path / "C", "--json")
    report = json.loads(said.out)
    opened = CandidateSet.open(tmp_path / "C")
    assert report["candidates"] == opened.digest
    assert [tube.id for tube in opened.tubes] == [
        "davis/pals/cat", "davis/pals/dog", "davis/rex/dog", "davis/tom/cat", "davis/tom/person",
    ]  # fmt: skip
    assert opened.rules["min-length"] == "the class is to be seen on at least 5 annotated frames"
    assert opened.root("davis") == data / "DAVIS"
    rex = tube_named(opened, "davis/rex/dog")
    assert rex.objects == (1, 2)
    assert [warned.reason for warned in rex.warnings] == ["object 2 is first seen on frame 00003"]
    tube = rex.tube(data / "DAVIS")
    assert rex.content == clip_content(tube.clip)
    masks = list(tube.masks())
    assert masks[3] is not None
    assert masks[3].sum() == 10 * 12 + 16


def test_the_same_data_give_the_same_candidates(icvos: Icvos, data: Path, candidates: CandidateSet, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "elsewhere")
    assert icvos("build", "--data", tmp_path / "elsewhere", "--candidates", tmp_path / "D", "--sources", "davis").code == 0
    assert CandidateSet.open(tmp_path / "D").digest == candidates.digest


def test_candidates_that_were_decided_about_are_never_overwritten(
    icvos: Icvos, data: Path, candidates: CandidateSet, tmp_path: Path
) -> None:
    words = ("build", "--data", data, "--candidates", tmp_path / "C")
    assert icvos(*words, "--min-length", 4).code == 0  # nobody has decided anything yet
    assert icvos(*words).code == 0
    assert CandidateSet.open(tmp_path / "C").digest == candidates.digest
    write(tmp_path / "C", accept_all(candidates))
    assert icvos(*words).code == 0
    said = icvos(*words, "--min-length", 4)
    assert (said.code, "decisions about other candidates are here" in said.err) == (2, True)
    assert CandidateSet.open(tmp_path / "C").digest == candidates.digest


def test_the_content_is_of_masks_and_the_first_picture(data: Path, candidates: CandidateSet) -> None:
    before = tube_named(candidates, "davis/rex/dog")
    clip = before.tube(data / "DAVIS").clip
    write_frame(data / "DAVIS/JPEGImages/480p/rex/00004.jpg", 99)
    assert clip_content(clip) == before.content
    write_frame(data / "DAVIS/JPEGImages/480p/rex/00000.jpg", 99)
    assert clip_content(clip) != before.content


# Settling


def test_the_last_of_each_reviewer_counts_and_undo_takes_it_back(candidates: CandidateSet) -> None:
    rex, cat, person, dog = "davis/rex/dog", "davis/tom/cat", "davis/tom/person", "davis/pals/dog"
    lines = [
        decided(candidates, rex, "accept"),
        decided(candidates, rex, "reject", reason="a second dog"),
        decided(candidates, cat, "accept"),
        decided(candidates, cat, "reject"),
        decided(candidates, cat, "undo"),
        decided(candidates, person, "accept"),
        decided(candidates, person, "undo"),
        decided(candidates, person, "undo"),
        decided(candidates, dog, "unsure"),
        decided(candidates, dog, "accept", "bob"),
    ]
    settled = {one.tube: one for one in settle(lines, candidates).tubes}
    assert settled[rex] == Settled(rex, "rejected", reason="rejected by ann: a second dog")
    assert settled[cat] == Settled(cat, "accepted", "cat")
    assert settled[person] == Settled(person, "undecided", reason="nobody has decided yet")
    assert settled[dog] == Settled(dog, "accepted", "dog")
    assert settled["davis/pals/cat"].outcome == "undecided"


def test_reviewers_who_do_not_agree_are_in_conflict(candidates: CandidateSet) -> None:
    rex, cat = "davis/rex/dog", "davis/tom/cat"
    lines = [
        decided(candidates, rex, "accept"),
        decided(candidates, rex, "reject", "bob"),
        decided(candidates, cat, "accept", "bob", class_name="dog"),
        decided(candidates, cat, "accept", class_name="cat"),
    ]
    settled = {one.tube: one for one in settle(lines, candidates).tubes}
    assert settled[rex] == Settled(rex, "conflict", reason="reviewers do not agree: ann accepts, bob rejects")
    assert settled[cat] == Settled(cat, "conflict", reason="reviewers do not agree: ann accepts, bob accepts as dog")
    lines += [decided(candidates, rex, "accept", "bob"), decided(candidates, cat, "accept", "bob")]
    assert {one.outcome for one in settle(lines, candidates).tubes if one.tube in (rex, cat)} == {"accepted"}


def one_tube() -> CandidateSet:
    tube = CandidateTube(
        id="a/b/dog", source="a", clip="b", class_id=18, objects=(1,), size=(2, 2), encoding="ids", frames=("0",), annotated=(True,),
        image="{}.jpg", mask="{}.png", content="0" * 64,
    )  # fmt: skip
    return CandidateSet(Path("C"), (tube,), {}, "f" * 64, {})


@given(st.lists(st.tuples(st.sampled_from(["accept", "reject", "unsure", "undo"]), st.sampled_from(["ann", "bob"])), max_size=8))
def test_how_the_lines_of_two_reviewers_are_mixed_decides_nothing(steps: list[tuple[Verdict, str]]) -> None:
    one = one_tube()
    tube = one.tubes[0]
    lines = [Decision("f" * 64, tube.id, tube.content, verdict, reviewer, "") for verdict, reviewer in steps]
    apart = sorted(lines, key=lambda line: line.reviewer)  # a stable sort keeps each one's own order
    assert settle(lines, one) == settle(apart, one)
    last: dict[str, list[str]] = {"ann": [], "bob": []}
    for verdict, reviewer in steps:
        last[reviewer] = last[reviewer][:-1] if verdict == "undo" else [*last[reviewer], verdict]
    stand = {verdicts[-1] for verdicts in last.values() if verdicts} - {"unsure"}
    expected = {frozenset({"accept"}): "accepted", frozenset({"reject"}): "rejected", frozenset({"accept", "reject"}): "conflict"}
    outcome = settle(lines, one).tubes[0].outcome
    assert outcome == expected.get(frozenset(stand), "unsure" if any(last.values()) else "undecided")


STEPS = st.tuples(st.sampled_from(["accept", "reject", "unsure", "undo"]), st.sampled_from(["ann", "bob"]), st.booleans())


@given(st.lists(STEPS, max_size=9))
def test_what_is_frozen_is_what_the_review_page_shows(steps: list[tuple[Verdict, str, bool]]) -> None:
    one = one_tube()
    lines = [Decision(one.digest, one.tubes[0].id, one.tubes[0].content, verdict, who, "", settles=end) for verdict, who, end in steps]
    shown = standing(lines, one)[0].get(one.tubes[0].id, NO_ANSWERS).state
    assert settle(lines, one).tubes[0].outcome == ("undecided" if shown == "open" else shown)


# The file


def test_a_line_half_written_at_the_end_is_told_and_the_rest_kept(candidates: CandidateSet, tmp_path: Path, icvos: Icvos) -> None:
    path = write(tmp_path / "C", accept_all(candidates))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 9])
    log = read_decisions(path)
    assert len(log.decisions) == len(candidates.tubes)
    assert [finding.code for finding in log.findings] == ["half-written"]
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 0
    assert "note: half-written: " in said.err
    assert "line 6" in said.err


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "Invalid JSON"),
        ("[]", "an object"),
        ('{"tube": "a"}', "candidates: "),
        (json.dumps(asdict(Decision("a", "b", "c", "accept", "d", "e")) | {"verdict": "maybe"}), "verdict: "),
        (json.dumps(asdict(Decision("a", "b", "c", "accept", "d", "e")) | {"reviewer": 5}), "reviewer: "),
    ],
)
def test_a_broken_line_in_the_middle_is_refused(candidates: CandidateSet, icvos: Icvos, tmp_path: Path, line: str, fault: str) -> None:
    path = write(tmp_path / "C", accept_all(candidates))
    path.write_text(line + "\n" + path.read_text())
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 3
    assert "not a decision: " in said.err
    assert "line 1" in said.err
    assert fault in said.err
    assert not (tmp_path / "R").exists()


def test_decisions_about_other_candidates_are_refused_or_told(candidates: CandidateSet, icvos: Icvos, data: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", data, "--min-length", 3, "--candidates", tmp_path / "D").code == 0
    other = CandidateSet.open(tmp_path / "D")
    path = write(tmp_path / "C", accept_all(other))
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 2
    assert f"decisions about other candidates: {tmp_path / 'C'}: found {other.digest[:12]}, expected {candidates.digest[:12]}" in said.err
    assert not (tmp_path / "R").exists()
    write(tmp_path / "C", [decided(other, "davis/rex/dog", "accept"), decided(candidates, "davis/tom/cat", "accept")])
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 0
    assert "note: other-candidates" in said.err
    assert list(Benchmark.open(tmp_path / "R").tubes) == ["davis/tom/cat"]


def test_decisions_that_are_not_there_are_refused(candidates: CandidateSet, icvos: Icvos, data: Path, tmp_path: Path) -> None:
    for words in (("--out", tmp_path / "R"), ("--data", data, "--explain", "rex")):
        said = icvos("build", "--decisions", tmp_path / "C/decision.jsonl", *words)
        assert (said.code, "no such file of decisions" in said.err) == (2, True), said
    assert not (tmp_path / "R").exists()


def test_a_class_that_is_none_of_cocos_is_refused_with_the_nearest(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    wrong = decided(candidates, "davis/tom/cat", "accept", "bob", class_name="kat")
    said = icvos("build", "--decisions", write(tmp_path / "C", [*accept_all(candidates), wrong]), "--out", tmp_path / "R")
    assert said.code == 3
    assert "unknown class: " in said.err and "line 6" in said.err and "did you mean cat" in said.err
    assert not (tmp_path / "R").exists()


def test_unknown_tubes_and_other_content_in_decisions_are_told(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    strange = Decision(candidates.digest, "davis/rex/cow", "0" * 64, "accept", "ann", "")
    stale = Decision(candidates.digest, "davis/rex/dog", "0" * 64, "reject", "ann", "")
    path = write(tmp_path / "C", [*accept_all(candidates), strange, stale])
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 0
    for code in ("unknown-tube: davis/rex/cow", "other-content: davis/rex/dog"):
        assert code in said.err
    assert len(Benchmark.open(tmp_path / "R").tubes) == len(candidates.tubes)


# The release


def test_only_what_is_accepted_is_frozen_and_every_other_has_its_reason(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    lines = [
        decided(candidates, "davis/rex/dog", "accept"),
        decided(candidates, "davis/tom/cat", "reject", reason="another cat behind"),
        decided(candidates, "davis/tom/person", "accept"),
        decided(candidates, "davis/tom/person", "reject", "bob"),
        decided(candidates, "davis/pals/cat", "unsure"),
    ]
    said = icvos("build", "--decisions", write(tmp_path / "C", lines), "--out", tmp_path / "R")
    assert said.code == 0, said.err
    for sentence in (
        "in   davis/rex/dog",
        f"out  davis/tom/cat  {EVERY_INSTANCE}: rejected by ann: another cat behind",
        f"out  davis/tom/person  {EVERY_INSTANCE}: reviewers do not agree: ann accepts, bob rejects",
        f"out  davis/pals/cat  {EVERY_INSTANCE}: ann unsure, and nobody else has decided",
        f"out  davis/pals/dog  {EVERY_INSTANCE}: nobody has decided yet",
    ):
        assert sentence in said.out
    benchmark = Benchmark.open(tmp_path / "R")
    assert list(benchmark.tubes) == ["davis/rex/dog"]
    assert "a person saw that every instance" in benchmark.manifest.rules[EVERY_INSTANCE]
    assert icvos("verify", tmp_path / "R").code == 0


def test_the_same_decisions_give_the_same_bytes_wherever_the_data_lie(
    candidates: CandidateSet, icvos: Icvos, data: Path, tmp_path: Path
) -> None:
    lines = accept_all(candidates)
    path = write(tmp_path / "C", lines)
    assert icvos("build", "--decisions", path, "--out", tmp_path / "R").code == 0
    shutil.copytree(tmp_path / "C", tmp_path / "shared")
    (tmp_path / "shared/roots.json").unlink()
    shutil.move(data, tmp_path / "moved")
    write(tmp_path / "shared", reversed(lines))
    words = ("--decisions", tmp_path / "shared/decisions.jsonl", "--sources", "davis", "--data", tmp_path / "moved", "--min-length", 5)
    said = icvos("build", *words, "--out", tmp_path / "S")
    assert said.code == 0, said.err
    for file in (MANIFEST, EPISODES):
        assert (tmp_path / "R" / file).read_bytes() == (tmp_path / "S" / file).read_bytes()
    assert icvos("build", "--decisions", tmp_path / "shared/decisions.jsonl", "--out", tmp_path / "T").code == 2


def test_another_class_is_taken_over_and_objects_of_one_class_are_joined(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    lines = [
        decided(candidates, "davis/rex/dog", "accept", class_name="cat"),
        decided(candidates, "davis/pals/cat", "accept", class_name="dog"),
        decided(candidates, "davis/pals/dog", "accept"),
        decided(candidates, "davis/tom/person", "accept", class_name="cat"),
        decided(candidates, "davis/tom/cat", "reject"),
    ]
    said = icvos("build", "--decisions", write(tmp_path / "C", lines), "--out", tmp_path / "R")
    assert said.code == 0, said.err
    tubes = Benchmark.open(tmp_path / "R").tubes
    assert {name: tube.instances for name, tube in tubes.items()} == {"davis/rex/cat": (1,), "davis/pals/dog": (1, 2)}
    assert "out  davis/tom/person  every-instance: is cat to the reviewers, and other cat objects of the clip are not accepted" in said.out


def test_two_classes_that_change_places_are_no_obstacle(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    lines = [
        decided(candidates, "davis/pals/cat", "accept", class_name="dog"),
        decided(candidates, "davis/pals/dog", "accept", class_name="cat"),
        decided(candidates, "davis/rex/dog", "accept", class_name="bicycle"),
    ]
    said = icvos("build", "--decisions", write(tmp_path / "C", lines), "--out", tmp_path / "R")
    tubes = Benchmark.open(tmp_path / "R").tubes
    assert {name: tube.instances for name, tube in tubes.items()} == {"davis/pals/dog": (2,), "davis/pals/cat": (1,)}
    assert "out  davis/rex/dog  support: COCO has no usable support of bicycle here" in said.out


@pytest.mark.parametrize("change", ["mask", "first picture", "gone"])
def test_a_clip_that_changed_since_the_review_is_told_and_left_out(
    candidates: CandidateSet, icvos: Icvos, data: Path, tmp_path: Path, change: str
) -> None:
    path = write(tmp_path / "C", accept_all(candidates))
    mask = data / "DAVIS/Annotations/480p/pals/00002.png"
    if change == "mask":
        write_ids(mask, moving_box()[0])
    elif change == "gone":
        mask.unlink()
    else:
        write_frame(data / "DAVIS/JPEGImages/480p/pals/00000.jpg", 77)
    said = icvos("build", "--decisions", path, "--out", tmp_path / "R")
    assert said.code == 0, said.err
    for name in ("cat", "dog"):
        assert f"out  davis/pals/{name}  unchanged: the clip on disk is another one than the reviewers saw; review it again" in said.out
    assert list(Benchmark.open(tmp_path / "R").tubes) == ["davis/rex/dog", "davis/tom/cat", "davis/tom/person"]


def test_nothing_accepted_makes_no_release(candidates: CandidateSet, icvos: Icvos, tmp_path: Path) -> None:
    said = icvos("build", "--decisions", write(tmp_path / "C", []), "--out", tmp_path / "R")
    assert said.code == 3
    assert "no tube qualifies" in said.err
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--min-area", "1"), "the candidates were made with another `min-area`"),
        (("--min-length", "2"), "the candidates were made with another `min-length`"),
        (("--sources", "davis2016"), "the candidates are of other sources"),
        (("--candidates", "nowhere"), "no candidates here: nowhere"),
    ],
)
def test_what_was_reviewed_is_frozen_and_not_something_else(
    candidates: CandidateSet, icvos: Icvos, tmp_path: Path, words: tuple[str, str], sentence: str
) -> None:
    path = write(tmp_path / "C", accept_all(candidates))
    said = icvos("build", "--decisions", path, *words, "--out", tmp_path / "R")
    assert said.code == 2
    assert sentence in said.err
    assert not (tmp_path / "R").exists()


def test_explain_says_what_reviewers_said(candidates: CandidateSet, icvos: Icvos, data: Path, tmp_path: Path) -> None:
    lines = [decided(candidates, "davis/tom/cat", "accept"), decided(candidates, "davis/tom/person", "reject", reason="a crowd")]
    said = icvos("build", "--data", data, "--explain", "tom", "--decisions", write(tmp_path / "C", lines))
    assert "     yes  every-instance: accepted as cat" in said.out
    assert "     NO   every-instance: rejected by ann: a crowd" in said.out
    assert "out  davis/tom/person" in said.out
