"""What pages of several concepts say, in sentences computed from their tables."""

from __future__ import annotations

import pandas as pd

from strata.concepts.chance import KINDS, as_far, band
from strata.display.tokens import digits


def chance_reading(
    number: str, kind: str, mine: pd.DataFrame, drawn: pd.DataFrame, verb: str = ""
) -> str:
    """Of `own` and `draws`: where the number is farthest from what chance gives, and how often
    chance goes as far. `verb` fits the kind, where that is none of `KINDS`."""
    if drawn.empty:
        return f"{number}: nothing is drawn yet."
    count, n_draws, layer = as_far(mine, drawn)
    if drawn["value"].isna().all():
        return f"{number}: no draw of {kind} has such a number, so there is nothing to compare."
    if not n_draws:
        return f"{number}: there is nothing to compare with {kind} here."
    row = band(mine, drawn).set_index("layer").loc[layer]
    verb, of_draws = verb or KINDS[kind].verb, f"{n_draws} draw{'s' * (n_draws > 1)}"
    if without := drawn["draw"].nunique() - n_draws:
        of_draws += f" ({without} more ha{'s' if without == 1 else 've'} no such number)"
    mine_there, low, high = (digits(row[name]) for name in ("value", "low", "high"))
    by_layer = len(mine) > 1
    at = f" at layer {layer}" if by_layer else ""
    text = (
        f"{number}: {mine_there}{at}, where {kind} {verb} {low} to {high} (5 to 95% of the draws)"
    )
    if by_layer:
        return (
            f"{text}. In standard deviations that is its largest distance from their middle, and "
            f"as much is what {kind} {verb}, at one layer or another, in {count} of {of_draws}."
        )
    return f"{text}. As far from their middle is what {kind} {verb} in {count} of {of_draws}."
