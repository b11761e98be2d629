"""`icvos reproduce`: recipes are data that load, say what was printed, and name commands that exist; tables are made from real files."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import SHARED

from icvos.cli import COMMANDS, group
from icvos.errors import DataError, UserInputError
from icvos.fewshot.results import ClassScore, ImageResult
from icvos.render.reproduction import FORMATS, render_report
from icvos.reproduce.at_hand import look
from icvos.reproduce.execute import Outcome, run_ready
from icvos.reproduce.folds import shifted_folds
from icvos.reproduce.jobs import Here, Job, job, jobs_of, templates
from icvos.reproduce.needs import needs_of
from icvos.reproduce.printed import decimals, flags, number
from icvos.reproduce.readers import Value
from icvos.reproduce.recipes import DATA, SCALES, Column, Recipe, RecipeRow, Use, load_recipe, recipe_names
from icvos.reproduce.report import FILLED, MISSING, PRINTED, READY, ReportRow, build_report

Icvos = Callable[..., Any]
PAPER = SHARED / "paper" / "dc-sam.txt"
NAMES = recipe_names()
ROOTS = {name: Path(f"/data/{name}") for name in templates()["roots"]}


def here(scale: str, tmp_path: Path, **changes: Any) -> Here:
    return replace(look(scale, out=tmp_path / "work", roots=ROOTS, release=None, runs=None, commands=COMMANDS), **changes)


def with_those_before(job: Job) -> list[Job]:
    return [earlier for one in job.after for earlier in with_those_before(one)] + [job]


def jobs(recipe: Recipe, at: Here) -> list[Job]:
    return [each for row in recipe.rows for _, made in jobs_of(row, at) for each in with_those_before(made)]


# recipes


def test_there_is_a_recipe_for_every_table_and_both_figures() -> None:
    assert (*(f"table{number}" for number in range(1, 15)), "fig2", "fig9") == NAMES


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_job_of_a_recipe_is_whole_and_its_commands_are_understood(name: str, scale: str, tmp_path: Path) -> None:
    at = here(scale, tmp_path)
    for each in jobs(load_recipe(name), at):
        assert "{" not in f"{each.name}{each.makes}{each.commands}"
        assert needs_of([each], at) is not None  # each need is known
        for words in each.commands:
            if words[0] in COMMANDS:
                understood(words)


def understood(words: Sequence[str]) -> click.Context:
    """What the real command line makes of these words; nothing is run."""
    context = click.Context(group, info_name="icvos", **group.context_settings)
    command = group.get_command(context, words[0])
    assert command is not None
    with command.make_context(words[0], list(words[1:]), parent=context) as made:
        return made


def test_a_command_that_is_not_one_is_not_understood() -> None:
    with pytest.raises(click.UsageError):
        understood(["train", "--methdo", "dcsam"])


@pytest.mark.parametrize("name", NAMES)
def test_two_jobs_of_one_name_are_the_same(name: str, tmp_path: Path) -> None:
    for scale in SCALES:
        found: dict[str, Job] = {}
        for each in jobs(load_recipe(name), here(scale, tmp_path)):
            assert found.setdefault(each.name, each) == each


def test_the_same_training_of_four_tables_is_one(tmp_path: Path) -> None:
    at = here("full", tmp_path)
    files = [
        {made.makes for use, made in jobs_of(row, at) if "J" in use.fills}
        for name, place in (("table6", 2), ("table7", 0), ("table8", 1), ("table10", 0))
        for row in [load_recipe(name).rows[place]]
    ]
    assert len({frozenset(each) for each in files}) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("table")])
def test_a_recipe_prints_what_the_paper_prints(name: str) -> None:
    if not PAPER.is_file():
        pytest.skip("the paper's text is not here")
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"TABLE {name.removeprefix('table')}:"))
    text = "\n".join(re.sub(r"</?u>|\*\*|\$|†", "", line) for line in lines[start : start + 40])
    for row in load_recipe(name).rows:
        if printed := [cell for cell in row.paper if cell]:
            cells = r"\s*\t\s*".join(map(re.escape, printed))
            assert re.search(rf"(?m){cells}\s*$", text), row


def test_table_4_is_that_of_the_board() -> None:
    from icvos.reported import reported_rows

    recipe, rows = load_recipe("table4"), reported_rows()
    for edition, table in ((recipe.edition, rows[:8]), ("TPAMI", rows[8:])):
        for row, reported in zip(recipe.rows, table, strict=True):
            printed = row.paper if edition == recipe.edition else row.editions[edition]
            scores = tuple(round(100 * score, 2) for score in (reported.J, reported.F, reported.JF))
            assert (row.label, *map(number, printed), edition) == (reported.method, *scores, reported.edition)
            arithmetic = [flag for flag in reported.flags if flag.startswith("printed")]
            assert bool(flags(recipe.columns, printed)) == bool(arithmetic), row.label


def test_a_table_of_two_editions_prints_both_and_what_changed(tmp_path: Path) -> None:
    report = build_report(load_recipe("table4"), here("full", tmp_path))
    text = render_report(report, "markdown")
    assert "| Matcher + SAM2 | arXiv v2 | 26.88 | 24.00 | 20.44 |\n|  | TPAMI | 57.73 | 63.38 | 60.53 |" in text
    assert "| DC-SAM | arXiv v2 | 68.38 | 74.65 | 71.52 |\n|  | TPAMI | 68.38 ± 0.145 | 74.65 ± 0.142 | 71.52 ± 0.158 |" in text
    assert "TPAMI: J +30.85, F +39.38, J&F +40.09 since arXiv v2" in text
    assert not [flag for row in report.rows for flag in row.flags if row.label == "DC-SAM"]


def test_the_papers_own_slips_are_found(tmp_path: Path) -> None:
    reports = {name: build_report(load_recipe(name), here("full", tmp_path)) for name in ("table1", "table2", "table3", "table4", "table5")}
    found = {(name, row.label): row.flags for name, report in reports.items() for row in report.rows if row.flags}
    assert ("table4", "Matcher + SAM2") in found
    assert found["table1", "MOSE"] == ("Mean Frames printed 73, Total Frames / Videos is 74.3",)
    assert any("+0.6" in flag for flag in found["table5", "+ SAM Feature Fusion"])
    assert not any(label.startswith("DC-SAM") for _, label in found)


@pytest.mark.parametrize(
    ("cell", "value", "digits"),
    [("70.4", 70.4, 1), ("99,549", 99549, 0), ("1.9M", 1.9, 1), ("76.9 (+5.2)", 76.9, 1), ("-", None, 0), ("", None, 0), ("+0.2", 0.2, 1)],
)
def test_a_printed_cell_is_read(cell: str, value: float | None, digits: int) -> None:
    assert (number(cell), decimals(cell)) == (value, digits)


def test_the_folds_under_domain_shift_are_the_papers() -> None:
    for fold, (row, ours) in enumerate(zip(load_recipe("table11").rows, shifted_folds(), strict=True)):
        printed = sorted(name.strip().lower() for name in row.paper[0].split(","))
        assert printed == sorted(name.lower() for name in ours), fold


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"columns": [{"name": "J"}], "rows": [{"label": "a", "paper": []}]}, "0 cells"),
        ({"columns": [{"name": "J", "form": "roman"}], "rows": []}, "roman"),
        ({"columns": [{"name": "J"}], "rows": [{"label": "a", "paper": [""], "full": [{"job": "run", "fills": {"K": "J"}}]}]}, "'K'"),
        ({"columns": []}, "rows"),
    ],
)
def test_a_broken_recipe_is_told(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "table1.json").write_text(json.dumps({"format": "icvos-recipe/1", "title": "t", "source": "s", **entry}))
    with pytest.raises(DataError, match=said):
        load_recipe("table1", tmp_path)


def test_an_unknown_job_or_placeholder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such job"):
        job("dance", {}, here("full", tmp_path))
    with pytest.raises(DataError, match="placeholder"):
        job("run", {}, here("full", tmp_path))  # of which method?


# states, from real files


@pytest.fixture
def floors(toy_release: Path, tmp_path: Path, icvos: Icvos) -> Path:
    """Runs of a floor on the toy release, under names that rows ask for."""
    for method in ("empty", "centre-box"):
        assert icvos("run", "--method", method, "--benchmark", toy_release, "--out", tmp_path / "runs", "--workers", 1).code == 0
        assert icvos("score", tmp_path / "runs" / method, "--benchmark", toy_release).code == 0
    return tmp_path / "runs"


def recipe_of(*methods: str, label: str = "") -> Recipe:
    columns = (Column("J"), Column("F"), Column("J&F", mean_of=("J", "F")))
    fills = {column.name: column.name for column in columns}
    paper = ("50.00", "", "40.00")
    rows = [RecipeRow(label or name, paper, dict.fromkeys(SCALES, (Use("run", {"method": name}, fills),))) for name in methods]
    other = RecipeRow("other", ("1", "1", "1"), dict.fromkeys(SCALES, ()), why="no")
    return Recipe("table4", "Floors", "Test, Table 4", columns, (*rows, other))


def test_results_that_are_there_are_used(floors: Path, toy_release: Path, tmp_path: Path) -> None:
    at = look("sample", out=tmp_path, roots=ROOTS, release=toy_release, runs=floors, commands=COMMANDS)
    recipe = recipe_of("centre-box", "support-shape")
    report = build_report(recipe, at)
    assert [row.state for row in report.rows] == [FILLED, READY, PRINTED]
    first = report.rows[0]
    measured = json.loads((floors / "centre-box/results/native@1.json").read_text())
    assert first.ours[0] == Value(measured["overall"]["J"], tuple(measured["intervals"]["J"]))
    assert first.difference(0, recipe.columns[0]) == pytest.approx(100 * measured["overall"]["J"] - 50)
    assert first.difference(1, recipe.columns[1]) is None
    assert first.said_by == (measured["signature"],)
    assert [each.name for each in report.jobs] == ["run support-shape"]


def test_runs_of_another_release_are_refused(floors: Path, toy_release: Path, toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    assert icvos("build", "--data", toy_data, "--seed", "other", "--out", tmp_path / "other").code == 0
    at = look("sample", out=tmp_path, roots=ROOTS, release=tmp_path / "other", runs=floors, commands=COMMANDS)
    with pytest.raises(UserInputError, match="another release"):
        build_report(recipe_of("empty"), at)


def test_small_models_do_not_fill_rows_of_the_full_scale(floors: Path, toy_release: Path, tmp_path: Path) -> None:
    at = look("full", out=tmp_path, roots=ROOTS, release=toy_release, runs=floors, commands=COMMANDS)
    row = build_report(recipe_of("empty"), at).rows[0]
    assert row.ours == (None, None, None)
    assert "other weights" in row.missing[0]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    row = build_report(load_recipe("table4"), here("sample", tmp_path)).rows[0]
    assert row.state == MISSING
    assert any("--davis DIR" in line for line in row.missing)
    full = build_report(load_recipe("table4"), here("full", tmp_path))
    assert full.cost.gpu_hours > 100
    assert all(any("reviewed by you" in line for line in row.missing) for row in full.rows)
    images = build_report(load_recipe("table9"), here("full", tmp_path, commands=frozenset(COMMANDS) - {"fewshot"}))
    assert all(any("icvos fewshot" in line for line in row.missing) for row in images.rows)


def test_four_folds_make_a_mean(tmp_path: Path) -> None:
    at = here("full", tmp_path)
    row = load_recipe("table2").rows[-1]
    for fold, (_, made) in enumerate(jobs_of(row, at)):
        folder = Path(str(made.makes[-1]).partition("*")[0]) / "release/dcsam/results"
        folder.mkdir(parents=True)
        result = ImageResult(
            method={"name": "dcsam"},
            protocol="coco20i-1shot@1",
            release=f"coco20i-fold{fold}@1",
            digest="d" * 64,
            fold=fold,
            shots=1,
            seed=0,
            episodes=9,
            environment={"icvos": "0.1.0"},
            mIoU=0.5 + fold / 10,
            FB_IoU=0.5,
            mIoU_interval=(0.4, 1.0),
            FB_IoU_interval=None,
            classes={"dog": ClassScore(IoU=0.5 + fold / 10, episodes=9)},
        )
        data = result.model_copy(update={"signature": result.own_signature}).model_dump(mode="json")
        (folder / "coco20i-1shot@1.json").write_text(json.dumps(data))
    filled = build_report(load_recipe("table2"), at).rows[-1]
    assert filled.state == FILLED
    assert filled.ours[0] == Value(0.5, (0.4, 1.0))
    assert filled.ours[-1] == Value(pytest.approx(0.65))


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "icvos-sizes/1"}', "no json"])
def test_a_broken_file_is_told(text: str, tmp_path: Path) -> None:
    at = here("full", tmp_path)
    (at.work / "sizes").mkdir(parents=True)
    (at.work / "sizes/dcsam.json").write_text(text)
    with pytest.raises(DataError):
        build_report(load_recipe("table14"), at)


# running


def test_what_can_run_is_run_once_and_goes_on(toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    roots = {"davis": toy_data / "DAVIS", "coco": toy_data / "COCO"}
    at = lambda: look("sample", out=tmp_path, roots=roots, release=None, runs=None, commands=COMMANDS)  # noqa: E731
    done: list[str] = []

    def run(words: Sequence[str]) -> Outcome:
        done.append(words[0])
        said = icvos(*words)
        return Outcome(said.code, said.out, said.err)

    assert run_ready(load_recipe("table1"), at, run=run) == {}
    assert done == ["build", "stats"]
    report = build_report(load_recipe("table1"), at())
    assert report.rows[-1].ours[0] == Value(2.0)
    assert run_ready(load_recipe("fig2"), at, run=run) == {}  # of what table1 left
    assert done == ["build", "stats"]
    assert build_report(load_recipe("fig2"), at()).rows[2].ours[0] == Value(1.0)


def test_a_job_that_fails_is_told_in_its_row_and_the_others_go_on(toy_release: Path, tmp_path: Path) -> None:
    at = lambda: look("sample", out=tmp_path, roots=ROOTS, release=toy_release, runs=None, commands=COMMANDS)  # noqa: E731
    recipe, tried = recipe_of("empty", "full-frame"), []

    def run(words: Sequence[str]) -> Outcome:
        tried.append(words[2])
        return Outcome(3, "", "many words\nicvos: the disk went away") if words[2] == "empty" else Outcome(0, "", "")

    failed = run_ready(recipe, at, run=run)
    assert failed["run empty"] == "icvos run ended with code 3: icvos: the disk went away"
    assert "left no native@1.json" in failed["run full-frame"]
    row = build_report(recipe, at(), failed).rows[0]
    assert (row.state, row.missing) == (MISSING, ("run empty failed: icvos run ended with code 3: icvos: the disk went away",))


# text


@pytest.mark.parametrize("form", [*FORMATS, "json"])
@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_written_in_every_format(name: str, form: str, tmp_path: Path) -> None:
    report = build_report(load_recipe(name), here("sample", tmp_path))
    text = render_report(report, form)
    assert text == render_report(report, form)
    assert "not comparable with the paper" in text
    assert str(tmp_path) not in text or form == "json"


def test_foreign_text_is_escaped(toy_release: Path, floors: Path, tmp_path: Path) -> None:
    evil = "<script>x</script> |$\\input{x}\u202e\n# no"
    at = look("sample", out=tmp_path, roots=ROOTS, release=toy_release, runs=floors, commands=COMMANDS)
    report = build_report(recipe_of("empty", label=evil), at)
    rows = (replace(report.rows[0], missing=(evil,), said_by=(evil,), flags=(evil,), ours=(Value(evil), None, None)), report.rows[1])
    report = replace(report, rows=rows, sizes=(evil,))
    for form in FORMATS:
        text = render_report(report, form)
        assert "<script>" not in text
        assert "\u202e" not in text
        assert "\n# no" not in text
    assert "\\input{x}" not in render_report(report, "latex")
    assert "\\|" in render_report(report, "markdown")


def test_a_difference_of_texts_is_none() -> None:
    row = ReportRow("a", "", ("M",), (Value("M"),), (), FILLED, ())
    assert row.difference(0, Column("Annotations", form="text")) is None


# the command


def test_the_list_says_how_every_table_stands(icvos: Icvos, nothing_set: None) -> None:
    said = icvos("reproduce", "--list")
    assert said.code == 0
    assert all(f"\n{name} " in said.out for name in NAMES)
    listed = json.loads(icvos("reproduce", "--list", "--scale", "sample", "--json").out)
    assert [entry["recipe"] for entry in listed] == list(NAMES)
    assert {row["state"] for row in listed[NAMES.index("table11")]["rows"]} == {FILLED}


def test_a_dry_run_writes_nothing_and_names_every_command(icvos: Icvos, nothing_set: None) -> None:
    said = icvos("reproduce", "table7", "--dry-run")
    assert said.code == 0
    lines = [shlex.split(line) for line in said.out.splitlines() if line.startswith("  icvos ")]
    assert {words[1] for words in lines} == {"train", "run", "score"}
    assert "GPU hours" in said.out
    assert not list(Path().iterdir())
    assert json.loads(icvos("reproduce", "table7", "--dry-run", "--json").out)["jobs"]


def test_a_table_is_written_to_a_page(icvos: Icvos, nothing_set: None) -> None:
    said = icvos("reproduce", "table11", "--format", "latex", "--page", "table.tex")
    assert said.code == 0
    assert "\\toprule" in Path("table.tex").read_text()
    assert icvos("reproduce", "table11", "--format", "html").out.strip() == "reproduce/full/table11.html"
    assert json.loads(icvos("reproduce", "table11", "--json").out)["format"] == "icvos-reproduction/1"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tabel4"], 2, "did you mean table4"),
        (["table99"], 2, "did you mean table"),
        ([], 2, "--list"),
        (["table4", "--list"], 2, "--list"),
        (["table4", "--scale", "smaple"], 2, "did you mean sample"),
        (["table4", "--runs", "nowhere"], 2, "no such folder of runs"),
        (["table4", "--benchmark", "nowhere"], 2, "no release"),
        (["table4", "--data", "nowhere"], 2, "no such data folder"),
    ],
)
def test_bad_input_is_told(words: list[str], code: int, said: str, icvos: Icvos, nothing_set: None) -> None:
    found = icvos("reproduce", *words)
    assert found.code == code
    assert said in found.err
    assert "Traceback" not in found.err


def test_the_data_is_part_of_the_package() -> None:
    assert {path.stem for path in DATA.glob("*.json")} == {*NAMES, "jobs", "needs"}


# sizes


def test_sizes_are_those_that_were_counted_before(icvos: Icvos) -> None:
    pytest.importorskip("sam2")
    said = json.loads(icvos("sizes", "--method", "dcsam", "--train", "decoder", "--json").out)
    assert (said["parameters"] // 1000, said["sam_parameters"] // 10_000) == (547, 151)  # benchmarks/generators/README.md
    assert said["prompting_gflop"] == pytest.approx(3.0, abs=0.05)
    assert "no method that can be trained" in icvos("sizes", "--method", "persam").err


def test_the_oracle_with_a_trained_sam2_says_whose_weights_it_has() -> None:
    pytest.importorskip("sam2")
    from dcsam.oracle import tuned_oracle
    from icvos.types import Compute

    card = tuned_oracle(Compute()).card
    assert (card.name, card.kind, card.variant_of) == ("dcsam-first-frame", "ceiling", "oracle-first-frame")
    assert "dcsam_nano" in card.weights
    assert "VOC 2012" in card.training_data


def test_the_derived_folds_are_those_of_icvos_fewshot() -> None:
    from icvos.fewshot.folds import fold_classes
    from icvos.reproduce.folds import PASCAL

    for fold, names in enumerate(shifted_folds()):
        asked = {PASCAL.get(category.name, category.name) for category in fold_classes("coco2pascal", fold)}
        assert asked == set(names)


@pytest.mark.parametrize("columns", ["80", "100", "200"])
def test_the_list_fits_the_terminal(columns: str, icvos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    said = icvos("reproduce", "--list")
    assert said.code == 0 and "table4" in said.out
    assert max(map(len, said.out.splitlines())) <= min(100, int(columns))
