"""PFENet (Tian et al., TPAMI 2020, arXiv 2008.01449): a prior that needs no training, and features enriched at four scales.

Sections are the paper's. Names of modules are those of the released checkpoints, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.features import Deepen, masked_average, mean_over_shots, min_max, prior_mask
from baselines.common.fitting import Fit
from baselines.common.generator_file import GeneratorFile
from baselines.common.head import Head, HeadConfig, chosen, official_parts
from baselines.common.levels import Levels, bilinear, soft_on_grid, together
from icvos.models.backbones import Backbone

IGNORED = 255  # of a truth: neither object nor background


@dataclass(frozen=True, slots=True)
class PfenetConfig(HeadConfig):
    """What a PFENet is made of; the defaults are those of COCO."""

    image_size: int = 641  # 473 for PASCAL
    fit: Fit = "padded"  # release: padded to eights
    bins: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)  # sides of the pyramid: parts of the grid's (up to 1), or cells


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "release": {"fit": "padded to eights"},
    "pascal": {"image_size": 473, "bins": (60, 30, 15, 8)},
    "release-pascal": {"fit": "padded to eights", "image_size": 473, "bins": (60, 30, 15, 8)},
    "small": {"image_size": 384, "fit": "square", "support_view": "object", "width": 128},
}


def preset(name: str = "default", **changes: Any) -> PfenetConfig:
    """The options of a preset, with changes.

    Args:
        name: ``default``; ``release``, which fits pictures as the released code does; ``pascal`` and ``release-pascal``, the
            same at the sizes of PASCAL; ``small``, for small backbones and small files.
        changes: options by name.

    Raises:
        UserInputError: no such preset or option.
    """
    return chosen("PFENet", PfenetConfig(), PRESETS, name, changes)


class Enriched(NamedTuple):
    """What came out, step by step."""

    query: Tensor  # (B, C, h, w), reduced
    prototype: Tensor  # (B, C), the mean over shots
    prior: Tensor  # (B, 1, h, w) in [0, 1]
    inner: tuple[Tensor, ...]  # (B, 2, b, b) logits of background and object, one a bin
    logits: Tensor  # (B, 2, h, w)

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """The logits (B, 2, H, W) at a size."""
        return bilinear(self.logits, size)

    def on_grid(self) -> Tensor:
        """The logits."""
        return self.logits


class Pfenet(Head):
    """All of PFENet but the backbone, which is handed in through its maps and its last stage."""

    def __init__(self, config: PfenetConfig, channels: Mapping[int, int]) -> None:
        """Make it for a backbone whose levels 2 and 3 have so many channels."""
        super().__init__()
        self.config: PfenetConfig = config
        width, middle = config.width, channels[2] + channels[3]
        scales = range(len(config.bins))
        self.down_query = nn.Sequential(*_reduced(middle, width), nn.Dropout2d(0.5))
        self.down_supp = nn.Sequential(*_reduced(middle, width), nn.Dropout2d(0.5))
        self.init_merge = nn.ModuleList([_reduced(2 * width + 1, width) for _ in scales])
        self.alpha_conv = nn.ModuleList([_reduced(2 * width, width) for _ in scales[1:]])
        self.beta_conv = nn.ModuleList([_convolved(width, 2) for _ in scales])
        self.inner_cls = nn.ModuleList([_classified(width) for _ in scales])
        self.res1 = _reduced(len(config.bins) * width, width)
        self.res2 = _convolved(width, 2)
        self.cls = _classified(width)

    def look(self, backbone: Backbone, pixels: Tensor, masks: Tensor | None = None) -> Levels:
        """See `Head.look`: the mask is laid over level 3, and level 4 made of what it leaves."""
        maps = backbone(pixels)
        return deepened(maps[2], maps[3], lambda level3: backbone.stage(4, level3), masks)

    def forward(self, query: Levels, supports: Levels, masks: Tensor, targets: Tensor | None = None) -> Enriched:
        """Logits of background and object.

        Args:
            query: maps of B pictures, levels 2 to 4.
            supports: maps of B * K pictures, the K of one episode together; level 4 is made of what masks leave of level 3.
            masks: (B, K, H, W) of 0 and 1.
            targets: of no use here.
        """
        whole = masks.flatten(0, 1)[:, None].to(query.level3.dtype)
        grid = query.size(self.config.grid)
        asked, shown = self.down_query(together(query, grid)), self.down_supp(together(supports, grid))
        prototype = mean_over_shots(masked_average(shown, soft_on_grid(whole, grid)), len(asked))
        prior = bilinear(mean_over_shots(_prior(query, supports, whole), len(asked)), grid)
        enriched, inner = self._enriched(asked, prototype[:, :, None, None], prior)
        merged = self.res1(enriched)
        return Enriched(asked, prototype, prior, inner, self.cls(self.res2(merged) + merged))

    def losses(self, answer: Enriched, truth: Tensor, step: int) -> dict[str, Tensor]:
        """See `Head.losses`."""
        loss = pfenet_loss(answer, truth)
        return {"loss": loss.main + loss.inner, "main": loss.main.detach(), "inner": loss.inner.detach()}

    def _enriched(self, query: Tensor, prototype: Tensor, prior: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Section 3.4: query, prototype and prior merged at each scale, coarser scales told by the finer ones before them.

        Returns:
            (B, len(bins) * C, h, w), and the logits at each scale.
        """
        size = query.shape[-2:]
        pyramid: list[Tensor] = []
        inner: list[Tensor] = []
        for scale, bin_ in enumerate(self.config.bins):
            cells = cells_of(bin_, size)
            pooled = functional.adaptive_avg_pool2d(query, cells)
            maps = [pooled, prototype.expand(-1, -1, *cells), bilinear(prior, cells)]
            merged = self.init_merge[scale](torch.cat(maps, 1))
            if pyramid:
                merged = self.alpha_conv[scale - 1](torch.cat([merged, bilinear(pyramid[-1], cells)], 1)) + merged
            merged = self.beta_conv[scale](merged) + merged
            inner.append(self.inner_cls[scale](merged))
            pyramid.append(bilinear(merged, size))
        return torch.cat(pyramid, 1), tuple(inner)


def _reduced(wide_in: int, wide_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, bias=False), nn.ReLU())


def _convolved(width: int, times: int) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(times) for layer in (nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU())))


def _classified(width: int) -> nn.Sequential:
    """Logits of background and object."""
    return nn.Sequential(*_convolved(width, 1), nn.Dropout2d(0.1), nn.Conv2d(width, 2, 1))


def deepened(level2: Tensor, level3: Tensor, deepen: Deepen, masks: Tensor | None = None) -> Levels:
    """Levels 2 and 3 with the level 4 that is made of what masks (B, 1, H, W) of 0 and 1 leave of level 3."""
    left = level3 if masks is None else level3 * soft_on_grid(masks, level3.shape[-2:])
    return Levels(level2, level3, deepen(left))


def _prior(query: Levels, supports: Levels, masks: Tensor) -> Tensor:
    """Section 3.3: how much each place of a query looks like the object of each support, (B * K, 1, h4, w4), scaled into [0, 1]."""
    asked = query.deepest.repeat_interleave(len(masks) // len(query.deepest), 0)
    return min_max(prior_mask(asked, supports.deepest, soft_on_grid(masks, supports.level3.shape[-2:])))


def cells_of(bin_: float, size: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a scale of the pyramid: a part of the grid's for bins up to 1, else the bin itself."""
    height, width = (max(1, int(side * bin_)) if bin_ <= 1 else int(bin_) for side in size)
    return height, width


class PfenetLoss(NamedTuple):
    """Its parts; their sum is trained on."""

    main: Tensor  # cross-entropy of the prediction
    inner: Tensor  # mean of those at the scales of the pyramid


def pfenet_loss(out: Enriched, truth: Tensor) -> PfenetLoss:
    """Section 3.5, Equation 8 with a weight of 1: `truth` is (B, H, W) of 0, 1 and 255, which counts for nothing."""
    size = (truth.shape[-2], truth.shape[-1])
    losses = [functional.cross_entropy(bilinear(logits, size), truth.long(), ignore_index=IGNORED) for logits in (out.logits, *out.inner)]
    return PfenetLoss(losses[0], torch.stack(losses[1:]).mean())


def read_official(path: Path) -> GeneratorFile:
    """A checkpoint of the released code, taken for one of COCO: nothing in it tells the sizes that it was trained with.

    Raises:
        UserInputError: there is no such file.
        DataError: it cannot be read, or is no checkpoint of PFENet.
    """
    head, backbone, name = official_parts(path, "init_merge.0.0.weight", "PFENet")
    config = PfenetConfig(backbone=name, width=head["down_query.0.weight"].shape[0])
    return GeneratorFile("pfenet", asdict(config), "", head, backbone=backbone)
