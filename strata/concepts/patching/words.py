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

from strata.concepts.patching.read_elsewhere import by_layer
from strata.display.tokens import display_candidate, display_text, listed, part_of, percent

PARTS = {"stream": "stream", "attn": "attention writes", "mlp": "MLP writes"}
FAINT = 0.1  # a share of less than this is called hardly anything
NAMED = 3  # parts of the model that a sentence names at most
LATE = 0.5  # of what a straight effect does in the first tenth of the way
STRAIGHT = 0.1  # as a share of the gap between both runs: an estimate so far off has failed


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
    same = {0: "they part at the first token", 1: "only their first token is the same"}.get(
        n_same, f"their first {n_same} tokens are the same"
    )
    return (
        f"{said}; the {noun(facts)} of {_quoted(facts)} is {_logits(clean)} in A and "
        f"{_logits(other)} in B; {same}."
    )


def map_reading(
    cells: pd.DataFrame, facts: Mapping[str, Any], direction: str, part: str, shown: list[str]
) -> str:
    """One sentence on a whole map: of the stream at which token the share is largest, layer by
    layer; of writes, where it is largest. `shown`: the tokens of A as they are shown."""
    known = cells[cells["share"].notna()]
    if known.empty:
        return (
            f"Both runs give {_quoted(facts)} the same {noun(facts)}, so there is no difference "
            "that a patch could move."
        )
    if part != "stream":
        return f"With {put(direction, part)}, {_of_writes(known, shown)}"
    source, run = _runs(direction)
    does = "restores" if direction == "restore" else "corrupts"
    return f"Of {source}'s stream put into the run of {run}, {_of_stream(known, does, shown)}"


def _of_stream(known: pd.DataFrame, does: str, shown: list[str]) -> str:
    best = known.loc[known.groupby("layer")["share"].idxmax()].sort_values("layer")
    layers, leaders = best["layer"].tolist(), best["position"].tolist()
    first, final = leaders[0], leaders[-1]
    if set(leaders) == {first}:
        return (
            f"{_token(shown, first)} {does} most at every layer: there the runs differ, and "
            "what comes later reads it."
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
        "where both runs differ and what comes later still reads it."
    )


def _of_writes(known: pd.DataFrame, shown: list[str]) -> str:
    top = known.loc[known["share"].idxmax()]
    if top["share"] < FAINT:
        return (
            f"no single cell moves as much as a tenth of the difference; the most is "
            f"{_share(top['share'])}, at layer {top['layer']:.0f}, "
            f"{_token(shown, int(top['position']))}."
        )
    much = int((known["share"] >= FAINT).sum())
    return (
        f"the most is a share of {_share(top['share'])}, at layer {top['layer']:.0f}, "
        f"{_token(shown, int(top['position']))}; {part_of(much, len(known), 'cell')} "
        f"move{'s' * (much == 1)} a tenth or more."
    )


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


def estimate_reading(both: pd.DataFrame, facts: Mapping[str, Any], shown: list[str]) -> str:
    """One sentence on the gradient's estimate beside the exact map. `both`: a row for each cell,
    with layer, position, exact and estimate, effects in logits."""
    far = gap(facts)
    off = (both["estimate"] - both["exact"]).abs()
    worst = both.loc[off.idxmax()]
    wrong = int((off > STRAIGHT * far).sum())
    alike = _alike(both)
    return (
        f"{alike}In {part_of(wrong, len(both), 'cell')} it is off by more than a tenth of the "
        f"difference between both runs; most at layer {worst['layer']:.0f}, "
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
        return (
            "the token is an attention sink, and of a state that large an effect is seldom straight"
        )
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
    row: Mapping[str, Any], facts: Mapping[str, Any], cells: list[list[int]], shown: list[str]
) -> str:
    """One sentence on two cells patched together, of `both`: is the effect the sum?"""
    one, two, both = (row[name] - row["unpatched"] for name in ("first", "second", "both"))
    names = [f"layer {layer}, {_token(shown, position)}" for layer, position in cells]
    said = (
        f"Alone they move the {noun(facts)} by {_logits(one, '+')} ({names[0]}) and "
        f"{_logits(two, '+')} ({names[1]}), together by {_logits(both, '+')}"
    )
    total, far = one + two, gap(facts)
    sum_ = _logits(total, "+")
    if abs(both - total) <= 0.05 * max(far, abs(total), abs(both)):
        return f"{said}: the sum of both, so they act on their own."
    if abs(both) < abs(total):
        return f"{said}, not as far as their sum {sum_}: what one brings, the other has brought."
    return f"{said}, further than their sum {sum_}: beside the other each does more than alone."


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
    top = known.loc[known["share"].idxmax()]
    source, run = _runs(direction)
    said = (
        f"Of block {block}'s attention heads, which write into layer {block + 1}, put from "
        f"{source} into {run} one at a time,"
    )
    where = f"attention head {top['head']:.0f} at {_token(shown, int(top['position']))}"
    share = _share(top["share"])
    if top["share"] < FAINT:
        return f"{said} none moves a tenth of the difference; the most is {share}, {where}."
    return f"{said} {where} moves most: a share of {share}."


def elsewhere_reading(frame: pd.DataFrame, put_in: str, place: str) -> str:
    """On `read_elsewhere`: from which layers' states the text goes on to name the token that was
    put in, or A's own next token, and whether it does so anyway. `put_in`: that token and its
    position, as they are shown; `place`: the token whose state it takes the place of."""
    rows = by_layer(frame)
    row = rows.iloc[0]
    own = f"“{display_candidate(row['next_token'])}”, A's own next token,"
    both = bool(row["control_names_token"]), bool(row["control_names_next"])
    named = {
        (False, False): "which names neither",
        (True, True): "which names both, so naming says nothing here",
        (True, False): "which names the token that was put in, so naming that says nothing here",
        (False, True): "which names A's next token, so naming that says nothing here",
    }[both]
    same = int((rows["continuation"] == rows["control_continuation"]).sum())
    anyway = f" From {part_of(same, len(rows), 'layer')} it goes on just so." if same else ""
    return (
        f"With the state of {put_in} in the place of “{place}”, the text goes on to name that "
        f"token {_from_layers(rows, 'names_token')}, and {own} {_from_layers(rows, 'names_next')}. "
        f"Without it, it goes on “{_written(row['control_continuation'])}”, {named}.{anyway} "
        "To name is to write the same word, whole."
    )


def elsewhere_cell_reading(frame: pd.DataFrame, layer: int, step: int) -> str:
    """On one cell of `read_elsewhere`: a layer's continuation, and a token of it beside the
    control's. Of a step after the end, its last."""
    here = frame[frame["layer"] == layer]
    row = here.iloc[min(step, len(here)) - 1]
    control = "" if pd.isna(row["control_prob"]) else f" ({percent(row['control_prob'])})"
    token = f"“{display_candidate(row['control_token'])}”{control}" if control else "nothing more"
    return (
        f"The state of layer {layer} makes it go on “{_written(row['continuation'])}”; step "
        f"{row['step']} writes “{display_candidate(row['token'])}” ({percent(row['prob'])}), and "
        f"without the state {token}."
    )


def _written(continuation: str) -> str:
    return display_text(continuation, 60)


def _from_layers(rows: pd.DataFrame, column: str) -> str:
    """From which of the layers that are read, in words: "from 6 of 16 layers (0 to 10)"."""
    layers, hits = rows["layer"].tolist(), np.flatnonzero(rows[column])
    if not len(hits):
        return f"from none of {len(layers)} layers"
    low, high = hits[0], hits[-1]
    between = f"{layers[low]}" if low == high else f"{layers[low]} to {layers[high]}"
    gaps = ", not all of them" if len(hits) <= high - low else ""
    return f"from {part_of(len(hits), len(layers), 'layer')} ({between}{gaps})"


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
