"""Episodes of images beside their board: which are chosen, how they are drawn, what the page and the figure show of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import make_voc

from icvos.cli import main
from icvos.fewshot.answers import Answers, Asked, choose, is_best
from icvos.fewshot.board import ImageRow
from icvos.fewshot.results import ImageResult
from icvos.render.answers import ADDED, MISSED, RIGHT, SIDE, errors

Icvos = Callable[..., Any]
PROTOCOL = "pascal5i-1shot-val-area-e6@1"
METHOD = """
import numpy as np
from icvos.types import MethodCard


class Columns:
    def __init__(self, name, columns):
        self.card, self.columns = MethodCard(name), columns

    def segment(self, frames, supports):
        for frame in frames:
            mask = np.zeros(frame.shape[:2], bool)
            mask[:, : self.columns] = True
            yield mask


def left():
    return Columns("left", 30)


def wide():
    return Columns("wide", 70)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods and a floor on six episodes of toy images; tests must not change it."""
    room = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(room)
        patch.delenv("ICVOS_DATA", raising=False)
        make_voc(room / "VOC2012")
        (room / "method.py").write_text(METHOD)
        for method in ("method.py:left", "method.py:wide", "centre-box"):
            run_here(method)
    return room


@pytest.fixture
def room(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same to change; its runs remember the release of the original."""
    monkeypatch.chdir(shutil.copytree(toy, tmp_path / "room"))
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    return Path()


def run_here(method: str, *words: object) -> None:
    given = ("--benchmark", "pascal5i", "--fold", 0, "--method", method, "--pascal", "VOC2012", "--episodes", 6, *words)
    with pytest.raises(SystemExit) as leaving:
        main(["fewshot", *map(str, given)])
    assert not leaving.value.code


def page(icvos: Icvos, *words: object, episodes: int = 2) -> Any:
    return icvos("leaderboard", "runs", "--format", "html", "--out", "page.html", "--episodes", episodes, *words)


class Read(HTMLParser):
    """The pictures of a page, and its words."""

    def __init__(self, path: Path = Path("page.html")) -> None:
        super().__init__()
        self.images: list[Mapping[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


# which episodes


def answers(label: str, ious: Mapping[str, float], kind: str = "method", digest: str = "d") -> Answers:
    row = ImageRow(label, kind, {0: 0.5}, {0: None}, None, 0.5, None, (0,), None, None, len(ious), (), (), False)
    return Answers(row, {Asked(digest, name): iou for name, iou in ious.items()}, {})


def names(chosen: Any) -> list[str]:
    return [asked.episode for asked in chosen]


def test_methods_that_differ_most_and_what_each_does_worst() -> None:
    a = answers("a", {"v/1/dog#e0": 0.9, "v/1/cat#e1": 0.8, "v/2/dog#e2": 0.5, "v/3/dog#e3": 0.1, "v/4/dog#e4": 0.2})
    b = answers("b", {"v/1/dog#e0": 0.1, "v/1/cat#e1": 0.1, "v/2/dog#e2": 0.1, "v/3/dog#e3": 0.1, "v/4/dog#e4": 0.3})
    floor = answers("floor", {"v/4/dog#e4": 1.0, "v/3/dog#e3": 0.0}, "floor")
    choice = choose([a, b, floor], 2)
    assert names(choice.differing) == ["v/1/dog#e0", "v/2/dog#e2"]  # the cat is in the same picture, floors are no rivals
    assert {asked.episode: labels for asked, labels in choice.worst.items()} == {
        "v/3/dog#e3": ("a",),
        "v/4/dog#e4": ("a",),
        "v/1/cat#e1": ("b",),
    }
    alone = choose([b], 1)
    assert not alone.differing and names(alone.worst) == ["v/1/cat#e1"]
    assert names(choose([floor], 1).worst) == ["v/3/dog#e3"]
    asked = Asked("d", "v/4/dog#e4")
    assert [is_best(one, [a, b, floor], asked) for one in (a, b, floor)] == [False, True, False]
    assert not is_best(a, [a, b], Asked("d", "v/3/dog#e3"))  # all alike


def test_episodes_of_two_seeds_are_two_though_they_are_named_alike() -> None:
    one, two = answers("a", {"v/1/dog#e0": 0.9}, digest="x"), answers("b", {"v/1/dog#e0": 0.1}, digest="y")
    choice = choose([one, two], 3)
    assert not choice.differing and len(choice.worst) == 2


@given(
    st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 3)), st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 3)), st.integers(1, 4)
)
def test_the_choice_depends_on_no_order(table: dict[tuple[int, int], tuple[float, ...]], count: int) -> None:
    def board(turn: int) -> list[Answers]:
        return [answers(f"m{k}", {f"v/{p}/dog#e{e}": ious[k] for (p, e), ious in sorted(table.items())[::turn]}) for k in range(3)]

    choice = choose(board(1), count)
    assert choice == choose(board(-1), count)
    assert len({asked.picture for asked in choice.differing}) == len(choice.differing) <= count
    assert len(set(choice.all)) == len(choice.all) and all(choice.worst.values())


# how they are drawn


def test_errors_have_their_colours_and_void_has_stripes() -> None:
    truth, predicted, void = np.zeros((3, 8, 12), bool)
    truth[:, :6], predicted[:, 3:9], void[:2] = True, True, True
    drawn = errors(np.full((8, 12, 3), 200, np.uint8), truth, predicted, void).astype(int)
    for columns, colour in ((slice(3, 6), RIGHT), (slice(0, 3), MISSED), (slice(6, 9), ADDED)):
        assert np.abs(drawn[2:, columns] - (0.25 * 110 + 0.75 * np.array(colour))).max() <= 1
    assert (drawn[2:, 9:] == 110).all()  # the picture itself, in grey
    assert set(np.unique(drawn[:2])) == {40, 215}


def test_the_page_shows_each_episode_and_needs_no_script(room: Path, icvos: Icvos) -> None:
    said = page(icvos, "--figure", "figure.png")
    assert said.code == 0, said
    found = Read()
    assert "script" not in found.tags and all(image["alt"] for image in found.images)
    shown = {str(image["src"]) for image in found.images}
    assert shown == {f"page-images/{path.name}" for path in Path("page-images").iterdir()}
    assert len(found.images) % 5 == 0  # support, truth, two methods and a floor
    for path in Path("page-images").iterdir():
        with Image.open(path) as picture:
            assert max(picture.size) == SIDE
    assert "Where methods differ most" in found.text and "worst of " in found.text and "void: striped" in found.text
    with Image.open("figure.png") as figure:
        assert figure.width > 5 * SIDE and figure.height > 2 * SIDE * 64 // 80
    assert max(path.stat().st_size for path in Path("page-images").iterdir()) < 40_000


def test_the_scores_below_the_pictures_are_those_that_were_counted(room: Path, icvos: Icvos) -> None:
    page(icvos, episodes=6)
    lines = next(Path("runs").rglob(f"left/results/{PROTOCOL}.episodes.csv")).read_text().splitlines()[1:]
    counted = {episode: f"{100 * int(both) / int(either):.2f}" for episode, _, both, either, *_ in (line.split(",") for line in lines)}
    shown = {episode: row for row in Path("page.html").read_text().split("<tbody>") for episode in counted if episode in row}
    assert len({episode.rpartition("/")[0] for episode in counted}) <= len(shown) <= len(counted)
    assert all(f"answer of left, IoU {counted[episode]}" in row for episode, row in shown.items())


def test_the_same_runs_give_the_same_bytes_and_strangers_stay(room: Path, icvos: Icvos) -> None:
    page(icvos, "--figure", "figure.png", episodes=3)
    before = {path: path.read_bytes() for path in [*Path("page-images").iterdir(), Path("page.html"), Path("figure.png")]}
    Path("page-images/mine.jpg").write_bytes(b"mine")
    Path("page-images/answer-0123456789abcdef.jpg").write_bytes(b"of an earlier page")
    page(icvos, "--figure", "figure.png", episodes=3)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in Path("page-images").iterdir()} == {path.name for path in before if path.parent.name} | {"mine.jpg"}
    page(icvos, episodes=1)
    assert len(list(Path("page-images").iterdir())) < len(before) - 2


def test_five_shots_folds_and_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, icvos: Icvos) -> None:
    monkeypatch.chdir(tmp_path)
    make_voc(Path("VOC2012"), ("airplane", "bird", "bus", "cat"), each=6)
    Path("method.py").write_text(METHOD)
    for method in ("method.py:left", "method.py:wide"):
        run_here(method, "--fold", "0,1", "--seeds", 2, "--shots", 5, "--allow-missing", "--episodes", 2)
    said = page(icvos, "--figure", "figure.png", episodes=3)
    assert said.code == 0, said
    found = Read()
    supports = [image for image in found.images if str(image["alt"]).startswith("support")]
    assert supports and len(supports) % 5 == 0 and str(supports[4]["alt"]).startswith("support 5: ")
    with Image.open(str(supports[0]["src"])) as picture:
        assert max(picture.size) == SIDE // 2
    assert "seed 1" in found.text and "fold 1" in found.text


# what is not here


def test_a_result_alone_has_a_cell_that_says_so(room: Path, icvos: Icvos) -> None:
    run = next(Path("runs").rglob("wide/run.json"))
    run.unlink()
    assert page(icvos, "--figure", "figure.png").code == 0
    found = Read()
    assert "no masks here, only the result" in found.text and len(found.images) % 4 == 0
    next(Path("runs").rglob("wide/results/*.csv")).unlink()
    assert page(icvos).code == 0
    assert "no result on this episode" in Read().text and "Where methods differ" not in Read().text
    said = page(icvos, "--figure", "figure.png")
    assert said.code == 2 and "two methods" in said.err


def test_results_alone_say_which_release_is_wanted(room: Path, icvos: Icvos) -> None:
    for path in Path("runs").rglob("run.json"):
        path.unlink()
    said = page(icvos)
    assert said.code == 2 and "the episodes of the results are not here" in said.err and "--benchmark DIR" in said.err
    (release,) = Path("fewshot").iterdir()
    for folder in ("fewshot", release):
        assert page(icvos, "--benchmark", folder).code == 0
    assert page(icvos, "--benchmark", "VOC2012").code == 3
    for path in Path("runs").rglob("*.episodes.csv"):
        path.unlink()
    said = page(icvos, "--benchmark", "fewshot")
    assert said.code == 3 and "no counts of episodes" in said.err


def test_pictures_that_moved_are_found_where_the_options_say(room: Path, icvos: Icvos) -> None:
    (release,) = Path("fewshot").iterdir()
    (release / "roots.json").write_text(json.dumps({"pascal": "/nowhere/VOC"}))
    said = page(icvos, "--benchmark", "fewshot")
    assert said.code == 2 and "no folder /nowhere/VOC" in said.err and "--pascal DIR" in said.err and not Path("page.html").exists()
    for words in (("--pascal", "VOC2012"), ("--root", "pascal=VOC2012"), ("--data", ".")):
        assert page(icvos, "--benchmark", "fewshot", *words).code == 0
    (release / "roots.json").unlink()
    assert page(icvos, "--benchmark", "fewshot").code == 2
    assert page(icvos, "--benchmark", "fewshot", "--pascal", "VOC2012").code == 0
    for path in Path("VOC2012/JPEGImages").iterdir():
        Image.new("RGB", (80, 64)).save(path)
    said = page(icvos, "--benchmark", "fewshot", "--pascal", "VOC2012")
    assert said.code == 3 and "not the file that the release names" in said.err


def test_what_broke_since_it_was_scored_is_named(room: Path, icvos: Icvos) -> None:
    for path in Path("runs").rglob("left/predictions/**/*.zip"):
        path.write_bytes(b"no zip")
    said = page(icvos)
    assert said.code == 3 and "cannot read the prediction" in said.err
    counts = next(Path("runs").rglob("left/results/*.csv"))
    lines = counts.read_text()
    for broken, what in ((lines.replace(",", ";"), "cannot read the counts"), (lines.replace("pascal/", "coco/"), "not in the release")):
        counts.write_text(broken)
        said = page(icvos)
        assert said.code == 3 and what in said.err, said


def test_names_of_methods_are_text(room: Path, icvos: Icvos) -> None:
    path = next(Path("runs").rglob(f"left/results/{PROTOCOL}.json"))
    bad = ImageResult.load(path).model_copy(update={"method": {"name": '<script>"\u202ex', "kind": "method"}})
    path.write_text(bad.model_copy(update={"signature": bad.own_signature}).model_dump_json())
    assert page(icvos, "--figure", "figure.png").code == 0
    assert "script" not in Read().tags and '<script>"' in Read().text and "\u202e" not in Read().text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--figure", "f.png"), "say how many with --episodes"),
        (("--episodes", 1), "--format html and --out FILE"),
        (("--episodes", 1, "--figure", "f.png", "--by", "J"), "ranked by mIoU"),
    ],
)
def test_what_cannot_be_drawn_is_refused(words: tuple[object, ...], said: str, room: Path, icvos: Icvos) -> None:
    found = icvos("leaderboard", "runs", *words)
    assert found.code == 2 and said in found.err


def test_a_figure_needs_no_page(room: Path, icvos: Icvos) -> None:
    found = icvos("leaderboard", "runs", "--episodes", 1, "--figure", "figure.png")
    assert found.code == 0 and "| left |" in found.out and Path("figure.png").is_file() and not Path("page-images").exists()
