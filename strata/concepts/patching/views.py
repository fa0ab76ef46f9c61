"""What the page asks of two prompts: `tables` between the run of one and the run of another.

Throughout, `trace` is the run of the page's prompt, called clean, `other` the text of another with
as many tokens, called corrupted. `direction` "restore" puts clean states into the corrupted run,
"corrupt" the other way round. Where no `target_id` is given, the target is the clean run's top-1
minus the other's top-1 (where these are the same token, that token's logit).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Tensor

from strata.concepts import costs, quick
from strata.concepts.patching import tables
from strata.concepts.patching.tables import check_runs, values_of
from strata.display.tokens import display_candidate
from strata.errors import InputError
from strata.trace import Part, Trace

if TYPE_CHECKING:
    from strata.model import Model

Direction = Literal["restore", "corrupt"]
Progress = Callable[[float, str], None]


def facts(
    model: Model,
    trace: Trace,
    other: str,
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """The two runs beside each other, one row: n_tokens, first (the first position at which they
    part; missing where nowhere), clean_value, other_value (the target in each), target_id,
    against_id (missing: none), target, against (as text), clean_top, other_top (the likeliest next
    token), clean_prob, other_prob (of `target`)."""
    chosen = _chosen(model, trace, other, "restore", target_id, against_id)
    clean, corrupted, ids = chosen.source, chosen.trace, chosen.ids
    logits = model.unembed(torch.stack([clean.hidden[-1, -1], corrupted.hidden[-1, -1]]))  # (2, V)
    prob = logits.double().softmax(dim=-1)
    texts = model.decode(list(ids), after=clean.token_ids)
    tops = [
        model.decode([int(row.argmax())], after=run.token_ids)[0]
        for row, run in zip(logits, (clean, corrupted), strict=True)
    ]
    values = values_of(model, torch.stack([clean.hidden[-1, -1], corrupted.hidden[-1, -1]]), ids)
    parted = first_apart(clean.token_ids, corrupted.token_ids)
    return pd.DataFrame(
        {
            "n_tokens": [len(clean.tokens)],
            "first": pd.array([parted], dtype="Int64"),
            "clean_value": [float(values[0])],
            "other_value": [float(values[1])],
            "target_id": [ids[0]],
            "against_id": pd.array([ids[1] if len(ids) > 1 else None], dtype="Int64"),
            "target": [texts[0]],
            "against": [texts[1] if len(ids) > 1 else ""],
            "clean_top": [tops[0]],
            "other_top": [tops[1]],
            "clean_prob": [float(prob[0, ids[0]])],
            "other_prob": [float(prob[1, ids[0]])],
        }
    )


@quick
def doctor(model: Model, prompt: str, other: str) -> pd.DataFrame:
    """What keeps two prompts from being patched: severity ("stop" or "hint"), code, message; no
    rows where all is well."""
    rows = []
    one, two = model.encode(prompt), model.encode(other)
    parted = first_apart(one, two)
    if len(one) != len(two):
        where = "" if parted is None else f", and part at position {parted}"
        rows.append(
            (
                "stop",
                "length",
                f"Patching puts position on position, so both prompts need the same number of "
                f"tokens: these have {len(one)} and {len(two)}{where}.",
            )
        )
    elif parted is None:
        rows.append(
            ("stop", "same", "Both prompts are the same, so there is nothing to put in its place.")
        )
    return pd.DataFrame(rows, columns=["severity", "code", "message"])


@costs(lambda n_tokens, n_layers, params: n_tokens * n_tokens * n_layers / 4)
def cells(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
    layers: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The exact map where anything can matter: layer, position, token (of the edited run), value,
    share, kl (KL(source run, patched run) of the next-token distribution, nats).

    `layers`: the lowest and the highest one that are asked for, both included; None is all.
    """
    chosen = _chosen(model, trace, other, direction, target_id, against_id)
    frame = tables.patch_map(model, chosen.trace, chosen.source, list(chosen.ids), part)
    parted = first_apart(chosen.trace.token_ids, chosen.source.token_ids)
    low, high = layers or (0, model.n_layers)
    frame = frame[frame["position"] >= (len(frame) if parted is None else parted)]
    frame = frame[frame["layer"].between(low, high)]
    return frame.assign(kl=math.nan).reset_index(drop=True)


@costs(lambda n_tokens, n_layers, params: 3 * n_tokens)
def estimate(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """The gradient's estimate of `cells`: layer, position, token, value, share."""
    chosen = _chosen(model, trace, other, direction, target_id, against_id)
    frame = tables.attribution_map(model, chosen.trace, chosen.source, list(chosen.ids), part)
    parted = first_apart(chosen.trace.token_ids, chosen.source.token_ids)
    frame = frame[frame["position"] >= (len(frame) if parted is None else parted)]
    return frame.reset_index(drop=True)


@costs(lambda n_tokens, n_layers, params: 3 * n_tokens)
def both(
    model: Model,
    trace: Trace,
    other: str,
    first: tuple[int, int],
    second: tuple[int, int],
    direction: Direction = "restore",
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """`tables.pair`, one row: unpatched, source, first, second, both. A cell is (layer,
    position) of the stream."""
    chosen = _chosen(model, trace, other, direction, target_id, against_id)
    return tables.pair(model, chosen.trace, chosen.source, list(chosen.ids), first, second)


def first_apart(one: Tensor, two: Tensor) -> int | None:
    """The first position at which two rows of token ids part, one's end included; None: nowhere."""
    n_both = min(len(one), len(two))
    unlike = (one[:n_both] != two[:n_both]).nonzero()
    if len(unlike):
        return int(unlike[0])
    return None if len(one) == len(two) else n_both


@dataclass(frozen=True)
class Chosen:
    """The run that is edited, the one whose states are put in, and the target's token ids."""

    trace: Trace
    source: Trace
    ids: tuple[int, ...]


def _chosen(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction,
    target_id: int | None,
    against_id: int | None,
) -> Chosen:
    corrupted = model.capture(other)
    if target_id is None:
        states = torch.stack([trace.hidden[-1, -1], corrupted.hidden[-1, -1]])
        tops: Sequence[int] = model.unembed(states).argmax(dim=-1).tolist()
        given = list(dict.fromkeys(tops)) if against_id is None else [tops[0], against_id]
    else:
        given = [target_id] if against_id is None else [target_id, against_id]
    edited, source = (corrupted, trace) if direction == "restore" else (trace, corrupted)
    return Chosen(edited, source, check_runs(model, edited, source, given))
