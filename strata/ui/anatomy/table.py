"""A table on a page: its columns say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from strata.display.terms import column_meanings
from strata.errors import StrataError
from strata.lessons import glossary


def show_table(
    frame: pd.DataFrame, columns: Mapping[str, Any] | None = None, *, height: int | None = None
) -> None:
    """Draw a table without its index. Where the heading of a column names a term of the field the
    pointer finds there what it means. `columns`: Streamlit's configuration of some of them, of
    those with a text only the heading."""
    try:
        meanings = column_meanings(map(str, frame.columns), glossary())
    except StrataError:
        meanings = {}
    config: dict[str, Any] = {name: {"help": said} for name, said in meanings.items()}
    for name, own in (columns or {}).items():
        given = {"label": own} if isinstance(own, str) else own
        set_by_it = {what: value for what, value in given.items() if value is not None}
        config[name] = config.get(name, {}) | set_by_it
    more: dict[str, Any] = {} if height is None else {"height": height}
    st.dataframe(frame, hide_index=True, column_config=config, **more)
