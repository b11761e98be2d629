"""`icvos verify`: does the data on this disk still match a release, and is a source's tree whole?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.errors import Finding


@click.command("verify")
@click.argument("release", type=options.FOLDER, required=False)
@options.roots
@options.resolution
@click.option("--support-split", help="Of COCO, with --source coco.  [default: val2017, or val2014]")
@click.option("--source", help="Check a source's whole tree instead of a release: davis, mose, lvos2, coco, ..., or a plug-in's.")
@options.as_json
def command(
    release: Path | None,
    where: options.Where,
    resolution: str | None,
    support_split: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Check RELEASE against the source trees on disk, and list every fault.

    \b
    icvos verify ic-vos
    icvos verify ic-vos --data /other/disk
    icvos verify --source davis --davis /data/DAVIS
    """
    import json

    from icvos.errors import DataError

    if source and release:
        raise click.UsageError("give a RELEASE or --source NAME, not both")
    if resolution and not source:
        raise click.UsageError("--resolution goes with --source NAME: a release says which it is")
    if support_split and source != "coco":
        raise click.UsageError("--support-split goes with --source coco: a release says which it is")
    if source:
        what, findings = source, _verify_source(source, where, resolution, support_split)
    else:
        benchmark = options.open_benchmark(release, where)
        what, findings = benchmark.label, _verify_release(benchmark)
    if findings:
        raise DataError("faults found", what, str(len(findings)), "none", f"first: {findings[0]}", findings)
    click.echo(json.dumps({"verified": what, "findings": []}) if as_json else f"{what}: no fault")


def _verify_release(benchmark: Benchmark) -> list[Finding]:
    from curation.verify import verify_supports
    from icvos.cli.progress import bar, file_bar
    from icvos.verify import verify_release

    with file_bar("verifying") as on_progress:
        findings = verify_release(benchmark, on_progress)
    with bar("verifying supports", None, ""):
        return findings + verify_supports(benchmark)


def _verify_source(source: str, where: options.Where, resolution: str | None, support_split: str | None) -> list[Finding]:
    from curation.sources.coco import verify_coco
    from curation.sources.tree import Tree
    from icvos.cli.progress import bar, file_bar
    from icvos.plugins import plugin_code
    from icvos.registry import load_sources

    roots = options.source_roots([source], where)
    options.note_not_data(roots.values())
    if source == "coco":
        with bar("verifying coco", None, ""):
            return verify_coco(roots["coco"], support_split)
    (opened,) = load_sources(roots, resolution)
    with file_bar("verifying", "clips") as on_progress:
        if isinstance(opened, Tree):
            return opened.verify(on_progress)
        with plugin_code("the source failed", source, fix="mend the source"):
            return opened.verify()
