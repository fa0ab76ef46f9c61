"""Numbers of paths by layer that can be compared over a set of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from strata.concepts import Null
from strata.concepts.chance import left_of
from strata.concepts.trajectories.shape import by_layer
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def length(model: Model, trace: Trace, left: Sequence[int] | None = None) -> pd.DataFrame:
    """The mean length of the tokens' paths up to each layer (see `shape_by_layer`); of the tokens
    that are `left`, by default those that are no sinks."""
    return _of(trace, "length", left)


def turning(model: Model, trace: Trace, left: Sequence[int] | None = None) -> pd.DataFrame:
    """The mean angle by which paths turn at each layer but the first and last, in degrees."""
    return _of(trace, "turning", left)


def curvature(model: Model, trace: Trace, left: Sequence[int] | None = None) -> pd.DataFrame:
    """The mean angle by which the text bends at each layer, in degrees."""
    return _of(trace, "curvature", left)


def _of(trace: Trace, name: str, left: Sequence[int] | None) -> pd.DataFrame:
    found = by_layer(trace, left_of(trace) if left is None else np.asarray(left))
    return found[["layer"]].assign(value=found[name])


CURVES = {
    "Length of the paths (norm)": length,
    "Turning angle (degrees)": turning,
    "Curvature of the text (degrees)": curvature,
}

_STEPS = "steps = hidden[:, left_of(hidden)].double().diff(dim=0)\n"
_KINDS = ("shuffled text", "random blocks")
NULLS = {
    "Length of the paths (norm)": Null(
        length,
        (*_KINDS, "layers in another order"),
        _STEPS + "return [0.0, *steps.norm(dim=-1).mean(dim=1).cumsum(dim=0).tolist()]",
    ),
    "Turning angle (degrees)": Null(
        turning,
        (*_KINDS, "layers in another order"),
        _STEPS
        + """
angles = torch.cosine_similarity(steps[:-1], steps[1:], dim=-1).clamp(-1, 1).arccos()
return [np.nan, *angles.rad2deg().mean(dim=1).tolist(), np.nan]
""",
    ),
    "Curvature of the text (degrees)": Null(
        curvature,
        (*_KINDS, "tokens in another order"),
        """
left, last = set(left_of(hidden)), hidden.shape[1] - 1
some = [t for t in range(1, last) if {t - 1, t, t + 1} <= left]
steps = hidden.double().diff(dim=1)
angles = torch.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1).clamp(-1, 1).arccos()
return angles.rad2deg()[:, [t - 1 for t in some]].mean(dim=1).tolist()
""",
    ),
}
