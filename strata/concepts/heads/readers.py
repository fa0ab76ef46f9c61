"""Of every head at one token: whom it reads and what it writes, beside each other; and the patterns
of a block's heads, small."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from strata.concepts import costs
from strata.concepts.heads.tables import check_block, writes
from strata.concepts.run import check_count, check_position
from strata.concepts.sinks import sinks
from strata.concepts.target import TargetId
from strata.errors import InputError
from strata.model.opened import opened
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

MOST_SMALL = 16  # heads whose patterns are drawn beside each other
STEPS = 32  # of a small pattern, each way


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def read_and_written(
    model: Model, trace: Trace, target_id: TargetId, position: int
) -> pd.DataFrame:
    """What each head reads at one position, beside what it writes there: block, head, sink_share,
    key, token, weight, same, logit, norm; a row a head that has attention weights.

    `sink_share` is the part of its attention that goes to attention sinks (0 where the prompt has
    none); `key` and `token` are the position, sinks left out, that gets most of it, and `weight`
    how much (missing where there are only sinks). `same` is how much goes to the token that the
    head of largest `logit` reads most (missing where that reads sinks only). `logit` is what the
    head adds to the target's logit more than to the average token's (of a pair (a, b) to a's more
    than to b's), `norm` the length of what it writes, see `writes`. Errors as there.
    """
    position = check_position(trace, position)
    written = writes(model, trace, target_id, position, against="mean")
    out = torch.zeros(position + 1, dtype=torch.bool)
    out[[each for each in sinks(trace)["position"] if each <= position]] = True
    rows, shares = [], []
    known_of = set(written["block"])
    for seen in (each for each in opened(model, trace) if each.block in known_of):
        at = seen.weights[:, position, : position + 1]  # (H, t)
        shares.append(at)
        others = at.masked_fill(out, -1.0)
        weight, key = others.max(dim=-1)
        for head, (sunk, most, best) in enumerate(
            zip(at[:, out].sum(dim=-1).tolist(), weight.tolist(), key.tolist(), strict=True)
        ):
            read = (None, None, math.nan)
            if most >= 0:
                read = best, trace.tokens[best], most
            rows.append((seen.block, head, sunk, *read))
    columns = ["block", "head", "sink_share", "key", "token", "weight"]
    frame = pd.DataFrame(rows, columns=columns).astype({"key": "Int64"}).assign(same=math.nan)
    frame = frame.merge(written, on=["block", "head"], validate="one_to_one")
    key = frame.loc[frame["logit"].idxmax(), "key"]
    return frame if pd.isna(key) else frame.assign(same=torch.cat(shares)[:, int(key)].tolist())


@costs(lambda n_tokens, n_layers, params: n_tokens / n_layers)
def small(model: Model, trace: Trace, block: int, around: int = 0) -> pd.DataFrame:
    """The patterns of a block's heads, made small: head, query, key, n_heads (of the block),
    weight. Queries and keys count steps of one or more tokens, at most 32 each.

    `weight` is the attention of a step's tokens that goes to all tokens of the other step, averaged
    over the first: a row still sums to what a query's weights sum to. Of more than 16 heads those
    about head `around`. InputError for a block or head that does not exist.
    """
    [seen] = opened(model, trace, [check_block(model, block)])
    weights = seen.weights.double().numpy()  # (H, T, T)
    n_heads, n_tokens = weights.shape[:2]
    if not 0 <= around < n_heads:
        raise InputError(f"Head {around} does not exist: heads are 0 to {n_heads - 1}.")
    n_steps = min(check_count("The number of steps", STEPS, STEPS), n_tokens)
    edges = np.linspace(0, n_tokens, n_steps + 1).round().astype(int)
    sizes = np.diff(edges)
    pooled = np.add.reduceat(np.add.reduceat(weights, edges[:-1], axis=2), edges[:-1], axis=1)
    pooled /= sizes[None, :, None]  # (H, n_steps, n_steps)
    first = max(0, min(around - MOST_SMALL // 2, n_heads - MOST_SMALL))
    query, key = np.tril_indices(n_steps)
    heads = range(first, min(n_heads, first + MOST_SMALL))
    return pd.DataFrame(
        {
            "head": np.repeat(list(heads), len(query)),
            "query": np.tile(query, len(heads)),
            "key": np.tile(key, len(heads)),
            "n_heads": n_heads,
            "weight": pooled[list(heads)][:, query, key].flatten().astype(np.float32),
        }
    )
