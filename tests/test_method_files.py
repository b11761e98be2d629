"""Methods from files with modules beside them, what their errors say, and what they cannot change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import Said

import icvos as package
from icvos.errors import PluginError, UserInputError
from icvos.files import sha256_file
from icvos.registry import load_method

Command = Callable[..., Said]
METHOD = """
import numpy as np
from icvos.types import MethodCard
{top}


class Mine:
    card = MethodCard({name!r}, summary="x", licence="MIT")

    def segment(self, frames, supports):
        {body}
        for frame in frames:
            {each}
            yield np.full(frame.shape[:2], {value}, bool)
"""


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def method(
    folder: Path, top: str = "", *, body: str = "pass", each: str = "pass", value: str = "True", name: str = "mine", file: str = "mine.py"
) -> str:
    """Write a method; gives how it is called."""
    write(folder, {file: METHOD.format(top=top, body=body, each=each, value=value, name=name)})
    return f"{folder / file}:Mine"


def masks(run: Path) -> set[bytes]:
    return {path.read_bytes() for path in run.rglob("*.zip")}


IMPORTS = {
    "a module": ("import utils", "utils.VALUE", {"utils.py": "VALUE = True"}),
    "from a module": ("from utils import VALUE as v", "v", {"utils.py": "VALUE = True"}),
    "a package": ("import nets.heads", "nets.heads.VALUE", {"nets/__init__.py": "", "nets/heads.py": "VALUE = True"}),
    "a package, renamed": ("import nets.heads as heads", "heads.VALUE", {"nets/__init__.py": "", "nets/heads.py": "VALUE = True"}),
    "a folder": ("from nets import heads", "heads.VALUE", {"nets/heads.py": "VALUE = True"}),
    "a module's module": ("import utils", "utils.VALUE", {"utils.py": "from more import VALUE", "more.py": "VALUE = True"}),
    "relatively": ("from .utils import VALUE", "VALUE", {"utils.py": "VALUE = True"}),
    "relatively, the module": ("from . import utils", "utils.VALUE", {"utils.py": "VALUE = True"}),
    "relatively in a package": (
        "from nets import VALUE",
        "VALUE",
        {"nets/__init__.py": "from .heads import VALUE", "nets/heads.py": "from ..utils import VALUE", "utils.py": "VALUE = True"},
    ),
    "all of it": ("from utils import *", "VALUE", {"utils.py": "VALUE = True"}),
    "by name": ("import importlib\nutils = importlib.import_module('utils')", "utils.VALUE", {"utils.py": "VALUE = True"}),
    "by a name made up": (
        "import importlib\npart = importlib.import_module('.'.join(['nets', 'heads']))",
        "part.VALUE",
        {"nets/__init__.py": "", "nets/heads.py": "VALUE = True"},
    ),
    "in place of an installed one": ("import colorsys", "colorsys.VALUE", {"colorsys.py": "VALUE = True"}),
    "the standard one": ("import os", "bool(os.sep)", {"os.py": "raise ValueError"}),
    "an installed one beside a folder of its name": ("import click", "bool(click.command)", {"click/notes.txt": "x"}),
    "one that imports the method": (
        "import utils",
        "utils.value()",
        {"utils.py": "def value():\n    import mine\n    return bool(mine.Mine)"},
    ),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_modules_beside_a_method_are_imported(tmp_path: Path, toy_release: Path, how: str) -> None:
    top, value, files = IMPORTS[how]
    write(tmp_path / "code", files)
    before = set(sys.modules), list(sys.path)
    package.run(method(tmp_path / "code", top, value=value), toy_release, out=tmp_path / "runs", limit=1)
    package.run(method(tmp_path / "plain"), toy_release, out=tmp_path / "expected", limit=1)
    assert masks(tmp_path / "runs") == masks(tmp_path / "expected")
    added = {name for name in set(sys.modules) - before[0] if not name.startswith("icvos_method_")}
    assert not added & {"utils", "nets", "more", "mine", "nets.heads"} and sys.path == before[1]
    assert not list((tmp_path / "code").rglob("__pycache__"))


def test_modules_are_imported_while_the_method_runs_and_in_other_processes(icvos: Command, tmp_path: Path, toy_release: Path) -> None:
    write(tmp_path / "code", {"late.py": "VALUE = True", "nets/__init__.py": "", "nets/later.py": "VALUE = True"})
    spec = method(
        tmp_path / "code", "import importlib", body="import late; v = importlib.import_module('nets.later')", value="late.VALUE and v.VALUE"
    )
    said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "runs", "--workers", 2)
    assert said.code == 0, said
    package.run(method(tmp_path / "plain"), toy_release, out=tmp_path / "expected")
    assert masks(tmp_path / "runs") == masks(tmp_path / "expected")


def test_two_methods_have_each_their_own_modules(icvos: Command, tmp_path: Path, toy_release: Path) -> None:
    for name, value in (("one", "True"), ("two", "False")):
        write(tmp_path / name, {"utils.py": f"VALUE = {value}", "late.py": f"VALUE = {value}"})
        method(
            tmp_path / name,
            "import utils, importlib",
            body="late = importlib.import_module('late')",
            name=name,
            value="utils.VALUE and late.VALUE",
        )
    first, second = (load_method(f"{tmp_path / name}/mine.py:Mine") for name in ("one", "two"))
    from icvos.benchmark import Benchmark
    from icvos.runner import open_store, run_together

    release = Benchmark.open(toy_release)
    run_together([(one, open_store(release, one, tmp_path / "runs" / one.card.name)) for one in (first, second)], release)
    for name, value in (("one", "True"), ("two", "False")):
        package.run(method(tmp_path / "plain" / name, value=value, name=name), toy_release, out=tmp_path / "expected")
        assert masks(tmp_path / "runs" / name) == masks(tmp_path / "expected" / name)


def test_a_method_without_modules_beside_it_has_the_code_that_it_always_had(tmp_path: Path) -> None:
    spec = method(tmp_path)
    write(tmp_path, {"other.py": "VALUE = 1", "numbers_of_mine.txt": "x"})
    assert load_method(spec).code == f"sha256 {sha256_file(tmp_path / 'mine.py')}"


CHANGES = {
    "a module": "utils.py",
    "a module's module": "more.py",
    "one that is imported late": "late.py",
    "any of a package": "nets/other.py",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_module_is_another_method(icvos: Command, tmp_path: Path, toy_release: Path, what: str) -> None:
    code = tmp_path / "code"
    write(code, {"utils.py": "import more", "more.py": "", "late.py": "", "nets/__init__.py": "", "nets/other.py": "", "stranger.py": ""})
    spec = method(code, "import utils\nimport nets", body="import late")
    words = ("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "runs")
    before = load_method(spec).code
    assert icvos(*words, "--limit", 3).code == 0
    (code / "stranger.py").write_text("CHANGED = True")
    (code / "nets/notes.txt").write_text("x")
    assert load_method(spec).code == before and icvos(*words, "--limit", 3).code == 0
    (code / CHANGES[what]).write_text("CHANGED = True")
    said = icvos(*words)
    assert said.code == 2 and "`code` differs" in said.err
    assert load_method(spec).code != before


def test_a_module_that_changes_while_the_method_runs_stops_it(tmp_path: Path, toy_release: Path) -> None:
    write(tmp_path / "code", {"late.py": "VALUE = True"})
    loaded = load_method(method(tmp_path / "code", body="import late"))
    (tmp_path / "code/late.py").write_text("VALUE = False")
    with pytest.raises(PluginError, match=r"late\.py has changed since the method was loaded"):
        package.run(loaded, toy_release, out=tmp_path / "runs")


def test_a_method_may_not_import_from_above_its_folder(icvos: Command, tmp_path: Path, toy_release: Path) -> None:
    write(tmp_path, {"above.py": "", "code/__init__.py": ""})
    said = icvos(
        "run", "--method", method(tmp_path / "code", "from .. import above"), "--benchmark", toy_release, "--out", tmp_path / "runs"
    )
    assert said.code == 5 and "install it as a package" in said.err and "mine.py, line 4: from .. import above" in said.err


# What errors say

FAULTS = {
    "in the file": (
        {},
        {"each": "raise ValueError('lost it')"},
        ["ValueError: lost it", "mine.py, line 13, in segment: raise ValueError('lost it')"],
    ),
    "in a module beside it": (
        {"utils.py": "def pick(values):\n    return values[7]\n"},
        {"top": "import utils", "each": "utils.pick([1])"},
        ["IndexError", "utils.py, line 2, in pick: return values[7]", "called from", "mine.py, line 13, in segment: utils.pick([1])"],
    ),
    "in a library": (
        {},
        {"each": "np.zeros(3).reshape(2, 2)"},
        ["ValueError: cannot reshape", "mine.py, line 13, in segment: np.zeros(3).reshape(2, 2)"],
    ),
    "while it is imported": (
        {"utils.py": "\n1 / 0\n"},
        {"top": "import utils"},
        ["ZeroDivisionError", "utils.py, line 2: 1 / 0", "called from", "mine.py, line 4: import utils"],
    ),
    "of syntax": (
        {"utils.py": "x = 1\ndef broken(:\n"},
        {"top": "import utils"},
        ["SyntaxError", "utils.py, line 2: def broken(:", "mine.py, line 4: import utils"],
    ),
    "of a module that is not there": (
        {"utils.py": "import gone"},
        {"top": "import utils"},
        ["ModuleNotFoundError: No module named 'gone'", "utils.py, line 1"],
    ),
    "of a package's part that is not there": (
        {"nets/__init__.py": ""},
        {"top": "import nets.gone"},
        ["No module named 'nets.gone'", "mine.py, line 4: import nets.gone"],
    ),
}


@pytest.mark.parametrize("where", FAULTS)
def test_an_error_says_its_file_and_line_and_the_way_there(icvos: Command, tmp_path: Path, toy_release: Path, where: str) -> None:
    files, parts, words = FAULTS[where]
    write(tmp_path / "code", files)
    command = ("run", "--method", method(tmp_path / "code", **parts), "--benchmark", toy_release, "--out", tmp_path / "runs")
    said = icvos(*command)
    assert said.code == 5 and said.err.count("\n") == 1 and "Traceback" not in said.err
    for word in words:
        assert word in said.err
    assert "icvos_method_" not in said.err and "passes.py" not in said.err
    for asked in (("--traceback", *command), (*command, "--traceback")):
        more = icvos(*asked)
        assert more.code == 5 and "Traceback (most recent call last)" in more.err and more.err.endswith(said.err)


def test_the_traceback_is_asked_for_by_the_environment_too(
    icvos: Command, tmp_path: Path, toy_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("run", "--method", method(tmp_path, each="raise ValueError('lost')"), "--benchmark", toy_release, "--out", tmp_path / "runs")
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("ICVOS_TRACEBACK", value)
        said = icvos(*command, "--json")
        assert ("Traceback" in said.err) == shown and json.loads(said.out)["exit_code"] == 5
        assert "mine.py, line 13, in segment" in json.loads(said.out)["message"]
    assert "--traceback" in icvos("--help").out and "ICVOS_TRACEBACK" in icvos("--help").out


def test_only_the_last_frames_are_told(tmp_path: Path, toy_release: Path) -> None:
    loaded = load_method(method(tmp_path, "def deeper(n):\n    return deeper(n + 1)", each="deeper(0)"))
    with pytest.raises(PluginError, match="RecursionError") as caught:
        package.run(loaded, toy_release, out=tmp_path / "runs")
    assert str(caught.value).count("mine.py, line") == 3 and len(str(caught.value)) < 1000


PLUGINS = """
class Source:
    name = "odd"
    def __init__(self, root):
        if root.name == "NONE":
            raise ValueError("no root")
        self.root = root
    def verify(self):
        raise KeyError("nothing verified")
    def clips(self):
        yield from ()
        raise RuntimeError("no clips")
    def instances(self, clip): ...
def method():
    raise OSError("no weights")
"""


def test_installed_plugins_say_where_they_failed_too(tmp_path: Path, toy_data: Path) -> None:
    site = tmp_path / "site"
    about = {"METADATA": "Metadata-Version: 2.1\nName: odd\nVersion: 1\n"}
    about["entry_points.txt"] = (
        "[icvos.sources]\nodd = odd_plugin:Source\nworse = odd_worse:Source\n[icvos.methods]\nodd = odd_plugin:method\n"
    )
    write(
        site,
        {
            "odd_plugin.py": PLUGINS,
            "odd_worse.py": "import gone_for_good\n",
            **{f"odd-1.dist-info/{name}": text for name, text in about.items()},
        },
    )
    (tmp_path / "ODD").mkdir()
    calls = {
        ("verify", "--source", "odd", "--root", f"odd={tmp_path / 'ODD'}"): "odd_plugin.py, line 9, in verify",
        ("verify", "--source", "odd", "--root", f"odd={tmp_path / 'NONE'}"): "odd_plugin.py, line 6, in __init__",
        ("verify", "--source", "worse", "--root", f"worse={tmp_path / 'ODD'}"): "odd_worse.py, line 1: import gone_for_good",
        (
            "build",
            "--sources",
            "odd",
            "--root",
            f"odd={tmp_path / 'ODD'}",
            "--coco",
            toy_data / "COCO",
            "--out",
            tmp_path / "R",
        ): "odd_plugin.py, line 12, in clips",
        ("run", "--method", "odd", "--benchmark", tmp_path): "odd_plugin.py, line 15, in method",
    }
    code = """
import sys
from icvos.cli import main
for words in eval(sys.argv[1]):
    try:
        main(words)
    except SystemExit as leaving:
        print("CODE", leaving.code, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, repr([[str(word) for word in words] for words in calls])],
        env=os.environ | {"PYTHONPATH": str(site)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = done.stderr.split("CODE 5\n")
    assert len(said) == len(calls) + 1, done.stderr
    for words, sentence in zip(calls.values(), said, strict=False):
        assert words in sentence and "Traceback" not in sentence


# What a method may not change for others

ABUSE = {
    "working folder": "import os; os.chdir('/')",
    "working folder that goes away": "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "umask": "import os; os.umask(0o777)",
    "search path": "import sys; sys.path.clear(); sys.path.append('/nowhere')",
    "standard output": "import sys; print('noise'); sys.stdout = None",
    "interrupts": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
}


@pytest.mark.parametrize("when", ["top", "body", "each"])
@pytest.mark.parametrize("what", ABUSE)
def test_a_method_cannot_change_what_is_around_it(
    icvos: Command, tmp_path: Path, toy_release: Path, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    import locale
    import shutil
    import signal

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(toy_release, "R")
    method(tmp_path / "code", **{when: ABUSE[what]})
    before = signal.getsignal(signal.SIGINT), list(sys.path), locale.setlocale(locale.LC_ALL), sys.stdout
    umask = os.umask(0o022)
    said = icvos("run", "--method", "../code/mine.py:Mine", "--benchmark", "R", "--out", "runs", "--json")
    assert said.code == 0 and json.loads(said.out)["episodes"] == 15, said
    assert Path.cwd() == tmp_path / "here" and os.umask(umask) == 0o022
    assert (signal.getsignal(signal.SIGINT), sys.path[: len(before[1])], locale.setlocale(locale.LC_ALL), sys.stdout) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    written = list((tmp_path / "here/runs").rglob("*.zip"))
    assert len(written) == 15 and {oct(path.stat().st_mode & 0o777) for path in written} == {"0o644"}
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"R", "runs"}


def test_data_that_is_named_relatively_is_found_wherever_a_method_goes(
    icvos: Command, tmp_path: Path, toy_data: Path, toy_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(toy_data)
    spec = method(tmp_path / "code", "import os; os.chdir('/')", body="os.chdir('/'); supports[0].read_image()", each="os.chdir('/')")
    words = ("run", "--method", spec, "--benchmark", toy_release, "--out", "runs", "--data", "data")
    assert icvos(*words).code == 0 and len(list((tmp_path / "runs").rglob("*.zip"))) == 15


def test_a_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserInputError):
        load_method(f"{tmp_path / 'mine.txt'}:Mine")
