"""The body that every page shares: question, figure, reading, and the strip at the foot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.charts import Chart
from strata.charts.guess import with_guess
from strata.charts.subject import Subject, captioned
from strata.charts.titled import fitted
from strata.concepts.run import ABOUT_THE_ANSWER
from strata.concepts.views import TRACE, concepts, supplied
from strata.display.files import as_csv, as_parquet
from strata.display.terms import PROOF
from strata.display.tokens import display_candidate, display_token
from strata.display.tokens import distinct as distinct
from strata.ui.anatomy import ask, record, sidebar, style
from strata.ui.anatomy.address import OF_CLASS, SPLIT, of_older_tokens, remember, whole_number
from strata.ui.anatomy.controls import STANDS, TOLD, move, stands, told_moved
from strata.ui.anatomy.model_map import draw_map
from strata.ui.anatomy.opened import Page as Page
from strata.ui.anatomy.opened import only as only
from strata.ui.anatomy.opened import subject
from strata.ui.anatomy.opened import tokens_of as tokens_of
from strata.ui.anatomy.place import offer
from strata.ui.anatomy.sidebar import Choice
from strata.ui.anatomy.table import show_table as show_table


class Waiting(Exception):
    """The page ends here until the learner of a lesson has committed a prediction."""


def open_page(stem: str) -> Page:
    """Title and question, then wait for the model and read the prompt.

    Raises StrataError when the model cannot be had or the prompt is refused; the frame shows it.
    """
    concept = concepts()[stem].CONCEPT
    st.session_state[STANDS], st.session_state[TOLD] = {}, {}
    with st.container(horizontal=True, vertical_alignment="center", key="title"):
        st.title(concept.title, anchor=False, width="content")
        drawn = style.room(40, "map")
        offer(stem)
    with st.container(key="question"):
        st.markdown(concept.question)
        if concept.why:
            st.caption(concept.why)
    if any(supplied(view) & (TRACE | {"prompt"}) for view in concept.views):
        sidebar.prompt_on_page()  # else the prompt plays no part
    choice: Choice = st.session_state["choice"]
    about = ask.until_ready(choice.model)
    tokens = tokens_of(choice.model, choice.prompt, about)
    page = Page(stem, concept, choice.model, choice.prompt, about, tokens, map_place=drawn)
    page.is_drawn()
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
        draw_map(page)
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
        return stands(key, 0)
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
        if kept == state.get(f"{key}_end", last):  # the last token, as it was
            state[key] = last
        else:
            move(key, last, "this is the last token of another text", kept)
    elif stem != page.stem or key not in state:  # each page has its own slider
        state[key] = kept
    if not 0 <= state[key] <= last:
        move(key, last, f"this text has {page.n_tokens} tokens")
    linked, default = state.get(f"{key}_linked", ("", last))
    default = default if linked == page.prompt else last
    chosen = int(place.slider(label, 0, last, default, key=key))
    remember(key, None if chosen == last else str(chosen))
    state[f"{key}_of"], state[f"{key}_end"] = (page.prompt, page.stem, chosen), last
    return stands(key, told_moved(key, chosen, place))


def draw(
    chart: Chart,
    key: str,
    *,
    read: bool = True,
    number: int = 0,
    of: Subject | None = None,
    note: str = "",
    on_pick: Callable[[dict[str, Any]], None] | None = None,
    in_passing: bool = False,
) -> list[dict[str, Any]]:
    """A chart in its place, with what it is of under its title, words for those who cannot see it,
    and its reading below. `of`: None where it is of the page's own run; `note`: what is left out.

    Returns what was clicked, where the chart has a selection: the fields of each chosen mark, which
    `on_pick` is told before the run that a click starts. With another `number` it is another one,
    in which nothing has been clicked. A chart without rows would be an empty box: only its reading
    is shown. `in_passing`: of a text that is no prompt yet, so it is neither kept for a report nor
    has a guess on it.
    """
    if chart.frame.empty:
        if read:
            reading(chart.reading)
        return []
    guess = st.session_state.get("drawn_guess")
    if guess is not None and guess.figure == key and not in_passing:
        chart = with_guess(chart, guess)
    rows = chart.table  # of the chart that is kept, since it is made once for each
    chart = captioned(chart, subject() if of is None else of, note)
    if not in_passing:
        record.keep_figure(chart, key)
    views = [chart.spec, *chart.spec.get("layer", [])]
    selections = [p["name"] for view in views for p in view.get("params", []) if "select" in p]
    name = f"{key}_{number}" if number else key

    def picked(drawn: Any) -> list[dict[str, Any]]:
        return [mark for each in selections for mark in drawn["selection"].get(each, [])]

    def pick(tell: Callable[[dict[str, Any]], None]) -> None:
        for mark in picked(st.session_state[name]):
            tell(mark)

    heard: Any = "ignore"
    if selections:
        heard = partial(pick, on_pick) if on_pick else "rerun"
    with st.container(key=style.tall(chart.height, name)):
        drawn: Any = st.vega_lite_chart(
            None,
            # By name, so that they are there when the figure is first laid out: an axis without
            # rows has no ends, and the browser complains of each.
            {**fitted(chart.spec), "data": {"name": "rows"}, "datasets": {"rows": rows}},
            width="stretch",
            height=chart.height,
            key=name,
            alt=chart.alt,
            on_select=heard,
        )
    if read:
        reading(chart.reading)
    return picked(drawn)


def draw_row(row: Sequence[Chart], key: str, **told: Any) -> None:
    """Small multiples, four beside each other, or below each other where there is no room; `told`:
    what `draw` is told of each."""
    for start in range(0, len(row), 4):
        places = st.columns(min(4, len(row)), gap="small")
        for number, chart in enumerate(row[start : start + 4], start):
            with places[number - start]:
                draw(chart, f"{key}_{number}", read=False, **told)


def is_asked(*figures: str) -> bool:
    """Whether the step of a lesson is about one of these figures, by the beginnings of their keys:
    what a step is about is to be the first of its page."""
    return str(st.session_state.get("asked_figure") or "-").startswith(figures)


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


def close_page(
    page: Page,
    tables: Mapping[str, pd.DataFrame],
    script: str,
    arrays: Callable[[], bytes] | None = None,
    proof: str = "run.check",
    **asked: Any,
) -> None:
    """The foot of a page: proof (a view like `run.check`, and what it is asked), tables, code,
    downloads, link."""
    record.keep_code(script)
    draw_map(page)  # last, since it shows where the sliders are
    _proof(page, proof, asked)
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
                    "which keeps your own text under the id in the link."
                )
                st.code(_address(), language=None, wrap_lines=True)


def _proof(page: Page, view: str, asked: dict[str, Any]) -> None:
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
