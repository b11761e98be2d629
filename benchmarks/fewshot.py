"""Every method that needs no download on images: COCO-20i with one shot, PASCAL-5i with one and five.

    python benchmarks/fewshot.py --coco COCO --pascal VOC2012 --lists hsnet/data/splits [--out work]

Writes benchmarks/fewshot.md. What is done is kept: run again to go on. Episodes are few, for two cores, and methods are forced, for the
embedded networks have seen these classes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from icvos.fewshot.board import load_board
from icvos.fewshot.pairs import Rows, paired_folds
from icvos.fewshot.results import ImageResult, read_counts
from icvos.files import write_text
from icvos.render.images import render_images
from icvos.render.markdown import pipe_table
from icvos.render.text import percent

HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
METHODS = (
    "persam,persam-mask,persam-f-mask,matcher,matcher-mask,hdmnet,amnet,pfenet,vrp_sam,vrp_sam-mask,dcsam,dcsam-mask,naive-sam2,"
    "support-shape,full-frame"
)
COCO, PASCAL = "coco20i-1shot-val2017-partial-e20@1", "pascal5i-{}shot-partial-e40@1"
FOLDS, FEW, MANY = (1, 2, 3), 1, 5  # of PASCAL; the sample has too little of fold 0
HEAD = f"""# Embedded methods on images

Made by `python benchmarks/fewshot.py`: real pictures and the field's ways of measuring, small networks, few episodes. **The order says
nothing about published weights**, and no number here is one of the paper's. Methods other than PerSAM, Matcher, `naive-sam2` and the floors
were trained on these classes (*contaminated*). A mask that a method hands over is its answer; clicks and tokens go to `sam2_nano`.

## COCO-20i, one shot: `{COCO}`

Pictures of val2017 that no method has seen; classes with fewer than two of them are left out (35 of 80 are asked for).
"""
MIDDLE = """## PASCAL-5i, one shot and five, the same pictures

Folds 1 to 3, 40 episodes each, pictures of HSNet's lists that lie here (longest side 320 pixels). The pictures to segment and the first
support are the same in both columns; the gain's interval is paired, over pictures, and p is that of flips of whole pictures, before any
correction for the number of rows.
"""
TAIL = """
The networks were trained with one support. `support-shape` looks at the first alone, `full-frame` at none. Of Matcher's points, those stay
that more than half of the supports confirm (`baselines/matcher_matching.py: agreed`): matched together, as its masks are, five supports
have more cells of the object than the picture has cells, the assignment leaves none out, and points fell behind those of one support.
HDMNet adds up what all places of all supports say: since the sum is scaled to the number of supports in training it gains; unscaled it
lost 4.9 points [-7.4, -1.9] on the same episodes.
"""


def main() -> None:
    """Run, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("coco", "pascal", "lists"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("fewshot-work"), help="the work folder")
    parser.add_argument("--page", type=Path, default=HERE / "fewshot.md", help="what is written")
    given = parser.parse_args()
    words = ("--method", METHODS, "--allow-missing", "--force", "--device", "cpu", "--releases", given.out / "releases")
    coco, pascal = given.out / "coco", given.out / "pascal"
    run("--benchmark", "coco20i", "--episodes", 20, "--split", "val2017", "--coco", given.coco, "--out", coco, *words)
    of_pascal = ("--benchmark", "pascal5i", "--fold", ",".join(map(str, FOLDS)), "--episodes", 40, "--lists", given.lists)
    for shots in (FEW, MANY):
        run(*of_pascal, "--pascal", given.pascal, "--shots", shots, "--out", pascal, *words)
    board = render_images(load_board([coco]), "markdown")
    table = next(part for part in board.split("\n\n") if part.startswith("|"))
    write_text(given.page, "\n".join([HEAD, f"{table}\n", MIDDLE, *shots_table(pascal), TAIL]))
    print(given.page.read_text())


def run(*words: object) -> None:
    """`icvos fewshot`, with one thread."""
    subprocess.run([sys.executable, "-m", "icvos", "fewshot", *map(str, words)], env=os.environ | ONE_THREAD, check=True)


def shots_table(runs: Path) -> Iterator[str]:
    """A row a method: what it scores with one support and with five, and the gain."""
    cells = []
    for row in load_board([runs], PASCAL.format(FEW)).rows:
        few, many = (counts_of(runs, PASCAL.format(shots), row.label) for shots in (FEW, MANY))
        pair = paired_folds(many, few)
        gain = pair.differences["mIoU"]
        low, high = gain.interval or (None, None)
        by_fold = " ".join(f"{100 * pair.folds[fold]['mIoU'].value:+.1f}" for fold in FOLDS)
        said = f"{100 * gain.value:+.1f} [{percent(low)}, {percent(high)}]"
        cells.append([row.label, percent(gain.second), percent(gain.first), said, f"{gain.p:.3f}", by_fold])
    yield pipe_table([["", "mIoU, one shot", "five shots", "gain", "p", "gain by fold"], *cells], "lrrrrr")


def counts_of(runs: Path, protocol: str, label: str) -> Rows:
    """What was counted of a method, by fold and seed."""
    found = ((path, ImageResult.load(path)) for path in sorted(runs.glob(f"*/{label}/results/{protocol}.json")))
    return {(result.fold, result.seed): read_counts(path) for path, result in found}


if __name__ == "__main__":
    main()
