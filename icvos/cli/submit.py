"""`icvos submit`: masks packed into one zip, checked without the truth, scored as runs are."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options

WHAT = click.argument("path", type=options.FOLDER, metavar="X")
PROTOCOL = click.option("--protocol", default="native@1", show_default=True, help="native@1, or paper-512@1.")
MISSING = click.option("--allow-missing", is_flag=True, help="Let masks be missing; they count 0.")
RESIZE = click.option("--resize", is_flag=True, help="Let masks of another size pass; they are resampled.")
WORKERS = click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores if it is worth it]")


@click.group("submit", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Hand in masks: pack them, check them (no truth needed), score them. docs/submit.md lists every fault.

    \b
    icvos submit pack runs/support-shape
    icvos submit pack my-masks --method-name my-method --card card.json --out my-method.zip
    icvos submit check my-method.zip --benchmark ic-vos
    icvos submit score my-method.zip --benchmark ic-vos
    """


@command.command("pack")
@WHAT
@click.option("--out", type=options.FOLDER, metavar="X.zip", help="The zip.  [default: the run's or the method's name.zip]")
@options.benchmark
@click.option("--method-name", help="Which method made a folder of masks.")
@click.option("--card", type=options.FOLDER, metavar="FILE", help="What to say of it: JSON, see `icvos schema card`.")
@MISSING
@WORKERS
@options.as_json
def pack(
    path: Path,
    out: Path | None,
    benchmark: Path | None,
    method_name: str | None,
    card: Path | None,
    allow_missing: bool,
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
    from icvos.benchmark import Benchmark
    from icvos.cli.progress import bar
    from icvos.scoring import Leniency
    from icvos.submission import pack as pack_masks
    from icvos.submission import read_card

    release = Benchmark.open(_release_of(path, benchmark))
    said = read_card(card, method_name) if card else method_card(method_name) if method_name else None
    with bar("checking", len(release.records), "episodes") as on_event:
        made = pack_masks(
            path,
            release,
            out or Path(f"{said['name'] if said else path.resolve().name.removesuffix('.zip')}.zip"),
            card=said,
            leniency=Leniency(allow_missing),
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
def check(path: Path, benchmark: Path | None, protocol: str, allow_missing: bool, resize: bool, workers: int | None, as_json: bool) -> None:
    """List every fault of X: a folder or zip of masks, a run, or what `icvos submit pack` made. No truth is needed.

    \b
    icvos submit check my-masks
    icvos submit check my-method.zip --benchmark ic-vos --json
    """
    import json

    from icvos.benchmark import Benchmark
    from icvos.cli.progress import bar
    from icvos.protocol import protocol_named
    from icvos.scoring import Leniency, refuse
    from icvos.submission import check as check_masks

    release = Benchmark.open(_release_of(path, benchmark))
    with bar("checking", len(release.records), "episodes") as on_event:
        findings = check_masks(
            path,
            release,
            protocol=protocol_named(protocol),
            leniency=Leniency(allow_missing, resize),
            workers=workers,
            on_event=on_event,
        )
    refuse(path, findings)
    if as_json:
        click.echo(json.dumps({"checked": str(path), "release": release.label, "findings": []}, indent=1, ensure_ascii=False))
    else:
        click.echo(f"{path}: no fault; {len(release.records)} episodes of {release.label}")


@command.command("score")
@WHAT
@options.benchmark
@options.roots
@PROTOCOL
@click.option("--out", type=options.FOLDER, help="Where the results go.  [default: results/ in a run's folder, else runs/NAME/results]")
@click.option("--method-name", help="What to call the method where X does not say.  [default: X's own name]")
@MISSING
@RESIZE
@WORKERS
@options.as_json
def score(
    path: Path,
    benchmark: Path | None,
    where: options.Where,
    protocol: str,
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

    from icvos.aggregate import method_card, save
    from icvos.cli.progress import bar
    from icvos.cli.score import line_of, name_of, results_folder
    from icvos.protocol import protocol_named
    from icvos.scoring import Leniency
    from icvos.store import PredictionStore
    from icvos.submission import read_run
    from icvos.submission import score as score_masks

    release = options.open_benchmark(_release_of(path, benchmark), where)
    run, runs = read_run(path, release), options.settings().runs
    store = PredictionStore(path, run.key if run else None)
    name = "" if run and not run.key else name_of(store, method_name, runs)
    with bar(f"scoring {name}", len(release.records), "episodes") as advance:
        result, tables = score_masks(
            path,
            release,
            protocol=protocol_named(protocol),
            leniency=Leniency(allow_missing, resize),
            workers=workers,
            card=method_card(name),
            on_event=lambda table: advance(len(table.draws)),
        )
    written = save(result, tables, store, out or results_folder(store, name, runs))
    row = {"path": str(written), "signature": result.signature, **result.overall.as_dict()}
    click.echo(json.dumps(row, indent=1, ensure_ascii=False) if as_json else line_of(result, written))


def _release_of(path: Path, benchmark: Path | None) -> Path:
    """The release's folder: as said, else where a run's folder says that it was; what a zip says is not believed."""
    from icvos.store import read_run_file

    run = None if benchmark or not path.is_dir() else read_run_file(path)
    remembered = Path(run.benchmark) if run and run.benchmark else None
    return benchmark or (remembered if remembered and remembered.is_dir() else options.settings().benchmark)
