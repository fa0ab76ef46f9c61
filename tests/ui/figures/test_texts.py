"""A page of sampled states is there before all texts are read, and keeps what it has if stopped."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from strata.ui.anatomy.expected import Expected
from strata.ui.figures import texts
from strata.ui.server import resources
from tests.ui.test_small_models import PAGES, PROMPT, page, small

assert small  # a fixture


def n_states(app: AppTest) -> int:
    """How many states the histogram is of; 0 without one."""
    alts = " ".join(chart.proto.alt for chart in app.get("vega_lite_chart"))
    _, _, after = alts.partition("a sample of ")
    return int(after.split()[0].replace(",", "")) if after else 0


def is_whole(app: AppTest) -> bool:
    return any("Proof of this run" in each.value for each in app.markdown)


def said(app: AppTest) -> str:
    return next(each.value for each in app.caption if "token positions" in each.value)


def test_it_sharpens_to_the_whole_and_a_stop_keeps_what_there_is(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    told: list[str] = []
    read = texts._read

    def stopping(about: object, key: str, expected: Expected | None) -> object:
        assert expected is not None
        told.append(expected.noun)
        if len(seen) == 2 and not app.session_state["went_on"]:
            app.session_state["stopped_reading"] = key
        seen.append(about)
        return read(about, key, expected)  # type: ignore[arg-type]

    monkeypatch.setattr(texts, "_read", stopping)
    arguments = (str(PAGES / "gaussian_baseline.py"), PROMPT, {})
    app = AppTest.from_function(page, args=arguments, default_timeout=120)
    app.session_state["went_on"] = False
    app.run()
    assert not app.exception, app.exception[0].message
    assert [each.source.read for each in seen] == [*texts.STAGES, 0]
    assert told == [f"Reading {n} passages takes" for n in (8, 24, 38)]
    assert said(app).startswith("So far ")
    assert not is_whole(app)
    so_far = n_states(app)
    assert 100 < so_far < 1_900
    app.session_state["went_on"] = True
    [again] = [button for button in app.button if button.label == "Read them"]
    again.click().run()
    assert not app.exception, app.exception[0].message
    assert is_whole(app)
    assert n_states(app) > 1_900 > so_far
    assert "of 70 passages" in said(app)
    n_asked = len(seen)
    again = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert is_whole(again), "where all is read, the page begins with all of it"
    assert len(seen) == n_asked
    assert resources.engine().knows(seen[0])
