"""Every command of the README and the docs, typed as it stands there, in a folder where the demo was run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from toys import make_coco, moving_box, write_frame, write_ids

from curation.sources.coco import Coco
from curation.tubes import curate
from icvos.cli import main
from icvos.download import alone
from icvos.masks import image_size

BESIDE = Path(sys.executable).parent  # pytest, whose environment need not be active
REPOSITORY = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<head>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `icvos demo` leaves, and beside it what it says to machines; made once for all processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    room = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "docs"
    room.mkdir(exist_ok=True)
    out, said = room / "icvos demo", room / "said.json"
    with alone(room / ".lock"):
        if not said.exists():
            with redirect_stdout(StringIO()) as told, pytest.raises(SystemExit) as leaving:
                main(["demo", "--out", str(out), "--json"])
            assert not leaving.value.code
            said.write_text(told.getvalue())
    return out


def steps(page: str) -> Iterator[tuple[str, str]]:
    """The page's files to write ("file", text), commands ("$", line), Python ("python", text) and what that prints ("output", text)."""
    for block in FENCE.finditer((REPOSITORY / page).read_text(encoding="utf-8")):
        head = block["head"]
        if "file=" in head:
            yield head.partition("file=")[2], block["body"]
        elif head in {"python", "output"}:
            yield head, block["body"]
        elif head == "console":
            yield from (("$", line.removeprefix("$ ")) for line in block["body"].splitlines() if line.startswith("$ "))


def output_of(code: str, page: str, room: dict[str, Any]) -> str:
    """What a block of a page's Python prints, after those before it."""
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, page, "exec"), room)
    return printed.getvalue()


def test_the_demo_leaves_a_board_that_ranks_nothing_with_floors(demo: Path) -> None:
    assert "oracle-first-frame" in (demo / "board.html").read_text(encoding="utf-8")
    assert len(list((demo / "runs").glob("*/results/native@1.json"))) >= 5


def test_the_demo_tells_machines_what_each_step_said_in_one_document(demo: Path) -> None:
    report = json.loads(demo.with_name("said.json").read_text())
    commands = [step["command"].split()[1] for step in report["steps"]]
    assert (report["out"], commands) == (str(demo), ["build", "run", "score", "leaderboard", "leaderboard"])
    assert report["steps"][-1]["said"]["rows"] and report["steps"][2]["said"][0]["signature"]


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_work(page: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, icvos: Callable[..., Any]) -> None:
    found = list(steps(page))
    if not found:
        pytest.skip("no commands on this page")
    # The release remembers where its sources are, so a copy of the demo still finds them.
    shutil.copytree(demo, tmp_path / "icvos-demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    room: dict[str, Any] = {}  # what the page's Python has named so far
    printed = ""
    for kind, text in found:
        if kind == "python":
            printed = output_of(text, page, room)
        elif kind == "output":
            assert printed == text
        elif kind != "$":
            Path(kind).write_text(text, encoding="utf-8")
        elif text.startswith("icvos "):
            said = icvos(*shlex.split(text)[1:])
            assert said.code == 0, (text, said)
        else:
            subprocess.run(text, shell=True, check=True, env={**os.environ, "PATH": f"{BESIDE}{os.pathsep}{os.environ['PATH']}"})


def test_the_source_of_the_docs_gives_tubes(tmp_path: Path) -> None:
    code = next(text for kind, text in steps("docs/add-a-source.md") if kind == "my_source.py")
    room: dict[str, Any] = {}
    exec(compile(code, "my_source.py", "exec"), room)
    for number, ids in enumerate(moving_box()):
        write_frame(tmp_path / "pets/rex" / f"{number:03d}.jpg", number)
        write_ids(tmp_path / "pets/rex" / f"{number:03d}.png", ids)
    (tmp_path / "pets/rex/what").write_text("dog\n")
    source = room["Pets"](tmp_path / "pets")
    assert [tube.id for tube in curate([source], Coco(make_coco(tmp_path / "COCO"))).tubes] == ["pets/rex/dog"]


def test_the_picture_of_the_readme_can_be_made_again(demo: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(REPOSITORY / "docs/picture.py"), str(demo / "ic-vos"), str(demo / "runs"), str(tmp_path / "picture.jpg")]
    subprocess.run(script, check=True)
    assert image_size(tmp_path / "picture.jpg") == image_size(REPOSITORY / "docs/picture.jpg")


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target:
                assert ((REPOSITORY / page).parent / target).exists(), (page, target)
