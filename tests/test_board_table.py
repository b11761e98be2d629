"""The board on a terminal: a short table that fits, and markdown, byte for byte, wherever it is piped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from terminal import on_terminal
from test_board import result

from icvos.board import Leaderboard
from icvos.entries import Entry
from icvos.render.table import cut, render_table
from icvos.results import Timing

LONG = "a-method-whose-name-was-made-by-a-committee-of-many"


def board() -> Leaderboard:
    twins = [result(LONG, value, weights="x" * 60 + end) for value, end in ((0.5, "1"), (0.4, "2"))]
    bounds = [result("identity", 0.9, kind="ceiling"), result("empty", 0.1, kind="floor")]
    runs = [result("dcsam", 0.7), result("標本方法" * 9, 0.6), *twins, *bounds]
    entries = [Entry(one, None, Timing(100, 3, 2**30)) for one in runs]
    return Leaderboard.collect([*entries, Entry(result("partial", 0.2, present=60, notes=("resized predictions",)))])


@pytest.mark.parametrize("width", [40, 50, 60, 79, 80, 100, 140])
@pytest.mark.parametrize("by", ["J&F", "J_recall"])
def test_no_line_is_wider_than_the_terminal(width: int, by: str) -> None:
    assert max(map(cell_len, render_table(board(), by, width=width).splitlines())) <= width


def test_names_that_are_cut_stay_apart_and_scores_are_never_cut() -> None:
    lines = render_table(board(), width=80).splitlines()
    shown = [line for line in lines if line.strip().startswith(("3", "4")) and "…" in line]
    assert len(shown) == 2 and shown[0].split("…")[1].split()[0] != shown[1].split("…")[1].split()[0]
    assert all(any(number in line for line in lines) for number in ("70.00", "60.00", "50.00", "40.00"))
    assert cut("abcdefgh", 8) == "abcdefgh" and cut("abcdefgh", 5) == "ab…gh" and cell_len(cut("標本方法標本方法", 7)) == 7


def test_provenance_comes_with_verbose_and_qualifications_always() -> None:
    short, long = render_table(board()), render_table(board(), verbose=True)
    assert "icvos:" not in short and "d" * 64 not in short
    assert "partial: 40 of 100 masks missing, counted as 0" in short and "partial: resized predictions" in short
    assert all(one.result.signature in long for one in board().rows) and "d" * 64 in long
    assert long.startswith(short)


@pytest.fixture(scope="module")
def scored(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import icvos

    folder = tmp_path_factory.mktemp("table")
    for method in ("support-shape", "empty"):
        icvos.score(icvos.run(method, toy_release, out=folder / "runs"), benchmark=toy_release)
    return folder


@pytest.mark.parametrize("columns", [80, 60])
def test_a_terminal_gets_the_table(columns: int, scored: Path) -> None:
    seen = on_terminal(("-m", "icvos", "leaderboard", "runs"), columns, scored)
    assert seen.code == 0 and "support-shape" in seen.text and "| rank" not in seen.text and "icvos:" not in seen.text
    assert max(map(cell_len, seen.lines)) <= columns
    assert "icvos:" in on_terminal(("-m", "icvos", "leaderboard", "runs", "--verbose"), columns, scored).text


def test_a_pipe_and_a_file_get_markdown_as_before(scored: Path, icvos: Callable[..., Any]) -> None:
    from icvos.reported import reported_rows

    expected = Leaderboard.load(sorted(scored.rglob("*@1.json")), reported=reported_rows()).render("markdown")
    assert icvos("leaderboard", scored / "runs").out == expected
    assert icvos("leaderboard", scored / "runs", "--format", "markdown").out == expected
    assert icvos("leaderboard", scored / "runs", "--out", scored / "x.md").code == 0
    assert (scored / "x.md").read_text() == expected
    seen = on_terminal(("-m", "icvos", "leaderboard", "runs", "--format", "markdown"), 80, scored)
    assert seen.text.replace("\r\n", "\n") == expected


def test_a_table_may_be_asked_for_and_verbose_is_of_a_table_alone(scored: Path, icvos: Callable[..., Any]) -> None:
    assert "rank  method" in icvos("leaderboard", scored / "runs", "--verbose").out
    said = icvos("leaderboard", scored / "runs", "--format", "csv", "--verbose")
    assert said.code == 2 and "--verbose" in said.err
