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


def clicked_script() -> None:
    import pandas as pd
    import streamlit as st

    from strata import charts
    from strata.ui.anatomy import figure
    from strata.ui.anatomy.page import draw

    chosen, by_click = st.session_state["now"]
    columns = ["label", "order", "value", "logprob", "token_id", "chosen"]
    rows = [(name, n, 0.5, -0.7, n, n == chosen) for n, name in enumerate("ab")]
    chart = charts.bars(pd.DataFrame(rows, columns=columns), "What may", "It says so.", picks=True)
    if by_click:  # noted by the chart's callback, which no AppTest calls
        figure._clicks("bars").heard = True
    draw(chart, "bars", on_pick=lambda mark: None)


def test_what_was_clicked_can_be_clicked_again_once_something_else_is_chosen() -> None:
    """A mark that is selected already cannot be clicked in a browser, so the figure becomes
    another one; and in no other case, since that is seen."""
    app = AppTest.from_function(clicked_script)

    def drawn_as(chosen: int, by_click: bool) -> str:
        app.session_state["now"] = chosen, by_click
        app.run()
        assert not app.exception
        return str(app.get("vega_lite_chart")[0].proto.id).rsplit("-", 1)[-1]

    assert drawn_as(0, False) == drawn_as(1, False) == "bars", "nobody clicked"
    assert drawn_as(0, True) == drawn_as(0, False) == "bars", "the click's own choice"
    assert drawn_as(1, False) == "bars_anew1"
    assert drawn_as(0, False) == "bars_anew1", "in the new one nothing is clicked"
    assert drawn_as(1, True) == "bars_anew1"
    assert drawn_as(0, True) == "bars_anew1", "from one mark to another"
    assert drawn_as(1, False) == "bars_anew2"
