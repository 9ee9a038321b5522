"""Which machine code runs: AMX tiles, AVX-512 VNNI, or plain vector code for any CPU."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import lru_cache

from refq.errors import OptionError, unknown
from refq.kernels.compiling import features
from refq.kernels.writer import CHOICES

VARIABLE = "REFQ_BACKEND"
NAMES = ("amx", "vnni", "portable")
# backend -> the scalar whose type selects it
TOKENS = dict(zip(NAMES, CHOICES))
# backend -> groups of 16 pixels and of 16 channels in a block (docs/performance.md)
BLOCKS = {"amx": (2, 2), "vnni": (1, 4), "portable": (2, 2)}


def supported() -> list[str]:
    """Backends that this machine can run, of those that Numba compiles for; best first."""
    return list(_supported())


@lru_cache(maxsize=1)
def _supported() -> tuple[str, ...]:
    found = ["portable"]
    if platform.machine().lower() in ("x86_64", "amd64") and "avx512vnni" in features():
        found.insert(0, "vnni")
        if "amx-int8" in features() and _amx_permitted():
            found.insert(0, "amx")
    return tuple(found)


def _amx_permitted() -> bool:
    """Linux keeps the tile registers from a process until it asks once (arch_prctl)."""
    if platform.system() != "Linux":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)


def chosen() -> str:
    """The backend in use: the best supported one, or the one REFQ_BACKEND names."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return supported()[0]
    if wanted not in TOKENS:
        raise unknown(f"backend in {VARIABLE}", wanted, list(TOKENS))
    if wanted not in supported():
        raise OptionError(
            f"{VARIABLE}={wanted}", f"one of {', '.join(supported())} on this machine"
        )
    return wanted
