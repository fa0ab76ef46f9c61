"""What of a laminar profile can be compared over a set of prompts: one number by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import Null
from strata.concepts.laminar_profile.cosines import pairs
from strata.concepts.sinks import kept
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def median(model: Model, trace: Trace) -> pd.DataFrame:
    """How alike the tokens of a prompt are: the median cosine of all pairs of its tokens, attention
    sinks left out: layer, value; missing where fewer than two tokens are left."""
    left = kept(trace, skip_first=False, skip_sinks=True)
    return _by_layer(trace, left, lambda cosine: float(np.nanmedian(cosine)))


def effective_dimension(model: Model, trace: Trace) -> pd.DataFrame:
    """In how many dimensions random directions are spread as widely as the tokens of a prompt:
    1 / variance of the cosines of all pairs, attention sinks left out: layer, value. Missing for
    fewer than three tokens. From few tokens it is a rough number, too large or too small by chance:
    compare prompts of as many tokens only. Seed 001."""
    left = kept(trace, skip_first=False, skip_sinks=True)

    def one_over_variance(cosine: np.ndarray) -> float:
        variance = float(np.nanvar(cosine))
        return 1 / variance if variance > 1e-12 else np.nan

    return _by_layer(trace, left if len(left) > 2 else left[:0], one_over_variance)


def spread(model: Model, trace: Trace) -> pd.DataFrame:
    """Over how many directions the tokens of a prompt are spread: the participation ratio of its
    states about their mean, (sum of the covariance's eigenvalues)^2 / sum of their squares,
    attention sinks left out: layer, value. From n tokens at most n - 1, and the less the fewer
    there are: compare prompts of as many tokens only. Missing for fewer than two."""
    left = kept(trace, skip_first=False, skip_sinks=True)
    values = []
    for hidden in trace.hidden:
        states = hidden[left].double().numpy()  # (n, D)
        centred = states - states.mean(axis=0) if len(left) > 1 else states[:0]
        gram = centred @ centred.T  # it has the covariance's eigenvalues
        squares = float(np.square(gram).sum())
        values.append(float(np.trace(gram)) ** 2 / squares if squares else np.nan)
    return pd.DataFrame({"layer": range(len(values)), "value": values})


def _by_layer(
    trace: Trace, left: np.ndarray, number: Callable[[np.ndarray], float]
) -> pd.DataFrame:
    values = []
    for hidden in trace.hidden:
        _, _, cosine = pairs(hidden[left].double().numpy())
        known = len(cosine) > 0 and not np.isnan(cosine).all()
        values.append(number(cosine) if known else np.nan)
    return pd.DataFrame({"layer": range(len(values)), "value": values})


CURVES = {
    "Laminar median cosine": median,
    "Dimensions by pairs of tokens": effective_dimension,
    "Dimensions by variance (participation ratio)": spread,
}

_COSINES = """
left = set(range(hidden.shape[1])) - set(sinks_of(hidden.norm(dim=-1)))
values = []
for states in hidden[:, sorted(left)].double():
    unit = states / states.norm(dim=-1, keepdim=True)
    a, b = np.triu_indices(len(unit), 1)
    cosines = (unit @ unit.T).numpy()[a, b]
    cosines = cosines[~np.isnan(cosines)]  # a state that is zero has no direction
    values.append(np.median(cosines) if len(cosines) else np.nan)
return values
"""
NULLS = {
    "Median cosine of all pairs of tokens": Null(
        median, ("shuffled text", "random blocks", "random directions"), _COSINES
    )
}
