"""A process of our own beside the server: a fresh interpreter that answers pickled messages.

Never a fork, since torch has threads. It is started when it is first wanted, and again whenever it
was lost; when the process that started it is gone it ends too, after what it is doing.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import IO, Any
from weakref import WeakSet

from strata.errors import StrataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from strata.runtime.side_process import run; run()"
)
_PIPE = 1 << 20  # bytes that may be under way; with the usual 64 kB, large answers come in crumbs
Send = Callable[..., None]
_known: WeakSet[SideProcess] = WeakSet()
_ending = Event()  # this process: nothing is started any more


class SideProcess:
    """The process as seen from here. One thread at a time may send and receive.

    `runs`: the function that it runs, "module:name", given the messages as they come and what
    answers them. `lost`: what a caller is told, as a StrataError, when it has ended or is given up.
    `environment`: variables besides the server's. `files`: open files that it inherits, by number.
    `nice`: steps by which it lets others go first, from its first moment on, where the system can.
    """

    def __init__(
        self,
        runs: str,
        lost: str,
        environment: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
        nice: int = 0,
    ) -> None:
        self._runs, self._lost, self._nice = runs, lost, nice
        self._environment, self._files = dict(environment or {}), tuple(files)
        self._starting = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        _known.add(self)

    def start(self) -> bool:
        """Start it, if it does not run, without waiting for it; whether that was done."""
        with self._starting:
            if _ending.is_set() or (self._process is not None and self._process.poll() is None):
                return False
            self._replies = queue.SimpleQueue()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, self._runs, str(self._nice), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **self._environment},
                pass_fds=self._files,
            )
            _widen(self._process.stdout)
            arguments = (self._process.stdout, self._replies)
            Thread(target=_receive, args=arguments, name="replies", daemon=True).start()
            return True

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process else None

    def send(self, message: Any) -> None:
        """Hand it a message. StrataError if it is gone."""
        process = self._process
        try:
            if process is None or process.stdin is None:
                raise BrokenPipeError
            pickle.dump(message, process.stdin, protocol=5)
            process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed meanwhile, by another thread
            raise self.lose() from None

    def receive(self, timeout: float) -> Any:
        """What it says next. queue.Empty after `timeout` seconds, StrataError if it is gone."""
        said = self._replies.get(timeout=timeout)
        if said is None:
            raise self.lose()
        return said

    def lose(self) -> StrataError:
        """Give it up; the error to raise."""
        self.close()
        return StrataError(self._lost)

    def close(self) -> None:
        """End it; it may be started again."""
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


@atexit.register
def _close_all() -> None:
    _ending.set()
    for each in list(_known):
        each.close()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let large answers come in few pieces, where the system has room for that."""
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


def _receive(stream: IO[bytes], replies: queue.SimpleQueue[Any]) -> None:
    try:
        for message in _messages(stream):
            replies.put(message)
            del message  # it may be large, and the next may be long in coming
    finally:
        replies.put(None)


def _messages(stream: IO[bytes]) -> Iterator[Any]:
    """What the other side pickled, until it closes its end or is killed."""
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return


def run() -> None:
    """In the process itself: run what the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers

    def send(*message: Any) -> None:
        pickle.dump(message, answers, protocol=5)
        answers.flush()

    with contextlib.suppress(AttributeError, OSError):  # before all that takes long to import
        os.nice(int(sys.argv[2]))
    module, name = sys.argv[1].split(":")
    getattr(importlib.import_module(module), name)(_messages(sys.stdin.buffer), send)
