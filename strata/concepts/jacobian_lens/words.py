"""What the figures of the Jacobian lens say of a run, in computed sentences.

A grid or a curve is of a kind: "jacobian", "logit" (the identity in the place of J) or "random"
(the same model with random blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from strata.display.tokens import (
    digits,
    display_candidate,
    fixed,
    part_of,
    percent,
    with_shown,
)

CURVES = {
    "jacobian": "Jacobian lens",
    "logit": "logit lens, J = identity",
    "random": "random blocks",
}
SCORE = "Score (logits)"
LEVEL = "95%"  # of an interval


def what(facts: Mapping[str, Any]) -> str:
    """What the lens is, and how it differs from two others. `facts`: the row of `about`."""
    return (
        "The logit lens gives a state to the final norm and the head as it is: its J is the "
        "identity. The Jacobian lens first multiplies it by J of its layer, how the last layer's "
        "states move when a state of that layer moves, on average over "
        f"{_some(facts['n_texts'], 'text')}. A tuned lens is fitted to imitate what the model "
        "says at the end; J is computed from how the blocks work and never sees an answer."
    )


def lens_reading(jacobian: pd.DataFrame, logit: pd.DataFrame, position: int) -> str:
    """Two sentences on the grids of both lenses: from which layer on each puts the model's answer
    first at a position, and in how many cells they name the same token."""
    position = _within(jacobian, position)
    cells = with_shown(jacobian[jacobian["position"] == position]).sort_values("layer")
    answer = f"“{display_candidate(cells['predicted'].iloc[-1])}”"
    where = f"after “{cells['shown'].iloc[0]}” (position {position})"
    ways = [_since(frame, position) for frame in (jacobian, logit)]
    said = (
        f"{answer}, the model's answer {where}, leads by the Jacobian lens {ways[0]} and by the "
        f"logit lens {ways[1]}."
    )
    if ways[0] == ways[1]:
        said = f"{answer}, the model's answer {where}, leads by both lenses {ways[0]}."
    return f"{said} {same_cells(jacobian, logit, 'Both')}"


def same_cells(one: pd.DataFrame, other: pd.DataFrame, who: str) -> str:
    """One sentence: in how many cells two grids name the same first token, without the last layer,
    where they cannot differ. `who`: its beginning."""
    same = agreement(one, other)
    below = same[same.index.get_level_values("layer") < one["layer"].max()]
    inside = part_of(int(below.sum()), len(below), "cell")
    return f"{who} name the same first token in {inside} below the last layer."


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    """Whether two grids name the same first token, by layer and position."""
    first = [f.set_index(["layer", "position"])["token_id"] for f in (one, other)]
    both = pd.concat(first, axis=1, keys=["one", "other"]).dropna().sort_index()
    return both["one"] == both["other"]


def alike(jacobian: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """For each of some other grids and each layer the share of positions at which it names the same
    first token as the Jacobian lens: kind, layer, value, low, high (missing)."""
    parts = [
        agreement(jacobian, other).groupby(level="layer").mean().rename("value").reset_index()
        for other in others.values()
    ]
    frames = [part.assign(kind=kind) for kind, part in zip(others, parts, strict=True)]
    return pd.concat(frames, ignore_index=True).assign(low=np.nan, high=np.nan)


def difference_reading(frame: pd.DataFrame, position: int) -> str:
    """Two sentences on `difference`: at which layer both lenses are furthest apart at a position,
    and in how many cells they name the same token."""
    position = _within(frame, position)
    last = frame["layer"].max()
    here = frame[frame["position"] == position]
    most = here.loc[here["kl"].idxmax()]
    below = frame[frame["layer"] < last]
    alike = part_of(int(below["same"].sum()), len(below), "cell")
    both = f"Both name the same first token in {alike} below the last layer."
    if most["kl"] <= 0:
        return f"Both lenses say the same at every layer of position {position}. {both}"
    names = [f"“{display_candidate(most[name])}”" for name in ("risen", "jacobian", "logit")]
    first = f"names {names[1]} and the logit lens {names[2]}"
    if most["same"]:
        first = f"names {names[1]} as the logit lens does"
    return (
        f"At position {position}, layer {most['layer']:.0f}, both are furthest apart, by "
        f"{digits(most['kl'])} nats: there the Jacobian lens {first}, and it raises {names[0]} "
        f"most, by {percent(most['by'])}. {both}"
    )


def apart(jacobian: pd.DataFrame, difference: pd.DataFrame) -> pd.DataFrame:
    """The cells of a grid with what `difference` says of them in their place: predicted, the token
    that the Jacobian lens raises most; by, how much; top, in words; and final_id such that those
    are marked in which both lenses name the same token."""
    keys = ["layer", "position"]
    rows = jacobian[[*keys, "token", "shown", "norm"]].merge(
        difference.drop(columns="token"), on=keys
    )
    lines = [
        f"Jacobian lens {display_candidate(row.jacobian)}\nlogit lens "
        f"{display_candidate(row.logit)}\nraises {display_candidate(row.risen)} by {row.by:.1%}\n"
        f"KL {row.kl:.2f} nats"
        for row in rows.itertuples()
    ]
    same = rows["risen_id"].where(rows["same"], -1)
    return rows.assign(
        predicted=rows["risen"], token_id=rows["risen_id"], final_id=same, top=lines, other=""
    )


def followed_reading(
    jacobian: pd.DataFrame, logit: pd.DataFrame, target_id: int, position: int
) -> str:
    """One sentence on a target followed through the layers by both lenses: its best rank below the
    last layer by each."""
    ways = [way[way["token_id"] == target_id].astype({"rank": int}) for way in (jacobian, logit)]
    name = f"“{display_candidate(ways[0]['predicted'].iloc[0])}”"
    last = int(ways[0]["layer"].max())
    best = [way[way["layer"] < last] for way in ways]
    tops = [way.loc[way["rank"].idxmin()] for way in best]
    named = [
        f"rank {row['rank']:,.0f} at layer {row['layer']:.0f} by the {lens} lens"
        for row, lens in zip(tops, ("Jacobian", "logit"), strict=True)
    ]
    return (
        f"Below the last layer {name} comes at position {position} at best to {named[0]} and to "
        f"{named[1]}; at layer {last} both are the model's own, rank "
        f"{ways[0]['rank'].iloc[-1]:,.0f}."
    )


def controls_reading(jacobian: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> str:
    """On the controls of a grid: how often random blocks, where a lens was fitted to them, and the
    identity name what the Jacobian lens names. `others`: their grids by kind."""
    floor = same_cells(jacobian, others["logit"], "The logit lens and the Jacobian lens")
    if "random" not in others:
        return floor
    random = same_cells(jacobian, others["random"], "Random blocks and it")
    return f"{floor} {random} What random blocks say too was not learnt."


def settling_reading(steps: pd.DataFrame) -> str:
    """Two sentences on how far a lens has settled. `steps`: the table of
    `convergence`, which has rows."""
    n_texts = int(steps["n_texts"].max())
    last = steps[steps["n_texts"] == n_texts]
    before = max(n for n in (1, *steps["n_texts"]) if n < n_texts)
    top, low = (last.loc[last["change"].agg(name)] for name in ("idxmax", "idxmin"))
    said = (
        f"From {_some(before, 'text')} to {n_texts:,} J of layer {top['layer']:.0f} changed by "
        f"{percent(top['change'])} of its norm"
    )
    if len(last) == 1:
        return f"{said}; one half of the texts and the other agree to {_cosine(top)}."
    best, worst = (last.loc[last["halves"].agg(name)] for name in ("idxmax", "idxmin"))
    return (
        f"{said}, the most, and that of layer {low['layer']:.0f} by {percent(low['change'])}, the "
        f"least. J from one half of the texts and from the other agree best at layer "
        f"{best['layer']:.0f}, to {_cosine(best)}, and worst at layer {worst['layer']:.0f}, to "
        f"{_cosine(worst)}."
    )


def beam_reading(
    beams: pd.DataFrame, target: str, shown: Sequence[str], layer: int, position: int
) -> str:
    """Two sentences on the beam of a word: at a layer the token whose state is disposed to it most,
    and at one cell the score beside both controls."""
    at = beams[(beams["kind"] == "jacobian") & (beams["layer"] == layer)]
    best = at.loc[at["score"].idxmax()]
    said = (
        f"At layer {layer} the state of “{shown[int(best['position'])]}” (position "
        f"{best['position']:.0f}) has the highest score for “{target}”, {digits(best['score'])}."
    )
    here = _cell(beams, layer, position)
    own = here["jacobian"]
    beside = f"the logit lens gives {digits(here['logit']['score'])}"
    if "random" in here:
        random, logit = (digits(here[kind]["score"]) for kind in ("random", "logit"))
        beside = f"random blocks give {random} and the logit lens {logit}"
    interval = ""
    if not pd.isna(own["low"]):
        interval = f" ({LEVEL} interval {digits(own['low'])} to {digits(own['high'])})"
    where = f"“{shown[position]}” (position {position})"
    return f"{said} For {where} it is {digits(own['score'])} there{interval}; {beside}."


def passages_reading(beams: pd.DataFrame, layer: int, position: int) -> str:
    """One sentence on what the interval of a cell allows to say: of which sign its score is, and
    whether it is above that of random blocks."""
    here = _cell(beams, layer, position)
    own, count = here["jacobian"], int(here["jacobian"]["n"])
    if pd.isna(own["low"]):
        return "One passage gives no interval: another one may give another score."
    sure = own["low"] > 0 or own["high"] < 0
    sign = f"it is {'above' if own['low'] > 0 else 'below'} 0" if sure else "the sign is not sure"
    said = f"By {_some(count, 'passage')} {sign} at layer {layer}"
    random = here.get("random")
    if random is None or pd.isna(random["low"]):
        return f"{said}."
    above, below = own["low"] > random["high"], own["high"] < random["low"]
    if above or below:
        side = f"{'it is ' * (not sure)}{'above' if above else 'below'}"
        return f"{said}, and {side} random blocks."
    return f"{said}, and it cannot be told from random blocks."


def so_far(read: int, of: int) -> str:
    """What is said of curves that still sharpen."""
    return f"After {_some(read, 'passage')} of {of:,}."


def _cell(beams: pd.DataFrame, layer: int, position: int) -> dict[str, pd.Series]:
    """The rows of one cell by kind."""
    rows = beams[(beams["layer"] == layer) & (beams["position"] == position)]
    return {str(row["kind"]): row for _, row in rows.iterrows()}


def _since(frame: pd.DataFrame, position: int) -> str:
    """From which layer on the last layer's first token leads at a position."""
    cells = frame[frame["position"] == position].sort_values("layer")
    layers, leads = cells["layer"].to_numpy(), cells["token_id"].to_numpy()
    others = np.flatnonzero(leads != leads[-1])
    if not len(others):
        return f"at every layer from {layers[0]} to {layers[-1]}"
    first = layers[others[-1] + 1]
    if first == layers[-1]:
        return f"at layer {first} only, the very last"
    return f"for good from layer {first} of {layers[-1]} on"


def _within(frame: pd.DataFrame, position: int) -> int:
    """The position if it is drawn, else the last that is."""
    drawn = set(frame["position"])
    return position if position in drawn else int(max(drawn))


def _cosine(row: pd.Series) -> str:
    return f"a cosine of {fixed(row['halves'], 2)}"


def _some(count: float, noun: str) -> str:
    number = int(count)
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"
