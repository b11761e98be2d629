"""The board: what it ranks, what it refuses, and what each format says, with plausible, odd and hostile results."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toys import with_totals

from icvos.board import FORMATS, SCORES, Entry, Leaderboard
from icvos.errors import DataError, UserInputError
from icvos.render import RENDERERS, latex
from icvos.render.csv import COLUMNS
from icvos.render.html import plot
from icvos.render.text import one_line
from icvos.reported import ReportedRow, reported_rows
from icvos.results import Coverage, Result, Scores, Timing, TubeScores

HOSTILE = "<script>alert('x|y')</script>`b`**c** [l](http://evil)\n# h &amp; \u202etxt"


def scores(value: float, decay: float = 0.02) -> Scores:
    return Scores(value, value, value, value, value, decay, decay, value, value)


def result(
    name: str = "persam",
    value: float = 0.5,
    *,
    kind: str = "method",
    classes: dict[str, float] | None = None,
    protocol: str = "native@1",
    digest: str = "d" * 64,
    present: int = 100,
    icvos: str = "0.1.0",
    interval: tuple[float, float] | str | None = "near",
    decay: float = 0.02,
    notes: tuple[str, ...] = (),
    **card: Any,
) -> Result:
    """One run on a release of a clip for each class, two support draws, 100 masks."""
    classes = {"dog": value, "cat": value} if classes is None else classes
    tubes = tuple(
        TubeScores(f"davis/{c}-run/{c}", "davis", f"{c}-run", c, 25, scores(v), {"s0": scores(v), "s1": scores(v)})
        for c, v in classes.items()
    )
    pair = (max(value - 0.03, 0), min(value + 0.02, 1)) if isinstance(interval, str) else interval
    return Result(
        method={"name": name, "kind": kind, "version": "1", "weights": "none", "precision": "none", "training_data": [], **card},
        benchmark={"name": "ic-vos", "version": "1", "digest": digest},
        protocol=protocol,
        environment={"icvos": icvos, "numpy": "2.0"},
        coverage=Coverage(100, present),
        overall=scores(value, decay),
        intervals={"J&F": pair, "J": pair, "F": pair},
        support_spread=0.0123,
        groups={"class": {c: scores(v) for c, v in classes.items()}, "source": {"davis": scores(value)}, "support": {"s0": scores(value)}},
        tubes=tubes,
        notes=notes,
    )


@pytest.fixture
def odd() -> list[Result]:
    """A board with one of everything that has gone wrong on somebody's board."""
    return [
        result("DC-SAM", 0.7152, weights="ab" * 32, precision="bf16", summary="Prompts of two kinds"),
        result("PFENet", 0.6426),
        result("HDMNet", 0.6426),
        result("名前 naïve", 0.4, interval=None),
        result(HOSTILE, 0.3, notes=("<b>resized | predictions</b>",)),
        result("half", 0.2, present=99),
        result("oracle", 0.9, kind="ceiling"),
        result("empty", 0.01, kind="floor"),
        result("full-frame", 0.1, kind="floor"),
    ]


# ---------------------------------------------------------------- ranks


def test_ranks_methods_and_sets_the_others_apart(odd: list[Result]) -> None:
    rows = Leaderboard.collect(odd).rank()
    assert [(row.label, row.rank) for row in rows] == [
        ("DC-SAM", 1),
        ("HDMNet", 2),
        ("PFENet", 2),
        ("名前 naïve", 4),
        (HOSTILE, 5),
        ("half", 6),
        ("oracle", None),
        ("full-frame", None),
        ("empty", None),
    ]


def test_rows_that_print_alike_share_a_rank() -> None:
    rows = Leaderboard.collect([result("a", 0.71521), result("b", 0.71523), result("c", 0.7154)]).rank()
    assert [(row.label, row.rank) for row in rows] == [("c", 1), ("b", 2), ("a", 2)]


@pytest.mark.parametrize("by", SCORES)
def test_ranks_by_any_score(by: str) -> None:
    rows = Leaderboard.collect([result("a", 0.2, decay=0.3), result("b", 0.6, decay=-0.1)]).rank(by)
    assert [row.label for row in rows] == ["b", "a"]  # b has the higher scores and the lower decay
    assert rows[0].score(by) == (-0.1 if "decay" in by else 0.6)


def test_ranks_by_a_group() -> None:
    board = Leaderboard.collect(
        [
            result("a", 0.6, classes={"dog": 0.2, "traffic light": 0.9}),
            result("b", 0.5, classes={"dog": 0.8, "traffic light": 0.1}),
            result("c", 0.9, classes={"traffic light": 0.3}),
        ]
    )
    assert [(r.label, r.rank, r.score("J")) for r in board.rank(group="class=dog")] == [("b", 1, 0.8), ("a", 2, 0.2), ("c", None, None)]
    assert [r.label for r in board.rank(group="class=traffic light")] == ["a", "c", "b"]
    assert [r.label for r in board.rank("F", group="source=davis")] == ["c", "a", "b"]
    assert board.rank(group="class=dog")[0].interval("J&F") is None  # intervals are of whole runs


def test_unknown_score_group_and_format_say_what_was_meant() -> None:
    board = Leaderboard.collect([result()])
    with pytest.raises(UserInputError, match=r"unknown score to rank by: J_recal; did you mean J_recall"):
        board.rank("J_recal")
    with pytest.raises(UserInputError, match=r"unknown group: class=dgo.*did you mean class=dog"):
        board.rank(group="class=dgo")
    with pytest.raises(UserInputError, match=r"unknown format: htm; did you mean html"):
        board.render("htm")
    assert set(FORMATS) == set(RENDERERS)


def test_counts_and_flags() -> None:
    row = Leaderboard.collect([result(present=99)]).rank()[0]
    assert (row.clips, row.tubes, row.episodes, row.complete, row.rank) == (2, 2, 4, False, 1)


# ---------------------------------------------------------------- refusals


def test_refuses_two_protocols_until_one_is_chosen() -> None:
    both = [Entry(result("a"), Path("runs/a/x.json")), Entry(result("b", protocol="paper-512@1"), Path("runs/b/y.json"))]
    with pytest.raises(UserInputError) as refused:
        Leaderboard.collect(both)
    for words in ("native@1: a (runs/a/x.json)", "paper-512@1: b (runs/b/y.json)", "--protocol native@1 or --protocol paper-512@1"):
        assert words in str(refused.value)
    assert [row.label for row in Leaderboard.collect(both, protocol="paper-512@1").rows] == ["b"]
    with pytest.raises(UserInputError, match=r"no result under this protocol: paper-512@2; did you mean paper-512@1"):
        Leaderboard.collect(both, protocol="paper-512@2")


def test_refuses_two_releases() -> None:
    with pytest.raises(UserInputError) as refused:
        Leaderboard.collect([result("a", digest="1" * 64), result("b", digest="2" * 64)], protocol="native@1")
    for words in (f"ic-vos@1#{'1' * 12}: a", f"ic-vos@1#{'2' * 12}: b", "one release only"):
        assert words in str(refused.value)


def test_a_release_scored_under_a_protocol_left_out_does_not_matter() -> None:
    mixed = [result("a"), result("b", digest="2" * 64, protocol="paper-512@1")]
    assert len(Leaderboard.collect(mixed, protocol="native@1").rows) == 1


def test_refuses_nothing_at_all() -> None:
    with pytest.raises(UserInputError, match="no results"):
        Leaderboard.collect([], reported=reported_rows())


def test_refuses_one_method_twice_but_shows_its_variants() -> None:
    with pytest.raises(UserInputError, match=r"one method twice: a: found a \(p/1.json\), a \(p/2.json\)"):
        Leaderboard.collect([Entry(result("a", 0.1), Path("p/1.json")), Entry(result("a", 0.2), Path("p/2.json")), result("b")])
    variants = [result("a", 0.1), result("a", 0.2, weights="f" * 64), result("a", 0.3, weights="f" * 64, version="2"), result("b")]
    labels = [row.label for row in Leaderboard.collect(variants).rows]
    assert labels == ["a (version 1, weights ffffffffffff)", "a (version 1, weights none)", "a (version 2, weights ffffffffffff)", "b"]


def test_names_the_first_of_many() -> None:
    many = [result(f"m{i}") for i in range(9)] + [result("z", protocol="paper-512@1")]
    with pytest.raises(UserInputError, match=r"native@1: m0, m1, m2 and 6 more; paper-512@1: z"):
        Leaderboard.collect(many)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (result(value=float("nan"), interval=None), "nan"),
        (result(value=71.5, interval=None), "71.5"),
        (replace(result(), support_spread="<b>"), "'<b>'"),  # type: ignore[arg-type]
        (result(present=101), "coverage 101 of 100"),
        (result(kind="winner"), "'winner'"),
        (result(name="  "), "name '  '"),
        (result(interval=(float("-inf"), 0.5)), "-inf"),
    ],
)
def test_refuses_what_is_no_score(broken: Result, found: str) -> None:
    with pytest.raises(DataError, match=re.escape(found)):
        Leaderboard.collect([result("fine"), broken])


# ---------------------------------------------------------------- files


def test_loads_files_with_the_timing_beside_them(tmp_path: Path) -> None:
    with_totals(result("a")).save(tmp_path / "a" / "native@1.json")
    (tmp_path / "a" / "native@1.timing.json").write_text('{"frames": 50, "seconds": 20.0, "peak_rss_bytes": 1073741824}')
    with_totals(result("b")).save(tmp_path / "b" / "native@1.json")
    board = Leaderboard.load([tmp_path / "b" / "native@1.json", tmp_path / "a" / "native@1.json"])
    assert [row.timing for row in board.rows] == [Timing(50, 20.0, 1 << 30), None]
    assert "| frames/s | memory |" in board.render() and "| 2.5 | 1.00 GiB |" in board.render()
    assert "frames/s" not in Leaderboard.load([tmp_path / "b" / "native@1.json"]).render()


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"frames": 1, "seconds": -1, "peak_rss_bytes": 1}', '{"frames": 1, "seconds": NaN, "peak_rss_bytes": 1}']
)
def test_refuses_a_file_that_is_no_timing(tmp_path: Path, text: str) -> None:
    (tmp_path / "native@1.timing.json").write_text(text)
    with pytest.raises(DataError, match="not a timing file"):
        Timing.beside(tmp_path / "native@1.json")


def test_no_time_counted_gives_no_speed() -> None:
    board = Leaderboard.collect([Entry(result(), None, Timing(5, 0.0, 0))])
    assert all(board.render(name) for name in FORMATS)
    assert json.loads(board.render("json"))["rows"][0]["frames_per_second"] is None


# ---------------------------------------------------------------- all formats


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("by", "group"), [("J&F", None), ("J_decay", None), ("F", "class=dog")])
def test_the_same_bytes_for_any_order_of_results(odd: list[Result], name: str, by: str, group: str | None) -> None:
    timed: list[Result | Entry] = [Entry(odd[0], None, Timing(10, 2.0, 3)), *odd[1:]]
    first = Leaderboard.collect(timed, reported=reported_rows()).render(name, by=by, group=group)
    for seed in range(3):
        shuffled = random.Random(seed).sample(timed, len(timed))
        assert Leaderboard.collect(shuffled, reported=reported_rows()).render(name, by=by, group=group) == first


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_shows_its_signature_and_the_board_its_release(odd: list[Result], name: str) -> None:
    text = Leaderboard.collect(odd).render(name)
    assert "d" * 64 in text and "native@1" in text
    for run in odd:
        if run.method["name"] != HOSTILE:
            assert (latex.code(run.signature) if name == "latex" else run.signature) in text


@pytest.mark.parametrize("name", FORMATS)
def test_many_methods_one_tube_no_groups_and_half_a_surrogate(name: str) -> None:
    many = [replace(result(f"m{i:03} \ud800", i / 300, classes={"dog": i / 300}, interval=None), groups={}) for i in range(300)]
    text = Leaderboard.collect(many).render(name)
    assert text.encode() and "m299" in text and text.endswith("\n")


# ---------------------------------------------------------------- markdown


def table_rows(markdown: str) -> list[list[str]]:
    """The cells of every table line; a border is a pipe without a backslash."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown.splitlines() if line.startswith("|")]


def test_markdown_says_what_it_should(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd, reported=reported_rows()).render("markdown")
    assert (
        "| 1 [1, 1] | DC-SAM [1] | 1 | 71.52 [68.52, 73.52] | 71.52 [68.52, 73.52] | 71.52 [68.52, 73.52] | 71.52 | 1.23 | 100.00 % |"
        in text
    )
    assert "| 4 [4, 4] | 名前 naïve [4] | 1 | 40.00 | 40.00 | 40.00 | 40.00 | 1.23 | 100.00 % |" in text
    assert "| 6 [6, 6] | half [6] | 1 | 20.00 [17.00, 22.00] |" in text and "| 99.00 % incomplete |" in text
    assert "| ceiling | oracle [7] | 90.00 [87.00, 92.00] |" in text
    assert re.search(
        r"^6\. \*\*half\*\*: `icvos:0\.1\.0\|.*`; reported by their author; 2 clips, 2 tubes, 4 episodes; "
        "1 of 100 masks missing, counted as 0$",
        text,
        re.M,
    )
    assert (
        "| Matcher + SAM2 | 20.44 | 26.88 | 24.00 | DC-SAM (arXiv v2), Table 4 (2025) | paper's own, not reproducible | printed 20.44, mean"
        in text
    )


def test_markdown_tables_are_well_formed(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd, reported=reported_rows()).render("markdown")
    blocks = [table_rows(block) for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for heading, rules, *body in blocks:
        assert all(re.fullmatch(":---|---:", rule) for rule in rules)
        assert {len(line) for line in (heading, rules, *body)} == {len(heading)}


def test_markdown_shows_hostile_names_and_runs_none(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd).render("markdown")
    outside_code = re.sub(r"(`+) .*? \1|`[^`\n]*`", "", text.replace("\\`", ""))
    assert "<" not in outside_code and "\u202e" not in text
    assert r"&lt;script&gt;alert('x\|y')&lt;/script&gt;\`b\`\*\*c\*\* \[l\](http://evil) # h &amp;amp;" in text
    assert not re.search(r"^# h", text, re.M)


def test_markdown_of_another_score_puts_it_first() -> None:
    text = Leaderboard.collect([result("a", 0.5, decay=-0.00001)]).render("markdown", by="J_decay", group=None)
    assert "| rank | method | J\\_decay | J&F | J | F |" in text
    assert "| 1 | a [1] | 0.00 | 50.00" in text  # not -0.00
    assert "Ranked by F of class=dog" in Leaderboard.collect([result()]).render("markdown", by="F", group="class=dog")


# ---------------------------------------------------------------- latex

SHOWN = {
    **{f"\\{mark}": mark for mark in "{}$&#%_"},
    **{f"{{{mark}}}": mark for mark in "[*"},
    r"\textbackslash{}": "\\",
    r"\textasciicircum{}": "^",
    r"\textasciitilde{}": "~",
    r"\textasciigrave{}": "`",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textbar\allowbreak{}": "|",
    r"\char34{}": '"',
    r"\textendash{}": "–",
    r"\kern0pt{}": "",
}
TOKEN = re.compile("|".join(map(re.escape, sorted(SHOWN, key=len, reverse=True))) + r"|[^\\{}$&#%_^~`<>|\"\[*–]")


def shown(latex: str) -> str:
    """What a reader of the printed page sees; a mark that LaTeX would act on is an error."""
    tokens, place = [], 0
    while place < len(latex):
        token = TOKEN.match(latex, place)
        assert token, latex[place:]
        tokens.append(SHOWN.get(token[0], token[0]))
        place = token.end()
    return "".join(tokens)


@given(st.text() | st.text(alphabet="\\{}$&#%_^~`<>|\"[]*–-',ab 1"))
@example(HOSTILE)
@example("a---b ''c'' ,,d,, \\\\ {} %")
def test_latex_shows_foreign_text_as_it_is(string: str) -> None:
    printed = latex.escape(string)
    assert shown(printed) == string.replace("\N{REPLACEMENT CHARACTER}", "?")
    assert not re.search("--|''|,,", printed)
    inside = latex.code(string).removeprefix(r"\texttt{\footnotesize ").removesuffix("}")
    assert shown(inside) == one_line(string).replace("\N{REPLACEMENT CHARACTER}", "?")


def latex_rows(text: str) -> list[list[str]]:
    """The cells of every table line; a border is an ampersand without a backslash."""
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r" \\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def test_latex_says_what_markdown_says(odd: list[Result]) -> None:
    board = Leaderboard.collect(odd, reported=reported_rows())
    text = board.render("latex")
    rows = [[shown(cell) for cell in row] for row in latex_rows(text)]
    said = board.render("markdown").replace("\N{REPLACEMENT CHARACTER}", "?")
    assert ["1 [1, 1]", "DC-SAM [1]", "1", *["71.52 [68.52, 73.52]"] * 3, "71.52", "1.23", "100.00 %"] in rows
    assert ["ceiling", "oracle [7]", *["90.00 [87.00, 92.00]"] * 3, "90.00", "1.23", "100.00 %"] in rows
    matcher = next(row for row in rows if row[0] == "Matcher + SAM2")
    assert matcher[1:4] == ["20.44", "26.88", "24.00"] and matcher[6].startswith("printed 20.44, mean")
    assert [row for row in rows if row[0] not in {"rank", "kind", "method"}] == [
        [re.sub(r"\\(.)", r"\1", cell).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;amp;", "&amp;") for cell in row]
        for row in table_rows(said)
        if row[0] not in {"rank", "kind", "method"} and not row[0].startswith((":-", "--"))
    ]
    footnotes = text.partition("\\begin{enumerate}\\raggedright\n")[2].partition(r"\end{enumerate}")[0].strip().splitlines()
    assert len(footnotes) == len(odd)
    assert footnotes[5].startswith(r"\item {}\textbf{half}: \texttt{\footnotesize icvos:0.1.0\textbar\allowbreak{}")
    assert footnotes[5].endswith("2 clips, 2 tubes, 4 episodes; 1 of 100 masks missing, counted as 0")


def test_latex_is_well_formed(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd, reported=reported_rows()).render("latex")
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{([\w*]+)\}", text):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    for table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        assert {len(row) for row in latex_rows(table[1])} == {len(table[0])}
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(odd: list[Result], tmp_path: Path) -> None:
    rows = [row for row in odd if row.method["name"].isascii() or row.method["name"] == HOSTILE]
    (tmp_path / "board.tex").write_text(Leaderboard.collect(rows, reported=reported_rows()).render("latex"), encoding="utf-8")
    frame = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{board}\end{document}"
    (tmp_path / "paper.tex").write_text(frame)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_almost_everything_is_not_everything() -> None:
    almost = replace(result(), coverage=Coverage(1_000_000, 999_999))
    assert "99.99 % incomplete" in Leaderboard.collect([almost]).render()


def test_several_versions_of_icvos_are_named() -> None:
    assert "several versions of icvos: 0.1.0, 0.2.0" in Leaderboard.collect([result("a"), result("b", icvos="0.2.0")]).render()


# ---------------------------------------------------------------- csv


def test_csv_reads_back_to_the_digit(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd, reported=reported_rows()).render("csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(odd) + 16
    assert [row["kind"] for row in rows] == ["method"] * 6 + ["ceiling", "floor", "floor"] + ["reported"] * 16
    first, hostile, reported = rows[0], rows[4], rows[11]
    assert (float(first["J&F"]), float(first["J&F_low"]), first["rank"]) == (0.7152, 0.7152 - 0.03, "1")
    assert hostile["method"] == HOSTILE and hostile["notes"] == "<b>resized | predictions</b>"
    assert (rows[3]["J&F_low"], rows[6]["rank"], first["frames_per_second"]) == ("", "", "")
    assert (reported["method"], reported["J&F"], reported["rank"], reported["coverage"]) == ("Matcher + SAM2", "0.2044", "", "")
    assert "mean of J and F is 25.44" in reported["notes"]


def test_csv_runs_nothing_in_a_spreadsheet() -> None:
    board = Leaderboard.collect([result('=HYPERLINK("http://evil")', 0.5, decay=-0.25), result("@x", notes=("+1",))])
    rows = list(csv.DictReader(io.StringIO(board.render("csv"))))
    assert {row["method"][0] for row in rows} == {"'"} and rows[0]["J_decay"] == "-0.25"


# ---------------------------------------------------------------- json


def test_json_has_every_key_in_every_row(odd: list[Result]) -> None:
    bare = replace(result("bare", 0.05), method={"name": "bare"}, environment={}, groups={})
    text = Leaderboard.collect([*odd, bare], reported=reported_rows()).render("json")
    data = json.loads(text)
    assert list(data) == ["format", "benchmark", "protocol", "by", "group", "notes", "rows", "reported"]
    assert data["format"] == "icvos-board/1" and data["benchmark"]["digest"] == "d" * 64
    expected = ["kind", "rank", "rank_interval", "noise_group", "method", "scores", "intervals", "support_spread", "coverage"]
    expected += [
        "clips",
        "tubes",
        "episodes",
        "frames_per_second",
        "peak_rss_bytes",
        "signature",
        "badge",
        "seen_clips",
        "validation_clips",
    ]
    expected += ["card", "environment", "notes", "groups"]
    assert all(list(row) == expected for row in data["rows"])
    assert {tuple(row["card"]) for row in data["rows"]} == {tuple(data["rows"][0]["card"])}
    assert all(list(row["scores"]) == list(result().overall.as_dict()) for row in data["rows"])
    assert data["rows"][0]["scores"]["J&F"] == 0.7152 and data["rows"][3]["intervals"]["J&F"] is None
    assert data["rows"][4]["method"] == HOSTILE


def test_json_keeps_reported_rows_apart() -> None:
    data = json.loads(Leaderboard.collect([result()], reported=reported_rows()).render("json"))
    assert [row["kind"] for row in data["reported"]] == ["reported"] * 16
    assert "rank" not in data["reported"][0]
    assert [row["flag"] for row in data["reported"][:8] if row["flag"]] == ["printed 20.44, mean of J and F is 25.44"]
    assert data["reported"][15]["deviation"] == {"J": 0.00145, "F": 0.00142, "J&F": 0.00158}
    assert [(row["edition"], row["date"]) for row in data["reported"][::8]] == [("arXiv v2", "2025"), ("TPAMI", "accepted 2025-12-17")]


# ---------------------------------------------------------------- html

VOID = {"meta", "line", "circle"}


class Page(HTMLParser):
    """What a page holds: its elements, attributes and text, and whether its tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_one_page_that_fetches_nothing_and_runs_only_its_own_script(odd: list[Result]) -> None:
    text = Leaderboard.collect(odd, reported=reported_rows()).render("html")
    page = Page(text)
    assert page.open == []
    assert not {"link", "img", "iframe", "object", "embed", "b", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 2 and "unsafe" not in text
    assert [value for name, value in page.attributes if name == "href"] == ["#boards"]
    assert not [name for name, _ in page.attributes if name in ("src", "srcset", "data", "action", "style") or name.startswith("on")]
    assert "url(" not in text and "@import" not in text and "\u202e" not in text and "innerHTML" not in text
    assert "prefers-color-scheme: dark" in text and "default-src 'none'" in text and "width=device-width" in text
    assert text.startswith("<!DOCTYPE html>\n")
    for tag, policy in (("script", "script-src"), ("style", "style-src")):
        code = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert [b64encode(sha256(one.encode()).digest()).decode() for one in code] == re.findall(f"{policy} 'sha256-([^']+)'", text)


def test_html_says_what_it_should(odd: list[Result]) -> None:
    words = " ".join(" ".join(Page(Leaderboard.collect(odd, reported=reported_rows()).render("html")).words).split())
    for expected in (
        "71.52 [68.52, 73.52]",
        "名前 naïve",
        "<script>alert('x|y')</script>",
        "1 of 100 masks missing, counted as 0",
        "Ceilings and floors",
        "J&F by class",
        "dog 1 71.52",
        "icvos:0.1.0|release:ic-vos@1#dddddddddddd|protocol:native@1|method:DC-SAM@1|weights:abababababab|precision:bf16",
        "2 clips, 2 tubes, 4 episodes",
        "numpy 2.0",
        "Reported by the paper",
        "on the paper's own 369 videos",
        "printed 20.44, mean of J and F is 25.44",
    ):
        assert expected in words


def test_html_escapes_whatever_comes_from_a_file() -> None:
    evil = '"><script>x</script>{{ 7 * 7 }}'
    card: dict[str, Any] = dict.fromkeys(("summary", "paper", "licence", "weights", "version", "precision", "hand_over"), evil) | {
        "training_data": [evil]
    }
    base = result(evil, classes={evil: 0.5}, notes=(evil,), protocol=evil, digest=evil, **card)
    run = replace(base, environment={evil: evil, "icvos": evil}, benchmark={"name": evil, "version": evil, "digest": evil})
    shown = ReportedRow(evil, 0.1, 0.2, 0.9, evil, evil, evil)
    text = Leaderboard.collect([run], reported=[shown]).render("html", group=f"class={evil}")
    assert Page(text).tags.count("script") == 2 and "{{ 7 * 7 }}" in text


def test_html_plots_each_scored_row_within_its_width(odd: list[Result]) -> None:
    board = Leaderboard.collect(odd)
    found = plot(board.rank())
    assert [mark.label for mark in found.marks][:2] == ["DC-SAM", "HDMNet"] and len(found.marks) == len(odd)
    for mark in found.marks:
        assert 0 <= mark.at <= 100
        assert (mark.low is None) == (mark.label == "名前 naïve")
        assert mark.low is None or mark.high is None or 0 <= mark.low <= mark.at <= mark.high <= 100
    assert [tick for _, tick in found.ticks] == ["0", "20", "40", "60", "80", "100"]


@pytest.mark.parametrize(("value", "ticks"), [(0.0, ["0", "10"]), (1.0, ["90", "100"]), (0.5, ["40", "50"]), (0.607, ["60", "70"])])
def test_html_plots_a_single_row(value: float, ticks: list[str]) -> None:
    found = plot(Leaderboard.collect([result(value=value, interval=None)]).rank())
    assert [tick for _, tick in found.ticks] == ticks and 0 <= found.marks[0].at <= 100


# ---------------------------------------------------------------- reported


def test_reported_rows_are_the_papers_and_flag_their_own_arithmetic() -> None:
    rows = reported_rows()
    assert [(row.method, row.J, row.F, row.JF) for row in rows[-1:]] == [("DC-SAM", 0.6838, 0.7465, 0.7152)]
    assert {row.method: row.flag for row in rows[:8] if row.flag} == {"Matcher + SAM2": "printed 20.44, mean of J and F is 25.44"}
    assert {row.protocol for row in rows} == {"paper's own, not reproducible"}


def test_both_editions_are_reported_with_what_changed_between_them() -> None:
    first, second = reported_rows()[:8], reported_rows()[8:]
    assert {row.where for row in second} == {"DC-SAM (TPAMI), Table 3 (accepted 2025-12-17)"}
    assert [row.method for row in first] == [row.method for row in second]
    changed = {row.method: row.flags for row in second}
    assert changed["Matcher + SAM2"] == ("printed 60.53, mean of J and F is 60.56", "J&F changed by +40.09 since arXiv v2")
    assert changed["AMNet + SAM2"] == ("J&F changed by -12.86 since arXiv v2",)
    assert changed["VRP-SAM + SAM2"] == ("J&F changed by +11.62 since arXiv v2",)  # printed 65.15 for 65.155: rounding, no slip
    assert changed["DC-SAM"] == () and second[-1].deviation == {"J": 0.00145, "F": 0.00142, "J&F": 0.00158}
    for form in FORMATS:
        board = Leaderboard.collect([result()], reported=reported_rows()).render(form)
        assert ("+40.09" in board and "0.145" in board) or form == "json"


def test_a_table_of_one_edition_is_still_read(tmp_path: Path) -> None:
    rows = [{"method": "a", "J": 50.0, "F": 60.0, "J&F": 55.0}]
    table = {"format": "icvos-reported/1", "source": "Table 9", "protocol": "own", "note": "", "rows": rows}
    (tmp_path / "r.json").write_text(json.dumps(table))
    (row,) = reported_rows(str(tmp_path / "r.json"))
    assert (row.JF, row.where, row.edition, row.flags) == (0.55, "Table 9", "", ())


NO_TABLES = [
    "[]",
    "{}",
    '{"format": "icvos-reported/1"}',
    '{"format": "icvos-reported/2", "editions": 7}',
    '{"format": "icvos-reported/1", "rows": [{"method": "a"}]}',
]


@pytest.mark.parametrize("text", NO_TABLES)
def test_refuses_a_file_that_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match="table of reported numbers"):
        reported_rows(tmp_path / "r.json")


def test_importing_the_board_is_cheap() -> None:
    program = (
        "import sys, icvos.board, icvos.stats; print([m for m in ('scipy', 'jinja2', 'rich', 'torch', 'pydantic') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
