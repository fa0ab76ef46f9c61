"""The body that every page shares: question, figure, reading, and the strip at the foot."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.charts import Chart
from strata.charts.guess import with_guess
from strata.concepts import Concept
from strata.concepts.run import ABOUT_THE_ANSWER
from strata.concepts.script import with_note, with_reader
from strata.concepts.views import concepts
from strata.display.terms import TERMS
from strata.display.tokens import distinct as distinct
from strata.engine import Job, Limits
from strata.trace import Scale
from strata.ui.anatomy import ask, made, record, style
from strata.ui.anatomy.address import SPLIT, of_older_tokens, remember, whole_number
from strata.ui.anatomy.expected import expect
from strata.ui.anatomy.foot import close_page as close_page
from strata.ui.anatomy.place import offer
from strata.ui.anatomy.sidebar import Choice
from strata.ui.server.resources import engine, models
from strata.weights.sources import cached_folder

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """One open page: its concept, and the model and prompt that the learner chose."""

    stem: str
    concept: Concept
    model: str
    prompt: str
    about: dict[str, Any]
    tokens: pd.DataFrame
    edits: tuple[Scale, ...] = field(
        default=(), kw_only=True
    )  # made to every run that this page asks for

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    @property
    def n_layers(self) -> int:
        return int(self.about["n_layers"])

    def shown(self, position: int) -> str:
        """The token at a position in its text-safe form."""
        return self.all_shown[position]

    @cached_property
    def all_shown(self) -> list[str]:
        """All tokens in that form."""
        return list(map(str, self.tokens["shown"]))

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The rows of `run.doctor`."""
        return self.made("doctor", lambda: self.ask("run.doctor").to_dict("records"))

    def text_up_to(self, position: int) -> str:
        """The prompt as far as a position, that token included."""
        return str(self.ask("run.text_up_to", position=position)["text"][0])

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With shown, the token of each row in its text-safe form."""
        return frame.assign(shown=self.tokens["shown"].to_numpy()[frame["position"].to_numpy(int)])

    def labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With axis labels: the position, then the token, so that equal tokens stay apart."""
        positions = frame["position"]
        shown = self.tokens["shown"].to_numpy()[positions]
        return frame.assign(label=positions.astype(str) + " " + shown)

    @property
    def labels(self) -> list[str]:
        """Axis labels of all positions, see `labelled`."""
        return [f"{position} {shown}" for position, shown in enumerate(self.all_shown)]

    def up_to_width(self, *counts: int) -> list[int]:
        """Those of some counts of dimensions that this model has."""
        return [count for count in counts if count <= self.about["d_model"]]

    def up_to_vocabulary(self, *counts: int) -> list[int]:
        """Those of some counts of tokens that this model has, at least one."""
        n_tokens: int = self.about["d_vocab"]
        return [count for count in counts if count <= n_tokens] or [n_tokens]

    def script(self, **choices: Any) -> str:
        """The program with plain transformers that prints the numbers of this page."""
        card = models()[self.model]
        source = card.repository or _folder(self.model)
        program = self.concept.script(source, card.revision, self.prompt, **choices)
        program = with_reader(program, self.about["reader"])
        return program if card.repository else with_note(program, _whereabouts(card))

    def ask(
        self,
        view: str,
        prompts: tuple[str, ...] = (),
        *,
        meanwhile: Callable[[], object] | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """A view's table for this model and prompt, or for other prompts where a view takes them.

        `meanwhile` draws what is there already, if there is a wait worth showing. A refusal,
        StrataError, ends the page.
        """
        job = partial(
            Job,
            view=view,
            model=self.model,
            prompt=self.prompt,
            prompts=prompts,
            params=params,
            edits=self.edits,
        )
        # `repr` tells 1 from True
        expected = expect(view, self.about, self.n_tokens, len(prompts), params)
        key = self._key(view, prompts, repr(params))
        return made.frame(key, lambda: ask.run(job(), meanwhile, expected))

    def made(self, name: str, make: Callable[[], T], *by: Hashable) -> T:
        """What `make` makes of this run and of `by`, which must say all that it depends on, made
        once for all learners. `name` tells such things of a page apart; nobody may change them."""
        return made.made(self._key(self.stem, name, *by), make)

    def _key(self, *what: Hashable) -> Hashable:
        return (self.model, self.prompt, self.edits, *what)

    def beside(self, *, model: str | None = None, prompt: str | None = None) -> Page:
        """The same page for another model or another prompt, to draw beside this one."""
        other = replace(self, model=model or self.model, prompt=prompt or self.prompt)
        other = replace(other, about=ask.until_ready(other.model))
        return replace(other, tokens=tokens_of(other.model, other.prompt, other.about))


class Waiting(Exception):
    """The page ends here until the learner of a lesson has committed a prediction."""


def tokens_of(model: str, prompt: str, about: Mapping[str, Any]) -> pd.DataFrame:
    """`run.tokens` of a prompt, with no edits. InputError if it is longer than this learner's may
    be, though another's has been answered."""
    job = partial(Job, view="run.tokens", model=model, prompt=prompt)
    engine().keep(model, prompt)
    tokens = made.frame((model, prompt, "run.tokens"), lambda: ask.run(job()))
    Limits(prompt_tokens=about["prompt_limit"]).check_tokens(len(tokens))
    return tokens


@lru_cache(maxsize=64)
def _folder(model: str) -> str:
    """Where a model that has answered keeps its weights."""
    return str(cached_folder(models()[model]))


def _whereabouts(card: ModelCard) -> str:
    """For a script: what to do about a model that is a folder of this machine."""
    if card.source != "bundled":
        return "A folder of the machine that made this; elsewhere, put in your own copy of it."
    return (
        "The bundled model, where the machine that made this keeps it. On another machine, run\n"
        f"`python -m strata fetch {card.id}` in a copy of Strata and put in what it prints."
    )


def open_page(stem: str) -> Page:
    """Title and question, then wait for the model and read the prompt.

    Raises StrataError when the model cannot be had or the prompt is refused; the frame shows it.
    """
    concept = concepts()[stem].CONCEPT
    with st.container(horizontal=True, vertical_alignment="center", key="title"):
        st.title(concept.title, anchor=False)
        offer(stem)
    with st.container(key="question"):
        st.markdown(concept.question)
    choice: Choice = st.session_state["choice"]
    about = ask.until_ready(choice.model)
    tokens = tokens_of(choice.model, choice.prompt, about)
    page = Page(stem, concept, choice.model, choice.prompt, about, tokens)
    found = page.findings
    waits = st.session_state.get("figure_waits")
    if waits:  # and so does all else that tells what the model says
        found = [row for row in found if row["code"] not in ABOUT_THE_ANSWER]
    with choice.doctor:
        st.caption(f"{len(tokens)} of {about['prompt_limit']} tokens · on {about['device']}")
        for row in found:
            if row["code"] != "moved":
                style.say(row["severity"], row["message"], row["code"])
    for row in found:
        if row["code"] == "appended":  # no page is then about what the learner thinks it is
            style.say(row["severity"], row["message"], "appended_here")
    say_if_older(page)
    if waits:
        style.say("note", "The figure waits for your prediction.", "waits")
        raise Waiting
    return page


def say_if_older(page: Page, name: str = "") -> None:
    """Say it where an older link counts positions in tokens that are others now, and have the
    address say how this text is split. `name`: see `of_older_tokens`."""
    older = of_older_tokens(page.prompt, page.n_tokens, name)
    moved = next((row for row in page.findings if row["code"] == "moved"), None)
    if moved:
        remember("split", SPLIT)
        if older:
            text = "The second prompt" if name else "This text"
            said = moved["message"].replace("This text", text, 1)
            style.say(moved["severity"], said, f"moved_here{name}")
    elif not name and "at_second" not in st.query_params:
        remember("split", None)


def position_slider(page: Page, label: str, key: str, place: DeltaGenerator) -> int:
    """Choose a token by its position; the last one for a new prompt. The address keeps it."""
    last = page.n_tokens - 1
    if last == 0:
        place.text(f"{label}: the only one, {page.shown(0)}")
        return 0
    # Not bound to the address by Streamlit: that would take the position of the prompt before from
    # there whenever the length of the slider changes.
    state, asked, context = st.session_state, st.query_params.get(key, ""), get_script_run_ctx()
    prompt, stem, kept = state.get(f"{key}_of", (page.prompt, "", ""))
    if kept == "" or (context and context.is_history_navigation):  # a link, or the way back
        found = whole_number(asked)
        kept, stem = last if found is None else found, ""
        # Also as the slider's default: a browser may miss the first run, and what it was told.
        state[f"{key}_linked"] = page.prompt, min(kept, last)
    if prompt != page.prompt:
        state[key] = last
    elif stem != page.stem or key not in state:  # each page has its own slider
        state[key] = kept
    if not 0 <= state[key] <= last:
        state[key] = last
    linked, default = state.get(f"{key}_linked", ("", last))
    default = default if linked == page.prompt else last
    chosen = int(place.slider(label, 0, last, default, key=key, help=TERMS["token"]))
    remember(key, None if chosen == last else str(chosen))
    state[f"{key}_of"] = page.prompt, page.stem, chosen
    return chosen


def draw(chart: Chart, key: str, *, read: bool = True, number: int = 0) -> list[dict[str, Any]]:
    """A chart in its place, with words for those who cannot see it, and its reading below.

    Returns what was clicked, where the chart has a selection: the fields of each chosen mark. With
    another `number` it is another one, in which nothing has been clicked. A chart without rows
    would be an empty box: only its reading is shown.
    """
    if chart.frame.empty:
        if read:
            reading(chart.reading)
        return []
    guess = st.session_state.get("drawn_guess")
    if guess is not None and guess.figure == key:
        chart = with_guess(chart, guess)
    record.keep_figure(chart, key)
    views = [chart.spec, *chart.spec.get("layer", [])]
    selections = [p["name"] for view in views for p in view.get("params", []) if "select" in p]
    with style.room(chart.height, key):
        drawn: Any = st.vega_lite_chart(
            None,
            # By name, so that they are there when the figure is first laid out: an axis without
            # rows has no ends, and the browser complains of each.
            {**chart.spec, "data": {"name": "rows"}, "datasets": {"rows": chart.table}},
            width="stretch",
            height=chart.height,
            key=f"{key}_{number}" if number else key,
            alt=chart.alt,
            on_select="rerun" if selections else "ignore",
        )
    if read:
        reading(chart.reading)
    return [mark for name in selections for mark in drawn["selection"].get(name, [])]


def draw_row(row: Sequence[Chart], key: str) -> None:
    """Small multiples, four beside each other, or below each other where there is no room."""
    for start in range(0, len(row), 4):
        places = st.columns(min(4, len(row)), gap="small")
        for number, chart in enumerate(row[start : start + 4], start):
            with places[number - start]:
                draw(chart, f"{key}_{number}", read=False)


def readings_wait() -> bool:
    """Whether a step of a lesson keeps back what the page would say of its figures."""
    return bool(st.session_state.get("readings_wait"))


def reading(sentence: str, key: str = "") -> None:
    """What the figure shows for this run, in one computed sentence, as plain text. Of several on a
    page all but one need a key. A step of a lesson may keep them back."""
    if readings_wait():
        return
    with st.container(
        key=f"reading{key}", horizontal=True, vertical_alignment="center", gap="small"
    ):
        st.markdown(":material/menu_book: **Reading**", width="content")
        st.text(sentence)
