"""A trained prompt generator, or a head, on disk: its tensors, its options, and which SAM it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from icvos.cards import NOT_TOLD
from icvos.categories import CATEGORIES
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath, atomic_file, parse_json
from icvos.models.tensor_files import metadata_of, read_stored
from icvos.training.class_pictures import VOC_NAMES
from icvos.training.episodes import fold_categories

FORMAT = "icvos-prompt-generator/1"
KEY = "icvos"  # of the file's metadata
GENERATOR, SAM, BACKBONE = "generator.", "sam.", "backbone."  # what the names of tensors begin with
Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class GeneratorFile:
    """All that is needed to run it again."""

    method: str
    options: Mapping[str, Any]  # of the method's config
    sam: str  # name of the SAM it speaks to; empty for a head, whose masks any SAM 2 can follow
    generator: Mapping[str, Tensor]
    sam_state: Mapping[str, Tensor] = field(default_factory=dict)  # what of that SAM was trained along
    facts: Mapping[str, Any] = field(default_factory=dict)  # how it was trained
    backbone: Mapping[str, Tensor] = field(default_factory=dict)  # one of its own in the place of the registry's


def write_generator(path: AnyPath, content: GeneratorFile) -> None:
    """Write it in half precision, whole or not at all; the same content gives the same bytes."""
    path = Path(path)
    named = {GENERATOR + name: value for name, value in content.generator.items()}
    named |= {SAM + name: value for name, value in content.sam_state.items()}
    named |= {BACKBONE + name: value for name, value in content.backbone.items()}
    tensors = {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in sorted(named.items())}
    said = {"format": FORMAT, "method": content.method, "sam": content.sam, "options": content.options, "facts": content.facts}
    packed = save(tensors, {KEY: json.dumps(said, sort_keys=True)})  # one entry: several are written in an order of chance
    with atomic_file(path) as stream:
        stream.write(packed)


def is_generator(path: AnyPath) -> bool:
    """Whether `icvos train` wrote a file, whatever it is called.

    Raises:
        UserInputError: there is no such file.
        DataError: it is a damaged safetensors file.
    """
    return KEY in metadata_of(Path(path))


def read_generator(path: AnyPath, method: str) -> GeneratorFile:
    """Read what `write_generator` wrote, in single precision.

    Raises:
        UserInputError: there is no such file, or it is of another method.
        DataError: it is damaged, holds a NaN, or is no file of a prompt generator.
    """
    path = Path(path)
    stored = read_stored(path)
    said = parse_json(stored.metadata.get(KEY, "{}").encode(), path)
    if said.get("format") != FORMAT:
        found = said.get("format", "no format")
        raise DataError("not the weights of a prompt generator", path, found, FORMAT, "pass what `icvos train` wrote")
    if said["method"] != method:
        raise UserInputError("weights of another method", path, said["method"], method, f"choose --method {said['method']}")
    tensors = {name: value.float() for name, value in stored.content.items()}
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise DataError("weights that are not numbers", path, f"NaN or infinity in {broken[0]}", "finite numbers", "fetch the file again")
    generator, sam, backbone = (
        {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)} for part in (GENERATOR, SAM, BACKBONE)
    )
    return GeneratorFile(method, said["options"], said["sam"], generator, sam, said["facts"], backbone)


def data_trained_on(content: GeneratorFile) -> tuple[str, ...]:
    """What a file's training saw, for a card."""
    names = {"coco": "COCO", "pascal": "PASCAL VOC 2012", "voc_small": "VOC pictures"}
    fold, dropped = content.facts.get("fold"), content.facts.get("pictures of") == "without-fold"
    less = "" if fold is None else f" without the {'pictures' if dropped else 'masks'} of fold {fold}"
    said = tuple(f"{names[part]}{less}" for part in str(content.facts.get("data", "")).split("+") if part in names)
    return said or (NOT_TOLD,)


def classes_trained_on(content: GeneratorFile) -> tuple[str, ...]:
    """The classes, by COCO's names, that a file's training showed with masks, as did those of its base learner and of its start.

    Empty where neither its facts nor its options say.
    """
    ids = {category.id: category.name for category in CATEGORIES}
    based = tuple(ids[id_] for id_ in content.options.get("base_classes", ()))
    return tuple(dict.fromkeys((*_told_classes(content.facts), *based, *content.facts.get("seen before", ()))))


def _told_classes(facts: Mapping[str, Any]) -> tuple[str, ...]:
    ids = {category.id: category.name for category in CATEGORIES}
    voc = dict(enumerate(VOC_NAMES, start=1))
    known = {"coco": ids, "pascal": voc, "voc_small": voc}
    parts = [part for part in str(facts.get("data", "")).split("+") if part in known]
    if len(parts) == 1 and facts.get("fold") is not None:
        names = known[parts[0]]
        return tuple(names[id_] for id_ in fold_categories(parts[0], tuple(names), int(facts["fold"]))[0])
    return tuple(dict.fromkeys(name for part in parts for name in known[part].values()))


def config_from(default: Options, options: Mapping[str, Any], where: object) -> Options:
    """The options of a file, as a record of the type of `default`.

    Raises:
        DataError: the file names an option that there is none of.
    """
    if not is_dataclass(default) or isinstance(default, type):
        raise TypeError("expected a record of options")
    known = {item.name for item in fields(default)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise DataError("options of another version", where, ", ".join(unknown), ", ".join(sorted(known)), "update icvos")
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}  # JSON has no tuples
    return replace(default, **kept)


def check_options(found: object, wanted: Mapping[str, Any], where: object) -> None:
    """See that a file was trained with the options that are asked for.

    Raises:
        UserInputError: it was not; says which differ.
    """
    own: dict[str, Any] = asdict(found)  # type: ignore[call-overload]
    differing = [f"{name} {own.get(name)!r} (asked: {value!r})" for name, value in sorted(wanted.items()) if own.get(name) != value]
    if differing:
        fix = "ask for what it was trained with, or train another"
        raise UserInputError("weights trained with other options", where, ", ".join(differing), "the options asked for", fix)
