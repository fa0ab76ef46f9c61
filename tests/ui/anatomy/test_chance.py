"""The control on every page: nothing is drawn before it is asked for, and then in spare time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from strata.concepts.nulls import draws
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
    monkeypatch.setattr(chance, "_is_tick", lambda: True)
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


@pytest.mark.parametrize("stem", ["scaling", "jacobian_lens", "gaussian_baseline"])
def test_a_page_that_draws_chance_elsewhere_says_where(small: None, stem: str) -> None:
    app = opened(stem, "the cat sat on a mat .")
    assert chance.QUESTION in said(app)
    assert "Under " in said(app) or "under " in said(app)
