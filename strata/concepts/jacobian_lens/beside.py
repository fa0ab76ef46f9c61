"""The beam of a word beside its controls: random blocks, and the identity in the place of J."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.concepts import apart, costs
from strata.concepts.jacobian_lens.beams import floor, passage_beam
from strata.concepts.target import TargetId
from strata.model.jacobian import Progress
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def _cost(params: Mapping[str, Any]) -> float:
    """Token-passes: two beams, each a pass forward and twice as much back."""
    return 600.0 * max(1, int(params["n_passages"]))


@apart
@costs(lambda n_tokens, n_layers, params: _cost(params))
def beside(
    model: Model,
    trace: Trace,
    target: TargetId,
    n_passages: int = 8,
    random_blocks: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Three curves of one word: the columns of `passage_beam` and kind, "jacobian", "random" (of
    the random twin with the seed `random_blocks`) and "logit" (`floor`, which needs no passage).
    Errors as of these."""

    done = 0.0  # a half, if the model's own beam was not known before

    def own(share: float, text: str) -> None:
        nonlocal done
        done = share / 2
        if progress is not None:
            progress(done, text)

    def random(share: float, text: str) -> None:
        if progress is not None:
            progress(done + (1 - done) * share, text)

    asked = model, trace, target, n_passages
    found = {
        "jacobian": passage_beam(*asked, progress=own),
        "random": passage_beam(*asked, random_blocks=random_blocks, progress=random),
        "logit": floor(model, trace, target).assign(n=n_passages),
    }
    frames = [frame.assign(kind=kind) for kind, frame in found.items()]
    return pd.concat(frames, ignore_index=True)
