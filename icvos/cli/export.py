"""`icvos export`: a release in the forms that other platforms take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options

if TYPE_CHECKING:
    from icvos.codabench.plan import Plan


@click.group("export", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """A release in the forms that other platforms take.

    \b
    icvos export codabench ic-vos --out bundle.zip
    """


@command.command("codabench")
@click.argument("release", type=options.FOLDER, required=False)
@click.option("--out", type=options.OUT, help="The bundle: a zip, or a folder where the name does not end in .zip.")
@options.roots
@click.option("--protocol", default="native@1", show_default=True, help="How masks become numbers.")
@click.option("--title", help="The competition's.  [default: made of the release's name and version]")
@click.option("--docker-image", metavar="NAME", help="What scores.  [default: Python's own image; pip fetches the rest]")
@click.option("--allow-missing", is_flag=True, help="Count masks that are not there as 0 instead of refusing a submission.")
@click.option("--dry-run", is_flag=True, help="Say what would go into it, and under whose terms; write nothing.")
@options.as_json
def codabench(
    release: Path | None,
    out: Path | None,
    where: options.Where,
    protocol: str,
    title: str | None,
    docker_image: str | None,
    allow_missing: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a Codabench competition of RELEASE: pages, board, starting kit, scoring program, and the truth, which stays private.

    \b
    icvos export codabench ic-vos --dry-run
    icvos export codabench ic-vos --out bundle.zip
    icvos export codabench ic-vos --out bundle.zip --docker-image you/icvos-scoring:1
    """
    import json

    from icvos.cli.progress import bar
    from icvos.codabench.bundle import default_image, write_bundle
    from icvos.codabench.plan import planned
    from icvos.files import sha256_file
    from icvos.protocol import protocol_named
    from icvos.render.text import one_line

    if not (out or dry_run):
        raise click.UsageError("say where the bundle goes with --out FILE.zip, or --dry-run")
    benchmark = options.open_benchmark(release, where)
    name = f"{benchmark.manifest.name} {benchmark.manifest.version}: in-context video object segmentation"
    plan = planned(
        benchmark,
        protocol=protocol_named(protocol),
        title=one_line(title or name),
        docker_image=docker_image or default_image(),
        allow_missing=allow_missing,
    )
    said = plan.as_dict() | {"bundle": None if dry_run or out is None else str(out)}
    if not as_json:
        click.echo("\n".join(_lines(plan)))
    if out and not dry_run:
        with bar("writing", len(plan.truth) + plan.masks, "masks") as advance:
            write_bundle(plan, benchmark, out, on_file=advance)
        if out.is_file():
            said |= {"sha256": sha256_file(out), "bytes": out.stat().st_size}
        if not as_json:
            click.echo(f"  {out}")
    if as_json:
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))


def _lines(plan: Plan) -> list[str]:
    from icvos.codabench.plan import SHORTEST_LIMIT
    from icvos.render.text import one_line

    size = sum(share.bytes for share in plan.shares)
    queue = "" if plan.time_limit <= SHORTEST_LIMIT else f"; the shared queue allows {SHORTEST_LIMIT} s, so bring a queue of your own"
    return [
        f"{plan.title}, {plan.protocol.id}, scored in {plan.docker_image}",
        f"  a submission: {plan.masks} masks, {plan.episodes} episodes; about {plan.seconds} s to score on one core{queue}",
        f"  public: pages, board, starting kit with the release's two files and {plan.masks} masks of a floor; no truth",
        f"  private: {len(plan.truth)} masks of the truth, {size / 1e6:.1f} MB",
        *(
            f"    {share.source}: {share.masks} masks, {share.bytes / 1e6:.1f} MB; {one_line(share.licence)}: {share.hosting}"
            for share in plan.shares
        ),
    ]
