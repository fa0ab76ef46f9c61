"""UMAP in a process of its own: importing it compiles for seconds, and drawing a map takes some.

One worker serves the whole server, one map at a time. It is a fresh interpreter (never a fork,
since torch has threads), is started when it is first wanted, and again whenever it was lost.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from threading import Lock, Thread
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from strata.errors import StrataError

Progress = Callable[[float, str], None]

_PATIENCE = 0.1  # seconds between two looks at whether the caller still waits
_SILENCE = 180.0  # seconds after which a worker that says nothing is given up
_LOST = "The process that draws UMAP maps ended unexpectedly; ask again."
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from strata.umap_worker import serve; serve()"
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


class Worker:
    """The process as seen from here. Safe to share between threads."""

    def __init__(self) -> None:
        self._turn = Lock()  # one map at a time
        self._starting = Lock()
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def warm_up(self) -> None:
        """Start the process, if it does not run, without waiting for it."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                return
            self._replies = queue.SimpleQueue()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_ONE_THREAD},
            )
            arguments = (self._process.stdout, self._replies)
            Thread(target=_receive, args=arguments, name="umap-replies", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process else None

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
            self.warm_up()
            number = next(self._numbers)
            self._send(("draw", number, points, indices, distances, layout))
            try:
                return self._result(number, tell)
            except BaseException:
                with contextlib.suppress(StrataError):
                    self._send(("stop", number))
                raise
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process; a later call starts it again."""
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _send(self, message: Any) -> None:
        process = self._process
        try:
            if process is None or process.stdin is None:
                raise BrokenPipeError
            pickle.dump(message, process.stdin, protocol=5)
            process.stdin.flush()
        except OSError:
            raise self._lost() from None

    def _result(self, number: int, tell: Progress) -> NDArray[np.float32]:
        fraction, message = 0.0, "Starting UMAP: it takes a while the first time"
        heard = time.monotonic()
        while True:
            tell(fraction, message)
            try:
                reply = self._replies.get(timeout=_PATIENCE)
            except queue.Empty:
                if time.monotonic() - heard > _SILENCE:
                    raise self._lost() from None
                continue
            heard = time.monotonic()
            if reply is None:
                raise self._lost()
            kind, about, value = reply
            if about != number:  # of a map that was given up
                continue
            if kind == "epoch":
                total, value = value
                fraction, message = value / total, f"UMAP: epoch {value} of {total}"
            elif kind == "drawn":
                return value
            else:
                raise StrataError(f"UMAP could not draw this map: {value}.")

    def _lost(self) -> StrataError:
        self.close()
        self.warm_up()
        return StrataError(_LOST)


def _receive(stream: IO[bytes], replies: queue.SimpleQueue[Any]) -> None:
    for message in _messages(stream):
        replies.put(message)
    replies.put(None)


def _messages(stream: IO[bytes]) -> Iterator[Any]:
    """What the other side pickled, until it closes its end or is killed."""
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return


WORKER = Worker()
atexit.register(WORKER.close)


# -- the other side: what the process runs --------------------------------------------------------


class _Stopped(Exception):
    """Nobody waits for this map any more."""


class _Epochs:
    """Stands where tqdm expects a terminal: hears of every few epochs, and may end the drawing."""

    def __init__(self, number: int, total: int, send: Callable[..., None], stopped: set[int]):
        self.number, self.total, self.send, self.stopped = number, total, send, stopped

    def write(self, text: str) -> None:
        if self.number in self.stopped:
            raise _Stopped
        if text.strip().isdigit():
            self.send("epoch", self.number, (self.total, int(text)))

    def flush(self) -> None:
        """Nothing is held back."""


def serve() -> None:
    """Draw maps until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    warnings.simplefilter("ignore")
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped: set[int] = set()

    def listen() -> None:
        for kind, *rest in _messages(sys.stdin.buffer):
            if kind == "stop":
                stopped.add(rest[0])
            else:
                requests.put(rest)
        os._exit(0)  # also in the middle of a map

    def send(*message: Any) -> None:
        pickle.dump(message, answers, protocol=5)
        answers.flush()

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
    from umap import UMAP

    bar = {"file": epochs, "bar_format": "{n}", "mininterval": 0.1, "disable": epochs is None}
    asked = asdict(layout)
    seed = asked.pop("seed")
    reducer = UMAP(
        **asked,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(indices, distances),
        tqdm_kwds=bar,
    )
    return np.asarray(reducer.fit_transform(points), dtype=np.float32)


def _practise() -> None:
    """Have everything compiled before somebody waits for it."""
    points = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    distance = np.linalg.norm(points[:, None] - points, axis=-1).astype(np.float32)
    indices = distance.argsort(axis=1)[:, :15].astype(np.int32)
    nearest = np.take_along_axis(distance, indices, axis=1)
    draw_here(points, indices, nearest, Layout(15, 0.1, "euclidean", 10, 0))
