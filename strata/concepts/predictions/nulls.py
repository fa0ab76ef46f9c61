"""What of a prediction is put beside what chance gives: single numbers of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import Null
from strata.concepts.predictions.tables import entropy, surprisal
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def mean_surprisal(model: Model, trace: Trace) -> pd.DataFrame:
    """How badly the model foresaw the text: the mean of -log p over all tokens but the first, nats:
    layer (the last), value; missing for a text of one token."""
    return _single(model, -surprisal(model, trace)["logprob"].mean())


def best_probability(model: Model, trace: Trace) -> pd.DataFrame:
    """What the model gives to the token that it holds likeliest next, 0 to 1: layer, value."""
    return _single(model, float(trace.logits[-1].double().softmax(dim=-1).max()))


def doubt(model: Model, trace: Trace) -> pd.DataFrame:
    """How undecided the model is of the next token, nats: layer, value."""
    return _single(model, float(entropy(trace, len(trace.tokens) - 1)["entropy"].iloc[0]))


def _single(model: Model, value: float) -> pd.DataFrame:
    return pd.DataFrame({"layer": [model.n_layers], "value": [value]})


_KINDS = ("shuffled text", "random blocks")
NULLS = {
    "Surprisal of the text (nats a token)": Null(
        mean_surprisal,
        _KINDS,
        "scored = logits[:-1].double().log_softmax(dim=-1)\n"
        "return [-scored.gather(1, token_ids[1:, None]).mean().item()]",
    ),
    "Probability of the likeliest next token": Null(
        best_probability,
        _KINDS,
        "return [logits[-1].double().softmax(dim=-1).max().item()]",
        at_token=True,
    ),
    "Entropy of the prediction (nats)": Null(
        doubt,
        _KINDS,
        "logprobs = logits[-1].double().log_softmax(dim=-1)\n"
        "return [-(logprobs.exp() * logprobs).nansum().item()]",
        at_token=True,
    ),
}
