"""What the tab of the intrinsic dimension asks for, and when."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from streamlit.delta_generator import DeltaGenerator

from strata.concepts.gaussian_baseline import known_dimension, near
from strata.engine import Job
from strata.errors import InputError, StrataError
from strata.ui.figures import intrinsic
from tests.concepts.gaussian_baseline.test_gaussian_baseline import noise, sample_of

VIEW = "gaussian_baseline.intrinsic_null"


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


def test_chance_is_read_in_spare_time_and_a_refusal_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time the browser asks, what is missing first; the whole page anew when all is there."""
    frame = near.intrinsic(sample_of(noise(60, 24), noise(60, 24, seed=1)))
    jobs = [Job(view=VIEW, model="m", sample={"n": 60}, params={"null": n}) for n in near.NULLS]
    answers: list[pd.DataFrame | StrataError | None] = [None, frame, InputError("Not here."), frame]
    there: list[Job] = []
    told: list[str] = []

    def in_passing(job: Job, deadline: float) -> pd.DataFrame | None:
        told.append(job.params["null"])
        answer = answers.pop(0)
        if isinstance(answer, StrataError):
            raise answer
        there.extend([job] * (answer is not None))
        return answer

    class Rerun(Exception):
        pass

    def rerun(scope: str = "app") -> None:
        told.append(scope)
        raise Rerun

    monkeypatch.setattr(intrinsic, "engine", lambda: SimpleNamespace(knows=there.__contains__))
    monkeypatch.setattr(intrinsic.ask, "run", lambda job: frame.assign(null=job.params["null"]))
    monkeypatch.setattr(intrinsic.ask, "in_passing", in_passing)
    monkeypatch.setattr(intrinsic.st, "rerun", rerun)
    monkeypatch.setattr(intrinsic.st, "session_state", {})
    monkeypatch.setattr(intrinsic, "is_tick", lambda: bool(answers))
    monkeypatch.setattr(intrinsic, "draw", lambda chart, key, **how: told.append(key))
    monkeypatch.setattr(intrinsic, "reading", lambda sentence, key: told.append(sentence))
    monkeypatch.setattr(intrinsic.style, "say", lambda kind, text, name: told.append(text))
    page = SimpleNamespace(about={"n_layers": 1, "d_model": 24})

    def drawn() -> list[str]:
        told.clear()
        with suppress(Rerun):
            intrinsic._beside(page, frame, jobs, SimpleNamespace(part="mlp", layer=1))
        return told[3:]

    first, second = near.NULLS
    assert drawn()[1:] == [first], "the model has other work"
    assert drawn()[1:] == [first, "fragment"]
    assert drawn()[1:] == [second, "app"], "refused"
    said, *others = drawn()
    assert others == ["Not here."]
    assert said.count("of shuffled words") == 3
    assert "which alone is drawn by chance" in said
