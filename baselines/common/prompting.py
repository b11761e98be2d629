"""A prompt generator as a method: it looks at the supports and at frame 0, and SAM 2 follows what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from baselines.common.supports import EpisodeFindings, FirstFrame, Marked, marked
from baselines.common.windows import SupportView, seen_through, squared, support_window
from icvos.errors import Finding, UserInputError
from icvos.files import sha256_file
from icvos.propagate.base import Propagated, propagated
from icvos.propagate.chosen import ChosenSam
from icvos.types import Compute, Image, MaskPrompt, MethodCard, Prompt, Support, TokenPrompt
from icvos.weights import is_first_sam, resolve, sam_facts, sam_kind, weight_file

if TYPE_CHECKING:
    from torch import nn

    from baselines.common.encoders import Encoders
    from baselines.common.generator_file import GeneratorFile

EMBEDDED_SAM = "sam2_nano"  # which the embedded generators were trained with
SETTINGS_CHOSEN_ON = weight_file(EMBEDDED_SAM).validation_clips  # the clips on which windows, levels and views of methods were compared
HandOver: TypeAlias = Literal["tokens", "mask"]


class Parts(NamedTuple):
    """A prompt generator's own code; fetched when it is needed, because it brings torch along."""

    config: Any  # a record of options that has `backbone`, `image_size`, `width` and `support_view`
    network: Callable[[Any, int], nn.Module]  # of a config and the channels of the backbone's middle levels
    read_official: Callable[[Path], GeneratorFile]


@dataclass(frozen=True, slots=True)
class GeneratorMethod:
    """What sets one prompt generator apart from another, for running it."""

    name: str
    weights: str  # of the registry: those that it runs with unless told otherwise
    summary: str
    paper: str
    parts: Callable[[], Parts]
    presets: tuple[str, ...] = ("default",)  # its options by one name each, for training

    def read(self, path: Path) -> GeneratorFile:
        """A file of weights; see `read_weights`."""
        return read_weights(path, self.name, self.parts().read_official)

    def build(self, content: GeneratorFile, width: int) -> tuple[nn.Module, Any]:
        """The network with its weights, and its options.

        Raises:
            UserInputError: its tokens are not as wide as the decoder's, or its tensors do not fit its options.
            DataError: its options are those of another version.
        """
        from baselines.common.encoders import middle_channels_of
        from baselines.common.generator_file import check_options, config_from
        from icvos.models.checkpoints import load_weights

        parts = self.parts()
        config = config_from(parts.config, content.options, self.name)
        check_options(config, {"width": width}, self.name)
        network = parts.network(config, middle_channels_of(config.backbone))
        load_weights(network, content.generator, self.name)
        return network, config


class _Ready(NamedTuple):
    network: nn.Module
    encoders: Encoders
    side: int  # pixels of masks
    view: SupportView


class TrainedMethod(Protocol):
    """What sets one trained method apart from another, for running it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def weights(self) -> str:
        """Of the registry: those that it runs with unless told otherwise."""
        ...

    def read(self, path: Path) -> GeneratorFile:
        """A file of its weights."""
        ...


class SupportPrompts(ABC):
    """A prompter with trained weights: it leaves out supports without a pixel, and tells of what it was not trained for."""

    def __init__(self, method: TrainedMethod, compute: Compute, card: MethodCard) -> None:
        self.method, self.compute, self.card = method, compute, card
        self._noticed = EpisodeFindings()

    @property
    @abstractmethod
    def file(self) -> GeneratorFile:
        """The weights."""

    @abstractmethod
    def _answer(self, frame: Image, supports: Sequence[Marked]) -> Prompt:
        """What to follow, by at least one support."""

    def prompt(self, frame: Image, supports: Sequence[Support]) -> Prompt:
        """What to follow; where no support marks a pixel, nothing."""
        given, findings = marked(supports, self.card.name)
        trained = int(self.file.facts.get("shots", 1))
        if len(given) > trained:
            found, expected = f"{len(given)} supports", f"{trained}, as in training"
            findings.append(Finding("more-supports", self.card.name, found, expected, "all are used"))
        self._noticed.add(findings)
        return self._answer(frame, given) if given else MaskPrompt(np.zeros(frame.shape[:2], np.bool_))

    def take_findings(self) -> list[tuple[int, Finding]]:
        """Supports without a pixel, and more of them than in training."""
        return self._noticed.take()


class GeneratedPrompts(SupportPrompts):
    """The prompter: tokens for SAM's decoder, or the mask that they give on frame 0.

    The first SAM is handed the mask in any case: tokens go with features of the picture as it was squared in training, which it
    does not see when it is asked.
    """

    def __init__(self, method: GeneratorMethod, compute: Compute, hand_over: HandOver) -> None:
        """Nothing is built before the first frame, but a file of one's own is looked at.

        Args:
            method: which.
            compute: its `weights` are the generator's; SAM's own come from the registry.
            hand_over: what goes to SAM 2.

        Raises:
            UserInputError: see `file`.
            DataError: see `file`.
        """
        self.generator, handed = method, "mask" if is_first_sam(compute.sam) else hand_over
        self.hand_over = handed
        self.sam = ChosenSam(replace(compute, weights=None), tuned=lambda: self.file.sam_state)
        said = "its tokens" if handed == "tokens" else "the mask they give on frame 0"
        card = MethodCard(
            method.name if hand_over == "tokens" else f"{method.name}-mask",
            summary=f"{method.summary}; {said} to {sam_kind(compute.sam)}",
            paper=method.paper,
            hand_over=handed,
            variant_of="" if hand_over == "tokens" else method.name,
            **facts_of(method, compute),
        )
        super().__init__(method, compute, card)
        self._seen = FirstFrame(lambda frame: self._ready.encoders.see([frame]))
        if compute.weights is not None or compute.sam != EMBEDDED_SAM:
            self.file  # noqa: B018  # one that does not fit is told of before anything is fetched or written

    @cached_property
    def file(self) -> GeneratorFile:
        """The weights.

        Raises:
            UserInputError: no such file, of another method, or trained with another SAM.
            DataError: it cannot be read.
        """
        path = found_weights(self.method, self.compute)
        content = self.generator.read(path)
        if content.sam != self.compute.sam:
            fix = f"run with --sam {content.sam}, or train for {self.compute.sam}: `icvos train --method {self.method.name}`"
            raise UserInputError("weights that were trained with another SAM", path, content.sam, self.compute.sam, fix)
        return content

    def _answer(self, frame: Image, supports: Sequence[Marked]) -> Prompt:
        import torch

        ready, images, masks = self._ready, [given.image for given in supports], [given.mask for given in supports]
        windows = [support_window(mask, ready.view) for mask in masks]
        shown = np.stack([squared(seen_through(mask, window), ready.side) for mask, window in zip(masks, windows, strict=True)])
        with torch.inference_mode():
            query = self._seen(frame)
            given = torch.from_numpy(shown)[None].to(query.level3.device).float()
            seen = ready.encoders.see(list(map(seen_through, images, windows)))
            out = ready.network(query, seen, given, ready.encoders.deepen, ready.encoders.decoding)
            if self.hand_over == "tokens":
                return TokenPrompt(out.tokens[0].float().cpu().numpy())
            return MaskPrompt((out.enlarged((frame.shape[0], frame.shape[1]))[0] > 0).cpu().numpy())

    @cached_property
    def _ready(self) -> _Ready:
        from baselines.common.encoders import Encoders, frozen_backbone
        from icvos.models.token_decoding import decoding_of

        content, propagator = self.file, self.sam.propagator
        decoding = decoding_of(propagator.model)
        network, config = self.generator.build(content, decoding.width)
        frozen = frozen_backbone(config.backbone, offline=self.compute.offline).to(propagator.device)
        return _Ready(
            network.to(propagator.device).eval(), Encoders(frozen, decoding, config.image_size), config.image_size, config.support_view
        )


def facts_of(method: TrainedMethod, compute: Compute) -> dict[str, Any]:
    """What a card must say of a method's weights and of SAM 2's; nothing is built for it."""
    facts = sam_facts(compute.sam, None, compute.precision)
    chosen = compute.weights or method.weights
    data: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    if chosen == method.weights:
        own = weight_file(chosen)
        said, licence = f"{own.name} {own.sha256}", own.licence
        data, classes, validation = own.training_data, own.training_classes, own.validation_clips
    else:
        from baselines.common.generator_file import classes_trained_on, data_trained_on

        path = found_weights(method, compute)
        content = method.read(path)
        said, licence = f"{Path(chosen).name} {sha256_file(path)}", ""
        data, classes = data_trained_on(content), classes_trained_on(content)
    seen = tuple(dict.fromkeys((*data, *facts.get("training_data", ()))))
    return {
        **facts,
        "weights": f"{said} on {facts['weights']}",
        "licence": licence,
        "training_data": seen,
        "training_classes": classes,
        "validation_clips": tuple(sorted({*validation, *facts.get("validation_clips", ())})),
    }


def read_weights(path: Path, method: str, read_official: Callable[[Path], GeneratorFile]) -> GeneratorFile:
    """A file of weights: what `icvos train` wrote, or a checkpoint under the released code's names; suffixes do not matter.

    Raises:
        UserInputError: there is no such file, or it is of another method.
        DataError: it cannot be read.
    """
    from baselines.common.generator_file import is_generator, read_generator

    return read_generator(path, method) if is_generator(path) else read_official(path)


def found_weights(method: TrainedMethod, compute: Compute) -> Path:
    """The file of a method's weights: a user's, or the registry's.

    Raises:
        UserInputError: there is no such file.
        DataError: the registry's is damaged.
    """
    return resolve(compute.weights, method.weights, offline=compute.offline)


def generated(method: GeneratorMethod, compute: Compute, hand_over: HandOver = "tokens") -> Propagated:
    """The method, whole."""
    prompts = GeneratedPrompts(method, compute, hand_over)
    return propagated(prompts, prompts.sam)
