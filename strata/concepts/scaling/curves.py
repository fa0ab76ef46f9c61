"""What of scaling can be compared over a set of prompts: one number by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import costs
from strata.concepts.scaling.tables import sweep
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_FACTOR = 0.5


@costs(lambda n_tokens, n_layers, params: n_tokens * n_layers / 2)
def halved(model: Model, trace: Trace, target_id: int) -> pd.DataFrame:
    """What it changes in the log-probability of the expected token (nats) when what a block added
    is halved, attention's part: layer (the block's output, 1 to L), value. See `sweep`. ModelError
    where this model's writes are refused."""
    found = sweep(model, trace, target_id, [_FACTOR], "attn")
    return pd.DataFrame(
        {"layer": found["block"] + 1, "value": found["logprob"] - found["clean_logprob"]}
    )


CURVES = {"Log-probability (nats) when a block's attention is halved": halved}
