"""The training loop: it learns, goes on bit for bit, and stops in time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icvos.errors import DataError, PluginError, UserInputError
from icvos.training.loop import TrainOptions, rate_at, train

pytest.importorskip("accelerate", reason="accelerate is not installed")

OPTIONS = TrainOptions(steps=6, batch=4, rate=1e-2, workers=0, report_every=2, save_every=3, cpu=True)


def batch_of(step: int, items: Sequence[int]) -> dict[str, np.ndarray]:
    """Points in a square, and whether they lie in a circle."""
    points = np.stack([np.random.default_rng((step, item)).uniform(-1, 1, (16, 2)) for item in items]).astype(np.float32)
    return {"points": points, "inside": (np.square(points).sum(-1) < 0.6).astype(np.float32)}


class Circle(nn.Module):
    """A small network with dropout, whose draws must be the same after a restart; `broken_at` makes a loss no number."""

    def __init__(self, broken_at: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
            self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.broken_at, self.seen = broken_at, 0

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits = self.layers(batch["points"])[..., 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["inside"])
        self.seen += 1
        if self.broken_at == self.seen:
            loss = loss * math.nan
        return {"loss": loss, "right": ((logits > 0) == (batch["inside"] > 0)).float().mean()}


def weights(trainee: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainee.state_dict().items()}


def steps_of(out: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds_a_step"} for line in lines]


def test_it_learns_and_says_how(tmp_path: Path) -> None:
    reports = []
    train(Circle(), batch_of, replace(OPTIONS, steps=150), tmp_path, {"data": "circle"}, on_report=reports.append)
    first, *lines = steps_of(tmp_path)
    assert first == {"batch": 4, "processes": 1, "accumulate": 1, "trained_parameters": 129}
    assert [line["step"] for line in lines] == list(range(2, 151, 2)) == [report.step for report in reports]
    assert np.mean([line["loss"] for line in lines[-10:]]) < 0.7 * np.mean([line["loss"] for line in lines[:10]])
    assert np.mean([line["right"] for line in lines[-10:]]) > 0.8
    assert lines[-1]["rate"] < 1e-4 < lines[0]["rate"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_that_stopped_goes_on_bit_for_bit(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icvos.training.batches.FEW", 0)
    options = replace(OPTIONS, workers=workers)
    whole, stopped, resumed = Circle(), Circle(broken_at=5), Circle()
    train(whole, batch_of, OPTIONS, tmp_path / "whole", {})
    with pytest.raises(PluginError, match=r"the loss is no number: step 5: found nan.*checkpoint of step 3 is kept"):
        train(stopped, batch_of, options, tmp_path / "parts", {})
    train(resumed, batch_of, options, tmp_path / "parts", {})
    assert resumed.seen == 3
    for name, value in weights(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert steps_of(tmp_path / "whole")[-1] == steps_of(tmp_path / "parts")[-1]  # the report before it spans the restart
    done = (tmp_path / "parts/checkpoint.pt").read_bytes()
    train(Circle(), batch_of, options, tmp_path / "parts", {})
    assert (tmp_path / "parts/checkpoint.pt").read_bytes() == done  # nothing was left to do


def test_weights_that_are_no_numbers_are_never_kept(tmp_path: Path) -> None:
    class Poisoned(Circle):
        """Its loss is a number where its gradient is none."""

        def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            found = super().forward(batch)
            nothing = torch.zeros(1) * self.layers[0].weight.sum()
            return {**found, "loss": found["loss"] + (nothing.sqrt().sum() if self.seen == 5 else 0)}

    expected = r"the gradient of layers\.0\.weight is no number: step 5: found NaN or infinity.*checkpoint of step 3 is kept"
    with pytest.raises(PluginError, match=expected):
        train(Poisoned(), batch_of, OPTIONS, tmp_path, {})
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_a_batch_in_parts_is_the_same_batch(tmp_path: Path) -> None:
    whole, parts = Circle(), Circle()
    for trainee in (whole, parts):
        trainee.layers[2].p = 0.0
    train(whole, batch_of, OPTIONS, tmp_path / "whole", {})
    train(parts, batch_of, replace(OPTIONS, accumulate=2), tmp_path / "parts", {})
    for name, value in weights(whole).items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    with pytest.raises(UserInputError, match="4 episodes for 1 processes x 3 rounds"):
        train(Circle(), batch_of, replace(OPTIONS, accumulate=3), tmp_path / "no", {})


def test_other_options_are_refused_and_listed(tmp_path: Path) -> None:
    train(Circle(), batch_of, OPTIONS, tmp_path, {"data": "circle", "shots": 1})
    with pytest.raises(UserInputError, match=r"rate 0\.01 \(now 0\.5\), shots 1 \(now 2\)"):
        train(Circle(), batch_of, replace(OPTIONS, rate=0.5, workers=3, save_every=1), tmp_path, {"data": "circle", "shots": 2})
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        train(Circle(), batch_of, OPTIONS, tmp_path, {"data": "circle", "shots": 1})


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, count = torch.save, [0]

    def full(content: object, stream: object) -> None:
        count[0] += 1
        if count[0] == 2:
            raise OSError("No space left on device")
        save(content, stream)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserInputError, match="No space"):
        train(Circle(), batch_of, OPTIONS, tmp_path, {})
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["checkpoint.pt", "log.jsonl"]


def test_rates() -> None:
    options = replace(OPTIONS, steps=110, warm_up=10)
    assert rate_at(0, options) == pytest.approx(0.1)
    assert rate_at(10, options) == 1
    assert rate_at(60, options) == pytest.approx(0.5)
    assert rate_at(109, options) < 1e-3


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """Each process takes half of every step's episodes."""
    script = tmp_path / "two.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from dataclasses import replace\nfrom pathlib import Path\nfrom test_loop import OPTIONS, Circle, batch_of\n"
        "from icvos.training.loop import train\n"
        "trainee = Circle()\ntrainee.layers[2].p = 0.0\n"
        f"train(trainee, batch_of, OPTIONS, Path({str(tmp_path / 'two')!r}), {{}})\n"
    )
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]  # what `accelerate launch` runs
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    one = Circle()
    one.layers[2].p = 0.0
    train(one, batch_of, OPTIONS, tmp_path / "one", {})
    kept = torch.load(tmp_path / "two/checkpoint.pt", weights_only=True)
    for name, value in kept["trained"].items():
        torch.testing.assert_close(value, one.state_dict()[name.removeprefix("module.")], rtol=1e-4, atol=1e-6)
    assert steps_of(tmp_path / "two")[0]["processes"] == 2


def test_workers_end_when_the_process_that_trains_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(
        "import os, time\n"
        "from icvos.training.batches import Ahead\n"
        "def pid(step, items): return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    with Ahead(pid, [(step, [0]) for step in range(20)], 1) as batches:\n"
        "        print(next(batches), flush=True)\n"
        "        time.sleep(600)\n"
    )
    training = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert training.stdout
    assert int(training.stdout.readline()) != training.pid
    training.kill()
    training.communicate(timeout=60)  # to the end of what is printed, which comes when nobody holds it open any more
