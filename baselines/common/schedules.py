"""How long and how fast papers train, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: `epochs` of as many episodes as there are pictures, or `steps`."""

    rate: float
    batch: int = 8
    epochs: int = 0
    steps: int = 0
    weight_decay: float = 1e-5
    optimizer: str = "adamw"
    decay: str = "cosine"
    augment: str = "none"  # see `baselines.common.augmentation`

    def steps_for(self, pictures: int) -> int:
        """How many steps that is."""
        return self.steps or max(1, self.epochs * pictures // self.batch)


SCHEDULES = {  # DC-SAM, Section 5
    "coco-20i": Schedule(1e-4, epochs=50),
    "pascal-5i": Schedule(2e-4, epochs=100),
    "ic-vos": Schedule(1e-4, steps=40_000),
    "ic-vos-tube": Schedule(1e-5, steps=10_000),
    # Of the released code of the three heads; PFENet's rates are ten times what its files say, as its optimiser has them
    "pfenet-coco": Schedule(0.2, 32, epochs=50, weight_decay=1e-4, optimizer="sgd", decay="poly", augment="pfenet-coco"),
    "pfenet-pascal": Schedule(0.025, 4, epochs=200, weight_decay=1e-4, optimizer="sgd", decay="poly", augment="pfenet-pascal"),
    "hdmnet-coco": Schedule(1e-4, 24, epochs=50, weight_decay=0.01, decay="poly", augment="hdmnet-coco"),
    "hdmnet-pascal": Schedule(1e-4, 16, epochs=200, weight_decay=0.01, decay="poly", augment="hdmnet-pascal"),
    "amnet-coco": Schedule(5e-5, 16, epochs=75, weight_decay=0.01, decay="poly", augment="hdmnet-coco"),
}
