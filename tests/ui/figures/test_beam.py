"""A word's beam on the page: random blocks are read where they are shown, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from strata.concepts.jacobian_lens.words import CURVES
from strata.engine import Job
from strata.lessons import lessons
from strata.ui.anatomy import ask
from strata.ui.anatomy.expected import Expected
from tests.ui.test_small_models import PAGES, PROMPT, page, small

assert small  # a fixture
BEAM = {"view": "The beam of a word", "passages": 4}


def test_random_blocks_are_read_last_and_only_where_they_are_shown(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []
    run = ask.run

    def waited(
        job: Job, meanwhile: Callable[[], object] | None = None, expected: Expected | None = None
    ) -> pd.DataFrame:
        """As if each work took long."""
        if job.view.startswith("jacobian_lens."):
            asked.append((job.view.partition(".")[2], job.params.get("n_passages")))
        if meanwhile is not None:
            meanwhile()
        return run(job, None, expected)

    monkeypatch.setattr(ask, "run", waited)
    prompt = f"{PROMPT} on the mat"  # which no other test has asked about
    arguments = (str(PAGES / "jacobian_lens.py"), prompt, BEAM)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    assert asked == [("floor", None), *(("passage_beam", n) for n in (1, 2, 4))]
    assert curves(app) == [["Jacobian lens", "logit lens, J = identity"]] * 2
    told = [text.value for text in app.text if text.value.startswith("At layer")]
    assert "the logit lens gives" in told[-1]
    assert "random" not in told[-1]
    asked.clear()
    app.toggle(key="random").set_value(True).run()
    assert not app.exception, app.exception[0].message
    assert asked == [("beside", 4)], "what is known is not asked again"
    assert curves(app) == [list(CURVES.values())] * 2


def curves(app: AppTest) -> list[list[str]]:
    """Which curves each figure has, by layer and by token."""
    begin = ("How disposed the state of", "How disposed each state of layer")
    found = [chart.proto for chart in app.get("vega_lite_chart")]
    specs = [next(each.spec for each in found if each.alt.startswith(title)) for title in begin]
    return [[name for name in CURVES.values() if f'"{name}"' in spec] for spec in specs]


def test_a_step_that_is_not_about_random_blocks_does_not_wait_for_them() -> None:
    steps = [step for step in lessons()["jacobian_lens"].steps if step.question]
    of_beams = [step for step in steps if step.settings["view"] != "The grid"]
    assert len(of_beams) == 4
    for step in of_beams:
        assert step.question is not None
        about_them = step.question.view == "jacobian_lens.beside"
        assert step.settings["random"] is about_them, step.title
