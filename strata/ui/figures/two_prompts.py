"""Choosing what is patched: a second prompt beside the page's, direction, part, and target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.subject import Subject
from strata.concepts.patching.pairs import BY_NAME, PAIRS
from strata.errors import StrataError
from strata.trace import Part
from strata.ui.anatomy import sidebar, style
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import Page
from strata.ui.figures.beside import own_prompt
from strata.ui.figures.edit import PARTS
from strata.ui.figures.target import choose_against, choose_token

DIRECTIONS = {"restore": "Restore", "corrupt": "Corrupt"}
_OWN = "own"
_FOLLOW = {"difference": "The difference of two words", "word": "One word"}
_TITLES = {name: f"{pair.purpose}: {pair.title}" for name, pair in BY_NAME.items()}
_TITLES[_OWN] = "Your own second prompt"


@dataclass(frozen=True)
class Patch:
    """What the learner chose: the page's run, A, another prompt's, B, and what is put where."""

    page: Page
    other: Page
    direction: str
    part: Part
    facts: dict[str, Any]  # the row of `patching.facts`
    asked: dict[str, Any]  # what every view is told

    @property
    def of(self) -> Subject:
        """Both prompts, for what a figure is of."""
        return Subject((self.page.prompt, self.other.prompt), self.page.subject.model)

    @property
    def labels(self) -> list[str]:
        """Axis labels of all positions, with both tokens where the prompts differ."""
        both = zip(self.page.all_shown, self.other.all_shown, strict=True)
        return [f"{i} {a}" + f" / {b}" * (a != b) for i, (a, b) in enumerate(both)]

    @property
    def first(self) -> int:
        """The first position at which the prompts part: those before it change nothing."""
        return int(self.facts["first"])

    @property
    def lowest(self) -> int:
        """The lowest layer that has cells: what a block adds has none at the embedding."""
        return int(self.part != "stream")

    @property
    def program(self) -> dict[str, Any]:
        """What the script of the page is told. ModelError for writes that are refused."""
        ids = [self.facts["target_id"], self.facts["against_id"]]
        return {
            "other": self.other.prompt,
            "target_ids": [int(each) for each in ids if not pd.isna(each)],
            "direction": self.direction,
            "part": self.part,
            "within": self.page.ask("scaling.places", part=self.part)["within"].tolist(),
        }

    @property
    def beside_chance(self) -> dict[str, Any]:
        """What the foot is told: whose state is put into whose run, at which token, and the target.
        Of what a part adds there are no draws."""
        if self.part != "stream":
            return {}
        both = (self.page, self.other)
        of, into = both if self.direction == "restore" else both[::-1]
        ids = (self.facts[name] for name in ("target_id", "against_id"))
        target, against = (None if pd.isna(each) else int(each) for each in ids)
        at = min(st.session_state.get("at", self.first), self.page.n_tokens - 1)
        told = {"position": at, "target_id": target, "against_id": against, "other": into.prompt}
        return {"of": of, **told}

    def whole(self, cells: pd.DataFrame, rows: str = "layer") -> pd.DataFrame:
        """The cells of layers, or of heads, with those that can change nothing (not `matters`) and
        labels."""
        numbers = range(int(cells[rows].min()), int(cells[rows].max()) + 1)
        places = pd.MultiIndex.from_product([numbers, range(self.page.n_tokens)])
        known = cells.assign(matters=True).set_index([rows, "position"])
        frame = known.reindex(places.set_names([rows, "position"])).reset_index()
        frame["matters"] = frame["matters"].eq(True)
        labels = self.labels
        return frame.assign(label=[labels[p] for p in frame["position"]], mark="")


def choose_patch(page: Page, place: DeltaGenerator, part: Part | None = None) -> Patch | None:
    """One row of controls; the address keeps all of them. None where the two prompts cannot be
    patched, which is said, with pairs that can. `part`: where there is no choice of it. On a phone
    they stand below the figure: layout.css."""
    with place, st.container(key="edit"):
        which, way, what, follow = st.columns([5, 3, 4, 3], vertical_alignment="bottom")
        text = second_prompt(page, which)
        direction = one_of(way, "Direction", DIRECTIONS, key="direction")
        chosen: Part = part or one_of(what, "Part", PARTS, key="part")
        return _patch(page, text, direction, chosen, follow)


def _patch(
    page: Page, text: str, direction: str, part: Part, follow: DeltaGenerator
) -> Patch | None:
    if not text:
        count = "1 token" if page.n_tokens == 1 else f"{page.n_tokens} tokens"
        _offer_pairs(f"Write a second prompt of {count}, as many as this one has, or take a pair.")
        return None
    try:
        other = page.beside(prompt=text)
        followed = _followed(page, other, follow)
        trouble = page.ask("patching.doctor", other=text).to_dict("records")
        if trouble:
            _offer_pairs(trouble[0]["message"])
            return None
        facts = page.ask("patching.facts", other=text, **followed).to_dict("records")[0]
    except StrataError as error:
        _offer_pairs(str(error))
        return None
    asked = {"other": text, "direction": direction, **followed}
    return Patch(page, other, direction, part, facts, asked)


def _offer_pairs(why: str) -> None:
    """Why two prompts cannot be patched, and a pair of each purpose that can."""
    style.say("warning", why, "second")
    with st.container(horizontal=True, gap="small"):
        for name in {pair.purpose: pair.name for pair in reversed(PAIRS)}.values():
            st.button(_TITLES[name], on_click=_take, args=(name,), key=f"take_{name}")


def _take(name: str) -> None:
    st.session_state["pair"] = name
    sidebar.take_prompt(BY_NAME[name].clean)


def second_prompt(page: Page, place: DeltaGenerator) -> str:
    """The text of a curated pair's other prompt, or the learner's own; "" while there is none.

    A pair is of two prompts, so that choosing one changes the page's as well.
    """
    state = st.session_state
    fit = [pair.name for pair in PAIRS if page.prompt in (pair.clean, pair.other)]
    wanted = state.get("pair", st.query_params.get("pair"))
    if wanted is None and "second_text" in st.query_params:
        wanted = _OWN
    if wanted != _OWN and wanted not in fit:  # the prompt is another one than the pair's
        wanted = fit[0] if fit else _OWN
    state["pair"] = wanted

    def take() -> None:
        pair = BY_NAME.get(state["pair"])
        if pair is not None and page.prompt not in (pair.clean, pair.other):
            sidebar.take_prompt(pair.clean)

    chosen = place.selectbox(
        "Pair of prompts",
        list(_TITLES),
        format_func=_TITLES.__getitem__,
        key="pair",
        on_change=take,
        bind="query-params",
    )
    if chosen == _OWN:
        return own_prompt(place)
    pair = BY_NAME[chosen]
    return pair.other if page.prompt == pair.clean else pair.clean


def _followed(page: Page, other: Page, place: DeltaGenerator) -> dict[str, Any]:
    """The target's token ids, as views take them; of the usual choice none, so that a lesson's
    question is about the same numbers."""
    with place.popover("Target", icon=":material/target:", width="stretch"):
        box = st.container()
        kind = one_of(box, "Follow the logit of", _FOLLOW, key="follow")
        target = choose_token(page, box)
        if kind == "word":
            return {"target_id": target.token_id, "against_id": None}
        against = choose_against(other, box, target)
    if target.is_top and against.is_top:
        return {"target_id": None, "against_id": None}
    return {"target_id": target.token_id, "against_id": against.token_id}
