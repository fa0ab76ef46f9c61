"""Work in pieces, one on each core, instead of one piece on all cores.

Where a piece is much arithmetic on few numbers (a product, and what is asked of it at once), its
numbers stay in one core's cache so, and no core waits for another between two operations.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from strata.runtime.stepping_aside import step_aside

Piece = TypeVar("Piece")
Done = TypeVar("Done")

_local = threading.local()


def spread(
    work: Callable[[Piece], Done], pieces: Iterable[Piece], device: torch.device
) -> list[Done]:
    """`work` of every piece, in their order, without gradients; an error of the first that failed.

    On the processor as many pieces at a time as torch has threads; a GPU's are done in turn.
    Between pieces others may go first, so no more of them wait for the workers than keep them busy.
    """

    def quietly(piece: Piece) -> Done:
        with torch.inference_mode():  # a thread begins outside of it
            return work(piece)

    n_threads = torch.get_num_threads()
    at_once = 1 if device.type != "cpu" else n_threads
    done: list[Done] = []
    waiting = deque[Future[Done]]()
    for piece in pieces:
        if at_once == 1:
            done.append(quietly(piece))
        else:
            waiting.append(_workers(n_threads).submit(quietly, piece))
            if len(waiting) <= at_once:
                continue
            done.append(waiting.popleft().result())
        step_aside()
    return done + [each.result() for each in waiting]


def one_core() -> threadpool_limits:
    """A context in which the linear algebra of NumPy and SciPy takes one core. OpenBLAS's threads
    wait for each other by asking for the processor all the time: what costs 0.03 core-seconds on
    one core (the singular values of 310 states of 576) took 0.3 to 23 on two busy ones (0.3.30)."""
    return threadpool_limits(1, user_api="blas")


@cache
def _workers(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, "strata-spread", initializer=_alone)


def _alone() -> None:
    """From now on torch uses no other core for what this thread asks of it."""
    torch.get_num_threads()  # a new thread gets torch's number at its first call: let it be past
    _local.limits = threadpool_limits(1, user_api="openmp")  # OpenMP keeps the number by thread
