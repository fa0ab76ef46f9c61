"""Changes that the database could not take: kept on this machine, and stored as soon as it can."""

from __future__ import annotations

import atexit
import json
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock, RLock, Thread
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy.orm import Session

from strata.storage import lines
from strata.storage.database import PAUSE, AwayError, Database

# A change, JSON's kinds of values only. "learner": whose it is. "replaces": where there is one, of
# those waiting only the last with this value is kept.
Letter = dict[str, Any]

_IDLE = 20.0  # seconds between two looks for what a process left behind
_AT_ONCE = 100  # letters in one transaction
# Bytes that are taken of the disk beforehand: what a large class does in some minutes, with its
# figures. After so many the file is written anew, without what was replaced.
_ROOM = 16 << 20

_log = logging.getLogger("strata")


@dataclass
class _Asked:
    letter: Letter
    is_done: bool = False
    error: Exception | None = field(default_factory=lambda: AwayError("It was not sent."))


class Outbox:
    """Makes changes in the database, or keeps them in order until it can be reached and written.

    `store(session, letter)` makes a change. It may be made twice, so the second must change
    nothing. What waits is in a file of `folder` that outlives this process; the next process with
    the same folder and database sends it. Safe to share between threads.
    """

    def __init__(
        self, database: Database, folder: Path, store: Callable[[Session, Letter], None]
    ) -> None:
        self._database, self._folder, self._store = database, folder, store
        place = database.place.split("@")[-1]  # a new password leads to the same database
        self._name = sha256(place.encode()).hexdigest()[:12]
        self._path = folder / f"{self._name}-{secrets.token_hex(8)}.jsonl"
        self._room = self._path.with_suffix(".room")  # becomes the file with the first letter
        self._reserved = False
        self._held: FileLock | None = None  # while it is held, no other process takes the file
        self._waiting: dict[str, Letter] = {}
        self._number = 0
        self._learners: Counter[str] = Counter()
        self._missing: dict[str, None] = {}  # of what waits, what is not in the file, in order
        self._said = False  # in the log: that something would be lost
        self._grown, self._full = 0, _ROOM  # bytes in the file, and at which it is written anew
        self._lock, self._sending = RLock(), Lock()
        self._asked: deque[_Asked] = deque()  # to be sent by whoever has the turn next
        self._turn = Lock()
        self._wake, self._closed = Event(), Event()
        self._take_over()
        if not self._waiting:
            self._reserve()
        self.flush()  # the first page is not to say that something waits where nothing need
        atexit.register(self.close)
        Thread(target=self._run, name="outbox", daemon=True).start()

    def write(self, letter: Letter) -> None:
        """Make a change now, or keep it for later if the database is away.

        StrataError if the database refuses it. What comes while another change is being made goes
        with all others that came meanwhile, in one transaction: a class that votes at once would
        otherwise stand in line for each other's.
        """
        if not self._waiting:  # else it would overtake what waits
            mine = _Asked(letter)
            self._asked.append(mine)
            with self._turn:
                while not mine.is_done:
                    self._send_asked()
            if mine.error is None:
                return
            if not isinstance(mine.error, AwayError):
                raise mine.error
        self._keep(letter)
        self._wake.set()

    def waiting(self, learner: str | None = None) -> int:
        """How many changes wait: those of one learner, or all."""
        return len(self._waiting) if learner is None else self._learners[learner]

    @property
    def is_durable(self) -> bool:
        """Whether what waits would outlive this process."""
        return not self._missing

    def letters(self, learner: str) -> list[Letter]:
        """A learner's changes that wait, in order."""
        if not self._learners[learner]:
            return []
        with self._lock:
            return [each for each in self._waiting.values() if each["learner"] == learner]

    def wake(self) -> None:
        """Look now whether the database is there; for whoever found that it is not."""
        self._wake.set()

    def flush(self) -> None:
        """Send what waits, as far as the database takes it."""
        with self._sending:
            while batch := self._first():
                try:
                    self._send([letter for _, letter in batch])
                except AwayError:
                    return
                except Exception:  # one of them is at fault: which?
                    if not self._one_by_one(batch):
                        return
                else:
                    self._sent(batch)

    def close(self) -> None:
        """Send what can be sent, and leave the rest to the next process. The log says how much is
        lost, where neither the database nor the disk takes it."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        atexit.unregister(self.close)
        self.flush()
        with self._lock:
            self._file()
            if self._missing:
                _log.error("Changes of learners, lost with this process: %d", len(self._missing))
            self._room.unlink(missing_ok=True)
            if self._held is not None:
                self._held.release()
                if not self._waiting:
                    self._path.with_suffix(".lock").unlink(missing_ok=True)

    # -- sending ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._take_over()
                self.flush()
                self._look()
            except Exception:  # whatever it was, what waits is tried again
                _log.exception("The outbox failed")
            if self._waiting or self._database.away:
                self._closed.wait(PAUSE)
            else:
                self._wake.wait(_IDLE)
                self._wake.clear()

    def _send_asked(self) -> None:
        """What is asked for now; each is told how that went."""
        batch = [self._asked.popleft() for _ in range(min(len(self._asked), _AT_ONCE))]
        try:
            self._send_each(batch)
        finally:
            for each in batch:
                each.is_done = True

    def _send_each(self, batch: Sequence[_Asked]) -> None:
        try:
            self._send([each.letter for each in batch])
        except Exception as error:
            for each in batch:
                if len(batch) > 1 and not isinstance(error, AwayError):
                    self._send_each([each])  # one of them is at fault: which?
                else:
                    each.error = error
        else:
            for each in batch:
                each.error = None

    def _send(self, letters: Sequence[Letter]) -> None:
        with self._database.session(write=True) as session:
            for letter in letters:
                self._store(session, letter)

    def _look(self) -> None:
        if self._database.away:
            with suppress(AwayError), self._database.session():
                pass
        with self._lock:
            self._file()

    def _first(self) -> list[tuple[str, Letter]]:
        with self._lock:
            return list(self._waiting.items())[:_AT_ONCE]

    def _one_by_one(self, batch: Sequence[tuple[str, Letter]]) -> bool:
        """Whether all were sent, or set aside where the database refuses them."""
        for key, letter in batch:
            try:
                self._send([letter])
            except AwayError:
                return False
            except Exception as error:
                aside = self._folder / f"{self._name}-refused.txt"
                if not lines.append(aside, _line(letter)):
                    return False
                kind = type(error.__cause__ or error).__name__
                _log.error("A change was refused (%s) and set aside in %s", kind, aside)
            self._sent([(key, letter)])
        return True

    def _sent(self, batch: Sequence[tuple[str, Letter]]) -> None:
        with self._lock:
            for key, letter in batch:
                if self._waiting.get(key) is letter:  # else it was replaced meanwhile
                    self._remove(key)
            if not self._waiting:
                self._empty()

    # -- keeping ------------------------------------------------------------------------------

    def _keep(self, letter: Letter) -> None:
        with self._lock:
            self._put(letter)
            self._file()

    def _file(self) -> None:
        """Bring into the file what is not in it; log where that begins to fail, or to succeed."""
        if self._missing and self._begin():
            content = b"".join(_line(self._waiting[key]) for key in self._missing)
            if lines.write(self._path, content, self._grown):
                self._grown += len(content)
                self._missing.clear()
        if self._missing or self._grown >= self._full:
            self._full = self._grown + _ROOM  # where there is no room for that, it goes on so
            self._written_anew()
        if self._missing and not self._said:
            _log.error(
                "Neither the database nor the disk (%s) takes what learners do: it is lost if "
                "this process ends now",
                self._folder,
            )
        elif self._said and not self._missing:
            _log.warning("What learners do is kept on the disk again, or stored")
        self._said = bool(self._missing)

    def _put(self, letter: Letter) -> None:
        self._number += 1
        key = letter.get("replaces") or str(self._number)
        self._remove(key)
        self._waiting[key] = letter
        self._missing[key] = None
        self._learners[letter["learner"]] += 1

    def _remove(self, key: str) -> None:
        self._missing.pop(key, None)
        old = self._waiting.pop(key, None)
        if old is not None:
            self._learners[old["learner"]] -= 1
            if not self._learners[old["learner"]]:
                del self._learners[old["learner"]]

    def _reserve(self) -> None:
        self._reserved = self._hold() and lines.reserve(self._room, _ROOM)

    def _begin(self) -> bool:
        """Whether there can be a file, marked as that of a process that lives; in the reserved room
        if there is some."""
        if not self._hold():
            return False
        if self._reserved:
            self._reserved = False
            with suppress(OSError):
                self._room.replace(self._path)
                lines.sync(self._folder)
        return True

    def _empty(self) -> None:
        """Leave no letter in the file, and its room for the next one."""
        try:
            kept = 0 < self._grown <= _ROOM <= self._path.stat().st_size
            if kept and lines.write(self._path, bytes(self._grown), 0):
                self._path.replace(self._room)
                self._reserved = True
            else:
                self._path.unlink(missing_ok=True)
        except OSError:  # it is not there, or the folder is not
            pass
        self._grown, self._full = 0, _ROOM
        if not self._reserved:
            self._reserve()

    def _written_anew(self) -> bool:
        """Whether all that waits is in the file now: it is put there at once or not at all."""
        content = b"".join(map(_line, self._waiting.values()))
        new = self._path.with_suffix(".new")
        try:
            if not self._hold():
                return False
            if self._reserved and len(content) <= _ROOM:
                self._reserved, new = False, self._room
            else:
                new.unlink(missing_ok=True)
                lines.reserve(new, _ROOM)
            if not lines.write(new, content, 0):
                new.unlink(missing_ok=True)
                return False
            new.replace(self._path)
            lines.sync(self._folder)
        except OSError:
            return False
        self._grown, self._full = len(content), len(content) + _ROOM
        self._missing.clear()
        return True

    def _hold(self) -> bool:
        """Whether the file is marked as that of a process that lives."""
        if self._held is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                held = FileLock(self._path.with_suffix(".lock"), thread_local=False, mode=0o600)
                held.acquire(timeout=0)
            except (OSError, Timeout):
                return False
            self._held = held
        return True

    def _take_over(self) -> None:
        """Make what a process left behind, which is not there any more, wait here."""
        for path in sorted(self._folder.glob(f"{self._name}-*.[jr]*")):  # .jsonl before .room
            if path in (self._path, self._room):
                continue
            lock = FileLock(path.with_suffix(".lock"), thread_local=False)
            try:
                with lock.acquire(timeout=0), self._lock:
                    if path.suffix == ".room" or (path.exists() and self._copy(path)):
                        path.unlink(missing_ok=True)
                        path.with_suffix(".lock").unlink(missing_ok=True)
            except (OSError, Timeout):
                continue

    def _copy(self, path: Path) -> bool:
        """Put the letters of a file before those that wait; whether they are in the file here."""
        before, mine = (dict(self._waiting), dict(self._missing)), list(self._waiting.values())
        for each in (self._waiting, self._missing, self._learners):
            each.clear()
        for line in lines.read(path):
            try:
                letter = json.loads(line)
                self._put(letter)
            except (ValueError, TypeError, KeyError):  # cut off where the process was killed
                lines.append(self._folder / f"{self._name}-refused.txt", line + b"\n")
        for letter in mine:
            self._put(letter)
        if not self._waiting or self._written_anew():
            return True
        if not mine and self._hold():  # a full disk still gives a file another name
            path.replace(self._path)
            self._grown = self._path.read_bytes().rfind(b"\n") + 1
            self._missing.clear()
            return True
        self._waiting, self._missing = before
        self._learners = Counter(letter["learner"] for letter in self._waiting.values())
        return False


def _line(letter: Letter) -> bytes:
    return json.dumps(letter).encode("ascii") + b"\n"
