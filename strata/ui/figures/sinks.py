"""What pages do about attention sinks, which would rule a figure: leave them out, and say which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
from streamlit.delta_generator import DeltaGenerator

from strata.charts.grid import Scale, scale_for
from strata.concepts.sinks import note
from strata.display.terms import TERMS
from strata.ui.anatomy.page import Page
from strata.ui.figures.grid import Controls


def show_sinks(page: Page, key: str, place: DeltaGenerator, *, ever_some: bool = False) -> bool:
    """A switch by which attention sinks are shown too, and which tokens they are. `ever_some`:
    where all tokens are sinks, the figure shows them all the same."""
    shown = place.toggle(
        "Show attention sinks too", key=key, bind="query-params", help=TERMS["attention sink"]
    )
    some = not ever_some or len(page.ask("hidden_states.sinks")) < page.n_tokens
    place.text(told(page, left_out=not shown and some))
    return bool(shown)


def told(page: Page, *, left_out: bool) -> str:
    """Which tokens of the prompt are sinks, in a sentence."""
    return note(page.ask("hidden_states.sinks"), page.all_shown, left_out=left_out)


def left_out(page: Page, hidden: bool, *others: str) -> str:
    """What a figure leaves out in which attention sinks are hidden, besides `others`."""
    n_sinks = len(page.ask("hidden_states.sinks"))
    some = hidden and 0 < n_sinks < page.n_tokens
    sinks = f"without {n_sinks:,} attention sink" + "s" * (n_sinks > 1) if some else ""
    return "; ".join(filter(None, [*others, sinks]))


def without_sinks(page: Page, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of all other tokens; of a prompt of nothing but sinks all rows."""
    others = frame[~frame["position"].isin(page.ask("hidden_states.sinks")["position"])]
    return others if len(others) else frame


def scales(
    runs: Mapping[str, Page], frames: Mapping[str, pd.DataFrame], seen: Controls
) -> list[Scale]:
    """What background and letters of the lens's grids carry, on the same scale in all of them."""
    skip = [
        () if seen.with_sinks else tuple(run.ask("hidden_states.sinks")["position"])
        for run in runs.values()
    ]
    found = [
        scale_for(list(frames.values()), each, runs[""].about["d_vocab"], skip)
        for each in (seen.back, seen.front)
    ]
    pair = f"{seen.target.named} (nats)" if seen.target.minus else ""
    return [replace(each, name=pair) if each.quantity == "target_logit" else each for each in found]
