"""Where a model runs, in which numbers, and giving memory back."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

import torch

from strata.errors import ModelError


def best_device() -> torch.device:
    """cuda, then mps, then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_named(name: str | torch.device) -> torch.device:
    """A device by its torch name; ModelError for what torch does not know."""
    try:
        return torch.device(name)
    except RuntimeError:
        raise ModelError(f"{name!r} is not a device; use cuda, mps or cpu.") from None


def number_type(name: str | torch.dtype) -> torch.dtype:
    """A floating-point type by its torch name; ModelError for anything else."""
    found = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"{name!r} is not a number type; use float32, bfloat16 or float16.")
    return found


def _trim() -> None:
    """Have the C library return what it holds free: glibc keeps that for ever, in pieces."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def free_memory() -> None:
    """Give back what no one refers to any more, on the GPU too."""
    gc.collect()
    _trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
