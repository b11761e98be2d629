"""Weights from files into networks: what does not fit is told by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath
from icvos.models.tensor_files import read_stored

SHOWN = 3  # names listed of each kind that does not fit
COMPILED = "_orig_mod."  # what torch.compile puts into names, wherever the compiled part stands
WRAPPERS = ("module.", COMPILED, "model.", "net.")  # what stands before all names where a network was saved inside another
STATES = ("model", "state_dict")  # where official checkpoints keep their tensors


def read_state(path: AnyPath) -> dict[str, Tensor]:
    """The tensors of a safetensors or PyTorch file, by name, on the CPU.

    A dictionary under ``model`` or ``state_dict`` is unpacked, as official checkpoints want it, and so is any other that is the
    only one of named tensors. ``module.`` before names and ``_orig_mod.`` in them are removed.

    Raises:
        UserInputError: there is no such file.
        DataError: the file holds something else than named tensors, or is damaged.
    """
    path = Path(path)
    loaded = read_stored(path).content
    if isinstance(loaded, Mapping) and {"trained", "said", "step"} <= loaded.keys():
        fix = "pass the generator.safetensors beside it, which is written when the training is done"
        raise DataError("cannot read the weights", path, "the checkpoint of a training", "what came out of it", fix)
    for key in STATES:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if isinstance(loaded, Mapping) and not any(isinstance(value, Tensor) for value in loaded.values()):
        inner = [value for value in loaded.values() if _named_tensors(value)]
        loaded = inner[0] if len(inner) == 1 else loaded
    if not _named_tensors(loaded):
        raise DataError("cannot read the weights", path, _told(loaded), "named tensors", "check which file it is")
    return {str(name).replace(COMPILED, "").removeprefix("module."): value for name, value in loaded.items()}


def _named_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(part, Tensor) for part in value.values())


def _told(loaded: Any) -> str:
    """What a file holds in the place of named tensors."""
    if not isinstance(loaded, Mapping):
        return type(loaded).__name__
    others = [f"{name}: {type(value).__name__}" for name, value in loaded.items() if not isinstance(value, Tensor)]
    return f"a dictionary of {len(loaded)} entries, " + (_listed("no tensors", others) if others else "empty")


def unwrapped(state: Mapping[str, Tensor], fits: Callable[[Mapping[str, Tensor]], bool]) -> Mapping[str, Tensor]:
    """A state under the names that fit, once what wrappers put before all of them is taken off; itself where none fit.

    Args:
        state: named tensors.
        fits: whether the network can take these.
    """
    return next((inner for inner in _inner_states(state) if fits(inner)), state)


def _inner_states(state: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The state, and what it is without one, two, ... wrappers."""
    while True:
        yield state
        around = next((wrapper for wrapper in WRAPPERS if state and all(name.startswith(wrapper) for name in state)), None)
        if around is None:
            return
        state = {name.removeprefix(around): value for name, value in state.items()}


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Fill a network, all of it and with nothing left over.

    Args:
        module: keeps its own dtype; half-precision weights are widened.
        state: named tensors; wrappers before all names are taken off where they fit without.
        where: the file, for messages.

    Raises:
        UserInputError: the weights are another architecture's (says which names differ, and how many).
        DataError: a weight is not a finite number.
    """
    wanted = module.state_dict()
    state = unwrapped(state, lambda inner: inner.keys() == wanted.keys())
    missing, unknown, misshaped = misfits(wanted, state)
    shapes = [f"{name} {_shape(state[name])} for {_shape(wanted[name])}" for name in misshaped]
    parts = [_listed("missing", missing), _listed("unknown", unknown), _listed("of another shape", shapes)]
    differing = ", ".join(part for part in parts if part)
    if differing:
        expected = f"the {len(wanted)} tensors of this model"
        raise UserInputError("weights of another architecture", where, differing, expected, "choose the model they belong to")
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        found = _listed("with NaN or infinity", broken)
        raise DataError("weights that are not numbers", where, found, "finite numbers", "fetch the file again")
    module.load_state_dict(dict(state))


def put_into(module: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Replace some of a network's tensors.

    Raises:
        UserInputError: the network has none of a name and shape.
    """
    own = module.state_dict()
    state = unwrapped(state, lambda inner: inner.keys() <= own.keys())
    _, unknown, misshaped = misfits(own, state)
    if strange := unknown + misshaped:
        expected = "tensors of this model"
        raise UserInputError("weights of another architecture", where, _listed("that do not fit", strange), expected, "choose its model")
    module.load_state_dict({**own, **state})


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names that are wanted and not given, given and not wanted, and given in another shape."""
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    return missing, unknown, [name for name in wanted if name in given and given[name].shape != wanted[name].shape]


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """The name with the longest of its prefixes replaced; itself if it has none."""
    known = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default="")
    return prefixes[known] + name.removeprefix(known) if known else name


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(what: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})" if names else ""
