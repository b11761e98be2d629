"""The first SAM on single images: it answers clicks and boxes, and has no memory with which to follow anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from icvos.errors import Finding, PluginError
from icvos.models.token_decoding import TOP_LEFT
from icvos.propagate.base import no_frames
from icvos.propagate.chosen import without_memory
from icvos.propagate.prompts import checked_clicks
from icvos.types import BoxPrompt, Image, Mask, PointPrompt, Prompt


class Sam1Stills:
    """A propagator for clips of one frame (Kirillov et al., "Segment Anything", 2023; package `segment-anything`)."""

    def __init__(self, model: Sam) -> None:
        """Wrap a model that `icvos.models.build_sam` made; its ``compute_dtype``, if it has one, is the type to compute in."""
        self.model = model
        self.device = next(model.parameters()).device
        self.dtype: torch.dtype = getattr(model, "compute_dtype", torch.float32)

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """One mask a prompt, (H, W) bool, of the only frame (H, W, 3) RGB uint8, which is encoded once.

        Raises:
            DataError: there is no frame.
            UserInputError: there is more than one.
            PluginError: a prompt is neither clicks nor a box, or does not fit the frame.
        """
        stream = iter(frames)
        frame = next(stream, None)
        if frame is None:
            raise no_frames()
        yield self._answers(frame, prompts)
        if next(stream, None) is not None:
            raise without_memory(str(self.device), "a clip of several frames")

    def propagate_from(self, frames: Iterable[Image], examples: Sequence[Sequence[tuple[Image, Mask]]]) -> NoReturn:
        """Refused: supports cannot be remembered."""
        raise without_memory(str(self.device), "examples on other images")

    def take_findings(self) -> list[tuple[int, Finding]]:
        """None: clicks always say something."""
        return []

    def warm_up(self) -> float:
        """Look at one blank picture; the seconds that took."""
        started = perf_counter()
        side = self.model.image_encoder.img_size
        for _ in self.propagate([np.zeros((side, side, 3), np.uint8)], [BoxPrompt(np.array([0, 0, side, side], np.float32))]):
            pass
        return perf_counter() - started

    @torch.inference_mode()
    def _answers(self, frame: Image, prompts: Sequence[Prompt]) -> tuple[Mask, ...]:
        if not prompts:
            return ()
        predictor = SamPredictor(self.model)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predictor.set_image(frame)
            return tuple(self._answer(predictor, prompt, (frame.shape[0], frame.shape[1])) for prompt in prompts)

    def _answer(self, predictor: Any, prompt: Prompt, size: tuple[int, int]) -> Mask:
        if not isinstance(prompt, PointPrompt | BoxPrompt):
            found, expected = type(prompt).__name__, "PointPrompt, BoxPrompt or MaskPrompt"
            raise PluginError("a prompt that the first SAM does not take", "frame 0", found, expected, "mend the method")
        places, labels = checked_clicks(prompt, size)
        points = predictor.transform.apply_coords_torch(torch.from_numpy(places).to(self.device), size)
        kinds = torch.from_numpy(labels).to(self.device)
        corners, clicks = points[kinds >= TOP_LEFT], points[kinds < TOP_LEFT]
        masks, claims, _ = predictor.predict_torch(
            point_coords=clicks[None] if len(clicks) else None,
            point_labels=kinds[None, kinds < TOP_LEFT] if len(clicks) else None,
            boxes=corners.reshape(1, 4) if len(corners) else None,
            multimask_output=len(places) == 1,  # a click alone may mean a part or the whole: the best of three, as its authors advise
        )
        return np.asarray(masks[0, int(claims[0].argmax())].cpu().numpy(), np.bool_)
