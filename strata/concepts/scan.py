"""One pass over the logits of many cells: what each says, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts.reading import ROWS, Reading
from strata.concepts.target import TargetId, value_of
from strata.display.tokens import display_candidate
from strata.runtime.cores import spread

if TYPE_CHECKING:
    from strata.model import Model

Target = TargetId | list[int] | None  # a list: one for each position
# Below this a logit adds nothing to a sum of float32 exponentials, and denormal numbers, which the
# exponential would give, are many times slower.
_NEGLIGIBLE = -80.0
_CELLS, _WIDTH = 512, 4096  # and tokens of the vocabulary whose logits are made at a time: 8 MB
_MOST_STREAMED = 16  # tokens a cell: more are sought in the whole vocabulary at once
_BLOCK = 64  # logits whose largest is found first when the top k are sought


def scan(
    reading: Reading,
    k: int = 0,
    *,
    largest: bool = True,
    detail: bool = False,
    target_id: Target = None,
    other: int = 0,
) -> dict[str, NDArray[Any]]:
    """What every cell of a reading says, (n, T) arrays or (n, T, k).

    With k: logit, token_id, rank and prob of the k largest (or smallest) logits. With `detail`:
    entropy and kl_to_final in nats, final_id (the token that the model itself ranks first there),
    and target_logit, target_prob, target_rank of one token: of `final_id` if `target_id` is None,
    of one for each position if it is a list. Of a pair target_logit is the difference, and the
    other two say nothing (NaN and 0). With `other`: other_id and other_logit of that many logits
    from the other end, outermost first.
    Where the norm is frozen, probabilities, entropies and divergences are NaN: a contribution is no
    distribution.
    """
    if detail or other or reading.mistake != "none":
        found = _detailed(reading, k, largest, target_id, other)
    else:
        row = _plain(reading.in_one_row(), k, largest)
        found = {name: c.view(*reading.shape, c.shape[-1]) for name, c in row.items()}
    return {name: cells.numpy() for name, cells in found.items()}


def _plain(reading: Reading, k: int, largest: bool) -> dict[str, Tensor]:
    """`scan` of a single row, without detail.

    A slice of the vocabulary for many cells, not all of it for few: the product is faster so, and
    what is asked of its logits finds them in the processor's cache.
    """
    streamed = largest and k <= _MOST_STREAMED  # else a cell's logits are looked at together
    most, width = (_CELLS, _WIDTH) if streamed else (ROWS, reading.d_vocab)
    n_cells = reading.shape[1]
    n_threads = torch.get_num_threads()
    n_spans = n_threads * math.ceil(n_cells / most / n_threads)  # each thread as many
    n_spans = min(n_spans, n_cells)
    spans = [slice(i * n_cells // n_spans, (i + 1) * n_cells // n_spans) for i in range(n_spans)]
    found = _empty(reading.shape, k, 0)
    cells = spread(lambda span: _summed(reading, span, width, k, largest), spans, reading.device)
    for span, each in zip(spans, cells, strict=True):
        for name, numbers in each.items():
            found[name][0, span] = numbers
    return found


def _summed(reading: Reading, span: slice, width: int, k: int, largest: bool) -> dict[str, Tensor]:
    """logit, token_id, rank and prob of some cells of a single row, (s, k)."""
    parts, sizes = [], []
    first, spare = 0, torch.empty(0)
    for logits in reading.parts(span, width):  # (s, v)
        if first == 0:
            spare = torch.empty_like(logits)
        share = torch.softmax(logits, dim=-1, out=spare[:, : logits.shape[1]])  # of the slice
        values, token_ids = _outermost(logits, min(k, logits.shape[1]), largest, _peaks(logits)[0])
        prob = share.gather(1, token_ids)
        best = values.argmax(dim=-1, keepdim=True)
        sizes.append(values.gather(1, best) - prob.gather(1, best).log())  # log of the sum of exp
        parts.append((values, token_ids + first, prob))
        first += logits.shape[1]
    if len(parts) > 1:
        weight = torch.cat(sizes, dim=-1).softmax(dim=-1)  # (s, slices)
        parts = [(v, t, p * w[:, None]) for (v, t, p), w in zip(parts, weight.T, strict=True)]
    values, token_ids, prob = (torch.cat(each, dim=-1) for each in zip(*parts, strict=True))
    chosen = values.topk(k, dim=-1, largest=largest).indices
    values, token_ids, prob = (each.gather(1, chosen) for each in (values, token_ids, prob))
    order = _order(values, token_ids, largest)
    values, token_ids, prob = (each.gather(1, order) for each in (values, token_ids, prob))
    if reading.frozen is not None:
        prob.fill_(math.nan)
    rank = _rank(values, logits, largest)
    return {"logit": values, "token_id": token_ids, "rank": rank, "prob": prob}


def _detailed(
    reading: Reading, k: int, largest: bool, target_id: Target, other: int
) -> dict[str, Tensor]:
    """`scan` with detail."""
    found = _empty(reading.shape, k, other, detail=True)

    def fill(span: slice) -> None:
        for row, cells in _rows(reading, span, k, largest, target_id, other):
            for name, numbers in cells.items():
                found[name][row, span] = numbers

    spread(fill, reading.spans(), reading.device)
    return found


def _rows(
    reading: Reading, span: slice, k: int, largest: bool, target_id: Target, other: int
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Each row with what is said of its cells at some positions, (s,) or (s, k), the last first."""
    last_logits = final = final_entropy = torch.empty(0)
    for rows, logits in reading.chunks(span):  # (r, s, V), the last layer first
        if rows.stop == len(reading.layers):
            the_end = reading.ends_in_the_output
            last_logits = logits[-1].clone() if the_end else reading.final_logits(span)
            own = last_logits - last_logits.amax(dim=-1, keepdim=True)  # (s, V)
            final = own.clamp(min=_NEGLIGIBLE).softmax(dim=-1)  # (s, V)
            final_entropy = own.logsumexp(dim=-1) - (final * own).sum(dim=-1)  # (s,)
            final_id = last_logits.argmax(dim=-1)  # (s,)
            ids = final_id
            if isinstance(target_id, list):  # a token for each position
                ids = ids.new_tensor(target_id[span])
            elif isinstance(target_id, int):
                ids = torch.full_like(ids, target_id)
            shifted, spare = torch.empty_like(own), torch.empty_like(own)
        for row, here in zip(range(rows.start, rows.stop), logits, strict=True):  # (s, V)
            blocked, peak = _peaks(here)
            cells = _ends(here, blocked, k, largest, other) | {"final_id": final_id}
            if pair := isinstance(target_id, tuple):
                cells["target_logit"] = value_of(here, target_id)
            else:
                value = here.gather(-1, ids[:, None])  # (s, 1)
                cells["target_logit"] = value[:, 0]
                cells["target_rank"] = (here > value).sum(dim=-1)
            if reading.frozen is None:
                torch.sub(here, peak, out=shifted)
                cross = torch.mul(shifted, final, out=spare).sum(dim=-1)  # of the final with this
                total = torch.clamp(shifted, min=_NEGLIGIBLE, out=spare).exp_().sum(dim=-1)  # (s,)
                weighted, spread_out = spare.mul_(shifted).sum(dim=-1), total.log()
                cells["entropy"] = (spread_out - weighted / total).clamp_min(0)
                cells["kl_to_final"] = (spread_out - cross - final_entropy).clamp_min(0)
                if not pair:
                    cells["target_prob"] = (value - peak)[:, 0].exp() / total
                if k:
                    cells["prob"] = (cells["logit"] - peak).exp() / total[:, None]
            yield row, cells
        del logits, here


def _peaks(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(N, V) -> the largest of each block of 64 (N, V // 64), and of all (N, 1)."""
    n_blocks = logits.shape[-1] // _BLOCK
    blocked = logits[:, : n_blocks * _BLOCK].unflatten(-1, (n_blocks, _BLOCK)).amax(dim=-1)
    rest = logits[:, n_blocks * _BLOCK :]
    return blocked, torch.cat([blocked, rest], dim=-1).amax(dim=-1, keepdim=True)


def _ends(logits: Tensor, blocked: Tensor, k: int, largest: bool, other: int) -> dict[str, Tensor]:
    """Of (N, V) logits the k outermost with their ranks, and `other` from the other end."""
    found: dict[str, Tensor] = {}
    if k:
        named = zip(("logit", "token_id", "rank"), top(logits, k, largest, blocked), strict=True)
        found |= dict(named)
    if other:
        far = _outermost(logits, other, not largest, blocked)
        found["other_logit"], found["other_id"] = _in_order(*far, not largest)
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
    values, token_ids = _in_order(*_outermost(logits, k, largest, blocked), largest)
    return values, token_ids, _rank(values, logits, largest)


def _rank(values: Tensor, logits: Tensor, largest: bool) -> Tensor:
    """How many logits are larger than each of the outermost ones, (N, k)."""
    if largest:  # no others can be
        return torch.searchsorted(-values, -values)
    return torch.stack([(logits > v[:, None]).sum(dim=-1) for v in values.T], dim=-1)


def _in_order(values: Tensor, token_ids: Tensor, largest: bool) -> tuple[Tensor, Tensor]:
    """The same in the order of `_order`."""
    order = _order(values, token_ids, largest)
    return values.gather(1, order), token_ids.gather(1, order)


def _order(values: Tensor, token_ids: Tensor, largest: bool) -> Tensor:
    """Where each stands: the outermost first, equal values in order of id."""
    by_id = token_ids.argsort(dim=-1)
    by_value = values.gather(1, by_id).argsort(dim=-1, descending=largest, stable=True)
    return by_id.gather(1, by_value)


def _outermost(logits: Tensor, k: int, largest: bool, blocked: Tensor) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) of (N, V) logits and their ids, in any order."""
    d_vocab = logits.shape[-1]
    signed, n_blocks = logits if largest else -logits, d_vocab // _BLOCK
    if n_blocks <= 4 * k:
        values, token_ids = signed.topk(k, dim=-1)
    else:  # the top k are in the k blocks whose largest are largest, or in what blocks leave over
        if not largest:
            blocked, _ = _peaks(signed)
        rows = torch.arange(len(logits), device=logits.device)[:, None]
        blocks = blocked.topk(k, dim=-1).indices  # (N, k)
        in_blocks = signed[:, : n_blocks * _BLOCK].unflatten(-1, (n_blocks, _BLOCK))[rows, blocks]
        in_blocks = in_blocks.flatten(1)  # (N, k * 64)
        if d_vocab % _BLOCK:
            in_blocks = torch.cat([in_blocks, signed[:, n_blocks * _BLOCK :]], dim=-1)
            left_over = blocks.new_full((len(blocks), 1), n_blocks)
            blocks = torch.cat([blocks, left_over], dim=-1)  # as one more block, a short one
        values, chosen = in_blocks.topk(k, dim=-1)
        token_ids = blocks.gather(1, chosen // _BLOCK) * _BLOCK + chosen % _BLOCK
    return (values if largest else -values), token_ids


def texts(model: Model, token_ids: NDArray[Any], reading: Reading) -> list[str]:
    """What each of many token ids, (n, T) or (n, T, k), would add at its position. Positions after
    which an id adds the same, as nearly all are, share what is decoded."""
    alike: dict[tuple[int | None, bytes], list[int]] = {}
    for column, position in enumerate(reading.positions):
        context = model.texts.context(reading.token_ids[: position + 1])
        alike.setdefault(context, []).append(column)
    found = np.empty(token_ids.shape, dtype=object)
    for columns in alike.values():
        here = token_ids[:, columns]
        unique, where = np.unique(here.ravel(), return_inverse=True)
        read = reading.token_ids[: reading.positions[columns[0]] + 1]
        decoded = np.array(model.decode(unique.tolist(), after=read), dtype=object)
        found[:, columns] = decoded[where].reshape(here.shape)
    return list(found.ravel())


def listed(
    model: Model,
    token_ids: NDArray[Any],
    numbers: NDArray[Any],
    form: str,
    reading: Reading,
    step: int = 1,
) -> list[str]:
    """For each cell of `scan`: its k tokens and their numbers, one a line, fit to be shown. `step`
    -1: from the last to the first."""
    shown = map(display_candidate, texts(model, token_ids, reading))
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
