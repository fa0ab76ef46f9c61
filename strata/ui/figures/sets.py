"""Which set of prompts a page is about: one of Strata's or the teacher's, or the learner's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.subject import Subject
from strata.corpus.sets import (
    COLUMNS,
    MOST_CHARACTERS,
    MOST_ROWS,
    PromptSet,
    Row,
    problems,
    read,
    sets,
)
from strata.display.files import as_csv
from strata.display.tokens import display_text
from strata.errors import InputError, StrataError
from strata.ui.anatomy import style
from strata.ui.anatomy.address import led_back, named, remember
from strata.ui.anatomy.opened import Page
from strata.ui.server.learner import (
    is_local,
    keep_set,
    kept_for,
    kept_prompt,
    refuse_if_too_long,
    seat,
)

OWN = "own"
_FIRST = "number"  # the set that is there at first
_AROUND = 16  # tokens at most that a tokenizer puts around a text
_EXAMPLE = pd.DataFrame(
    [
        ("Here is the dog. The dog", "singular", "dog", "is"),
        ("Here are the dogs. The dogs", "plural", "dog", "are"),
    ],
    columns=COLUMNS,
)


@dataclass(frozen=True)
class SetPage(Page):
    """A page whose views are of a set of prompts; the page's own prompt plays no part in it."""

    chosen: PromptSet
    half: str = ""  # which of it its figures are of, see `compared.compared`

    @property
    def subject(self) -> Subject:
        """Of no one prompt."""
        n, noun = len(self.chosen.rows), "prompts"
        if self.chosen.paired:
            n, noun = len(self.chosen.pairs), "pairs"
        title = f"“{display_text(self.chosen.title, 40)}”"
        half = {"explored": "the explored half of ", "held_out": "the held-out half of "}
        sampled = f"{half.get(self.half, '')}{n} {noun}, {title}"
        return Subject(model=str(self.about["title"]), sampled=sampled)

    def ask(
        self,
        view: str,
        prompts: tuple[str, ...] = (),
        *,
        meanwhile: Callable[[], object] | None = None,
        coarser: Any = None,
        sample: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """A view's table of this set, or of some of its prompts."""
        columns = self.chosen.columns()
        whole = columns.pop("prompts")
        if view == "evidence.values":
            prompts, params = whole, columns | params
        return super().ask(view, prompts, meanwhile=meanwhile, **params)

    @property
    def longest(self) -> tuple[str, ...]:
        """A few of its longest prompts, on which the proof is measured."""
        different = dict.fromkeys(row.prompt for row in self.chosen.rows)
        return tuple(sorted(different, key=len, reverse=True)[:4])

    def _key(self, *what: Hashable) -> Hashable:
        return (self.model, self.chosen, self.half, *what)


def of_set(page: Page, chosen: PromptSet, half: str = "") -> SetPage:
    """The same page, of a set."""
    known = {field.name: getattr(page, field.name) for field in fields(Page)} | {"prompt": ""}
    drawn = SetPage(**known, chosen=chosen, half=half)
    drawn.is_drawn()
    return drawn


def choose_set(page: Page, place: DeltaGenerator) -> PromptSet | None:
    """Choose a set; None while a learner's own is not there yet. The address names it by its id,
    own by a random one, never by what it says. Whoever can mend it is told of a wrong file."""
    known = sets()
    titles = {name: each.title for name, each in known.items()} | {OWN: "Your own set"}
    wanted = named("set")
    first = _FIRST if _FIRST in known else next(iter(titles))
    st.session_state["set"] = wanted if wanted in titles else first
    name = place.selectbox("Set", list(titles), format_func=titles.__getitem__, key="set")
    remember("set", None if name == first else name)
    here = seat()
    for sentence in problems() if is_local() or (here is not None and here.is_teacher) else ():
        style.say("warning", sentence, sentence[:40])
    if name == OWN:
        return _own(int(page.about["prompt_limit"]))
    remember("own_set", None)
    return known[name]


def _own(prompt_limit: int) -> PromptSet | None:
    _restore()
    text = st.session_state.get("own_set")
    # Another one as soon as there is a set: a box that was open would stay so, above the figure.
    key = f"own_set_{text is not None}"
    with st.expander("Your own set", text is None, icon=":material/upload_file:", key=key):
        st.caption(
            f"A CSV or TSV file of at most {MOST_ROWS} prompts and {MOST_CHARACTERS:,} characters, "
            f"with the columns {', '.join(COLUMNS)}. Pair and expected may be left out: a pair has "
            "a prompt of each condition, and expected is the word that should come next. It is "
            f"kept as your prompts are, under an id in this page's link{kept_for()}."
        )
        st.download_button(
            "An example", partial(as_csv, _EXAMPLE), "set.csv", "text/csv", on_click="ignore"
        )
        file = st.file_uploader(
            "A set of prompts", ["csv", "tsv", "txt"], max_upload_size=2, key="set_file"
        )
        if file is not None and st.session_state.get("own_set_file") != file.file_id:
            if _taken(file.getvalue(), file.file_id, prompt_limit) is not None:
                st.rerun()
            text = None
    if text is None:
        style.say("note", "Choose a file, and its conditions are compared here.", "no_set")
        return None
    remember("own_set", st.session_state.get("own_set_id"))
    return read(text)


def _taken(content: bytes, file_id: str, prompt_limit: int) -> str | None:
    """The text of a file that is a set, all of whose prompts the model takes, of so many tokens at
    most; what is wrong with another is said, and the set that was there stays."""
    try:
        found = read(content)
        longest = max(found.rows, key=lambda row: len(row.prompt))  # a class may bound characters
        for row in found.rows:
            # No prompt has more tokens than bytes, but for the few that are put around it.
            if row is longest or len(row.prompt.encode()) + _AROUND > prompt_limit:
                _refuse_if_too_long(row)
    except StrataError as error:
        style.say("error", str(error), "wrong_set")
        return None
    state, text = st.session_state, found.as_text()
    state["own_set"], state["own_set_file"], state["own_set_id"] = text, file_id, None
    try:
        state["own_set_id"] = keep_set(text)
    except StrataError as error:
        st.toast(f"{error} The link to this page will not hold the set.")
    return text


def _refuse_if_too_long(row: Row) -> None:
    """InputError, with its line, for a prompt that the model refuses."""
    try:
        refuse_if_too_long(row.prompt)
    except InputError as error:
        raise InputError(f"Line {row.line}: {error}") from None
    except StrataError:  # the model has much to do: the page will say it
        return


def _restore() -> None:
    """The own set that the address names: at first, and where the way back has led to another."""
    state, set_id = st.session_state, st.query_params.get("own_set")
    if not set_id or set_id == state.get("own_set_id") or ("own_set" in state and not led_back()):
        return
    try:
        text = kept_prompt(set_id)
        if text is not None:
            read(text)
            state["own_set"], state["own_set_id"] = text, set_id
            return
        st.toast("The set of this link is not stored here.")
    except StrataError as error:
        st.toast(str(error))
