"""UMAP in a process of its own: importing it compiles for seconds, and drawing a map takes some.

One worker serves the whole server, one map at a time; see `strata.runtime.side_process`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strata.errors import StrataError
from strata.runtime.side_process import Send, SideProcess

Progress = Callable[[float, str], None]

_PATIENCE = 0.1  # seconds between two looks at whether the caller still waits
_SILENCE = 180.0  # seconds after which a worker that says nothing is given up
_LOST = "The process that draws UMAP maps ended unexpectedly; ask again."
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)  # the same sums in the same order every time, and cores left for the model


@dataclass(frozen=True)
class Layout:
    """What UMAP is asked for, besides the points and their neighbours."""

    n_neighbors: int
    min_dist: float
    metric: str
    n_epochs: int
    seed: int


class Worker(SideProcess):
    """The process as seen from here. Safe to share between threads."""

    def __init__(self) -> None:
        super().__init__("strata.runtime.umap_worker:serve", _LOST, _ONE_THREAD)
        self._turn = Lock()  # one map at a time
        self._numbers = count(1)

    def draw(
        self,
        points: NDArray[Any],
        indices: NDArray[Any],
        distances: NDArray[Any],
        layout: Layout,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """(n, 2): where UMAP puts the points (n, D) whose nearest neighbours (n, k) are given.

        `progress` is called several times a second and may raise: the worker then drops this map.
        StrataError if the process was lost or UMAP failed; the next call starts it again.
        """
        tell = progress or (lambda fraction, message: None)
        while not self._turn.acquire(timeout=_PATIENCE):
            tell(0.0, "Waiting for another map")
        try:
            self.start()
            number = next(self._numbers)
            self.send(("draw", number, points, indices, distances, layout))
            try:
                return self._result(number, tell)
            except BaseException:
                with contextlib.suppress(StrataError):
                    self.send(("stop", number))
                raise
        finally:
            self._turn.release()

    def _result(self, number: int, tell: Progress) -> NDArray[np.float32]:
        fraction, message = 0.0, "Starting UMAP: it takes a while the first time"
        heard = time.monotonic()
        while True:
            tell(fraction, message)
            try:
                kind, about, value = self.receive(_PATIENCE)
            except queue.Empty:
                if time.monotonic() - heard > _SILENCE:
                    raise self.lose() from None
                continue
            heard = time.monotonic()
            if about != number:  # of a map that was given up
                continue
            if kind == "epoch":
                total, value = value
                fraction, message = value / total, f"UMAP: epoch {value} of {total}"
            elif kind == "drawn":
                return value
            else:
                raise StrataError(f"UMAP could not draw this map: {value}.")

    def lose(self) -> StrataError:
        """Give the process up and start another; the error to raise."""
        error = super().lose()
        self.start()
        return error


WORKER = Worker()


# -- the other side: what the process runs --------------------------------------------------------


class _Stopped(Exception):
    """Nobody waits for this map any more."""


class _Epochs:
    """Stands where tqdm expects a terminal: hears of every few epochs, and may end the drawing."""

    def __init__(self, number: int, total: int, send: Send, stopped: set[int]):
        self.number, self.total, self.send, self.stopped = number, total, send, stopped

    def write(self, text: str) -> None:
        if self.number in self.stopped:
            raise _Stopped
        if text.strip().isdigit():
            self.send("epoch", self.number, (self.total, int(text)))

    def flush(self) -> None:
        """Nothing is held back."""


def serve(messages: Iterator[Any], send: Send) -> None:
    """Draw maps until the other side is gone."""
    warnings.simplefilter("ignore")
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped: set[int] = set()

    def listen() -> None:
        for kind, *rest in messages:
            if kind == "stop":
                stopped.add(rest[0])
            else:
                requests.put(rest)
        os._exit(0)  # also in the middle of a map

    Thread(target=listen, daemon=True).start()
    with contextlib.suppress(Exception):  # what is wrong is told to the first who asks
        _practise()
    while True:
        number, points, indices, distances, layout = requests.get()
        try:
            epochs = _Epochs(number, layout.n_epochs, send, stopped)
            drawn = draw_here(points, indices, distances, layout, epochs)
        except _Stopped:
            continue
        except Exception as error:
            send("failed", number, (str(error).strip() or repr(error)).splitlines()[0])
        else:
            send("drawn", number, drawn)


def draw_here(
    points: NDArray[Any],
    indices: NDArray[Any],
    distances: NDArray[Any],
    layout: Layout,
    epochs: Any = None,
) -> NDArray[np.float32]:
    """The map itself, in this very process. `epochs` hears of the epochs in place of a terminal."""
    bar = {"file": epochs, "bar_format": "{n}", "mininterval": 0.1, "disable": epochs is None}
    asked = asdict(layout)
    seed = asked.pop("seed")
    reducer = umap()(
        **asked,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(indices, distances),
        tqdm_kwds=bar,
    )
    return np.asarray(reducer.fit_transform(points), dtype=np.float32)


@cache
def umap() -> Any:
    """The class UMAP. What numba compiles for a map is kept on the disk, as UMAP itself has it for
    a few functions only: without that every process compiles for a quarter of a minute."""
    from umap import UMAP, layouts, umap_

    for module, name in (
        (layouts, "_nb_optimize_layout_euclidean_single_epoch"),
        (umap_, "smooth_knn_dist"),
        (umap_, "compute_membership_strengths"),
    ):
        compiled = getattr(module, name, None)
        if compiled is not None:  # it is not UMAP's to promise
            compiled.enable_caching()
    return UMAP


def _practise() -> None:
    """Have everything compiled before somebody waits for it."""
    points = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    distance = np.linalg.norm(points[:, None] - points, axis=-1).astype(np.float32)
    indices = distance.argsort(axis=1)[:, :15].astype(np.int32)
    nearest = np.take_along_axis(distance, indices, axis=1)
    draw_here(points, indices, nearest, Layout(15, 0.1, "euclidean", 10, 0))
