"""What of scaling can be compared over a set of prompts: one number by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import Null, costs
from strata.concepts.scaling.tables import sweep
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_FACTOR = 0.5


@costs(lambda n_tokens, n_layers, params: n_tokens * n_layers / 2)
def halved(model: Model, trace: Trace, target_id: int) -> pd.DataFrame:
    """What it changes in the log-probability of the expected token (nats) when what a block added
    is halved, attention's part: layer (the block's output), value, missing at layer 0. See `sweep`.
    ModelError where this model's writes are refused."""
    found = sweep(model, trace, target_id, [_FACTOR], "attn")
    apart = found["logprob"] - found["clean_logprob"]
    return pd.DataFrame({"layer": range(model.n_layers + 1), "value": [np.nan, *apart]})


_HALVED = "Log-probability (nats) when a block's attention is halved"
CURVES = {_HALVED: halved}
NULLS = {
    _HALVED: Null(
        halved,
        ("shuffled text", "random blocks"),
        """
clean = logits[-1].double().log_softmax(dim=-1)[TARGET]
edited = scaled(token_ids, "attn", 0.5).double().log_softmax(dim=-1)[:, TARGET]
return [np.nan, *(edited - clean).tolist()]
""",
        at_token=True,
    )
}
