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
_ROWS = 4  # whose exponentials a thread sums together: they fit the processor's cache
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
    if detail or reading.mistake != "none":
        found = _detailed(reading, k, largest, target_id, other)
    else:
        row = _plain(reading.in_one_row(), k, largest, other)
        found = {name: c.view(*reading.shape, c.shape[-1]) for name, c in row.items()}
    return {name: cells.numpy() for name, cells in found.items()}


def _plain(reading: Reading, k: int, largest: bool, other: int) -> dict[str, Tensor]:
    """`scan` of a single row, without detail."""
    found = _empty(reading.shape, k, other)
    for _, span, logits in reading.chunks():  # (1, s, V)
        parts = [_summed(rows) for rows in logits[0].split(_ROWS * torch.get_num_threads())]
        blocked, peak, total = map(torch.cat, zip(*parts, strict=True))
        if reading.frozen is not None:
            total.fill_(math.nan)
        cells = _ends(logits[0], blocked, k, largest, other)
        cells["prob"] = (cells["logit"] - peak).exp() / total
        for name, numbers in cells.items():
            found[name][0, span] = numbers
        del logits
    return found


def _detailed(
    reading: Reading, k: int, largest: bool, target_id: int | None, other: int
) -> dict[str, Tensor]:
    """`scan` with detail."""
    found = _empty(reading.shape, k, other, detail=True)
    final = last_logits = final_entropy = torch.empty(0)
    for rows, span, logits in reading.chunks():  # (r, s, V), the last layer first
        if rows.stop == len(reading.layers):
            the_end = reading.ends_in_the_output
            last_logits = logits[-1].clone() if the_end else reading.final_logits(span)
            own = last_logits - last_logits.amax(dim=-1, keepdim=True)  # (s, V)
            final = own.clamp(min=_NEGLIGIBLE).softmax(dim=-1)  # (s, V)
            final_entropy = own.logsumexp(dim=-1) - (final * own).sum(dim=-1)  # (s,)
        final_id = last_logits.argmax(dim=-1)  # (s,)
        ids = final_id if target_id is None else torch.full_like(final_id, target_id)
        shifted, spare = torch.empty_like(logits[0]), torch.empty_like(logits[0])
        for row, here in zip(range(rows.start, rows.stop), logits, strict=True):  # (s, V)
            blocked, peak = _peaks(here)
            value = here.gather(-1, ids[:, None])  # (s, 1)
            cells = _ends(here, blocked, k, largest, other)
            cells["final_id"], cells["target_logit"] = final_id, value[:, 0]
            cells["target_rank"] = (here > value).sum(dim=-1)
            if reading.frozen is None:
                torch.sub(here, peak, out=shifted)
                cross = torch.mul(shifted, final, out=spare).sum(dim=-1)  # of the final with this
                total = torch.clamp(shifted, min=_NEGLIGIBLE, out=spare).exp_().sum(dim=-1)  # (s,)
                weighted, spread = spare.mul_(shifted).sum(dim=-1), total.log()
                cells["entropy"] = (spread - weighted / total).clamp_min(0)
                cells["kl_to_final"] = (spread - cross - final_entropy).clamp_min(0)
                cells["target_prob"] = (value - peak)[:, 0].exp() / total
                if k:
                    cells["prob"] = (cells["logit"] - peak).exp() / total[:, None]
            for name, numbers in cells.items():
                found[name][row, span] = numbers
        del logits, here
    return found


def _peaks(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(N, V) -> the largest of each block of 64 (N, V // 64), and of all (N, 1)."""
    n_blocks = logits.shape[-1] // _BLOCK
    blocked = logits[:, : n_blocks * _BLOCK].unflatten(-1, (n_blocks, _BLOCK)).amax(dim=-1)
    rest = logits[:, n_blocks * _BLOCK :]
    return blocked, torch.cat([blocked, rest], dim=-1).amax(dim=-1, keepdim=True)


def _summed(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`_peaks`, and the sum of exp(logits - peak), (N, 1)."""
    blocked, peak = _peaks(logits)
    total = (logits - peak).clamp_(min=_NEGLIGIBLE).exp_().sum(dim=-1, keepdim=True)
    return blocked, peak, total


def _ends(logits: Tensor, blocked: Tensor, k: int, largest: bool, other: int) -> dict[str, Tensor]:
    """Of (N, V) logits the k outermost with their ranks, and `other` from the other end."""
    found: dict[str, Tensor] = {}
    if k:
        named = zip(("logit", "token_id", "rank"), top(logits, k, largest, blocked), strict=True)
        found |= dict(named)
    if other:
        found["other_logit"], found["other_id"] = _outermost(logits, other, not largest, blocked)
    return found


def top(
    logits: Tensor, k: int, largest: bool = True, blocked: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of (N, V) logits, or the k smallest: values, token ids and ranks, (N, k) each.

    Best (or worst) first, equal logits in order of id. rank: how many of the V are larger.
    `blocked`: the largest of each block of 64, where that is known.
    """
    if blocked is None:
        blocked, _ = _peaks(logits)
    values, token_ids = _outermost(logits, k, largest, blocked)
    if largest:
        rank = torch.searchsorted(-values, -values)
    else:
        rank = torch.stack([(logits > v[:, None]).sum(dim=-1) for v in values.T], dim=-1)
    return values, token_ids, rank


def _outermost(logits: Tensor, k: int, largest: bool, blocked: Tensor) -> tuple[Tensor, Tensor]:
    """`top` without the ranks."""
    d_vocab = logits.shape[-1]
    signed, n_blocks = logits if largest else -logits, d_vocab // _BLOCK
    if n_blocks <= 4 * k:
        token_ids = signed.topk(k, dim=-1).indices
    else:  # the top k are in the k blocks whose largest are largest, or in what blocks leave over
        if not largest:
            blocked, _ = _peaks(signed)
        blocks = blocked.topk(k, dim=-1).indices  # (N, k)
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


def _empty(
    shape: tuple[int, int], k: int, other: int, *, detail: bool = False
) -> dict[str, Tensor]:
    def numbers(*more: int) -> Tensor:
        return torch.full((*shape, *more), math.nan)

    def counts(*more: int) -> Tensor:
        return torch.zeros(*shape, *more, dtype=torch.int64)

    found = {"logit": numbers(k), "prob": numbers(k), "token_id": counts(k), "rank": counts(k)}
    found |= {"other_logit": numbers(other), "other_id": counts(other)}
    if detail:
        names = ("entropy", "kl_to_final", "target_logit", "target_prob")
        found |= {name: numbers() for name in names}
        found |= {"final_id": counts(), "target_rank": counts()}
    return found
