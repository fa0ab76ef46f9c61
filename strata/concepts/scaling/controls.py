"""Scaling beside its controls: the same block left out, and random pushes of the same size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import costs
from strata.concepts.run import check_count, check_position
from strata.concepts.scaling.tables import distributions
from strata.concepts.target import TargetId, check_target, value_of
from strata.errors import InputError
from strata.trace import Edit, Noise, Part, Scale, Skip, Trace

if TYPE_CHECKING:
    from strata.model import Model

SEEDS = 9  # random pushes at a block
_MOST_SEEDS = 100


@costs(lambda n_tokens, n_layers, params: n_tokens * n_layers * (2 + params["n_seeds"]) / 2)
def controls(
    model: Model,
    trace: Trace,
    target_id: TargetId,
    factor: float,
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    n_seeds: int = SEEDS,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What scaling at each block does to the target's log-probability at the last position, beside
    what any push of the same size does there: 2 + `n_seeds` rows a block.

    Columns: block, edit, factor, seed, logprob (of the target, nats; of a pair (a, b) a's less
    b's), clean_logprob. `edit` is
    "scale" (by `factor`, as in `sweep`), "noise" (a random push as far as that scaling pushes, see
    `strata.trace.Noise`; seeds from 0 on) or "skip" (the whole block left out, at the same
    positions; factor and seed are missing). Errors as in `sweep`.
    """
    target_id = check_target(target_id, model.d_vocab)
    number = float(factor)
    n_seeds = check_count("The number of random pushes", n_seeds, _MOST_SEEDS)
    where = None
    if positions is not None:
        where = tuple(sorted({check_position(trace, position) for position in positions}))
        if not where:
            raise InputError("Choose at least one position to scale.")
    edits: list[Edit] = []
    for block in range(model.n_layers):
        edits += [Scale(block, number, part, where), Skip(block, where)]
        edits += [Noise(block, part, seed, where, number) for seed in range(n_seeds)]
    logits = model.unembed(trace.hidden[-1, -1])  # (V,)
    clean = float(value_of(logits.double().log_softmax(dim=-1), target_id))
    found = {
        i: float(value_of(p, target_id)) for i, p in distributions(model, trace, edits, progress)
    }
    return pd.DataFrame(
        {
            "block": [edit.block for edit in edits],
            "edit": [edit.kind for edit in edits],
            "factor": [None if isinstance(edit, Skip) else number for edit in edits],
            "seed": pd.array([getattr(edit, "seed", None) for edit in edits], dtype="Int64"),
            "logprob": [found[i] for i in range(len(edits))],
            "clean_logprob": clean,
        }
    )
