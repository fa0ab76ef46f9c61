"""The figures of a set: means by condition, differences, and a hypothesis on what was held out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts import conditions as charts
from strata.concepts.evidence import compared, tables, words
from strata.concepts.evidence.compared import ALL, EXPLORED, HELD_OUT, Compared, Hypothesis
from strata.concepts.evidence.script import lines
from strata.concepts.views import concepts, curves
from strata.display.tokens import display_text
from strata.errors import InputError
from strata.ui.anatomy import place, sidebar
from strata.ui.anatomy.address import led_back, named, remember, whole_number
from strata.ui.anatomy.controls import FIRST, pressed
from strata.ui.anatomy.page import draw, reading
from strata.ui.figures.sets import SetPage
from strata.ui.figures.written import Ledger, all_seen, keep, ledger

HALVES = {EXPLORED: "Explored half", ALL: "All"}
_CLAIM = re.compile(r"(\d{1,4})-(\d{1,4})-(larger|smaller)")


@dataclass(frozen=True)
class Study:
    """What the learner chose: a set's page, a quantity, which half, and which two conditions."""

    page: SetPage
    table: pd.DataFrame  # evidence.values
    quantity: str
    half: str
    conditions: tuple[str, str]

    def of(self, half: str) -> Compared:
        """The values of a half."""
        return compared.compared(self.table, self.quantity, half)

    @property
    def found(self) -> Compared:
        """The values that the first two figures draw."""
        return self.of(self.half)

    def turned(self, claim: Hypothesis | None) -> Hypothesis | None:
        """A hypothesis as of the conditions in the order of the set, or back: that one is larger is
        that the other is smaller."""
        same = self.conditions == self.page.chosen.in_order(self.conditions)
        return claim if claim is None or same else replace(claim, larger=not claim.larger)

    def left_out(self, found: Compared) -> str:
        """What a figure of these values leaves out."""
        return words.left_out(found, of_a_word=bool(tables.needs(self.quantity)))


def offered(chosen: Any) -> list[str]:
    """The quantities that this set has: those that need a word are left out where none is
    expected, and the difference of two words where there are no pairs."""

    def there(name: str) -> bool:
        needs = tables.needs(name)
        return not needs or (chosen.expects and ("against_id" not in needs or chosen.paired))

    return [name for name in curves() if there(name)]


def tell_half(page: SetPage) -> None:
    """What the half that is on the screen can show."""
    if page.half == EXPLORED and page.chosen.paired:
        st.caption(words.of_half(len(page.chosen.pairs)))


def choose_quantity(names: Sequence[str], where: DeltaGenerator) -> str:
    """One of the quantities; the address keeps it."""
    state = st.session_state
    wanted = named("quantity")
    state["quantity"] = wanted if wanted in names else names[0]
    chosen: str = where.selectbox("Quantity", list(names), key="quantity")
    remember("quantity", None if chosen == names[0] else chosen)
    return chosen


def choose_conditions(names: Sequence[str]) -> tuple[str, str]:
    """Which two are compared: the two there are, or chosen ones of more."""
    if len(names) == 2:
        return names[0], names[1]
    first, second = st.columns(2)
    numbers = range(len(names))

    def shown(i: int) -> str:
        return display_text(names[i])

    a = first.selectbox("Compare", numbers, 0, shown, key="condition", bind="query-params")
    others = [i for i in numbers if i != a]
    if st.session_state.get("with") not in others:
        st.session_state.pop("with", None)
    b = second.selectbox("with", others, 0, shown, key="with", bind="query-params")
    return names[a], names[b]


def choose_pair(study: Study, where: DeltaGenerator) -> int | None:
    """A pair that is drawn by itself, by its number in the set; None: none."""
    if not study.found.paired:
        return None
    names, table = study.page.chosen.pairs, study.table
    here = set(table["pair"][table["row"].isin({i for row in study.found.pair_rows for i in row})])
    offered = [i for i, name in enumerate(names) if name in here]
    linked = whole_number(st.query_params.get("alone", ""))
    wanted = st.session_state.get("alone", linked)
    if linked is not None and led_back():
        wanted = linked
    st.session_state["alone"] = wanted if wanted in offered else None

    def shown(number: int) -> str:
        return display_text(names[number], 40)

    chosen: int | None = where.selectbox(
        "One pair by itself", offered, None, shown, key="alone", placeholder="None"
    )
    remember("alone", None if chosen is None else str(chosen))
    return chosen


def draw_means(study: Study, each: bool, pair: int | None) -> pd.DataFrame:
    """Each condition's mean with its interval, and, if wanted, each prompt, which a click opens on
    its concept's page, and one pair by itself."""
    found = study.found
    means = compared.means(found)
    rows = study.page.chosen.rows
    lines = None
    if each or pair is not None:
        lines = compared.lines(found)
        prompts = [display_text(row.prompt, 60) for row in rows]
        name = None if pair is None else study.page.chosen.pairs[pair]
        followed = [rows[i].pair == name for i in lines["row"]]
        lines = lines.assign(prompt=[prompts[i] for i in lines["row"]], followed=followed)
        lines = lines if each else lines[lines["followed"]]
    chart = charts.by_condition(
        means,
        lines,
        f"{study.quantity}: mean of each condition, and its 95 % interval",
        study.quantity,
        words.means_reading(means, study.quantity),
        best_first="0 is best" in study.quantity,
    )

    def open_prompt(mark: dict[str, Any]) -> None:
        row = mark.get("row")
        if isinstance(row, int) and 0 <= row < len(rows):
            show_prompt(study, row)

    note = study.left_out(found)
    draw(chart, "conditions", note=note, on_pick=open_prompt if each else None)
    if each:
        _offer_prompts(study, _rows(found))
    return means


def _offer_prompts(study: Study, here: Sequence[int]) -> None:
    """What a click on a thin line does, by keys."""
    rows = study.page.chosen.rows
    which, go = st.columns([5, 3], vertical_alignment="bottom")
    if st.session_state.get("one_prompt") not in here:
        st.session_state["one_prompt"] = None
    chosen = which.selectbox(
        "One prompt, or click its line",
        here,
        format_func=lambda row: display_text(rows[row].prompt, 60),
        key="one_prompt",
        placeholder="Choose a prompt",
    )
    page = concepts()[tables.concept_of(study.quantity)].CONCEPT.title
    go.button(
        f"Open it on “{page}”",
        disabled=chosen is None,
        on_click=show_prompt,
        args=(study, chosen),
        key="open_prompt",
    )


def show_prompt(study: Study, row: int | None) -> None:
    """Open one prompt of the set on the page that draws this number for one prompt, of the word
    that it expects next, where the number is about that."""
    if row is None:
        return
    rows, needs = study.page.chosen.rows, tables.needs(study.quantity)
    sidebar.take_prompt(rows[row].prompt)
    if needs:
        other = tables.other([each.pair for each in rows], row)
        minus = rows[other].expected if "against_id" in needs else FIRST
        st.session_state.update(target_choice=rows[row].expected, minus_choice=minus)
    if tables.concept_of(study.quantity) == "scaling":
        st.session_state.update(part="attn", factor=0.5)
    place.to(tables.concept_of(study.quantity))


def draw_differences(study: Study) -> pd.DataFrame:
    """The two conditions compared at each layer, and which layers survive the correction."""
    found = study.found
    frame = compared.differences(found, study.conditions)
    a, b = (display_text(name) for name in study.conditions)
    sentence = words.difference_reading(frame, found, study.conditions, study.half)
    chart = charts.differences(
        frame,
        f"{a} less {b}: orange where it is more than chance gives",
        study.quantity,
        f"{a} less {b}",
        sentence,
    )
    draw(chart, "differences", read=False, note=study.left_out(found))
    reading(sentence, "_difference")
    return frame


def hold_out(study: Study) -> tuple[Hypothesis | None, dict[str, pd.DataFrame]]:
    """A hypothesis, and once it is written the half that was held out, tested at exactly that."""
    with st.container(border=True, key="held_out"):
        st.markdown("**The half that was held out**")
        about = (study.quantity, study.page.chosen.in_order(study.conditions))
        told = ledger(study.page, about, "claim", lambda text: study.turned(_linked(study, text)))
        if all_seen(study.page, told):
            return None, {}
        try:
            found = study.of(HELD_OUT)
        except InputError as error:  # fewer than two prompts of it have this number
            st.text(str(error))
            return None, {}
        if told.latest(about) is None:
            st.caption(
                "What you found in one half may be chance. Write down what you expect of the "
                "other half: it is shown then, and tested at exactly that."
            )
        if (new := study.turned(_write(study, study.turned(told.latest(about))))) is not None:
            told.add(about, new, seen=seen_before(told, about, new, study.page.n_layers))
            keep(study.page, told)
        late = told.is_late(about, told.latest(about))
        claim = study.turned(told.latest(about))
        if claim is None:
            remember("claim", None)
            return None, {}
        way = "larger" if claim.larger else "smaller"
        remember("claim", f"{claim.low}-{claim.high}-{way}")
        try:
            return claim, _draw_held_out(study, claim, found, told.number, late)
        except InputError as error:  # at these layers there is no such number
            st.text(str(error))
            return None, {}


def seen_before(told: Ledger, about: Hashable, claim: Hypothesis, n_layers: int) -> bool:
    """Whether a number that this hypothesis is about was on the screen before, since it lies at a
    layer of another that was written. By their marks, which say it of any that one asks for."""
    if told.knows(about, claim):
        return False
    return any(
        told.knows(about, Hypothesis(low, high, larger))
        for low in range(claim.high + 1)
        for high in range(max(low, claim.low), n_layers + 1)
        for larger in (True, False)
    )


def _linked(study: Study, text: str) -> Hypothesis | None:
    """The hypothesis that an address names."""
    asked = _CLAIM.fullmatch(text)
    if asked and int(asked[1]) <= int(asked[2]) <= study.page.n_layers:
        return Hypothesis(int(asked[1]), int(asked[2]), asked[3] == "larger")
    return None


def _write(study: Study, before: Hypothesis | None) -> Hypothesis | None:
    """The form for a hypothesis; it, in the run that it was written for."""
    a, b = (display_text(name) for name in study.conditions)
    there = compared.differences(study.found, study.conditions)["layer"]
    first, last = (int(there.min()), int(there.max())) if len(there) else (0, study.page.n_layers)
    if first == last:
        first, last = 0, study.page.n_layers  # a slider has two ends
    with st.form("hypothesis", border=False):
        where, way, done = st.columns([4, 3, 2], vertical_alignment="bottom")
        span = (before.low, before.high) if before else (last // 3, last // 2)
        state = st.session_state
        span = state.get("claim_layers", span)  # of another quantity, which may have other layers
        span = (min(max(span[0], first), last), min(max(span[1], first), last))
        state["claim_layers"] = span
        chosen: Any = where.slider("At layers", first, last, key="claim_layers")
        larger = way.selectbox(
            f"{a} is", (True, False), format_func=lambda up: _way(up, b), key="claim_way"
        )
        with done:
            written = pressed(st.form_submit_button, "Write it down", "write_claim")
    return Hypothesis(int(chosen[0]), int(chosen[1]), bool(larger)) if written else None


def _way(larger: bool, other: str) -> str:
    return f"{'larger' if larger else 'smaller'} than {other}"


def _draw_held_out(
    study: Study, claim: Hypothesis, found: Compared, number: int, late: bool
) -> dict[str, pd.DataFrame]:
    """The layers that were written down and no other, which would suggest the next hypothesis."""
    outcome = compared.outcome(found, claim, study.conditions)
    frame = compared.differences(found, study.conditions)
    frame = frame[frame["layer"].between(claim.low, claim.high)].reset_index(drop=True)
    a, b = (display_text(name) for name in study.conditions)
    sentence = words.outcome_reading(
        outcome, claim, found, study.quantity, study.conditions, number, seen=late
    )
    chart = charts.differences(
        frame.assign(survives=True),
        "Held out: the layers that you wrote down",
        study.quantity,
        f"{a} less {b}",
        sentence,
        last=study.page.n_layers,
    )
    of, note = replace(study.page, half=HELD_OUT).subject, study.left_out(found)
    draw(chart, "held_out", read=False, number=number, of=of, note=note)
    reading(sentence, "_held_out")
    return {"held out": frame, "hypothesis": outcome}


def prompts(study: Study, claim: Hypothesis | None) -> pd.DataFrame:
    """The values behind the figures, a row a prompt and layer; those of the held-out half follow
    at the layers that were written down."""
    by_row = study.table.set_index("row", drop=False)
    table = by_row.loc[_rows(study.found)]
    if claim:
        held = by_row.loc[_rows(study.of(HELD_OUT))]
        table = pd.concat([table, held[held["layer"].between(claim.low, claim.high)]])
    table = table.reset_index(drop=True)
    texts = [row.prompt for row in study.page.chosen.rows]
    kept = table[["row", "condition", "pair", "layer", study.quantity]]
    kept.insert(1, "prompt", [texts[row] for row in kept["row"]])
    return kept


def _rows(found: Compared) -> list[int]:
    return sorted(row for rows in found.rows.values() for row in rows)


def script(study: Study, claim: Hypothesis | None, n_draws: int = 0) -> str:
    """The program of what is drawn, `n_draws` by chance beside the differences."""
    rows = [(r.prompt, r.condition, r.pair, r.expected) for r in study.page.chosen.rows]

    def of(half: str) -> list[tuple[str, str, str, str]]:
        return [rows[i] for i in _rows(study.of(half))]

    told = (claim.low, claim.high, claim.larger) if claim else None
    return study.page.script(
        **study.page.reads(lines(study.quantity)),
        blocks=study.page.about["blocks"],
        rows=of(study.half),
        quantity=study.quantity,
        compared=study.conditions,
        claim=told,
        n_draws=n_draws,
        held_out=of(HELD_OUT) if claim else (),
    )
