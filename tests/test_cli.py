"""What every command shares: how errors are told, to people and to machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from conftest import Said

from icvos import settings
from icvos.board import FORMATS
from icvos.cli import COMMANDS, group
from icvos.protocol import PROTOCOLS
from icvos.registry import method_names

Icvos = Callable[..., Said]


def every_command(group: click.Group = group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, those of groups within groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, (*before, name))
        else:
            yield (*before, name), command


ALL = dict(every_command())


def test_an_unknown_command_is_told_with_the_closest_one(icvos: Icvos) -> None:
    said = icvos("biuld")
    assert (said.code, said.out) == (2, "")
    assert "unknown command 'biuld'; did you mean build?" in said.err


def test_a_wrong_option_is_json_where_json_was_asked_for(icvos: Icvos) -> None:
    said = icvos("run", "--method", "empty", "--shard", "3/2", "--json")
    report = json.loads(said.out)
    assert (said.code, report["exit_code"], report["error"]) == (2, 2, "UserInputError")
    assert "found 3/2, expected i/n" in report["message"] and report["message"] in said.err


def test_an_error_of_the_system_is_one_sentence(icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> settings.Settings:
        raise PermissionError(13, "Permission denied", str(folder / "secret"))

    monkeypatch.setattr(settings, "load_settings", refused)
    said = icvos("leaderboard")
    assert (said.code, said.out) == (2, "")
    assert "cannot read or write: secret: found Permission denied" in said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(icvos: Icvos, command: str) -> None:
    said = icvos(command, "--help")
    assert said.code == 0 and f"icvos {command}" in said.out.partition("Options:")[0].partition("\n")[2]


def test_a_reader_that_goes_away_does_not_change_the_exit_code(toy_release: Path, tmp_path: Path) -> None:
    (tmp_path / "masks/davis").mkdir(parents=True)
    (tmp_path / "masks/davis" / ("n" * 200)).touch()
    for number in range(2000):  # more faults than a pipe holds
        (tmp_path / f"masks/davis/{number:05d}{'n' * 100}").touch()
    for words in ([], ["--json"]):
        command = [sys.executable, "-m", "icvos", "submit", "check", str(tmp_path / "masks"), "--benchmark", str(toy_release), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 4


# for machines


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_speaks_json_even_of_errors(icvos: Icvos, words: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in ALL[words].params)
    said = icvos(*words, "--json", "--no-such-option")
    report = json.loads(said.out)
    assert (said.code, report["exit_code"], report["error"]) == (2, 2, "UserInputError")
    assert "--no-such-option" in report["message"]


def test_an_interruption_is_json_where_json_was_asked_for(icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path) -> settings.Settings:
        raise KeyboardInterrupt

    monkeypatch.setattr(settings, "load_settings", interrupted)
    said = icvos("leaderboard", "--json")
    assert said.code == 130 and json.loads(said.out)["exit_code"] == 130
    assert "run the same command again to go on" in said.err


def test_schemas_and_completions_are_json_too(icvos: Icvos) -> None:
    assert icvos("schema", "result", "--json").out == icvos("schema", "result").out
    assert json.loads(icvos("completion", "fish", "--json").out)["script"] == icvos("completion", "fish").out


def test_a_board_is_json_or_says_where_it_is(icvos: Icvos, toy_release: Path, tmp_path: Path) -> None:
    icvos("run", "--method", "empty", "--benchmark", toy_release, "--out", tmp_path / "runs")
    icvos("score", tmp_path / "runs")
    assert json.loads(icvos("leaderboard", tmp_path / "runs", "--json").out)["rows"]
    assert icvos("leaderboard", tmp_path / "runs", "--json").out == icvos("leaderboard", tmp_path / "runs", "--format", "json").out
    said = json.loads(icvos("leaderboard", tmp_path / "runs", "--format", "csv", "--out", tmp_path / "board.csv", "--json").out)
    assert said == {"board": str(tmp_path / "board.csv"), "format": "csv", "results": 1}
    refused = icvos("leaderboard", tmp_path / "runs", "--format", "html", "--json")
    assert refused.code == 2 and "--json prints JSON, and not html" in json.loads(refused.out)["message"]


# for shells


def completed(icvos: Icvos, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """What bash is told when the key is pressed at the end of this line: ``kind,text`` each."""
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_ICVOS_COMPLETE", "bash_complete")
    said = icvos()
    assert (said.code, said.err) == (0, "")
    return said.out.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_icvos_back(icvos: Icvos, shell: str) -> None:
    said = icvos("completion", shell)
    assert said.code == 0 and f"_ICVOS_COMPLETE={shell}_complete" in said.out


def test_an_unknown_shell_is_told_with_those_there_are(icvos: Icvos) -> None:
    said = icvos("completion", "csh")
    assert said.code == 2 and all(shell in said.err for shell in ("bash", "zsh", "fish"))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("icvos ", list(COMMANDS)),
        ("icvos lead", ["leaderboard"]),
        ("icvos run --method ", method_names()),
        ("icvos run --method empty,orac", ["empty,oracle-first-frame"]),
        ("icvos score --protocol ", list(PROTOCOLS)),
        ("icvos leaderboard --format ", list(FORMATS)),
        ("icvos run --sam sam2.1_hiera_", [f"sam2.1_hiera_{size}" for size in ("t", "s", "b+", "l")]),
        ("icvos weights dinov2_l", ["dinov2_l14"]),
        ("icvos build --sources davis,lv", ["davis,lvos1", "davis,lvos2"]),
        ("icvos labels me", ["merge"]),
        ("icvos completion z", ["zsh"]),
    ],
)
def test_names_are_completed(icvos: Icvos, monkeypatch: pytest.MonkeyPatch, line: str, names: list[str]) -> None:
    assert completed(icvos, monkeypatch, line) == [f"plain,{name}" for name in names]


def test_where_no_method_begins_so_files_are_completed(icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(icvos, monkeypatch, "icvos run --method ./my") == ["file,./my"]
