"""Predictions: the probability that the model gives to every possible next token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from strata.concepts import quick
from strata.concepts.run import check_count, check_position
from strata.concepts.target import check_token
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_LOGITS_AT_ONCE = 100_000  # 1 MB in float64, which stays in a cache: 2 positions at V = 50,000
_NEVER = -1e3  # nats: less likely than any float64 can say


@quick
def next_token(model: Model, trace: Trace, position: int, k: int = 20) -> pd.DataFrame:
    """The k tokens that the model holds likeliest after `position`, by its own logits.

    Columns: rank (how many tokens have a larger logit: 0 is best, equal logits share one),
    token_id, predicted (what the token would add here; a part of a character as its bytes,
    "⟨F0 9F⟩"), prob, logprob (nats). k rows, best first, equal logits in order of id.
    InputError where `position` is not one of 0..T-1 or `k` not one of 1..V. Seeds 001 and 002.
    """
    position = check_position(trace, position)
    logits = trace.logits[position].double()  # (V,)
    k = check_count("The number of tokens", k, len(logits))
    # Sorted are only those that may be among them: to sort all V takes five times as long.
    likely = (~(logits < logits.topk(k).values[-1])).nonzero()[:, 0]  # k or more, in order of id
    token_ids = likely[logits[likely].argsort(descending=True, stable=True)[:k]]  # (k,)
    top = logits[token_ids]  # (k,)
    logprob = top - logits.logsumexp(dim=-1)  # (k,)
    return pd.DataFrame(
        {
            "rank": torch.searchsorted(-top, -top).numpy(),
            "token_id": token_ids.numpy(),
            "predicted": list(model.decode(token_ids, after=trace.token_ids[: position + 1])),
            "prob": logprob.exp().numpy(),
            "logprob": logprob.numpy(),
        }
    )


@quick
def upcoming(model: Model, trace: Trace, k: int = 20) -> pd.DataFrame:
    """`next_token` after all of the prompt: its columns, k rows. For a text whose number of tokens
    nobody has asked for yet. InputError where `k` is not one of 1..V."""
    return next_token(model, trace, len(trace.tokens) - 1, k)


@quick
def so_far(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """The prompt's own text as far as `position`, that token included: one row, text.

    What the tokenizer put around it is left out, and so is a character that is not complete there.
    With what `next_token` says that a token would add, it is a prompt that goes on so. InputError
    where `position` does not exist.
    """
    end = check_position(trace, position) + 1
    before, after = map(len, model.texts.around(trace.token_ids.tolist()))
    is_whole = end >= len(trace.tokens) - after
    return pd.DataFrame({"text": [trace.text if is_whole else "".join(trace.tokens[before:end])]})


@quick
def chances(model: Model, trace: Trace, position: int, token_ids: Sequence[int]) -> pd.DataFrame:
    """Some tokens as the next one after `position`, in the columns of `next_token`: a row each, in
    the order given. InputError where `position` or a token does not exist."""
    position = check_position(trace, position)
    logits = trace.logits[position].double()  # (V,)
    ids = torch.tensor([check_token(i, len(logits)) for i in token_ids], dtype=torch.long)  # (n,)
    chosen = logits[ids]  # (n,)
    logprob = chosen - logits.logsumexp(dim=-1)  # (n,)
    return pd.DataFrame(
        {
            "rank": (logits > chosen[:, None]).sum(dim=-1).numpy(),
            "token_id": ids.numpy(),
            "predicted": list(model.decode(ids, after=trace.token_ids[: position + 1])),
            "prob": logprob.exp().numpy(),
            "logprob": logprob.numpy(),
        }
    )


@quick
def surprisal(model: Model, trace: Trace) -> pd.DataFrame:
    """How well the model foresaw each token of the prompt from those before it.

    Columns: position, token, logprob (nats; surprisal is its negative), rank (0: it was the
    top-1), entropy (nats; of the distribution that predicted this token, the one at position - 1).
    T rows; nothing predicts position 0, so its logprob, rank and entropy are missing.
    """
    logprobs, ranks, entropies = [math.nan], [None], [math.nan]
    at_once = max(1, _LOGITS_AT_ONCE // trace.logits.shape[-1])
    for logits, chosen in zip(
        trace.logits[:-1].split(at_once), trace.token_ids[1:, None].split(at_once), strict=True
    ):  # (n, V) and (n, 1)
        distribution = logits.double().log_softmax(dim=-1)  # (n, V)
        logprobs += distribution.gather(1, chosen)[:, 0].tolist()
        ranks += (logits > logits.gather(1, chosen)).sum(dim=1).tolist()
        entropies += _entropy(distribution).tolist()
    return pd.DataFrame(
        {
            "position": range(len(trace.tokens)),
            "token": list(trace.tokens),
            "logprob": logprobs,
            "rank": pd.array(ranks, dtype="Int64"),
            "entropy": entropies,
        }
    )


@quick
def followed(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """The token that really comes after `position`, and what the model thought of it.

    Columns: position (of that token), token, rank, prob, surprisal (nats). One row; none at the
    last position, after which the prompt says nothing. InputError where `position` does not exist.
    """
    rows = []
    following = check_position(trace, position) + 1
    if following < len(trace.tokens):
        logits = trace.logits[following - 1].double()  # (V,)
        chosen = logits[trace.token_ids[following]]
        logprob = float(chosen - logits.logsumexp(dim=-1))
        rank = int((logits > chosen).sum())
        rows.append((following, trace.tokens[following], rank, math.exp(logprob), -logprob))
    columns: dict[str, Any] = {
        "position": int,
        "token": "str",
        "rank": int,
        "prob": float,
        "surprisal": float,
    }
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


@quick
def entropy(trace: Trace, position: int) -> pd.DataFrame:
    """How undecided the model is after `position`: one row, position, token, entropy, choices.

    Entropy in nats, from 0 (certain) to ln V; choices = exp(entropy), the number of equally likely
    tokens that would leave as much doubt. InputError where `position` does not exist.
    """
    position = check_position(trace, position)
    distribution = trace.logits[position].double().log_softmax(dim=-1)  # (V,)
    nats = float(_entropy(distribution))
    row = (position, trace.tokens[position], nats, math.exp(nats))
    return pd.DataFrame([row], columns=["position", "token", "entropy", "choices"])


def factual(model: Model, prompts: Sequence[str]) -> pd.DataFrame:
    """What the model answers to a few prompts: prompt, predicted (its top-1), prob. Seed 001."""
    rows = []
    for trace in model.capture_many(prompts):
        [best] = next_token(model, trace, len(trace.tokens) - 1, k=1).itertuples()
        rows.append((trace.text, best.predicted, best.prob))
    columns: dict[str, Any] = {"prompt": "str", "predicted": "str", "prob": float}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _entropy(logprob: Tensor) -> Tensor:
    """(..., V) log-probabilities -> (...) nats; a token of probability 0 adds nothing."""
    return 0.0 - (logprob.exp() * logprob.clamp_min(_NEVER)).sum(dim=-1)
