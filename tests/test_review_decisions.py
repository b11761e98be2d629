"""Decisions on disk and what stands of them: nothing lost by crashes or neighbours, undo, conflicts, agreement, and the table by hand."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import make_candidates

from curation.candidates import CandidateSet, write_candidates
from curation.review.agreement import agreements, cohens_kappa, standing
from curation.review.decisions import Decision, append_decisions, decide, read_decisions, reviewer_name
from icvos.errors import DataError, UserInputError
from icvos.places import write_roots

Icvos = Callable[..., Any]
REX, TOM, MAN = "davis/rex/dog", "davis/tom/cat", "davis/tom/person"


@pytest.fixture(scope="module")
def asked(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CandidateSet:
    """Three tubes; tests must not write into the folder."""
    return make_candidates(tmp_path_factory.mktemp("candidates"), toy_data / "DAVIS")


@pytest.fixture
def folder(asked: CandidateSet, tmp_path: Path) -> Path:
    """A copy of the set that a test may write into."""
    copy = Path(shutil.copytree(asked.path, tmp_path / "candidates"))
    write_roots(copy, asked.roots)
    return copy


def one(tube: str = REX, verdict: str = "accept", reviewer: str = "ann", reason: str = "", **more: Any) -> Decision:
    return Decision("c" * 64, tube, "d" * 64, verdict, reviewer, "2026-01-01T00:00:00+00:00", reason, **more)


# The file


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new/decisions.jsonl"
    assert read_decisions(path).decisions == ()
    first, second = one(reason="a\nline — with ü"), one(TOM, "accept", class_name="dog", settles=True)
    append_decisions(path, [first])
    append_decisions(path, [second])
    assert read_decisions(path).decisions == (first, second)
    assert [json.loads(line)["tube"] for line in path.read_text(encoding="utf-8").splitlines()] == [REX, TOM]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_a_file_that_breaks_off_anywhere_keeps_its_whole_lines(data: st.DataObject, reasons: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / "decisions.jsonl"
        decisions = [one(reason=reason) for reason in reasons]
        append_decisions(path, decisions)
        whole = path.read_bytes()
        length = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:length])
        kept = whole[:length].count(b"\n")
        log = read_decisions(path)
        assert list(log.decisions) == decisions[:kept]
        assert len(log.findings) == (not whole[:length].endswith(b"\n") and length > 0)
        append_decisions(path, [one(MAN)])
        assert list(read_decisions(path).decisions) == [*decisions[:kept], one(MAN)]
        assert read_decisions(path).findings == ()


def test_half_a_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    append_decisions(path, [one()])
    with path.open("ab") as stream:
        stream.write(b'{"candidates": "' + b"x" * 10_000)
    append_decisions(path, [one(TOM)])
    assert [decision.tube for decision in read_decisions(path).decisions] == [REX, TOM]


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    script = (
        "import sys; from pathlib import Path; from curation.review.decisions import Decision, append_decisions\n"
        "for n in range(40): append_decisions(Path(sys.argv[1]),"
        " [Decision('c', f'{sys.argv[2]}-{n}', 'd', 'accept', sys.argv[2], 'now', 'r' * 300)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in ("ann", "ben", "cem")]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    tubes = [decision.tube for decision in read_decisions(path).decisions]
    assert len(tubes) == 120
    for name in ("ann", "ben", "cem"):
        assert [tube for tube in tubes if tube.startswith(name)] == [f"{name}-{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{}", "candidates: Missing required argument"),
        ("not json", "Invalid JSON"),
        (json.dumps({**one().__dict__} if hasattr(one(), "__dict__") else {"verdict": "maybe"}), "verdict"),
    ],
)
def test_a_whole_line_that_is_no_decision_is_refused_by_its_number(tmp_path: Path, line: str, found: str) -> None:
    path = tmp_path / "decisions.jsonl"
    append_decisions(path, [one()])
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_decisions(path)


def test_a_class_that_is_none_of_cocos_is_refused_with_the_nearest(tmp_path: Path) -> None:
    append_decisions(tmp_path / "d.jsonl", [one(class_name="dgo")])
    with pytest.raises(DataError, match="did you mean dog"):
        read_decisions(tmp_path / "d.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_no_place_for_decisions() -> None:
    with pytest.raises(UserInputError, match="cannot write: /dev/full"):
        append_decisions(Path("/dev/full"), [one()])


def test_a_path_that_is_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"cannot write.*Is a directory"):
        append_decisions(tmp_path, [one()])


# What may be decided


@pytest.mark.parametrize(
    ("words", "more", "sentence"),
    [
        (("davis/rex/dgo", "accept"), {}, "did you mean davis/rex/dog"),
        ((REX, "acept"), {}, "did you mean accept"),
        ((REX, "reject"), {}, "a reject without a reason"),
        ((REX, "reject"), {"reason": " \n"}, "a reject without a reason"),
        ((REX, "accept"), {"class_name": "bycicle"}, "did you mean bicycle"),
        ((REX, "unsure"), {"class_name": "cat"}, "another class without an accept"),
    ],
)
def test_what_cannot_be_decided_is_refused(asked: CandidateSet, words: tuple[str, str], more: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserInputError, match=sentence):
        decide(asked, *words, "ann", **more)


def test_a_decision_carries_what_was_looked_at(asked: CandidateSet) -> None:
    taken = decide(asked, REX, "accept", "ann", class_name="dog")
    assert (taken.candidates, taken.content) == (asked.digest, asked.tubes[0].content)
    assert taken.class_name == ""  # it is a dog anyway
    assert taken.when.endswith("+00:00")


def test_a_reviewer_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    assert reviewer_name(None) == "somebody"
    assert reviewer_name("  Ann  Lee ") == "Ann Lee"
    for bad in ("", "  ", "a\x00b", "x" * 61):
        with pytest.raises(UserInputError, match="no name for a reviewer"):
            reviewer_name(bad)


# What stands


def states(asked: CandidateSet, *taken: tuple[Any, ...]) -> dict[str, str]:
    decisions = [decide(asked, *words[:3], **(words[3] if len(words) > 3 else {})) for words in taken]
    return {tube: answers.state for tube, answers in standing(decisions, asked)[0].items()}


def test_the_last_answer_counts_and_undo_takes_back_one_at_a_time(asked: CandidateSet) -> None:
    accept, unsure, undo = (REX, "accept", "ann"), (REX, "unsure", "ann"), (REX, "undo", "ann")
    assert states(asked, accept, unsure) == {REX: "unsure"}
    assert states(asked, accept, unsure, undo) == {REX: "accepted"}
    assert states(asked, accept, unsure, undo, undo, undo) == {}
    assert states(asked, accept, (REX, "undo", "ben")) == {REX: "accepted"}


def test_who_is_sure_must_agree_on_verdict_and_class_but_not_on_the_reason(asked: CandidateSet) -> None:
    ann, ben = (REX, "accept", "ann"), (REX, "accept", "ben")
    no = {"reason": "rough"}
    assert states(asked, ann, ben) == {REX: "accepted"}
    assert states(asked, ann, (REX, "unsure", "ben")) == {REX: "accepted"}
    assert states(asked, ann, (REX, "reject", "ben", no)) == {REX: "conflict"}
    assert states(asked, ann, (REX, "accept", "ben", {"class_name": "cat"})) == {REX: "conflict"}
    assert states(asked, (REX, "reject", "ann", no), (REX, "reject", "ben", {"reason": "cut"})) == {REX: "rejected"}


def test_a_conflict_is_settled_by_a_decision_that_says_so_and_opened_by_its_undo(asked: CandidateSet) -> None:
    both = (REX, "accept", "ann"), (REX, "reject", "ben", {"reason": "rough"})
    settle = (REX, "reject", "cem", {"reason": "rough", "settles": True})
    assert states(asked, *both, (REX, "unsure", "cem")) == {REX: "conflict"}
    assert states(asked, *both, settle) == {REX: "rejected"}
    assert states(asked, *both, settle, (REX, "accept", "ben", {"settles": True})) == {REX: "accepted"}
    assert states(asked, *both, settle, (REX, "undo", "cem")) == {REX: "rejected"}  # that is an answer's undo
    assert states(asked, *both, settle, (REX, "undo", "cem", {"settles": True})) == {REX: "conflict"}


def test_decisions_about_other_candidates_do_not_count_and_are_told(asked: CandidateSet) -> None:
    found, findings = standing([one(), one(TOM), decide(asked, TOM, "accept", "ann")], asked)
    assert list(found) == [TOM]
    assert [finding.found for finding in findings] == ["2 decisions about set cccccccccccc…"]


def test_kappa_is_cohens() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)  # p_o = 0.7, p_e = 0.5
    assert cohens_kappa([("yes", "yes"), ("no", "no")]) == 1
    assert cohens_kappa([("yes", "no"), ("no", "yes")]) == -1
    assert cohens_kappa([("yes", "yes")] * 3) is None


@given(st.lists(st.tuples(*[st.sampled_from(["accept", "reject", "unsure", "accept as dog"])] * 2), min_size=1, max_size=30))
def test_kappa_is_as_by_its_definition(pairs: list[tuple[str, str]]) -> None:
    names = ["accept", "reject", "unsure", "accept as dog"]
    share = [[sum(pair == (a, b) for pair in pairs) / len(pairs) for b in names] for a in names]
    observed = sum(share[k][k] for k in range(4))
    expected = sum(sum(share[k]) * sum(row[k] for row in share) for k in range(4))
    kappa = cohens_kappa(pairs)
    if kappa is None:
        assert expected == pytest.approx(1)
    else:
        assert kappa == pytest.approx((observed - expected) / (1 - expected))
    assert kappa == cohens_kappa([(b, a) for a, b in pairs])


def test_agreement_counts_what_both_answered_and_no_settling(asked: CandidateSet) -> None:
    taken = [decide(asked, tube, "accept", "ann") for tube in (REX, TOM, MAN)]
    taken += [decide(asked, REX, "accept", "ben"), decide(asked, TOM, "unsure", "ben"), decide(asked, TOM, "accept", "ben", settles=True)]
    (pair,) = agreements(standing(taken, asked)[0])
    assert (pair.first, pair.second, pair.tubes, pair.agreed) == ("ann", "ben", 2, 1)
    assert pair.kappa == 0


# The command without a page


def fill_in(table: Path, verdicts: dict[str, tuple[str, str, str]]) -> None:
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["verdict"], row["reason"], row["other_class"] = verdicts.get(row["tube"], ("", "", ""))
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_gifs_and_a_table_become_decisions(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    said = icvos("review", folder, "--gifs-only", tmp_path / "gifs")
    assert said.code == 0, said
    assert "3 GIFs" in said.out
    table = tmp_path / "gifs/decisions.csv"
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["tube"] for row in rows] == [REX, TOM, MAN]
    assert rows[0]["warnings"] == "every-instance: more of the class may be outside the masks"
    assert all((tmp_path / "gifs" / row["gif"]).read_bytes().startswith(b"GIF89a") for row in rows)
    fill_in(table, {REX: ("Accept", "", ""), TOM: ("reject", "rough masks", ""), MAN: ("", "", "")})
    said = icvos("review", folder, "--import-csv", table, "--reviewer", "ann", "--json")
    assert json.loads(said.out) | {"decisions": ""} == {"decisions": "", "reviewer": "ann", "taken": 2, "known": 0, "empty": 1}
    fill_in(table, {REX: ("accept", "", ""), TOM: ("reject", "rough masks", ""), MAN: ("accept", "", "dog")})
    assert "1 decisions of ann added" in icvos("review", folder, "--import-csv", table, "--reviewer", "ann").out
    facts = json.loads(icvos("review", folder, "--summary", "--json").out)
    assert facts["states"] == {"open": 0, "accepted": 2, "rejected": 1, "unsure": 0, "conflict": 0}
    assert facts["reviewers"] == {"ann": 3}


def test_an_export_goes_on_and_never_writes_over_a_table(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    icvos("review", folder, "--gifs-only", tmp_path / "gifs")
    gifs = sorted((tmp_path / "gifs").glob("*.gif"))
    bytes_before = [gif.read_bytes() for gif in gifs]
    gifs[1].unlink()
    table = tmp_path / "gifs/decisions.csv"
    fill_in(table, {REX: ("accept", "", "")})
    filled_in = table.read_bytes()
    said = icvos("review", folder, "--gifs-only", tmp_path / "gifs", "--json")
    assert (json.loads(said.out)["drawn"], json.loads(said.out)["table_kept"]) == (1, True)
    assert [gif.read_bytes() for gif in gifs] == bytes_before
    assert table.read_bytes() == filled_in


def test_every_fault_of_a_table_is_listed_and_nothing_is_taken(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    icvos("review", folder, "--gifs-only", tmp_path / "gifs")
    table = tmp_path / "gifs/decisions.csv"
    fill_in(table, {REX: ("yes", "", ""), TOM: ("reject", "", ""), MAN: ("accept", "", "persn")})
    said = icvos("review", folder, "--import-csv", table)
    assert said.code == 3
    assert f"line 2: found no such verdict: {REX} yes; known: accept, reject, unsure\n" in said.err
    for words in ("line 3", "a reject without a reason", "line 4", "did you mean person"):
        assert words in said.err
    assert not (folder / "decisions.jsonl").exists()


def test_a_table_of_other_candidates_is_told_by_their_hash(icvos: Icvos, folder: Path, toy_data: Path, tmp_path: Path) -> None:
    icvos("review", folder, "--gifs-only", tmp_path / "gifs")
    table = tmp_path / "gifs/decisions.csv"
    fill_in(table, {REX: ("accept", "", "")})
    other = make_candidates(tmp_path / "other", toy_data / "DAVIS", warned="tom")
    said = icvos("review", other.path, "--import-csv", table)
    assert said.code == 3
    assert CandidateSet.open(folder).digest[:12] in said.err
    assert other.digest[:12] in said.err
    said = icvos("review", other.path, "--gifs-only", tmp_path / "gifs")
    assert said.code == 2
    assert "the table of another set" in said.err


def test_what_is_no_table_is_refused(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    said = icvos("review", folder, "--import-csv", tmp_path / "t.csv")
    assert said.code == 3
    assert "no column tube" in said.err
    assert icvos("review", folder, "--import-csv", tmp_path / "none.csv").code == 2
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in icvos("review", folder, "--import-csv", tmp_path / "t.csv").err


def test_a_table_saved_by_a_spreadsheet_is_read(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    icvos("review", folder, "--gifs-only", tmp_path / "gifs")
    table = tmp_path / "gifs/decisions.csv"
    fill_in(table, {REX: ("accept", "", "")})
    text = table.read_text(encoding="utf-8").replace(",", ";")
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "1 decisions of ann added" in icvos("review", folder, "--import-csv", table, "--reviewer", "ann").out


@pytest.mark.parametrize("words", [(), ("--summary",), ("--gifs-only", "gifs"), ("--import-csv", "t.csv")])
def test_no_candidates_is_said_in_one_sentence(icvos: Icvos, tmp_path: Path, words: tuple[str, ...]) -> None:
    write_candidates(tmp_path / "none", [], {}, {})
    said = icvos("review", tmp_path / "none", *words)
    assert said.code == 2
    assert said.err.startswith("icvos: no candidates to review")
    assert said.err.count("\n") == 1


def test_no_set_and_a_root_that_is_none_are_told(icvos: Icvos, folder: Path, tmp_path: Path) -> None:
    assert "make them with `icvos build --candidates DIR`" in icvos("review", tmp_path / "nowhere").err
    assert "did you mean davis" in icvos("review", folder, "--root", f"dvais={tmp_path}", "--summary").err
    said = icvos("review", folder, "--root", f"davis={tmp_path}", "--gifs-only", tmp_path / "gifs")
    assert said.code == 3
    assert "no such file" in said.err
    assert not (tmp_path / "gifs/decisions.csv").exists()


def test_the_summary_tells_conflicts_agreement_and_half_a_line(icvos: Icvos, folder: Path) -> None:
    asked = CandidateSet.open(folder)
    path = folder / "decisions.jsonl"
    append_decisions(path, [decide(asked, REX, "accept", "ann"), decide(asked, REX, "reject", "ben", reason="rough")])
    with path.open("a") as stream:
        stream.write('{"half')
    said = icvos("review", folder, "--summary")
    assert said.code == 0
    assert "conflict  davis/rex/dog  ann: accept, ben: reject" in said.out
    assert "ann and ben agree on 0 of 1 tubes" in said.out
    assert "breaks off after 6 bytes" in said.out
