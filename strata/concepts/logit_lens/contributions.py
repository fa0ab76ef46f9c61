"""Direct logit attribution: where a token's logit comes from, and what of it makes that token
likelier than others.

A softmax looks at differences only: what raises all logits alike changes no probability. So a part
that adds much to one token's logit may decide nothing, and parts are told apart from each other by
what they give to the token more than to another, or to the average one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from strata.concepts.reading import frozen_at_the_end
from strata.concepts.run import check_position, check_run
from strata.concepts.target import (
    Against,
    TargetId,
    check_against,
    check_target,
    less,
    rank_of,
    value_of,
)
from strata.errors import InputError, ModelError
from strata.model.architecture import lens_tolerance
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def attribution(
    model: Model, trace: Trace, target_id: TargetId, position: int, against: Against = None
) -> pd.DataFrame:
    """Where one token's logit comes from: part (embedding, attn, mlp, norm_bias, head_bias), block
    (missing where none), logit; 2L + 3 rows that sum to the logit before any cap.

    `against`: what is taken from each row, and so from their sum. None: nothing. "mean": what the
    part gives to the average of all V tokens; a token id: what it gives to that token. Only such
    differences bear on probabilities. A pair (a, b) as `target_id` is one already, a's rows less
    b's: nothing and "mean" then give the same, since the average token's goes away.

    Each part goes through the final norm with its scale taken from hidden[L] at that position.
    InputError for a bad token or position, a token against itself, a pair against a third token,
    or a run whose stream was scaled; ModelError where the writes of this model are refused.
    """
    check_run(model, trace)
    position, target_id = check_position(trace, position), check_target(target_id, model.d_vocab)
    against = check_against(model, target_id, against)
    added = parts_of(trace)[:, position].to(model.device)  # (2L + 1, D)
    frozen = frozen_at_the_end(model, trace.hidden[:, position : position + 1])
    with torch.inference_mode():
        logits = frozen.along(added, less(frozen.matrix, target_id, against)).tolist()
        biases = [
            float(less(bias, target_id, against))
            for bias in (frozen.norm_bias(), frozen.head_bias())
        ]
    blocks = [block for block in range(model.n_layers) for _ in range(2)]
    return pd.DataFrame(
        {
            "part": ["embedding", *("attn", "mlp") * model.n_layers, "norm_bias", "head_bias"],
            "block": pd.array([None, *blocks, None, None], dtype="Int64"),
            "logit": logits + biases,
        }
    )


def target_logit(
    model: Model, trace: Trace, target_id: TargetId, position: int, against: Against = None
) -> pd.DataFrame:
    """What `attribution` has to add up to, from the model's last state and no part of it; one row:
    token_id, predicted, other ("" against nothing or the average), logit (before any cap, less what
    `against` has), own (the logit as the model gives it), rank, prob. Of a pair (a, b) `other` is
    b, own a difference too, and rank and prob are missing. Errors as `attribution`."""
    position, target_id = check_position(trace, position), check_target(target_id, model.d_vocab)
    against = check_against(model, target_id, against)
    pair = isinstance(target_id, tuple)
    token_id, other = target_id if isinstance(target_id, tuple) else (target_id, against)
    state = trace.hidden[-1, position].to(model.device)
    with torch.inference_mode():
        uncapped = replace(model.float_head, logit_cap=None).unembed(state)  # (V,)
        logits = model.float_head.unembed(state)
    listed = [token_id, other] if isinstance(other, int) else [token_id]
    predicted, *others = model.decode(listed, after=trace.token_ids[: position + 1])
    rank = rank_of(logits, target_id)
    return pd.DataFrame(
        {
            "token_id": [token_id],
            "predicted": [predicted],
            "other": others or [""],
            "logit": [float(less(uncapped, target_id, against))],
            "own": [float(value_of(logits, target_id))],
            "rank": pd.array([rank], dtype="Int64") if pair else [rank],
            "prob": [math.nan if pair else float(logits.softmax(dim=-1)[token_id])],
        }
    )


def proof(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """Whether the grid ends in the model's own answer, over all V logits of one position:
    identity, terms, error (largest difference), tolerance, ok.

    "output": the last layer read through the lens against the model's logits; 1e-3 is allowed, in
    coarser numbers than float32 four of their steps at the largest logit. "sum": embedding, what
    was written, and biases, each through the frozen norm, against the last layer's logits before
    any cap; its tolerance grows with what has to cancel.
    """
    position = check_position(trace, position)
    last = trace.hidden[:, position : position + 1]  # (L + 1, 1, D)
    frozen = frozen_at_the_end(model, last)
    uncapped = replace(model.float_head, logit_cap=None)
    if verified(trace):
        terms = parts_of(trace)[:, position]  # (2L + 1, D)
    else:
        terms = torch.cat([last[:1], last.diff(dim=0)])[:, 0]  # (L + 1, D)
    with torch.inference_mode():
        output = model.float_head.unembed(last[-1].to(model.device))[0].cpu()
        wanted = uncapped.unembed(last[-1].to(model.device))[0]
        added = frozen.logits(terms.to(model.device))  # (2L + 1, V)
        total = added.sum(dim=0) + frozen.norm_bias() + frozen.head_bias()
        apart = [
            float((output - trace.logits[position].float()).abs().max()),
            float((total - wanted).abs().max()),
        ]
        size = float(added.abs().sum(dim=0).max())
    least = lens_tolerance(trace.logits[position])
    allowed = [least, max(least, 1e-5 * size)]
    return pd.DataFrame(
        {
            "identity": ["output", "sum"],
            "terms": [1, len(terms)],
            "error": apart,
            "tolerance": allowed,
            "ok": [error <= limit for error, limit in zip(apart, allowed, strict=True)],
        }
    )


def parts_of(trace: Trace) -> Tensor:
    """(2L + 1, T, D): what is left in hidden[L] of the embedding, and of attention and MLP of each
    block."""
    if trace.unsummed:
        raise InputError("This run changed the stream, so its writes do not add up to its logits.")
    left = [trace.carried(added) for added in (trace.attn, trace.mlp)]  # (L, T, D) each
    if not verified(trace):
        raise ModelError(trace.check.reason)
    return torch.cat([trace.embedding[None], torch.stack(left, dim=1).flatten(0, 1)])


def verified(trace: Trace) -> bool:
    """Whether the writes of this very run are what its blocks added."""
    return trace.writes is not None and (trace.verify is None or trace.check.write_ok)
