"""Views that work long go on beside the models, in turns as fair as those of a model's line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread

from strata.engine.desk import Desk
from strata.engine.line import Line, Work
from strata.errors import StrataError
from strata.model.device import step_back

log = logging.getLogger(__name__)

_AT_ONCE = 2  # they share the cores with the models


class Apart:
    """Threads for the works of all models that go on without them, and the line of these."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.line = Line(desk.lock)
        self.line.message = ""  # nothing is loaded
        self._threads: list[Thread] = []
        self._closed = False

    def go_on(self, work: Work, rest: Callable[[], None]) -> None:
        """The model is done with a work; `rest` is done here once its turn has come."""
        with self._desk.lock:
            self._desk.move(work, self.line, rest)
            if len(self._threads) < _AT_ONCE:
                name = f"strata-apart-{len(self._threads)}"
                self._threads.append(Thread(target=self._live, name=name, daemon=True))
                self._threads[-1].start()

    def leave(self) -> None:
        """End the threads after what they are doing now. Expects the desk's lock to be held."""
        self._closed = True
        self.line.changed.notify_all()

    def _live(self) -> None:
        step_back()
        while self._one():
            pass

    def _one(self) -> bool:
        """Do one work; False once there will be none."""
        with self._desk.lock:
            while (work := self._desk.take(self.line)) is None:
                if self._closed:
                    return False
                self.line.changed.wait()
            self.line.running = None  # of several none is the one
            rest, work.rest = work.rest, None
        assert rest is not None
        try:
            rest()
        except BaseException:  # a bug of the engine itself: still nobody may wait for ever
            log.exception("%s could not be finished", work.job.view)
            self._desk.finish(work, None, StrataError("Something went wrong inside Strata."))
        return True
