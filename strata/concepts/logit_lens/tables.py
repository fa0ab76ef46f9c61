"""Logit lens: what each layer's state would say if the model stopped there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from strata.concepts.logit_lens.rows import MISTAKES, Reading, read
from strata.concepts.logit_lens.scan import listed, scan, texts
from strata.concepts.run import check_count, check_position
from strata.concepts.target import TargetId, check_target, check_token, ranks, value_of
from strata.errors import InputError
from strata.model.frozen_norm import freeze
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

WIDEST = 64  # positions of a grid
MOST_TOKENS = 20  # of a cell, and followed at once beside those that led


def lens(
    model: Model,
    trace_or_states: Trace | Tensor,
    k: int = 5,
    mode: str = "states",
    largest: bool = True,
) -> pd.DataFrame:
    """The k tokens that each state speaks for: layer, position, token, rank (how many tokens have
    a larger logit), token_id, predicted, logit, prob; k rows a cell. Seed 002.

    `trace_or_states`: a trace, or a tensor of bare states (layers, T, D). Modes: "states" (layers
    0 to L); "deltas_own_norm" reads what each block added as if it were a state (layer: the
    block's output, 1 to L); "deltas_frozen_norm", "attn_frozen_norm", "mlp_frozen_norm" read what
    was added (or, where later blocks multiply the stream, what they leave of it) through the final
    norm with its scale taken from hidden[L]: there `logit` is the contribution to the final logit
    before any cap, and `prob` is NaN. `largest` False: the smallest logits first, what a write
    suppresses. InputError for a bad mode or k; ModelError where the lens or the writes of this
    model are refused.
    """
    k = check_count("The number of tokens", k, model.d_vocab)
    reading = read(model, trace_or_states, mode)
    found = scan(reading, k, largest=largest)
    kinds = {"layer": int, "position": int, "token": object}
    index: dict[str, Any] = {
        name: np.repeat(np.array(cells, dtype=kinds[name]), k)
        for name, cells in reading.index().items()
    }
    return pd.DataFrame(
        {
            **index,
            "rank": found["rank"].ravel(),
            "token_id": found["token_id"].ravel(),
            "predicted": texts(model, found["token_id"], reading),
            "logit": found["logit"].ravel(),
            "prob": found["prob"].ravel(),
        }
    )


def statistics(model: Model, trace: Trace, target_id: TargetId | None = None) -> pd.DataFrame:
    """How sure each state is: layer, position, token, entropy, kl_to_final (KL(final, layer)),
    norm, target_prob, target_rank; nats, (L + 1) * T rows. `target_id` None: at each position the
    token that the model ranks first; a pair (a, b) has neither probability nor rank, which are then
    missing, and its difference is in `grid` and `followed`. InputError for a token that does not
    exist, or a pair of one."""
    reading = read(model, trace)
    found = _scanned(reading, model, target_id)
    names = ("entropy", "kl_to_final", "norm", "target_prob", "target_rank")
    found["norm"] = _norms(trace.hidden)
    return pd.DataFrame({**reading.index(), **{name: found[name].ravel() for name in names}})


def write_norms(trace: Trace) -> pd.DataFrame:
    """How much attention and MLP of each block added: block, part (attn, mlp), position, token,
    norm (Euclidean). 2 * L * T rows. ModelError where the writes of this model are refused."""
    norms = np.stack([_norms(trace.attn), _norms(trace.mlp)], axis=1)  # (L, 2, T)
    n_layers, _, n_tokens = norms.shape
    return pd.DataFrame(
        {
            "block": np.repeat(np.arange(n_layers), 2 * n_tokens),
            "part": np.tile(np.repeat(np.array(["attn", "mlp"], dtype=object), n_tokens), n_layers),
            "position": np.tile(np.arange(n_tokens), 2 * n_layers),
            "token": list(trace.tokens) * (2 * n_layers),
            "norm": norms.ravel(),
        }
    )


def grid(
    model: Model,
    trace: Trace,
    mode: str = "states",
    start: int = 0,
    width: int = 24,
    stride: int = 1,
    k: int = 5,
    largest: bool = True,
    target_id: TargetId | None = None,
    mistake: str = "none",
) -> pd.DataFrame:
    """What the page draws, one row a cell: layer, position, token, token_id, predicted, logit,
    prob, norm (of the state or write), entropy, kl_to_final, target_logit, target_prob,
    target_rank, final_id (what the model itself ranks first there), magnified, top, other.

    Positions `start` to `start + width`, every `stride`-th layer and always the last. `top`: the k
    first tokens and their numbers, one a line, fit to be shown; `other`: of a write the same from
    the other end, 3 tokens that it suppresses (or promotes); '' of a state. `magnified`: how many
    times larger the scale of a delta's own norm is than the frozen one (NaN in other modes).
    `mistake`: "norm_twice" or "no_norm" reads states wrongly on purpose. Of a pair as `target_id`
    target_logit is the difference, target_prob and target_rank are missing.
    """
    width = check_count("The width of a grid", width, WIDEST)
    stride = check_count("The stride over layers", stride, model.n_layers)
    k = min(check_count("The number of tokens", k, MOST_TOKENS), model.d_vocab)
    start = check_position(trace, start)
    reading = read(model, trace, mode, mistake).window(start, width, stride)
    n_other = 0 if mode == "states" else min(3, k)
    found = _scanned(reading, model, target_id, k, largest=largest, other=n_other)
    by_logit = reading.frozen or not largest
    numbers, form = (found["logit"], "{} {:+.2f}") if by_logit else (found["prob"], "{} {:.1%}")
    top = listed(model, found["token_id"], numbers, form, reading)
    far_ids, far_logits = found.pop("other_id"), found.pop("other_logit")
    others = listed(model, far_ids, far_logits, "{} {:+.2f}", reading, step=-1)
    predicted = texts(model, found["token_id"][..., 0], reading)
    first = {name: found.pop(name)[..., 0].ravel() for name in ("token_id", "logit", "prob")}
    del found["rank"]
    magnified = np.full(reading.shape, np.nan)
    if mode == "deltas_own_norm":
        with torch.inference_mode():
            own, end = (
                freeze(reading.architecture, states.to(model.device)).scale[..., 0]
                for states in (reading.states, reading.final)
            )
            magnified = (own / end).cpu().numpy()
    return pd.DataFrame(
        {
            **reading.index(),
            **first,
            "predicted": predicted,
            "norm": _norms(reading.states).ravel(),
            **{name: numbers.ravel() for name, numbers in found.items()},
            "magnified": magnified.ravel(),
            "top": top,
            "other": others,
        }
    )


def cell(
    model: Model,
    trace: Trace,
    layer: int,
    position: int,
    mode: str = "states",
    k: int = 10,
    largest: bool = True,
    mistake: str = "none",
) -> pd.DataFrame:
    """One cell of a grid, opened: rank, token_id, predicted, logit, prob, and on each of the k rows
    the cell's own norm, entropy and kl_to_final."""
    position = check_position(trace, position)
    k = min(check_count("The number of tokens", k, MOST_TOKENS), model.d_vocab)
    reading = read(model, trace, mode, mistake).window(position, 1)
    if layer not in reading.layers:
        raise InputError(
            f"Layer {layer} is not in this grid: its layers are {reading.layers[0]} to "
            f"{reading.layers[-1]}."
        )
    row = reading.layers.index(layer)
    scanned = scan(reading, k, largest=largest, detail=True)
    found = {name: cells[row, 0] for name, cells in scanned.items()}
    found["predicted"] = texts(model, scanned["token_id"][row : row + 1], reading)
    found["norm"] = _norms(reading.states)[row, 0]
    names = ("rank", "token_id", "predicted", "logit", "prob", "norm", "entropy", "kl_to_final")
    return pd.DataFrame({name: found[name] for name in names})


def followed(
    model: Model,
    trace: Trace,
    position: int,
    token_ids: Sequence[int] = (),
    target_id: TargetId | None = None,
) -> pd.DataFrame:
    """Some tokens through all layers at a position: token_id, predicted, other (""), layer, logit,
    prob, rank.

    (L + 1) rows a token. Without `token_ids` those that rank first at any layer, in the order in
    which they first do; `target_id` is followed too. Of a pair (a, b) both are, and then a's logit
    less b's, in rows of a whose `other` is b and whose prob and rank are missing. InputError for a
    bad position or token, or more than 20 tokens.
    """
    position = check_position(trace, position)
    reading = read(model, trace).window(position, 1)
    if not token_ids:
        leaders = scan(reading, 1)["token_id"][:, 0, 0]  # (L + 1,)
        token_ids = list(dict.fromkeys(leaders.tolist()))
    elif len(token_ids) > MOST_TOKENS:
        raise InputError(f"At most {MOST_TOKENS} tokens can be followed at once.")
    if target_id is not None:
        target_id = check_target(target_id, model.d_vocab)
        token_ids = [*token_ids, *(target_id if isinstance(target_id, tuple) else [target_id])]
    ids = torch.tensor([*dict.fromkeys(check_token(i, model.d_vocab) for i in token_ids)])  # (n,)
    n_layers = len(reading.layers)
    logit, prob = torch.empty(2, len(ids), n_layers)
    rank = torch.empty(len(ids), n_layers).long()
    apart = torch.empty(n_layers)
    for rows, logits in reading.chunks(slice(0, 1)):  # (r, 1, V)
        chosen = logits[:, 0, ids.to(logits.device)]  # (r, n)
        logit[:, rows] = chosen.T.cpu()
        prob[:, rows] = (chosen - logits.logsumexp(dim=-1)).exp().T.cpu()
        for i, value in enumerate(chosen.T):
            rank[i, rows] = (logits[:, 0] > value[:, None]).sum(dim=-1).cpu()
        if isinstance(target_id, tuple):
            apart[rows] = value_of(logits[:, 0], target_id).cpu()
    decoded = model.decode(ids, after=trace.token_ids[: position + 1])
    frame = pd.DataFrame(
        {
            "token_id": ids.repeat_interleave(n_layers).numpy(),
            "predicted": np.repeat(np.array(decoded, dtype=object), n_layers),
            "other": "",
            "layer": np.tile(reading.layers, len(ids)),
            "logit": logit.flatten().numpy(),
            "prob": prob.flatten().numpy(),
            "rank": rank.flatten().numpy(),
        }
    )
    if not isinstance(target_id, tuple):
        return frame
    named = dict(zip(ids.tolist(), decoded, strict=True))
    a, b = target_id
    difference = frame.iloc[:n_layers].assign(
        token_id=a,
        predicted=named[a],
        other=named[b],
        logit=apart.numpy(),
        prob=np.nan,
        rank=ranks(reading.layers, target_id),
    )
    whole = [frame.astype({"rank": "Int64"}), difference.astype({"prob": frame["prob"].dtype})]
    return pd.concat(whole, ignore_index=True)


def mistakes(model: Model, trace: Trace) -> pd.DataFrame:
    """What two common mistakes do to the last layer: mistake, positions (T), changed (positions
    whose top-1 becomes another), kl (mean KL(right, wrong), nats).

    "norm_twice": transformers' last hidden state is after the final norm already, and is put
    through it again. "no_norm": states go to the head as they are.
    """
    rows = []
    for mistake in MISTAKES[1:]:
        reading = read(model, trace, mistake=mistake)
        reading = replace(reading, states=reading.states[-1:], layers=reading.layers[-1:])
        found = scan(reading, 1, detail=True)
        changed = (found["token_id"][0, :, 0] != found["final_id"][0]).sum()
        kl = float(found["kl_to_final"].mean())
        rows.append((mistake, len(trace.tokens), int(changed), kl))
    return pd.DataFrame(rows, columns=["mistake", "positions", "changed", "kl"])


def _scanned(
    reading: Reading, model: Model, target_id: TargetId | None, k: int = 0, **more: Any
) -> dict[str, Any]:
    """`scan` with detail of a target that is checked; a pair has no ranks."""
    target = None if target_id is None else check_target(target_id, model.d_vocab)
    found: dict[str, Any] = scan(reading, k, detail=True, target_id=target, **more)
    return found | {"target_rank": ranks(found["target_rank"].ravel(), target)}


def _norms(states: Tensor) -> np.ndarray:
    return states.double().norm(dim=-1).numpy()
