"""The foot that every page shares: what chance gives, proof, tables, code, downloads, link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from strata.display.files import as_csv, as_parquet
from strata.display.terms import PROOF
from strata.display.tokens import display_candidate, display_token
from strata.ui.anatomy import record
from strata.ui.anatomy.address import OF_CLASS
from strata.ui.anatomy.chance import beside_chance
from strata.ui.anatomy.model_map import draw_map
from strata.ui.anatomy.opened import Page
from strata.ui.anatomy.table import show_table
from strata.ui.server.learner import kept_for


def close_page(
    page: Page,
    tables: Mapping[str, pd.DataFrame],
    script: str,
    arrays: Callable[[], bytes] | None = None,
    proof: str = "run.check",
    *,
    asked: Mapping[str, Any] | None = None,
    of: Page | None = None,
    own_chance: bool = False,
    **given: Any,
) -> None:
    """The foot of a page: what chance gives beside its numbers (`of`: those of another page, and
    what they are `given`, see `beside_chance`; `own_chance`: the page has drawn that itself), proof
    (a view like `run.check`, and what it is `asked`), tables, code, downloads, link."""
    drawn, code = ({}, "") if own_chance else beside_chance(of or page, **given)
    tables, script = {**tables, **drawn}, script + code
    record.keep_code(script)
    draw_map(page)  # last, since it shows where the sliders are
    _proof(page, proof, asked or {})
    with st.container(horizontal=True, gap="small", key="foot"):
        with st.popover("Table", icon=":material/table:", on_change="rerun", key="table") as opened:
            if opened.open:
                for name, frame in tables.items():
                    st.markdown(f"**{name}** · {len(frame):,} rows")
                    show_table(_visible(frame), height=260)
        with st.popover("Code", icon=":material/code:", on_change="rerun", key="code") as opened:
            if opened.open:
                st.caption(
                    "Plain transformers, no Strata: prints the numbers of this page. A comment "
                    "says where another machine gets a model that is a folder on this one."
                )
                st.download_button(
                    "Download script", script, f"{page.stem}.py", "text/x-python", on_click="ignore"
                )
                st.code(script, language="python", wrap_lines=True)
        with st.popover(
            "Download", icon=":material/download:", on_change="rerun", key="download"
        ) as opened:
            if opened.open:
                _downloads(page, tables, arrays)
        with st.popover("Link", icon=":material/link:", on_change="rerun", key="link") as opened:
            if opened.open:
                st.caption(
                    "This page with this model, prompt and settings. It works on this server only, "
                    f"which keeps your own text under the id in the link{kept_for()}."
                )
                st.code(_address(), language=None, wrap_lines=True)


def _proof(page: Page, view: str, asked: Mapping[str, Any]) -> None:
    """The identities, measured on this very run, green or red with the number."""
    names = {
        "lens": "last-layer lens = the model's logits",
        "writes": "attention + MLP = what blocks added",
        "read back": "tokens joined = the text",
        "heads": "heads + bias = what attention added",
        "alone": "a block by itself = the block in the run",
    }
    found = page.made(view, lambda: page.ask(view, **asked).to_dict("records"), *asked.items())
    with st.container(horizontal=True, gap="small", key="proof"):
        told = " ".join(PROOF[row["identity"]] for row in found)
        st.markdown("**Proof of this run**", width="content", help=told)
        for row in found:
            error = row["error"]
            number = "not measured" if pd.isna(error) else f"off by {error:.2g}"
            text = f"{names[row['identity']]}: {number}"
            if not pd.isna(error):
                text += f" ({row['tolerance']:g} allowed)"
            if row["ok"]:
                st.badge(text, icon=":material/check_circle:", color="green")
            else:
                st.badge(text, icon=":material/cancel:", color="red", help=row["reason"])
    for sentence in page.about["switched_off"]:
        st.caption(sentence)


def _downloads(
    page: Page, tables: Mapping[str, pd.DataFrame], arrays: Callable[[], bytes] | None
) -> None:
    for name, frame in tables.items():
        stem = f"{page.stem}_{name}".replace(" ", "_")
        st.markdown(f"**{name}**")
        with st.container(horizontal=True):
            st.download_button(
                "CSV", partial(as_csv, frame), f"{stem}.csv", "text/csv", on_click="ignore"
            )
            st.download_button(
                "Parquet", partial(as_parquet, frame), f"{stem}.parquet", on_click="ignore"
            )
    if arrays:
        st.markdown("**all states and writes** (NumPy)")
        st.download_button("NPZ", arrays, f"{page.stem}.npz", on_click="ignore")


def _visible(frame: pd.DataFrame) -> pd.DataFrame:
    """With tokens in their text-safe form; downloads keep them as they are."""
    ways = {"token": display_token, "predicted": display_candidate}
    return frame.assign(**{name: frame[name].map(ways[name]) for name in ways if name in frame})


def _address() -> str:
    base = (st.context.url or "").split("?")[0]
    asked = st.query_params.to_dict()
    query = urlencode({name: value for name, value in asked.items() if name != OF_CLASS})
    return f"{base}?{query}" if query else base
