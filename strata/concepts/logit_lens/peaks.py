"""Which tokens any layer holds likely: an answer that peaks half-way is gone at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

from strata.concepts import quick
from strata.concepts.reading import read
from strata.concepts.run import check_count, check_position
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


@quick
def peaks(model: Model, trace: Trace, position: int, k: int = 20) -> pd.DataFrame:
    """The k tokens with the largest probability that any layer's state, read through the lens at
    one position, gives them.

    Columns: token_id, predicted, layer (0 to L, the first at which the token gets that much), prob
    (there), final_prob (at the last layer); largest `prob` first, equal ones in order of id.
    InputError for a bad position or k; ModelError where the lens of this model is refused.
    """
    position = check_position(trace, position)
    k = check_count("The number of tokens", k, model.d_vocab)
    reading = read(model, trace).window(position, 1)
    best = final = torch.full((model.d_vocab,), -torch.inf)  # nats
    where = torch.zeros(model.d_vocab, dtype=torch.int64)
    for rows, logits in reading.chunks(slice(0, 1)):  # (r, 1, V), the last layer first
        logprobs = logits[:, 0] - logits[:, 0].logsumexp(dim=-1, keepdim=True)  # (r, V)
        if rows.stop == len(reading.layers):
            final = logprobs[-1].cpu()
        most, row = (each.cpu() for each in logprobs.max(dim=0))  # (V,); of equal ones the first
        larger = most >= best
        best = torch.where(larger, most, best)
        where = torch.where(larger, row + rows.start, where)
    likely = (best >= best.topk(k).values[-1]).nonzero()[:, 0]  # k or more, in order of id
    token_ids = likely[best[likely].argsort(descending=True, stable=True)[:k]]  # (k,)
    return pd.DataFrame(
        {
            "token_id": token_ids.numpy(),
            "predicted": list(model.decode(token_ids, after=trace.token_ids[: position + 1])),
            "layer": where[token_ids].numpy(),
            "prob": best[token_ids].exp().numpy(),
            "final_prob": final[token_ids].exp().numpy(),
        }
    )
