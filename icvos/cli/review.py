"""`icvos review`: a person decides about candidate tubes, on a page, or with GIFs and a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import options

if TYPE_CHECKING:
    from curation.candidates import CandidateSet
    from curation.review.view import Review


@click.command("review")
@click.argument("candidates", type=options.FOLDER)
@click.option("--reviewer", metavar="NAME", help="Who decides.  [default: the name you are logged in by]")
@click.option("--decisions", type=options.OUT_FILE, metavar="FILE", help="Where decisions go.  [default: CANDIDATES/decisions.jsonl]")
@click.option("--root", "named", multiple=True, metavar="NAME=DIR", help="Where a source lies, if not where the candidates say.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The page's port.  [default: a free one]")
@click.option("--open", "opened", is_flag=True, help="Open the page in your browser.")
@click.option("--summary", is_flag=True, help="Print what is decided, the agreement, and the conflicts; serve nothing.")
@click.option("--gifs-only", type=options.FOLDER, metavar="DIR", help="Instead of a page: a folder of GIFs and a table to fill in.")
@click.option("--import-csv", type=options.FOLDER, metavar="FILE", help="Turn such a table, filled in, into decisions.")
@options.as_json
def command(
    candidates: Path,
    reviewer: str | None,
    decisions: Path | None,
    named: tuple[str, ...],
    port: int,
    opened: bool,
    summary: bool,
    gifs_only: Path | None,
    import_csv: Path | None,
    as_json: bool,
) -> None:
    """Review CANDIDATES, the folder that `icvos build --candidates` made: a page on this machine alone, one key a decision.

    \b
    icvos review candidates
    icvos review candidates --reviewer ann --open
    icvos review candidates --summary
    icvos review candidates --gifs-only gifs
    icvos review candidates --reviewer ann --import-csv gifs/decisions.csv

    Each decision is on the disk before the next tube is shown; several people, each with a --reviewer, may share the file.
    """
    from curation.candidates import CandidateSet
    from curation.review.decisions import DECISIONS, reviewer_name
    from curation.review.view import Review

    if sum(map(bool, (summary, gifs_only, import_csv))) > 1:
        raise click.UsageError("give one of --summary, --gifs-only and --import-csv")
    opened_set = CandidateSet.open(candidates)
    roots = options.chosen_roots({tube.source for tube in opened_set.tubes}, options.Where(named=named))
    opened_set = CandidateSet.open(candidates, roots) if roots else opened_set
    review = Review(opened_set, decisions or candidates / DECISIONS, reviewer_name(reviewer))
    if gifs_only:
        _export(opened_set, gifs_only, as_json)
    elif import_csv:
        _import(review, import_csv, as_json)
    elif summary:
        _summarise(review, as_json)
    else:
        _serve(review, port, opened, as_json)


def _serve(review: Review, port: int, opened: bool, as_json: bool) -> None:
    import json
    import webbrowser

    from curation.review.server import serve

    def tell(address: str) -> None:
        facts = {"address": address, "reviewer": review.reviewer, "tubes": len(review.candidates.tubes), "decisions": str(review.decisions)}
        words = f"{facts['tubes']} tubes for {review.reviewer}; decisions go to {review.decisions}\n{address}\nCtrl-C ends it"
        click.echo(json.dumps(facts) if as_json else words)
        if opened:
            webbrowser.open(address)

    for finding in review.findings():
        click.echo(f"icvos: {finding}", err=True)
    serve(review, port, tell)


def _export(candidates: CandidateSet, folder: Path, as_json: bool) -> None:
    from curation.review.by_hand import export_gifs
    from icvos.cli.progress import file_bar

    with file_bar("drawing") as on_progress:
        done = export_gifs(candidates, folder, on_progress)
    kept = "kept as it was" if done.table_kept else "to fill in: verdict (accept, reject, unsure), reason, other_class"
    facts = {"gifs": len(candidates.tubes), "drawn": done.drawn, "table": str(done.table), "table_kept": done.table_kept}
    _say(facts, f"{len(candidates.tubes)} GIFs in {folder}, {done.drawn} of them new; {done.table} {kept}", as_json)


def _import(review: Review, table: Path, as_json: bool) -> None:
    from curation.review.by_hand import import_table
    from icvos.errors import UserInputError

    if not table.exists():
        raise UserInputError("no such file", table, fix="check the path")
    done = import_table(review.candidates, review.decisions, table, review.reviewer)
    facts = {"decisions": str(review.decisions), "reviewer": review.reviewer, **done._asdict()}
    words = f"{done.taken} decisions of {review.reviewer} added to {review.decisions}; {done.known} known before, {done.empty} lines empty"
    _say(facts, words, as_json)


def _summarise(review: Review, as_json: bool) -> None:
    from curation.review.view import summary_facts, summary_text

    facts = summary_facts(review)
    _say(facts, summary_text(facts), as_json)


def _say(facts: dict[str, Any], words: str, as_json: bool) -> None:
    import json

    click.echo(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else words)
