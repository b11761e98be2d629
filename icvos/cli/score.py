"""`icvos score`: J, F and J&F of runs, or of anybody's folder of masks; on images mIoU and FB-IoU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import complete, options

if TYPE_CHECKING:
    from icvos.errors import SubmissionError
    from icvos.scored import Release, Scored
    from icvos.store import PredictionStore


@click.command("score")
@click.argument("paths", type=options.FOLDER, nargs=-1)
@options.benchmark
@options.pascal
@options.roots
@click.option(
    "--protocol",
    shell_complete=complete.protocols,
    help="native@1, or paper-512@1; a release of images has its own.  [default: native@1]",
)
@click.option(
    "--out", type=options.OUT, help="Where the results go.  [default: results/ in the run; runs/NAME/results for a folder of masks]"
)
@click.option("--method-name", help="What to call the method of a folder of masks.  [default: the folder's name]")
@click.option("--allow-missing", is_flag=True, help="Count masks that are not there as 0 (on images: as empty) instead of refusing.")
@click.option("--resize", is_flag=True, help="Resample masks of another size instead of refusing.")
@click.option("--rerun", is_flag=True, help="Say in the result that you ran the method yourself, from its code (its badge).")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores if it is worth it]")
@options.as_json
def command(
    paths: tuple[Path, ...],
    benchmark: Path | None,
    where: options.Where,
    protocol: str | None,
    out: Path | None,
    method_name: str | None,
    allow_missing: bool,
    resize: bool,
    rerun: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Score PATHS: runs, folders of runs, or a folder or zip of masks <source>/<clip>/<class>#s0/<frame>.png.

    \b
    icvos score runs/support-shape
    icvos score runs --protocol paper-512@1
    icvos score my-masks --method-name my-method
    icvos score runs/coco20i-1shot@1-fold0-seed0
    """
    import json

    from icvos.aggregate import method_card
    from icvos.cli.progress import bar
    from icvos.errors import SubmissionError
    from icvos.scored import runs_below, score_store
    from icvos.scoring import Leniency
    from icvos.store import PredictionStore

    chosen, leniency = options.chosen_protocol(protocol), Leniency(allow_missing, resize)
    runs = options.settings().runs
    stores = [PredictionStore.open(root) for path in paths or (runs,) for root in _runs_below(path)]
    if out and len(stores) > 1:
        raise click.UsageError(f"--out is for one run, found {len(stores)}")
    results, refused = [], []
    for store in stores:
        release = _release_of(store, benchmark, where)
        place = runs_below(runs, release)
        name = name_of(store, method_name, place)
        _check_rerun(store, rerun)
        card = None if store.key else method_card(name)
        options.note(store.not_data(release.asked().limits))
        try:
            with bar(f"scoring {name}", len(release.records), "episodes") as on_event:
                scored = score_store(
                    store,
                    release,
                    protocol=chosen,
                    leniency=leniency,
                    workers=workers,
                    card=card,
                    badge="rerun" if rerun else "rescored",
                    on_event=on_event,
                )
        except SubmissionError as error:  # one faulty run does not keep the others from being scored
            refused.append(error)
            continue
        results.append(tell(scored, out or results_folder(store, name, place), as_json))
    if refused:
        raise _all_refused(refused, len(stores))
    if as_json:
        click.echo(json.dumps(results, indent=1, ensure_ascii=False))


def _all_refused(errors: Sequence[SubmissionError], runs: int) -> SubmissionError:
    """The errors of several runs as one."""
    from icvos.errors import SubmissionError

    if runs == 1:
        return errors[0]
    where = ", ".join(error.where for error in errors)
    findings = [finding for error in errors for finding in error.findings]
    return SubmissionError(f"{len(errors)} of {runs} runs refused", where, fix=f"first: {errors[0]}", findings=findings)


def _runs_below(path: Path) -> list[Path]:
    """The path itself where it is a run or a folder of masks; the runs in it where it is a folder of runs."""
    from icvos.names import is_junk
    from icvos.store import RUN

    inside = sorted(found.parent for found in path.glob(f"*/{RUN}") if not is_junk(found.parent.name))
    return inside if inside and not (path / RUN).exists() else [path]


def _release_of(store: PredictionStore, benchmark: Path | None, where: options.Where) -> Release:
    from icvos.errors import UserInputError

    release = options.open_release(benchmark or store.remembered, where)
    if store.key and store.key.digest != release.digest:
        found = f"{store.key.release}#{store.key.digest[:12]}"
        raise UserInputError("the run was made on another release", store.root, found, release.label, "give its own with --benchmark DIR")
    return release


def name_of(store: PredictionStore, method_name: str | None, runs: Path) -> str:
    """What the result is called: a run's card says it; a folder of masks may be given a name, and must not take a run's."""
    from icvos.errors import UserInputError
    from icvos.handed_in.names import is_folder_name
    from icvos.store import RUN

    if store.key:
        if method_name:
            raise UserInputError("a run's name is its method's", store.root, method_name, store.key.method, "leave --method-name out")
        return store.key.method
    name = method_name or store.root.resolve().name.removesuffix(".zip")
    if not is_folder_name(name):
        raise UserInputError("not a name for a method", repr(name), expected="a name without slashes", fix="give another --method-name")
    if (runs / name / RUN).exists():
        raise UserInputError("the name belongs to a run", runs / name, fix="give another --method-name")
    return name


def results_folder(store: PredictionStore, name: str, runs: Path) -> Path:
    """Where results go if nobody says: into a run's own folder, or into one for the method, which must not be a run's."""
    from icvos.aggregate import RESULTS
    from icvos.errors import UserInputError
    from icvos.store import RUN

    if store.key and store.root.is_dir():
        return store.root / RESULTS
    if (runs / name / RUN).exists():
        raise UserInputError("the name belongs to a run", runs / name, fix="say --out, or score the run itself")
    return runs / name / RESULTS


def _check_rerun(store: PredictionStore, rerun: bool) -> None:
    """Masks alone cannot have been made here by the method's code."""
    from icvos.errors import UserInputError

    if rerun and not store.key:
        raise UserInputError("not a run", store.root, "a folder of masks", "what `icvos run` left", "leave --rerun out")


def tell(scored: Scored, folder: Path, as_json: bool) -> dict[str, Any]:
    """Write a result into a folder and say it for people, unless it is for machines; gives what they are told."""
    from icvos.badges import why_unsealed
    from icvos.results import Result
    from icvos.scored import line_of

    path, result = scored.save(folder), scored.result
    if why := why_unsealed(path):
        click.echo(f"icvos: {why}", err=True)
    if not as_json:
        click.echo(line_of(result, path))
        for note in () if isinstance(result, Result) else result.notes:  # the line of clips says what is not there
            click.echo(f"icvos: {note}", err=True)
    return {"path": str(path), "signature": result.signature, **scored.numbers}
