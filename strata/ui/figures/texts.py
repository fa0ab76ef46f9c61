"""Which texts a page samples states from: the control, the learner's own file, and the reading."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.subject import Subject
from strata.corpus import datasets, passages
from strata.display.tokens import listed
from strata.engine import Job
from strata.errors import StrataError
from strata.ui.anatomy import ask
from strata.ui.anatomy.expected import Expected, expect, reading
from strata.ui.anatomy.model_map import draw_map
from strata.ui.anatomy.page import Page
from strata.ui.server.resources import engine

SOURCES = {"strata": "Passages written for Strata", "own": "Your own text file"}
_COUNTS = (500, 1_000, 2_000, 4_000)
STAGES = (8, 32)  # texts that are read before the page is drawn first, and anew; at last all
_SO_FAR = "read_so_far"


@dataclass(frozen=True)
class SampledPage(Page):
    """A page whose views are of states sampled from texts; the prompt plays no part in it."""

    sample: dict[str, Any]
    texts: tuple[str, ...]  # the learner's own, as one; none: those shipped
    sampled: pd.DataFrame  # corpus.about

    @property
    def n_states(self) -> int:
        """How many token positions were sampled."""
        return int(self.sampled["n"][0])

    @property
    def subject(self) -> Subject:
        """Of no one prompt."""
        without = {"skip_first": "first tokens", "skip_sinks": "attention sinks"}
        out = [noun for name, noun in without.items() if self.sample[name]]
        return Subject(
            model=str(self.about["title"]),
            sampled=f"a sample of {self.n_states:,} states",
            without=f"without {listed(out)}" if out else "",
        )

    def read_on(self) -> None:
        """At the page's end: if it shows the beginning of a sample, read more and draw it anew."""
        if not self.sample["read"]:
            return
        draw_map(self)
        later = next((n for n in STAGES if n > self.sample["read"]), 0)
        whole = _job("corpus.about", self.model, self.sample | {"read": 0}, self.texts)
        asked = _job("corpus.about", self.model, self.sample | {"read": later}, self.texts)
        _read(asked, whole.key, _expected(self, asked, self.sample["read"]))
        st.session_state[_SO_FAR] = whole.key, later
        st.rerun()

    def name(self, text: int) -> str:
        """What a text is called on the page."""
        if self.sample["corpus"] != "strata":
            return f"passage {text + 1}"
        return f"“{list(passages.passages())[text]}”"

    def ask(
        self,
        view: str,
        prompts: tuple[str, ...] = (),
        *,
        meanwhile: Callable[[], object] | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """A view's table for this model and these texts, not for the prompt nor for others."""
        expected = expect(view, self.about, 0, 0, params)
        return ask.run(self.job(view, **params), meanwhile, expected)

    def job(self, view: str, **params: Any) -> Job:
        """What is asked for such a table."""
        return _job(view, self.model, self.sample, self.texts, params)

    def _key(self, *what: Hashable) -> Hashable:
        return (super()._key(*what), repr(self.sample), self.texts)


def sampled(page: Page) -> SampledPage:
    """Choose the texts and read them: the page for their states.

    While the model reads, there is a button to stop it; ends the page if it was stopped.
    """
    said, place = st.columns([5, 1], vertical_alignment="center")
    with place.popover("Text", icon=":material/article:", width="stretch"):
        sample, texts, note = _choice()
        st.caption("Your prompt plays no part on this page.")
    place = said.container(key="sampled")
    whole = _job("corpus.about", page.model, sample | {"read": 0}, texts)
    sample["read"], is_there = _stage(whole)
    asked = _job("corpus.about", page.model, sample, texts)
    about = ask.run(asked) if is_there else _read(asked, whole.key, _expected(page, asked))
    st.session_state[_SO_FAR] = whole.key, sample["read"]
    if not about["n_unread"][0]:
        sample["read"] = 0
    with place:
        st.caption(_words(about.iloc[0], sample, texts, note))
    known = {field.name: getattr(page, field.name) for field in fields(Page)}
    drawn = SampledPage(**known, sample=sample, texts=texts, sampled=about)
    drawn.is_drawn()
    return drawn


def _stage(whole: Job) -> tuple[int, bool]:
    """How many texts are to be read before the page is drawn, 0 for all; and whether they are."""
    if engine().knows(whole):
        return 0, True
    key, stage = st.session_state.get(_SO_FAR, ("", 0))
    return (int(stage), True) if key == whole.key else (STAGES[0], False)


def _choice() -> tuple[dict[str, Any], tuple[str, ...], str]:
    """What to sample, the learner's own text if there is one, and what to say of it."""
    listed = {name: card.title for name, card in datasets.texts().items()}
    titles = SOURCES | {name: f"{title} (from the hub)" for name, title in listed.items()}
    chosen = st.radio(
        "Sample states from",
        titles,
        format_func=titles.__getitem__,
        key="texts",
        bind="query-params",
    )
    texts: tuple[str, ...] = ()
    note = ""
    if chosen == "own":
        file = st.file_uploader(
            f"A text file (its first {passages.LONGEST_TEXT:,} characters; kept in memory only)",
            ["txt", "md"],
            max_upload_size=passages.LARGEST_FILE // 2**20,  # a forged one meets `decoded`
            key="text_file",
        )
        note = "No file is chosen yet, so these are Strata's own passages"
        if file is not None:
            try:
                text, note = passages.decoded(file.getvalue())
                texts = (text,)
            except StrataError as error:
                note = str(error).rstrip(".") + "; so these are Strata's own passages"
    n = st.select_slider("Token positions", _COUNTS, 2_000, key="positions", bind="query-params")
    seed = st.number_input("Seed", 0, 9_999, 0, key="seed", bind="query-params")
    all_of_them = st.toggle(
        "Include attention sinks and first tokens",
        key="sinks",
        bind="query-params",
        help="The first token of a text often is an attention sink, a hundred times larger than "
        "all others, and repeated words may be: a few of these decide every mean and variance.",
    )
    of = "strata" if chosen == "own" and not texts else chosen
    sample = {"corpus": of, "n": n, "seed": int(seed)}
    skip = {"skip_first": not all_of_them, "skip_sinks": not all_of_them}
    return sample | skip, texts, note


def _job(
    view: str,
    model: str,
    sample: dict[str, Any],
    texts: tuple[str, ...],
    params: dict[str, Any] | None = None,
) -> Job:
    return Job(view=view, model=model, sample=sample, prompts=texts, params=params or {})


def _read(about: Job, key: str, expected: Expected | None) -> pd.DataFrame:
    """What was sampled, once it is read; ends the page while the learner has stopped the reading,
    which has this key."""

    def stop() -> None:
        st.session_state["stopped_reading"] = key

    if st.session_state.get("stopped_reading") == key:
        st.text("You stopped the reading of these texts.")
        again = partial(st.session_state.pop, "stopped_reading", None)
        st.button("Read them", type="primary", on_click=again)
        st.stop()
    button = f"stop_reading_{about.source.read}"  # at first, and once more at the page's end
    return ask.run(about, lambda: st.button("Stop", on_click=stop, key=button), expected)


def _expected(page: Page, about: Job, read: int = 0) -> Expected | None:
    """How long it takes to read as far as is asked for; None of texts that nobody has seen yet."""
    if about.source.corpus != "strata":
        return None
    return reading(page.about, list(passages.passages().values()), about.source.read, read)


def _words(about: pd.Series, sample: dict[str, Any], texts: tuple[str, ...], note: str) -> str:
    if about["n_unread"]:
        of = about["n_texts"] + about["n_unread"]
        return (
            f"So far {about['n']:,} token positions of {about['n_texts']:,} of {of:,} passages: "
            "all figures become sharper while the others are read."
        )
    chosen = about["n"] + about["n_sinks"]
    few = chosen < about["n_asked"]
    text = (
        f"All {chosen:,} token positions, fewer than the {about['n_asked']:,} asked for,"
        if few
        else f"{chosen:,} of {about['n_available']:,} token positions"
    )
    whose = {"strata": "written for Strata", "own": "of your own text"}
    name = sample["corpus"]
    text += f" of {about['n_texts']:,} passages "
    text += whose[name] if name in whose else f"of {datasets.texts()[name].title}"
    if sample["skip_first"]:
        text += ", without first tokens"
    if about["n_sinks"]:
        text += f" and {about['n_sinks']:,} more attention sinks"
    text += f"; seed {sample['seed']}."
    return f"{text} {note[:1].upper()}{note[1:]}." if note else text
