"""What of the logit lens can be compared over a set of prompts: one number by layer, of what the
last token's state says comes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from strata.concepts import Null
from strata.concepts.lens_tables import norms
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_latest: WeakKeyDictionary[Trace, Tensor] = WeakKeyDictionary()  # all curves of a run read it once


def rank(model: Model, trace: Trace, target_id: int) -> pd.DataFrame:
    """How many tokens the lens ranks before the expected one: layer, value; 0 is best, L + 1
    rows. ModelError where the lens of this model is refused, as for all that follows."""
    logprobs = _logprobs(model, trace)
    return _by_layer((logprobs > logprobs[:, target_id, None]).sum(dim=-1))


def probability(model: Model, trace: Trace, target_id: int) -> pd.DataFrame:
    """What the lens gives to the expected token, 0 to 1: layer, value."""
    return _by_layer(_logprobs(model, trace)[:, target_id].exp())


def entropy(model: Model, trace: Trace) -> pd.DataFrame:
    """How unsure the lens is of the next token, in nats: layer, value."""
    logprobs = _logprobs(model, trace)
    return _by_layer(-(logprobs.exp() * logprobs).nansum(dim=-1))


def logit_difference(model: Model, trace: Trace, target_id: int, against_id: int) -> pd.DataFrame:
    """How far the expected token is ahead of that of the other prompt of its pair, logits (which
    is nats: the softmax takes the same from both): layer, value; missing where both are one."""
    if target_id == against_id:
        return _by_layer(torch.full((len(trace.hidden),), torch.nan))
    chosen = _logprobs(model, trace)[:, [target_id, against_id]].double()
    return _by_layer(chosen[:, 0] - chosen[:, 1])


def attention_write(model: Model, trace: Trace) -> pd.DataFrame:
    """How much the attention of each block adds to the last token's state (Euclidean norm): layer
    (the block's output, 1 to L), value. ModelError where this model's writes are refused."""
    return _by_layer(norms(trace.attn[:, -1]), first=1)


def mlp_write(model: Model, trace: Trace) -> pd.DataFrame:
    """How much the MLP of each block adds to it, see `attention_write`."""
    return _by_layer(norms(trace.mlp[:, -1]), first=1)


def _logprobs(model: Model, trace: Trace) -> Tensor:
    """(L + 1, V): what the last token's state says at each layer, as log-probabilities."""
    logprobs = _latest.get(trace)
    if logprobs is None:
        logprobs = model.unembed(trace.hidden[:, -1]).log_softmax(dim=-1)
        _latest.clear()
        _latest[trace] = logprobs
    return logprobs


def _by_layer(values: Tensor | np.ndarray, first: int = 0) -> pd.DataFrame:
    numbers = np.asarray(values, dtype=np.float64)
    return pd.DataFrame({"layer": range(first, first + len(numbers)), "value": numbers})


CURVES: dict[str, Callable[..., pd.DataFrame]] = {
    "Rank of the expected word (0 is best)": rank,
    "Probability of the expected word": probability,
    "Logit of the expected word less the other's": logit_difference,
    "Entropy of the lens (nats)": entropy,
    "Norm of what attention adds": attention_write,
    "Norm of what the MLP adds": mlp_write,
}

_KINDS = ("shuffled text", "random blocks", "random directions")
NULLS = {
    "Probability of the expected word": Null(
        probability, _KINDS, "return lens(hidden[:, -1])[:, TARGET].exp().tolist()", at_token=True
    ),
    "Rank of the expected word (0 is best)": Null(
        rank,
        _KINDS,
        "logprobs = lens(hidden[:, -1])\n"
        "return (logprobs > logprobs[:, TARGET, None]).sum(dim=-1).tolist()",
        at_token=True,
    ),
    "Entropy of the lens (nats)": Null(
        entropy,
        _KINDS,
        "logprobs = lens(hidden[:, -1])\n"
        "return (-(logprobs.exp() * logprobs).nansum(dim=-1)).tolist()",
        at_token=True,
    ),
}
