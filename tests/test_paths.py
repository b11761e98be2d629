"""Whatever the public functions take for a path may be a string, too."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import icvos

# Modules that only the package's own code calls: their paths were made `Path` before.
INTERNAL = (
    "icvos.badges",
    "icvos.cache",
    "icvos.cli",
    "icvos.conformance",
    "icvos.download",
    "icvos.handed_in",
    "icvos.kernels",
    "icvos.method_files",
    "icvos.places",
    "icvos.playground.scene",
    "icvos.programs",
    "icvos.render",
    "icvos.reproduce",
    "icvos.templates",
    "icvos.training.loop",
    "curation.sources.faults",
    "curation.sources.scan",
)
# Functions that say or check something about a path which somebody else has opened.
OF_OTHERS = {
    "curation.freeze.release_name",
    "icvos.coco.annotation_faults",
    "icvos.coco.unreadable_segmentation",
    "icvos.files.atomic_folder",
    "icvos.files.beginning",
    "icvos.files.no_such_file",
    "icvos.files.output",
    "icvos.files.output_file",
    "icvos.files.sweep",
    "icvos.files.temporary_beside",
    "icvos.files.temporary_for",
    "icvos.masks.turned_fix",
    "icvos.names.accents_note",
    "icvos.names.lies_in_junk",
    "icvos.names.spelled_otherwise",
    "icvos.submission.not_data",
    "icvos.fewshot.answers.answers_of",
    "icvos.fewshot.comparison.compare_images",
    "icvos.files.parse_json",
    "icvos.masks.unreadable_mask",
    "icvos.masks.wrong_size",
    "icvos.models.backbones.timm_models.imagenet_lite0_state",
    "icvos.scored.line_of",
    "icvos.scoring.refuse",
    "icvos.settings.located",
    "curation.candidates.CandidateTube.tube",
    "curation.freeze.path_pattern",
    "curation.matching.roots_in_use",
    "curation.reviewed.candidate_tubes",
    "curation.reviewed.with_reviews",
    "curation.sources.lvos.read_ranges",
    "curation.sources.tree.Tree.encoding",
}


def modules() -> Iterator[Any]:
    for package in ("icvos", "curation"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.startswith(INTERNAL) and "__main__" not in found.name:
                yield importlib.import_module(found.name)


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, method and constructor of the modules, by its full name."""
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            elif inspect.isclass(value):
                for inner in vars(value):
                    member = getattr(value, inner)
                    ours = inspect.isfunction(member) or inspect.ismethod(member)
                    generated = "__dataclass_fields__" in vars(value) and inner == "__init__"
                    if ours and not generated and (not inner.startswith("_") or inner == "__init__"):
                        yield f"{module.__name__}.{name}.{inner}", value if inner == "__init__" else member


CALLABLES = dict(public_callables())


def test_no_public_function_wants_a_path_object() -> None:
    annotated = {name: inspect.signature(function).parameters.values() for name, function in CALLABLES.items() if name not in OF_OTHERS}
    strict = {name: [str(one) for one in given if re.search(r"\bPath\b", str(one.annotation))] for name, given in annotated.items()}
    assert not {name: given for name, given in strict.items() if any("str" not in one for one in given)}


TAKING = sorted(name for name, function in CALLABLES.items() if "AnyPath" in str(inspect.signature(function)))


class Elsewhere(os.PathLike[str]):
    """A path that is neither a string nor a `Path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


def outcome(name: str, made: Callable[[str], Any]) -> str:
    """What a call says of files that are not there; parameters that are no paths get nothing that could be used."""
    function, given = CALLABLES[name], {}
    for one in inspect.signature(function).parameters.values():
        said = str(one.annotation)
        if "AnyPath" in said:
            path = made(f"nowhere-{one.name}")
            given[one.name] = {"davis": path} if said.startswith("Mapping") else [path] if re.match("Iterable|Sequence", said) else path
        elif one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            given[one.name] = None
    paths = [*given.values()] if "results" in given else []
    try:
        found = function(*paths) if paths else function(**given)
        return type(next(found) if inspect.isgenerator(found) else found).__name__
    except StopIteration:
        return "nothing"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_paths_are_taken_by_most_of_what_is_there() -> None:
    asked = {"icvos.results.Result.load", "icvos.benchmark.Benchmark.open", "icvos.board.Leaderboard.load", "icvos.submission.check"}
    asked |= {"curation.sources.tree.Tree.__init__", "curation.sources.coco.Coco.__init__", "icvos.registry.load_sources"}
    assert asked <= {*TAKING} and len(TAKING) > 70


@pytest.mark.parametrize("name", TAKING)
def test_a_string_and_a_path_say_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = outcome(name, Path)
    assert outcome(name, str) == outcome(name, Elsewhere) == expected
    assert "'str' object" not in expected


def test_the_way_through_goes_by_strings(toy_release: Path, tmp_path: Path) -> None:
    done = icvos.run("empty", str(toy_release), out=f"{tmp_path}/runs")
    result = icvos.score(str(done.store), benchmark=str(toy_release))
    file = f"{done.store}/results/native@1.json"
    assert icvos.Result.load(file) == icvos.Result.load(Elsewhere(file)) == result
    assert len(icvos.Leaderboard.load([file]).rows) == 1
    packed = icvos.submission.pack(str(done.store), icvos.load_benchmark(str(toy_release)), f"{tmp_path}/empty.zip")
    assert not icvos.submission.check(str(packed.path), icvos.load_benchmark(Elsewhere(str(toy_release))))
