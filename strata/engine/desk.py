"""Who waits for what: the bookkeeping of all queues, waiters and limits, under one lock.

No view, model or loader ever runs under that lock, so nothing here waits for anything.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from threading import Event, Lock

import pandas as pd

from strata.engine.cost import Budget
from strata.engine.limits import Limits
from strata.engine.line import Line, Party, Waiter, Work
from strata.engine.settings import Settings
from strata.errors import BusyError, CancelledError, InputError
from strata.runtime.attempts import Attempts

# Of the places in a queue, those that one class may have, and those whom it counts as one.
_SHARES = (0.75, " of your class"), (0.5, " of those who have just joined")


class Future:
    """One waiter's claim on the answer to a job."""

    def __init__(
        self,
        desk: Desk,
        work: Work | None,
        learner: str | None,
        view: str,
        deadline: float | None,
        limits: Limits,
    ) -> None:
        self._desk, self._work = desk, work
        self._learner, self._view, self.limits = learner, view, limits
        self._seconds = deadline
        self._ends = None if deadline is None else desk.clock() + deadline
        self._settled = Event()
        self._frame: pd.DataFrame | None = None
        self._error: BaseException | None = None

    def result(self, timeout: float | None = None) -> pd.DataFrame:
        """The table, the waiter's own copy. Raises what the job raised, or TimeoutError."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.done():
            left = [] if end is None else [end - time.monotonic()]
            if left and left[0] <= 0:
                raise TimeoutError(f"no answer within {timeout} seconds")
            if self._ends is not None:
                left.append(max(0.0, self._ends - self._desk.clock()))
            self._settled.wait(min(left, default=None))
        if self._error is not None:
            raise copy.copy(self._error)
        assert self._frame is not None
        return self._frame.copy()  # deep: `.array` of a shallow copy would write to the cache's

    def cancel(self) -> bool:
        """Leave; the work stops with its last waiter. False if it was already done."""
        with self._desk.lock:
            return self._desk.detach(self, CancelledError("The job was cancelled."))

    def done(self) -> bool:
        """Whether there is an answer or an error."""
        if self._settled.is_set():
            return True
        with self._desk.lock:
            if self._work is not None:
                self._desk.expire(self._work)
        return self._settled.is_set()

    @property
    def position(self) -> int | None:
        """The place in the model's queue: 0 is running or next; None once done."""
        if self.done() or self._work is None:
            return None
        with self._desk.lock:
            waiting = self._work.state == "waiting" and not self._settled.is_set()
            return self._work.here.works.index(self._work) if waiting else 0

    @property
    def seconds(self) -> float | None:
        """About how many seconds until its turn; None if that is not known, or it has come."""
        if self.done() or self._work is None:
            return None
        with self._desk.lock:
            line = self._work.line
            if self._work not in line.works:
                return None
            return line.seconds_until(line.works.index(self._work), self._desk.clock())

    @property
    def progress(self) -> tuple[float, str]:
        """(fraction, message) to show while waiting."""
        if self.done() or self._work is None:
            return 1.0, "Done"
        with self._desk.lock:
            work, line = self._work, self._work.here
            if work.state != "waiting":
                return work.fraction, work.message
            if line.message:
                return line.fraction, line.message
            ahead = line.works.index(work) if work in line.works else 0
            return 0.0, f"Waiting, {ahead} before this one" if ahead else "Next in the queue"

    def settle(self, frame: pd.DataFrame | None, error: BaseException | None) -> None:
        """Give the answer (or the error) and wake who waits for it."""
        self._frame, self._error = frame, error
        self._settled.set()

    # what the desk needs to know of a waiter
    @property
    def work(self) -> Work | None:
        return self._work

    @property
    def place(self) -> tuple[str | None, str]:
        """(learner, view): of each such pair one job is in flight."""
        return self._learner, self._view

    def overdue(self, now: float) -> CancelledError | None:
        """The error for a waiter whose deadline has passed."""
        if self._ends is None or now < self._ends:
            return None
        return CancelledError(
            f"The job took longer than {self._seconds:g} seconds and was stopped."
        )


class Desk:
    """The rules of waiting. Every method but the last three expects `lock` to be held."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings, self.clock = settings, clock
        self.lock = Lock()
        self.works: dict[str, Work] = {}  # waiting and running, by the job's key
        self._learners: dict[str, dict[str, Future]] = {}  # in flight, by learner and view
        self._budget = Budget(settings, clock)
        self._buckets: dict[tuple[int, int], Attempts] = {}  # by burst and jobs a minute

    def admit(
        self,
        new: Work,
        learner: str | None,
        deadline: float | None,
        limits: Limits,
        at_once: bool = False,
    ) -> Future:
        """A place in the queue, or beside those who wait for the same. With `at_once` a new work
        needs no place: whoever asked has it computed now.

        The learner's older job of the same view makes way, and so do spare works of the model for
        any other. BusyError if there is no place or the learner has used up what they may ask for;
        InputError for too many tokens.
        """
        if not new.spare:
            self._shed(new.line)
        flights = self._learners.get(learner, {}) if learner is not None else {}
        for work in [*new.line.works, *(f.work for f in flights.values())]:
            if work is not None:
                self.expire(work)
        older = flights.get(new.job.view)
        if limits.in_flight and len(flights) - (older is not None) >= limits.in_flight:
            raise BusyError(
                f"You already have {limits.in_flight} computations running; wait for one of them."
            )
        work = self.works.get(new.key)
        if work is None:
            if new.spare:
                self._require_idle(new.line, older)
            bucket, payer = self._bucket(limits), f"{learner} spare" if new.spare else learner
            if payer is not None and bucket is not None:
                self._require_attempt(bucket, payer)
            if not at_once:
                self._require_budget(limits.party)
                self._require_place(new.line, older, limits.party)
            if payer is not None and bucket is not None:
                bucket.take(payer)
            work = self.works[new.key] = new
            if at_once:
                self._begin(work)
            else:
                new.line.add(new, limits.party)
        else:
            limits.check_tokens(work.n_tokens or 0)
            work.here.share(work, limits.party)
        future = Future(self, work, learner, new.job.view, deadline, limits)
        work.waiters.append(future)
        self.replace(learner, new.job.view)  # after joining: the same work may go on for the newer
        if learner is not None:
            self._learners.setdefault(learner, {})[new.job.view] = future
        return future

    def replace(self, learner: str | None, view: str) -> None:
        """Cancel this learner's older job of the view, if there is one."""
        older = self._learners.get(learner, {}).get(view) if learner is not None else None
        if older is not None:
            self.detach(older, CancelledError("A newer request replaced this one."))

    def detach(self, future: Waiter, error: BaseException) -> bool:
        """One waiter leaves with an error; the work stops if it was the last."""
        work = future.work
        if work is None or future not in work.waiters:
            return False
        work.waiters.remove(future)
        self._release(future)
        future.settle(None, error)
        if not work.waiters:
            work.stopped = True
            self._forget(work)
        return True

    def expire(self, work: Work) -> None:
        """Waiters whose deadline has passed leave."""
        now = self.clock()
        for future in list(work.waiters):
            error = future.overdue(now)
            if error is not None:
                self.detach(future, error)

    def take(self, line: Line, such: Callable[[Work], bool] = lambda work: True) -> Work | None:
        """The next work of a line, or the next such one, now running; None if there is none."""
        for work in list(line.works):
            self.expire(work)
        found = next(filter(such, line.works), None)
        if found is None:
            return None
        work = line.running = found
        line.remove(work)
        self._begin(work)
        return work

    def move(self, work: Work, line: Line, rest: Callable[[], None]) -> None:
        """The model is done with a work, the rest of which takes its turn in another line."""
        self._free(work)
        work.state, work.apart, work.rest = "waiting", line, rest
        line.add(work, work.party)

    def finish(
        self, work: Work, frame: pd.DataFrame | None, error: BaseException | None = None
    ) -> None:
        """All who still wait get the answer."""
        with self.lock:
            self._free(work, timed=frame is not None)  # a refusal says nothing of the others
            self.expire(work)
            self._forget(work)
            work.state, work.trace = "done", None
            for future in work.waiters:
                self._release(future)
                future.settle(frame, error)
            work.waiters.clear()

    def note(self, work: Work, fraction: float, message: str) -> None:
        """What a running view says of its progress; CancelledError once nobody waits for it."""
        with self.lock:
            self.expire(work)
            work.fraction, work.message = float(fraction), str(message)
            if work.stopped:
                raise CancelledError("The job was cancelled.")

    def measured(self, work: Work, n_tokens: int, passes: float = 0.0) -> None:
        """The length of a work's longest prompt is known now: who may not ask about so many tokens
        is told so. CancelledError once nobody waits for it."""
        with self.lock:
            work.n_tokens = n_tokens
            for future in list(work.waiters):
                try:
                    future.limits.check_tokens(n_tokens)
                except InputError as error:
                    self.detach(future, error)
            if work.stopped:
                raise CancelledError("The job was cancelled.")
            self._budget.take(work.party, passes)

    # -- inside -------------------------------------------------------------------------------

    def _begin(self, work: Work) -> None:
        work.state, work.message, work.began = "running", "Running", self.clock()

    def _bucket(self, limits: Limits) -> Attempts | None:
        if limits.burst is None or limits.per_minute is None:
            return None
        rate = limits.burst, limits.per_minute
        if rate not in self._buckets:
            self._buckets[rate] = Attempts(limits.burst, 60 / limits.per_minute, self.clock)
        return self._buckets[rate]

    def _require_attempt(self, bucket: Attempts, learner: str) -> None:
        wait = bucket.wait(learner)
        if wait:
            raise BusyError(
                "You have asked for much in a short time; the next computation can begin in "
                f"{in_seconds(wait)}.",
                wait,
            )

    def _require_budget(self, party: Party) -> None:
        wait, of_class = self._budget.wait(party)
        if wait:
            who = "Your class has" if of_class else "You have"
            raise BusyError(
                f"{who} asked the model for much work in a short time; the next computation can "
                f"begin in {in_seconds(wait)}.",
                wait,
            )

    def _require_idle(self, line: Line, older: Future | None) -> None:
        """BusyError if the model has anything to do but what the newer work replaces."""
        replaced = older.work if older is not None else None
        doing = [line.running, *(work for work in self.works.values() if work.line is line)]
        if line.message or any(work not in (None, replaced) for work in doing):
            raise BusyError("The model has other work.")

    def _shed(self, line: Line) -> None:
        """Spare works of a line make way."""
        for work in [w for w in self.works.values() if w.spare and w.line is line]:
            for future in list(work.waiters):
                self.detach(future, CancelledError("The model has other work."))

    def _require_place(self, line: Line, older: Future | None, party: Party) -> None:
        leaves = older is not None and self._would_leave(older, line)
        most = self.settings.queue_size
        places: list[tuple[Party, int, str]] = [((), most, "")]
        for depth, (share, whose) in enumerate(_SHARES[: max(0, len(party) - 1)], 1):
            places.append((party[:depth], max(1, int(share * most)), whose))
        for names, most, whose in places:
            waiting = self._waiting(line, names)
            if waiting - leaves >= most:
                seconds = line.seconds_until(0, self.clock())
                when = "a moment" if seconds is None else f"about {in_seconds(seconds)}"
                jobs = f"1 job{whose} is" if waiting == 1 else f"{waiting} jobs{whose} are"
                raise BusyError(
                    f"{jobs} already waiting for this model; try again in {when}.", seconds
                )

    def _free(self, work: Work, timed: bool = True) -> None:
        line = work.line
        if line.running is work:
            line.running = None
            if timed:
                line.pace.note(work.job.view, self.clock() - work.began)

    def _waiting(self, line: Line, names: Party) -> int:
        """How many works for a model wait under this beginning of a party's names, for it or for
        what is left of them apart."""
        mine = [work for work in self.works.values() if work.line is line]
        return sum(w.state == "waiting" and w.party[: len(names)] == names for w in mine)

    def _would_leave(self, older: Future, line: Line) -> bool:
        work = older.work
        if work is None or work.line is not line:
            return False
        return work.state == "waiting" and work.waiters == [older]

    def _release(self, future: Waiter) -> None:
        learner, view = future.place
        flights = self._learners.get(learner, {}) if learner is not None else {}
        if flights.get(view) is future:
            del flights[view]
            if not flights and learner is not None:
                del self._learners[learner]

    def _forget(self, work: Work) -> None:
        if self.works.get(work.key) is work:
            del self.works[work.key]
        if work in work.here.works:
            work.here.remove(work)
            work.rest = None  # which holds a run


def in_seconds(seconds: float) -> str:
    """A time to wait, in words: whole seconds, at least one."""
    whole = max(1, math.ceil(seconds))
    return f"{whole} second{'s' if whole > 1 else ''}"
