"""Scaling: multiply what one block hands on, and see what becomes of the prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from strata.concepts import costs
from strata.concepts.run import check_count, check_position
from strata.concepts.scaling.words import PART_NAMES
from strata.concepts.target import TargetId, check_target, rank_of, ranks, value_of
from strata.errors import InputError
from strata.trace import Edit, Part, Scale, Trace

if TYPE_CHECKING:
    from strata.model import Model
MOST_FACTORS = 100
_LOGITS_AT_ONCE = 5_000_000  # 40 MB in float64: about 100 rows at V = 50,000


@costs(lambda n_tokens, n_layers, params: n_tokens * n_layers * len(params["factors"]) / 2)
def sweep(
    model: Model,
    trace: Trace,
    target_id: TargetId,
    factors: Sequence[float],
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What scaling at each block, one block a run, does to the next-token distribution of the last
    position: L rows for each factor.

    Columns: block, factor, logprob (of the target, nats), clean_logprob (the same without the
    edit), rank (of the target: how many tokens have a larger logit), kl (KL(clean, edited), nats).
    `part` "stream" multiplies `hidden[block + 1]`, "attn" and "mlp" only what that part added. Of a
    pair (a, b) as target logprob and clean_logprob are a's less b's, which is the difference of
    their logits too, and rank is missing. `positions` None means all. InputError for a target,
    factor, part or position that does not exist; ModelError for "attn" and "mlp" where a model's
    writes are refused. Seed 003, demo 3.
    """
    target_id = check_target(target_id, model.d_vocab)
    numbers = _factors(factors)
    where = _positions(trace, positions)
    blocks = range(model.n_layers)
    edits = [Scale(block, factor, part, where) for block in blocks for factor in numbers]
    clean = _logprobs(model.unembed(trace.hidden[-1, -1]))  # (V,)
    prob = clean.exp()
    rows: dict[int, tuple[Any, ...]] = {}
    for i, logprobs in distributions(model, trace, edits, progress):
        both = float(value_of(logprobs, target_id)), float(value_of(clean, target_id))
        kl = max(0.0, float(prob @ (clean - logprobs)))
        rows[i] = edits[i].block, edits[i].factor, *both, rank_of(logprobs, target_id), kl
    columns = ["block", "factor", "logprob", "clean_logprob", "rank", "kl"]
    frame = pd.DataFrame([rows[i] for i in range(len(edits))], columns=columns)
    return frame.assign(rank=ranks(frame["rank"].array, target_id))


def compare(
    model: Model,
    trace: Trace,
    block: int,
    factor: float,
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    k: int = 10,
) -> pd.DataFrame:
    """The next-token distribution of the last position before and after one edit: the k likeliest
    tokens of either, by their clean probability.

    Columns: token_id, predicted, clean_prob, prob, clean_rank, rank (0 is best). k to 2 k rows.
    """
    k = check_count("The number of tokens", k, model.d_vocab)
    [number] = _factors([factor])
    edit = Scale(block, number, part, _positions(trace, positions))
    clean = _logprobs(model.unembed(trace.hidden[-1, -1]))  # (V,)
    [(_, edited)] = distributions(model, trace, [edit])
    best = (each.argsort(descending=True, stable=True)[:k] for each in (clean, edited))
    token_ids = torch.cat(list(best)).unique()
    token_ids = token_ids[clean[token_ids].argsort(descending=True, stable=True)]
    frame = {
        "token_id": token_ids.numpy(),
        "predicted": list(model.decode(token_ids, after=trace.token_ids)),
    }
    for name, logprobs in (("clean_", clean), ("", edited)):
        frame[f"{name}prob"] = logprobs[token_ids].exp().numpy()
        frame[f"{name}rank"] = [int((logprobs > logprobs[i]).sum()) for i in token_ids]
    columns = ["token_id", "predicted", "clean_prob", "prob", "clean_rank", "rank"]
    return pd.DataFrame(frame)[columns]


def last_block(model: Model, trace: Trace, target_id: TargetId, factor: float) -> pd.DataFrame:
    """Scaling the whole stream after the last block, one row: block, factor, clean_logprob and
    logprob of the target (nats; of a pair a's less b's), clean_top and top (the likeliest token
    without and with it), ties (how many tokens are as likely as `top`, itself counted).

    What follows is the final norm, which divides a state by its own size, so that a factor well
    above 0 cancels.
    """
    target_id = check_target(target_id, model.d_vocab)
    [number] = _factors([factor])
    last = trace.hidden[-1, -1]  # (D,)
    clean, edited = (_logprobs(model.unembed(state)) for state in (last, last * number))
    best = [int(clean.argmax()), int(edited.argmax())]
    top = model.decode(best, after=trace.token_ids)
    ties = int((edited == edited.max()).sum())
    both = float(value_of(clean, target_id)), float(value_of(edited, target_id))
    values = model.n_layers - 1, number, *both, *top, ties
    columns = ["block", "factor", "clean_logprob", "logprob", "clean_top", "top", "ties"]
    return pd.DataFrame([values], columns=columns)


def places(model: Model, part: Part = "stream") -> pd.DataFrame:
    """The module whose output an edit scales, in each block: block, within (its path from the
    block; '' is the block itself; "a+b" are several). InputError for an unknown part; ModelError
    for refused writes, and for the MLP of a model without.
    """
    if part not in PART_NAMES:
        raise InputError(f"A part is stream, attn or mlp, not {part!r}.")
    model.require_part(part)
    names = [""] * model.n_layers
    if part != "stream":
        writes = dict(model.architecture.parts())[part]
        names = ["+".join(write.path for write in block) for block in writes]
    return pd.DataFrame({"block": range(model.n_layers), "within": names})


def distributions(
    model: Model,
    trace: Trace,
    edits: Sequence[Edit],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Each edit's place in the list, and the (V,) log-probabilities it leads to."""
    at_once = max(1, _LOGITS_AT_ONCE // model.d_vocab)
    for group, states in model.replay(trace, edits, progress):
        for start in range(0, len(group), at_once):
            logits = model.unembed(states[start : start + at_once])  # (n, V)
            yield from zip(group[start : start + at_once], _logprobs(logits), strict=True)


def _logprobs(logits: Tensor) -> Tensor:
    """(..., V) logits -> log-probabilities in float64; InputError where a factor overflowed."""
    if not bool(logits.isfinite().all()):
        raise InputError("Scaled by such a factor the state overflows; use a smaller one.")
    return logits.double().log_softmax(dim=-1)


def _factors(factors: Sequence[float]) -> list[float]:
    try:
        numbers = [float(factor) for factor in factors]
    except (TypeError, ValueError):
        raise InputError(f"The factors must be a list of numbers, not {factors!r}.") from None
    check_count("The number of factors", len(numbers), MOST_FACTORS)
    return numbers


def _positions(trace: Trace, positions: Sequence[int] | None) -> tuple[int, ...] | None:
    if positions is None:
        return None
    where = tuple(sorted({check_position(trace, position) for position in positions}))
    if not where:
        raise InputError("Choose at least one position to scale.")
    return where
