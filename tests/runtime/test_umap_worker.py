"""The process that draws maps: the same map every time, lost and found, stopped and shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from strata.concepts.trajectories.neighbours import nearest
from strata.errors import CancelledError, StrataError
from strata.runtime import side_process, umap_worker
from strata.runtime.umap_worker import WORKER, Layout, Worker

PATIENCE = 180  # seconds: importing umap compiles, on a machine that may be busy


def problem(n: int = 120, k: int = 10, **changes: Any) -> tuple[Any, ...]:
    points = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    settings = {"n_neighbors": k, "min_dist": 0.1, "metric": "cosine", "n_epochs": 30, "seed": 0}
    return (points.numpy(), *nearest(points, k, "cosine"), Layout(**(settings | changes)))


LONG = {"n": 600, "n_epochs": 1_000_000}


class Watch:
    """A progress callable that sets an event at the first epoch, and may refuse to go on."""

    def __init__(self) -> None:
        self.drawing, self.leave, self.said = threading.Event(), threading.Event(), set[str]()

    def __call__(self, fraction: float, message: str) -> None:
        assert 0 <= fraction <= 1
        self.said.add(message)
        if "epoch" in message:
            self.drawing.set()
        if self.leave.is_set():
            raise CancelledError("The job was cancelled.")


def begun(worker: Worker, **changes: Any) -> tuple[Watch, threading.Thread, list[BaseException]]:
    """A long map that is being drawn in another thread, and what that thread will raise."""
    watch, raised = Watch(), list[BaseException]()

    def run() -> None:
        try:
            worker.draw(*problem(**(LONG | changes)), watch)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert watch.drawing.wait(PATIENCE)
    return watch, thread, raised


def test_the_map_is_umaps_own_and_the_same_every_time() -> None:
    watch = Watch()
    first = WORKER.draw(*problem(n_epochs=400), watch)
    assert first.shape == (120, 2)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, WORKER.draw(*problem(n_epochs=400)))
    assert np.abs(first - WORKER.draw(*problem(n_epochs=400, seed=1))).max() > 0.1


def test_the_process_is_a_fresh_interpreter_not_a_fork() -> None:
    """A fork would still carry the command line of the tests."""
    WORKER.draw(*problem())
    command = psutil.Process(WORKER.pid).cmdline()
    assert command[1:3] == ["-c", side_process._PROGRAM]


def test_a_lost_process_is_one_sentence_and_the_next_call_works() -> None:
    _, thread, raised = begun(WORKER)
    lost = WORKER.pid
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    thread.join(PATIENCE)
    [error] = raised
    assert type(error) is StrataError
    assert str(error) == "The process that draws UMAP maps ended unexpectedly; ask again."
    assert WORKER.draw(*problem()).shape == (120, 2)
    assert WORKER.pid != lost


def test_a_map_that_nobody_waits_for_is_dropped_by_the_same_process() -> None:
    WORKER.draw(*problem())
    pid = WORKER.pid
    watch, thread, raised = begun(WORKER)
    watch.leave.set()
    thread.join(PATIENCE)
    assert [type(error) for error in raised] == [CancelledError]
    start = time.monotonic()
    assert WORKER.draw(*problem()).shape == (120, 2)
    assert time.monotonic() - start < PATIENCE / 2, "the long map is still being drawn"
    assert WORKER.pid == pid


def test_who_waits_for_another_map_is_told_and_may_leave() -> None:
    watch, thread, _ = begun(WORKER)
    waiting = Watch()
    said: list[str] = []

    def note(fraction: float, message: str) -> None:
        said.append(message)
        if len(said) == 3:
            waiting.leave.set()
        waiting(fraction, message)

    with pytest.raises(CancelledError):
        WORKER.draw(*problem(), note)
    assert set(said) == {"Waiting for another map"}
    watch.leave.set()
    thread.join(PATIENCE)


def test_what_umap_refuses_is_one_sentence_and_the_process_lives_on() -> None:
    points, indices, distances, layout = problem()
    WORKER.draw(points, indices, distances, layout)
    pid = WORKER.pid
    with pytest.raises(StrataError, match="could not draw this map"):
        WORKER.draw(points, indices, distances, Layout(10, 5.0, "cosine", 30, 0))
    assert WORKER.draw(points, indices, distances, layout).shape == (120, 2)
    assert WORKER.pid == pid


def test_a_process_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_process, "_PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(umap_worker, "_SILENCE", 0.3)
    worker = Worker()
    try:
        with pytest.raises(StrataError, match="ended unexpectedly"):
            worker.draw(*problem())
    finally:
        worker.close()


def test_the_process_ends_with_the_one_that_started_it() -> None:
    code = (
        "import sys, os; sys.path[:] = sys.argv[1:]\n"
        "from strata.runtime.umap_worker import WORKER\n"
        "WORKER.start(); print(WORKER.pid, flush=True); os._exit(1)"  # no clean-up of any kind
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *sys.path], stdout=subprocess.PIPE, text=True, check=False
    )
    _until(lambda: not _runs(int(ran.stdout)))


def test_close_ends_the_process_and_a_later_call_starts_another() -> None:
    worker = Worker()
    worker.start()
    pid = worker.pid
    assert pid is not None
    worker.start()
    assert worker.pid == pid, "it ran already"
    worker.close()
    _until(lambda: not _runs(pid))


def test_the_epochs_tell_and_stop() -> None:
    heard: list[Any] = []
    stopped: set[int] = set()
    epochs = umap_worker._Epochs(7, 30, lambda *message: heard.append(message), stopped)
    for text in ("\r12", "\n", "\r ", ""):
        epochs.write(text)
    assert heard == [("epoch", 7, (30, 12))]
    stopped.add(8)
    epochs.write("13")
    stopped.add(7)
    with pytest.raises(umap_worker._Stopped):
        epochs.write("14")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
