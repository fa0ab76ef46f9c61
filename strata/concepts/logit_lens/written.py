"""The logit lens while a model writes: what each layer would have written at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import apart, costs
from strata.concepts.reading import read
from strata.concepts.run import check_count
from strata.concepts.scan import listed, scan, texts
from strata.model.written import written as write

if TYPE_CHECKING:
    from strata.model import Model

LONGEST = 60  # tokens
_ROWS = 20_000  # of a table, at most
_LISTED = 5  # tokens of a cell


@apart
@costs(lambda n_tokens, n_layers, params: n_tokens + 2 * params["n_tokens"])
def written(
    model: Model,
    prompt: str,
    n_tokens: int = 12,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """The greedy continuation of a prompt, and each step's states read through the lens.

    Columns: step (from 1), position (whose states the step read: of the prompt's last token, then
    of the token written before), token and written_id (what it wrote), layer, token_id, predicted
    and prob (what ranks first at that layer), norm (of the state), entropy (nats), target_prob and
    target_rank (of the written token at that layer), top (the 5 first tokens, one a line, fit to be
    shown). L + 1 rows a step, at most `n_tokens` steps, fewer if the model ends the text: its end
    token is the last step. The states are kept while the text is written, one token a step, not
    computed again: see `strata.model.written`. InputError unless `n_tokens` is from 1 to 60 and
    gives no more than about 20,000 rows; ModelError where the lens is refused, or the KV cache
    gives other numbers than whole runs do.
    """
    most = max(1, min(LONGEST, _ROWS // (model.n_layers + 1)))
    n_tokens = check_count("The length of a continuation", n_tokens, most)
    kept = write(model, prompt, n_tokens, progress)
    ids = (*kept.prompt_ids.tolist(), *kept.token_ids.tolist())
    wrote = kept.token_ids.tolist()
    tokens = [
        model.decode([token_id], after=ids[: position + 1])[0]
        for position, token_id in zip(kept.positions, wrote, strict=True)
    ]
    reading = replace(
        read(model, kept.hidden),
        positions=tuple(kept.positions),
        tokens=tuple(tokens),
        token_ids=ids,
    )
    k = min(_LISTED, model.d_vocab)
    found = scan(reading, k, detail=True, target_id=wrote)
    n_layers, n_steps = reading.shape
    index = reading.index()
    frame = pd.DataFrame(
        {
            "step": np.tile(np.arange(1, n_steps + 1), n_layers),
            "position": index["position"],
            "token": index["token"],
            "written_id": np.tile(wrote, n_layers),
            "layer": index["layer"],
            "token_id": found["token_id"][..., 0].ravel(),
            "predicted": texts(model, found["token_id"][..., 0], reading),
            "prob": found["prob"][..., 0].ravel(),
            "norm": kept.hidden.double().norm(dim=-1).numpy().ravel(),
            "entropy": found["entropy"].ravel(),
            "target_prob": found["target_prob"].ravel(),
            "target_rank": found["target_rank"].ravel(),
            "top": listed(model, found["token_id"], found["prob"], "{} {:.1%}", reading),
        }
    )
    return frame.sort_values(["step", "layer"], ignore_index=True)


def settled_layers(frame: pd.DataFrame) -> pd.Series:
    """Of `written`, by step: the layer from which on the written token ranks first without a break;
    missing where it does not at the last layer, which coarse numbers may bring about."""
    last = int(frame["layer"].max())
    behind = frame[frame["target_rank"] > 0].groupby("step")["layer"].max()  # the last such layer
    steps = pd.Index(sorted(frame["step"].unique()), name="step")
    after = behind.reindex(steps, fill_value=-1) + 1
    return after.astype("Int64").mask(after > last)
