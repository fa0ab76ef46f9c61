"""Beside a number of a page: what would chance give? It is drawn when it is asked for, while the
model has nothing else to do, and dropped when the page is left."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.charts.chance import beside_chance as chart_of
from strata.charts.subject import Subject
from strata.concepts import Concept, Null, words
from strata.concepts import chance as draws
from strata.concepts.chance_script import section
from strata.concepts.nulls import asks_for
from strata.engine import Job
from strata.errors import StrataError
from strata.ui.anatomy import ask, style
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.expected import Expected, expect
from strata.ui.anatomy.figure import draw, reading, readings_wait
from strata.ui.anatomy.opened import Page
from strata.ui.server.resources import engine

QUESTION = "Beside it: what would chance give?"
NOTHING = "Nothing"
DRAWS, MOST = 20, 100  # of one press, and of all
TICK = 0.5  # seconds between two looks at whether the model is free
DEADLINE = 600.0  # seconds that a few draws may take
_WANTED, _REFUSED = "chance_wanted", "chance_refused"


@dataclass(frozen=True)
class _Asked:
    """A number of a page, and what it is drawn with."""

    page: Page
    number: str
    kind: str
    given: Mapping[str, Any]  # what the number is told: see `Null`

    @property
    def key(self) -> Hashable:
        """What the draws are of: another prompt's were not asked for."""
        of = self.page.model, self.page.prompt, self.page.stem
        return (*of, self.number, self.kind, *sorted(self.given.items()))

    @property
    def at(self) -> str:
        """For titles: which token it is about, where it is about one of several texts."""
        position = self.given.get("position")
        if position is None or "position" not in asks_for(self.page.concept.nulls[self.number]):
            return ""
        return f" at {self.page.shown(position)}"

    @property
    def subject(self) -> Subject:
        """What the figure is of: the prompt, and the other one if there is one."""
        other = self.given.get("other")
        prompts = (self.page.prompt, other) if other else (self.page.prompt,)
        return Subject(prompts, self.page.subject.model)

    @property
    def mine(self) -> pd.DataFrame:
        """The number of the run itself."""
        return ask.run(self._job("chance.own", {}))

    def known(self) -> pd.DataFrame:
        """The draws that there are."""
        found = [pd.DataFrame({"draw": [], "layer": [], "value": []})]
        for first in range(0, MOST, draws.AT_ONCE):
            job = self.piece(first)
            if not engine().knows(job):
                break
            found.append(ask.run(job))
        return pd.concat(found[1:] or found, ignore_index=True)

    def piece(self, first: int) -> Job:
        """The job of a few draws."""
        chosen = {"kind": self.kind, "first": first, "count": draws.AT_ONCE}
        return self._job("chance.draws", chosen)

    def _job(self, view: str, more: dict[str, Any]) -> Job:
        params = {"concept": self.page.stem, "number": self.number, **self.given, **more}
        return Job(view=view, model=self.page.model, prompt=self.page.prompt, params=params)

    def expected(self, count: int) -> Expected:
        """What so many draws take."""
        at_token = self.page.concept.nulls[self.number].at_token
        position = self.given.get("position")
        n_tokens = 1 + position if at_token and position is not None else self.page.n_tokens
        params = self.piece(0).params | {"count": count}
        found = expect("chance.draws", self.page.about, n_tokens, 1, params)
        assert found is not None
        return found

    @property
    def wanted(self) -> int:
        """How many draws the learner has asked for."""
        key, count = st.session_state.get(_WANTED, (None, 0))
        return int(count) if key == self.key else 0

    def want(self, count: int) -> None:
        """Ask for so many, before the page is drawn."""
        st.session_state[_WANTED] = self.key, count
        st.session_state.pop(_REFUSED, None)


def beside_chance(page: Page, **given: Any) -> tuple[dict[str, pd.DataFrame], str]:
    """The control, and below it the number that was chosen in a band of what chance gave; its
    tables, and what draws it in the page's program.

    `given`: what numbers are told, see `Null`: the `position` that the page is at, None for the
    last; the `target_id` that they are of, None for the likeliest next token. Those that need what
    is not given are not offered. Nothing while a step of a lesson keeps back what the page would
    say.
    """
    known = {"position": None, "target_id": None, **given}
    nulls = {n: null for n, null in page.concept.nulls.items() if asks_for(null) <= known.keys()}
    if readings_wait() or not (nulls or page.concept.chance):
        return {}, ""
    with st.container(key="chance"):
        if not nulls:
            _lead_to(page.concept)
            return {}, ""
        asked = _choose(page, nulls, known)
        if asked is None:
            return {}, ""
        return _beside(asked)


def _lead_to(concept: Concept) -> None:
    """What the page itself says of chance, and the way to it; where that tab is open, nothing."""
    tab = concept.chance_under
    if tab and st.session_state.get("view") == tab:
        return
    st.markdown(QUESTION)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(concept.chance)
        if tab:
            show = st.session_state.update
            st.button(f"Show “{tab}”", on_click=show, args=({"view": tab},), key="to_chance")


def choose_kind(place: DeltaGenerator, kinds: Iterable[str]) -> str:
    """Beside which chance a number is put, NOTHING at first."""
    names = {NOTHING: NOTHING} | {kind: kind.capitalize() for kind in kinds}
    if st.session_state.get("by_chance") not in (None, *names):
        del st.session_state["by_chance"]
    return str(one_of(place, QUESTION, names, "by_chance"))


def _choose(page: Page, nulls: Mapping[str, Null], given: Mapping[str, Any]) -> _Asked | None:
    state = st.session_state
    control, of = st.columns([3, 2], vertical_alignment="bottom", gap="medium")
    number = next(iter(nulls))
    if len(nulls) > 1:
        if state.get("chance_of") not in (None, *nulls):
            del state["chance_of"]
        number = of.selectbox("Number", list(nulls), key="chance_of", bind="query-params")
    kind = choose_kind(control, nulls[number].kinds)
    if page.concept.chance:
        st.caption(page.concept.chance)
    if kind == NOTHING:
        return None
    told = {n: value for n, value in given.items() if n in ("position", *asks_for(nulls[number]))}
    return _Asked(page, number, kind, told)


def _beside(asked: _Asked) -> tuple[dict[str, pd.DataFrame], str]:
    st.caption(draws.KINDS[asked.kind].meaning)
    try:
        mine = asked.mine
    except StrataError as error:
        style.say("note", str(error), "chance")
        return {}, ""
    if mine["value"].isna().all():
        style.say("note", f"{asked.number}: it has no value for so short a text.", "chance")
        return {}, ""
    drawn = asked.known()
    wants = asked.wanted > drawn["draw"].nunique()
    st.fragment(_figure, run_every=TICK if wants else None)(asked, mine)
    drawn = asked.known()
    tables = {"beside chance": draws.band(mine, drawn), "draws by chance": drawn}
    null = asked.page.concept.nulls[asked.number]
    program = section(
        null,
        asked.number,
        asked.kind,
        blocks=asked.page.about["blocks"],
        **asked.given,
        n_draws=max(DRAWS, asked.wanted),
        **asked.page.reads(null.code),
    )
    return tables, program


def _figure(asked: _Asked, mine: pd.DataFrame) -> None:
    """The figure as far as it is drawn; each time the browser asks, a few draws more."""
    drawn = asked.known()
    n_drawn = drawn["draw"].nunique()
    sentence = words.chance_reading(asked.number, asked.kind, mine, drawn)
    title = f"{asked.number}{asked.at} beside {asked.kind}"
    best_first = "0 is best" in asked.number
    band = draws.band(mine, drawn)
    chart = chart_of(band, title, asked.number, sentence, best_first=best_first)
    draw(chart, "beside_chance", read=False, in_passing=True, of=asked.subject)
    with style.room(100, "said_of_chance"):
        reading(sentence, "_null")
    with style.room(60, "more_draws"):
        note = _way_on(asked, n_drawn)
    if asked.wanted > n_drawn and is_tick():
        _draw_on(asked, n_drawn, note)


def _way_on(asked: _Asked, n_drawn: int) -> Any:
    """How far it is, or the button for what may be asked for; where a word of it can be put."""
    state = st.session_state
    key, refused = state.get(_REFUSED, (None, ""))
    if key == asked.key:
        style.say("note", refused, "chance")
        return st.empty()
    if asked.wanted > n_drawn:
        return st.progress(n_drawn / asked.wanted, f"{n_drawn} of {asked.wanted} draws")
    if n_drawn < MOST:
        with st.container(horizontal=True, vertical_alignment="center"):
            label = f"Draw {DRAWS}" if n_drawn == 0 else f"Draw {DRAWS} more"
            st.button(label, key="draw_by_chance", on_click=asked.want, args=(n_drawn + DRAWS,))
            takes = asked.expected(DRAWS).sentence or f"{DRAWS} draws take a few seconds here."
            st.caption(f"{takes} They are drawn while nobody else needs the model.")
    return st.empty()


def is_tick() -> bool:
    """Whether the browser has asked for a figure alone: the page itself waits for no draw."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def _draw_on(asked: _Asked, n_drawn: int, note: Any) -> None:
    began = time.monotonic()
    try:
        found = ask.in_passing(asked.piece(n_drawn), DEADLINE)
    except StrataError as error:
        st.session_state[_REFUSED] = asked.key, str(error)
        st.session_state.pop(_WANTED, None)
        st.rerun()
    if found is None:
        text = f"{n_drawn} of {asked.wanted} draws; the model has other work just now"
        note.progress(n_drawn / asked.wanted, text)
        return
    asked.expected(draws.AT_ONCE).took(time.monotonic() - began)
    is_over = n_drawn + draws.AT_ONCE >= asked.wanted
    # At last as a whole page: its tables have the draws then, and the browser asks no more.
    st.rerun(scope="app" if is_over else "fragment")
