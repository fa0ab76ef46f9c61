"""Logit lens: what each layer's state would say if the model stopped there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from strata.concepts import lens_tables
from strata.concepts.lens_tables import norms, scanned
from strata.concepts.reading import MISTAKES, read
from strata.concepts.run import check_count, check_position
from strata.concepts.scan import scan
from strata.concepts.target import TargetId
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


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
    return lens_tables.lens(model, read(model, trace_or_states, mode), k, largest)


def statistics(model: Model, trace: Trace, target_id: TargetId | None = None) -> pd.DataFrame:
    """How sure each state is: layer, position, token, entropy, kl_to_final (KL(final, layer)),
    norm, target_prob, target_rank; nats, (L + 1) * T rows. `target_id` None: at each position the
    token that the model ranks first; a pair (a, b) has neither probability nor rank, which are then
    missing, and its difference is in `grid` and `followed`. InputError for a token that does not
    exist, or a pair of one."""
    reading = read(model, trace)
    found = scanned(reading, model, target_id)
    names = ("entropy", "kl_to_final", "norm", "target_prob", "target_rank")
    found["norm"] = norms(trace.hidden)
    return pd.DataFrame({**reading.index(), **{name: found[name].ravel() for name in names}})


def write_norms(trace: Trace) -> pd.DataFrame:
    """How much attention and MLP of each block added: block, part (attn, mlp), position, token,
    norm (Euclidean). 2 * L * T rows. ModelError where the writes of this model are refused."""
    sizes = np.stack([norms(trace.attn), norms(trace.mlp)], axis=1)  # (L, 2, T)
    n_layers, _, n_tokens = sizes.shape
    return pd.DataFrame(
        {
            "block": np.repeat(np.arange(n_layers), 2 * n_tokens),
            "part": np.tile(np.repeat(np.array(["attn", "mlp"], dtype=object), n_tokens), n_layers),
            "position": np.tile(np.arange(n_tokens), 2 * n_layers),
            "token": list(trace.tokens) * (2 * n_layers),
            "norm": sizes.ravel(),
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
    start = check_position(trace, start)
    reading = read(model, trace, mode, mistake)
    return lens_tables.grid(model, reading, start, width, stride, k, largest, target_id)


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
    return lens_tables.cell(model, read(model, trace, mode, mistake), layer, position, k, largest)


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
    return lens_tables.followed(model, read(model, trace), position, token_ids, target_id)


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
