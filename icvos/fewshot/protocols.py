"""How published codes measure few-shot segmentation, as data: what is asked, how often, and at which size it is scored.

In all of them the intersections and unions of a class are summed over its episodes before they are divided, void (255) counts
nowhere, and a class may be asked for where it covers 2,048 pixels of the label map (the rule of the field's lists).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icvos.errors import UserInputError, did_you_mean
from icvos.types import Size

LEAST = 2 * 32 * 32  # pixels of a class in a picture that may be asked for it
IGNORED = 255
VERSION = 1


@dataclass(frozen=True, slots=True)
class ImageProtocol:
    """How often is asked, and how masks become numbers.

    `episodes`: a fold's, by benchmark. `resize`: what truth and prediction are squashed to, None for the picture's own size (the
    codes that pad to a square score at that size, too: padding is void). `training`: which pictures the code trains on (`icvos train
    --pictures`); whoever measures says it of the weights.
    """

    name: str
    episodes: Mapping[str, int]
    resize: Size | None
    training: str
    code: str  # whose

    def size(self, picture: Size) -> Size:
        """At which a picture is scored."""
        return self.resize or picture


def _often(coco: int, pascal: int) -> dict[str, int]:
    return {"coco20i": coco, "pascal5i": pascal, "coco2pascal": pascal}


_ALL = "all"  # with any trained class; classes of the fold in them are background
_FILTERED = "without-fold"  # those that show nothing of the fold's classes
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        ImageProtocol("native", _often(1000, 1000), None, "not prescribed", "icvos"),
        ImageProtocol("native-10k", _often(10_000, 10_000), None, "not prescribed", "icvos, for narrow intervals"),
        ImageProtocol("hsnet", _often(1000, 1000), (400, 400), _ALL, "HSNet"),
        ImageProtocol("pfenet", _often(20_000, 5000), None, _ALL, "PFENet"),
        ImageProtocol("bam", _often(10_000, 1000), None, _FILTERED, "BAM, HDMNet, AMNet"),
        ImageProtocol("dcsam", _often(1000, 1000), (512, 512), _FILTERED, "DC-SAM, VRP-SAM"),
        ImageProtocol("matcher", _often(1000, 1000), (518, 518), "nothing", "Matcher"),
    )
}


def image_protocol(name: str) -> ImageProtocol:
    """The protocol called `name`.

    Raises:
        UserInputError: there is none.
    """
    if name not in PROTOCOLS:
        raise UserInputError("unknown protocol of images", name, fix=did_you_mean(name, PROTOCOLS))
    return PROTOCOLS[name]
