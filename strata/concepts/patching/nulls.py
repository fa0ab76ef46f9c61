"""What of patching is put beside what chance gives: what a state does in the other run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import Null, costs
from strata.concepts.patching.tables import values_of
from strata.concepts.patching.views import choose
from strata.concepts.run import check_position
from strata.model.patching import Place, patched
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


@costs(lambda n_tokens, n_layers, params: (2 + n_layers / 2) * n_tokens)
def put_in(
    model: Model,
    trace: Trace,
    other: str,
    position: int,
    target_id: int,
    against_id: int | None,
) -> pd.DataFrame:
    """The target in the run of another prompt of as many tokens, with this run's state at one
    position put in there, layer by layer: layer, value (logits), L + 1 rows. The target is the
    logit of a token, less that of `against_id` if there is one. As a column of `patch_map`, errors
    too. Beside it `random directions` say what any state as long does there."""
    at = check_position(trace, position)
    runs = choose(model, trace, other, "restore", target_id, against_id)
    places = [Place(layer) for layer in range(model.n_layers + 1)]
    states = patched(model, runs.trace, trace, places, [at])
    values = values_of(model, states[:, 0], runs.ids)
    return pd.DataFrame({"layer": range(len(values)), "value": values.numpy()})


NULLS = {
    "What is followed, in logits, with one state put in": Null(
        put_in,
        ("random directions",),
        "return [put_in(layer, state) for layer, state in enumerate(hidden[:, POSITION])]",
    )
}
