"""How much a submission may ask for, each number with its reason. The release says how many masks there can be."""

from __future__ import annotations

from dataclasses import dataclass

from icvos.types import Size

# A mask file past 64 MB is no mask: it is more than 16 bits of four channels of a 2.8K frame, not compressed at all.
MOST_MASK_BYTES = 1 << 26
# Of one mask beyond its raw pixels: a colour profile, a thumbnail and text that some program put into the PNG.
ROOM_IN_A_MASK = 4 << 20
# Raw bytes of a pixel in the worst of PNGs, 16 bits of red, green, blue and transparency: such a file is told what it is.
WORST_PIXEL_BYTES = 8
# A zip within a zip is read where it lies if it is stored. If it is deflated, it is inflated into memory: so far and no further.
MOST_INNER_BYTES = 1 << 26
# Entries of a zip beyond what the release can need: folders, and strangers enough to be listed by name.
SPARE_ENTRIES = 10_000
# Bytes of a zip's directory for each entry: 46, the name, and what zip programs add; ten times less is usual.
MOST_ENTRY_BYTES = 512
# Folders in the name of an entry: a zipped run has six, and each of a name's folders costs memory.
MOST_DEPTH = 16
# Unpacked bytes beyond the masks' own: one gigabyte is inflated in a few seconds.
SPARE_BYTES = 1 << 30
# Unpacked bytes a pixel, over all masks of a zip: none needs more than one, and PNG has packed most of them a hundredfold.
MOST_BYTES_A_PIXEL = 4
# No stream that deflate made inflates further: a zip that claims more lies, or its entries share their bytes.
MOST_RATIO = 1032
# A card with its lists of training clips stays far below this.
MOST_RUN_FILE_BYTES = 8 << 20
# Characters of one text of a card, and entries of one list: a board has to show them.
MOST_TEXT = 10_000
MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one zip may hold."""

    entries: int
    total: int  # unpacked bytes of what may be read

    @classmethod
    def of(cls, masks: int, pixels: int) -> Limits:
        """What is enough for so many masks with so many pixels in all, whichever way they are packed."""
        return cls(2 * masks + SPARE_ENTRIES, MOST_BYTES_A_PIXEL * pixels + SPARE_BYTES)


# Where no release is known yet. A directory of so many entries takes a fifth of a gigabyte.
ANY = Limits.of(100_000, 100_000 * 2_000_000)


def mask_room(size: Size) -> int:
    """The most bytes that a PNG of a clip's mask may have; `size` is the clip's."""
    return min(WORST_PIXEL_BYTES * size[0] * size[1] + ROOM_IN_A_MASK, MOST_MASK_BYTES)
