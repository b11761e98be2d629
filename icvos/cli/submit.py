"""`icvos submit`: masks packed into one zip, checked without the truth, scored as runs are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options
from icvos.cli.options import chosen_protocol

if TYPE_CHECKING:
    from icvos.scored import Release
    from icvos.store import PredictionStore

WHAT = click.argument("path", type=options.FOLDER, metavar="X")
PROTOCOL = click.option("--protocol", help="native@1, or paper-512@1; a release of images has its own.  [default: native@1]")
MISSING = click.option("--allow-missing", is_flag=True, help="Let masks be missing; they count 0, on images as empty ones.")
RESIZE = click.option("--resize", is_flag=True, help="Let masks of another size pass; they are resampled.")
WORKERS = click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores if it is worth it]")


@click.group("submit", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Hand in masks of clips or of images: pack them, check them (no truth needed), score them. docs/submit.md lists every fault.

    \b
    icvos submit pack runs/support-shape
    icvos submit pack my-masks --method-name my-method --card card.json --out my-method.zip
    icvos submit check my-method.zip --benchmark ic-vos
    icvos submit score my-method.zip --benchmark ic-vos
    icvos submit score my-masks --benchmark fewshot/coco20i-1shot@1-fold0-seed0 --method-name my-method
    """


@command.command("pack")
@WHAT
@click.option(
    "--out",
    type=options.OUT_FILE,
    metavar="X.zip",
    help="The zip.  [default: the run's or the method's name.zip; of images, with the release's name before it]",
)
@options.benchmark
@click.option("--method-name", help="Which method made a folder of masks.")
@click.option("--card", type=options.FOLDER, metavar="FILE", help="What to say of it: JSON, see `icvos schema card`.")
@MISSING
@RESIZE
@WORKERS
@options.as_json
def pack(
    path: Path,
    out: Path | None,
    benchmark: Path | None,
    method_name: str | None,
    card: Path | None,
    allow_missing: bool,
    resize: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check X (a run, or a folder of masks) and pack what is scored of it into one zip, the same bytes for the same masks.

    \b
    icvos submit pack runs/support-shape
    icvos submit pack my-masks --method-name my-method --card card.json --out my-method.zip
    """
    import json
    from dataclasses import asdict

    from icvos.aggregate import method_card
    from icvos.cli.progress import bar
    from icvos.scoring import Leniency
    from icvos.submission import not_data, read_card
    from icvos.submission import pack as pack_masks

    release = options.open_release(_release_of(path, benchmark))
    said = read_card(card, method_name) if card else method_card(method_name) if method_name else None
    options.note(not_data(path, release))
    with bar("checking", len(release.records), "episodes") as on_event:
        made = pack_masks(
            path,
            release,
            out or _zip_of(release, said["name"] if said else path.resolve().name.removesuffix(".zip")),
            card=said,
            leniency=Leniency(allow_missing, resize),
            workers=workers,
            on_event=on_event,
        )
    if as_json:
        click.echo(json.dumps(asdict(made) | {"path": str(made.path)}, indent=1, ensure_ascii=False))
    else:
        click.echo(f"{made.path}: {made.bytes:,} bytes, {made.episodes} episodes, {made.masks} masks\nsha256 {made.sha256}")


@command.command("check")
@WHAT
@options.benchmark
@PROTOCOL
@MISSING
@RESIZE
@WORKERS
@options.as_json
def check(
    path: Path, benchmark: Path | None, protocol: str | None, allow_missing: bool, resize: bool, workers: int | None, as_json: bool
) -> None:
    """List every fault of X: a folder or zip of masks, a run, or what `icvos submit pack` made. No truth is needed.

    \b
    icvos submit check my-masks
    icvos submit check my-method.zip --benchmark ic-vos --json
    """
    import json

    from icvos.cli.progress import bar
    from icvos.scoring import Leniency, refuse
    from icvos.submission import check as check_masks
    from icvos.submission import not_data

    release = options.open_release(_release_of(path, benchmark))
    with bar("checking", len(release.records), "episodes") as on_event:
        findings = check_masks(
            path,
            release,
            protocol=chosen_protocol(protocol),
            leniency=Leniency(allow_missing, resize),
            workers=workers,
            on_event=on_event,
        )
    left = not_data(path, release)
    options.note(left)
    refuse(path, findings)
    if as_json:
        said = {"checked": str(path), "release": release.label, "findings": [], "notes": [str(left)] if left else []}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
    else:
        click.echo(f"{path}: no fault; {len(release.records)} episodes of {release.label}")


@command.command("score")
@WHAT
@options.benchmark
@options.pascal
@options.roots
@PROTOCOL
@click.option("--out", type=options.OUT, help="Where the results go.  [default: results/ in a run's folder, else X-results beside X]")
@click.option("--method-name", help="What to call the method where X does not say.  [default: X's own name]")
@MISSING
@RESIZE
@WORKERS
@options.as_json
def score(
    path: Path,
    benchmark: Path | None,
    where: options.Where,
    protocol: str | None,
    out: Path | None,
    method_name: str | None,
    allow_missing: bool,
    resize: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check X, then score it as `icvos score` does: the same numbers, to the byte, as the run's that was packed.

    \b
    icvos submit score my-method.zip --benchmark ic-vos
    icvos submit score my-masks --method-name my-method --out results/my-method
    """
    import json

    from icvos.aggregate import method_card
    from icvos.cli.progress import bar
    from icvos.cli.score import name_of, tell
    from icvos.scored import runs_below
    from icvos.scoring import Leniency
    from icvos.store import PredictionStore
    from icvos.submission import not_data, read_run
    from icvos.submission import score as score_masks

    release = options.open_release(_release_of(path, benchmark), where)
    run, runs = read_run(path, release.asked()), runs_below(options.settings().runs, release)
    store = PredictionStore(path, run.key if run else None)
    name = "" if run and not run.key else name_of(store, method_name, runs)
    options.note(not_data(path, release))
    with bar(f"scoring {name}", len(release.records), "episodes") as advance:
        scored = score_masks(
            path,
            release,
            protocol=chosen_protocol(protocol),
            leniency=Leniency(allow_missing, resize),
            workers=workers,
            card=method_card(name),
            on_event=advance,
        )
    row = tell(scored, out or _results_beside(store), as_json)
    if as_json:
        click.echo(json.dumps(row, indent=1, ensure_ascii=False))


def _results_beside(store: PredictionStore) -> Path:
    """Into a run's own folder, else beside what was scored: people hand in files of one name from folders of their own."""
    from icvos.aggregate import RESULTS

    root = store.root.resolve()
    return store.root / RESULTS if store.key and store.root.is_dir() else root.with_name(f"{root.name}-{RESULTS}")


def _zip_of(release: Release, name: str) -> Path:
    """Of images a method has one for each fold and seed."""
    from icvos.benchmark import Benchmark

    release_name = release.path.resolve().name
    return Path(f"{name}.zip" if isinstance(release, Benchmark) or name.startswith(release_name) else f"{release_name}-{name}.zip")


def _release_of(path: Path, benchmark: Path | None) -> Path:
    """The release's folder: as said, else where a run's folder says that it was; what a zip says is not believed."""
    from icvos.store import read_run_file

    run = None if benchmark or not path.is_dir() else read_run_file(path)
    return benchmark or (run.remembered if run else None) or options.settings().benchmark
