"""What jobs cost before they start: rough, and with how it is reckoned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icvos.reproduce.jobs import Job
from icvos.reproduce.needs import Need

TFLOPS = 60.0  # what one GPU sustains: a fifth of what an A100 can do in bf16
MASKS_PER_SECOND = 25.0  # one object, SAM 2.1 Hiera-L
BYTES_PER_MASK = 1500  # as icvos stores it, at 480p
RECKONED = (
    f"Training: arithmetic of a step at {TFLOPS:.0f} TFLOP/s, frozen features computed anew at each step; prediction: "
    f"{MASKS_PER_SECOND:.0f} masks/s; disk: data sets and weights that are not there yet, {BYTES_PER_MASK} bytes a mask. "
    "Good to a factor of three."
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to be done."""

    gpu_hours: float
    minutes: float  # of two cores, at sample scale
    bytes: int


def estimate(jobs: Iterable[Job], needs: Iterable[Need]) -> Estimate:
    """The cost of these jobs, and of what is not there yet of their needs."""
    costs = [job.cost for job in jobs]
    seconds = sum(cost.steps * cost.tflop / TFLOPS + cost.masks / MASKS_PER_SECOND for cost in costs)
    fetched = sum(need.bytes for need in needs if not need.present)
    stored = BYTES_PER_MASK * sum(cost.masks for cost in costs)
    return Estimate(seconds / 3600, sum(cost.minutes for cost in costs), fetched + stored)
