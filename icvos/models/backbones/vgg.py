"""VGG-16 with batch norms, cut into five levels as few-shot segmentation does (Simonyan and Zisserman, 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from icvos.models.backbones.base import Backbone, BackboneSpec, Dilation

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg(Backbone):
    """Levels 0 to 4 are ``layer0`` to ``layer4``, also its key names: each ends with its max-pooling but the last, which has none.

    Pooling rounds sizes up. Weights may also come under torchvision's ``features.<n>``; ``classifier`` is left out.
    """

    heads = ("classifier.",)

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__(spec, dilation)
        width = 3
        for level, widths in enumerate(WIDTHS):
            self.add_module(f"layer{level}", plain_stage((width, *widths), pooled=level < 4))
            width = widths[-1]

    def stage(self, level: int, features: Tensor) -> Tensor:
        """``layer<level>``; see Backbone."""
        maps: Tensor = self.get_submodule(f"layer{level}")(features)
        return maps

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``features.<n>`` under the level that it belongs to, classifier left out."""
        names = [f"layer{level}.{name}" for level in self.spec.levels for name, _ in self.get_submodule(f"layer{level}").named_children()]
        places = {f"features.{n}": name for n, name in enumerate(names)}

        def place(name: str) -> str:
            module, _, last = name.rpartition(".")
            return f"{places[module]}.{last}" if module in places else name

        return {place(name): value for name, value in super().own_names(state).items()}


def plain_stage(widths: tuple[int, ...], *, pooled: bool) -> nn.Sequential:
    """3x3 convolutions from each width to the next, each with batch norm and ReLU: (B, widths[0], h, w) to (B, widths[-1], h', w').

    h' is ceil(h / 2) where `pooled`, otherwise h.
    """
    modules: list[nn.Module] = []
    for wide_in, wide_out in pairwise(widths):
        modules += [nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*modules, *([nn.MaxPool2d(2, 2, ceil_mode=True)] if pooled else []))
