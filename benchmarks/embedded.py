"""Every method that needs no download, on the same real clips: what it scores, how long it takes, and how much memory.

    python benchmarks/embedded.py --davis DAVIS --coco COCO [--out work]

Builds a release of the DAVIS clips with supports of COCO val2017, five draws a tube; runs every method in a process of its own, with one
thread, so that times and peaks are its own; scores all, compares neighbours, and writes benchmarks/embedded.md. What is done is
kept: run again to go on. A picture, episodes x methods, is left in the work folder, for it shows photographs that are not ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from icvos.board import Leaderboard, Row
from icvos.comparison import Comparison, compare
from icvos.files import write_text
from icvos.results import Result

HERE = Path(__file__).parent
HELD_OUT = HERE / "held_out.json"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PROTOCOL = "native@1"


def main() -> None:
    """Build, run, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("embedded"), help="the work folder")
    parser.add_argument("--methods", default="all-embedded,dcsam-first-frame", help="as `icvos run --method` takes them")
    parser.add_argument("--page", type=Path, default=HERE / "embedded.md", help="what is written")
    given = parser.parse_args()
    release, runs = given.out / "release", given.out / "runs"
    if not release.exists():
        icvos("build", "--sources", "davis", "--davis", given.davis, "--coco", given.coco, "--out", release)
    plans = icvos("run", "--method", given.methods, "--benchmark", release, "--out", runs, "--dry-run", "--json")
    names = [Path(plan["run"]).name for plan in json.loads(plans)]
    for name in names:
        print(name, flush=True)
        icvos("run", "--method", name, "--benchmark", release, "--out", runs)
        icvos("score", runs / name, "--protocol", PROTOCOL, "--rerun")
    board = Leaderboard.load(runs / name / "results" / f"{PROTOCOL}.json" for name in names)
    text = "\n".join(page(board, compare(row.result for row in board.rank())))
    write_text(given.page, text)
    print(text)
    picture(release, runs, given.out / "grid.jpg", [row.result.method["name"] for row in board.rank() if row.kind != "floor"])


def icvos(*words: object) -> str:
    """What the command says; one thread, so that what else the machine does matters little."""
    command = [sys.executable, "-m", "icvos", *map(str, words)]
    return subprocess.run(command, env=os.environ | ONE_THREAD, check=True, stdout=subprocess.PIPE, text=True).stdout


def page(board: Leaderboard, comparison: Comparison) -> Iterator[str]:
    """The page, line by line."""
    rows = board.rank()
    first = rows[0]
    yield "# Embedded methods on real clips"
    yield ""
    yield (
        f"Made by `python benchmarks/embedded.py --davis DAVIS --coco COCO`. {first.clips} DAVIS clips, {first.tubes} tubes, "
        f"{first.episodes} episodes (supports of COCO val2017, the same for all), `{board.protocol}`, release digest "
        f"`{board.benchmark['digest'][:12]}`. Scores in percent; in brackets 95 % intervals over clips. Seconds an episode and peak "
        "memory: a process of its own, one thread, frames decoded and masks written included; the draws of a clip share a pass, which is "
        "divided among them. The networks are small and trained on little: the order here says nothing about published weights."
    )
    yield ""
    yield from held_out({row.label: row.score("J&F") for row in rows}, first.clips)
    yield ""
    yield from scores(rows)
    yield ""
    yield from neighbours(comparison)
    yield ""
    yield from clips(rows)


def held_out(scores: Mapping[str, float | None], clips: int) -> Iterator[str]:
    """What was chosen by looking at these clips, and what clips gave that nobody had looked at; `scores` are J&F in [0, 1]."""
    elsewhere = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    yield "## How far to trust these numbers"
    yield ""
    yield (
        f"**The {clips} clips below were looked at while settings were chosen** (which training of sam2_nano to keep, DC-SAM's tube stage, "
        "the window through which supports are seen, Matcher's level and window), so that their numbers are optimistic. On "
        f"{elsewhere['clips']} that nobody had looked at ({elsewhere['by']}):"
    )
    yield ""
    yield "| | held-out clips | the clips below |"
    yield "|---|---:|---:|"
    for name, value in sorted(elsewhere["J&F"].items(), key=lambda pair: -pair[1]):
        yield f"| {name} | {value:.1f} | {percent(scores.get(name))} |"
    yield ""
    yield (
        "So sam2_nano itself loses objects elsewhere, the memory that DC-SAM trained follows worse than the one it began with, and the "
        "order of the methods is another. Cards name the clips (`validation_clips`), and boards mark runs on them as optimistic."
    )
    yield ""
    yield "## On the clips that settings were chosen on"


def scores(rows: Sequence[Row]) -> Iterator[str]:
    """One line a method: its scores, then what it costs."""
    yield "| | J&F | J | F | J on frame 0 | spread over draws | s an episode | peak MiB |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        cells = [f"{percent(row.score(name))}{bracketed(row.interval(name))}" for name in ("J&F", "J", "F")]
        cells += [percent(row.score("J_first")), percent(row.result.support_spread)]
        if row.timing is not None:
            cells += [f"{row.timing.seconds / row.episodes:.2f}", f"{row.timing.peak_rss_bytes / 2**20:.0f}"]
        kind = "" if row.kind == "method" else f" ({row.kind})"
        yield f"| {row.label}{kind} | {' | '.join(cells)} |"


def neighbours(comparison: Comparison) -> Iterator[str]:
    """Each method against the one below it."""
    yield (
        f"Neighbours, tested by flipping the sign of whole clips ({comparison.clips} clips: p cannot fall below "
        f"{comparison.smallest_p:.4f}); corrected after Holm for {len(comparison.pairs)} pairs:"
    )
    yield ""
    yield "| | difference in J&F | p | corrected | tubes won, tied, lost |"
    yield "|---|---:|---:|---:|---:|"
    for pair in comparison.pairs:
        found = pair.differences["J&F"]
        counts = f"{pair.wins}, {pair.ties}, {pair.losses}"
        yield (
            f"| {pair.first} over {pair.second} | {percent(found.value)}{bracketed(found.interval)} | {found.p:.3f} "
            f"| {found.corrected:.3f} | {counts} |"
        )


def clips(rows: Sequence[Row]) -> Iterator[str]:
    """J&F of every tube."""
    tubes = [tube.id for tube in rows[0].result.tubes]
    yield "J&F by tube:"
    yield ""
    yield f"| | {' | '.join(tube.partition('/')[2] for tube in tubes)} |"
    yield f"|---|{'---:|' * len(tubes)}"
    for row in rows:
        by_tube = of_tubes(row.result)
        yield f"| {row.label} | {' | '.join(percent(by_tube[tube]) for tube in tubes)} |"


def of_tubes(result: Result) -> dict[str, float]:
    """Tube -> J&F, the mean over its draws."""
    return {tube.id: tube.mean.JF for tube in result.tubes}


def percent(value: float | None) -> str:
    """One decimal: five clips carry no more."""
    return "–" if value is None else f"{100 * value + 0.0:.1f}"


def bracketed(interval: tuple[float, float] | None) -> str:
    """An interval behind its number."""
    return "" if interval is None else f" [{percent(interval[0])}, {percent(interval[1])}]"


def picture(release: Path, runs: Path, out: Path, names: Sequence[str]) -> None:
    """Episodes x methods, to look at."""
    command = [sys.executable, str(HERE.parent / "docs" / "picture.py"), str(release), str(runs), str(out), "--methods", *names]
    subprocess.run([*command, "--clips", *sorted(path.name for path in (runs / names[0] / "predictions/davis").iterdir())], check=True)


if __name__ == "__main__":
    main()
