"""Heads: which tokens each head of attention reads, and what it writes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from strata.concepts import costs
from strata.concepts.run import check_position, check_run, identities
from strata.concepts.sinks import sinks
from strata.concepts.target import Against, TargetId, check_against, check_target, less
from strata.errors import InputError, ModelError
from strata.model.frozen_norm import FrozenNorm, freeze
from strata.model.head_slices import projection
from strata.model.head_writes import HeadWrites, head_writes, projected
from strata.model.opened import Opened, opened
from strata.trace import AGREEMENT, Trace

if TYPE_CHECKING:
    from strata.model import Model

MOST_ROWS = 5_000_000  # of `pattern`, some 160 MB
NOWHERE = -1  # the key of what a head's learned logit takes, which stands for no token


# -- the contract -----------------------------------------------------------------------------


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens / n_layers)
def pattern(
    model: Model,
    trace: Trace,
    block: int,
    head: int | None = None,
    without: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Whom the heads of a block read: head, query, key, weight; a query's weights sum to 1.

    All T keys of each of T queries, those that follow the query with weight 0, in order; of one
    head, or of all. Where a head has a learned logit that stands for no token (gpt-oss), its share
    has the key -1 behind the others. `without` names keys that are taken out, such as attention
    sinks: their weight is 0 and the others are made to sum to 1 again, or are missing where nothing
    was left.

    The weights are those of the block run by itself on `hidden[block]`, see `strata.model.opened`.
    InputError for a block, head or position that does not exist, and for more than 5,000,000 rows;
    ModelError for a block without attention weights, or one that gives something else by itself
    than in the run.
    """
    check_run(model, trace)
    [seen] = opened(model, trace, [check_block(model, block)])
    weights = seen.weights.double()  # (H, T, T)
    n_heads, n_tokens, _ = weights.shape
    heads = range(n_heads) if head is None else [check_head(head, n_heads)]
    if bool(seen.nowhere.any()):
        weights = torch.cat([weights, seen.nowhere[..., None].double()], dim=-1)  # (H, T, T + 1)
    weights = weights[list(heads)]
    if weights.numel() > MOST_ROWS:
        fewer = "ask for one head, or shorten the prompt" if head is None else "shorten the prompt"
        raise InputError(
            f"The patterns of {len(heads)} head{'s' * (len(heads) > 1)} over {n_tokens:,} tokens "
            f"have {weights.numel():,} rows, and at most {MOST_ROWS:,} are given: {fewer}."
        )
    if without is not None:
        weights[..., [check_position(trace, each) for each in without]] = 0
        sums = weights.sum(dim=-1, keepdim=True)
        weights = weights / sums.where(sums > AGREEMENT, torch.nan)
    keys = [*range(n_tokens), *[NOWHERE] * (weights.shape[-1] - n_tokens)]
    return pd.DataFrame(
        {
            "head": np.repeat(list(heads), n_tokens * len(keys)),
            "query": np.tile(np.repeat(range(n_tokens), len(keys)), len(heads)),
            "key": np.tile(keys, n_tokens * len(heads)),
            "weight": weights.flatten().numpy(),
        }
    )


@costs(lambda n_tokens, n_layers, params: n_tokens)
def writes(
    model: Model, trace: Trace, target: TargetId, position: int, against: Against = None
) -> pd.DataFrame:
    """What each head adds to a token's logit at a position: block, head, logit, norm.

    `logit` is what the head's write gives the target through the final norm frozen at that
    position, before any cap, `against` as in `logit_lens.attribution`: the heads of a block and
    what `bias` has for it sum to that block's attention there. `norm` is the length of the write as
    it is added to the stream. Blocks with another token mixer than attention have no rows.

    A head's write is its slice of what the output projection is given, times the projection. A norm
    behind the projection (Gemma 2, OLMo 2) is frozen likewise. InputError as `attribution`;
    ModelError where heads are not known or do not add up, see `strata.model.head_writes`.
    """
    reader = _Reader(model, trace, target, position, against)
    rows = [
        (each.block, head, logit, norm)
        for each in reader.blocks
        for head, (logit, norm) in enumerate(reader.read(each.block, each.heads))
    ]
    return pd.DataFrame(rows, columns=["block", "head", "logit", "norm"])


@costs(lambda n_tokens, n_layers, params: n_tokens)
def sums(
    model: Model, trace: Trace, target: TargetId, position: int, against: Against = None
) -> pd.DataFrame:
    """Whether the heads of each block add up to its attention: block, heads (sum of their logits),
    bias, attn (the logit of what attention added, as `logit_lens.attribution` has it), error (how
    far all D numbers of the write are from what was added, as a share of the largest entry).
    Parameters and errors as `writes`."""
    reader = _Reader(model, trace, target, position, against)
    rows = [
        (
            each.block,
            sum(logit for logit, _ in reader.read(each.block, each.heads)),
            reader.read(each.block, each.bias[None])[0][0],
            reader.read(each.block, trace.attn[each.block, reader.position][None])[0][0],
            each.error,
        )
        for each in reader.blocks
    ]
    return pd.DataFrame(rows, columns=["block", "heads", "bias", "attn", "error"])


@costs(lambda n_tokens, n_layers, params: n_tokens)
def bias(
    model: Model, trace: Trace, target: TargetId, position: int, against: Against = None
) -> pd.DataFrame:
    """What attention adds whatever its heads read, by block: block, logit, norm. It is the bias of
    the output projection, and that of a norm behind it; 0 where there is none. Parameters and
    errors as `writes`."""
    reader = _Reader(model, trace, target, position, against)
    rows = [(each.block, *reader.read(each.block, each.bias[None])[0]) for each in reader.blocks]
    return pd.DataFrame(rows, columns=["block", "logit", "norm"])


# -- sinks ------------------------------------------------------------------------------------


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def sink_share(model: Model, trace: Trace, positions: Sequence[int] | None = None) -> pd.DataFrame:
    """How much of each head's attention goes to the sinks, and what it writes from there: block,
    head, share, nowhere, from_sinks, from_others.

    `share`: the mean weight on the sinks (`positions`, by default those of `concepts.sinks`), over
    the queries behind the first sink that are none themselves; `nowhere` what a learned logit takes
    (gpt-oss). `from_sinks` and `from_others`: the mean norms of what the head writes at these
    queries from the sinks' values and from all others'; missing where a family does more with its
    values than weigh them, or where what heads write does not add up. A head that reads a sink and
    writes little from it does nothing there: Xiao et al. 2023, Gu et al. 2024.

    Blocks without attention weights have no rows; nor has any without a sink, or without a query
    behind it. InputError for a position that does not exist; ModelError where no block has weights.
    """
    check_run(model, trace)
    given = sinks(trace)["position"].tolist() if positions is None else positions
    at = sorted({check_position(trace, each) for each in given})
    queries = [q for q in range(len(trace.tokens)) if at and q > at[0] and q not in at]
    rows: list[tuple[float, ...]] = []
    for seen in opened(model, trace) if queries else ():
        weights = seen.weights[:, queries]  # (H, Q, T)
        shares = weights[..., at].sum(dim=-1).mean(dim=-1).tolist()  # (H,)
        nowhere = seen.nowhere[:, queries].mean(dim=-1).tolist()
        norms = _norms(model, seen, at, queries)
        for head, (share, none, both) in enumerate(zip(shares, nowhere, norms, strict=True)):
            rows.append((seen.block, head, share, none, *both))
    numbers = ["share", "nowhere", "from_sinks", "from_others"]
    types = {"block": "int64", "head": "int64"} | dict.fromkeys(numbers, "float64")
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _norms(
    model: Model, seen: Opened, at: Sequence[int], queries: Sequence[int]
) -> list[tuple[float, float]]:
    """Of each head the mean norms of what it writes from the sinks and from all others."""
    n_heads = len(seen.weights)
    missing = [(math.nan, math.nan)] * n_heads
    if seen.values is None or model.write_refusal:
        return missing
    whole = seen.weights[:, queries] @ seen.values  # (H, Q, W)
    there = seen.weights[:, queries][..., at] @ seen.values[:, at]
    try:
        bare = projected(model, seen.block)
        output = sum(whole[h] @ bare.matrix[h] for h in range(n_heads)) + bare.own_bias  # (Q, D)
        how = projected(model, seen.block, output)
    except ModelError:
        return missing

    def norm(part: Tensor, head: int) -> float:
        return float(how.added(part[head], head).norm(dim=-1).mean())

    return [(norm(there, head), norm(whole - there, head)) for head in range(n_heads)]


# -- what there is, and whether it is right ------------------------------------------------------


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def shape(model: Model, trace: Trace) -> pd.DataFrame:
    """Which blocks have heads, and how many: block, heads, weighted; 0 where a block has another
    token mixer, or heads that are neither told apart nor seen. `weighted`: whether these weigh
    tokens, so that `pattern` shows whom they read."""
    heads = [0] * model.n_layers
    for block in range(model.n_layers):
        with suppress(ModelError):
            heads[block] = projection(model.architecture, block)[1]
    weighted = [False] * model.n_layers
    with suppress(ModelError):
        for seen in opened(model, trace):
            heads[seen.block], weighted[seen.block] = len(seen.weights), True
    blocks = range(model.n_layers)
    return pd.DataFrame({"block": blocks, "heads": heads, "weighted": weighted})


@costs(lambda n_tokens, n_layers, params: 2 * n_tokens)
def proof(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """What heads rest on, measured on this run: identity, error, tolerance, ok, reason; the rows of
    `run.check`, and two.

    "heads": how far the heads' writes and the bias are from what attention added, in the worst
    block, as a share of the largest entry. "alone": how far the worst block, run by itself with its
    weights written down, is from what it gave in the run, relative. A row is missing where that is
    refused for this model.
    """
    position = check_position(trace, position)
    rows = []
    try:
        worst = max(each.error for each in head_writes(model, trace, position))
        rows.append(("heads", worst, AGREEMENT))
    except ModelError:
        pass
    try:
        worst = max(seen.error for seen in opened(model, trace))
        rows.append(("alone", worst, model.check.agreement))
    except ModelError:
        pass
    frame = pd.DataFrame(rows, columns=["identity", "error", "tolerance"])
    frame = frame.assign(ok=frame["error"] <= frame["tolerance"], reason="")
    return pd.concat([identities(trace.check), frame], ignore_index=True)


# -- inside -----------------------------------------------------------------------------------


def check_block(model: Model, block: int) -> int:
    """The block as an int; InputError unless it is one of 0 to L - 1."""
    try:
        number = operator.index(block)
    except TypeError:
        raise InputError(f"A block must be a whole number, not {block!r}.") from None
    if not 0 <= number < model.n_layers:
        raise InputError(f"Block {number} does not exist: blocks are 0 to {model.n_layers - 1}.")
    return number


def check_head(head: int, n_heads: int) -> int:
    try:
        number = operator.index(head)
    except TypeError:
        raise InputError(f"A head must be a whole number, not {head!r}.") from None
    if not 0 <= number < n_heads:
        raise InputError(f"Head {number} does not exist: heads are 0 to {n_heads - 1}.")
    return number


class _Reader:
    """What heads write at a position, read through the final norm frozen there."""

    def __init__(
        self, model: Model, trace: Trace, target: TargetId, position: int, against: Against
    ) -> None:
        check_run(model, trace)
        self.position = check_position(trace, position)
        target = check_target(target, model.d_vocab)
        against = check_against(model, target, against)
        if model.lens_refusal:
            raise ModelError(model.lens_refusal)
        if trace.unsummed:
            raise InputError(
                "This run changed the stream, so its writes do not add up to its logits."
            )
        self.blocks: list[HeadWrites] = head_writes(model, trace, self.position)
        with torch.inference_mode():
            last = trace.hidden[-1, self.position].to(model.device)
            self._frozen: FrozenNorm = freeze(model.float_head, last)
            self._along = less(self._frozen.matrix, target, against)
        self._left = trace.carried(torch.ones(model.n_layers, 1, 1)).flatten().tolist()
        self._device = model.device

    def read(self, block: int, parts: Tensor) -> list[tuple[float, float]]:
        """(n, D) that a block adds -> logit and norm of each."""
        with torch.inference_mode():
            left = (parts * self._left[block]).to(self._device)
            logits = self._frozen.along(left, self._along).tolist()
        return list(zip(logits, parts.double().norm(dim=-1).tolist(), strict=True))
