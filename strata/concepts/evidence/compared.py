"""A set's values by condition, and its conditions compared: from the table of `values` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts.evidence import statistics
from strata.concepts.evidence.statistics import LEVEL, Difference, Floats
from strata.errors import InputError

EXPLORED, HELD_OUT, ALL = "explored", "held_out", "all"
SEED = 0  # of the halves and of all draws: the same set gives the same numbers


@dataclass(frozen=True)
class Compared:
    """One quantity over a set, or a half of it. `rows`: which rows have it, by condition, of a
    paired set in the order of the pairs; `values`: (rows, layers) of each condition; `left_out`:
    rows without it (one of a pair takes the other along). A condition is compared with the next,
    the first two by default."""

    rows: dict[str, tuple[int, ...]]
    values: dict[str, Floats]
    paired: bool
    left_out: int

    @property
    def n(self) -> int:
        """Pairs, or prompts of the smallest condition."""
        return min(map(len, self.rows.values()))

    def least_p(self, conditions: Sequence[str] = (), *, two_sided: bool = True) -> float:
        """The smallest p-value that so few can give, see `statistics.least_p`."""
        sizes = [len(self.rows[name]) for name in two(self, conditions)]
        return statistics.least_p(*sizes[: 1 if self.paired else 2], two_sided=two_sided)

    @property
    def pair_rows(self) -> list[tuple[int, ...]]:
        return list(zip(*self.rows.values(), strict=True)) if self.paired else []


def compared(frame: pd.DataFrame, quantity: str, half: str = EXPLORED) -> Compared:
    """A quantity's values by condition. InputError where there is no such quantity, or fewer than
    two prompts of a condition have it."""
    if quantity not in frame or quantity in ("row", "condition", "pair", "layer"):
        raise InputError(f"There is no quantity {quantity[:80]!r} in this set.")
    n_layers = int(frame["layer"].max()) + 1
    numbers = frame[quantity].to_numpy(float).reshape(-1, n_layers)  # (rows, layers)
    first = frame.iloc[::n_layers]
    condition, pair = first["condition"].to_numpy(), first["pair"].to_numpy()
    conditions = list(dict.fromkeys(condition))
    paired = bool(pair[0])
    has = ~np.isnan(numbers).all(axis=1)  # (rows,)
    chosen = in_half(condition, pair, half)
    if paired:
        whole = {p for p in dict.fromkeys(pair) if has[pair == p].all()}
        has &= np.array([p in whole for p in pair])
    rows = {
        name: tuple(np.flatnonzero(has & chosen & (condition == name)).tolist())
        for name in conditions
    }
    few = next((name for name, found in rows.items() if len(found) < 2), None)
    if few is not None:
        raise InputError(
            f"“{quantity}” cannot be compared here: fewer than two prompts of “{few}” have it. "
            "Choose another quantity: this model refuses it, or the words that are expected next "
            "are several tokens here; or a larger set."
        )
    left_out = int((chosen & ~has).sum())
    return Compared(rows, {n: numbers[list(r)] for n, r in rows.items()}, paired, left_out)


def in_half(condition: NDArray, pair: NDArray, half: str) -> NDArray[np.bool_]:
    """(n,) which rows of a set are in a half: of a paired set by pairs, else within each condition.
    InputError for another half."""
    if half == ALL:
        return np.ones(len(condition), dtype=bool)
    if half not in (EXPLORED, HELD_OUT):
        raise InputError(f"A half is explored, held_out or all, not {half!r}.")
    inside = np.zeros(len(condition), dtype=bool)
    if pair[0]:
        names = list(dict.fromkeys(pair))
        places = statistics.halves(names, SEED)[half == HELD_OUT]
        return np.isin(pair, [names[i] for i in places])
    for name in dict.fromkeys(condition):
        rows = np.flatnonzero(condition == name)
        both = statistics.halves([f"{name} {i}" for i in range(len(rows))], SEED)
        inside[rows[list(both[half == HELD_OUT])]] = True
    return inside


def means(found: Compared) -> pd.DataFrame:
    """What the first figure draws: condition, layer, mean, low, high (95 % interval of the mean by
    Student's t over prompts), n."""
    parts = []
    for name, values in found.values.items():
        mean, low, high = statistics.interval(values)
        numbers = {"layer": range(len(mean)), "mean": mean, "low": low, "high": high}
        parts.append(pd.DataFrame({"condition": name, **numbers, "n": len(values)}))
    return pd.concat(parts, ignore_index=True).dropna(subset="mean")


def lines(found: Compared) -> pd.DataFrame:
    """Each prompt as a line: row, condition, layer, value."""
    parts = [
        pd.DataFrame({"row": row, "condition": name, "layer": range(len(line)), "value": line})
        for name, rows in found.rows.items()
        for row, line in zip(rows, found.values[name], strict=True)
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value")


def two(found: Compared, conditions: Sequence[str] = ()) -> tuple[str, str]:
    """Which two conditions are compared: those asked for, or the first two. InputError for others
    than the set has."""
    a, b = tuple(conditions) or tuple(found.rows)[:2]
    if a not in found.rows or b not in found.rows or a == b:
        raise InputError("Choose two different conditions of this set.")
    return a, b


def difference(found: Compared, conditions: Sequence[str] = ()) -> Difference:
    """The first condition less the second at each layer, against chance: by signs within pairs, or
    by groups where there are none. See `Difference`."""
    a, b = (found.values[name] for name in two(found, conditions))
    if found.paired:
        return statistics.paired(a - b, seed=SEED)
    return statistics.independent(a, b, seed=SEED)


def differences(found: Compared, conditions: Sequence[str] = ()) -> pd.DataFrame:
    """What the second figure draws: layer, difference, low, high, t, p, p_layers, survives (p over
    all layers at most 0.05)."""
    told = difference(found, conditions)
    frame = pd.DataFrame(
        {
            "layer": range(len(told.mean)),
            "difference": told.mean,
            "low": told.low,
            "high": told.high,
            "t": told.t,
            "p": told.p,
            "p_layers": told.p_layers,
        }
    ).dropna(subset="t")
    return frame.assign(survives=frame["p_layers"] <= LEVEL).reset_index(drop=True)


def by_chance(
    found: Compared, n_draws: int, conditions: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The difference at each layer (layer, value), and what chance gives instead (draw, layer,
    value): with the prompts of a pair exchanged or not, or, without pairs, with conditions dealt
    out anew. Layers without such a number are missing."""
    a, b = (found.values[name] for name in two(found, conditions))
    mine = a.mean(axis=0) - b.mean(axis=0)
    if found.paired:
        drawn = statistics.by_signs(a - b, n_draws, SEED)
    else:
        drawn = statistics.by_groups(a, b, n_draws, SEED)
    layers = np.flatnonzero(~np.isnan(mine))
    own = pd.DataFrame({"layer": layers, "value": mine[layers]})
    draws = np.repeat(np.arange(n_draws), len(layers))
    values = drawn[:, layers].ravel()
    return own, pd.DataFrame({"draw": draws, "layer": np.tile(layers, n_draws), "value": values})


@dataclass(frozen=True)
class Hypothesis:
    """What a learner writes before the held-out half is shown: at layers `low` to `high` (their
    mean) the first condition is larger, or smaller, than the second."""

    low: int
    high: int
    larger: bool


def outcome(found: Compared, claim: Hypothesis, conditions: Sequence[str] = ()) -> pd.DataFrame:
    """A hypothesis, and nothing else, on the half that was held out; one row: n, difference (its
    mean over the layers), low, high (95 % interval by Student's t), effect (the difference in
    standard deviations of the pairs' differences; without pairs of the prompts; missing where all
    are equal), p (one-sided), p_contrary (that of the contrary). Layers at which this quantity has
    no number are passed over; InputError where it has none at any of them."""
    names = two(found, conditions)
    here = [found.values[name][:, claim.low : claim.high + 1] for name in names]
    if any(np.isnan(numbers).all(axis=1).any() for numbers in here):
        raise InputError("At these layers there is no such number; choose others.")
    a, b = (np.nanmean(numbers, axis=1) for numbers in here)
    if found.paired:
        apart = (a - b)[:, None]
        told = statistics.paired(apart, seed=SEED)
        p, contrary = (statistics.one_sided(a - b, way) for way in (claim.larger, not claim.larger))
        deviation = float(apart.std(ddof=1))
    else:
        told = statistics.independent(a[:, None], b[:, None], seed=SEED)
        p, contrary = (
            statistics.one_sided_groups(a, b, way) for way in (claim.larger, not claim.larger)
        )
        deviation = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    mean = float(told.mean[0])
    differs = deviation > 1e-9 * float(np.abs([*a, *b]).max())
    return pd.DataFrame(
        {
            "n": [told.n],
            "difference": [mean],
            "low": [float(told.low[0])],
            "high": [float(told.high[0])],
            "effect": [mean / deviation if differs else np.nan],
            "p": [p],
            "p_contrary": [contrary],
        }
    )
