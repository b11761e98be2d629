"""What PFENet, HDMNet and AMNet are to those who run or train them: a network on a frozen backbone's maps, and its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from baselines.common.fitting import Fit, as_pixels, fitted_image
from baselines.common.levels import GridLevel, Levels
from baselines.common.windows import SupportView
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.models.backbones import BACKBONES, Backbone, Dilation, build_backbone, load_backbone
from icvos.models.checkpoints import read_state, unwrapped
from icvos.training.loop import Treatment
from icvos.types import Image


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What every head is made of."""

    backbone: str = "resnet50_v2"  # of icvos.models.backbones.BACKBONES
    image_size: int = 633  # pixels that the backbone sees, height and width
    fit: Fit = "square"  # see `baselines.common.fitting`
    support_view: SupportView = "picture"  # see support_window
    grid: GridLevel = 3  # the level on whose grid masks are made; in the papers both have stride 8, but for VGG's level 3
    width: int = 256  # channels of reduced features
    shots: int = 1  # supports that it is trained with


class Answer(Protocol):
    """What a head gives."""

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """(B, 2, H, W) of background and object at a size: the larger one decides."""
        ...

    def on_grid(self) -> Tensor:
        """The same as it was made, (B, 2, h, w)."""
        ...


class Head(nn.Module, ABC):
    """A network that segments a query by its supports; the backbone is handed in, and stays as it is."""

    config: HeadConfig

    @abstractmethod
    def look(self, backbone: Backbone, pixels: Tensor, masks: Tensor | None = None) -> Levels:
        """Maps of pictures (B, 3, S, S); for supports with masks (B, 1, S, S) of 0 and 1."""

    @abstractmethod
    def losses(self, answer: Any, truth: Tensor, step: int) -> dict[str, Tensor]:
        """The "loss" of a step, and parts to be logged; `truth` is (B, H, W) of 0, 1 and 255, which counts for nothing."""

    def targets(self, categories: Sequence[int]) -> Tensor | None:
        """What the head must know of the classes that are asked for, by their ids, (B,); None where that is nothing."""
        return None

    def treatment(self, name: str) -> Treatment:
        """How a parameter is trained, by its name."""
        return Treatment()


Config = TypeVar("Config", bound=HeadConfig)


def chosen(method: str, default: Config, presets: Mapping[str, Mapping[str, Any]], name: str, changes: Mapping[str, Any]) -> Config:
    """The options of a preset, with changes; lists stand for tuples.

    Raises:
        UserInputError: no such preset or option.
    """
    if name not in presets:
        raise UserInputError(f"no such preset of {method}", name, fix=did_you_mean(name, presets))
    known = {item.name for item in fields(default)}
    for option in changes:
        if option not in known:
            raise UserInputError(f"no such option of {method}", option, fix=did_you_mean(option, known))
    given = {option: tuple(value) if isinstance(value, list) else value for option, value in changes.items()}
    return replace(default, **{**presets[name], **given})


def level_channels(backbone: str) -> Mapping[int, int]:
    """Channels of a backbone's levels.

    Raises:
        UserInputError: no such backbone, or one that has no levels 2 to 4.
    """
    if backbone not in BACKBONES:
        raise UserInputError("no such backbone", backbone, fix=did_you_mean(backbone, BACKBONES))
    spec = BACKBONES[backbone]
    if not {2, 3, 4} <= set(spec.levels):
        known = [name for name, other in BACKBONES.items() if {2, 3, 4} <= set(other.levels)]
        raise UserInputError("a backbone without levels 2 to 4", backbone, expected=", ".join(known), fix="choose one of them")
    return dict(zip(spec.levels, spec.channels, strict=True))


def head_backbone(name: str, state: Mapping[str, Tensor], *, offline: bool = False) -> Backbone:
    """The frozen backbone as these heads have it: a residual network keeps stride 8 in all blocks alike.

    Args:
        name: of the registry.
        state: weights of its own that came with the head; without any, those of the registry.
        offline: download nothing.

    Raises:
        UserInputError: no such backbone, or its weights are not there.
        DataError: its weights cannot be read.
    """
    level_channels(name)
    if state:
        return build_backbone(name, dilation=head_dilation(name), state=state)
    return load_backbone(name, dilation=head_dilation(name), offline=offline)


def head_dilation(backbone: str) -> Dilation | None:
    """How a backbone of the registry keeps stride 8 for these heads."""
    return "all-blocks" if "all-blocks" in BACKBONES[backbone].dilations else None


@torch.no_grad()
def looked_at(head: Head, backbone: Backbone, images: list[Image], masks: Tensor | None = None) -> Levels:
    """Pictures of any sizes as a head sees them; supports with masks (B, 1, S, S) of 0 and 1 that fit the squares."""
    config, spec = head.config, backbone.spec
    pixels = as_pixels([fitted_image(image, config.image_size, config.fit) for image in images], spec.mean, spec.std)
    return head.look(backbone, pixels.to(next(backbone.parameters()).device), masks)


def official_parts(path: Path, known: str, method: str) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
    """A released checkpoint: the head's tensors, the backbone's, and the backbone's name.

    Args:
        path: a PyTorch file.
        known: a tensor that every such checkpoint has.
        method: its name, for messages.

    Raises:
        UserInputError: there is no such file.
        DataError: it cannot be read, or is no checkpoint of the method.
    """
    state = unwrapped(read_state(path), lambda inner: known in inner)
    backbone = {name: value for name, value in state.items() if name.startswith("layer")}
    head = {name: value for name, value in state.items() if name not in backbone}
    if known not in head or "down_query.0.weight" not in head:
        expected = f"{known}, down_query.0.weight and so on"
        raise DataError(f"not a checkpoint of {method}", path, f"{len(state)} tensors", expected, "pass another file")
    channels = head["down_query.0.weight"].shape[1]
    names = [name for name in ("resnet50_v2", "vgg16_bn") if sum(level_channels(name)[level] for level in (2, 3)) == channels]
    if not names:
        raise DataError(
            f"a checkpoint of {method} on a backbone that is not known", path, f"{channels} channels", "1536 or 768", "pass another"
        )
    deeper = names[0] == "resnet50_v2" and "layer3.22.conv1.weight" in backbone
    return head, backbone, "resnet101_v2" if deeper else names[0]
