"""What is replaced in Streamlit does what it says, and is what it was written for."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit import __version__, config
from streamlit.runtime.state import SafeSessionState
from streamlit.web.server.server_util import is_url_from_allowed_origins

from strata.ui.server import throughput, turns


def test_a_server_is_made_of_what_was_mended() -> None:
    importlib.import_module(
        "strata.ui.server.start"
    )  # as `app.py` does, before Streamlit makes its own
    for each in throughput.REPLACED:
        assert getattr(each.owner, each.name) is each.ours, each.name
    assert not config.get_option("runner.fastReruns")  # one thread a session


@pytest.mark.parametrize("left", ["1", "turns,presses"])
def test_streamlit_can_be_left_as_it_is(left: str) -> None:
    """In a process of its own: what was replaced once stays so in this one."""
    program = (
        "import strata.ui.server.start\n"
        "from strata.ui.server.throughput import REPLACED\n"
        "for each in REPLACED:\n"
        "    print(each.purpose, getattr(each.owner, each.name) == each.own)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "STRATA_PLAIN_STREAMLIT": left},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for purpose, own in zip(printed[::2], printed[1::2], strict=True):
        kept = purpose in throughput.ALWAYS
        wanted = not kept and (left == "1" or purpose in left.split(","))
        assert own == str(wanted), purpose
    assert len(printed) == 2 * len(throughput.REPLACED)


@pytest.mark.parametrize("replaced", throughput.REPLACED, ids=lambda each: each.name)
def test_streamlits_own_is_what_ours_was_written_for(replaced: throughput.Replacement) -> None:
    assert not replaced.changed, replaced.changed


def test_a_changed_one_says_what_to_do() -> None:
    other = copy(throughput.REPLACED[0])
    object.__setattr__(other, "source", "0" * 16)
    sentence = other.changed
    assert sentence.startswith(
        f"Streamlit {__version__} has changed ScriptRunContext.on_script_start"
    )
    for said in (throughput.REPLACED[0].why, throughput.REPLACED[0].until, "write down source='"):
        assert said in sentence


def test_settings_are_those_of_streamlit_and_change_with_them() -> None:
    importlib.import_module("strata.ui.server.start")
    before = config.get_option("server.maxUploadSize")
    assert before == throughput._option.__wrapped__("server.maxUploadSize")
    assert config.get_options_for_section("theme") == throughput._section.__wrapped__("theme")
    told = {"server.maxUploadSize": before + 1}
    try:
        config.get_config_options(force_reparse=True, options_from_flags=told)
        assert config.get_option("server.maxUploadSize") == before + 1
    finally:
        config.get_config_options(force_reparse=True)
    assert config.get_option("server.maxUploadSize") == before
    with pytest.raises(RuntimeError, match="not defined"):
        config.get_option("server.nothing")


def test_nobody_outside_is_asked_who_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("strata.ui.server.start")
    asked: list[str] = []
    ask = "streamlit.net_util._make_blocking_http_get"
    monkeypatch.setattr(ask, lambda url, timeout: asked.append(url))
    monkeypatch.setattr("streamlit.net_util._external_ip", None)
    assert not is_url_from_allowed_origins("http://strata.example:80")
    assert asked == []


class Overtaken(Exception):
    """The run gives way to a newer wish."""


class Runner:
    """Of a runner: that it gives way at once, where it executes a page."""

    _execing = True

    def give_way(self) -> None:
        if self._execing:
            raise Overtaken


def test_what_was_pressed_is_heard_before_a_run_gives_way() -> None:
    runner, heard = Runner(), []

    def hear(fresh: Any, **more: Any) -> None:
        heard.append(fresh)
        state["kept"] = fresh  # as a callback does

    inner: Any = type("Inner", (dict,), {"on_script_will_rerun": staticmethod(hear)})()
    state = SafeSessionState(inner, runner.give_way)
    pressed: Any = "a press"
    with pytest.raises(Overtaken):
        throughput._hear(state, pressed)
    assert heard == []  # Streamlit by itself
    throughput._hear_whole(state, pressed)
    assert (heard, inner) == ([pressed], {"kept": pressed})
    with pytest.raises(Overtaken):
        runner.give_way()  # from here on again


def test_an_error_in_a_callback_leaves_the_run_able_to_give_way() -> None:
    def fail(fresh: Any, **more: Any) -> None:
        raise KeyError

    runner = Runner()
    state = SafeSessionState(SimpleNamespace(on_script_will_rerun=fail), runner.give_way)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        throughput._hear_whole(state, None)
    with pytest.raises(Overtaken):
        runner.give_way()


def test_a_turn_is_held_from_when_the_browser_was_heard_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = turns.Line(1)
    monkeypatch.setattr(turns, "_line", line)
    seen = []

    def run(runner: Any, asked: Any) -> None:
        seen.append(line.free)  # the browser's wish is taken in without a turn
        throughput._begin_in_turn(SimpleNamespace(session_id="one"))  # type: ignore[arg-type]
        seen.append(line.free)
        raise KeyError

    monkeypatch.setattr(throughput, "_run", run)
    monkeypatch.setattr(throughput, "_begin", lambda context: None)
    with pytest.raises(KeyError):
        throughput._run_to_the_end(None, None)  # type: ignore[arg-type]
    assert seen == [1, 0]
    assert line.free == 1
