"""Weights from files into networks: nothing but tensors is ever unpickled, and what does not fit is told by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath

SHOWN = 3  # names listed of each kind that does not fit


def read_state(path: AnyPath) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or PyTorch file, by name, on the CPU.

    A dictionary under ``model`` or ``state_dict`` is unpacked, as official checkpoints want it, and ``module.`` removed.

    Raises:
        UserInputError: there is no such file.
        DataError: the file holds something else than named tensors, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserInputError("no such file of weights", path, fix="check the path")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make the readers raise nearly anything
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError("cannot read the weights", path, reason, "named tensors", "fetch the file again") from error
    for key in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise DataError("cannot read the weights", path, type(loaded).__name__, "named tensors", "check which file it is")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Fill a network, all of it and with nothing left over.

    Args:
        module: keeps its own dtype; half-precision weights are widened.
        state: named tensors.
        where: the file, for messages.

    Raises:
        UserInputError: the weights are another architecture's (says which names differ, and how many).
        DataError: a weight is not a finite number.
    """
    wanted = module.state_dict()
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
