"""Methods and sources by name, through entry points: the built-in ones come in by the same door as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, cast

from icvos.cards import card_faults
from icvos.errors import PluginError, UserInputError, did_you_mean
from icvos.files import AnyPath
from icvos.method_files import load_file
from icvos.plugins import plugin_code
from icvos.types import Clip, Compute, Instance, MethodCard, NeedsTruth, Segmenter, Source
from icvos.weights import weight_files

METHODS = "icvos.methods"
SOURCES = "icvos.sources"


@dataclass(frozen=True, slots=True)
class LoadedMethod:
    """A method ready to run: its name, or its file's absolute path with the class; and where its code comes from."""

    spec: str
    segmenter: Segmenter
    code: str
    compute: Compute = field(default_factory=Compute)

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        return self.segmenter.card


def method_names() -> list[str]:
    """Every installed method, sorted."""
    return sorted({point.name for point in entry_points(group=METHODS)})


def source_names() -> list[str]:
    """Every installed source, sorted."""
    return sorted({point.name for point in entry_points(group=SOURCES)})


def load_method(spec: str, compute: Compute | None = None) -> LoadedMethod:
    """The method called `spec`: an installed name, or ``path/to/file.py:Class``.

    Args:
        spec: what to load.
        compute: handed to classes that ask for an argument called `compute`; by default the embedded model on the device there is.

    Raises:
        UserInputError: no such method, file or class.
        PluginError: its code fails, it is not a segmenter, or its card is wrong.
    """
    compute = _placed(compute or Compute())
    factory, code, found_at = _from_file(spec) if is_method_file(spec) else _from_entry_point(spec)
    with plugin_code("the method cannot be made", spec, expected="a class without arguments, or with `compute`", fix="mend the method"):
        segmenter = factory(compute=compute) if "compute" in signature(factory).parameters else factory()
        card = getattr(segmenter, "card", None)
    if not isinstance(card, MethodCard):
        found = "none" if card is None else type(card).__name__
        raise PluginError("the method has no card", spec, found, "`card`, an icvos.types.MethodCard", "give it one")
    _check_card(spec, card)
    if not any(hasattr(segmenter, name) for name in ("segment", "segment_together", "segment_from_truth")):
        raise PluginError("the method cannot segment", spec, expected="segment(frames, supports)", fix="see docs/add-a-method.md")
    if isinstance(segmenter, NeedsTruth) and card.kind != "ceiling":
        fix = "only a ceiling is told the truth: write kind='ceiling', or answer with segment(frames, supports)"
        raise PluginError("the method asks for the truth", spec, f"a card of kind {card.kind!r}", "'ceiling'", fix)
    return LoadedMethod(found_at, segmenter, code, compute)


def is_method_file(spec: str) -> bool:
    """Whether a method is asked for by its file."""
    return ".py:" in spec or spec.endswith(".py")


def _placed(compute: Compute) -> Compute:
    """The same, with the files that it names where they are, whatever becomes the working folder."""
    known = weight_files()

    def placed(name: str) -> str:
        return str(Path(name).absolute()) if name not in known and Path(name).is_file() else name

    return replace(compute, sam=placed(compute.sam), weights=compute.weights and placed(compute.weights))


def _check_card(spec: str, card: MethodCard) -> None:
    said = {field.name: getattr(card, field.name) for field in fields(card)}  # asdict would copy what may be anything
    for fault in card_faults(said):
        raise PluginError("the method's card is wrong", f"{spec}, {fault.field}", fault.found, fault.expected, fault.fix)


def load_sources(roots: Mapping[str, AnyPath], resolution: str | None = None) -> list[Source]:
    """The sources of these names over their trees, in the order given.

    Args:
        roots: where each lies.
        resolution: handed to classes that ask for an argument called `resolution`, if one is chosen.

    Raises:
        UserInputError: no such source, or a resolution is chosen and none of them has several.
        PluginError: its code fails.
        DataError: a tree is not what its source expects.
    """
    factories = {name: _load(_entry_point(SOURCES, name, "source")) for name in roots}
    choosing = {name for name, factory in factories.items() if resolution and "resolution" in signature(factory).parameters}
    if resolution and not choosing:
        raise UserInputError("no choice of resolution", ", ".join(roots), found=resolution, fix="leave --resolution out")
    sources = []
    for name, factory in factories.items():
        with plugin_code("the source cannot be opened", name, fix="mend the source"):
            given = {"resolution": resolution} if name in choosing else {}
            sources.append(cast(Source, factory(Path(roots[name]), **given)))
    return sources


def instances_of(source: Source, clip: Clip) -> tuple[Instance, ...]:
    """The annotated objects of a clip of a source, sorted by id.

    Raises:
        PluginError: its code fails.
    """
    with plugin_code("the source failed", f"{source.name} on {clip.key}", fix="mend the source"):
        return source.instances(clip)


def _from_entry_point(name: str) -> tuple[Callable[..., Any], str, str]:
    point = _entry_point(METHODS, name, "method")
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
    return _load(point), package, name


def _entry_point(group: str, name: str, what: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise UserInputError(f"unknown {what}", name, fix=did_you_mean(name, points))
    return points[name]


def _load(point: EntryPoint) -> Callable[..., Any]:
    with plugin_code("the plug-in cannot be loaded", point.name, expected=point.value, fix="see `icvos doctor`"):
        return cast(Callable[..., Any], point.load())


def _from_file(spec: str) -> tuple[Callable[..., Any], str, str]:
    file, _, name = (spec if ".py:" in spec else f"{spec}:").rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UserInputError("no such file", path, expected="path.py:Class", fix="check the path")
    if path.suffix != ".py":
        raise UserInputError("not a Python file", path, expected="path.py:Class", fix="check the path")
    with plugin_code("the method's file fails", path, fix="mend the file"):
        module, code = load_file(path)
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise UserInputError("no such class", f"{name or 'none named'}, in {path}", "", "path.py:Class", did_you_mean(name, classes))
    return getattr(module, name), code, f"{path.absolute()}:{name}"
