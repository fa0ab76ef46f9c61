"""What the tab of the intrinsic dimension asks for, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from streamlit.delta_generator import DeltaGenerator

from strata.concepts.gaussian_baseline import known_dimension, near
from strata.engine import Job
from strata.ui.figures import intrinsic
from tests.concepts.gaussian_baseline.test_gaussian_baseline import noise, sample_of


@pytest.mark.parametrize("read", [8, 32, 0])
def test_noise_is_of_as_many_states_and_chance_comes_when_all_is_read(
    read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = noise(60, 24)
    states[30:50] = states[29]  # of 60 at layer 0 only 40 are different
    frame = near.intrinsic(sample_of(states, noise(60, 24, seed=1)))
    here = frame[(frame["part"] == "stream") & (frame["layer"] == 0)].iloc[0]
    assert here["n_states"] < 41
    asked: dict[str, dict[str, Any]] = {}
    drawn: list[Job] = []

    def ask(view: str, **params: Any) -> pd.DataFrame:
        name = view.partition(".")[2]
        asked[name] = params
        if name == "known_dimension":
            return known_dimension(**params)
        return frame if name == "intrinsic" else frame.assign(null=params["null"])

    def job(view: str, **params: Any) -> Job:
        return Job(view=view, model="m", sample={"n": 60}, params=params)

    for name in ("draw", "reading"):
        monkeypatch.setattr(intrinsic, name, lambda *args, **how: None)
    monkeypatch.setattr(DeltaGenerator, "toggle", lambda *args, **how: True)
    sample = {"read": read, "skip_first": True}
    page = SimpleNamespace(ask=ask, job=job, sample=sample, about={"d_model": 24, "n_layers": 1})
    monkeypatch.setattr(intrinsic, "_beside", lambda page, frame, jobs, chosen: drawn.extend(jobs))
    monkeypatch.setattr(intrinsic.st, "fragment", lambda draw, run_every: draw)
    known = SimpleNamespace(knows=lambda job: job.params["null"] == near.NULLS[0])
    monkeypatch.setattr(intrinsic, "engine", lambda: known)
    monkeypatch.setattr(intrinsic.ask, "run", lambda job: frame.assign(null=job.params["null"]))
    tables = intrinsic.draw_dimensions(page, SimpleNamespace(part="stream", layer=0))
    assert asked["known_dimension"] == {"n": here["n_states"], "d_model": 24}
    assert "intrinsic_null" not in asked, "the page waits for none"
    assert ("chance" in tables) == (not read)
    if not read:
        assert [each.params["null"] for each in drawn] == list(near.NULLS)
        assert set(tables["chance"]["null"]) == {near.NULLS[0]}, "what is there so far"
