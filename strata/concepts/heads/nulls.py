"""What of attention is put beside what chance gives, and compared over a set: numbers by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from strata.concepts import Null, costs
from strata.model.opened import opened
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def to_the_first(model: Model, trace: Trace) -> pd.DataFrame:
    """How much of a block's attention goes to the first token, usually the sink: the mean weight
    over its heads and all tokens behind the first: layer (the block's output, 1 to L), value, 0 to
    1; missing at layer 0, for blocks without attention weights and for a text of one token. A head
    that reads all tokens alike gives each of n 1/n. Errors as `strata.model.opened`."""
    return _by_block(model, trace, {s.block: s.weights[:, 1:, 0] for s in opened(model, trace)})


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def sharpest(model: Model, trace: Trace) -> pd.DataFrame:
    """How sharply a block looks from the last token at one before it: the largest weight that any
    of its heads gives to one token, the first and the last itself left out: layer, value, as
    above; missing for a text of fewer than three tokens."""
    seen = {
        s.block: s.weights[:, -1, 1:-1].amax(dim=(0, 1))[None]
        for s in opened(model, trace)
        if len(trace.tokens) > 2
    }
    return _by_block(model, trace, seen)


def _by_block(model: Model, trace: Trace, weights: dict[int, Tensor]) -> pd.DataFrame:
    values = np.full(model.n_layers + 1, np.nan)
    for block, some in weights.items():
        if some.numel():
            values[block + 1] = float(some.double().mean())
    return pd.DataFrame({"layer": range(len(values)), "value": values})


CURVES = {"Attention weight of the first token": to_the_first}
_KINDS = ("shuffled text", "random blocks")
NULLS = {
    "Attention weight of the first token": Null(
        to_the_first,
        _KINDS,
        "return [np.nan, *(each[:, 1:, 0].double().mean().item() for each in weights)]",
    ),
    "Attention weight, the largest": Null(
        sharpest,
        _KINDS,
        "between = [each[:, -1, 1:-1].flatten().double() for each in weights]\n"
        "return [np.nan, *(each.max().item() if len(each) else np.nan for each in between)]",
        at_token=True,
    ),
}
