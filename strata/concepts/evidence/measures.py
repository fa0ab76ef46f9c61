"""What lessons may ask of a set: one value of the table of `values`, or of `probe`, each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from strata.concepts.evidence import compared as sets
from strata.concepts.evidence.probing import LINEAR
from strata.concepts.evidence.statistics import LEVEL
from strata.errors import InputError


def surviving(frame: pd.DataFrame, quantity: str, half: str = "explored") -> int:
    """Of `values`: at how many layers the first two conditions differ, corrected for all layers."""
    return int(_differences(frame, quantity, half)["survives"].sum())


def seeming(frame: pd.DataFrame, quantity: str, half: str = "explored") -> int:
    """Of `values`: at how many layers they would seem to differ if each were asked alone."""
    return int((_differences(frame, quantity, half)["p"] <= LEVEL).sum())


def surviving_share(frame: pd.DataFrame, quantity: str, half: str = "explored") -> float:
    """Of `values`: `surviving` as a share of all layers that have the number."""
    return float(_differences(frame, quantity, half)["survives"].mean())


def by_chance(frame: pd.DataFrame, quantity: str) -> float:
    """Of `values`: how many layers would seem to differ on average, each asked alone, if there were
    nothing: 1 in 20 of those that have the number."""
    return LEVEL * int(frame.loc[frame[quantity].notna(), "layer"].nunique())


def surest(frame: pd.DataFrame, quantity: str, half: str = "explored") -> int:
    """Of `values`: the layer at which |t| is largest."""
    told = _differences(frame, quantity, half)
    return int(told["layer"][told["t"].abs().idxmax()])


def pair_difference(frame: pd.DataFrame, quantity: str, pair: str, layer: int) -> float:
    """Of `values`: the first condition less the second in one pair, at one layer."""
    here = frame[(frame["pair"] == pair) & (frame["layer"] == layer)]
    if len(here) < 2:
        raise InputError(f"There is no pair {pair[:80]!r} with a layer {layer} in this set.")
    first, second = here.sort_values("row")[quantity].iloc[:2]
    return float(first - second)


def share_of_pairs(frame: pd.DataFrame, quantity: str, layer: int, half: str = "all") -> float:
    """Of `values`: the share of pairs in which the first condition is larger at a layer, of those
    that have the number there."""
    found = sets.compared(frame, quantity, half)
    if not found.paired:
        raise InputError("This set has no pairs.")
    a, b = (found.values[name][:, layer] for name in sets.two(found))
    has = ~np.isnan(a - b)
    if not has.any():
        raise InputError(f"At layer {layer} there is no {quantity!r}.")
    return float((a > b)[has].mean())


def at_surest(frame: pd.DataFrame, quantity: str, half: str = "held_out") -> float:
    """Of `values`: the p-value in a half of exactly what the explored half suggests: its surest
    layer, and the direction there."""
    told = _differences(frame, quantity, "explored")
    best = told.loc[told["t"].abs().idxmax()]
    layer = int(best["layer"])
    claim = sets.Hypothesis(layer, layer, larger=bool(best["difference"] > 0))
    return float(sets.outcome(sets.compared(frame, quantity, half), claim)["p"].iloc[0])


def probed(frame: pd.DataFrame, method: str = LINEAR) -> float:
    """Of `probe`: what share of the prompts a method tells right where it does best."""
    return float(_of_method(frame, method)["accuracy"].max())


def best_probed(frame: pd.DataFrame, method: str = LINEAR) -> int:
    """Of `probe`: the layer at which that is, the first of several."""
    rows = _of_method(frame, method)
    return int(rows["layer"][rows["right"].idxmax()])


def shuffles_as_good(frame: pd.DataFrame, method: str = LINEAR) -> int:
    """Of `probe`: how many shuffles of the labels do as well at any layer as the method at its
    best."""
    rows = _of_method(frame, method)
    return int(rows["as_good"][rows["right"].idxmax()])


def _of_method(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    rows = frame[frame["method"] == method]
    if rows.empty:
        raise InputError(f"There is no method {method[:80]!r} of probing.")
    return rows


def _differences(frame: pd.DataFrame, quantity: str, half: str) -> pd.DataFrame:
    told = sets.differences(sets.compared(frame, quantity, half))
    if told.empty:
        raise InputError(f"{quantity!r} has a number for all prompts at no layer.")
    return told


MEASURES = (
    surviving,
    seeming,
    surviving_share,
    by_chance,
    surest,
    pair_difference,
    share_of_pairs,
    at_surest,
    probed,
    best_probed,
    shuffles_as_good,
)
