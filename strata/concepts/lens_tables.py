"""What the logit lens and its kin say of a run's states: tables of a `Reading`, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from strata.concepts.reading import Reading
from strata.concepts.run import check_count
from strata.concepts.scan import listed, scan, texts
from strata.concepts.target import TargetId, check_target, check_token, ranks, value_of
from strata.errors import InputError
from strata.model.frozen_norm import freeze

if TYPE_CHECKING:
    from strata.model import Model

WIDEST = 64  # positions of a grid
MOST_TOKENS = 20  # of a cell, and followed at once beside those that led


def lens(model: Model, reading: Reading, k: int = 5, largest: bool = True) -> pd.DataFrame:
    """See `logit_lens.lens`."""
    k = check_count("The number of tokens", k, model.d_vocab)
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


def grid(
    model: Model,
    reading: Reading,
    start: int = 0,
    width: int = 24,
    stride: int = 1,
    k: int = 5,
    largest: bool = True,
    target_id: TargetId | None = None,
) -> pd.DataFrame:
    """See `logit_lens.grid`; `norm` is that of what is read."""
    width = check_count("The width of a grid", width, WIDEST)
    stride = check_count("The stride over layers", stride, model.n_layers)
    k = min(check_count("The number of tokens", k, MOST_TOKENS), model.d_vocab)
    reading = reading.window(start, width, stride)
    n_other = 0 if reading.mode == "states" else min(3, k)
    found = scanned(reading, model, target_id, k, largest=largest, other=n_other)
    by_logit = reading.frozen or not largest
    numbers, form = (found["logit"], "{} {:+.2f}") if by_logit else (found["prob"], "{} {:.1%}")
    top = listed(model, found["token_id"], numbers, form, reading)
    far_ids, far_logits = found.pop("other_id"), found.pop("other_logit")
    others = listed(model, far_ids, far_logits, "{} {:+.2f}", reading, step=-1)
    predicted = texts(model, found["token_id"][..., 0], reading)
    first = {name: found.pop(name)[..., 0].ravel() for name in ("token_id", "logit", "prob")}
    del found["rank"]
    magnified = np.full(reading.shape, np.nan)
    if reading.mode == "deltas_own_norm":
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
            "norm": norms(reading.states).ravel(),
            **{name: numbers.ravel() for name, numbers in found.items()},
            "magnified": magnified.ravel(),
            "top": top,
            "other": others,
        }
    )


def cell(
    model: Model,
    reading: Reading,
    layer: int,
    position: int,
    k: int = 10,
    largest: bool = True,
) -> pd.DataFrame:
    """See `logit_lens.cell`."""
    k = min(check_count("The number of tokens", k, MOST_TOKENS), model.d_vocab)
    reading = reading.window(position, 1)
    if layer not in reading.layers:
        raise InputError(
            f"Layer {layer} is not in this grid: its layers are {reading.layers[0]} to "
            f"{reading.layers[-1]}."
        )
    row = reading.layers.index(layer)
    scanned = scan(reading, k, largest=largest, detail=True)
    found = {name: cells[row, 0] for name, cells in scanned.items()}
    found["predicted"] = texts(model, scanned["token_id"][row : row + 1], reading)
    found["norm"] = norms(reading.states)[row, 0]
    names = ("rank", "token_id", "predicted", "logit", "prob", "norm", "entropy", "kl_to_final")
    return pd.DataFrame({name: found[name] for name in names})


def followed(
    model: Model,
    reading: Reading,
    position: int,
    token_ids: Sequence[int] = (),
    target_id: TargetId | None = None,
) -> pd.DataFrame:
    """See `logit_lens.followed`."""
    reading = reading.window(position, 1)
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
    decoded = model.decode(ids, after=reading.token_ids[: position + 1])
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


def scanned(
    reading: Reading, model: Model, target_id: TargetId | None, k: int = 0, **more: Any
) -> dict[str, Any]:
    """`scan` with detail of a target that is checked; a pair has no ranks."""
    target = None if target_id is None else check_target(target_id, model.d_vocab)
    found: dict[str, Any] = scan(reading, k, detail=True, target_id=target, **more)
    return found | {"target_rank": ranks(found["target_rank"].ravel(), target)}


def norms(states: Tensor) -> np.ndarray:
    """The Euclidean norms of states, in float64."""
    return states.double().norm(dim=-1).numpy()
