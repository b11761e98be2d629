"""What a PerSAM is: one record of options, in which each point where the released code errs has a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from baselines.common.windows import SupportView
from icvos.errors import UserInputError, did_you_mean

Variant: TypeAlias = Literal["persam", "persam-f"]


@dataclass(frozen=True, slots=True)
class PerSamConfig:
    """All options; the defaults are the preset `default` (see `preset`)."""

    variant: Variant = "persam"

    # What of the paper is used; PerSAM-F has neither of the two
    guided_attention: bool = True  # tokens look first where the picture is like the target
    semantic_prompting: bool = True  # the target's embedding is added to the tokens

    # Where the released code errs
    mask_as_picture: bool = False  # the support's mask is normalised like a picture, and shrinks; release: yes
    second_softmax: bool = False  # the guidance comes after attention's softmax, and a second one flattens both; release: yes
    target_in_positions: bool = False  # the target, added in place, stays in the tokens' positions; release: yes
    guidance_squashed: bool = False  # the whole picture's guidance is laid over a grid that has padding; release: yes

    # What it does not have
    support_view: SupportView = "object"  # see support_window; release: picture

    # PerSAM-F's training
    fit_at: Literal["decoder", "picture"] = "decoder"  # the size of masks; the decoder's is smaller and as good; release: picture
    steps: int = 1000
    rate: float = 1e-3  # of AdamW, at its first step; then a cosine to nothing


RELEASE: dict[str, Any] = {
    "mask_as_picture": True,
    "second_softmax": True,
    "target_in_positions": True,
    "guidance_squashed": True,
    "support_view": "picture",
    "fit_at": "picture",
}
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "release": RELEASE}


def preset(name: str = "default", variant: Variant = "persam", **changes: Any) -> PerSamConfig:
    """The options of a preset, with changes.

    Args:
        name: ``release``: what the released code computes; ``default``: the same without its errors.
        variant: ``persam``, or ``persam-f``, which learns how to mix SAM's three masks.
        changes: options by name.

    Raises:
        UserInputError: no such preset or variant.
    """
    for what, chosen, known in (("preset", name, tuple(PRESETS)), ("variant", variant, get_args(Variant))):
        if chosen not in known:
            raise UserInputError(f"no such {what} of PerSAM", chosen, fix=did_you_mean(chosen, known))
    return replace(PerSamConfig(variant), **{**PRESETS[name], **changes})
