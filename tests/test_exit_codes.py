"""One exit code for one fault, whatever the command, and only options in its message that the command has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_hints import COMMANDS, OPTION, OPTIONS

# Every command that reads something, with {} where its path stands; what an existing path of another kind is answered with.
RELEASES = [
    "verify {}",
    "stats {}",
    "diff {} R",
    "diff R {}",
    "export codabench {} --dry-run",
    "run --method empty --benchmark {} --dry-run",
    "score runs/empty --benchmark {}",
    "submit check runs/empty --benchmark {}",
    "submit pack runs/empty --benchmark {}",
    "submit score runs/empty --benchmark {}",
]
RESULTS = ["compare {} {}", "leaderboard {}"]
FILES = ["labels check {}", "labels merge {} --out x.csv", "labels import-ovis {} --out x.csv", "build --data data --labels {} --dry-run"]
TREES = ["import {} --coco data/COCO --out x", "build --davis {} --coco data/COCO --out x", "verify --source davis --davis {}"]
MASKS = ["score {} --benchmark R", "submit check {} --benchmark R", "submit score {} --benchmark R"]
CANDIDATES = ["review {} --summary"]
READING = [*RELEASES, *RESULTS, *FILES, *TREES, *MASKS, *CANDIDATES]
UNKNOWN = [
    ("run --method emty --benchmark R", "did you mean empty"),
    ("run --method empty,dcsm --benchmark R", "did you mean dcsam"),
    ("run --method all-embeded --benchmark R", "did you mean all-embedded"),
    ("score runs/empty --protocol natve@1", "did you mean native@1"),
    ("submit check runs/empty --protocol natve@1", "did you mean native@1"),
    ("leaderboard runs --protocol natve@1", "did you mean native@1"),
    ("leaderboard runs --group class=dgo", "did you mean class=dog"),
    ("leaderboard runs --by JF", "J&F"),
    ("compare runs/empty runs/full-frame --protocol natve@1", "did you mean native@1"),
    ("build --sources davsi --data data --dry-run", "did you mean davis"),
    ("verify --source davsi --data data", "did you mean davis"),
    ("labels suggest --sources davsi --data data --out x.csv", "did you mean davis"),
    ("import R --sources davsi --data data --out x", "did you mean davis"),
    ("verify R --root davsi=data", "did you mean davis"),
    ("weights sam2.1_hiera_q", "did you mean sam2.1_hiera"),
    ("reproduce tabel4", "did you mean table4"),
    ("fewshot --benchmark coco20 --method empty", "did you mean coco20i"),
    ("sizes --method dcsma", "did you mean dcsam"),
]


@pytest.fixture
def here(toy_release: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, icvos: Callable[..., Any]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    (tmp_path / "R").symlink_to(toy_release)
    (tmp_path / "data").symlink_to(toy_data)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken").mkdir()
    for name in ("broken/manifest.json", "broken/candidates.json", "broken.json"):
        (tmp_path / name).write_text("{broken")
    (tmp_path / "broken/episodes.jsonl").write_text("")


@pytest.fixture(scope="module")
def scored(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import icvos

    folder = tmp_path_factory.mktemp("scored") / "runs"
    for method in ("empty", "full-frame"):
        icvos.score(icvos.run(method, toy_release, out=folder), benchmark=toy_release)
    return folder


def answered(icvos: Callable[..., Any], line: str) -> tuple[int, str]:
    """The exit code and the message, whose options are those of the command, or of one that stands in backticks."""
    words = line.split()
    said = icvos(*words)
    name = f"{words[0]}.{words[1]}" if f"{words[0]}.{words[1]}" in COMMANDS else words[0]
    own = re.sub(r"`[^`]*`", "", said.err)
    strangers = [option for option in OPTION.findall(own) if option not in {*OPTIONS[name], "--traceback"} and option not in line]
    assert not strangers, f"{line}: {said.err}"
    assert "Traceback" not in said.err
    return said.code, said.err


@pytest.mark.parametrize("line", READING)
def test_a_path_that_is_not_there_is_the_users_fault(line: str, here: None, scored: Path, icvos: Callable[..., Any]) -> None:
    Path("runs").symlink_to(scored)
    code, said = answered(icvos, line.replace("{}", "nowhere"))
    assert code == 2, said
    assert "nowhere" in said


@pytest.mark.parametrize("line", [*RELEASES, *RESULTS, *TREES, *CANDIDATES])
@pytest.mark.parametrize("what", ["nothing", "broken"])
def test_a_folder_that_is_something_else_is_the_datas(line: str, what: str, here: None, scored: Path, icvos: Callable[..., Any]) -> None:
    Path("runs").symlink_to(scored)
    code, said = answered(icvos, line.replace("{}", what))
    assert code == 3, said


@pytest.mark.parametrize("line", [*RESULTS, *FILES])
def test_a_broken_file_is_the_datas(line: str, here: None, scored: Path, icvos: Callable[..., Any]) -> None:
    Path("runs").symlink_to(scored)
    assert answered(icvos, line.replace("{}", "broken.json"))[0] == 3


@pytest.mark.parametrize("line", MASKS)
@pytest.mark.parametrize("what", ["nothing", "broken.json"])
def test_masks_with_faults_are_the_submissions(line: str, what: str, here: None, icvos: Callable[..., Any]) -> None:
    assert answered(icvos, line.replace("{}", what))[0] == 4


@pytest.mark.parametrize(("line", "words"), UNKNOWN)
def test_an_unknown_name_is_answered_with_the_nearest(line: str, words: str, here: None, scored: Path, icvos: Callable[..., Any]) -> None:
    Path("runs").symlink_to(scored)
    code, said = answered(icvos, line)
    assert code == 2, said
    assert words in said


def test_a_plug_in_that_fails_is_its_own_fault(here: None, icvos: Callable[..., Any]) -> None:
    Path("mine.py").write_text("raise RuntimeError('broken')")
    assert answered(icvos, "run --method mine.py:Mine --benchmark R")[0] == 5
