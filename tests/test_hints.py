"""Every piece of advice in the source works as typed: commands, options, extras, pages and variables that it names exist."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from icvos.cli import group

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("icvos", "curation", "baselines", "dcsam")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Modules that write the options of other programs: containers, git, pip inside a competition's image, pytest.
OTHERS = {
    "icvos/codabench/program.py",
    "icvos/codabench/scoring.py",
    "icvos/codabench/bundle.py",
    "icvos/programs/launch.py",
    "icvos/conformance/plugin.py",
    "icvos/conformance/test_method.py",
    "icvos/cli/demo.py",  # commands, typed by the demo itself
}
OF_PYTEST_AND_PIP = {"--pyargs", "--force-reinstall"}

# The commands in which messages of a module appear that name options; the command line's own modules are found by their names.
SAID_IN = {
    "icvos/benchmark.py": "build import",  # --out; where data is asked for, see DATA
    "icvos/codabench/plan.py": "export.codabench",
    "icvos/comparison": "compare",
    "icvos/entries.py": "leaderboard compare",
    "icvos/fewshot/board.py": "leaderboard",
    "icvos/fewshot/comparison.py": "compare",
    "icvos/fewshot/evaluate.py": "fewshot",
    "icvos/fewshot/folds.py": "fewshot",
    "icvos/fewshot/freeze.py": "fewshot",
    "icvos/fewshot/pools.py": "fewshot",
    "icvos/fewshot/release.py:--protocol": "score submit.check submit.score",
    "icvos/fewshot/release.py:--releases": "fewshot",
    "icvos/handed_in": "score submit.check submit.score submit.pack",
    "icvos/models": "run fewshot train",
    "icvos/new_method.py": "new-method",
    "icvos/parallel.py": "run score fewshot stats submit.check",  # "where it has them"
    "icvos/places.py": "build verify run score",
    "icvos/programs/method.py": "run fewshot",
    "icvos/programs": "run fewshot",
    "icvos/propagate/chosen.py": "run fewshot train",
    "icvos/propagate/sam2.py": "run fewshot",
    "icvos/registry.py": "build verify",
    "icvos/reproduce": "reproduce",
    "icvos/rescoring.py": "leaderboard",
    "icvos/runner.py": "run fewshot",
    "icvos/scored.py": "score",
    "icvos/scoring.py": "score submit.check submit.score submit.pack",
    "icvos/settings.py": "build import verify run score fewshot",
    "icvos/store.py": "run fewshot",
    "icvos/submission.py:--method-name": "submit.pack",
    "icvos/submission.py:--card": "submit.pack",
    "icvos/submission.py": "submit.pack submit.check submit.score",
    "icvos/training": "train",
    "curation/candidates.py": "review build",
    "curation/review": "review",
    "curation/report": "stats",
    "curation/sources/coco.py": "build import verify labels.suggest",
    "curation/sources/davis.py": "build verify",
    "curation/sources/tree.py": "build verify",
    "baselines/common/train_generator.py": "train",
    "baselines/common/train_head.py": "train",
    "baselines/common/tuning.py": "train",
    "dcsam/lora.py": "train",
    "baselines/common/generator_file.py": "run fewshot train",
    "baselines/common/prompting.py": "run fewshot",
}
# Whoever reads a source may be told where to say that it lies.
READERS = (
    "build",
    "import",
    "verify",
    "stats",
    "run",
    "score",
    "submit.score",
    "labels.check",
    "labels.suggest",
    "leaderboard",
    "export.codabench",
)
DATA = {"--data", "--root"}
IN_THE_CLI = {
    "cli/foreign.py": "run fewshot",
    "cli/leaderboard_images.py": "leaderboard",
    "cli/import_tree.py": "import",
    "cli/new_method.py": "new-method",
    "cli/score.py:--out": "score submit.score",
    "cli/score.py:--method-name": "score submit.score",
    "cli/options.py": "",
    "cli/__init__.py": "",
}


@dataclass(frozen=True)
class Advice:
    """A text of the program, with {} where something is filled in."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Strings that are no docstrings, of f-strings the whole; `DIR` stands for what is filled in."""
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    skipped = {
        id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)


def all_advice() -> list[Advice]:
    found = []
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            file = path.relative_to(REPOSITORY).as_posix()
            if "templates" not in file:
                found += [Advice(file, line, text) for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))]
    return found


ADVICE = all_advice()


def all_commands(command: click.Command = group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, ``submit.check``."""
    if isinstance(command, click.Group):
        for inner in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), inner)
            assert found is not None
            yield from all_commands(found, f"{name}.{inner}" if name else inner)
    else:
        yield name, command


def options_of(command: click.Command) -> dict[str, click.Option]:
    given = [one for one in command.params if isinstance(one, click.Option)]
    return {name: one for one in given for name in (*one.opts, *one.secondary_opts)}


COMMANDS = dict(all_commands())
OPTIONS = {name: options_of(command) for name, command in COMMANDS.items()}
GLOBAL = {name for one in group.params for name in one.opts} | {"--help", "-h"}


def fault_of(line: str) -> str:
    """What is wrong with a command as it is typed; empty where nothing is."""
    words = shlex.split(line)[1:]
    name = words.pop(0)
    if name == "X":  # filled in
        return ""
    if words and f"{name}.{words[0]}" in COMMANDS:
        name = f"{name}.{words.pop(0)}"
    if name not in COMMANDS:
        return "" if any(known.startswith(f"{name}.") for known in COMMANDS) and not words else f"no command {name}"
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            option = OPTIONS[name].get(word.partition("=")[0])
            if option is None:
                return f"{name} has no {word}"
            if not option.is_flag and "=" not in word and (not words or words.pop(0).startswith("--")):
                return f"{word} of {name} lacks its value"
        elif not any(isinstance(one, click.Argument) for one in COMMANDS[name].params) and word not in GLOBAL:
            return f"{name} takes no {word}"
    return ""


def commands_in(text: str) -> list[str]:
    quoted = re.findall(r"`(icvos [^`]+)`", text)
    return quoted + [found.strip() for found in re.findall(r"run: (icvos [^;,)]+)", text)]


def test_advice_is_found_at_all() -> None:
    assert sum(bool(commands_in(one.text)) for one in ADVICE) > 30
    assert fault_of("icvos stats X --benchmark Y") and fault_of("icvos build --candidates") and not fault_of("icvos submit check X --json")


def test_every_command_in_a_message_can_be_typed() -> None:
    assert not [f"{one}: {fault}" for one in ADVICE for line in commands_in(one.text) if (fault := fault_of(line))]


def test_a_command_in_a_message_stands_between_backticks() -> None:
    bare = re.compile(r"(?<![`\w./-])icvos (?:" + "|".join({name.partition(".")[0] for name in COMMANDS}) + r")\b")
    prose = [one for one in ADVICE if bare.search(re.sub(r"`[^`]*`", "", one.text)) and "run: " not in one.text and "\n" not in one.text]
    allowed = {"icvos/cli/train.py", "icvos/reproduce/readers.py", "icvos/reproduce/needs.py"}
    assert not [str(one) for one in prose if one.file not in allowed]


def test_every_option_in_a_message_is_one() -> None:
    known = {name for options in OPTIONS.values() for name in options} | GLOBAL | OF_PYTEST_AND_PIP
    named = [(one, option) for one in ADVICE if one.file not in OTHERS for option in OPTION.findall(one.text)]
    assert not [f"{one}: {option}" for one, option in named if option not in known]


def said_in(file: str, option: str) -> list[str] | None:
    """The commands that may say what stands in a file about an option; None where nobody wrote it down."""
    if file in {"icvos/benchmark.py", "icvos/fewshot/release.py"} and option in DATA:
        return list(READERS)
    if file.startswith("icvos/cli/"):
        short = file.removeprefix("icvos/")
        own = Path(file).stem.removesuffix("_report").replace("_", "-")
        names = IN_THE_CLI.get(f"{short}:{option}", IN_THE_CLI.get(short, own))
        return [name for word in names.split() for name in COMMANDS if name == word or name.startswith(f"{word}.")]
    places = [file, *(parent.as_posix() for parent in Path(file).parents)]
    for place in (f"{file}:{option}", *places):
        if place in SAID_IN:
            return SAID_IN[place].split()
    return None


def test_an_option_in_a_message_is_one_of_the_command_that_says_it() -> None:
    """A hint inside backticks is about the command that it names; any other about the one that was typed."""
    wrong = []
    for one in ADVICE:
        if one.file in OTHERS or "_ICVOS" in one.text:
            continue
        for option in OPTION.findall(re.sub(r"`[^`]*`", "", one.text)):
            names = said_in(one.file, option)
            if option in {"--help", "--json", *GLOBAL, *OF_PYTEST_AND_PIP}:
                continue
            if names is None:
                wrong.append(f"{one}: in which commands is {option} said? Add the file to SAID_IN")
                continue
            lacking = [name for name in names if option not in OPTIONS[name]]
            # A group's commands share a module: one of them has to have it.
            if lacking and (not one.file.startswith("icvos/cli/") or len(lacking) == len(names)):
                wrong.append(f"{one}: {', '.join(lacking)} has no {option}")
    assert not wrong, "\n".join(wrong)


def test_every_extra_in_a_message_is_one_of_the_package() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {extra for one in ADVICE for found in re.findall(r"icvos\[([\w,]+)\]", one.text) for extra in found.split(",")} - {"X"}
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for given in re.findall(r"missing_package\([^)]*?\"([\w,]+)\"\)", path.read_text(encoding="utf-8")):
                named |= {*given.split(",")}
    assert {"models", "train", "fast"} <= named <= {*extras}


def test_every_page_and_variable_in_a_message_is_there() -> None:
    pages = [(one, page) for one in ADVICE for page in re.findall(r"\bdocs/[\w./-]+\.md", one.text)]
    assert pages and not [str(one) for one, page in pages if not (REPOSITORY / page).is_file()]
    docs = "".join(path.read_text(encoding="utf-8") for path in (*REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md"))
    variables = {(one, name) for one in ADVICE for name in re.findall(r"(?<![\w_])ICVOS_[A-Z]+", one.text)}
    assert variables and not [str(one) for one, name in variables if name not in docs]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_examples_of_a_command_can_be_typed(name: str) -> None:
    examples = [line.strip() for line in (COMMANDS[name].help or "").splitlines() if re.match(r"\s*icvos ", line)]
    lines = [re.split(r" > | >> | \.\.\.", line)[0] for line in examples]
    assert not [fault for line in lines if (fault := fault_of(line))]
