"""The one training loop: AdamW or SGD, a cosine or a power, checkpoints; in one process or, by `accelerate launch`, in many.

What is trained is a network whose forward takes a batch and gives scalars: "loss", which is minimised, and others, which are
logged. Only its parameters that require gradients are optimised and kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from icvos.errors import DataError, PluginError, UserInputError, did_you_mean
from icvos.files import atomic_file, make_folder, write_text
from icvos.training.batches import Ahead, on_device
from icvos.training.processes import Team, interrupts_held, joined

MakeBatch: TypeAlias = Callable[[int, Sequence[int]], Any]  # (step, items): the same for the same, whoever makes it
CHECKPOINT, LOG, BOARD = "checkpoint.pt", "log.jsonl", "tensorboard"
OPTIMIZERS, DECAYS = ("adamw", "sgd"), ("cosine", "poly")
MOMENTUM, POWER = 0.9, 0.9  # of SGD, and of the power that a rate decays by
HARMLESS = {"workers", "report_every", "save_every"}  # options that may change between two runs of one training
SAVED_WITHIN = 600.0  # seconds: no checkpoint grows older, however rarely `save_every` asks for one


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train."""

    steps: int
    batch: int  # episodes a step, over all processes and rounds of accumulation
    rate: float  # learning rate
    weight_decay: float = 1e-6
    warm_up: int = 0  # steps
    accumulate: int = 1
    precision: str = "fp32"  # or bf16
    clip: float = 0.0  # largest norm of the gradient; 0: any
    seed: int = 0
    workers: int = 1  # processes that make batches; 0: none, this one does
    report_every: int = 25
    save_every: int = 100  # steps; after ten minutes there is a checkpoint in any case
    cpu: bool = False  # though there be a GPU
    optimizer: str = "adamw"  # or "sgd", with a momentum of 0.9
    decay: str = "cosine"  # or "poly", the power 0.9 of what is left


class Treatment(NamedTuple):
    """How a parameter is trained: its part of the learning rate, and whether weight decay shrinks it."""

    scale: float = 1.0
    decayed: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """How it goes: means since the last report."""

    step: int
    means: Mapping[str, float]
    seconds: float  # a step
    rate: float


def train(
    trainee: nn.Module,
    make_batch: MakeBatch,
    options: TrainOptions,
    out: Path,
    facts: Mapping[str, Any],
    *,
    treat: Callable[[str], Treatment] = lambda name: Treatment(),
    on_report: Callable[[Report], None] | None = None,
    team: Team | None = None,
) -> Path:
    """Train, or go on from the checkpoint in `out`; on one device an interruption changes no bit of what comes out.

    Ctrl-C ends the step in hand and leaves a checkpoint of all before it. What one of several processes meets, all raise.

    Args:
        trainee: what to train; see above.
        make_batch: picklable; called in other processes.
        options: how.
        out: for checkpoint, log and TensorBoard.
        facts: what else a run that goes on must agree in; plain values.
        treat: how each parameter is trained, by its name.
        on_report: called on the main process.
        team: the processes that train; by default those that a launcher has started.

    Returns:
        The checkpoint's path.

    Raises:
        UserInputError: the batch cannot be divided, a checkpoint of other options, packages or memory that are missing.
        PluginError: a loss or a gradient is no number.
    """
    team = team or joined(cpu=options.cpu, precision=options.precision)
    path, said = out / CHECKPOINT, {**asdict(options), **facts}
    trained = {name: value for name, value in trainee.named_parameters() if value.requires_grad}
    with team.agreed():
        items = _items(options, team.size, team.rank)
        if not trained:
            raise UserInputError("nothing to train", "", "no parameter that learns", fix="choose other parts to train, or another stage")
        optimizer = _optimizer(trained, treat, options)
        make_folder(out)
        first = _resumed(path, trained, optimizer, said)
        model = team.accelerator.prepare_model(trainee, evaluation_mode=True)  # placed and cast; gradients are averaged here
        log = _Log(out, first, on_report, _begun(options, team.size, trained)) if team.main else None
    _check_alike(team, path, first)
    team.start_alike(list(trained.values()))
    model.train()
    asked = [(step, part) for step in range(first, options.steps) for part in items]
    keeper = _Keeper(path, trained, optimizer, said, options.save_every, first)
    with (
        Ahead(make_batch, asked, options.workers) as batches,
        interrupts_held(always=team.size > 1) as check_interrupt,
        torch.random.fork_rng(devices=[team.accelerator.device] if team.accelerator.device.type == "cuda" else []),
    ):
        for step in range(first, options.steps):
            try:
                with team.agreed(), _enough_memory(team.accelerator.device, step + 1, path):
                    check_interrupt()
                    for group in optimizer.param_groups:
                        group["lr"] = options.rate * group["scale"] * rate_at(step, options)
                    torch.manual_seed((options.seed * 1_000_003 + step) * 1_009 + team.rank)  # of dropout: known from the step
                    parts = [_round(team, model, next(batches), len(items), step + 1, path) for _ in items]
                    _check_gradients(trained, step + 1, path)
            except KeyboardInterrupt:
                if team.main:
                    keeper.keep(step)
                raise
            team.average_gradients(list(trained.values()))
            names = list(parts[0])
            values = team.averaged([torch.stack([part[name] for part in parts]).mean() for name in names])
            with team.agreed(), _enough_memory(team.accelerator.device, step + 1, path):
                if options.clip:
                    nn.utils.clip_grad_norm_(list(trained.values()), options.clip)
                optimizer.step()
                optimizer.zero_grad()
                if log:
                    means = {name: value.item() for name, value in zip(names, values, strict=True)}
                    last = step + 1 == options.steps
                    log.add(step + 1, means, optimizer.param_groups[0]["lr"], last=last, every=options.report_every)
                    if last or keeper.due(step + 1):
                        keeper.keep(step + 1)
    return path


def rate_at(step: int, options: TrainOptions) -> float:
    """The part of the full learning rate at a step: a straight warm-up, then a cosine or a power to nothing."""
    if step < options.warm_up:
        return (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return (1 - done) ** POWER if options.decay == "poly" else 0.5 * (1 + math.cos(math.pi * done))


def _optimizer(trained: Mapping[str, Tensor], treat: Callable[[str], Treatment], options: TrainOptions) -> torch.optim.Optimizer:
    """Parameters that are treated alike as one group, in the order in which their kinds first appear.

    Raises:
        UserInputError: no such optimiser or decay.
    """
    for what, given, known in (("optimiser", options.optimizer, OPTIMIZERS), ("decay of the rate", options.decay, DECAYS)):
        if given not in known:
            raise UserInputError(f"no such {what}", given, fix=did_you_mean(given, known))
    kinds: dict[Treatment, list[Tensor]] = {}
    for name, value in trained.items():
        kinds.setdefault(treat(name), []).append(value)
    groups = [
        {"params": values, "scale": kind.scale, "weight_decay": options.weight_decay if kind.decayed else 0.0}
        for kind, values in kinds.items()
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, lr=options.rate)


def _items(options: TrainOptions, processes: int, process: int) -> list[range]:
    """Which episodes of a step this process takes, in each round of accumulation.

    Raises:
        UserInputError: they cannot be divided evenly.
    """
    size, rest = divmod(options.batch, processes * options.accumulate)
    if rest or not size:
        found = f"{options.batch} episodes for {processes} processes x {options.accumulate} rounds"
        raise UserInputError("a batch that cannot be divided", "--batch", found, "a multiple", "change --batch or --accumulate")
    first = process * options.accumulate * size
    return [range(first + number * size, first + (number + 1) * size) for number in range(options.accumulate)]


def _round(team: Team, model: nn.Module, batch: Any, rounds: int, step: int, path: Path) -> dict[str, Tensor]:
    """Forward and backward on a part of step number `step`, by this process alone.

    Raises:
        PluginError: the loss is no number.
    """
    found: Mapping[str, Tensor] = model(on_device(batch, team.accelerator.device))
    if not bool(torch.isfinite(found["loss"])):
        raise _not_a_number("the loss", step, found["loss"].item(), path)
    (found["loss"] / rounds).backward()  # type: ignore[no-untyped-call]
    return {name: value.detach() for name, value in found.items()}


@contextmanager
def _enough_memory(device: torch.device, step: int, path: Path) -> Iterator[None]:
    """Inside, too little memory is told as what it is.

    Raises:
        UserInputError: there is too little.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if not isinstance(error, MemoryError) and "out of memory" not in said and "allocate memory" not in said:
            raise
        fix = f"{_kept(path)}; choose a smaller --batch in a new --out, a larger --accumulate, or a smaller model"
        raise UserInputError("out of memory", f"step {step}", f"no room on {device.type}", fix=fix) from error


def _check_gradients(trained: Mapping[str, Tensor], step: int, path: Path) -> None:
    """See that no gradient would spoil the weights.

    Raises:
        PluginError: one is no number.
    """
    gradients = {name: value.grad for name, value in trained.items() if value.grad is not None}
    if not gradients or bool(torch.stack([torch.isfinite(value).all() for value in gradients.values()]).all()):
        return
    name = next(name for name, value in gradients.items() if not bool(torch.isfinite(value).all()))
    raise _not_a_number(f"the gradient of {name}", step, "NaN or infinity", path)


def _check_alike(team: Team, path: Path, first: int) -> None:
    """See that all processes go on from one step.

    Raises:
        UserInputError: they see different checkpoints, or some see none.
    """
    steps = team.told(first)
    if len(set(steps)) > 1:
        found = ", ".join(f"step {step} on rank {rank}" for rank, step in enumerate(steps))
        raise UserInputError("different checkpoints", path, found, "one", "choose an --out on a disk that all machines share")


def _begun(options: TrainOptions, processes: int, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    count = sum(value.numel() for value in trained.values())
    return {"batch": options.batch, "processes": processes, "accumulate": options.accumulate, "trained_parameters": count}


def _not_a_number(what: str, step: int, found: object, path: Path) -> PluginError:
    fix = f"{_kept(path)}; lower --rate or train in fp32, in a new --out"
    return PluginError(f"{what} is no number", f"step {step}", found, "a finite number", fix)


def _kept(path: Path) -> str:
    """What of a training that ends early can be gone on with."""
    try:
        kept = int(torch.load(path, map_location="cpu", weights_only=True)["step"])
    except Exception:  # none, or one that cannot be read: something else is told
        kept = 0
    return f"the checkpoint of step {kept} is kept in {path}" if kept else "there is no checkpoint yet"


class _Keeper:
    """Writes checkpoints, and knows when one is due."""

    def __init__(
        self, path: Path, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, said: Mapping[str, Any], every: int, first: int
    ) -> None:
        self.path, self.trained, self.optimizer, self.said, self.every = path, trained, optimizer, said, every
        self.step, self.kept_at = first, time.monotonic()
        self.asked_at = self.kept_at

    def due(self, step: int) -> bool:
        """Whether steps, or the time until after one more step, call for a checkpoint."""
        now = time.monotonic()
        one_more, self.asked_at = now - self.asked_at, now
        return step % self.every == 0 or now + one_more - self.kept_at >= SAVED_WITHIN

    def keep(self, step: int) -> None:
        """Write the checkpoint of so many steps, unless it is there."""
        if step > self.step:
            _save(self.path, self.trained, self.optimizer, step, self.said)
            self.step, self.kept_at = step, time.monotonic()


def _save(path: Path, trained: Mapping[str, Tensor], optimizer: Any, step: int, said: Mapping[str, Any]) -> None:
    """A checkpoint, whole or not at all; weights that are no numbers are never kept."""
    if not all(bool(torch.isfinite(value).all()) for value in trained.values()):
        raise _not_a_number("a trained weight", step, "NaN or infinity", path)
    content = {
        "trained": {name: value.detach() for name, value in trained.items()},
        "optimizer": optimizer.state_dict(),
        "step": step,
        "said": json.dumps(said, sort_keys=True),
    }
    with atomic_file(path) as stream:
        torch.save(content, stream)


def _resumed(path: Path, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, said: Mapping[str, Any]) -> int:
    """Load the checkpoint if there is one; the step to go on with.

    Raises:
        UserInputError: it is of a training with other options.
        DataError: it cannot be read.
    """
    if not path.is_file():
        return 0
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        then: dict[str, Any] = json.loads(kept["said"])
        step, values = int(kept["step"]), kept["trained"]
    except Exception as error:  # damaged files make torch raise nearly anything
        fix = "delete it and begin again"
        raise DataError("cannot read the checkpoint", path, type(error).__name__, "one of `icvos train`", fix) from error
    now = json.loads(json.dumps(said))
    changed = [name for name in sorted({*then, *now} - HARMLESS) if then.get(name) != now.get(name)]
    if changed:
        differing = [f"{name} {then.get(name)!r} (now {now.get(name)!r})" for name in changed]
        fix = "go on with the same options, or choose another --out"
        raise UserInputError("a training with other options", path, ", ".join(differing), "the options it was begun with", fix)
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(values[name])
    optimizer.load_state_dict(kept["optimizer"])
    return step


class _Log:
    """`log.jsonl` and TensorBoard."""

    def __init__(self, out: Path, first: int, on_report: Callable[[Report], None] | None, begun: Mapping[str, Any]) -> None:
        self.path, self.on_report = out / LOG, on_report
        lines = self.path.read_text().splitlines() if first and self.path.is_file() else []
        kept = [line for line in lines if json.loads(line).get("step", 0) <= first]  # later ones are written again
        write_text(self.path, "".join(f"{line}\n" for line in kept or [json.dumps(begun)]))
        self.board = _board(out / BOARD, first)
        self.entries: list[Mapping[str, float]] = []
        self.started = time.perf_counter()

    def add(self, step: int, means: Mapping[str, float], rate: float, *, last: bool, every: int) -> None:
        """Note a step, and report where it is time to."""
        self.entries.append(means)
        if step % every and not last:
            return
        together = {name: sum(entry[name] for entry in self.entries) / len(self.entries) for name in means}
        report = Report(step, together, (time.perf_counter() - self.started) / len(self.entries), rate)
        line = {"step": step, **{name: round(value, 5) for name, value in together.items()}, "rate": rate}
        with self.path.open("a") as stream:
            stream.write(json.dumps({**line, "seconds_a_step": round(report.seconds, 3)}) + "\n")
        if self.board:
            for name, value in together.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        if self.on_report:
            self.on_report(report)
        self.entries, self.started = [], time.perf_counter()


def _board(folder: Path, first: int) -> Any:
    """TensorBoard's writer, where it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=first + 1)
