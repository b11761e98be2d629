"""Where a network computes and in which precision."""

from __future__ import annotations

import torch

from icvos.errors import UserInputError, did_you_mean
from icvos.weights import checked_precision


def device_named(name: str = "auto") -> torch.device:
    """The device called `name`: cpu, cuda, cuda:1, mps, or auto (cuda where there is one, else cpu).

    Raises:
        UserInputError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (colon and not number.isdecimal()):
        raise UserInputError("unknown device", name, fix=did_you_mean(name, ["auto", "cpu", "cuda", "mps"]))
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        raise UserInputError("no such GPU", f"--device {name}", found, fix="choose another, or --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserInputError("no such GPU", f"--device {name}", "no Metal device", fix="use --device cpu")
    return torch.device(name)


def dtype_named(precision: str) -> torch.dtype:
    """The type that a precision, fp32 or bf16, computes in.

    Raises:
        UserInputError: no such precision.
    """
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[checked_precision(precision)]
