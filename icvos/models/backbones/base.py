"""What every frozen backbone is: a record of its facts, and a module that gives feature maps by level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeAlias

from torch import Tensor, nn

from icvos.errors import UserInputError
from icvos.models.checkpoints import misfits, unwrapped

Family: TypeAlias = Literal["resnet", "vgg", "swin", "dinov2", "efficientnet"]

# How a residual network keeps stride 8 in its last two stages. Both ways read the same weights, and the maps differ.
#   "none": it does not; strides 4, 8, 16, 32.
#   "all-blocks": stride 1 and dilation 2 in every block of stage 3, dilation 4 in every block of stage 4, the first
#       block of each stage included (PFENet, HDMNet, AMNet change a finished network so).
#   "later-blocks": the first block of a stage still has the dilation of the stage before it (1 in stage 3, 2 in
#       stage 4), the later ones 2 and 4 (torchvision's rule; VRP-SAM, DC-SAM).
Dilation: TypeAlias = Literal["none", "all-blocks", "later-blocks"]
Triple: TypeAlias = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """The facts of one backbone; how to build it, what it gives, and what its weights are.

    `levels`, `channels` and `strides` go together: level 0 is the stem, 1 to 4 the stages that papers call layer1 to
    layer4; strides are those without dilation, in pixels. An image is normalised as ``(rgb / 255 - mean) / std``, and
    its sides must be multiples of `multiple`.
    """

    name: str
    family: Family
    levels: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    weights: str  # the key of its weights in the weight registry
    paper: str
    source: str  # who trained those weights
    licence: str  # under which they are published
    blocks: tuple[int, ...] = ()  # residual networks: blocks in stages 1 to 4
    deep_stem: bool = False  # residual networks: three 3x3 convolutions instead of one of 7x7
    timm_name: str = ""  # the architecture's name in timm, where timm builds it
    dilation: Dilation = "none"  # the default
    dilations: tuple[Dilation, ...] = ("none",)  # all that can be built
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    multiple: int = 1

    def strides_with(self, dilation: Dilation) -> dict[int, int]:
        """Stride of each level in pixels; a dilated network stops at 8."""
        most = max(self.strides) if dilation == "none" else 8
        return {level: min(stride, most) for level, stride in zip(self.levels, self.strides, strict=True)}


class Backbone(nn.Module, ABC):
    """A frozen network: no gradients, batch norms always on their stored statistics, whatever a parent's ``train()`` says.

    Attributes:
        spec: its facts.
        dilation: how it was built.
        strides: level -> stride in pixels, as built.
    """

    heads: ClassVar[tuple[str, ...]] = ()  # official names that begin so belong to a classifier and are left out

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__()
        self.spec, self.dilation, self.strides = spec, dilation, spec.strides_with(dilation)

    @abstractmethod
    def stage(self, level: int, features: Tensor) -> Tensor:
        """One level by itself: (B, C_before, h, w) of the level before, images for the first, to (B, C, h', w').

        Methods that mask a map before the next stage call it: ``backbone.stage(4, maps[3] * mask)``.
        """

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Feature maps of every level.

        Args:
            images: (B, 3, H, W) float, RGB, normalised as the spec says.

        Returns:
            level -> (B, C, ceil(H / stride), ceil(W / stride)); after the ReLU for residual networks and VGG.

        Raises:
            UserInputError: another shape, or sides that are no multiples of what the spec wants.
        """
        self._check(images)
        maps: dict[int, Tensor] = {}
        features = images
        for level in self.spec.levels:
            features = maps[level] = self.stage(level, features)
        return maps

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: a frozen network's statistics and dropout do not follow its parent."""
        return super().train(False)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict under this module's key names, classifier left out; official names are told by their form."""
        return {name: value for name, value in state.items() if not name.startswith(self.heads)}

    def load_strictly(self, state: Mapping[str, Tensor]) -> None:
        """Load weights: every tensor must be there, of its shape, and no other.

        What wrappers put before all names (``module.``, ``model.``, ...) is dropped. ``num_batches_tracked`` may be missing:
        it plays no part here.

        Raises:
            UserInputError: tensors are missing, unexpected, or of another shape.
        """
        own = self.state_dict()
        needed = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}

        def fits(inner: Mapping[str, Tensor]) -> bool:
            return needed.keys() <= self.own_names(inner).keys() <= own.keys()

        bare = {name.removeprefix("module."): value for name, value in state.items()}
        given = self.own_names(unwrapped(bare, fits))
        missing, _, _ = misfits(needed, given)
        _, unexpected, misshaped = misfits(own, given)
        shapes = [f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}" for name in misshaped]
        faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
        if any(faults.values()):
            raise UserInputError(
                "weights do not fit the backbone",
                self.spec.name,
                " and ".join(f"{len(names)} tensors {fault} ({_first(names)})" for fault, names in faults.items() if names),
                f"the {len(own)} tensors of {self.spec.weights!r}",
                "give these weights' state dict itself, not the checkpoint around it or another network's",
            )
        self.load_state_dict(given, strict=False)

    def freeze(self) -> Self:
        """Evaluation mode, no gradients."""
        return self.requires_grad_(False).eval()

    def _check(self, images: Tensor) -> None:
        multiple = self.spec.multiple
        if images.ndim != 4 or images.shape[1] != 3 or any(side % multiple or not side for side in images.shape[2:]):
            raise UserInputError(
                "images of a shape that the backbone cannot take",
                self.spec.name,
                tuple(images.shape),
                "(B, 3, H, W)" + (f" with H and W multiples of {multiple}" if multiple > 1 else ""),
                "resize or pad them",
            )


def _first(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
