"""Choosing what to follow: one of the likeliest tokens, one that peaks half-way, a word that the
learner types, or how far one of these is ahead of another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.concepts import target
from strata.concepts.target import TargetId
from strata.display.tokens import display_candidate, display_percent
from strata.errors import StrataError
from strata.ui.anatomy import style
from strata.ui.anatomy.address import remember, whole_number
from strata.ui.anatomy.controls import FIRST
from strata.ui.anatomy.page import Page, distinct

N_LIKELIEST, N_PEAKS = 21, 20


@dataclass(frozen=True)
class Target:
    """The token to follow, and the likeliest next tokens of the clean run."""

    token_id: int
    token: str
    likeliest: pd.DataFrame  # predictions.next_token at the last position
    minus: Target | None = None  # the word that it is compared with

    @property
    def ids(self) -> TargetId:
        """As views take it: a token, or a pair of which the second is taken off."""
        return self.token_id if self.minus is None else (self.token_id, self.minus.token_id)

    @property
    def is_top(self) -> bool:
        """Whether it is what the model itself ranks first, be it chosen or not."""
        return self.minus is None and self.token_id == int(self.likeliest["token_id"].iloc[0])

    def after(self, page: Page, position: int) -> int | None:
        """The token for a number of the state at a position; None: that which is likeliest there,
        if that is what was chosen."""
        return None if self.is_top and position == page.n_tokens - 1 else self.token_id

    @property
    def shown(self) -> str:
        return display_candidate(self.token)

    @property
    def other(self) -> str:
        """The word that is taken off; "" if none is."""
        return "" if self.minus is None else self.minus.shown

    @property
    def token_ids(self) -> list[int]:
        """All of them."""
        return [self.token_id] + ([self.minus.token_id] if self.minus else [])

    @property
    def pair(self) -> tuple[str, ...]:
        """Both words for an axis; () of one."""
        return (self.shown, self.other) if self.minus else ()

    @property
    def named(self) -> str:
        """For titles: "␣Paris", or "␣Paris minus ␣London"."""
        return self.shown if self.minus is None else f"{self.shown} minus {self.other}"


def choose_token(page: Page, place: DeltaGenerator) -> Target:
    """A box with the likeliest next tokens and those that are likely at some layer, where a word
    can be typed too. The address keeps the token's id, never what was typed. A word of several
    tokens is named, and its first one followed only when the learner says so."""
    label = "Target: a token or a word"
    return _likeliest(page, place, "target", label, "the top-1", _next(page))


def choose_target(page: Page, place: DeltaGenerator, beside: DeltaGenerator) -> Target:
    """The same, and beside it a box for a word to take off."""
    chosen = choose_token(page, place)
    likeliest = chosen.likeliest
    offered = _offered(page, likeliest, chosen.token_id)
    found = _chosen(page, beside, "minus", "Minus another word", "nothing", offered)
    if found and found[0] == chosen.token_id:
        said = f"“{chosen.shown}” minus itself is 0 everywhere: choose another word to take off."
        with beside:
            style.say("warning", said, "minus")
        found = None
    remember("minus", str(found[0]) if found else None)
    return replace(chosen, minus=Target(*found, likeliest)) if found else chosen


def choose_other(page: Page, place: DeltaGenerator, target: Target) -> Target:
    """The same for what a target is compared with: at first the likeliest token beside it."""
    others = target.likeliest[target.likeliest["token_id"] != target.token_id]
    return _likeliest(page, place, "other", "The other word", "the likeliest beside it", others)


def choose_against(other: Page, place: DeltaGenerator, target: Target) -> Target:
    """The same for what another prompt's run says instead: at first its likeliest token that is not
    the target."""
    likeliest = _next(other)
    others = likeliest[likeliest["token_id"] != target.token_id]
    return _likeliest(other, place, "minus", "Minus the word", "the likeliest of B", others)


def _next(page: Page) -> pd.DataFrame:
    k = min(N_LIKELIEST, page.about["d_vocab"])
    return page.ask("predictions.next_token", position=page.n_tokens - 1, k=k)


def _likeliest(
    page: Page, place: DeltaGenerator, name: str, label: str, first: str, likeliest: pd.DataFrame
) -> Target:
    """A token that is at first the first of the likeliest; `first`: what that one is."""
    top, text = int(likeliest["token_id"].iloc[0]), str(likeliest["predicted"].iloc[0])
    named = f"{display_candidate(text)} ({first})"
    found = _chosen(page, place, name, label, named, _offered(page, likeliest, top)) or (top, text)
    remember(name, None if found[0] == top else str(found[0]))
    return Target(*found, likeliest)


def _offered(page: Page, likeliest: pd.DataFrame, without: int) -> dict[int, tuple[str, str]]:
    """The tokens that a box lists, each with its text and what the box says of it: the likeliest
    next ones, and those that only a layer before the last holds likely."""
    k = min(N_PEAKS, page.about["d_vocab"])
    peaks = page.ask("logit_lens.peaks", position=page.n_tokens - 1, k=k)
    found = {
        int(row.token_id): (str(row.predicted), display_candidate(row.predicted))
        for row in likeliest.itertuples()
    }
    for row in peaks.itertuples():
        shown = f"{display_candidate(row.predicted)} (peaks at layer {row.layer}, "
        peaked = str(row.predicted), f"{shown}{display_percent(row.prob, 0)})"
        found.setdefault(int(row.token_id), peaked)
    found.pop(without, None)
    return found


def _chosen(
    page: Page,
    place: DeltaGenerator,
    name: str,
    label: str,
    first: str,
    offered: dict[int, tuple[str, str]],
) -> tuple[int, str] | None:
    """One of the tokens offered, or of a typed word: its id and text; None: the first choice.
    `name`: of the box in address and session; `first`: how it names the first choice."""
    box = f"{name}_choice"
    _restore(page, name, box)
    # The browser knows a choice by its label, and the first one's changes with the prompt: unless
    # it is set again, the old label would count as a typed word.
    kept = st.session_state[box] = _as_shown(page, st.session_state[box])
    if isinstance(kept, int) and kept not in (FIRST, *offered):
        text = str(page.ask("run.named", token_id=kept)["token"].iloc[0])
        offered = offered | {kept: (text, display_candidate(text))}
    names = distinct([first, *(shown for _, shown in offered.values())])
    labels = dict(zip([FIRST, *offered], names, strict=True))
    chosen = place.selectbox(
        label,
        list(labels),
        format_func=lambda choice: labels.get(choice, choice),
        accept_new_options=True,
        key=box,
        persist_state="session",
    )
    told = place.empty()  # so that what was said of another word is gone at once
    if isinstance(chosen, str):
        with told.container():
            return _of_word(page, chosen, name)
    return (chosen, offered[chosen][0]) if chosen in offered else None


def _restore(page: Page, name: str, box: str) -> None:
    """At first what the address names; for another model, whose ids mean other tokens, the first,
    while a typed word stays."""
    state, of = st.session_state, f"{name}_model"
    if box not in state:
        asked = whole_number(st.query_params.get(name, ""))
        known = asked is not None and asked < page.about["d_vocab"]
        state[box] = asked if known else FIRST
    elif state.get(of) != page.model and isinstance(state[box], int):
        state[box] = FIRST
    state[of] = page.model


def _as_shown(page: Page, choice: Any) -> Any:
    """A typed word that is one token as pages show that, "␣Paris"; all else as it is."""
    if not isinstance(choice, str):
        return choice
    try:
        pieces = page.ask("run.target", word=choice)
    except StrataError:
        return choice
    return choice if target.note(pieces) else str(pieces["shown"].iloc[0])


def _of_word(page: Page, word: str, name: str) -> tuple[int, str] | None:
    """The token of a typed word; None until a first piece was chosen knowingly."""
    try:
        pieces = page.ask("run.target", word=word)
    except StrataError as error:
        style.say("warning", str(error), name)
        return None
    first = pieces.iloc[0]
    if said := target.note(pieces):
        style.say("warning", said, name)
        if not st.toggle("Follow its first token", key=f"first_of_{name}_{word}"):
            return None
    return int(first["token_id"]), str(first["token"])
