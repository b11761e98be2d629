"""Which parameters a training moves: the prompt generator, and parts of SAM beside it (DC-SAM, Tables 6, 7 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor, nn

from icvos.errors import UserInputError, did_you_mean

UNTOUCHED = ("pred_obj_score_head.", "obj_score_token.", "iou_prediction_head.", "iou_token.")  # of a decoder: no loss speaks of them
ENCODING = ("conv_s0.", "conv_s1.")  # of SAM 2's decoder: they run with the image encoder, whose features a training may keep

Adapters = tuple[Callable[[Any], None], Callable[[Any], Mapping[str, Tensor]]]  # put them in; the weights with them merged


class Tuning:
    """The trained sets by name: ``generator`` always, ``decoder``, ``memory``, ``lora``."""

    names = ("generator", "decoder", "memory", "lora")

    def __init__(self, trained: Collection[str], adapters: Adapters | None = None) -> None:
        """Choose.

        Raises:
            UserInputError: no such set; adapters beside what they adapt; or adapters where the method has none.
        """
        for name in trained:
            if name not in self.names:
                raise UserInputError("no such set of parameters to train", name, fix=did_you_mean(name, self.names))
        self.trained, self.adapters = frozenset(trained), adapters
        if "lora" in self.trained and (self.trained & {"decoder", "memory"} or adapters is None):
            fix = "train lora alone, beside the generator; DC-SAM has it"
            raise UserInputError("adapters of what is trained itself", "--train", ", ".join(sorted(self.trained)), "generator,lora", fix)

    def prepare(self, generator: nn.Module, sam: nn.Module, *, encoding: bool) -> None:
        """Set which parameters require gradients.

        Args:
            generator: trained whole.
            sam: SAM or SAM 2.
            encoding: whether the two convolutions of the decoder that make its finer maps are among what is trained.
        """
        sam.requires_grad_(False)
        generator.requires_grad_("generator" in self.trained)
        if "lora" in self.trained and self.adapters:
            self.adapters[0](sam)
            generator.requires_grad_("generator" in self.trained)
        for name, value in sam.named_parameters():
            if "lora" not in self.trained:
                value.requires_grad_(self._moves(name, encoding))

    def _moves(self, name: str, encoding: bool) -> bool:
        part, _, rest = name.partition(".")
        if "decoder" in self.trained and part in {"sam_mask_decoder", "mask_decoder"}:
            return not rest.startswith(UNTOUCHED) and (encoding or not rest.startswith(ENCODING))
        return "memory" in self.trained and part in {"memory_encoder", "memory_attention"}

    def changed(self, sam: nn.Module) -> dict[str, Tensor]:
        """What of SAM is another after training, under its own names."""
        if "lora" in self.trained and self.adapters:
            return dict(self.adapters[1](sam))
        return {name: value.detach() for name, value in sam.named_parameters() if value.requires_grad}
