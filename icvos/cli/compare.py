"""`icvos compare`: is one result better than another, and where?"""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import complete, options


@click.command("compare")
@click.argument("paths", type=options.FOLDER, nargs=-1, required=True, metavar="A B [C ...]")
@click.option("--by", help="The score that ranks and orders tubes: J&F, J or F; of images, mIoU or FB-IoU.  [default: J&F, or mIoU]")
@click.option("--protocol", shell_complete=complete.protocols, help="Which protocol to compare, where the results hold several.")
@click.option(
    "--oracle", type=options.THERE, metavar="RESULT", help="Measures propagation.  [default: oracle-first-frame, if among the results]"
)
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@options.as_json
def command(paths: tuple[Path, ...], by: str | None, protocol: str | None, oracle: Path | None, form: str, as_json: bool) -> None:
    """Compare two results, A less B, or rank several and compare neighbours: result files, runs, or folders of them.

    Says how large the difference is and whether clips or chance make it, on which tubes it lies, and how much is lost on the first
    frame and how much by propagation. JSON has every tube. Of results on images: the difference on each fold and in the mean,
    whether pictures or chance make it, and in which episodes it lies.

    \b
    icvos compare runs/dcsam runs/vrp_sam
    icvos compare runs/dcsam runs/vrp_sam --oracle runs/oracle-first-frame
    icvos compare runs --protocol native@1 --format markdown
    icvos compare runs/dcsam/results/native@1.json theirs.json --by F --json
    icvos compare runs/coco20i-1shot@1-fold*/dcsam runs/coco20i-1shot@1-fold*/persam
    """
    from shutil import get_terminal_size

    from icvos.fewshot.comparison import compare_images, image_files

    form, width = "json" if as_json else form, max(100, get_terminal_size((140, 24)).columns)
    if images := image_files(paths, protocol):
        from icvos.render.image_comparison import render_images_compared

        if oracle:
            raise click.UsageError("--oracle measures propagation, and images have none: leave it out")
        text = render_images_compared(compare_images(images, by=by or "mIoU", protocol=protocol), form, width)
    else:
        from icvos.comparison import compare_files
        from icvos.render.comparison import render_comparison

        text = render_comparison(compare_files(paths, by=by or "J&F", protocol=protocol, oracle=oracle), form, width)
    click.echo(text, nl=False)
