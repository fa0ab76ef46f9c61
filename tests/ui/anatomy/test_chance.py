"""The control on every page: nothing is drawn before it is asked for, and then in spare time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from strata.concepts.nulls import draws
from strata.concepts.views import concepts
from strata.engine import Job
from strata.errors import BusyError
from strata.ui.anatomy import ask, chance
from strata.ui.server import resources
from tests.ui.test_figures import rows_of
from tests.ui.test_small_models import PAGES, page, small

assert small  # a fixture

PROMPT = "the cat sat on a mat . the cat"
ON = {"by_chance": "shuffled text"}


def opened(stem: str, prompt: str, **chosen: Any) -> AppTest:
    arguments = (str(PAGES / f"{stem}.py"), prompt, chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    return app


def band_of(app: AppTest) -> pd.DataFrame:
    [rows] = [
        rows
        for chart in app.get("vega_lite_chart")
        if {"low", "middle"} <= set(rows := rows_of(chart.proto))
    ]
    return rows


def said(app: AppTest) -> str:
    return " ".join(each.value for each in (*app.text, *app.caption, *app.markdown))


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The browser's asking for more, within a run of the page; the jobs that were asked then."""
    asked: list[Job] = []
    in_passing = ask.in_passing

    def noted(job: Job, deadline: float) -> pd.DataFrame | None:
        asked.append(job)
        return in_passing(job, deadline)

    monkeypatch.setattr(chance.ask, "in_passing", noted)
    monkeypatch.setattr(chance, "is_tick", lambda: True)
    rerun = chance.st.rerun
    monkeypatch.setattr(chance.st, "rerun", lambda scope="app": rerun())
    return asked


def test_nothing_is_drawn_before_it_is_asked_for_and_then_twenty(
    small: None, ticking: list[Job]
) -> None:
    app = opened("hidden_states", PROMPT, **ON)
    assert ticking == []
    assert band_of(app)["low"].isna().all()
    assert "20 draws take a few seconds here" in said(app)
    assert "nothing is drawn yet" in said(app)
    app.button(key="draw_by_chance").click().run()
    assert not app.exception
    assert [job.params["first"] for job in ticking] == [0, 4, 8, 12, 16]
    rows = band_of(app)
    model = resources.engine()._owners["small"].supply.model  # the page's own
    of = "hidden_states", "Norm of the state", "shuffled text"
    wanted = draws(model, model.capture(PROMPT), *of, position=8).groupby("layer")["value"]
    for name, share in {"low": 0.05, "middle": 0.5, "high": 0.95}.items():
        assert np.allclose(rows[name], wanted.quantile(share), rtol=1e-5)
    assert "of 20 draws" in said(app)
    app.button(key="draw_by_chance").click().run()
    assert len(ticking) == 10
    assert "of 40 draws" in said(app)


def test_another_prompt_was_not_asked_for(small: None, ticking: list[Job]) -> None:
    app = opened("predictions", f"{PROMPT} sat", **ON)
    app.button(key="draw_by_chance").click().run()
    assert len(ticking) == 5
    assert len(band_of(app)) == 1
    other = opened("predictions", f"{PROMPT} mat", **ON)
    assert len(ticking) == 5
    assert band_of(other)["low"].isna().all()


def test_a_busy_model_is_waited_for_and_a_refusal_told_once(
    small: None, ticking: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened("hidden_states", "cat mat", **ON)
    app.button(key="draw_by_chance").click().run()
    assert "There are too few tokens to put them into another order." in said(app)
    assert len(ticking) == 1
    app = opened("hidden_states", f"{PROMPT} on a", **ON)

    def busy(*job: Any, **how: Any) -> None:
        raise BusyError("The model has other work.")

    with monkeypatch.context() as patch:
        real = resources.engine().submit
        patch.setattr(
            resources.engine(),
            "submit",
            lambda job, **how: busy() if how.get("spare") else real(job, **how),
        )
        app.button(key="draw_by_chance").click().run()
    assert not app.exception
    assert len(ticking) == 2, "and asked again when the browser does"
    assert band_of(app)["low"].isna().all()


def test_a_page_itself_waits_for_no_draw(small: None) -> None:
    app = opened("hidden_states", f"{PROMPT} sat on", **ON)
    app.button(key="draw_by_chance").click().run()
    assert band_of(app)["low"].isna().all(), "only the browser's tick draws"


def test_a_step_that_keeps_readings_back_keeps_this_back(small: None) -> None:
    app = opened("hidden_states", PROMPT, **ON, readings_wait=True)
    assert not app.get("button_group")
    assert chance.QUESTION not in said(app)


@pytest.mark.parametrize("stem", ["jacobian_lens", "gaussian_baseline"])
def test_a_page_that_draws_chance_elsewhere_leads_there(small: None, stem: str) -> None:
    app, tab = opened(stem, "the cat sat on a mat ."), concepts()[stem].CONCEPT.chance_under
    assert said(app).count(chance.QUESTION) == 1
    assert f"nder {tab} stand" in said(app)
    assert app.button(key="to_chance").label == f"Show “{tab}”"
    if stem == "jacobian_lens":  # the other's has much to compute
        app.button(key="to_chance").click().run()
        assert not app.exception
        assert app.session_state["view"] == tab
        assert chance.QUESTION not in said(app), "the tab has its own"


def test_scaling_is_drawn_by_chance(small: None, ticking: list[Job]) -> None:
    app = opened("scaling", "the cat sat on", **ON)
    app.button(key="draw_by_chance").click().run()
    assert len(ticking) == 5
    rows = band_of(app)
    assert rows["layer"].tolist() == list(range(len(rows)))
    assert rows["middle"].isna().tolist() == [True, *[False] * (len(rows) - 1)]


def test_of_a_set_the_draws_that_its_p_values_count_are_drawn(small: None) -> None:
    app = opened("evidence", "the cat", set="truth", by_chance="exchanged pairs")
    assert said(app).count(chance.QUESTION) <= 1
    assert band_of(app)["low"].notna().any()
    assert "Points: this half. Grey: 90% of the draws" in str(app.get("vega_lite_chart")[-1].proto)
    assert "of 20 draws" in said(app)
    app.segmented_control(key="by_chance").set_value(chance.NOTHING).run()
    assert "of 20 draws" not in said(app)
    probe = opened("evidence", "the cat", set="number", view="Probe")
    assert probe.button(key="to_chance")
