"""A word's beam on the page: random blocks are read where they are shown, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest, local_script_runner

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


def test_what_was_said_of_a_refused_word_is_gone_before_the_next_is_read(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run does not replace a browser shows until its end, so a place is emptied at once."""
    sent: list[Any] = []
    parse = local_script_runner.parse_tree_from_messages

    def kept(messages: list[Any]) -> Any:
        sent[:] = [each for each in messages if each.WhichOneof("type") == "delta"]
        return parse(messages)

    monkeypatch.setattr(local_script_runner, "parse_tree_from_messages", kept)
    arguments = (str(PAGES / "jacobian_lens.py"), PROMPT, {**BEAM, "passages": 1})
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    drawn = {tuple(each.metadata.delta_path): each.delta.new_element for each in sent}
    boxes = [p for p, e in drawn.items() if e.selectbox.label.startswith(("Target", "Minus"))]
    assert len(boxes) == 2
    for *column, last in boxes:
        assert drawn[*column, last + 1].WhichOneof("type") == "empty"


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
