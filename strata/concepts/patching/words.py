"""What the figures of patched runs say, in one computed sentence each.

A is the page's own prompt and its run, B the other. To restore, states of A are put into the run of
B; to corrupt, states of B into the run of A. A cell that moves the answer says that both runs
differ there and that later blocks read it, never that the answer is kept there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from strata.concepts.patching.tables import SAME
from strata.display.tokens import display_candidate, listed, part_of

PARTS = {"stream": "stream", "attn": "attention writes", "mlp": "MLP writes"}
FAINT = 0.1  # a share of less than this is called hardly anything
NAMED = 3  # parts of the model that a sentence names at most
LATE = 0.5  # of what a straight effect does in the first tenth of the way
CLOSE = 1.0  # logits: of a smaller difference between both runs shares make much
STRAIGHT = 0.1  # as a share of the gap between both runs: an estimate so far off has failed
_SAME = 0.05  # as a share of the gap, or of the largest effect: no further apart is the same


def moved(direction: str) -> str:
    """What a share is a share of, in a word or two."""
    return "Share restored" if direction == "restore" else "Share corrupted"


def quantity(name: str, facts: Mapping[str, Any], direction: str) -> tuple[str, str]:
    """What a map's colours are: for a legend, and for a title."""
    if name == "kl":
        source = _runs(direction)[0]
        return f"KL to {source} (nats)", f"KL divergence to the prediction of {source}"
    if name == "value":
        return "Logits", f"{noun(facts).capitalize()} of {followed(facts)}"
    return moved(direction), f"{moved(direction)} of {followed(facts)}"


def put(direction: str, part: str) -> str:
    """What is put where."""
    source, run = _runs(direction)
    return f"{source}'s {PARTS[part]} put into the run of {run}"


def followed(facts: Mapping[str, Any]) -> str:
    """What the target is, for titles: a word, or a word less another."""
    return " − ".join(_target(facts))


def _quoted(facts: Mapping[str, Any]) -> str:
    """The same in a sentence."""
    return " − ".join(f"“{each}”" for each in _target(facts))


def _target(facts: Mapping[str, Any]) -> list[str]:
    names = ["target"] if pd.isna(facts["against_id"]) else ["target", "against"]
    return [display_candidate(str(facts[name])) for name in names]


def noun(facts: Mapping[str, Any]) -> str:
    """What the number is that a patch moves."""
    return "logit" if pd.isna(facts["against_id"]) else "logit difference"


def gap(facts: Mapping[str, Any]) -> float:
    """How far apart both runs are, in logits of the target."""
    return abs(float(facts["clean_value"]) - float(facts["other_value"]))


def runs_reading(facts: Mapping[str, Any]) -> str:
    """One sentence on both runs as they are: where they part, and what each makes of the target."""
    clean, other = float(facts["clean_value"]), float(facts["other_value"])
    tops = [f"“{display_candidate(str(facts[name]))}”" for name in ("clean_top", "other_top")]
    said = f"A says {tops[0]} and B says {tops[1]}"
    if tops[0] == tops[1]:
        said = f"A and B both say {tops[0]}"
    n_same = int(facts["first"])
    same = {0: "they part at the first token", 1: "they part after their first token"}.get(
        n_same, f"they part after their first {n_same} tokens"
    )
    little = " (hardly apart, so shares exaggerate)" if 0 < gap(facts) < CLOSE else ""
    return (
        f"{said}; the {noun(facts)} of {_quoted(facts)} is {_logits(clean)} in A and "
        f"{_logits(other)} in B{little}; {same}."
    )


def map_reading(
    cells: pd.DataFrame, facts: Mapping[str, Any], direction: str, part: str, shown: list[str]
) -> str:
    """On a whole map: of the stream at which token the share is largest, layer by layer; of writes,
    where a share is largest of either sign; of both, what goes most the other way. `shown`: the
    tokens of A as they are shown."""
    known = cells[cells["share"].notna()]
    if known.empty:
        return (
            f"Both runs give {_quoted(facts)} the same {noun(facts)}, so there is no difference "
            "that a patch could move."
        )
    if part != "stream":
        return f"With {put(direction, part)}, {_of_writes(known, direction, shown)}"
    source, run = _runs(direction)
    does = "restores" if direction == "restore" else "corrupts"
    said = f"Of {source}'s stream put into the run of {run}, {_of_stream(known, does, shown)}"
    low = known.loc[known["share"].idxmin()]
    if low["share"] > -FAINT:
        return said
    return (
        f"{said} Most the other way goes layer {low['layer']:.0f}, "
        f"{_token(shown, int(low['position']))}: a share of {_share(low['share'])}."
    )


def _of_stream(known: pd.DataFrame, does: str, shown: list[str]) -> str:
    whole = known.loc[known.groupby("layer")["share"].idxmax()].sort_values("layer")
    best = whole[whole["share"] >= FAINT]  # of less, or of a harm, no token leads
    if best.empty:
        return f"no token's state alone {does} as much as a tenth."
    layers, leaders = best["layer"].tolist(), best["position"].tolist()
    first, final = leaders[0], leaders[-1]
    faint, every = len(whole) - len(best), "at every layer"
    left = ""
    if faint:
        every = "wherever one does a tenth or more"
        left = f"; left out: {part_of(faint, len(whole), 'layer')}, where none does a tenth"
    if set(leaders) == {first}:
        return (
            f"{_token(shown, first)} {does} most {every}: there the runs differ, and what comes "
            f"later reads it{left}."
        )
    until = next(i for i, each in enumerate(leaders) if each != first)
    since = len(leaders) - next(i for i, each in enumerate(leaders[::-1]) if each != final)
    upto = f"up to layer {layers[until - 1]}" if until > 1 else f"at layer {layers[0]}"
    above = (
        f"from layer {layers[since]} on" if since < len(leaders) - 1 else f"at layer {layers[-1]}"
    )
    between = ""
    if since > until:
        lead = sorted({*leaders[until:since]} - {first, final})
        names = [_token(shown, each) for each in lead[:NAMED]]
        between = (
            ", with others between"
            if not names or len(lead) > NAMED
            else (f", and between them {listed(names)} lead" + "s" * (len(names) == 1))
        )
    return (
        f"{_token(shown, first)} {does} most {upto} and {_token(shown, final)} {above}{between}: "
        f"where both runs differ and what comes later still reads it{left}."
    )


def _of_writes(known: pd.DataFrame, direction: str, shown: list[str]) -> str:
    top, against = _farthest(known)

    def at(row: pd.Series) -> str:
        return f"layer {row['layer']:.0f}, {_token(shown, int(row['position']))}"

    if abs(top["share"]) < FAINT:
        return (
            f"no single cell moves as much as a tenth of the difference; the most is "
            f"{_share(top['share'])}, at {at(top)}."
        )
    much = int((known["share"].abs() >= FAINT).sum())
    other = ""
    if against is not None:
        other = f", and the most the other way {_share(against['share'])}, at {at(against)}"
    return (
        f"the most is a share of {_share(top['share'])}{_away(top, direction)}, at {at(top)}"
        f"{other}; {part_of(much, len(known), 'cell')} move{'s' * (much == 1)} a tenth or more."
    )


def farthest(known: pd.DataFrame) -> int:
    """The row of a map that moves the target most, whichever way."""
    return int(known["share"].abs().idxmax())


def _farthest(known: pd.DataFrame) -> tuple[pd.Series, pd.Series | None]:
    """That row, and the one that moves the target most the other way; None where none does so by a
    tenth."""
    top = known.loc[farthest(known)]
    other = known.loc[known["share"].idxmin() if top["share"] > 0 else known["share"].idxmax()]
    opposite = top["share"] * other["share"] < 0 and abs(other["share"]) >= FAINT
    return top, other if opposite else None


def _away(row: pd.Series, direction: str) -> str:
    """What a negative share means."""
    return f" (further from {_runs(direction)[0]})" if row["share"] < 0 else ""


def cell_reading(
    cells: pd.DataFrame,
    facts: Mapping[str, Any],
    direction: str,
    layer: int,
    position: int,
    shown: list[str],
) -> str:
    """One sentence on one cell of a map."""
    where = f"Layer {layer}, {_token(shown, position)}"
    here = cells[(cells["layer"] == layer) & (cells["position"] == position)]
    if here.empty:
        return f"{where}: a cell that can change nothing, so it was not computed."
    row = here.iloc[0]
    before, source = ends(facts, direction)
    said = (
        f"{where}: the {noun(facts)} of {_quoted(facts)} goes from {_logits(before)} to "
        f"{_logits(row['value'])}"
    )
    if pd.isna(row["share"]):
        return f"{said}."
    return (
        f"{said}, where the run that it comes from has {_logits(source)}: a share of "
        f"{_share(row['share'])}."
    )


def unread(cells: pd.DataFrame, before: float) -> str:
    """A note where of a map's highest layer no write but the last token's moves the target, which
    is `before` in the run that is edited: only a block that attends once more reads others."""
    top = cells[cells["layer"] == cells["layer"].max()]
    others = top["value"][top["position"] < top["position"].max()]
    if others.empty or (others - before).abs().max() > SAME:
        return ""
    return f"of layer {top['layer'].iloc[0]} only the last token's write moves anything"


def estimate_reading(both: pd.DataFrame, facts: Mapping[str, Any], shown: list[str]) -> str:
    """One sentence on the gradient's estimate beside the exact map. `both`: a row for each cell,
    with layer, position, exact and estimate, effects in logits."""
    off = (both["estimate"] - both["exact"]).abs()
    worst = both.loc[off.idxmax()]
    wrong = int((off > STRAIGHT * gap(facts)).sum())
    return (
        f"{_alike(both)}In {part_of(wrong, len(both), 'cell')} it is off by more than a tenth of "
        f"the difference between both runs; most at layer {worst['layer']:.0f}, "
        f"{_token(shown, int(worst['position']))}: {_logits(worst['estimate'], '+')} instead of "
        f"{_logits(worst['exact'], '+')}."
    )


def _alike(both: pd.DataFrame) -> str:
    exact, estimate = both["exact"].to_numpy(float), both["estimate"].to_numpy(float)
    if len(both) < 3 or not exact.std() or not estimate.std():
        return ""
    correlation = float(np.corrcoef(exact, estimate)[0, 1])
    return f"Estimate and exact effect correlate by {_share(correlation)}. "


def failures_reading(
    frame: pd.DataFrame, facts: Mapping[str, Any], direction: str, shown: list[str]
) -> str:
    """Where the gradient's estimate fails most, and why, of `failures`: a sentence for each token
    and reason, a line each."""
    before = ends(facts, direction)[0]
    rows = frame.assign(
        exact=frame["exact"] - before,
        estimate=frame["estimate"] - before,
        why=[_why(row) for row in frame.to_dict("records")],
    )
    lines = []
    for (position, why), some in rows.groupby(["position", "why"], sort=False):
        layers = sorted(int(layer) for layer in some["layer"])
        where = f"layer{'s' * (len(layers) > 1)} {listed([str(layer) for layer in layers])}"
        tenth = f"{_share(some['at_tenth'].median() / 10)}"
        lines.append(
            f"At {_token(shown, int(position))}, {where}: {_range(some['estimate'])} by the "
            f"gradient, {_range(some['exact'])} in truth; {why.replace('TENTH', tenth)}."
        )
    return "\n".join(lines)


def _why(row: Mapping[str, Any]) -> str:
    cause, tenth = row["cause"], row["at_tenth"]
    if cause == "sink":
        part = "first tenth of the way does TENTH of the effect (straight: 0.10)"
        part = "whole way does next to nothing" if pd.isna(tenth) else part
        return f"the token is an attention sink, and the {part}"
    if cause == "turns":
        return "the effect turns round on the way from one state to the other"
    if pd.isna(tenth) or (tenth < 1) != (cause == "flat"):
        return "the effect bends on the way from one state to the other"
    if cause == "flat":
        late = "the effect grows late (the first tenth of the way does TENTH of it)"
        return f"{late}, as where a softmax is saturated" if tenth < LATE else late
    return "the effect levels off (the first tenth of the way does TENTH of it)"


def _range(values: pd.Series) -> str:
    low, high = (_logits(values[i], "+") for i in (values.abs().idxmin(), values.abs().idxmax()))
    return low if low == high else f"{low} to {high}"


def two_reading(
    row: Mapping[str, Any],
    facts: Mapping[str, Any],
    cells: list[list[int]],
    shown: list[str],
    part: str = "stream",
) -> str:
    """One sentence on two cells patched together, of `both`: is the effect the sum, or that of one
    alone? A cause is told only where arithmetic gives it."""
    one, two, both = (row[name] - row["unpatched"] for name in ("first", "second", "both"))
    names = [f"layer {layer}, {_token(shown, position)}" for layer, position in cells]
    said = (
        f"Alone they move the {noun(facts)} by {_logits(one, '+')} ({names[0]}) and "
        f"{_logits(two, '+')} ({names[1]}), together by {_logits(both, '+')}"
    )
    total, alone = one + two, max(abs(one), abs(two))
    least = _SAME * max(gap(facts), alone, abs(both))
    sum_ = _logits(total, "+")
    as_one, as_two = (abs(both - each) <= least for each in (one, two))
    if min(abs(one), abs(two)) <= least:
        if max(alone, abs(both)) <= least:
            return f"{said}: next to nothing each time."
        leads, other = ("first", "second") if abs(one) > abs(two) else ("second", "first")
        if as_one if leads == "first" else as_two:
            return f"{said}, as the {leads} alone: by itself the {other} moves next to nothing."
    elif as_one or as_two:
        later = _later(cells) if part == "stream" else ""
        takes = "takes the place of what the other led to there"
        if as_one and as_two:
            why = f"the {later} {takes}" if later else "what one brings, the other has brought"
            return f"{said}, as each of them alone, not by their sum {sum_}: {why}."
        leads = "first" if as_one else "second"
        why = f": it {takes}" if later == leads else ", beside which the other changes nothing"
        return f"{said}, not by their sum {sum_} but as the {leads} alone{why}."
    elif abs(both - total) <= least:
        return f"{said}: the sum of both, so beside the other each does what it does alone."
    elif one * two > 0 and one * both > 0 and abs(both) > alone:
        if abs(both) < abs(total):
            return f"{said}, not as far as their sum {sum_}: beside the other each does less."
        return f"{said}, further than their sum {sum_}: beside the other each does more."
    return f"{said}; their sum would be {sum_}."


def _later(cells: list[list[int]]) -> str:
    """Which of two cells of the stream lies on the ways from the other: "first", "second", or ""
    for neither."""
    (layer, position), (above, behind) = cells
    if above > layer and behind >= position:
        return "second"
    return "first" if above < layer and behind <= position else ""


def heads_reading(
    heads: pd.DataFrame, facts: Mapping[str, Any], direction: str, block: int, shown: list[str]
) -> str:
    """One sentence on the heads of one block, of `heads`."""
    known = heads[heads["share"].notna()]
    if known.empty:
        return (
            f"Both runs give {_quoted(facts)} the same {noun(facts)}: no attention head can "
            "move it."
        )
    top, against = _farthest(known)
    source, run = _runs(direction)
    said = (
        f"Of block {block}'s attention heads, which write into layer {block + 1}, put from "
        f"{source} into {run} one at a time,"
    )

    def at(row: pd.Series) -> str:
        return f"attention head {row['head']:.0f} at {_token(shown, int(row['position']))}"

    share = _share(top["share"])
    if abs(top["share"]) < FAINT:
        return f"{said} none moves a tenth of the difference; the most is {share}, {at(top)}."
    other = ""
    if against is not None:
        other = f"; most the other way {at(against)}, {_share(against['share'])}"
    return f"{said} {at(top)} moves most: a share of {share}{_away(top, direction)}{other}."


def _runs(direction: str) -> tuple[str, str]:
    """The run that states are taken from, and the one that they are put into."""
    return ("A", "B") if direction == "restore" else ("B", "A")


def ends(facts: Mapping[str, Any], direction: str) -> tuple[float, float]:
    """The target in the run that is edited, and in the one whose states are put in."""
    clean, other = float(facts["clean_value"]), float(facts["other_value"])
    return (other, clean) if direction == "restore" else (clean, other)


def _token(shown: list[str], position: int) -> str:
    return f"“{shown[position]}” (position {position})"


def _logits(value: float, sign: str = "") -> str:
    return f"{value:{sign}z.2f}".replace("-", "−")


def _share(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")
