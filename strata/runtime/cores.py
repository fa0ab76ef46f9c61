"""Work in pieces, one on each core, instead of one piece on all cores.

Where a piece is much arithmetic on few numbers (a product, and what is asked of it at once), its
numbers stay in one core's cache so, and no core waits for another between two operations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Piece = TypeVar("Piece")
Done = TypeVar("Done")

_local = threading.local()


def spread(
    work: Callable[[Piece], Done], pieces: Iterable[Piece], device: torch.device
) -> list[Done]:
    """`work` of every piece, in their order, without gradients; an error of the first that failed.

    On the processor as many pieces at a time as torch has threads; a GPU's are done in turn.
    """

    def quietly(piece: Piece) -> Done:
        with torch.inference_mode():  # a thread begins outside of it
            return work(piece)

    n_threads = torch.get_num_threads()
    if device.type != "cpu" or n_threads == 1:
        return [quietly(piece) for piece in pieces]
    return list(_workers(n_threads).map(quietly, pieces))


@cache
def _workers(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, "strata-spread", initializer=_alone)


def _alone() -> None:
    """From now on torch uses no other core for what this thread asks of it."""
    torch.get_num_threads()  # a new thread gets torch's number at its first call: let it be past
    _local.limits = threadpool_limits(1, user_api="openmp")  # OpenMP keeps the number by thread
