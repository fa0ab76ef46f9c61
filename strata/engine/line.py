"""The jobs that wait for one model: whose turn it is, and how long that will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Lock
from typing import Any, Literal, Protocol

import pandas as pd

from strata.concepts.views import View
from strata.engine.job import Job
from strata.engine.limits import Limits
from strata.errors import CancelledError
from strata.trace import Trace

_WEIGHT = 0.2  # of the latest work in a running mean
_DEPTH = 3  # the most names of a party

# Whose a work is, from the outside in: (a class, who of it counts as one, a learner), or fewer.
Party = tuple[str, ...]


def is_one_of_many(party: Party) -> bool:
    """Whether a learner counts as one with others of the class, as who has just joined does."""
    return len(party) == _DEPTH and party[-2] != party[-1]


class Waiter(Protocol):
    """Who waits for a work, as line and desk know one; `strata.engine.desk.Future` is one."""

    limits: Limits

    @property
    def work(self) -> Work | None:
        """What it waits for."""

    @property
    def place(self) -> tuple[str | None, str]:
        """(learner, view): of each such pair one job is in flight."""

    def overdue(self, now: float) -> CancelledError | None:
        """The error for a waiter whose deadline has passed."""

    def settle(self, frame: pd.DataFrame | None, error: BaseException | None) -> None:
        """Give the answer (or the error) and wake who waits for it."""


@dataclass(eq=False)
class Work:
    """One computation and everybody who waits for it."""

    job: Job
    key: str
    view: View
    arguments: dict[str, Any]
    line: Line
    party: Party = ()  # whose turn it takes
    came: int = 0  # its number among all that came into the line
    rounds: dict[int, tuple[int, int]] = field(default_factory=dict)  # see `Line`
    state: Literal["waiting", "running", "done"] = "waiting"
    waiters: list[Waiter] = field(default_factory=list)
    stopped: bool = False  # the last waiter has left
    fraction: float = 0.0
    message: str = ""
    began: float = 0.0  # by the desk's clock, once it runs
    n_tokens: int | None = None  # of the longest prompt, once it is known
    trace: Trace | None = None  # captured ahead of its turn, in a batch
    alone: bool = False  # a batch with this prompt failed: not to be batched again
    rides: bool = False  # its prompt is in a run that another work has begun
    spare: bool = False  # worth asking only while the model has nothing else to do
    apart: Line | None = None  # where it waits once the model is done with it, if it then goes on
    rest: Callable[[], None] | None = None  # what is left of it there

    @property
    def here(self) -> Line:
        """The line in which it waits now, or has waited."""
        return self.apart or self.line


class Pace:
    """How long works have taken lately, in seconds: a running mean for each view."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def note(self, view: str, seconds: float) -> None:
        """One more work of a view has taken so long."""
        for name in (view, ""):  # "": any view, for those that have not run yet
            mean = self._means.get(name, seconds)
            self._means[name] = mean + _WEIGHT * (seconds - mean)

    def of(self, view: str) -> float | None:
        """What a work of this view is expected to take; None before the first of all."""
        return self._means.get(view, self._means.get(""))


class Line:
    """The jobs that wait for one model. Every method expects the desk's lock to be held.

    Learners take turns: everybody's first work, in the order in which they came, then everybody's
    second. Who asks for one thing at a time is served as they came, and who asks for four does not
    get four turns for each turn of the others. When a work has left the line, its learner's next
    one goes behind the firsts that wait by then, so newcomers cannot overtake it for ever. So do
    those who count as one within a class, and classes: a work's `rounds` say for each name of its
    party how many works under that name come before it, and since when that is so.
    """

    def __init__(self, lock: Lock) -> None:
        self.works: list[Work] = []  # in the order in which they will run
        self.changed = Condition(lock)
        self.running: Work | None = None  # what the model is busy with
        self.pace = Pace()
        self._ticks = count(1)
        self.fraction = 0.0  # of loading the model
        self.message = "Starting"

    def add(self, work: Work, party: Party) -> None:
        """A work takes its place, as this party's; nobody's (an empty one) wait for no other."""
        work.came = next(self._ticks)
        work.party, work.rounds = party or (f"nobody {work.came}",), {}
        self.works.append(work)
        self._order()
        self.changed.notify_all()

    def share(self, work: Work, party: Party) -> None:
        """Others want the same: it takes their turn, if that is an earlier one."""
        if work not in self.works:
            return
        place, before = self.works.index(work), self.works
        known = [(each, each.came, each.party, dict(each.rounds)) for each in before]
        self.remove(work)
        self.add(work, party)
        if self.works.index(work) >= place:
            self.works = before
            for each, came, own, rounds in known:
                each.came, each.party, each.rounds = came, own, rounds

    def remove(self, work: Work) -> None:
        """A work leaves, to run or for good."""
        self.works = [each for each in self.works if each is not work]
        self._order()

    def seconds_until(self, place: int, now: float) -> float | None:
        """About how many seconds until the work at a place begins; None if nothing is known."""
        if self.message:  # the model is still loading
            return None
        seconds = 0.0
        if self.running is not None:
            expected = self.pace.of(self.running.job.view)
            if expected is None:
                return None
            seconds = max(0.0, expected - (now - self.running.began))
        for work in self.works[:place]:
            expected = self.pace.of(work.job.view)
            if expected is None:
                return None
            seconds += expected
        return seconds

    def _order(self) -> None:
        ordered = sorted(self.works, key=lambda work: work.came)
        for depth in reversed(range(_DEPTH)):
            seen: Counter[Party] = Counter()
            for work in ordered:
                name = work.party[: depth + 1]
                if depth not in work.rounds or work.rounds[depth][0] != seen[name]:
                    work.rounds[depth] = seen[name], next(self._ticks)
                seen[name] += 1
            ordered.sort(key=lambda work: work.rounds[depth])
        self.works = ordered
