"""Images that are moved together with their frozen episodes and runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import make_voc

Icvos = Callable[..., Any]


def test_images_and_their_runs_are_moved_with_their_pictures(tmp_path: Path, icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make_voc(Path("data/VOC2012"))
    words = ("--benchmark", "pascal5i", "--fold", 0, "--episodes", 6, "--pascal", "data/VOC2012")
    assert icvos("fewshot", *words, "--method", "centre-box").code == 0
    release = next(Path("fewshot").iterdir())
    assert json.loads((release / "roots.json").read_text()) == {"pascal": "../../data/VOC2012"}
    Path("../here").resolve().rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    said = icvos("score", next(Path("runs").glob("*/centre-box")))
    assert said.code == 0, said.err
    assert icvos("leaderboard", "runs", "--format", "html", "--out", "page.html", "--episodes", 1).code == 0
