"""Methods and sources by name, through entry points: the built-in ones come in by the same door as anybody's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, cast

from icvos.cards import card_faults
from icvos.errors import IcvosError, PluginError, UserInputError, did_you_mean
from icvos.files import AnyPath, sha256_file
from icvos.types import Compute, MethodCard, NeedsTruth, Segmenter, Source

METHODS = "icvos.methods"
SOURCES = "icvos.sources"


@dataclass(frozen=True, slots=True)
class LoadedMethod:
    """A method ready to run: the name it was asked for by, and where its code comes from."""

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
    compute = compute or Compute()
    factory, code = _from_file(spec) if ".py:" in spec or spec.endswith(".py") else _from_entry_point(spec)
    try:
        segmenter = factory(compute=compute) if "compute" in signature(factory).parameters else factory()
        card = getattr(segmenter, "card", None)
    except IcvosError:  # one of ours says what is wrong
        raise
    except (Exception, SystemExit) as error:
        expected = "a class without arguments, or with `compute`"
        raise PluginError("the method cannot be made", spec, f"{type(error).__name__}: {error}", expected, "mend the method") from error
    if not isinstance(card, MethodCard):
        found = "none" if card is None else type(card).__name__
        raise PluginError("the method has no card", spec, found, "`card`, an icvos.types.MethodCard", "give it one")
    _check_card(spec, card)
    if not any(hasattr(segmenter, name) for name in ("segment", "segment_together", "segment_from_truth")):
        raise PluginError("the method cannot segment", spec, expected="segment(frames, supports)", fix="see docs/add-a-method.md")
    if isinstance(segmenter, NeedsTruth) and card.kind != "ceiling":
        fix = "only a ceiling is told the truth: write kind='ceiling', or answer with segment(frames, supports)"
        raise PluginError("the method asks for the truth", spec, f"a card of kind {card.kind!r}", "'ceiling'", fix)
    return LoadedMethod(spec, segmenter, code, compute)


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
    return [
        cast(Source, factory(Path(roots[name]), resolution=resolution) if name in choosing else factory(Path(roots[name])))
        for name, factory in factories.items()
    ]


def _from_entry_point(name: str) -> tuple[Callable[..., Any], str]:
    point = _entry_point(METHODS, name, "method")
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
    return _load(point), package


def _entry_point(group: str, name: str, what: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise UserInputError(f"unknown {what}", name, fix=did_you_mean(name, points))
    return points[name]


def _load(point: EntryPoint) -> Callable[..., Any]:
    try:
        return cast(Callable[..., Any], point.load())
    except (Exception, SystemExit) as error:  # whatever somebody's module does while it is imported
        message = f"{type(error).__name__}: {error}"
        raise PluginError("the plug-in cannot be loaded", point.name, message, point.value, "see `icvos doctor`") from error


def _from_file(spec: str) -> tuple[Callable[..., Any], str]:
    file, _, name = (spec if ".py:" in spec else f"{spec}:").rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UserInputError("no such file", path, expected="path.py:Class", fix="check the path")
    module_name = f"icvos_method_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise UserInputError("not a Python file", path, expected="path.py:Class", fix="check the path")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses and pickling look themselves up there
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PluginError("the method's file fails", path, f"{type(error).__name__}: {error}", fix="mend the file") from error
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module_name]
        raise UserInputError("no such class", f"{name or 'none named'}, in {path}", "", "path.py:Class", did_you_mean(name, classes))
    return getattr(module, name), f"sha256 {sha256_file(path)}"
