"""A choice in one row is always one of its choices, whatever the address says."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from strata.ui.anatomy.controls import one_of

    st.text(repr(one_of(st.container(), "Part", {"stream": "Stream", "mlp": "MLP"}, "part")))


@pytest.mark.parametrize(
    ("asked", "chosen"), [(None, "stream"), ("", "stream"), ("MLP", "mlp"), ("x", "stream")]
)
def test_the_first_is_meant_where_an_address_names_none(asked: str | None, chosen: str) -> None:
    app = AppTest.from_function(page)
    if asked is not None:
        app.query_params["part"] = asked
    app.run()
    assert not app.exception
    assert app.text[0].value == repr(chosen)
