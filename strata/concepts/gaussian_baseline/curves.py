"""What of the Gaussian baseline can be compared over a set of prompts: one number by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts.gaussian_baseline.tables import participation_ratio
from strata.concepts.sinks import kept
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def spread(model: Model, trace: Trace) -> pd.DataFrame:
    """Over how many directions the tokens of a prompt are spread: the participation ratio of its
    states about their mean, attention sinks left out: layer, value. From n tokens at most n - 1,
    and the less the fewer there are: compare prompts of as many tokens only. Missing for fewer than
    two."""
    left = kept(trace, skip_first=False, skip_sinks=True)
    few = len(left) < 2
    values = [np.nan if few else participation_ratio(hidden[left]) for hidden in trace.hidden]
    return pd.DataFrame({"layer": range(len(values)), "value": values})


CURVES = {"Dimensions by variance (participation ratio)": spread}
