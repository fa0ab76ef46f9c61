"""Our components under Streamlit's own rules."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from strata.ui.anatomy import component
from strata.ui.server import throughput


def page() -> None:
    import streamlit as st

    from strata.ui.anatomy import style
    from strata.ui.anatomy.component import component

    component("strata_drawer", style.__file__, ("drawer.js",))(
        key="closes_drawer", data={"step": ""}
    )
    st.selectbox("One of", ["a", "b"], key="box")
    st.text_area("Text", "as it was", key="text")


def test_no_class_is_made_when_a_page_runs() -> None:
    """Streamlit would make one for each component at each select box: garbage of 30 objects."""
    throughput.mend()
    app = AppTest.from_function(page).run()
    assert not app.exception
    gc.collect()
    app.selectbox[0].select("b").run()
    classes = [each for each in gc.get_objects() if type(each) is type]
    assert "_WriteThrough" not in {each.__name__ for each in classes}
    assert app.selectbox[0].value == "b"


class Session:
    """The little of a session's state that a presenter reads."""

    def __init__(self, **said: Any) -> None:
        self._new_widget_state = said


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ([{"event": "chosen", "value": 2}], {"kept": 1, "chosen": 2}),
        ([{"event": "chosen", "value": 2}, {"event": "chosen"}], {"kept": 1, "chosen": None}),
        ({"event": "chosen", "value": 2}, {"kept": 1, "chosen": 2}),
        ([], {"kept": 1}),
        (None, {"kept": 1}),
        (["no event", {}, {"value": 3}], {"kept": 1}),
    ],
)
def test_what_was_triggered_is_shown_beside_the_state(said: Any, shown: Any) -> None:
    """As Streamlit's own presenter shows it."""
    present = throughput._with_events("events", "id", {"chosen"})
    assert present({"kept": 1}, Session(events=said)) == shown
    assert present({"kept": 1}, Session()) == {"kept": 1}
    assert present("no mapping", Session(events=said)) == "no mapping"


@pytest.mark.parametrize(
    ("state", "chosen"), [({}, None), ({"chosen": [1, 2]}, [1, 2]), ([7], None), (None, None)]
)
def test_a_state_of_any_kind_is_read(
    state: Any, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser may send anything."""
    monkeypatch.setattr(st, "session_state", {"grid": state})
    assert component.chosen_of("grid") == chosen
