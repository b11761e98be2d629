"""How far a long command is, on terminals of several widths and in logs."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from terminal import on_terminal

from icvos.cli import progress
from icvos.cli.progress import bar, file_bar, line

SLOW = '''
"""A method that takes its time."""
import time
import numpy as np
from icvos.types import MethodCard

class Slow:
    card = MethodCard(name="slow", kind="floor", summary="slow", version="1", weights="none", precision="none", licence="-")

    def segment(self, frames, supports):
        for frame in frames:
            time.sleep(0.03)
            yield np.zeros(frame.shape[:2], bool)
'''


def state(**given: Any) -> Any:
    made = progress._State(
        "17 methods", 35_000, "frames", **{"done": 1_203, "now": "lvos2/a-very-long-name-of-a-clip dcsam-first-frame", **given}
    )
    made.began = time.monotonic() - 35
    return made


@pytest.mark.parametrize("width", [*range(1, 30), 40, 59, 79, 100, 200])
def test_a_line_never_is_wider_than_its_terminal(width: int) -> None:
    for one in (
        state(),
        state(done=0),
        state(now=""),
        state(done=35_000),
        progress._State("x" * 90, None, ""),
        progress._State("", 0, "files"),
    ):
        assert cell_len(line(one, width)) <= width
        assert "\n" not in line(one, width)


def test_a_line_says_what_matters_and_leaves_out_the_rest_first() -> None:
    wide = line(state(), 120)
    assert all(word in wide for word in ("17 methods", "1,203/35,000 frames", "34 frames/s", "0:16:23 left", "lvos2/", "dcsam-first-frame"))
    assert "━" in line(state(now="", done=30_000), 79)
    narrow = line(state(), 59)
    assert "1,203/35,000 frames" in narrow and "0:16:23 left" in narrow
    assert line(state(), 39).startswith("1,203/35,000 frames")


@pytest.mark.parametrize("columns", [80, 60])
def test_a_run_counts_the_frames_of_all_methods_from_the_first_on(columns: int, toy_release: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    words = ("-m", "icvos", "run", "--benchmark", toy_release, "--method", "slow.py:Slow", "--out", "runs", "--limit", 3)
    seen = on_terminal(words, columns, tmp_path)
    assert seen.code == 0, seen.text
    drawn = [one for one in seen.lines if "frames" in one and "/" in one]
    assert max(map(cell_len, seen.lines[:-3])) < columns
    counts = [int(found[1]) for one in drawn if (found := re.search(r"(\d+)/\d+ frames", one))]
    assert 0 in counts and any(0 < count < counts[-1] for count in counts) and counts[-1] == max(counts)
    assert any("left" in one for one in drawn)
    assert columns < 80 or any("davis/" in one for one in drawn)


def test_several_methods_share_one_count_with_the_clip_and_the_method(toy_release: Path, tmp_path: Path) -> None:
    words = ("-m", "icvos", "run", "--benchmark", toy_release, "--method", "empty,full-frame,identity", "--out", "runs", "--limit", 4)
    seen = on_terminal(words, 100, tmp_path)
    assert seen.code == 0, seen.text
    totals = {found for one in seen.lines for found in re.findall(r"/(\d+) frames", one)}
    assert len(totals) == 1 and "3 methods" in seen.text
    assert max(map(cell_len, [one for one in seen.lines if "frames" in one and "left" in one])) < 100


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("words", [("score", "runs"), ("verify", "R"), ("submit", "check", "runs/empty")])
def test_the_bars_of_other_commands_fit(
    words: tuple[str, ...], columns: int, toy_release: Path, tmp_path: Path, icvos: Callable[..., Any]
) -> None:
    (tmp_path / "R").symlink_to(toy_release)
    assert icvos("run", "--method", "empty", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs").code == 0
    seen = on_terminal(("-m", "icvos", *words), columns, tmp_path)
    assert seen.code == 0, seen.text
    bars = [one for one in seen.lines if "━" in one or "─" in one or re.search(r"\d+/\d+ (episodes|files)", one)]
    assert bars and max(map(cell_len, bars)) < columns


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with bar("scoring mine", 10, "episodes") as advance:
        for number in range(4):
            advance(1, f"davis/clip-{number}")
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 6, lines
    assert re.fullmatch(r"icvos: scoring mine: 4/10 episodes, [\d.]+ episodes/s, 0:00:\d\d left; davis/clip-3", lines[-1])


def test_a_step_that_takes_long_is_no_silence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with file_bar("hashing") as reach:
        reach(0, 7)
        time.sleep(0.2)
    assert "icvos: hashing: 0/7 files" in capsys.readouterr().err


def test_what_is_done_within_a_minute_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert progress.EVERY == 60
    with bar("scoring", 1000, "episodes") as advance:
        for _ in range(1000):
            advance(1)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_bytes_are_told_in_megabytes() -> None:
    made = progress._State("sam_vit_h", 2_000_000_000, "bytes", done=500_000_000)
    made.began = time.monotonic() - 10
    assert "500/2,000 MB" in line(made, 79) and "50 MB/s" in line(made, 79)


def test_a_terminal_that_cannot_draw_again_is_treated_as_a_log(tmp_path: Path) -> None:
    code = "from icvos.cli.progress import bar\nwith bar('x', 5, 'files') as advance:\n    advance(5)"
    assert on_terminal(("-c", code), 80, tmp_path, {"TERM": "dumb"}).text.strip() == ""
    assert sys.platform != "linux" or "5/5 files" in on_terminal(("-c", code), 80, tmp_path).text
