"""What of a run's states can be compared over a set of prompts: one number by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import Null
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def norm(model: Model, trace: Trace) -> pd.DataFrame:
    """How long the last token's state is (Euclidean), from which the next word is told: layer,
    value; L + 1 rows. Of a prompt of one token that is the first, often an attention sink."""
    states = trace.hidden[:, -1].double().numpy()  # (L + 1, D)
    return _by_layer(np.linalg.norm(states, axis=-1))


def variance(model: Model, trace: Trace) -> pd.DataFrame:
    """How widely the D numbers of the last token's state are spread (n - 1): layer, value."""
    return _by_layer(trace.hidden[:, -1].double().numpy().var(axis=-1, ddof=1))


def _by_layer(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"layer": range(len(values)), "value": values})


CURVES = {"Norm of the last state": norm, "Variance of the last state": variance}
NULLS = {
    "Norm of the state": Null(
        norm,
        ("shuffled text", "random blocks"),
        "return hidden[:, -1].double().norm(dim=-1).tolist()",
        at_token=True,
    ),
    "Variance of the state": Null(
        variance,
        ("shuffled text", "random blocks"),
        "return hidden[:, -1].double().var(dim=-1).tolist()",
        at_token=True,
    ),
}
