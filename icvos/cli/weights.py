"""`icvos weights`: the weights that methods start from, listed or fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from icvos.cli import complete, options

if TYPE_CHECKING:
    from icvos.weights import WeightFile


@click.command("weights")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.weights)
@click.option("--offline", is_flag=True, help="Download nothing; a file that is not there is an error.  [also: ICVOS_OFFLINE=1]")
@click.option("--dry-run", is_flag=True, help="Say what would be downloaded, and how much; without names, of all files.")
@options.as_json
def command(names: tuple[str, ...], offline: bool, dry_run: bool, as_json: bool) -> None:
    """List the weights that methods start from, or fetch those named and print their paths.

    \b
    icvos weights
    icvos weights sam2.1_hiera_l dinov2_l14
    icvos weights --dry-run sam_vit_h
    ICVOS_WEIGHTS=/data/weights icvos weights --offline sam_vit_h

    A download that breaks off goes on when the same command is run again. docs/weights.md has the rest.
    """
    from icvos.weights import weight_file, weight_files

    registry = weight_files()
    files = [weight_file(name, registry) for name in dict.fromkeys(names)] or list(registry.values())
    if dry_run:
        _plan(files, as_json)
    elif names:
        _fetch(files, offline, as_json)
    else:
        _list(files, as_json)


def _list(files: Sequence[WeightFile], as_json: bool) -> None:
    from dataclasses import asdict

    from icvos.weights import weight_folder, weight_path

    here = [weight_path(file).is_file() for file in files]
    if as_json:
        rows = zip(files, here, strict=True)
        _print_json([asdict(file) | {"path": str(weight_path(file)), "cached": there} for file, there in rows])
        return
    rows_of_words = [("name", "size", "licence", "cached", "source")]
    for file, there in zip(files, here, strict=True):
        rows_of_words.append((file.name, size(file.size), file.licence, "yes" if there else "no", file.source))
    _print_table(rows_of_words)
    click.echo(f"{sum(here)} of {len(files)} are in {weight_folder()}")


def _plan(files: Sequence[WeightFile], as_json: bool) -> None:
    from icvos.weights import weight_path

    missing = [file for file in files if not weight_path(file).is_file()]
    wanted, by_hand = [file for file in missing if file.url], [file for file in missing if not file.url]
    total, unknown = sum(file.size or 0 for file in wanted), sum(file.size is None for file in wanted)
    if as_json:
        downloads = [{"name": file.name, "url": file.url, "size": file.size, "path": str(weight_path(file))} for file in wanted]
        hands = [{"name": file.name, "from": file.by_hand, "path": str(weight_path(file))} for file in by_hand]
        _print_json({"download": downloads, "bytes": total, "unknown_sizes": unknown, "by_hand": hands})
        return
    _print_table([(file.name, size(file.size), file.url) for file in wanted])
    for file in by_hand:
        click.echo(f"{file.name}: by hand, from {file.by_hand} to {weight_path(file)}")
    more = f", and {unknown} of unknown size" if unknown else ""
    click.echo(f"{len(wanted)} to download: {size(total)}{more}; {len(files) - len(missing)} already there")


def _fetch(files: Sequence[WeightFile], offline: bool, as_json: bool) -> None:
    from icvos.cli.progress import file_bar
    from icvos.weights import fetch

    paths = {}
    for file in files:
        with file_bar(file.name, "bytes") as on_progress:
            paths[file.name] = str(fetch(file.name, offline=offline, on_progress=on_progress, registry={file.name: file}))
        if not as_json:
            click.echo(paths[file.name])
    if as_json:
        _print_json([{"name": name, "path": path} for name, path in paths.items()])


def fetch_missing(files: Iterable[WeightFile], offline: bool) -> None:
    """Fetch what is not here yet before anything else begins, so that a long download is seen; nothing where that is not allowed."""
    from icvos.cli.progress import file_bar
    from icvos.weights import fetch, is_offline, weight_path

    for file in {one.name: one for one in files}.values():
        if file.url and not (offline or is_offline() or weight_path(file).is_file()):
            with file_bar(f"fetching {file.name}", "bytes") as on_progress:
                fetch(file.name, on_progress=on_progress)


def size(number: int | None) -> str:
    """A number of bytes for people, in decimal megabytes or gigabytes."""
    if number is None:
        return "unknown"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip())


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))
