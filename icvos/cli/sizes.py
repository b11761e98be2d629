"""`icvos sizes`: trained parameters and arithmetic of methods that can be trained."""

from __future__ import annotations

from typing import Any

import click

from icvos.cli import options
from icvos.cli.train import HEADS, METHODS, head_maker, maker, presets_told


@click.command("sizes")
@click.option("--method", required=True, metavar="NAME", help="dcsam, vrp_sam, pfenet, hdmnet or amnet.")
@click.option("--backbone", default="efficientnet_lite0", show_default=True, metavar="NAME", help="The frozen backbone.")
@click.option("--sam", default="sam2_nano", show_default=True, metavar="NAME", help="The SAM or SAM 2 that is prompted.")
@click.option(
    "--train", "trained", default="generator", show_default=True, help="generator, decoder, memory, lora (dcsam's), with commas between."
)
@click.option("--preset", "chosen", cls=options.Told, default="default", show_default=True, metavar="NAME", tell=presets_told)
@click.option("--set", "changes", multiple=True, metavar="OPTION=VALUE", help="One option of the method; may be given again.")
@options.as_json
def command(**given: Any) -> None:
    """Count what METHOD trains, and the GFLOP of one episode of one support. No weights are needed or fetched.

    \b
    icvos sizes --method dcsam --sam sam2.1_hiera_l --backbone resnet50_v2
    icvos sizes --method dcsam --train decoder,memory
    icvos sizes --method pfenet --preset small --json
    """
    from dataclasses import asdict

    from icvos.errors import UserInputError, did_you_mean, missing_package
    from icvos.files import to_json

    if given["method"] not in METHODS:
        raise UserInputError("no method that can be trained", given["method"], fix=did_you_mean(given["method"], METHODS))
    try:
        from baselines.common.sizes import generator_sizes, head_sizes
    except ModuleNotFoundError as error:
        raise missing_package("counting", error, "models") from error
    trained = tuple(part.strip() for part in given["trained"].split(","))
    if given["method"] in HEADS:
        found = head_sizes(head_maker(given), given["method"])
    else:
        found = generator_sizes(maker({**given, "plain_tubes": False}), given["sam"], given["backbone"], trained)
    if given["as_json"]:
        click.echo(to_json({"format": "icvos-sizes/1", **asdict(found)}), nl=False)
        return
    along = f", and {found.sam_parameters / 1e6:.2f} M of {found.sam}" if found.sam_parameters else ""
    click.echo(f"{found.method}: {found.parameters / 1e6:.3f} M trained parameters{along}")
    click.echo(
        f"GFLOP of an episode, multiplications and additions: backbone {found.backbone_gflop:.1f}, SAM's encoder {found.sam_gflop:.1f}, "
        f"prompting {found.prompting_gflop:.1f}"
    )
