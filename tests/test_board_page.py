"""The page of the boards, worked in a browser; and what is drawn for it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icvos.board import Leaderboard
from icvos.entries import Entry
from icvos.errors import DataError
from icvos.render.html import boards_of, render_page
from icvos.render.over_time import POINTS, Curve, curves_beside, mean_curve, read_curves
from icvos.reported import ReportedRow
from icvos.results import Coverage, Result, Scores, TubeScores
from icvos.totals import length_group, mean_scores

TUBES = (
    ("davis", "rex", "dog", 24),
    ("davis", "tom", "cat", 24),
    ("davis", "walk", "dog", 150),
    ("lvos2", "lake", "person", 700),
    ("lvos2", "lake", "dog", 700),
)


def scores(rng: random.Random) -> Scores:
    j, f = rng.random(), rng.random()
    return Scores(j, f, (j + f) / 2, rng.random(), rng.random(), rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.random(), rng.random())


def measured(
    name: str, *, kind: str = "method", protocol: str = "native@1", tubes: Sequence[tuple[str, str, str, int]] = TUBES, **card: Any
) -> Result:
    """A run whose scores are random, and whose means are what the harness makes of them."""
    rng = random.Random(f"{name} {protocol}")
    found = []
    for source, clip, category, frames in tubes:
        draws = {draw: scores(rng) for draw in ("s0", "s1", "s2")}
        found.append(TubeScores(f"{source}/{clip}/{category}", source, clip, category, frames, mean_scores(draws.values()), draws))
    kinds: dict[str, Callable[[TubeScores], str]] = {
        "class": lambda tube: tube.category,
        "source": lambda tube: tube.source,
        "length": lambda tube: length_group(tube.frames),
    }
    groups = {
        group: {value: mean_scores(tube.mean for tube in found if pick(tube) == value) for value in sorted(set(map(pick, found)))}
        for group, pick in kinds.items()
    }
    groups["support"] = {draw: mean_scores(tube.draws[draw] for tube in found) for draw in ("s0", "s1", "s2")}
    return Result(
        method={"name": name, "kind": kind, **card},
        benchmark={"name": "toy", "version": "1", "digest": "d" * 64},
        protocol=protocol,
        environment={"icvos": "0.1.0"},
        coverage=Coverage(100, 100),
        overall=mean_scores(tube.mean for tube in found),
        intervals={"J&F": (0.1, 0.9), "J": None, "F": None},
        support_spread=sum(stdev(s.JF for s in tube.draws.values()) for tube in found) / len(found),
        groups=groups,
        tubes=tuple(found),
    )


NAMES = ("alpha", "beta", "gamma", "delta")
RESULTS = [
    measured("alpha", training_classes=["dog"], training_clips=["davis/rex"]),
    measured("beta", training_classes=["dog", "cat"]),
    *(measured(name) for name in NAMES[2:]),
    measured("empty", kind="floor"),
    measured("oracle", kind="ceiling"),
    *(measured(name, protocol="paper-512@1") for name in NAMES[:2]),
]
CURVE = Curve(np.linspace(1, 0, POINTS), np.linspace(1, 0, POINTS))


class Board:
    """A page of boards as somebody sees and works it."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser = browser
        browser.get_log("browser")
        browser.get(path.as_uri())
        browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})

    def do(self, script: str, *given: object) -> Any:
        return self.browser.execute_script(script, *given)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def choose(self, name: str, value: str) -> None:
        """Choose in the select of this name in the section that is shown; `value` may be the option's words."""
        script = """
            const select = [...document.querySelectorAll(arguments[0])].find((one) => one.offsetParent);
            const option = [...select.options].find((one) => one.value === arguments[1] || one.textContent === arguments[1]);
            select.value = option.value;
            select.dispatchEvent(new Event("change"));"""
        self.do(script, name, value)

    def rows(self, *headings: str) -> list[list[str]]:
        """Rank or kind, name and the cells below these headings, of all rows that are seen, in order."""
        script = """
            const lines = [...document.querySelectorAll("table.board-rows tbody tr")].filter((line) => line.offsetParent);
            const words = (cell) => (cell.querySelector("strong") ?? cell.firstElementChild ?? cell).firstChild.textContent;
            return lines.map((line) => [words(line.cells[0]), words(line.cells[1]),
                ...arguments[0].map((heading) => words([...line.cells].find((cell) => cell.dataset.heading === heading)))]);"""
        found: list[list[str]] = self.do(script, headings)
        return [[cell.strip() for cell in row] for row in found]

    def failures(self) -> list[str]:
        lines = "[...document.querySelectorAll('.episodes tbody tr')].filter((one) => one.offsetParent)"
        script = f"return {lines}.map((one) => one.cells[0].innerText)"
        return list(self.do(script))

    def quiet(self) -> None:
        """Nothing was refused by the page's policy, and no script failed."""
        assert self.browser.get_log("browser") == []


@pytest.fixture
def board(browser: Any, tmp_path: Path) -> Board:
    curves = {result.signature: {f"{tube.id}#{draw}": CURVE for tube in result.tubes for draw in tube.draws} for result in RESULTS[:1]}
    (tmp_path / "board.html").write_text(render_page(boards_of(map(Entry, RESULTS), None), "J&F", None, curves=curves), encoding="utf-8")
    return Board(browser, tmp_path / "board.html")


def said_by_the_harness(results: Sequence[Result], group: str | None, by: str = "J&F") -> list[list[str]]:
    def words(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.2f}"

    rows = Leaderboard.collect(results, protocol="native@1").rank(by, group)
    return [
        [
            str(row.rank or ("–" if row.kind == "method" else row.kind)),
            row.label,
            *(words(row.score(name)) for name in ("J&F", "J", "F", "J_first")),
        ]
        for row in rows
    ]


SHOWN = ("J&F", "J", "F", "first J")


def test_filters_say_what_the_harness_says_of_the_group(board: Board) -> None:
    assert board.rows(*SHOWN) == said_by_the_harness(RESULTS, None)
    assert "[10.00, 90.00]" in board.do("return document.body.innerText")
    for group in ("class=dog", "class=cat", "source=lvos2", "length=up to 100 frames", "length=over 500 frames"):
        kind, _, name = group.partition("=")
        board.choose(f"[data-filter='{kind}']", name)
        assert board.rows(*SHOWN) == said_by_the_harness(RESULTS, group)
        assert "[10.00, 90.00]" not in board.do("return document.querySelector('section.board').querySelector('.table').innerText")
        tubes = [tube for tube in RESULTS[0].tubes if name in (tube.category, tube.source, length_group(tube.frames))]
        assert board.do("return document.querySelector('.status').textContent").startswith(f"{len(tubes)} of 5 tubes")
        assert {row[2] for row in board.rows("tubes")} == {str(len(tubes))}
        board.choose(f"[data-filter='{kind}']", "")
    board.choose("[data-filter='source']", "davis")
    board.choose("[data-filter='class']", "person")
    assert {tuple(row[2:]) for row in board.rows("J&F", "tubes")} == {("–", "0")}
    board.do("[...document.querySelectorAll('.controls button')].find((one) => one.textContent === 'Show all').click()")
    assert board.rows(*SHOWN) == said_by_the_harness(RESULTS, None)
    board.quiet()


def test_classes_and_clips_of_training_and_kinds_are_filtered(board: Board) -> None:
    for name, choice, tubes in (
        ("classesSeen", "unseen by every method", 1),
        ("classesSeen", "seen by some method", 4),
        ("classesSeen", "unseen by alpha", 2),
        ("clipsSeen", "unseen by every method", 4),
        ("clipsSeen", "seen by alpha", 1),
    ):
        board.choose(f"[data-filter='{name}']", choice)
        assert {row[2] for row in board.rows("tubes")} == {str(tubes)}, choice
        board.choose(f"[data-filter='{name}']", "")
    assert "contaminated: 1 clip of 4" in board.do("return document.body.innerText")
    board.choose("[data-filter='kind']", "ceiling")
    assert [row[:2] for row in board.rows()] == [["ceiling", "oracle"]]
    board.choose("[data-filter='kind']", "method")
    assert len(board.rows()) == 4
    assert not board.do(
        "return [...document.querySelectorAll('h2')].some((one) => one.offsetParent && one.textContent === 'Ceilings and floors')"
    )


def test_headings_sort_by_keys(board: Board) -> None:
    from selenium.webdriver.common.keys import Keys

    def heading(key: str) -> str:
        return str(board.do("return document.querySelector(`thead [data-sort='${arguments[0]}']`).getAttribute('aria-sort')", key))

    by_f = [row[1] for row in said_by_the_harness(RESULTS, None, "F")][:4]
    assert heading("rank") == "ascending"
    board.do("document.querySelector(\"thead [data-sort='F'] button\").focus()")
    board.press(Keys.ENTER)
    assert ([row[1] for row in board.rows()][:4], heading("F"), heading("rank")) == (by_f, "descending", "None")
    board.press(Keys.SPACE)
    assert ([row[1] for row in board.rows()][:4], heading("F")) == (by_f[::-1], "ascending")
    board.choose("[data-filter='sort']", "method")
    assert [row[1] for row in board.rows()][:4] == sorted(NAMES)
    board.choose("[data-filter='class']", "dog")  # the order stays, with other numbers
    assert [row[1] for row in board.rows()][:4] == sorted(NAMES)
    assert sorted(row[0] for row in board.rows()[:4]) == ["1", "2", "3", "4"]


def test_failures_are_sorted_by_worst_by_gap_and_by_when_they_happen(board: Board) -> None:
    def first_of_each(result: Result, value: Callable[[Scores, Scores], float | None], other: Result) -> list[str]:
        best = []
        for tube, same in zip(result.tubes, other.tubes, strict=True):
            known = [(v, s.JF, f"{tube.id}#{d}") for d, s in tube.draws.items() if (v := value(s, same.draws[d])) is not None]
            best += sorted(known)[:1]
        return [episode for *_, episode in sorted(best)]

    alpha, delta = RESULTS[0], RESULTS[3]
    board.choose("[data-failures='method']", "alpha")
    board.choose("[data-failures='order']", "gap")
    board.choose("[data-failures='against']", "delta")
    for order, value in (
        ("worst", lambda s, o: s.JF),
        ("gap", lambda s, o: s.JF - o.JF),
        ("first", lambda s, o: s.J_first),
        ("way", lambda s, o: s.J - s.J_first if s.J_first >= 0.5 else None),
    ):
        board.choose("[data-failures='order']", order)
        assert board.failures() == first_of_each(alpha, value, delta), order
    board.choose("[data-failures='order']", "worst")
    assert board.do("return document.querySelectorAll('.spark').length") == 5
    board.choose("[data-failures='method']", "beta")
    assert board.do("return document.querySelectorAll('.spark').length") == 0  # no frame scores beside it
    board.choose("[data-filter='source']", "lvos2")
    assert {name.split("/")[0] for name in board.failures()} == {"lvos2"}
    board.quiet()


def test_two_protocols_are_shown_one_at_a_time(board: Board) -> None:
    assert len(board.rows()) == 6
    board.choose("#protocol", "paper-512@1")
    assert sorted(row[1] for row in board.rows()) == ["alpha", "beta"]
    assert {row[1]: row[2] for row in board.rows("J&F")} == {r.method["name"]: f"{100 * r.overall.JF:.2f}" for r in RESULTS[-2:]}
    assert "Under the protocol paper-512@1" in board.do("return document.body.innerText")
    board.choose("#protocol", "native@1")
    assert len(board.rows()) == 6


def test_a_page_of_a_group_begins_with_it(browser: Any, tmp_path: Path) -> None:
    boards = [Leaderboard.collect(RESULTS, protocol="native@1")]
    for group in ("class=dog", "support=s1"):
        (tmp_path / "board.html").write_text(render_page(boards, "F", group), encoding="utf-8")
        board = Board(browser, tmp_path / "board.html")
        assert board.rows(*SHOWN) == said_by_the_harness(RESULTS, group, "F")
    board.choose("[data-filter='sort']", "J")
    first = max(RESULTS[:4], key=lambda result: result.groups["support"]["s1"].J)
    assert board.rows()[0][1] == first.method["name"]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_hangs_over_the_edge(board: Board, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    board.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert board.do("return document.documentElement.scrollWidth") <= width
    board.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


EVIL = (
    """</script><script>window.hit = 1</script>"><img src=x onerror="window.hit = 1">' javascript:window.hit=1"""
    " <!--<script> {{ 7 * 7 }} \u2028 \\"
)


def test_nothing_foreign_runs(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="charts need: pip install 'icvos[report]'")
    from icvos.render.charts import board_charts

    words = ("summary", "paper", "licence", "weights", "version", "precision", "hand_over", "variant_of")
    card: dict[str, Any] = dict.fromkeys(words, EVIL) | {
        "training_data": [EVIL],
        "training_classes": [EVIL],
        "training_clips": [f"{EVIL}/*"],
    }
    base = measured(EVIL, protocol=EVIL, tubes=[(EVIL, EVIL, EVIL, 5), (EVIL, "b", "dog", 200)], **card)
    first = base.tubes[0]
    tubes = (replace(first, draws={EVIL: first.draws["s0"]}), *base.tubes[1:])
    evil = replace(
        base,
        tubes=tubes,
        groups={kind: {EVIL: base.overall, "b": base.overall} for kind in ("class", EVIL)},
        environment={"icvos": EVIL, EVIL: EVIL},
        benchmark=dict.fromkeys(("name", "version", "digest"), EVIL),
        notes=(EVIL,),
        badge=EVIL,  # type: ignore[arg-type]
    )
    other = replace(evil, method={**evil.method, "name": "b", "kind": "floor"}, environment={"icvos": "2"})
    curves = {evil.signature: {f"{tube.id}#{draw}": CURVE for tube in tubes for draw in tube.draws}}
    boards = boards_of(map(Entry, [evil, other]), None, [ReportedRow(EVIL, 0.1, 0.2, 0.9, EVIL, EVIL, EVIL)])
    (tmp_path / "board.html").write_text(render_page(boards, "J&F", None, curves=curves, charts=board_charts), encoding="utf-8")
    board = Board(browser, tmp_path / "board.html")
    for name in ("source", "class", "classesSeen", "kind", "sort"):
        script = "const one = document.querySelector(`[data-filter='${arguments[0]}']`); "
        script += "if (one) { one.selectedIndex = 1; one.dispatchEvent(new Event('change')); }"
        board.do(script, name)
    board.do("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    for order in ("gap", "first", "way", "worst"):
        board.choose("[data-failures='order']", order)
    assert board.do("return window.hit ?? null") is None
    assert board.do("return document.querySelectorAll('script').length") == 2
    assert board.do("return document.querySelectorAll('img, iframe, object').length") == 0
    assert "onerror" in board.do("return document.body.innerText")
    board.quiet()


# Pictures and charts, from real runs


@pytest.fixture(scope="module")
def scored(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two floors and a ceiling on the toy release, run and scored."""
    from icvos.cli import main

    runs = tmp_path_factory.mktemp("scored") / "runs"
    for words in (
        ["run", "--method", "centre-box,full-frame,identity", "--benchmark", str(toy_release), "--out", str(runs)],
        ["score", str(runs)],
    ):
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert not leaving.value.code
    return runs


def test_the_viewer_leads_through_episodes_by_keys(scored: Path, browser: Any, icvos: Callable[..., Any], tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    said = icvos("leaderboard", scored, "--format", "html", "--out", tmp_path / "board.html", "--episodes", 2)
    assert said.code == 0, said
    board = Board(browser, tmp_path / "board.html")
    board.choose("[data-failures='method']", "full-frame")
    board.do("const view = [...document.querySelectorAll('.episodes button')][1]; view.focus();")
    episode = board.failures()[1]
    board.press(Keys.ENTER)
    seen = "return [...document.querySelectorAll('.viewer select')].map((one) => one.selectedOptions[0].textContent)"
    assert board.do(seen) == [episode, "full-frame"]
    output = "return document.querySelector('.viewer output').textContent"
    assert board.do(output) == "frame 00000, 1 of 6"
    board.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert board.do(output) == "frame 00002, 3 of 6"
    offsets = "return [...new Set([...document.querySelectorAll('.viewer image')].map((one) => one.getAttribute('y')))]"
    assert board.do(offsets) == [str(-2 * 192)]  # 24 x 40 pixels made 320 wide
    board.press(Keys.END)
    assert board.do(output) == "frame 00005, 6 of 6"
    board.choose("[data-viewer='method']", "identity")
    loaded = "const all = [...document.querySelectorAll('.viewer image')];"
    loaded += "return Promise.all(all.map((one) => one.decode())).then(() => all.length)"
    assert board.do(loaded) == 7
    board.quiet()


def test_pictures_are_the_same_bytes_again_and_strangers_stay(scored: Path, icvos: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "board-images"
    words = ["leaderboard", scored, "--format", "html", "--out", tmp_path / "board.html", "--episodes"]
    assert icvos(*words, 1).code == 0
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    page = (tmp_path / "board.html").read_bytes()
    (folder / "mask-0123456789abcdef.png").write_bytes(b"of an earlier page")
    (folder / "mine.png").write_bytes(b"not of a page")
    assert icvos(*words, 1).code == 0
    assert (tmp_path / "board.html").read_bytes() == page
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**first, "mine.png": b"not of a page"}
    data = json.loads(page.decode().partition('id="data">')[2].partition("</script>")[0])
    named = {name for picture in data["pictures"].values() for name in (picture["clip"], picture["truth"], picture["support"])}
    assert named | {name for row in data["boards"][0]["rows"] for name in row["masks"].values()} == set(first)
    truth = np.asarray(Image.open(folder / next(iter(data["pictures"].values()))["truth"]))
    assert truth.shape == (6 * 192, 320) and 0 < np.count_nonzero(truth) < truth.size
    assert b"J&amp;F of each tube" in page and b"J and F over time" in page


def test_pictures_want_a_page(scored: Path, icvos: Callable[..., Any]) -> None:
    said = icvos("leaderboard", scored, "--episodes", 1)
    assert said.code == 2
    assert "--format html and --out FILE" in said.err
    said = icvos("leaderboard", scored, "--episodes", 1, "--figure", "figure.png")
    assert said.code == 2
    assert "of results on images" in said.err


def test_a_prediction_that_broke_after_it_was_scored_is_named(scored: Path, icvos: Callable[..., Any], tmp_path: Path) -> None:
    runs = Path(shutil.copytree(scored, tmp_path / "runs"))
    broken = next((runs / "identity/predictions").rglob("*#s0.zip"))
    for path in broken.parent.glob(f"{broken.name.partition('#')[0]}#*"):
        path.write_bytes(b"no zip")
    said = icvos("leaderboard", runs, "--format", "html", "--out", tmp_path / "board.html", "--episodes", 9)
    assert said.code == 3
    assert "cannot read the prediction" in said.err
    assert not (tmp_path / "board.html").exists()


# Frame scores as curves


def test_curves_are_means_over_draws_then_tubes() -> None:
    flat = {
        name: Curve(np.full(POINTS, value), np.full(POINTS, value / 2)) for name, value in (("a#s0", 0.2), ("a#s1", 0.4), ("b#s0", 0.9))
    }
    found = mean_curve(flat)
    assert found is not None
    assert np.allclose(found.J, 0.6) and np.allclose(found.F, 0.3)
    assert mean_curve({}) is None
    assert CURVE.drawn() == "".join(sorted(set(CURVE.drawn()), key=CURVE.drawn().index)) and CURVE.drawn()[::32] == "_0"


def test_curves_of_any_length_are_read(tmp_path: Path) -> None:
    (tmp_path / "native@1.frames.csv").write_text("episode,frame,J,F\na#s0,0,1.0,0.5\na#s0,1,0.0,0.5\nb#s0,0,0.25,0.0\n")
    found = curves_beside(tmp_path / "native@1.json")
    assert np.allclose(found["a#s0"].J, np.linspace(1, 0, POINTS))
    assert np.allclose(found["b#s0"].J, 0.25)
    assert curves_beside(tmp_path / "paper-512@1.json") == {}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"),
        ("episode,J\n", "line 1"),
        ("episode,frame,J,F\na,0,nan,0\n", "line 2"),
        ("episode,frame,J,F\na,0,1,1\na,0,7,0\n", "line 3"),
        ("episode,frame,J,F\na,0,1\n", "line 2"),
    ],
)
def test_what_is_no_table_of_frame_scores_is_refused(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(DataError, match=f"not a table of frame scores.*{where}"):
        read_curves(tmp_path / "frames.csv")
