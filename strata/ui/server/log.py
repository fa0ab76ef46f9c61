"""What may be written into the log, held at one place, whoever writes.

Streamlit and its server name sessions, addresses, origins and hosts, and errors hold what they were
about. A class's log holds none of it: of what others write only words that stand so in their
programs, and of errors the kind and the lines of the programs. And nobody fills the log, or hides
something in it, by doing the same thing again and again.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from strata.runtime.attempts import Attempts

AT_ONCE, SECONDS = 5, 60.0  # lines of a kind: five, then one a minute
_NOWHERE = -1  # below the level of every handler: not written
_ANYTHING = "…"

Caught = tuple[type[BaseException], BaseException, TracebackType | None]


class Log:
    """Makes the records of all loggers of this process, see `begin`. `nameless`: without what could
    say who did what, as in a class."""

    def __init__(self, *, nameless: bool, attempts: Attempts | None = None) -> None:
        self._nameless = nameless
        self._attempts = attempts or Attempts(AT_ONCE, SECONDS)
        self._left_out: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self) -> None:
        """From now on this is what all loggers write; errors that end a thread, too."""
        logging.setLogRecordFactory(self.record)
        threading.excepthook = self._thread_ended

    def record(
        self,
        name: str | None,
        level: int,
        path: str,
        line: int,
        said: object,
        told: Any,
        error: Caught | tuple[None, None, None] | None = None,
        *more: Any,
        **named: Any,
    ) -> logging.LogRecord:
        """What is written of what a logger says."""
        made = logging.LogRecord(name or "", level, path, line, said, told, error, *more, **named)
        if name is None:  # to be filled in by who asks (`logging.makeLogRecord`)
            return made
        ours = name.partition(".")[0] == "strata"
        if self._nameless and not ours:
            if level < logging.WARNING and _names(made.args):
                made.levelno = _NOWHERE
                return made
            made.msg, made.args = _words(said, made.args, path, line), None
        if self._nameless and error and error[0] is not None:
            if level < logging.ERROR:  # what browsers send is no error of a program
                made.exc_info = None
                made.msg, made.args = f"{made.getMessage()} ({error[0].__name__})", None
            else:
                made.exc_info, made.exc_text = None, _lines(error[1])
        kind = f"{name} {path} {line} {error[0] if error else ''} {made.msg if ours else ''}"
        with self._lock:
            if self._attempts.wait(kind):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                made.levelno = _NOWHERE
                return made
            self._attempts.take(kind)
            more_of_it = self._left_out.pop(kind, 0)
        if more_of_it:
            made.msg, made.args = f"{made.getMessage()} (and {more_of_it:,} times before)", None
        return made

    def _thread_ended(self, ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and ended.exc_type is not SystemExit:
            logging.getLogger("strata").error("A thread has ended", exc_info=ended.exc_value)


def _names(told: Any) -> bool:
    values = told.values() if isinstance(told, Mapping) else told or ()
    return not all(isinstance(value, int | float) for value in values)


def _words(said: object, told: Any, path: str, line: int) -> str:
    """A message with numbers only, if it stands so in the program; else where that is."""
    if not _stands_there(said, path, line):
        return f"({path}, line {line})"
    first = str(said).strip().partition("\n")[0]
    if not told:
        return first
    try:
        if isinstance(told, Mapping):
            return first % {name: _number(value) for name, value in told.items()}
        return first % tuple(_number(value) for value in told)
    except (TypeError, ValueError, KeyError):
        return f"({path}, line {line})"


def _stands_there(said: object, path: str, line: int) -> bool:
    """Whether the function that writes this has it as a constant."""
    frame = sys._getframe()
    while frame is not None and not (frame.f_code.co_filename == path and frame.f_lineno == line):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and isinstance(said, str) and said in frame.f_code.co_consts


def _number(value: object) -> object:
    return value if isinstance(value, int | float) else _ANYTHING


def _lines(error: BaseException | None) -> str:
    """Where an error comes from, and of which kind it is, without what it says."""
    if error is None:
        return ""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    parts = [_lines(before)] if before is not None else []
    if isinstance(error, BaseExceptionGroup):
        parts += map(_lines, error.exceptions)
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    frames = "".join(traceback.format_tb(error.__traceback__))
    return "\n".join([*parts, f"{frames}{kind.removeprefix('builtins.')}"])
