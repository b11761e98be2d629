"""The masks of one episode as they were handed in, each judged before it is decoded; the checker's and the scorer's only way in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from icvos.badges import EpisodeHash
from icvos.errors import Finding
from icvos.handed_in.asked import Sizes, Wanted
from icvos.handed_in.layout import Layout, matched, stranger
from icvos.handed_in.limits import Limits, mask_room
from icvos.handed_in.nodes import Node, Refused
from icvos.kernels import Kernel, Packed
from icvos.masks import resize_nearest, size_text
from icvos.png import PngError, ValuesError, png_size
from icvos.render.text import many
from icvos.scores import MISSING_ALLOWED, RESIZED
from icvos.store import descend
from icvos.types import Size


@dataclass(frozen=True, slots=True)
class Leniency:
    """What a user explicitly lets pass; a result says so in its notes."""

    allow_missing: bool = False  # a mask that is not there counts 0
    resize: bool = False  # a mask of another size is resampled to the clip's, nearest neighbour

    @property
    def notes(self) -> tuple[str, ...]:
        """The leniencies in words."""
        return ((MISSING_ALLOWED,) if self.allow_missing else ()) + ((RESIZED,) if self.resize else ())

    @classmethod
    def of(cls, notes: Collection[str]) -> Leniency:
        """What was let pass in a result with these notes."""
        return cls(MISSING_ALLOWED in notes, RESIZED in notes)


STRICT = Leniency()


@dataclass(frozen=True, slots=True)
class Rules:
    """How masks are judged: in what size they are scored, what is let pass, and by which kernel they are read."""

    protocol: Sizes
    leniency: Leniency
    kernel: Kernel


class EpisodeMasks:
    """The masks of one episode; whatever is wrong with them is said in `findings`, once, in the order of the frames."""

    def __init__(self, episode_id: str, root: Node, layout: Layout, wanted: Wanted, rules: Rules) -> None:
        self.wanted, self.rules, self.shape = wanted, rules, layout.shape
        self.findings: list[Finding] = []
        self._hash = EpisodeHash()
        self._files: dict[str, Node] = {}
        self._node = descend(root, layout.places[episode_id]) if episode_id in layout.places else None
        self.where = self._node.where if self._node else f"{layout.base}{episode_id}"
        # Where nothing can be said of single frames, because the whole is not there or a finding says why it cannot be read.
        self._silent = self._node is None or not self._list(self._node)
        if self._node is None and episode_id not in layout.told:
            self._miss("nothing", f"{self.where} (.zip or folder)")

    @property
    def sha256(self) -> str:
        """One hash over all masks that were read so far, in the order in which they were."""
        return self._hash.hexdigest()

    def read(self, frame_id: str) -> bytes | None:
        """The PNG of a frame, or None where there is none that could be read."""
        data = self._read(frame_id)
        self._hash.add(frame_id, data)
        return data

    def _read(self, frame_id: str) -> bytes | None:
        if self._silent:
            return None
        node = self._files.get(frame_id)
        if node is None and not self.rules.leniency.allow_missing:
            self._fault("missing-mask", frame_id, "nothing", "a mask of this frame", "predict every frame")
        if node is None or node.fault:
            return None
        try:
            return node.read(mask_room(self.wanted.size))
        except Refused as refused:
            self.findings.append(refused.at(self._named(frame_id)))
            return None

    def decode(self, data: bytes, frame_id: str) -> Packed | None:
        """The mask in a PNG's bytes at the size at which it is scored, or None where they are none that can be used."""
        size, protocol = self.wanted.size, self.rules.protocol
        try:
            found = png_size(data)  # before anything is inflated
            if found not in {size, protocol.size(size)} and not self.rules.leniency.resize:
                self._fault("size", frame_id, size_text(found), size_text(size), "write masks at the frames' own size, or allow --resize")
                return None
            packed = self.rules.kernel.read_prediction(data)
        except PngError as error:
            code = "values" if isinstance(error, ValuesError) else "unreadable"
            self._fault(code, frame_id, str(error), "a one-channel PNG of 0 and 1, or of 0 and 255", "write it again")
            return None
        if packed.size not in {size, protocol.size(size)}:
            packed = resampled(packed, size, self.rules.kernel)
        return resampled(packed, protocol.size(size), self.rules.kernel)

    def close(self) -> None:
        """Let go of the file."""
        if self._node is not None:
            self._node.close()

    def _list(self, node: Node) -> bool:
        """Find the frames' files; whether there is anything to say of single ones."""
        height, width = self.wanted.size
        try:
            listing = node.listed(Limits.of(len(self.wanted.frames), len(self.wanted.frames) * height * width))
        except Refused as refused:
            self.findings.append(refused.at(node.where))
            return False
        frames = {f"{frame_id}.png": frame_id for frame_id in self.wanted.frames}
        found = matched(listing.children, frames, ".png")
        self._files = {frames[name]: child for name, child in found.found.items()}
        self.findings.extend((*listing.findings, *found.findings))
        for child in found.strangers:
            if child.is_folder and not self._files and len(found.strangers) == 1:
                fix = "put what lies in the folder in its place"
                self.findings.append(Finding("layout", child.where, "a folder around the masks", "<frame>.png", fix))
            elif child.name.endswith(".png") and not child.is_folder:
                self.findings.append(Finding("extra-mask", child.where, "a mask", "no mask of this name", "remove it"))
            else:
                self.findings.append(stranger(child, self.shape))
        if not self._files and not listing.findings and not found.strangers:
            self._miss("a folder without masks" if node.is_folder else "a zip without masks", node.where)
        return bool(self._files)

    def _miss(self, found: str, where: str) -> None:
        if not self.rules.leniency.allow_missing:
            fix = "predict the episode"
            self.findings.append(Finding("missing-episode", where, found, many(len(self.wanted.scored), "mask"), fix))

    def _fault(self, code: str, frame_id: str, found: str, expected: str, fix: str) -> None:
        self.findings.append(Finding(code, self._named(frame_id), found, expected, fix))

    def _named(self, frame_id: str) -> str:
        return f"{self.where}: {frame_id}.png"


def resampled(packed: Packed, size: Size, kernel: Kernel) -> Packed:
    """A mask at this size, by nearest neighbour."""
    return packed if packed.size == size else kernel.pack(resize_nearest(kernel.unpack(packed), size))
