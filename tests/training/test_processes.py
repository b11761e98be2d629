"""Two real processes (torchrun, gloo): what one of them meets, both end with, in one sentence; and two train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("accelerate", reason="accelerate is not installed")

import torch
from test_loop import OPTIONS, Circle, batch_of

from icvos.training.loop import train

SCRIPT = """
import json, os, signal, sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from pathlib import Path
import torch
from icvos.cli import _report
from icvos.cli import train as command
from icvos.errors import DataError, IcvosError
from icvos.training.loop import train
from icvos.training.processes import joined
from test_loop import OPTIONS, Circle, batch_of

RANK, OUT = int(os.environ["RANK"]), Path(sys.argv[1])

class Met(Circle):
    def forward(self, batch):
        found = super().forward(batch)
        if RANK == 1 and self.seen == 5:
            if HOW == "memory":
                torch.empty(1 << 60)
            if HOW == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            if HOW == "gradient":
                found["loss"] = found["loss"] + (torch.zeros(1) * self.layers[0].weight.sum()).sqrt().sum()
            if HOW == "loss":
                found["loss"] = found["loss"] * float("nan")
        return found

def batches(step, items):
    if HOW == "picture" and RANK == 1 and step == 4:
        raise DataError("cannot read the picture", "a.jpg", fix="fetch the file again")
    return batch_of(step, items)

def work(team):
    if HOW == "before" and RANK == 1:
        raise DataError("no such folder", "VOC", fix="check --data")
    if HOW == "disk" and RANK == 0:
        save, count = torch.save, [0]
        def full(content, stream):
            count[0] += 1
            if count[0] == 2:
                raise OSError(28, "No space left on device")
            save(content, stream)
        torch.save = full
    trainee = Met()
    trainee.layers[2].p = 0.0
    train(trainee, batches, replace(OPTIONS, steps=9), OUT / HOW, {{}}, team=team)

for HOW in ("nothing", "gradient", "picture", "memory", "before", "interrupt", "disk"):  # all go on together
    team, kept = joined(cpu=True), torch.save
    try:
        with team.agreed():
            work(team)
        said = [0, ""]
    except (IcvosError, KeyboardInterrupt) as error:
        said = [getattr(error, "exit_code", 130), str(error)]
    torch.save = kept
    (OUT / f"{{HOW}}-{{RANK}}.json").write_text(json.dumps(said))
HOW, team = "loss", joined(cpu=True)
try:
    with command._one_voice(team):
        work(team)
except IcvosError as error:
    sys.exit(_report(error, False))
except command.click.exceptions.Exit as left:
    sys.exit(left.exit_code)
"""
EXPECTED = {
    "nothing": (0, "", 9),
    "gradient": (5, "the gradient of layers.0.weight is no number: step 5, rank 1: found NaN or infinity", 3),
    "picture": (3, "cannot read the picture: a.jpg, rank 1; fetch the file again", 3),
    "memory": (2, "out of memory: step 5, rank 1: found no room on cpu; the checkpoint of step 3 is kept", 3),
    "before": (3, "no such folder: VOC, rank 1; check --data", 0),
    "interrupt": (130, "", 5),
    "disk": (2, "cannot write", 3),
}


def launched(words: list[str], timeout: int = 120) -> list[tuple[int, str]]:
    """Two processes with what a launcher tells them: exit code and stderr of each."""
    import socket

    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        number = port.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(number), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(words, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        return [(process.wait(timeout), process.stderr.read() if process.stderr else "") for process in both]
    finally:
        for process in both:
            process.kill()
            if process.stderr:
                process.stderr.close()


def test_all_end_with_what_one_of_them_meets_and_two_train_as_one_does(tmp_path: Path) -> None:
    script, out = tmp_path / "two.py", tmp_path / "out"
    out.mkdir()
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    said = launched([sys.executable, str(script), str(out)])
    assert [code for code, _ in said] == [5, 5], said
    (sentence,) = said[0][1].splitlines()
    assert sentence.startswith(
        "icvos: the loss is no number: step 5, rank 1: found nan, expected a finite number; the checkpoint of step 3"
    )
    assert not said[1][1], said  # it is said once
    for how, (code, expected, step) in EXPECTED.items():
        answers = [json.loads((out / f"{how}-{rank}.json").read_text()) for rank in range(2)]
        assert answers[0] == answers[1] and answers[0][0] == code and expected in answers[0][1], (how, answers)
        kept = out / how / "checkpoint.pt"
        assert (torch.load(kept, weights_only=True)["step"] if kept.is_file() else 0) == step, how
    one = Circle()
    one.layers[2].p = 0.0
    train(one, batch_of, replace(OPTIONS, steps=9), tmp_path / "one", {})
    for name, value in torch.load(out / "nothing/checkpoint.pt", weights_only=True)["trained"].items():
        torch.testing.assert_close(value, one.state_dict()[name], rtol=1e-5, atol=1e-7)
