"""On a page: tokens through the layers, where a target's logit comes from, and the proof that its
parts add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.lens import attribution, difference, followed
from strata.concepts.logit_lens import words
from strata.concepts.target import Against
from strata.errors import StrataError
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import Page, draw, is_asked, reading
from strata.ui.anatomy.style import say
from strata.ui.figures.grid import pinned
from strata.ui.figures.target import Target, choose_other

AGAINST = {"mean": "The average token", "word": "Another word", "raw": "Nothing: the bare logit"}
Found = tuple[dict[str, pd.DataFrame], dict[str, Any]]


def draw_attribution(page: Page, target: Target, position: int, cap: float) -> Found:
    """Bars by block and part, and their sum, against what the learner chooses; the tables behind
    them, and what the script needs. `cap`: of the model's logits.

    A model whose writes are refused says so here, and keeps the rest of the page.
    """
    shown, box = "pair", st.container()
    if not target.minus:
        choices, box = st.columns([2, 1], vertical_alignment="bottom")
        shown = one_of(choices, "Compared with", AGAINST, key="against")
    what: dict[str, Any] = {"target_id": target.ids, "position": position}
    against: dict[str, Against] = {"raw": None, "mean": "mean", "pair": None}
    added, other = "Added to the logit", target.other or "the average token"
    if shown == "word":
        word = choose_other(page, box, target)
        against["word"], other = word.token_id, word.shown
    try:
        found = {
            name: page.ask("logit_lens.attribution", **what, against=value)
            for name, value in against.items()
        }
        own = page.ask("logit_lens.target_logit", **what, against=against[shown])
        norms = page.ask("logit_lens.write_norms")
    except StrataError as error:
        say("note", str(error), "attribution")
        draw_proof(page, position, "_parts")
        return {}, {"against": against[shown]}
    sentence = words.attribution_reading(
        found["raw"], found["mean"], found[shown], own, position, shown, cap
    )
    title = f"What adds to the logit of {target.shown} at position {position}"
    if shown != "raw":
        title = f"What puts {target.shown} above {other} at position {position}"
        added = f"Logit added, against {other}"
    draw(attribution(found[shown], title, sentence, added), "attribution", read=False)
    reading(sentence, "_attribution")
    draw_proof(page, position, "_parts")
    tables = {"attribution": found[shown], "write norms": norms}
    return tables, {"against": against[shown]}


def draw_followed(page: Page, target: Target, position: int) -> Found:
    """Tokens through the layers, by probability and by rank, with a pair of words how far one is
    ahead of the other, and what that says. The table."""
    also, chosen = None if target.is_top else target.ids, pinned(page)
    asked: dict[str, Any] = {"token_ids": chosen, "target_id": also}
    found = ways = page.ask("logit_lens.followed", position=position, **asked)
    sentence = words.followed_reading(ways, position, also)
    note = "only tokens that are pinned" if chosen else "only tokens that led at some layer"
    if ways["token_id"].nunique() == page.about["d_vocab"]:
        note = ""
    apart, ways = ways[ways["other"] != ""], ways[ways["other"] == ""].astype({"rank": int})
    *first, prob, rank = st.columns([4, 4, 5] if len(apart) else [4, 5])
    for place in first:
        with place:
            draw(difference(apart, sentence), "difference", read=False)
    for place, quantity in ((prob, "prob"), (rank, "rank")):
        with place:
            draw(followed(ways, quantity, sentence), f"followed_{quantity}", read=False, note=note)
    reading(sentence, "_followed")
    return {"followed": found}, {}


def draw_proof(page: Page, position: int, name: str = "") -> None:
    """Both sums over the whole vocabulary, with the largest error of each."""
    proof = page.ask("logit_lens.proof", position=position)
    reading(words.proof_reading(proof, position, page.about["d_vocab"]), f"_proof{name}")


def tabs_place() -> Callable[..., Sequence[Any]]:
    """What makes the tabs below the grid, or above it, where a step is about a figure of theirs."""
    return (
        st.container().tabs
        if is_asked("followed", "attribution", "written", "nearest")
        else st.tabs
    )
