"""The sample of states itself as tables: what was sampled, its texts, whether it can be trusted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import run
from strata.corpus.states import Sample

if TYPE_CHECKING:
    from strata.model import Model


def about(model: Model, sample: Sample) -> pd.DataFrame:
    """What was sampled, one row: n, n_asked, n_available (positions to choose from), n_sinks
    (chosen, and left out as attention sinks), n_texts and n_tokens (that were read), n_unread
    (texts still to be read, where this is the beginning of a sample), writes (whether there are
    attention and MLP writes), refusal (if not, why), attn and mlp (JSON: paths from a block to the
    module whose output it adds, of which the first that exists counts; "a+b" is the sum of
    several), write_scale (by which that output is multiplied; NaN where modules differ),
    attn_scales and mlp_scales (JSON: for each block the factors of its modules)."""
    row = model.architecture.row
    return pd.DataFrame(
        [
            {
                "n": len(sample),
                "n_asked": sample.n_asked,
                "n_available": sample.n_available,
                "n_sinks": sample.n_sinks,
                "n_texts": len(sample.tokens),
                "n_tokens": sum(map(len, sample.tokens.values())),
                "n_unread": sample.n_unread,
                "writes": sample.writes is not None,
                "refusal": sample.refusal,
                "attn": json.dumps(row.attn),
                "mlp": json.dumps(row.mlp),
                "write_scale": model.architecture.write_scale,
                **{
                    f"{part}_scales": json.dumps([[w.scale for w in each] for each in blocks])
                    for part, blocks in model.architecture.parts()
                },
            }
        ]
    )


def texts(sample: Sample) -> pd.DataFrame:
    """The texts there were: text, n_tokens (missing for one that was not read), n_sampled,
    content."""
    sampled = np.bincount(sample.text, minlength=len(sample.texts))
    n_tokens = [len(sample.tokens[i]) if i in sample.tokens else None for i in range(len(sampled))]
    return pd.DataFrame(
        {
            "text": range(len(sampled)),
            "n_tokens": pd.array(n_tokens, dtype="Int64"),
            "n_sampled": sampled,
            "content": list(sample.texts),
        }
    )


def check(sample: Sample) -> pd.DataFrame:
    """The identities, as in `strata.concepts.run.check`, measured while the texts were read."""
    return run.identities(sample.check)


VIEWS = (about, texts, check)
