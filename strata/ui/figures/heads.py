"""The figures of attention heads: who reads whom, what goes to the sinks, who wrote the answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts import Chart
from strata.charts import head as forms
from strata.concepts.heads import words
from strata.errors import StrataError
from strata.ui.anatomy.address import remember
from strata.ui.anatomy.controls import bounded_slider, one_of, stands
from strata.ui.anatomy.page import Page, draw, only, position_slider, reading
from strata.ui.anatomy.style import leads, say
from strata.ui.figures.target import Target, choose_target

WHICH = {"top": "Writes most", "idle": "Reads, writes little", "own": "Choose"}
QUANTITIES = {"logit": "Logit", "norm": "Norm"}
MOST_TOKENS = 192  # each way of a pattern that is drawn
_CHOSEN = "chosen_block"  # that no slider chooses, for the small model beside the title
_BESIDE = 4  # small patterns beside each other, at most
Drawn = tuple[dict[str, pd.DataFrame], dict[str, Any]]  # tables, and what the script is told


@dataclass(frozen=True)
class Seen:
    """What the learner chose: a target, a token that reads, and one head."""

    page: Page
    target: Target
    position: int
    block: int
    head: int

    @property
    def asked(self) -> dict[str, Any]:
        """What views are told of target and position."""
        return {"target_id": self.target.ids, "position": self.position}

    @property
    def shown(self) -> list[str]:
        return self.page.all_shown

    @property
    def at(self) -> str:
        """The token that reads, for titles."""
        return f"{self.shown[self.position]} (position {self.position})"

    @property
    def name(self) -> str:
        return words.head_name(self.block, self.head)

    @cached_property
    def sunk(self) -> list[int]:
        """The positions of attention sinks."""
        return [int(each) for each in self.page.ask("hidden_states.sinks")["position"]]

    @cached_property
    def all_heads(self) -> pd.DataFrame:
        """`heads.read_and_written`. StrataError where this family's heads cannot be told."""
        return self.page.ask("heads.read_and_written", **self.asked)

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """`heads.shape`."""
        return self.page.ask("heads.shape")

    @property
    def weighted(self) -> list[int]:
        """The blocks whose attention has weights to show."""
        return [int(each) for each in self.blocks.loc[self.blocks["weighted"], "block"]]

    @property
    def unweighted(self) -> list[int]:
        """The blocks whose attention has heads, but no weights."""
        some = (self.blocks["heads"] > 0) & ~self.blocks["weighted"]
        return [int(each) for each in self.blocks.loc[some, "block"]]

    @property
    def is_written(self) -> bool:
        """Whether what this family's heads write can be told."""
        try:
            return bool(len(self.all_heads))
        except StrataError:
            return False


def choose_head(page: Page, place: DeltaGenerator, *, at_the_end: bool = False) -> Seen:
    """One row of controls, and below it two sliders where a head is chosen by hand. The address
    keeps all of them. `at_the_end`: no token is chosen, since it is about the last one. On a phone
    they stand below the figure: layout.css."""
    with place, st.container(key="edit"):
        widths = [3, 9] if at_the_end else [3, 5, 4]
        follow, which, *where = st.columns(widths, gap="medium", vertical_alignment="bottom")
        box = follow.popover("Target", icon=":material/target:", width="stretch").container()
        target = choose_target(page, box, box)
        position = page.n_tokens - 1
        if not at_the_end:
            position = position_slider(page, "Token that reads, at position", "at", where[0])
        block, head = _usual(Seen(page, target, position, 0, 0), which)
    return Seen(page, target, position, block, head)


def _usual(seen: Seen, place: DeltaGenerator) -> tuple[int, int]:
    """The block and head that the learner means."""
    try:
        frame = seen.all_heads
    except StrataError:  # its figure says why; a head can be chosen all the same
        some = seen.weighted or list(range(seen.page.n_layers))
        return _by_hand(seen, some[len(some) // 2], 0, place)
    top = frame.loc[frame["logit"].idxmax()]
    if (clicked := st.session_state.pop(_CHOSEN, None)) is not None:  # on the small model
        st.session_state.update(which="own", block=clicked)
    which = one_of(place, "Attention head", WHICH, key="which")
    if which == "idle":
        idle = words.idle_of(frame)
        top = top if idle is None else idle
    block, head = int(top["block"]), int(top["head"])
    if which == "own":
        return _by_hand(seen, block, head, st.container())
    for key in ("block", "head"):
        remember(key, None)
    return stands(_CHOSEN, block), head


def _by_hand(seen: Seen, block: int, head: int, place: DeltaGenerator) -> tuple[int, int]:
    """Two sliders, at first at a block and a head."""
    one, other = place.columns(2, gap="medium")
    block = bounded_slider("Block", 0, seen.page.n_layers - 1, block, "block", one)
    n_heads = max(1, int(seen.blocks["heads"][block]))
    head = min(head, n_heads - 1)  # of another block
    return block, bounded_slider("Attention head", 0, n_heads - 1, head, "head", other)


def _pick(mark: dict[str, Any], block: int | None = None) -> None:
    """The head that was clicked is the one chosen by hand."""
    block = mark.get("block", block)
    if block is not None and "head" in mark:
        st.session_state.update(which="own", block=int(block), head=int(mark["head"]))


def _pick_reader(mark: dict[str, Any]) -> None:
    if "query" in mark:
        st.session_state["at"] = int(mark["query"])


def draw_pattern(seen: Seen) -> Drawn:
    """One head's pattern, large, and the others of its block, small."""
    page = seen.page
    try:
        pattern = page.ask("heads.pattern", block=seen.block, head=seen.head)
    except StrataError:
        if not seen.weighted or seen.block in seen.weighted:
            raise
        say("note", words.unweighted(seen.block, seen.weighted), "unweighted")
        return {}, {}
    figure, side = st.columns([5, 3], gap="medium")
    without = side.toggle("Without the attention sinks", key="no_sink", bind="query-params")
    read = pattern["key"].between(0, pattern["query"])  # nobody reads what follows
    pattern = pattern[read].reset_index(drop=True)
    row = pattern[pattern["query"] == seen.position]
    said = words.pattern_reading(row, seen.block, seen.head, seen.position, seen.shown, seen.sunk)
    drawn, more = _drawn(seen, pattern, without=without)
    with figure, leads():
        title = f"Who reads whom in {seen.name}"
        chart = forms.pattern(drawn, page.labels, title, said, chosen=seen.position)
        notes = [only(min(page.n_tokens, MOST_TOKENS), page.n_tokens, "token")]
        notes += [f"without {len(seen.sunk)} attention sinks"] * bool(without and seen.sunk)
        draw(
            chart, "pattern", read=False, note="; ".join(filter(None, notes)), on_pick=_pick_reader
        )
        reading(" ".join(filter(None, (said, more))))
    with side:
        _sheet(seen, said)
    return {"pattern": pattern}, {}


def _drawn(seen: Seen, pattern: pd.DataFrame, *, without: bool) -> tuple[pd.DataFrame, str]:
    """The cells of a pattern that are drawn, and what is to be said of those that are not."""
    first = max(0, min(seen.position - MOST_TOKENS // 2, seen.page.n_tokens - MOST_TOKENS))
    rows, said = pattern, ""
    if without and seen.sunk:
        taken = rows[rows["key"].isin(seen.sunk)].groupby("query")["weight"].sum()
        asked: dict[str, Any] = {"block": seen.block, "head": seen.head, "without": seen.sunk}
        left = seen.page.ask("heads.pattern", **asked).dropna(subset=["weight"])
        rows = left[left["key"].between(0, left["query"]) & ~left["key"].isin(seen.sunk)]
        kept = rows["query"].unique()
        share = taken.reindex(kept, fill_value=0.0).mean() if len(kept) else 0.0
        nowhere = bool((left["key"] < 0).any())
        said = words.without_sinks_reading(share, len(kept), seen.page.n_tokens, nowhere)
    until = first + MOST_TOKENS
    rows = rows[rows["query"].between(first, until - 1) & rows["key"].between(first, until - 1)]
    return rows.rename(columns={"key": "position"})[["query", "position", "weight"]], said


def _sheet(seen: Seen, said: str) -> None:
    """The patterns of the block's heads, small, of which a click chooses one."""
    page = seen.page
    tiles = page.ask("heads.small", block=seen.block, around=seen.head)
    count, n_heads = tiles["head"].nunique(), int(tiles["n_heads"].iloc[0])
    if n_heads < 2:
        return
    title = f"The heads of block {seen.block}, small"
    columns = 3 if count <= 9 else _BESIDE
    chart = forms.sheet(tiles, title, said, chosen=seen.head, columns=columns)
    steps = int(tiles["query"].max()) + 1
    notes = [only(count, n_heads, "attention head")]
    notes += [f"{steps} steps of {page.n_tokens} tokens"] * (steps < page.n_tokens)
    note = "; ".join(filter(None, notes))
    draw(chart, "sheet", read=False, note=note, on_pick=partial(_pick, block=seen.block))


def draw_sinks(seen: Seen) -> Drawn:
    """The share of every head's attention that goes to the sinks, and how little comes of it."""
    at = seen.sunk or [0]  # where there is none, what the first token gets
    frame = seen.page.ask("heads.sink_share", positions=at)
    if frame.empty:
        say("note", words.NOBODY_BEHIND, "no_sinks")
        return {}, {}
    where = "the sinks" if seen.sunk else "the first token"
    said = words.sink_reading(frame, seen.shown, seen.sunk)
    little = words.little_reading(frame)
    figure, side = st.columns([1, 1], gap="medium")
    chosen = (seen.block, seen.head)
    with figure, leads():
        title = f"How much of each head's attention goes to {where}"
        chart = forms.head_map(frame, title, said, "share", "Share", chosen=chosen)
        draw(chart, "sink_map", read=False, on_pick=_pick)
    points = words.with_part(frame)
    rows = points.assign(
        weight=points["share"],
        name="",
        chosen=(points["block"] == seen.block) & (points["head"] == seen.head),
    )
    with side:
        title = f"How much of what a head writes comes from {where}"
        y_title = [f"Norm from {where},", "as a share of what is written"]
        told: dict[str, Any] = {"x_title": f"Attention weight of {where}", "y_title": y_title}
        chart = forms.over_weight(rows, title, little, "part", **told)
        draw(chart, "from_sinks", read=False, on_pick=_pick)
    reading(said)
    reading(little, "_little")
    return {"sinks": frame}, {"from_sinks": not points.empty}


def draw_written(seen: Seen) -> Drawn:
    """What each head of the model writes towards the target, and over what it reads."""
    frame = seen.all_heads
    target, other = seen.target.shown, seen.target.other
    at, shown, without = seen.position, seen.shown, seen.unweighted
    said = words.written_reading(frame, target, other, at, shown, without)
    figure, side = st.columns([1, 1], gap="medium")
    against = other or "the average token"
    with figure:
        place = leads()
        quantity = one_of(st.container(), "Colour", QUANTITIES, key="head_colour")
    with place:
        title = f"What each head writes at {seen.at}"
        if quantity == "logit":
            title = f"What each head adds to {target}, against {against}"
        legend = QUANTITIES[quantity]
        chosen = (seen.block, seen.head)
        chart = forms.head_map(frame, title, said, quantity, legend, chosen=chosen)
        draw(chart, "head_map", read=False, on_pick=_pick)
    explains = words.explains_reading(frame, seen.shown)
    with side:
        chart = _scatter(seen, frame, explains, against)
        note = f"23.4 would be {words.head_name(23, 4)}"
        draw(chart, "read_and_written", read=False, note=note, on_pick=_pick)
    reading(said)
    reading(explains, "_explains")
    top = frame.loc[frame["logit"].idxmax()]
    if (seen.block, seen.head) != (top["block"], top["head"]):  # of that one all is said
        reading(
            words.head_reading(frame, seen.block, seen.head, seen.shown, target, other), "_head"
        )
    asked: dict[str, Any] = {"target": seen.target.ids, "position": seen.position}
    sums = seen.page.ask("heads.sums", **asked, against="mean")  # as `read_and_written` has them
    return {"heads": frame, "sums": sums}, {}


def _scatter(seen: Seen, frame: pd.DataFrame, said: str, against: str) -> Chart:
    rows = frame[frame["weight"].notna()]
    labels = seen.page.labels
    rows = rows.assign(
        label=[labels[key] for key in rows["key"]],
        chosen=(rows["block"] == seen.block) & (rows["head"] == seen.head),
    )
    span = float(rows["logit"].max() - rows["logit"].min()) or 1.0
    strong = rows["logit"].abs() >= words.FAINT * rows["logit"].abs().max()
    rows = forms.named_apart(rows, strong | rows["chosen"], span)
    title = f"What heads read most at {seen.at}, and what they write"
    y = ["Added to the logit,", f"against {against}"]
    x = "Attention weight, sinks left out"
    return forms.over_weight(rows, title, said, "logit", x_title=x, y_title=y)
