"""What HDMNet and AMNet share: reduced features, similarity maps, the base learner, and BAM's ensemble with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.base_learner import (
    BaseMap,
    Merged,
    Pooling,
    base_background,
    base_classifier,
    level5,
    merged,
    merging,
    over_shots,
    shot_weights,
    style_distance,
)
from baselines.common.features import masked_average, mean_over_shots, similarity_map
from baselines.common.head import Head, HeadConfig, official_parts
from baselines.common.levels import Levels, bilinear, nearest_on_grid, soft_on_grid, together
from icvos.categories import CATEGORIES
from icvos.errors import DataError, UserInputError
from icvos.models.backbones import Backbone
from icvos.training.class_pictures import VOC_NAMES
from icvos.training.episodes import FOLDS, fold_categories
from icvos.training.loop import Treatment

MIXED = 64  # channels of the mixing transformer
SIMILARITY_GAIN = 10.0  # of the similarity maps among what is merged
DIVERGENCE_FLOOR = 1e-12
NOWHERE = -1e9  # the first teacher's logit of a place without the object


@dataclass(frozen=True, slots=True)
class MatchingConfig(HeadConfig):
    """What a head is made of; the defaults are those of COCO, 473 pixels are those of PASCAL."""

    parsed: int = 256  # channels inside the convolutions that parse and classify
    base_map: BaseMap = "drop target"  # release: all
    base_classes: tuple[int, ...] = ()  # category ids, in the order of the base learner's logits
    shot_weights: Literal["own", "ordered"] = "own"  # release: the weight of the i-th smallest distance goes to the i-th shot


RELEASE = {"base_map": "all", "shot_weights": "ordered"}
SMALL = {"image_size": 384, "support_view": "object", "parsed": 128, "base_map": "none"}


class Prepared(NamedTuple):
    """What is known before anything is matched; h x w is the grid."""

    asked: Tensor  # (B, C, h, w), the query, reduced
    shown: Tensor  # (B * K, C, h, w), the supports, reduced
    prototypes: Tensor  # (B * K, C)
    similarity: Tensor  # (B, 2, h, w), of levels 5 and 4
    query: Tensor  # (B, 64, h, w), merged with prototype and similarity
    supports: Tensor  # (B * K, 64, h, w), merged with their prototypes
    masks: Tensor  # (B * K, 1, H, W) of 0 and 1
    base_logits: Tensor | None  # (B, 1 + classes, h, w), of background and base classes
    base_map: Tensor | None  # (B, 1, h, w)
    distance: Tensor  # (B,), see style_distance


class MatchingHead(Head):
    """The shared part; names of modules are those of the released checkpoints, so that these load as they are."""

    def __init__(self, config: MatchingConfig, channels: Mapping[int, int]) -> None:
        """Make it for a backbone whose levels 2, 3 and 4 have so many channels."""
        super().__init__()
        self.config: MatchingConfig = config
        width = config.width
        middle = channels[2] + channels[3]
        learning = config.base_map != "none"
        if learning:
            self.ppm, self.cls = Pooling(channels[4]), level5(channels[4])
            self.base_learnear = base_classifier(len(config.base_classes))
            for part in (self.ppm, self.cls, self.base_learnear):
                part.requires_grad_(False)
        self.down_supp = nn.Sequential(nn.Conv2d(middle, width, 1, bias=False), nn.ReLU(), nn.Dropout2d(0.5))
        self.down_query = nn.Sequential(nn.Conv2d(middle, width, 1, bias=False), nn.ReLU(), nn.Dropout2d(0.5))
        self.query_merge = nn.Sequential(nn.Conv2d(2 * width + 2, MIXED, 1, bias=False), nn.ReLU())
        self.supp_merge = nn.Sequential(nn.Conv2d(2 * width, MIXED, 1, bias=False), nn.ReLU())
        self.gram_merge = merging()
        if learning:
            self.cls_merge = merging()
        if config.shots > 1:
            self.kshot_rw = shot_weights(config.shots)

    def look(self, backbone: Backbone, pixels: Tensor, masks: Tensor | None = None) -> Levels:
        """See `Head.look`: of supports nothing but the object is shown to the backbone."""
        maps = backbone(pixels if masks is None else pixels * masks)
        return Levels(maps[2], maps[3], maps[4], self.level5(maps[4]))

    def targets(self, categories: Sequence[int]) -> Tensor | None:
        """The base learner's numbers of classes, 0 for one that it does not know; see `base_background`."""
        known = self.config.base_classes
        return torch.tensor([1 + known.index(id_) if id_ in known else 0 for id_ in categories]) if known else None

    def treatment(self, name: str) -> Treatment:
        """All but the mixing transformer learns ten times as fast, as the released code has it."""
        return Treatment(1.0 if name.startswith("transformer.") else 10.0)

    def level5(self, maps: Tensor) -> Tensor | None:
        """What the base learner makes of level 4, (B, C4, h, w) to (B, 512, h, w); None without one."""
        return self.cls(self.ppm(maps)) if self.config.base_map != "none" else None

    def prepared(self, query: Levels, supports: Levels, masks: Tensor, targets: Tensor | None) -> Prepared:
        """All that is done before matching.

        Args:
            query: maps of B pictures, levels 2 to 4, and 5 with a base learner.
            supports: maps of B * K pictures in which nothing is left but the object, the K of one episode together.
            masks: (B, K, H, W) of 0 and 1.
            targets: (B,), see `base_background`.
        """
        grid = query.size(self.config.grid)
        whole = masks.flatten(0, 1)[:, None].to(query.level3.dtype)
        asked, shown = self.down_query(together(query, grid)), self.down_supp(together(supports, grid))
        prototypes = masked_average(shown, soft_on_grid(whole, grid))
        similarity = torch.cat([self._similarity(*pair, whole, grid) for pair in self._compared(query, supports)], 1)
        spread = _spread(prototypes, grid)
        mean = mean_over_shots(spread, len(asked))
        base_logits = self._base_logits(query, grid)
        counted_out = targets if self.training or self.config.base_map == "drop target" else None
        return Prepared(
            asked,
            shown,
            prototypes,
            similarity,
            self.query_merge(torch.cat([asked, mean, SIMILARITY_GAIN * similarity], 1)),
            self.supp_merge(torch.cat([shown, spread], 1)),
            whole,
            base_logits,
            None if base_logits is None else base_background(base_logits, counted_out),
            self._distance(query, supports),
        )

    def merged(self, logits: Tensor, prepared: Prepared) -> Merged:
        """A prediction (B, 2, h, w) with what the base learner says; see `baselines.common.base_learner.merged`."""
        cls_merge = self.cls_merge if self.config.base_map != "none" else None
        return merged(logits, prepared.distance, prepared.base_map, self.gram_merge, cls_merge)

    def _compared(self, query: Levels, supports: Levels) -> list[tuple[Tensor, Tensor]]:
        """The two levels whose likeness is looked at: 5 and 4; without a base learner 3 takes the place of 5."""
        if self.config.base_map == "none" or query.level5 is None or supports.level5 is None:
            return [(query.level3, supports.level3), (query.deepest, supports.deepest)]
        return [(query.level5, supports.level5), (query.deepest, supports.deepest)]

    def _similarity(self, query: Tensor, supports: Tensor, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        return bilinear(similarity_map(query, supports, nearest_on_grid(masks, supports.shape[-2:])), grid)

    def _base_logits(self, query: Levels, grid: tuple[int, int]) -> Tensor | None:
        if self.config.base_map == "none" or query.level5 is None:
            return None
        return bilinear(self.base_learnear(query.level5), grid)

    def _distance(self, query: Levels, supports: Levels) -> Tensor:
        """The style distance of level 2, (B,); as the released code takes it, on level 3's grid."""
        asked, shown = (bilinear(seen.level2, seen.size(3)) for seen in (query, supports))
        distances = style_distance(asked, shown)
        fitting = self.config.shots > 1 and distances.shape[1] == self.config.shots
        weigh = self.kshot_rw if fitting else None
        return over_shots(distances, weigh, ordered=self.config.shot_weights == "ordered")


def _spread(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, C) at every place of a grid, (B, C, h, w)."""
    return vectors[:, :, None, None].expand(-1, -1, *grid)


def distillation(correlations: tuple[Tensor, ...], truth: Tensor, *, chained: bool) -> Tensor:
    """How far each correlation map is from its teacher (HDMNet, Section 3.4): the mean divergence over stages.

    Args:
        correlations: (B, h, w) each, coarse to fine.
        truth: (B, H, W); 1 is the object.
        chained: each map teaches the next finer one; otherwise the truth teaches all.
    """
    at_truth = torch.where(truth == 1, 1.0, NOWHERE)[:, None]
    teacher, losses = at_truth, []
    for correlation in correlations:
        taught = functional.interpolate(teacher, size=correlation.shape[-2:], mode="bilinear", align_corners=False)
        losses.append(_divergence(taught.flatten(1), correlation.flatten(1)))
        teacher = correlation.detach()[:, None] if chained else at_truth
    return torch.stack(losses).mean()


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Kullback and Leibler's, of logits (B, L) over places; the mean over B."""
    right, found = teacher.softmax(1), student.softmax(1)
    return (right * ((right + DIVERGENCE_FLOOR).log() - (found + DIVERGENCE_FLOOR).log())).sum(1).mean()


def read_matching(path: Path, method: str, known: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """A released checkpoint of HDMNet or AMNet: options, the head's tensors, the backbone's.

    Args:
        path: a PyTorch file; of a fold's, it or its folder must be named after the fold: split0 to split3.
        method: its name.
        known: a tensor that every checkpoint of the method has.

    Raises:
        UserInputError: there is no such file, or the fold is not told.
        DataError: it cannot be read, or is no checkpoint of the method.
    """
    head, backbone, name = official_parts(path, known, method)
    classes = base_classes_of(len(head["base_learnear.2.weight"]) - 1, path)
    shots = head["kshot_rw.0.weight"].shape[1] if "kshot_rw.0.weight" in head else 1
    size = 473 if len(classes) <= len(VOC_NAMES) else 633
    return {"backbone": name, "image_size": size, "shots": shots, "base_classes": classes}, head, backbone


def base_classes_of(count: int, path: Path) -> tuple[int, ...]:
    """The category ids of so many base classes: all of COCO or PASCAL, or those that a fold leaves, which the path must tell.

    Raises:
        UserInputError: the fold is not told.
        DataError: no such number of classes is known.
    """
    ids = {category.name: category.id for category in CATEGORIES}
    whole = {"coco": [category.id for category in CATEGORIES], "pascal": [ids[name] for name in VOC_NAMES]}
    for data, all_ids in whole.items():
        if count == len(all_ids):
            return tuple(all_ids)
        if count * FOLDS == len(all_ids) * (FOLDS - 1):
            told = re.search(r"(?:split|fold)_?([0-3])(?!\d)", str(path))
            if told is None:
                fix = "put it into a folder named after its fold, split0 to split3"
                raise UserInputError("base classes of a fold that is not told", path, f"{count} base classes", "a fold", fix)
            left, _ = fold_categories(data, tuple(range(len(all_ids))), int(told[1]))
            return tuple(all_ids[place] for place in left)
    raise DataError(
        "a base learner of other classes", path, f"{count} classes", "60 or 80 of COCO, 15 or 20 of PASCAL", "pass another file"
    )
