"""What runs on a Codabench worker: a submission against the truth, scores for the board, a page for whoever handed it in.

INPUT/ref   the reference data of the bundle: the release and the masks that count
INPUT/res   the submission, unpacked
OUTPUT      scores.json, detailed_results.html, and the whole result; no scores.json where the submission has faults, so
            that it never gets onto the board
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from icvos.aggregate import method_card, score
from icvos.benchmark import Benchmark
from icvos.errors import DataError, IcvosError, SubmissionError
from icvos.files import AnyPath, to_json, write_text
from icvos.names import is_junk
from icvos.protocol import protocol_named
from icvos.render import text
from icvos.render.page import page_environment
from icvos.scoring import Leniency
from icvos.store import PredictionStore

if TYPE_CHECKING:
    from icvos.results import Result

TRUTH = "truth"
SCORES = "scores.json"
PAGE = "detailed_results.html"
TEMPLATES = Path(__file__).parent / "templates"
LEFT_BEHIND = "metadata"  # by Codabench itself, among the files of the submission
MOST_FAULTS = 1000  # shown; a page of a hundred thousand opens nowhere
WORST = 20


def score_submission(words: Sequence[str]) -> int:
    """Score the submission that the words of the command line name; gives the exit code: 0, or that of the party at fault."""
    given = _parser().parse_args(words)
    try:
        result = _score(given.input, protocol=given.protocol, allow_missing=given.allow_missing)
    except IcvosError as error:
        _report(error, given.output)
        return error.exit_code
    result.save(given.output / f"{result.protocol}.json")
    write_text(given.output / PAGE, _page(result=result, tubes=sorted(result.tubes, key=lambda tube: tube.mean.JF)[:WORST]))
    write_text(given.output / SCORES, to_json(board_scores(result)))  # last: with it the submission counts
    return 0


def board_scores(result: Result) -> dict[str, float]:
    """What goes onto the board: the key of a column -> its value, in [0, 1]."""
    overall = result.overall
    return {"jf": overall.JF, "j": overall.J, "f": overall.F, "j_first": overall.J_first, "coverage": result.coverage.part}


def open_reference(folder: AnyPath) -> Benchmark:
    """The release in the reference data at `folder`, its truth beside it.

    Raises:
        DataError: it is not what a bundle holds.
    """
    folder = Path(folder)
    try:
        truth = {root.name: root for root in sorted((folder / TRUTH).iterdir()) if not is_junk(root.name)}
    except OSError as error:
        raise DataError("no truth in the reference data", folder, fix="export the bundle again") from error
    return Benchmark.open(folder, truth)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="score.py")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--allow-missing", action="store_true")
    return parser


def _score(folder: Path, *, protocol: str, allow_missing: bool) -> Result:
    benchmark = open_reference(folder / "ref")
    with suppress(OSError):
        (folder / "res" / LEFT_BEHIND).unlink()
    store = PredictionStore(folder / "res", None)  # whatever a run.json in it claims
    card = method_card("submission")
    return score(store, benchmark, protocol=protocol_named(protocol), leniency=Leniency(allow_missing), card=card)[0]


def _report(error: IcvosError, output: Path) -> None:
    """Say what is wrong where the participant sees it: the page, and stderr."""
    shown, more = error.findings[:MOST_FAULTS], max(0, len(error.findings) - MOST_FAULTS)
    # The error's own sentence repeats the first fault and speaks of options that nobody has here.
    head = f"{error.what}: {len(error.findings)}" if shown else text.one_line(error)
    write_text(output / PAGE, _page(refused=head, findings=shown, more=more, theirs=isinstance(error, SubmissionError)))
    lines = [*(f"  {text.one_line(finding)}" for finding in shown), *([f"  and {more} more"] if more else [])]
    sys.stderr.write("\n".join([*lines, f"icvos: {head}"]) + "\n")


def _page(**known: object) -> str:
    environment = page_environment(TEMPLATES)
    environment.filters |= {"percent": text.percent, "line": text.one_line}
    return environment.get_template("detailed_results.html.j2").render(**{"refused": "", **known}, text=text)
