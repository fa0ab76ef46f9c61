"""Where a model runs, in which numbers, and giving memory back."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import suppress

import psutil
import torch

from strata.errors import ModelError
from strata.runtime import memory

NICE = 10  # steps: a page's thread gets nine times as much of a busy core


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
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"{name!r} is not a device; use cuda, mps or cpu.") from None
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, True):
        raise ModelError(f"There is no {device.type} device here; use cpu.")
    return device


def number_type(name: str | torch.dtype) -> torch.dtype:
    """A floating-point type by its torch name; ModelError for anything else."""
    found = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"{name!r} is not a number type; use float32, bfloat16 or float16.")
    return found


def step_back() -> None:
    """On Linux, let other threads go first from here on: this one's work takes long, and whoever
    moves a slider should not wait for it. Threads that this one starts step back with it. Not for a
    thread of short work: preempted with Python's lock in its hand it would hold up all pages.

    Steps count from the main thread's: that one goes further back each time, any other once."""
    if sys.platform == "linux":
        with suppress(OSError):
            others = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, others + NICE))


def free_bytes(device: torch.device) -> int:
    """Memory that is free for numbers on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def free_memory() -> None:
    """Give back what no one refers to any more, on the GPU too."""
    gc.collect()
    memory.trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
