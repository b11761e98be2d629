"""Fine-tuning SAM 2 by low-rank adapters (Table 10): 0.11 M parameters, by the package `peft`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from icvos.errors import missing_package

RANK = 8
TARGETS = r"(sam_mask_decoder|memory_attention)\..*(q_proj|v_proj)|sam_mask_decoder\.conv_s[01]"


def add_lora(model: SAM2Base, rank: int = RANK) -> None:
    """Put adapters beside the query and value projections of decoder and memory attention, and beside conv_s0 and conv_s1.

    Only the adapters' parameters require gradients afterwards; at first they change nothing. Their first weights come from
    torch's generator.

    Raises:
        UserInputError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise missing_package("--train lora", error, "train") from error
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), model)


def merged(model: SAM2Base) -> dict[str, Tensor]:
    """The weights that have adapters, with these added in, under SAM 2's own names; the model itself stays as it is."""
    weights = {}
    for name, layer in _adapted(model):
        base: nn.Module = layer.get_base_layer()
        weights[f"{name}.weight"] = (base.weight + layer.get_delta_weight("default")).detach()
    return weights


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer  # whoever has adapters has it

    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer))
