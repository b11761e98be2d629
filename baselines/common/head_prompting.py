"""A head as a method: it segments frame 0 by the supports, and SAM 2 follows the mask (DC-SAM, Section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from baselines.common.prompting import SupportPrompts, facts_of, found_weights, read_weights
from baselines.common.supports import FirstFrame, Marked
from baselines.common.windows import seen_through, support_window
from icvos.propagate.base import Propagated, propagated
from icvos.propagate.chosen import ChosenSam
from icvos.types import Compute, Image, MaskPrompt, MethodCard

if TYPE_CHECKING:
    from baselines.common.generator_file import GeneratorFile
    from baselines.common.head import Head
    from baselines.common.levels import Levels
    from icvos.models.backbones import Backbone


class HeadParts(NamedTuple):
    """A head's own code; fetched when it is needed, because it brings torch along."""

    preset: Callable[..., Any]  # of a name, "default" unless told otherwise, and options by name: a `HeadConfig`
    network: Callable[[Any, Mapping[int, int]], Head]  # of a config and the channels of the backbone's levels
    read_official: Callable[[Path], GeneratorFile]


@dataclass(frozen=True, slots=True)
class HeadMethod:
    """What sets one head apart from another, for running it."""

    name: str
    weights: str  # of the registry
    summary: str
    paper: str
    parts: Callable[[], HeadParts]
    presets: tuple[str, ...] = ("default", "release", "small")  # its options by one name each

    def read(self, path: Path) -> GeneratorFile:
        """A file of weights; see `read_weights`."""
        return read_weights(path, self.name, self.parts().read_official)

    def build(self, content: GeneratorFile) -> Head:
        """The network with its weights.

        Raises:
            UserInputError: its tensors do not fit its options.
            DataError: its options are those of another version.
        """
        from baselines.common.generator_file import config_from
        from icvos.models.checkpoints import load_weights

        parts = self.parts()
        network = self.made(config_from(parts.preset(), content.options, self.name))
        load_weights(network, content.generator, self.name)
        return network

    def made(self, config: Any) -> Head:
        """The network of a `HeadConfig`, untrained.

        Raises:
            UserInputError: a backbone that there is not, or that has no levels 2 to 4.
        """
        from baselines.common.head import level_channels

        return self.parts().network(config, level_channels(config.backbone))


class _Ready(NamedTuple):
    head: Head
    backbone: Backbone


class HeadPrompts(SupportPrompts):
    """The prompter: the mask of frame 0."""

    def __init__(self, method: HeadMethod, compute: Compute) -> None:
        """Nothing is built before the first frame, but a file of one's own is looked at.

        Args:
            method: which.
            compute: its `weights` are the head's; SAM 2's own come from the registry.

        Raises:
            UserInputError: see `file`.
            DataError: see `file`.
        """
        self.head_method = method
        self.sam = ChosenSam(replace(compute, weights=None))
        summary = f"{method.summary}; its mask of frame 0 to SAM 2"
        card = MethodCard(method.name, summary=summary, paper=method.paper, hand_over="mask", **facts_of(method, compute))
        super().__init__(method, compute, card)
        self._seen = FirstFrame(self._look)
        if compute.weights is not None:
            self.file  # noqa: B018  # one that does not fit is told of before anything is fetched or written

    @cached_property
    def file(self) -> GeneratorFile:
        """The weights.

        Raises:
            UserInputError: no such file, or of another method.
            DataError: it cannot be read.
        """
        return self.head_method.read(found_weights(self.method, self.compute))

    def _answer(self, frame: Image, supports: Sequence[Marked]) -> MaskPrompt:
        import torch

        from baselines.common.fitting import fitted_mask, unfitted
        from baselines.common.head import looked_at

        head, backbone = self._ready
        config = head.config
        windows = [support_window(given.mask, config.support_view) for given in supports]
        images = [seen_through(given.image, window) for given, window in zip(supports, windows, strict=True)]
        shown = [seen_through(given.mask, window) for given, window in zip(supports, windows, strict=True)]
        with torch.inference_mode():
            device = next(head.parameters()).device
            masks = torch.from_numpy(np.stack([fitted_mask(mask, config.image_size, config.fit) for mask in shown])).to(device).float()
            query = self._seen(frame)
            targets = head.targets([supports[0].support.category.id])
            answer = head(query, looked_at(head, backbone, images, masks[:, None]), masks[None], targets)
            background, target = unfitted(answer.on_grid(), (frame.shape[0], frame.shape[1]), config.fit)[0]
            return MaskPrompt((target > background).cpu().numpy())

    def _look(self, frame: Image) -> Levels:
        from baselines.common.head import looked_at

        return looked_at(*self._ready, [frame])

    @cached_property
    def _ready(self) -> _Ready:
        from baselines.common.head import head_backbone

        content, device = self.file, self.sam.propagator.device
        head = self.head_method.build(content)
        frozen = head_backbone(head.config.backbone, content.backbone, offline=self.compute.offline)
        return _Ready(head.to(device).eval(), frozen.to(device))


def segmented(method: HeadMethod, compute: Compute) -> Propagated:
    """The method, whole."""
    prompts = HeadPrompts(method, compute)
    return propagated(prompts, prompts.sam)
