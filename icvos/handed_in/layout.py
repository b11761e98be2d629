"""Where each episode's masks lie in what was handed in, and what lies there that should not; no mask is opened.

Names that are nearly right are told once and read nevertheless, so that one slip does not also look like a hundred missing
masks. One folder too many around everything is let pass: most programs that make zips add one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from icvos.errors import Finding
from icvos.handed_in.asked import Asked
from icvos.handed_in.limits import Limits
from icvos.handed_in.names import beginnings, keys_of, recognised, shown, told_apart
from icvos.handed_in.nodes import Node, Refused
from icvos.store import PREDICTIONS, RUN, TIMING

_OF_A_RUN = frozenset({RUN, PREDICTIONS, TIMING, "results"})
_DEEPEST = 4  # folders around the sources that are looked into to say how many there are too many


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where: `places` leads from the top to each episode that is there, by names; `told` are episodes of which a
    finding says already why they cannot be read; `base` is what stands before the id of one that is missing. `beside` are
    faults of what lies around a run's predictions, which somebody's own run may well have. `lost`: nothing is where it
    should be. `limits`: how much it may hold. `shape`: how it should be laid out, in words.
    """

    places: Mapping[str, tuple[str, ...]]
    told: frozenset[str]
    base: str
    findings: tuple[Finding, ...]
    limits: Limits
    shape: str
    beside: tuple[Finding, ...] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """The nodes that an expected name stands for, what had to be told of them, and those that nobody asked for."""

    found: Mapping[str, Node]
    findings: tuple[Finding, ...]
    strangers: tuple[Node, ...]


def matched(children: Mapping[str, Node], expected: Iterable[str], ending: str) -> Matched:
    """Which of the nodes are the expected ones: by their names, by nearly their names, or by all but the ending."""
    expected = dict.fromkeys(expected)
    found = {name: node for name, node in children.items() if name in expected}
    others = sorted(children.keys() - found.keys())
    keys = keys_of(expected) if others else {}
    findings, strangers = [], []
    for name in others:
        node = children[name]
        meant = recognised(name, keys)
        if meant and meant not in found:
            found[meant] = node
            if not node.fault:
                findings.append(Finding("name", node.where, *told_apart(name, meant), "rename it"))
        elif other := next(
            (start + ending for start in beginnings(name) if start + ending in expected and start + ending not in found), ""
        ):
            if not node.fault:
                said = Refused("unreadable", f"a {shown(name[len(other) - len(ending) :])} file", other, "write it again in this form")
                findings.append(said.at(node.where))
                node.fault = said
            found[other] = node
        elif not node.fault:
            strangers.append(node)
    return Matched(found, tuple(findings), tuple(strangers))


def laid_out(root: Node, asked: Asked) -> Layout:
    """Find every episode that is asked for below a node: a folder of masks, a run's folder, or a zip of either."""
    limits = asked.limits
    try:
        top = root.listed(limits)
        if not (root.is_folder or top.children or top.findings):
            raise Refused("layout", "an empty zip", f"masks, laid out as {asked.shape}", "hand in the folder of masks")
    except Refused as refused:
        return Layout({}, frozenset(), root.where, (refused.at(root.where),), limits, asked.shape, lost=True)
    return _Walk(asked, limits).laid_out(root)


class _Walk:
    def __init__(self, asked: Asked, limits: Limits) -> None:
        self.label, self.shape, self.limits = asked.label, asked.shape, limits
        self.wanted: dict[str, dict[str, list[str]]] = {}
        for episode_id in asked.episode_ids:
            source, clip, name = episode_id.split("/")
            self.wanted.setdefault(source, {}).setdefault(clip, []).append(name)
        self.keys = keys_of(self.wanted)
        self.listed: set[int] = set()  # nodes of which is told what had to be told of their listing
        self.places: dict[str, tuple[str, ...]] = {}
        self.told: set[str] = set()
        self.findings: list[Finding] = []
        self.beside: list[Finding] = []

    def laid_out(self, root: Node) -> Layout:
        base, names = self._base(root)
        children = self._children(base)
        below = f"{base.where}{'/' if base.is_folder else ': '}"
        sources = matched({name: node for name, node in children.items() if name != RUN}, self.wanted, "")
        if not sources.found and (set(children) - (_OF_A_RUN if RUN in children else set()) or self.findings):
            self._tell_lost(root, base, children)
            return Layout({}, frozenset(), below, tuple(self.findings), self.limits, self.shape, tuple(self.beside), lost=True)
        self._take(sources, names, 0, lambda source, node, names: self._clips(source, node, names))
        return Layout(self.places, frozenset(self.told), below, tuple(self.findings), self.limits, self.shape, tuple(self.beside))

    def _base(self, root: Node) -> tuple[Node, tuple[str, ...]]:
        """The folder that the sources lie in, and the names that lead there."""
        names: tuple[str, ...] = ()
        node, children = root, self._children(root)
        folders = [child for child in children.values() if child.is_folder]
        if not self._is_top(children) and len(folders) == 1 and self._is_top(self._listing(folders[0])):
            others = (child for _, child in sorted(children.items()) if child is not folders[0] and not child.fault)
            self.findings.extend(stranger(child, self.shape) for child in others)
            node, children, names = folders[0], self._children(folders[0]), (folders[0].name,)
        predictions = children.get(PREDICTIONS)
        if predictions and not predictions.is_folder and not predictions.fault:
            predictions.fault = Refused("unreadable", "a file", "a folder", f"lay the masks out as {self.shape}")
            self.findings.append(predictions.fault.at(predictions.where))
        if predictions:
            others = (child for name, child in sorted(children.items()) if name not in _OF_A_RUN and not child.fault)
            self.beside.extend(stranger(child, self.shape) for child in others)
        if predictions and predictions.is_folder:
            node, names = predictions, (*names, PREDICTIONS)
        return node, names

    def _is_top(self, children: Mapping[str, Node]) -> bool:
        return any(name in (RUN, PREDICTIONS) or name in self.wanted or recognised(name, self.keys) for name in children)

    def _listing(self, node: Node) -> Mapping[str, Node]:
        try:
            return node.listed().children
        except Refused:
            return {}

    def _children(self, node: Node) -> Mapping[str, Node]:
        """What a folder holds; what had to be told of it is told."""
        if node.fault:
            return {}
        try:
            listing = node.listed()
        except Refused as refused:
            self.findings.append(refused.at(node.where))
            return {}
        if id(node) not in self.listed:
            self.listed.add(id(node))
            self.findings.extend(listing.findings)
        return listing.children

    def _tell_lost(self, root: Node, base: Node, children: Mapping[str, Node]) -> None:
        """One finding for a layout that is another one altogether."""
        expected = _OF_A_RUN if RUN in children else frozenset[str]()
        told = PREDICTIONS in children or all(child.fault or name in expected for name, child in children.items())
        if children and told:
            return
        way = self._search(root, _DEEPEST)
        first = ", ".join(shown(name) for name in sorted(children)[:3])
        found = f"{way}: {way.count('/')} folders too deep" if way else first or "nothing"
        fix = "hand in the folder that the sources lie in" if way else "lay the masks out so"
        sources = ", ".join(f"{source}/" for source in list(self.wanted)[:3])
        self.findings.append(Finding("layout", base.where, found, f"{sources} at the top, laid out as {self.shape}", fix))

    def _search(self, node: Node, depth: int) -> str:
        """The way to a source that lies too deep."""
        for name, child in sorted(self._listing(node).items()):
            if not child.is_folder or child.fault:
                continue
            if name in self.wanted:
                return shown(name)
            if depth and (way := self._search(child, depth - 1)):
                return f"{shown(name)}/{way}"
        return ""

    def _take(self, found: Matched, names: tuple[str, ...], level: int, go: Callable[[str, Node, tuple[str, ...]], None]) -> None:
        """Tell what is to be told of one level, and go on with what was found in the order in which it was expected."""
        self.findings.extend(found.findings)
        for other in found.strangers:
            self.findings.extend(self._strange(other, level))
        for name, node in sorted(found.found.items()):
            go(name, node, (*names, node.name))

    def _clips(self, source: str, node: Node, names: tuple[str, ...]) -> None:
        if self._is_folder(node, [f"{source}/{clip}/{name}" for clip, ids in self.wanted[source].items() for name in ids]):
            clips = matched(self._children(node), self.wanted[source], "")
            self._take(clips, names, 1, lambda clip, child, names: self._episodes(f"{source}/{clip}", child, names))

    def _episodes(self, key: str, node: Node, names: tuple[str, ...]) -> None:
        source, clip = key.split("/")
        wanted = self.wanted[source][clip]
        if not self._is_folder(node, [f"{key}/{name}" for name in wanted]):
            return
        children = self._children(node)
        folders = {name.removesuffix(".zip"): child for name, child in children.items() if child.is_folder}
        # A file without the ending is read as the zip that it may be.
        bare = {name for name in wanted if f"{name}.zip" not in children}
        files = {f"{name}.zip" if name in bare else name: child for name, child in children.items() if not child.is_folder}
        zips = matched(files, [f"{name}.zip" for name in wanted], ".zip")
        plain = matched(folders, wanted, "")
        found = {**plain.found, **{name.removesuffix(".zip"): child for name, child in zips.found.items()}}
        both = [child for name, child in plain.found.items() if found[name] is not child]
        self.findings.extend(
            Finding("extra-episode", f"{child.where} (a second one)", "a folder beside a zip", "one of the two", "remove either")
            for child in both
        )
        strangers = sorted((*zips.strangers, *plain.strangers), key=lambda child: child.name)
        joined = Matched(found, plain.findings + zips.findings, tuple(strangers))
        self._take(joined, names, 2, lambda name, child, names: self._place(f"{key}/{name}", child, names))

    def _place(self, episode_id: str, node: Node, names: tuple[str, ...]) -> None:
        if node.fault:
            self.told.add(episode_id)
        else:
            self.places[episode_id] = names

    def _is_folder(self, node: Node, episode_ids: list[str]) -> bool:
        if not node.is_folder or node.fault:
            self.told.update(episode_ids)
            if not node.fault:
                self.findings.append(Finding("unreadable", node.where, "a file", "a folder", f"lay the masks out as {self.shape}"))
        return node.is_folder and not node.fault

    def _strange(self, node: Node, level: int) -> Iterator[Finding]:
        """What to say of something that no episode of the release asks for, at the level of sources, clips or episodes."""
        episodes = list(self._episodes_below(node, level))
        for name, child in episodes:
            yield Finding("extra-episode", child.where.removesuffix(".zip"), name, f"an episode of {self.label}", "remove it")
        if not episodes:
            yield stranger(node, self.shape)

    def _episodes_below(self, node: Node, level: int) -> Iterator[tuple[str, Node]]:
        """What looks like an episode at or below a node, with its name."""
        if level == 2:
            if "#" in node.name:
                yield shown(node.name.removesuffix(".zip")), node
        elif node.is_folder:
            below = (self._episodes_below(child, level + 1) for _, child in sorted(self._listing(node).items()) if not child.fault)
            yield from chain.from_iterable(below)


def stranger(node: Node, shape: str) -> Finding:
    """What to say of a file or folder that nobody asked for; `shape` is how masks are laid out."""
    found = "a file"
    if node.is_folder:
        try:
            first = min(node.listed().children, default="")
        except Refused:
            first = ""
        found = f"a folder with {shown(node.name)}/{shown(first)}" if first else "an empty folder"
    return Finding("extra-file", node.where, found, f"{shape} and nothing else", "remove it")
