"""What the figures of the Jacobian lens say of a run, in computed sentences.

A grid or a curve is of a kind: "jacobian", "logit" (the identity in the place of J) or "random"
(the same model with random blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts.target import TargetId, times_as_likely
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
NEEDS_NONE = "the beam of a word needs none"  # said where there is no lens, and a beam
WHY_RANDOM = (
    "What the same model scores with random numbers in all matrices of its blocks: only what is "
    "above it was learnt. They are read through the same passages, which takes as long again."
)


def what(facts: Mapping[str, Any]) -> str:
    """What the lens is, and how it differs from two others. `facts`: the row of `about`."""
    return (
        "The logit lens gives a state to the final norm and the head as it is: its J is the "
        "identity. The Jacobian lens first multiplies it by J of its layer, how the last layer's "
        "states move when a state of that layer moves, on average over "
        f"{_some(facts['n_texts'], 'text')}. A tuned lens is fitted to imitate what the model "
        "says at the end; J is computed from how the blocks work and never sees an answer."
    )


def lens_reading(jacobian: pd.DataFrame, logit: pd.DataFrame, layer: int, position: int) -> str:
    """Three sentences on the grids of both lenses: what each names at a cell, from which layer on
    each puts the model's answer first at that position, and in how many cells they name the same
    token."""
    position = _within(jacobian, position)
    cells = with_shown(jacobian[jacobian["position"] == position]).sort_values("layer")
    where = f"after “{cells['shown'].iloc[0]}” (position {position})"
    named = [_first(frame, layer, position) for frame in (jacobian, logit)]
    each = f"the Jacobian lens names {named[0]} {where} and the logit lens {named[1]}"
    if named[0] == named[1]:
        each = f"both lenses name {named[0]} {where}"
    answer = f"“{display_candidate(cells['predicted'].iloc[-1])}”, the model's answer,"
    ways = [_since(frame, position) for frame in (jacobian, logit)]
    leads = f"{answer} leads by the Jacobian lens {ways[0]} and by the logit lens {ways[1]}."
    if ways[0] == ways[1]:
        leads = f"{answer} leads by both lenses {ways[0]}."
    return f"At layer {layer} {each}. {leads} {same_cells(jacobian, logit, 'Both')}"


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


def way_of(followed: pd.DataFrame, target_id: TargetId) -> pd.DataFrame:
    """Of `followed`: the rows of a target, of a pair those of its difference."""
    if isinstance(target_id, tuple):
        return followed[followed["other"] != ""]
    return followed[(followed["token_id"] == target_id) & (followed["other"] == "")]


def followed_reading(
    jacobian: pd.DataFrame, logit: pd.DataFrame, target_id: TargetId, position: int
) -> str:
    """One sentence on a target followed through the layers by both lenses: its best rank below the
    last layer by each. Of a pair two: the difference at the end, and from which layer on who is
    ahead there is so by each."""
    found = [way_of(way, target_id) for way in (jacobian, logit)]
    if isinstance(target_id, tuple):
        return _pair_reading(found, position)
    ways = [way.astype({"rank": int}) for way in found]
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


def _pair_reading(ways: Sequence[pd.DataFrame], position: int) -> str:
    """Of the rows of a difference by the Jacobian lens and by the logit lens."""
    ways = [way.sort_values("layer") for way in ways]
    a, b = (display_candidate(ways[0][name].iloc[0]) for name in ("predicted", "other"))
    last, end = int(ways[0]["layer"].iloc[-1]), float(ways[0]["logit"].iloc[-1])
    said = (
        f"At layer {last}, where both lenses are the model itself, the log-probability of “{a}” "
        f"minus that of “{b}” is {digits(end)} nats at position {position}: "
        f"{times_as_likely(end, a, b)}."
    )
    if not end:
        return said
    since = [
        _for_good(way["layer"].to_numpy(), np.sign(way["logit"].to_numpy(float)) == np.sign(end))
        for way in ways
    ]
    by = f"by the Jacobian lens {since[0]} and by the logit lens {since[1]}"
    by = f"by both lenses {since[0]}" if since[0] == since[1] else by
    return f"{said} “{a if end > 0 else b}” is ahead {by}."


def controls_reading(
    jacobian: pd.DataFrame, others: Mapping[str, pd.DataFrame], layer: int, position: int
) -> str:
    """On the controls of a grid: what each names at a cell, and how often random blocks, where a
    lens was fitted to them, and the identity name what the Jacobian lens names. `others`: their
    grids by kind."""
    position = _within(jacobian, position)
    shown = with_shown(jacobian[jacobian["position"] == position])["shown"].iloc[0]
    named = {kind: _first(frame, layer, position) for kind, frame in others.items()}
    here = (
        f"At layer {layer} after “{shown}” (position {position}) the Jacobian lens names "
        f"{_first(jacobian, layer, position)}"
    )
    floor = same_cells(jacobian, others["logit"], "The logit lens and the Jacobian lens")
    if "random" not in others:
        return f"{here} and the logit lens {named['logit']}. {floor}"
    random = same_cells(jacobian, others["random"], "Random blocks and the Jacobian lens")
    return (
        f"{here}, random blocks {named['random']} and the logit lens {named['logit']}. {random} "
        f"{floor} What random blocks say too was not learnt."
    )


def random_blocks(refusal: str, target: str) -> str:
    """How random blocks are read where no lens was fitted to them. `refusal` says so, and what fits
    one; `target`: a word as titles have it."""
    return (
        f"The same model with random blocks is another model, with a J of its own. {refusal} Here "
        f"is that of {target}, for both. Where random blocks score as high, nothing that was "
        "learnt is needed for it."
    )


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
    known = bool(last["halves"].notna().all())
    if len(last) == 1:
        both = f"; one half of the texts and the other agree to {_cosine(top)}" if known else ""
        return f"{said}{both}."
    said += (
        f", the most, and that of layer {low['layer']:.0f} by {percent(low['change'])}, the least."
    )
    if not known:
        return said
    best, worst = (last.loc[last["halves"].agg(name)] for name in ("idxmax", "idxmin"))
    return (
        f"{said} J from one half of the texts and from the other agree best at layer "
        f"{best['layer']:.0f}, to {_cosine(best)}, and worst at layer {worst['layer']:.0f}, to "
        f"{_cosine(worst)}."
    )


def beam_reading(
    beams: pd.DataFrame, target: Sequence[str], shown: Sequence[str], layer: int, position: int
) -> str:
    """Two sentences on the beam of a word: at a layer the token whose state is disposed to it most,
    and at one cell the score beside both controls. `target`: the word, or two of which the second
    is taken off."""
    word = " minus ".join(f"“{each}”" for each in target)
    at = beams[(beams["kind"] == "jacobian") & (beams["layer"] == layer)]
    best = at.loc[at["score"].idxmax()]
    said = (
        f"At layer {layer} the state of “{shown[int(best['position'])]}” (position "
        f"{best['position']:.0f}) has the highest score for {word}, {digits(best['score'])}."
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
    whether it is apart from that of random blocks."""
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
    return (
        f"{said}; its interval and that of random blocks overlap, so only more passages can tell "
        "them apart."
    )


def so_far(read: int, of: int) -> str:
    """What is said of curves that still sharpen, or that lack random blocks only."""
    if read == of:
        return f"After {_some(read, 'passage')}; random blocks are read next."
    return f"After {_some(read, 'passage')} of {of:,}."


def _cell(beams: pd.DataFrame, layer: int, position: int) -> dict[str, pd.Series]:
    """The rows of one cell by kind."""
    rows = beams[(beams["layer"] == layer) & (beams["position"] == position)]
    return {str(row["kind"]): row for _, row in rows.iterrows()}


def _since(frame: pd.DataFrame, position: int) -> str:
    """From which layer on the last layer's first token leads at a position."""
    cells = frame[frame["position"] == position].sort_values("layer")
    leads = cells["token_id"].to_numpy()
    return _for_good(cells["layer"].to_numpy(), leads == leads[-1])


def _for_good(layers: NDArray[np.int64], leads: NDArray[np.bool_]) -> str:
    """From which of some layers on it leads, as it does at the last."""
    others = np.flatnonzero(~leads)
    if not len(others):
        return f"at every layer from {layers[0]} to {layers[-1]}"
    first = layers[others[-1] + 1]
    if first == layers[-1]:
        return f"at layer {first} only, the very last"
    return f"for good from layer {first} of {layers[-1]} on"


def _first(frame: pd.DataFrame, layer: int, position: int) -> str:
    """What a grid names at a cell, in quotes."""
    cells = frame[(frame["layer"] == layer) & (frame["position"] == position)]
    return f"“{display_candidate(cells['predicted'].iloc[0])}”"


def _within(frame: pd.DataFrame, position: int) -> int:
    """The position if it is drawn, else the last that is."""
    drawn = set(frame["position"])
    return position if position in drawn else int(max(drawn))


def _cosine(row: pd.Series) -> str:
    return f"a cosine of {fixed(row['halves'], 2)}"


def _some(count: float, noun: str) -> str:
    number = int(count)
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"
