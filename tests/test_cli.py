"""What every command shares: how errors are told, to people and to machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said

from icvos import settings
from icvos.cli import COMMANDS

Icvos = Callable[..., Said]


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
