"""What `icvos build` prints: what is in and out, why, and what to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curation.sources.coco import Coco
    from curation.tubes import Curated, Explained
    from icvos.benchmark import Benchmark
    from icvos.errors import Finding


def show_what_to_fetch(names: list[str]) -> None:
    """Where to get these sources, and what is expected where."""
    from rich.console import Console
    from rich.table import Table

    from curation.sources.catalogue import entry_of

    console = Console(stderr=True)
    console = console if console.is_terminal else Console(stderr=True, width=160)
    table = Table(title="What to fetch")
    for heading in ("data", "page", "size", "licence", "expected below --data DIR"):
        # An address or a path that is cut off, or broken in two where there is room, helps nobody.
        table.add_column(heading, overflow="fold", no_wrap=heading in {"page", "expected below --data DIR"} and console.width >= 140)
    for entry in dict.fromkeys(entry for name in names if (entry := entry_of(name))):
        layout = "\n".join(f"{entry.folder}/{part}" for part in entry.layout.split(", "))
        table.add_row(entry.title, entry.page, entry.download, entry.licence, layout)
    console.print(table)


def release_summary(benchmark: Benchmark | None) -> dict[str, Any]:
    """What was written, for machines; None everywhere where nothing was."""
    return {
        "release": benchmark.label if benchmark else None,
        "path": str(benchmark.path) if benchmark else None,
        "episodes": len(benchmark.records) if benchmark else None,
    }


def refuse_faults(findings: Sequence[Finding], refused: bool) -> None:
    """Refuse faults of the data, all named, where somebody wants them `refused`; otherwise what has them is left out.

    Raises:
        DataError: there are faults, and they are refused.
    """
    from icvos.errors import DataError

    if findings and refused:
        fix = f"mend the data; first: {findings[0]}"
        raise DataError("faults in the data", findings[0].where, f"{len(findings)} faults", "none", fix, findings)


def tell_supports(findings: Sequence[Finding]) -> None:
    """Say which annotations and images of COCO are left out, one line each."""
    for finding in findings:
        click.echo(f"out  coco  {finding}")


def show(curated: Curated, written: dict[str, Any], as_json: bool, last: str | None = None, pool: Coco | None = None) -> None:
    """What is in and out, and what was `written`; `last` is the last line of it for people."""
    import json

    from curation.rules import FILES

    unusable = pool.findings if pool else []
    if as_json:
        faults = {"faults": [finding.as_dict() for finding in (*curated.faults, *unusable)]}
        click.echo(json.dumps(written | _summary(curated) | faults, indent=1, ensure_ascii=False))
        return
    for tube in curated.tubes:
        objects = ", ".join(map(str, tube.instances))
        click.echo(f"in   {tube.id}  ({len(tube.clip.frames)} frames, objects {objects})")
        for warning in curated.warnings.get(tube.id, ()):
            click.echo(f"     look: {warning.reason}")
    for entry in curated.left_out:
        click.echo(f"out  {entry.clip}{'/' if entry.label else ''}{entry.label}  {entry.rule}: {entry.reason}")
    tell_supports(unusable)
    clips = {tube.clip.key: len(tube.clip.frames) for tube in curated.tubes}
    classes = {tube.category.name for tube in curated.tubes}
    counts = f"{len(curated.tubes)} tubes of {len(classes)} classes in {len(clips)} clips, {sum(clips.values())} frames"
    faulty = sum(entry.rule == FILES for entry in curated.left_out)
    more = f", {faulty} of them whole clips with faulty files" if faulty else ""
    more += f"; faulty annotations and images of COCO left out: {len(unusable)}" if unusable else ""
    click.echo(f"{counts}; {len(curated.left_out)} left out{more}")
    if last is None:
        last = f"{written['release']} in {written['path']}, {written['episodes']} episodes" if written["release"] else "nothing written"
    click.echo(last)


def _summary(curated: Curated) -> dict[str, Any]:
    from dataclasses import asdict

    tubes = []
    for tube in curated.tubes:
        row: dict[str, Any] = {"id": tube.id, "class": tube.category.name, "frames": len(tube.clip.frames), "objects": tube.instances}
        warnings = curated.warnings.get(tube.id, ())
        tubes.append(row | ({"warnings": [warning.model_dump() for warning in warnings]} if warnings else {}))
    return {"tubes": tubes, "left_out": [asdict(entry) for entry in curated.left_out]}


def warn_of_repeats(curated: Curated, pool: Coco, shots: int) -> None:
    """Note the classes with fewer usable supports than five draws have."""
    from curation.freeze import DRAWS

    few = {tube.category.name: len(pool.candidates(tube.category)[0]) for tube in curated.tubes}
    few = {name: count for name, count in sorted(few.items()) if count < DRAWS * shots}
    listed = ", ".join(f"{name} {count}" for name, count in few.items())
    if few and shots == 1:
        click.echo(f"note: fewer than {DRAWS} usable support images, so that draws repeat: {listed}", err=True)
    elif few:
        click.echo(f"note: fewer than {DRAWS * shots} usable support images, so that draws share some or hold fewer: {listed}", err=True)


def show_explained(found: Sequence[Explained], as_json: bool) -> None:
    """Every candidate of a clip with every rule's verdict."""
    import json
    from dataclasses import asdict

    if as_json:
        click.echo(json.dumps([asdict(one) | {"in": not one.refused} for one in found], indent=1, ensure_ascii=False))
        return
    marks = {True: "yes", False: "NO", None: "-"}
    for one in found:
        click.echo(f"{'out' if one.refused else 'in '}  {one.name}  (objects {', '.join(map(str, one.objects))})")
        for verdict in one.verdicts:
            click.echo(f"     {marks[verdict.passed]:<4} {verdict.rule}{': ' if verdict.reason else ''}{verdict.reason}")
