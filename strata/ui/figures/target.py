"""Choosing the token to follow: one of the likeliest, or a word that the learner types."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.concepts import target
from strata.display.tokens import display_candidate
from strata.errors import StrataError
from strata.ui.anatomy import style
from strata.ui.anatomy.address import remember, whole_number
from strata.ui.anatomy.page import Page, distinct

N_LIKELIEST = 21
_TOP = -1  # the choice "whatever ranks first", which holds for every prompt


@dataclass(frozen=True)
class Target:
    """The token to follow, and the likeliest next tokens of the clean run."""

    token_id: int
    token: str
    likeliest: pd.DataFrame  # predictions.next_token at the last position

    @property
    def is_top(self) -> bool:
        """Whether it is what the model itself ranks first, be it chosen or not."""
        return self.token_id == int(self.likeliest["token_id"].iloc[0])

    @property
    def shown(self) -> str:
        return display_candidate(self.token)


def choose_target(page: Page, place: DeltaGenerator) -> Target:
    """A box with the likeliest next tokens, where a word can be typed too. The address keeps the
    token's id, never what was typed. A word of several tokens is named, and its first one followed
    only when the learner says so."""
    k = min(N_LIKELIEST, page.about["d_vocab"])
    likeliest = page.ask("predictions.next_token", position=page.n_tokens - 1, k=k)
    return _chosen(page, place, "target", "Target: a token or a word", "the top-1", likeliest)


def choose_other(page: Page, place: DeltaGenerator, target: Target) -> Target:
    """The same for what a target is compared with: at first the likeliest token beside it."""
    others = target.likeliest[target.likeliest["token_id"] != target.token_id]
    return _chosen(page, place, "other", "The other word", "the likeliest beside it", others)


def choose_against(other: Page, place: DeltaGenerator, target: Target) -> Target:
    """The same for what another prompt's run says instead: at first its likeliest token that is not
    the target."""
    k = min(N_LIKELIEST, other.about["d_vocab"])
    likeliest = other.ask("predictions.next_token", position=other.n_tokens - 1, k=k)
    others = likeliest[likeliest["token_id"] != target.token_id]
    return _chosen(other, place, "minus", "Minus the word", "the likeliest of B", others)


def _chosen(
    page: Page, place: DeltaGenerator, name: str, label: str, first: str, likeliest: pd.DataFrame
) -> Target:
    """One of the likeliest, or a typed word. `name`: of the box in address and session; `first`:
    what the first of them is."""
    ids, tokens = likeliest["token_id"].tolist(), likeliest["predicted"].tolist()
    box = f"{name}_choice"
    _restore(page, name, box)
    # The browser knows a choice by its label, and the first one's changes with the prompt: unless
    # it is set again, the old label would count as a typed word.
    kept = st.session_state[box] = st.session_state[box]
    options = dict(zip([_TOP, *ids[1:]], tokens, strict=True))
    if isinstance(kept, int) and kept not in options:
        options[kept] = str(page.ask("run.named", token_id=kept)["token"].iloc[0])
    shown = [display_candidate(token) for token in options.values()]
    labels = dict(zip(options, distinct([f"{shown[0]} ({first})", *shown[1:]]), strict=True))
    chosen = place.selectbox(
        label,
        list(options),
        format_func=lambda choice: labels.get(choice, choice),
        accept_new_options=True,
        key=box,
        persist_state="session",
    )
    followed = Target(ids[0], tokens[0], likeliest)
    if isinstance(chosen, str):
        followed = _of_word(page, chosen, followed, name)
    elif chosen in options and chosen != _TOP:
        followed = Target(chosen, options[chosen], likeliest)
    remember(name, None if followed.token_id == ids[0] else str(followed.token_id))
    return followed


def _restore(page: Page, name: str, box: str) -> None:
    """At first what the address names; for another model, whose ids mean other tokens, the first,
    while a typed word stays."""
    state, of = st.session_state, f"{name}_model"
    if box not in state:
        asked = whole_number(st.query_params.get(name, ""))
        known = asked is not None and asked < page.about["d_vocab"]
        state[box] = asked if known else _TOP
    elif state.get(of) != page.model and isinstance(state[box], int):
        state[box] = _TOP
    state[of] = page.model


def _of_word(page: Page, word: str, otherwise: Target, name: str) -> Target:
    """The token of a typed word; `otherwise` until a first piece was chosen knowingly."""
    try:
        pieces = page.ask("run.target", word=word)
    except StrataError as error:
        style.say("warning", str(error), name)
        return otherwise
    first = pieces.iloc[0]
    if said := target.note(pieces):
        style.say("warning", said, name)
        if not st.toggle("Follow its first token", key=f"first_of_{name}_{word}"):
            return otherwise
    return Target(int(first["token_id"]), str(first["token"]), otherwise.likeliest)
