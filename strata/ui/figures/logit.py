"""On a page: tokens through the layers, where a target's logit comes from, and the proof that its
parts add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.lens import attribution, followed
from strata.concepts.logit_lens import words
from strata.display.tokens import display_candidate
from strata.errors import StrataError
from strata.ui.anatomy.page import Page, draw, is_asked, reading
from strata.ui.anatomy.style import say


def draw_attribution(
    page: Page, token: str, *, target_id: int, position: int, cap: float
) -> dict[str, pd.DataFrame]:
    """Bars by block and part, and their sum; the tables behind them. `cap`: of the model's logits.

    A model whose writes are refused says so here, and keeps the rest of the page.
    """
    try:
        found = page.ask("logit_lens.attribution", target_id=target_id, position=position)
        norms = page.ask("logit_lens.write_norms")
    except StrataError as error:
        say("note", str(error), "attribution")
        draw_proof(page, position, "_parts")
        return {}
    way = page.ask("logit_lens.followed", position=position, token_ids=[target_id])
    sentence = words.attribution_reading(found, way, position, cap)
    title = f"What adds to the logit of {display_candidate(token)} at position {position}"
    draw(attribution(found, title, sentence), "attribution", read=False)
    reading(sentence, "_attribution")
    draw_proof(page, position, "_parts")
    return {"attribution": found, "write norms": norms}


def draw_followed(page: Page, ways: pd.DataFrame, sentence: str, *, pinned: bool) -> None:
    """Tokens through the layers, by probability and by rank, and what that says."""
    note = "only tokens that are pinned" if pinned else "only tokens that led at some layer"
    if ways["token_id"].nunique() == page.about["d_vocab"]:
        note = ""
    for place, quantity in zip(st.columns([4, 5]), ("prob", "rank"), strict=True):
        with place:
            draw(followed(ways, quantity, sentence), f"followed_{quantity}", read=False, note=note)
    reading(sentence, "_followed")


def draw_proof(page: Page, position: int, name: str = "") -> None:
    """Both sums over the whole vocabulary, with the largest error of each."""
    proof = page.ask("logit_lens.proof", position=position)
    reading(words.proof_reading(proof, position, page.about["d_vocab"]), f"_proof{name}")


def tabs_place() -> Callable[..., Sequence[Any]]:
    """What makes the tabs below the grid, or above it, where a step is about a figure of theirs."""
    return st.container().tabs if is_asked("followed", "attribution") else st.tabs
