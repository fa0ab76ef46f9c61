"""Changes that the database could not take: kept on this machine, and stored as soon as it can."""

from __future__ import annotations

import atexit
import json
import logging
import os
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

from strata.storage.database import PAUSE, AwayError, Database

# A change, JSON's kinds of values only. "learner": whose it is. "replaces": where there is one, of
# those waiting only the last with this value is kept.
Letter = dict[str, Any]

_IDLE = 20.0  # seconds between two looks for what a process left behind
_AT_ONCE = 100  # letters in one transaction
_ROOM = 16 << 20  # bytes of letters that were replaced, after which the file is written anew

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
        self._held: FileLock | None = None  # while it is held, no other process takes the file
        self._waiting: dict[str, Letter] = {}
        self._number = 0
        self._learners: Counter[str] = Counter()
        self._filed = True  # whether all that waits is in the file
        self._grown = 0  # bytes in the file
        self._lock, self._sending = RLock(), Lock()
        self._asked: deque[_Asked] = deque()  # to be sent by whoever has the turn next
        self._turn = Lock()
        self._wake, self._closed = Event(), Event()
        self._take_over()
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
        return self._filed

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
        """Send what can be sent, and leave the rest to the next process."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        atexit.unregister(self.close)
        self.flush()
        with self._lock:
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
        if not self._filed:
            with self._lock:
                self._write_anew()

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
                if not _append(aside, _line(letter)):
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
                self._path.unlink(missing_ok=True)
                self._filed, self._grown = True, 0

    # -- keeping ------------------------------------------------------------------------------

    def _keep(self, letter: Letter) -> None:
        with self._lock:
            self._put(letter)
            line = _line(letter)
            if self._filed and self._hold() and _append(self._path, line):
                self._grown += len(line)
                if self._grown < _ROOM:
                    return
            self._write_anew()

    def _put(self, letter: Letter) -> None:
        self._number += 1
        key = letter.get("replaces") or str(self._number)
        self._remove(key)
        self._waiting[key] = letter
        self._learners[letter["learner"]] += 1

    def _remove(self, key: str) -> None:
        old = self._waiting.pop(key, None)
        if old is not None:
            self._learners[old["learner"]] -= 1
            if not self._learners[old["learner"]]:
                del self._learners[old["learner"]]

    def _write_anew(self) -> None:
        """Put all that waits into the file, at once or not at all."""
        new = self._path.with_suffix(".new")
        self._filed = False
        try:
            if self._hold():
                new.unlink(missing_ok=True)
                lines = b"".join(map(_line, self._waiting.values()))
                if _append(new, lines):
                    new.replace(self._path)
                    _sync(self._folder)
                    self._filed, self._grown = True, 0
                else:
                    new.unlink(missing_ok=True)
        except OSError:
            pass

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
        for path in sorted(self._folder.glob(f"{self._name}-*.jsonl")):
            if path == self._path:
                continue
            lock = FileLock(path.with_suffix(".lock"), thread_local=False)
            try:
                with lock.acquire(timeout=0), self._lock:
                    if path.exists() and self._copy(path):
                        path.unlink()
                        path.with_suffix(".lock").unlink(missing_ok=True)
            except (OSError, Timeout):
                continue

    def _copy(self, path: Path) -> bool:
        """Put the letters of a file before those that wait; whether they are in the file here."""
        before, mine = dict(self._waiting), list(self._waiting.values())
        self._waiting.clear()
        self._learners.clear()
        for line in path.read_bytes().splitlines():
            try:
                letter = json.loads(line)
                self._put(letter)
            except (ValueError, TypeError, KeyError):  # cut off where the process was killed
                _append(self._folder / f"{self._name}-refused.txt", line + b"\n")
        for letter in mine:
            self._put(letter)
        self._write_anew()
        if not self._filed:
            self._waiting = before
            self._learners = Counter(letter["learner"] for letter in before.values())
        return self._filed


def _line(letter: Letter) -> bytes:
    return json.dumps(letter).encode("ascii") + b"\n"


def _append(path: Path, content: bytes) -> bool:
    """Whether the content is now on the disk."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        is_new = os.fstat(file).st_size == 0
        try:
            while content:
                content = content[os.write(file, content) :]
            os.fsync(file)
        finally:
            os.close(file)
        if is_new:
            _sync(path.parent)
    except OSError:
        return False
    return True


def _sync(folder: Path) -> None:
    """Make the names in a folder durable too; Windows has no such thing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
