"""One pass over the logits of many cells: what each says, and how sure it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.display import display_token
from strata.lens_rows import Reading

if TYPE_CHECKING:
    from strata.model import Model

# Below this a logit adds nothing to a sum of float32 exponentials, and denormal numbers, which the
# exponential would give, are many times slower.
_NEGLIGIBLE = -80.0
_ROWS = 4  # whose exponentials are summed together
_BLOCK = 64  # logits whose largest is found first when the top k are sought


def scan(
    reading: Reading,
    k: int = 0,
    *,
    largest: bool = True,
    detail: bool = False,
    target_id: int | None = None,
    other: int = 0,
) -> dict[str, NDArray[Any]]:
    """What every cell of a reading says, (n, T) arrays or (n, T, k).

    With k: logit, token_id, rank and prob of the k largest (or smallest) logits. With `detail`:
    entropy and kl_to_final in nats, final_id (the token that the model itself ranks first there),
    and target_logit, target_prob, target_rank of one token, of `final_id` if `target_id` is None.
    With `other`: other_id and other_logit of that many logits from the other end, outermost first.
    Where the norm is frozen, probabilities, entropies and divergences are NaN: a contribution is no
    distribution.
    """
    found = _empty(reading, k, detail, other)
    final = last_logits = final_entropy = torch.empty(0)
    for rows, span, logits in reading.chunks():  # (r, s, V), the last layer first
        cell = (rows, span)
        if detail and rows.stop == len(reading.layers):
            last_logits = logits[-1] if reading.ends_in_the_output else reading.final_logits(span)
            own = last_logits - last_logits.amax(dim=-1, keepdim=True)  # (s, V)
            final = own.clamp(min=_NEGLIGIBLE).softmax(dim=-1)  # (s, V)
            final_entropy = own.logsumexp(dim=-1) - (final * own).sum(dim=-1)  # (s,)
        peak = logits.amax(dim=-1, keepdim=True)
        if detail:
            final_id = last_logits.argmax(dim=-1)  # (s,)
            ids = final_id if target_id is None else torch.full_like(final_id, target_id)
            ids = ids.expand(logits.shape[:2])[..., None]  # (r, s, 1)
            found["final_id"][cell] = final_id
            value = logits.gather(-1, ids)  # (r, s, 1)
            found["target_logit"][cell] = value[..., 0]
            found["target_rank"][cell] = (logits > value).sum(dim=-1)
        total = torch.full_like(peak, math.nan)
        if reading.frozen is None:
            if detail:
                shifted = logits - peak
                cross = torch.einsum("rsv,sv->rs", shifted, final)  # of the final with this one
                weights = shifted.clamp(min=_NEGLIGIBLE).exp_()
                total = weights.sum(dim=-1, keepdim=True)
                weighted = (weights.mul_(shifted)).sum(dim=-1)
                spread = total.log()[..., 0]
                found["entropy"][cell] = (spread - weighted / total[..., 0]).clamp_min(0)
                found["kl_to_final"][cell] = (spread - cross - final_entropy).clamp_min(0)
                found["target_prob"][cell] = ((value - peak).exp() / total)[..., 0]
            else:
                total = _sum_exp(logits.flatten(0, 1), peak.flatten(0, 1)).view_as(peak)
        if k:
            value, token_id, rank = top(logits.flatten(0, 1), k, largest)  # (r * s, k)
            shape = (*logits.shape[:2], k)
            found["logit"][cell] = value.view(shape)
            found["token_id"][cell] = token_id.view(shape)
            found["rank"][cell] = rank.view(shape)
            found["prob"][cell] = (value.view(shape) - peak).exp() / total
        if other:
            value, token_id = _outermost(logits.flatten(0, 1), other, not largest)
            shape = (*logits.shape[:2], other)
            found["other_logit"][cell] = value.view(shape)
            found["other_id"][cell] = token_id.view(shape)
    return {name: numbers.numpy() for name, numbers in found.items()}


def _sum_exp(logits: Tensor, peak: Tensor) -> Tensor:
    """(N, V), (N, 1) -> (N, 1): the sum of exp(logits - peak), a few rows at a time, which fit into
    the processor's cache."""
    spare = torch.empty_like(logits[:_ROWS])
    sums = []
    for rows, most in zip(logits.split(_ROWS), peak.split(_ROWS), strict=True):
        shifted = torch.sub(rows, most, out=spare[: len(rows)])
        sums.append(shifted.clamp_(min=_NEGLIGIBLE).exp_().sum(dim=-1, keepdim=True))
    return torch.cat(sums)


def top(logits: Tensor, k: int, largest: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of (N, V) logits, or the k smallest: values, token ids and ranks, (N, k) each.

    Best (or worst) first, equal logits in order of id. rank: how many of the V are larger.
    """
    values, token_ids = _outermost(logits, k, largest)
    if largest:
        rank = torch.searchsorted(-values, -values)
    else:
        rank = torch.stack([(logits > v[:, None]).sum(dim=-1) for v in values.T], dim=-1)
    return values, token_ids, rank


def _outermost(logits: Tensor, k: int, largest: bool) -> tuple[Tensor, Tensor]:
    """`top` without the ranks."""
    d_vocab = logits.shape[-1]
    signed = logits if largest else -logits
    n_blocks = d_vocab // _BLOCK
    if n_blocks <= 4 * k:
        token_ids = signed.topk(k, dim=-1).indices
    else:  # the top k are in the k blocks whose largest are largest, or in what blocks leave over
        blocked = signed[:, : n_blocks * _BLOCK].unflatten(-1, (n_blocks, _BLOCK))
        blocks = blocked.amax(dim=-1).topk(k, dim=-1).indices  # (N, k)
        inside = torch.arange(_BLOCK, device=logits.device)
        candidates = (blocks[..., None] * _BLOCK + inside).flatten(1)  # (N, k * 64)
        rest = torch.arange(n_blocks * _BLOCK, d_vocab, device=logits.device)
        candidates = torch.cat([candidates, rest.expand(len(logits), -1)], dim=-1)
        chosen = signed.gather(1, candidates).topk(k, dim=-1).indices
        token_ids = candidates.gather(1, chosen)
    token_ids = token_ids.sort(dim=-1).values
    values = signed.gather(1, token_ids)
    order = values.argsort(dim=-1, descending=True, stable=True)
    values, token_ids = values.gather(1, order), token_ids.gather(1, order)
    return values if largest else -values, token_ids


def texts(model: Model, token_ids: NDArray[Any]) -> list[str]:
    """The text of each of many token ids, each different one decoded once."""
    unique, where = np.unique(token_ids.ravel(), return_inverse=True)
    decoded = model.decode(unique.tolist())
    return [decoded[i] for i in where]


def listed(
    model: Model, token_ids: NDArray[Any], numbers: NDArray[Any], form: str, step: int = 1
) -> list[str]:
    """For each cell of `scan`: its k tokens and their numbers, one a line, fit to be shown. `step`
    -1: from the last to the first."""
    shown = map(display_token, texts(model, token_ids))
    lines = [form.format(*each) for each in zip(shown, numbers.ravel(), strict=True)]
    *cells, k = numbers.shape
    return ["\n".join(lines[i * k : (i + 1) * k][::step]) for i in range(math.prod(cells))]


def _empty(reading: Reading, k: int, detail: bool, other: int) -> dict[str, Tensor]:
    def numbers(*shape: int) -> Tensor:
        return torch.full((*reading.shape, *shape), math.nan)

    def counts(*shape: int) -> Tensor:
        return torch.zeros(*reading.shape, *shape, dtype=torch.int64)

    found = {"logit": numbers(k), "prob": numbers(k), "token_id": counts(k), "rank": counts(k)}
    found |= {"other_logit": numbers(other), "other_id": counts(other)}
    if detail:
        names = ("entropy", "kl_to_final", "target_logit", "target_prob")
        found |= {name: numbers() for name in names}
        found |= {"final_id": counts(), "target_rank": counts()}
    return found
