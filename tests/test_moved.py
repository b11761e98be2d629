"""What is moved as a whole still works: releases, runs and candidates remember what lies beside them by the way to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import make_coco, make_davis, moving_box

from curation.candidates import CandidateSet
from icvos.benchmark import Benchmark
from icvos.places import place_at, way_to
from icvos.store import PredictionStore

Icvos = Callable[..., Any]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A folder with data inside, as the demo leaves it."""
    make_davis(tmp_path / "demo/data/DAVIS", {"rex": ({1: "dog"}, moving_box()), "tom": ({1: "cat"}, moving_box())})
    make_coco(tmp_path / "demo/data/COCO")
    return tmp_path / "demo"


def roots_of(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "roots.json").read_text()))


def test_a_demo_works_where_it_was_moved(demo: Path, icvos: Icvos, nothing_set: None) -> None:
    def call(*words: object) -> Any:
        said = icvos(*words)
        assert said.code == 0, said.err
        return said

    call("build", "--data", demo / "data", "--out", demo / "ic-vos")
    call("run", "--method", "centre-box", "--benchmark", demo / "ic-vos", "--out", demo / "runs")
    call("build", "--data", demo / "data", "--candidates", demo / "to-review")
    assert roots_of(demo / "ic-vos") == roots_of(demo / "to-review") == {"coco": "../data/COCO", "davis": "../data/DAVIS"}
    moved = demo.rename(demo.with_name("elsewhere"))
    call("verify", moved / "ic-vos")
    call("run", "--method", "full-frame", "--benchmark", moved / "ic-vos", "--out", moved / "runs")
    call("score", moved / "runs")  # on the release that the runs remember
    call("submit", "pack", moved / "runs/centre-box", "--out", moved / "box.zip")
    call("leaderboard", moved / "runs", "--rescore")
    call("leaderboard", moved / "runs", "--format", "html", "--out", moved / "board.html", "--episodes", 1)
    assert CandidateSet.open(moved / "to-review").root("davis") == moved / "data/DAVIS"


def test_a_copy_reads_its_own_data_and_not_that_of_the_original(demo: Path, icvos: Icvos) -> None:
    assert icvos("build", "--data", demo / "data", "--out", demo / "ic-vos").code == 0
    copy = Path(shutil.copytree(demo, demo.with_name("copy")))
    assert Benchmark.open(copy / "ic-vos").root("davis") == copy / "data/DAVIS"
    next((copy / "data/DAVIS").rglob("00003.png")).write_bytes(b"no picture")
    assert icvos("verify", copy / "ic-vos").code == 3 and icvos("verify", demo / "ic-vos").code == 0


def test_data_far_away_is_remembered_by_its_whole_path(demo: Path, tmp_path: Path, icvos: Icvos) -> None:
    release = tmp_path / "releases/of-mine/ic-vos"
    assert icvos("build", "--data", demo / "data", "--out", release).code == 0
    assert roots_of(release)["davis"] == str(demo / "data/DAVIS")
    moved = release.rename(tmp_path / "ic-vos")
    assert icvos("verify", moved).code == 0


def test_whole_paths_of_earlier_versions_are_read(demo: Path, icvos: Icvos) -> None:
    assert icvos("build", "--data", demo / "data", "--out", demo / "ic-vos").code == 0
    assert icvos("run", "--method", "centre-box", "--benchmark", demo / "ic-vos", "--out", demo / "runs").code == 0
    (demo / "ic-vos/roots.json").write_text(json.dumps({name: str(demo / f"data/{name.upper()}") for name in ("davis", "coco")}))
    assert icvos("verify", demo / "ic-vos").code == 0 and icvos("score", demo / "runs").code == 0


@pytest.mark.parametrize(
    ("target", "up", "said"),
    [
        ("room/data", 1, "../data"),
        ("room/release/inside", 1, "inside"),
        ("data", 1, None),
        ("data", 2, "../../data"),
        ("/data", 9, None),  # all lies below the disk's root: that is no nearness
    ],
)
def test_what_is_near_by_is_remembered_by_the_way(target: str, up: int, said: str | None, tmp_path: Path) -> None:
    folder, place = tmp_path / "room/release", tmp_path / target
    assert way_to(place, folder, up=up) == (said or str(place.resolve()))
    assert place_at(way_to(place, folder, up=up), folder) == place.resolve()


def test_a_run_finds_its_release_by_its_digest_beside_it_or_where_it_was(demo: Path, tmp_path: Path, icvos: Icvos) -> None:
    assert icvos("build", "--data", demo / "data", "--out", demo / "ic-vos").code == 0
    assert icvos("run", "--method", "centre-box", "--benchmark", demo / "ic-vos", "--out", demo / "runs").code == 0
    alone = Path(shutil.copytree(demo / "runs", tmp_path / "alone/runs")) / "centre-box"
    assert PredictionStore.open(alone).remembered == demo / "ic-vos"
    copy = Path(shutil.copytree(demo / "ic-vos", tmp_path / "alone/ic-vos"))
    assert PredictionStore.open(alone).remembered == copy
    (copy / "episodes.jsonl").write_text("")  # of the same name, and another release
    assert PredictionStore.open(alone).remembered == demo / "ic-vos"


def test_a_release_behind_a_link_finds_its_data(demo: Path, tmp_path: Path, icvos: Icvos) -> None:
    assert icvos("build", "--data", demo / "data", "--out", demo / "ic-vos").code == 0
    (tmp_path / "links").mkdir()
    (tmp_path / "links/release").symlink_to(demo / "ic-vos")
    assert icvos("verify", tmp_path / "links/release").code == 0
