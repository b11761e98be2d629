"""DC-SAM as `icvos run --method dcsam` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from baselines.common.prompting import GeneratorMethod, generated
from icvos.propagate.base import Propagated
from icvos.types import Compute

if TYPE_CHECKING:
    from torch import nn

    from baselines.common.generator_file import GeneratorFile

NAME = "dcsam"


def read(path: Path) -> GeneratorFile:
    """A file of weights: what `icvos train` wrote, or a checkpoint under the released code's names.

    Raises:
        UserInputError: there is no such file, or it is of another method.
        DataError: it cannot be read.
    """
    from baselines.common.generator_file import read_generator
    from dcsam.checkpoint import read_official

    return read_official(path) if path.suffix in {".pt", ".pth"} else read_generator(path, NAME)


def build(content: GeneratorFile, width: int) -> tuple[nn.Module, str, int]:
    """The network with its weights, the backbone's name, and the side of the images that it sees.

    Raises:
        UserInputError: its tokens are not as wide as the decoder's, or its tensors do not fit its options.
        DataError: its options are those of another version.
    """
    from baselines.common.encoders import middle_channels_of
    from baselines.common.generator_file import check_options, config_from
    from dcsam.config import DcSamConfig
    from dcsam.model import DcSam
    from icvos.models.checkpoints import load_weights

    config = config_from(DcSamConfig(), content.options, NAME)
    check_options(config, {"width": width}, NAME)
    network = DcSam(config, middle_channels_of(config.backbone))
    load_weights(network, content.generator, NAME)
    return network, config.backbone, config.image_size


METHOD = GeneratorMethod(
    NAME, "dcsam_nano", "prompts from a positive and a negative branch with cyclic attention", "DC-SAM (2025)", read, build
)


def dcsam(compute: Compute) -> Propagated:
    """The method whose tokens go to SAM 2, as in the released code."""
    return generated(METHOD, compute)


def dcsam_mask(compute: Compute) -> Propagated:
    """The method whose mask of frame 0 goes to SAM 2, as in the paper (Section 4.5)."""
    return generated(METHOD, compute, "mask")
