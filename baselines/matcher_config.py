"""What a Matcher is made of: one record of options, with the settings of the paper's benchmarks and the release's habits by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from baselines.common.windows import SupportView
from icvos.errors import UserInputError, did_you_mean

Preset: TypeAlias = Literal["default", "release"]
Settings: TypeAlias = Literal["coco", "fss", "part"]


@dataclass(frozen=True, slots=True)
class MatcherConfig:
    """All options; the defaults are the preset `default` with the settings of COCO-20i (see `preset`)."""

    # What looks at the pictures
    backbone: str = "dinov2_l14"  # of icvos.models.backbones.BACKBONES
    level: int = 4  # of the backbone; its map is the grid on which patches are matched
    image_size: int = 518  # pixels that the backbone sees, height and width; points and boxes are in them
    support_view: SupportView = "picture"  # see support_window
    mask_sam: str = ""  # who draws candidate masks: a SAM 1 of icvos.models.sam; empty: the SAM 2 that propagates

    several: Literal["together", "agreed"] = "together"  # how more than one support is matched; agreed: each alone, and more than half

    # Prompts
    prompt_by: Literal["points", "centres"] = "points"  # the matched points, or centres of their clusters
    centres: int = 8
    fewest: int = 1  # points in a prompt
    most: int = 6
    subsets: int = 64  # prompts of each size, where there are more than 8 points to choose from
    box: bool = False  # the points' box goes along with every prompt

    # Candidate masks; each threshold is of a value in [0, 1]
    dense: int = 64  # a grid of so many points a side, each a prompt by itself; 0 for none
    dense_iou: float = 0.88  # that SAM claims: kept above
    dense_stability: float = 0.95  # kept from this on
    prompted_masks: Literal["three", "single"] = "three"  # of SAM's outputs for a prompt
    prompted_iou: float = 0.85
    prompted_stability: float = 0.90
    mask_size: int = 0  # pixels of candidates while they are judged, height and width; 0: image_size
    box_overlap: float = 0.65  # IoU of boxes above which the less certain mask goes; 1 keeps all

    # Which of them are the object
    emd_weight: float = 1.0
    purity_weight: float = 0.0
    coverage_power: float = 0.0
    least_coverage: float = 0.0  # 0 asks for nothing, here and below
    least_emd: float = 0.0
    least_purity: float = 0.02
    merging: Literal["near best", "top"] = "near best"
    merged: int = 9  # masks at most
    merged_of_several: int = 5  # with more than one support
    furthest: float = 0.33  # near best: 1 - score stays below
    gap: float = 0.1  # near best: what it lies behind the best, as a part of the worst, stays below
    share: float = 0.7  # top: of the best score, that another must exceed

    # Habits of the release
    point_order: Literal["ascending", "set"] = "ascending"  # release: as CPython iterates over a set of them
    no_match: Literal["box", "all"] = "box"  # where no match is confirmed; release: all are taken for confirmed
    lost_support: Literal["kept", "centre"] = "kept"  # where resizing loses the object; release: a patch in the middle is meant
    empty_mask: Literal["nothing", "everything"] = "nothing"  # what a candidate without a pixel covers; release: every patch
    shown_to_sam: Literal["frame", "resized"] = "frame"  # release: the picture that was resized for the backbone, darker by a rounding

    @property
    def judged_size(self) -> int:
        """Height and width of candidate masks in pixels."""
        return self.mask_size or self.image_size


FSS: dict[str, Any] = {
    "prompt_by": "centres",
    "fewest": 4,
    "subsets": 30,
    "dense": 0,
    "prompted_masks": "single",
    "prompted_iou": 0.0,
    "prompted_stability": 0.0,
    "box_overlap": 1.0,
    "emd_weight": 0.8,
    "purity_weight": 0.2,
    "coverage_power": 1.0,
    "least_purity": 0.0,
    "merging": "top",
    "merged": 10,
}
PART: dict[str, Any] = {
    **FSS,
    "prompt_by": "points",
    "fewest": 3,
    "subsets": 128,
    "box": True,
    "emd_weight": 0.5,
    "purity_weight": 0.5,
    "coverage_power": 0.0,
    "least_coverage": 0.3,
    "merged": 5,
}
SETTINGS: dict[str, dict[str, Any]] = {"coco": {}, "fss": FSS, "part": PART}  # LVIS-92i is run as COCO, PASCAL-Part and PACO as part
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "release": {
        "point_order": "set",
        "no_match": "all",
        "lost_support": "centre",
        "empty_mask": "everything",
        "shown_to_sam": "resized",
    },
}


def preset(name: str = "default", *, settings: str = "coco", **changes: Any) -> MatcherConfig:
    """The options of a preset, with changes.

    Args:
        name: ``release``: what the released code computes, the order of its random draws included; ``default``: the same
            method without its accidents.
        settings: ``coco``, ``fss`` or ``part``: the thresholds and weights with which the paper runs each benchmark. What
            the release's sheet of settings leaves open is, for ``fss`` and ``part``, no dense grid and one mask a prompt.
        changes: options by name.

    Raises:
        UserInputError: no such preset or settings.
    """
    for what, given, known in (("preset", name, PRESETS), ("settings", settings, SETTINGS)):
        if given not in known:
            raise UserInputError(f"no such {what} of Matcher", given, fix=did_you_mean(given, known))
    return replace(MatcherConfig(), **{**SETTINGS[settings], **PRESETS[name], **changes})
