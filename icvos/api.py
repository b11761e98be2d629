"""The way through as functions: what `icvos run` and `icvos score` do, for programs and notebooks.

They are had from the package itself (``icvos.run``), which loads this module when it is first asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from icvos import runner
from icvos.aggregate import RESULTS, method_card, save
from icvos.aggregate import score as score_store
from icvos.benchmark import Benchmark
from icvos.comparison import Comparison, load_results
from icvos.comparison import compare as compare_results
from icvos.entries import Entry
from icvos.errors import PluginError, UserInputError
from icvos.files import AnyPath
from icvos.handed_in.names import is_folder_name
from icvos.passes import ClipDone
from icvos.protocol import protocol_named
from icvos.registry import LoadedMethod, load_method
from icvos.results import Result
from icvos.runner import RunReport, Shard, open_store
from icvos.scoring import Leniency, TubeTable
from icvos.settings import folder_of, load_settings, located, roots_below
from icvos.store import PredictionStore
from icvos.types import Compute


def load_benchmark(path: AnyPath | None = None, *, data: AnyPath | None = None, roots: Mapping[str, AnyPath] | None = None) -> Benchmark:
    """A release, opened.

    Args:
        path: its folder; by default the one that `icvos.toml` names, else ``ic-vos``.
        data: a folder with DAVIS/, MOSE/, LVOS/, COCO/ inside; by default where the sources lay when the release was built.
        roots: the folder of a source, by its name; goes before `data`.

    Raises:
        UserInputError: there is no release, or no such data folder.
        DataError: the release is corrupt.
    """
    opened = Benchmark.open(Path(path) if path else load_settings(Path()).benchmark)
    sources = list(opened.manifest.sources)
    below = roots_below(Path(data), {name: folder_of(name) for name in sources}) if data else {}
    said = below | {name: Path(root) for name, root in (roots or {}).items()}
    return replace(opened, roots=located(sources, opened.roots, said))


def run(
    method: str | LoadedMethod,
    benchmark: Benchmark | AnyPath | None = None,
    *,
    out: AnyPath | None = None,
    compute: Compute | None = None,
    shard: Shard = (1, 1),
    limit: int | None = None,
    workers: int | None = 1,
    on_event: Callable[[ClipDone], None] = lambda event: None,
) -> RunReport:
    """Let a method answer every episode of a release that it has not answered yet, as `icvos run` does.

    Args:
        method: an installed name, ``path.py:Class``, or what `icvos.registry.load_method` gave.
        benchmark: what `load_benchmark` gave, or takes.
        out: the folder of runs, in which this one has the method's name; by default ``runs``.
        compute: device, precision, SAM 2 and weights, for methods that ask; by default small weights on the device there is.
        shard: which part of the clips, and of how many.
        limit: only the first so many episodes.
        workers: processes; None, for programs that begin below ``if __name__ == "__main__":``, all cores where it is worth it.
        on_event: called with each clip that is done.

    Returns:
        What was done; its `store` is the run's folder.

    Raises:
        UserInputError: there is no such method or release, or the folder belongs to another run.
        PluginError: the method breaks its contract.
        DataError: a frame is not the one that the release names.
    """
    loaded = load_method(method, compute) if isinstance(method, str) else method
    if not is_folder_name(loaded.card.name):
        raise PluginError("the method's name cannot be a folder", repr(loaded.card.name), expected="letters, digits, - and _")
    opened = _opened(benchmark)
    root = (Path(out) if out else load_settings(Path()).runs) / loaded.card.name
    store = open_store(opened, loaded, root)
    return runner.run(loaded, opened, store, shard=shard, limit=limit, workers=workers, on_event=on_event)


def score(
    run: RunReport | AnyPath,
    *,
    benchmark: Benchmark | AnyPath | None = None,
    protocol: str = "native@1",
    out: AnyPath | None = None,
    allow_missing: bool = False,
    resize: bool = False,
    workers: int | None = 1,
    on_event: Callable[[TubeTable], None] = lambda table: None,
) -> Result:
    """J, F and J&F of a run or a folder of masks, as `icvos score` has them; written to files as there.

    Args:
        run: what `run` gave, a run's folder, or a folder of masks ``<source>/<clip>/<class>#s0/<frame>.png``.
        benchmark: what `load_benchmark` gave, or takes; by default the release that the run remembers.
        protocol: how masks become numbers (docs/protocol.md).
        out: where the result goes, and the record by which boards made here know it (`icvos.badges`); by default ``results`` in the
            run. That of a folder of masks is written only where this says.
        allow_missing: masks that are not there count 0 instead of being refused.
        resize: masks of another size are resampled instead of being refused.
        workers: as in `run`.
        on_event: called with each tube that is done.

    Raises:
        UserInputError: there is no such run, release or protocol, or the run was made on another release.
        SubmissionError: the predictions have faults; its `findings` are all of them.
        DataError: the truth on disk is not the release's.
    """
    chosen = protocol_named(protocol)
    store = PredictionStore.open(run.store if isinstance(run, RunReport) else Path(run))
    opened = _opened(benchmark or store.remembered)
    if store.key and store.key.digest != opened.digest:
        found = f"{store.key.release}#{store.key.digest[:12]}"
        raise UserInputError("the run was made on another release", store.root, found, opened.label, "give its own benchmark")
    card = None if store.key else method_card(store.root.resolve().name)
    result, tables = score_store(
        store, opened, protocol=chosen, leniency=Leniency(allow_missing, resize), workers=workers, card=card, on_event=on_event
    )
    if out or store.key:
        save(result, tables, store, Path(out) if out else store.root / RESULTS)
    return result


def compare(
    *results: Result | RunReport | AnyPath, by: str = "J&F", protocol: str | None = None, oracle: Result | None = None
) -> Comparison:
    """Whether one result is better than another and where, or how several rank, as `icvos compare` says.

    Args:
        results: two or more: results, runs that are scored, or result files and folders of them.
        by: the score that ranks: J&F, J or F.
        protocol: which to compare, where there are results of several.
        oracle: the run that was told the true first mask; without it, one called `oracle-first-frame` among the results.

    Raises:
        UserInputError: there are not two results, or they are of several protocols or releases.
        DataError: a file is no result, or results are of other tubes than the first.
    """
    entries: list[Entry] = []
    for one in results:
        if isinstance(one, Result):
            entries.append(Entry(one))
        else:
            entries += load_results([one.store if isinstance(one, RunReport) else Path(one)])
    return compare_results(entries, by=by, protocol=protocol, oracle=oracle)


def _opened(benchmark: Benchmark | AnyPath | None) -> Benchmark:
    return benchmark if isinstance(benchmark, Benchmark) else load_benchmark(benchmark)
