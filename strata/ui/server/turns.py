"""Pages take turns: of all that would run at once in a server, two do, of two learners; then who
has had the least lately.

Python runs one thread at a time and goes on to the next every 5 ms, and at each look at a file or
a database. Ten pages at once are therefore all done late; in turns the first is done in a tenth of
the time, and the last is no later. A page that waits for the model lets others go on.

A learner with many tabs, or one who lets a page run all the time, takes turns that nobody else
wants: as long as another's page runs or waits, theirs stands still between two elements. So do
those who count as one (`count_as_one`): what one of them had, all have had.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_AT_ONCE = 2  # one runs while the other waits for a disk
_PATIENCE = 3.0  # seconds in which nobody was done: those who run hang, and nobody waits for them
_LATELY = 10.0  # seconds after which what somebody had counts for a third
_MUCH = 2.0  # seconds of turns lately from which on somebody stands back for all others

_KNOWN = 1_000  # learners of whom it is known what they had, before those with little are forgotten


@dataclass(eq=False)
class _Turn:
    """Somebody's turn, or their wait for one."""

    whose: str
    counts_as: str  # whose share it takes: of one or of many
    came: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0


class Line:
    """Who waits for one of `n` turns. Safe to share between threads."""

    def __init__(self, n: int) -> None:
        self.free = n
        self._lock = threading.Lock()
        self._waiting: list[_Turn] = []  # in the order in which they came
        self._running: Counter[tuple[str, str]] = Counter()  # whose, and as whom they count
        self._had: dict[str, tuple[float, float]] = {}  # seconds lately, and when that was
        self._one_of: dict[str, str] = {}  # those who count as one
        self._moved = 0.0  # when a turn was last taken or given back

    def count_as_one(self, whose: str, name: str) -> None:
        """See below; somebody counts for themselves where the name is theirs."""
        with self._lock:
            if name == whose:
                self._one_of.pop(whose, None)
            else:
                self._one_of[whose] = name

    def take(self, whose: str) -> _Turn | None:
        """Wait for a turn; None where it was not worth waiting any longer."""
        mine = _Turn(whose, self._one_of.get(whose, whose))
        with self._lock:
            self._waiting.append(mine)
            self._call()
        while not mine.came.wait(_PATIENCE):
            with self._lock:
                if not mine.came.is_set() and time.monotonic() - self._moved >= _PATIENCE:
                    self._waiting.remove(mine)
                    return None
        return mine

    def give_back(self, turn: _Turn) -> None:
        """Let the next one go on."""
        with self._lock:
            now = time.monotonic()
            if len(self._had) > _KNOWN:
                had = {whose: self._lately(whose, now) for whose in self._had}
                self._had = {w: (seconds, now) for w, seconds in had.items() if seconds > 0.1}
            for name in {turn.whose, turn.counts_as}:
                self._had[name] = self._lately(name, now) + now - turn.began, now
            who = turn.whose, turn.counts_as
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]
            self.free += 1
            self._moved = now
            self._call()

    def is_in_the_way(self, turn: _Turn) -> bool:
        """Whether somebody else would now go before the one who has this turn."""
        if len(self._running) < 2 and not self._waiting:
            return False
        with self._lock:
            now = time.monotonic()
            if self._lately(turn.counts_as, now) + now - turn.began < _MUCH:
                return False
            others = {who for _, who in self._running} | {each.counts_as for each in self._waiting}
            return any(self._lately(other, now) < _MUCH for other in others - {turn.counts_as})

    def _call(self) -> None:
        """Give the turns that are free to those who are next. Expects the lock to be held."""
        while self.free and (turn := self._next()) is not None:
            now = time.monotonic()
            self._waiting.remove(turn)
            self._running[turn.whose, turn.counts_as] += 1
            self.free -= 1
            self._moved = turn.began = now
            turn.came.set()

    def _next(self) -> _Turn | None:
        now = time.monotonic()
        running = {whose for whose, _ in self._running}
        could = [each for each in self._waiting if each.whose not in running]
        if any(self._lately(who, now) < _MUCH for _, who in self._running):
            could = [each for each in could if self._lately(each.counts_as, now) < _MUCH]

        def had(turn: _Turn) -> tuple[float, float]:
            return self._lately(turn.counts_as, now) // 0.5, self._lately(turn.whose, now) // 0.5

        return min(could, key=had, default=None)

    def _lately(self, whose: str, now: float) -> float:
        seconds, at = self._had.get(whose, (0.0, now))
        return seconds * math.exp((at - now) / _LATELY)


class _Mine(threading.local):
    whose = ""
    turn: _Turn | None = None


_line, _mine = Line(_AT_ONCE), _Mine()


def take(whose: str = "") -> None:
    """Wait for a turn, which this thread then holds until `give_back`; nothing if it has one.

    `whose`: who takes turns with others; each thread for itself where that is not said.
    """
    _mine.whose = whose or _mine.whose or str(threading.get_ident())
    if _mine.turn is None:
        _mine.turn = _line.take(_mine.whose)


def count_as_one(whose: str, name: str) -> None:
    """From now on somebody counts as one with all who have the same name; see `take`."""
    _line.count_as_one(whose, name)


def give_back() -> None:
    """Let another thread have this one's turn, if it has one."""
    turn, _mine.turn = _mine.turn, None
    if turn is not None:
        _line.give_back(turn)


def stand_back() -> None:
    """Let those go first who have had less lately, if this thread has a turn."""
    if _mine.turn is not None and _line.is_in_the_way(_mine.turn):
        give_back()
        take()


@contextmanager
def let_others() -> Iterator[None]:
    """Without a turn, wait for something; then go on with one, unless what came is an error."""
    held = _mine.turn is not None
    give_back()
    yield
    if held:
        take()
