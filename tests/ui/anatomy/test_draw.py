"""A figure in its place: one without rows is its sentence, and one that is drawn once more, while
others come, is another."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from strata.ui.anatomy import record


def script(n_rows: int, in_passing: bool = False) -> None:  # run by itself, without imports above
    import pandas as pd

    from strata import charts
    from strata.ui.anatomy.page import draw

    columns = ["label", "order", "value", "logprob", "chosen"]
    frame = pd.DataFrame([("a", 0, 0.5, -0.7, False)] * n_rows, columns=columns)
    chart = charts.bars(frame, "What may follow", "It says so.")
    draw(chart, "bars", read=False, number=1, in_passing=in_passing)
    draw(chart, "bars", in_passing=in_passing)


def test_it_can_be_drawn_once_more() -> None:
    app = AppTest.from_function(script, args=(1,)).run()
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == 2


def test_without_rows_it_is_its_sentence() -> None:
    app = AppTest.from_function(script, args=(0,)).run()
    assert not app.exception
    assert not app.get("vega_lite_chart")
    assert [text.value for text in app.text] == ["It says so."]


@pytest.mark.parametrize("in_passing", [False, True])
def test_a_figure_in_passing_is_kept_for_no_report(
    monkeypatch: pytest.MonkeyPatch, in_passing: bool
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(record, "keep_figure", lambda chart, key: kept.append(key))
    app = AppTest.from_function(script, args=(1, in_passing)).run()
    assert not app.exception
    assert kept == ([] if in_passing else ["bars", "bars"])
