"""The scorer's engine: masks of one bit a pixel, counted by whichever kernel the machine has.

All kernels give the same numbers to the last bit. numba is imported only when its kernel is asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from icvos.cache import ENVIRONMENT, usable_cache
from icvos.errors import UserInputError, did_you_mean
from icvos.kernels.base import Counts, Kernel, Packed, Prepared

__all__ = ["KERNELS", "Counts", "Kernel", "Packed", "Prepared", "best_kernel", "compile_apart", "kernel_named"]

KERNELS = ("auto", "numba", "numpy")


def best_kernel() -> Kernel:
    """The fastest kernel that this machine can run."""
    return kernel_named("auto")


@cache
def kernel_named(name: str) -> Kernel:
    """The kernel ``numpy`` or ``numba``; ``auto`` is numba where it is installed and numpy otherwise.

    Raises:
        UserInputError: there is no such kernel, or numba is asked for and cannot be imported.
    """
    if name not in KERNELS:
        raise UserInputError("unknown kernel", name, fix=did_you_mean(name, KERNELS))
    if name == "numba" or (name == "auto" and _is_installed("numba")):
        try:
            from icvos.kernels.compiled import CompiledKernel

            return CompiledKernel()
        except ImportError as error:  # not there, or too old or too new for this numpy
            if name == "numba":
                fix = "run: pip install 'icvos[fast]', or use the numpy kernel"
                raise UserInputError("cannot import numba", found=str(error), fix=fix) from error
    from icvos.kernels.packed import PackedKernel

    return PackedKernel()


def compile_apart() -> None:
    """Have numba's kernel compiled by a process of its own, where its machine code is not on disk yet.

    Compiling takes 60 MB more than using what was compiled, which a process would keep, and each worker would do it anew.
    """
    if not _is_installed("numba"):
        return
    folder = machine_code_folder()
    if folder and next(folder.rglob("compiled.*.nbi"), None) is None:
        code = "from icvos.kernels import kernel_named; kernel_named('auto').warm_up()"
        # If it fails, whoever needs the kernel compiles it, or says why it cannot be.
        subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def machine_code_folder() -> Path | None:
    """Where numba's machine code is kept, if anywhere: `NUMBA_CACHE_DIR`, `ICVOS_CACHE`, beside the source, in the user's cache."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    here = Path(__file__).parent
    beside = here / "__pycache__"
    if not os.environ.get(ENVIRONMENT) and os.access(beside if beside.is_dir() else here, os.W_OK):
        return here
    return usable_cache("numba")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it has been hidden from this process
        return False
