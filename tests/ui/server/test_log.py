"""A class's log says what happened to the server, and not who did what."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from strata.runtime.attempts import Attempts
from strata.ui.server.log import AT_ONCE, SECONDS, Log

WHO = "Annegret at 192.0.2.7"


@pytest.fixture(params=[True, False], ids=["in a class", "on a laptop"])
def nameless(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def written(nameless: bool) -> Iterator[Callable[[], str]]:
    """What two loggers, Strata's and another's, have written."""
    before = logging.getLogRecordFactory(), threading.excepthook
    output, handlers = io.StringIO(), []
    for name in ("strata", "elsewhere"):
        handler = logging.StreamHandler(output)
        logging.getLogger(name).addHandler(handler)
        handlers.append((name, handler))
    logging.getLogger("elsewhere").setLevel(logging.INFO)
    Log(nameless=nameless).begin()
    yield output.getvalue
    logging.setLogRecordFactory(before[0])
    threading.excepthook = before[1]
    for name, handler in handlers:
        logging.getLogger(name).removeHandler(handler)


other, ours = logging.getLogger("elsewhere"), logging.getLogger("strata")


def test_of_what_others_write_only_their_own_words_stay(
    written: Callable[[], str], nameless: bool
) -> None:
    other.warning("A session of %s is here for the %d time", WHO, 3)
    other.warning("By name: %(who)s", {"who": WHO})
    other.warning(f"A message made of {WHO}")
    other.info("It is %s again", WHO)
    other.info("Started process [%d]", 77)
    ours.error("A change of %s", "ours")
    said = written()
    assert (WHO in said) is not nameless
    assert "is here for the 3 time" in said
    assert "Started process [77]" in said
    assert "A change of ours" in said
    if nameless:
        assert "A session of … is here" in said
        assert "A message made of" not in said
        assert f"({__file__}, line " in said
        assert "again" not in said


def test_an_error_says_its_kind_and_where_it_came_from(
    written: Callable[[], str], nameless: bool
) -> None:
    def ask() -> None:
        try:
            raise KeyError(WHO)
        except KeyError as error:
            raise ValueError(f"wrong: {WHO}") from error

    for log in (other, ours):
        try:
            ask()
        except ValueError:
            log.exception("The thing failed")
    said = written()
    assert said.count("The thing failed") == 2
    assert "in ask" in said
    assert "KeyError" in said
    assert "ValueError" in said
    assert (WHO in said) is not nameless


def test_of_what_is_only_warned_of_a_class_has_a_line_and_a_laptop_all(
    written: Callable[[], str], nameless: bool
) -> None:
    """In a class it is what browsers send; on a laptop it is the only trace of what went wrong."""

    def send() -> None:
        raise ValueError(WHO)

    try:
        send()
    except ValueError as error:
        other.warning("Error deserializing back message", exc_info=error)
    said = written()
    if nameless:
        assert said == "Error deserializing back message (ValueError)\n"
    else:
        assert said.startswith("Error deserializing back message\nTraceback")
        assert "in send" in said
        assert said.endswith(f"ValueError: {WHO}\n")


def test_nobody_fills_the_log(written: Callable[[], str]) -> None:
    def say(number: int) -> None:
        other.warning("Rejecting %s", number)

    for number in range(1_000):
        say(number)
    ours.error("and this is another thing")
    lines = written().splitlines()
    assert len(lines) == AT_ONCE + 1
    assert "another thing" in lines[-1]


def test_what_was_left_out_is_counted() -> None:
    now = [0.0]
    log = Log(nameless=True, attempts=Attempts(AT_ONCE, SECONDS, lambda: now[0]))
    made = [log.record("x", 30, __file__, 1, "said", ()) for _ in range(AT_ONCE + 40)]
    assert [each.levelno for each in made] == [30] * AT_ONCE + [-1] * 40
    now[0] = SECONDS + 1
    assert (
        log.record("x", 30, __file__, 1, "said", ()).getMessage().endswith("(and 40 times before)")
    )


def test_a_thread_that_ends_with_an_error_says_so(
    written: Callable[[], str], nameless: bool
) -> None:
    def end() -> None:
        raise OSError(WHO)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    said = written()
    assert "A thread has ended" in said
    assert "in end" in said
    assert "OSError" in said
    assert (WHO in said) is not nameless
