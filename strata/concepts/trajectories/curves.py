"""Numbers of paths by layer that can be compared over a set of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import Null
from strata.concepts.trajectories.shape import shape_by_layer
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model


def length(model: Model, trace: Trace) -> pd.DataFrame:
    """The mean length of the tokens' paths up to each layer (see `shape_by_layer`)."""
    return _of(trace, "length")


def turning(model: Model, trace: Trace) -> pd.DataFrame:
    """The mean angle by which paths turn at each layer but the first and last, in degrees."""
    return _of(trace, "turning")


def curvature(model: Model, trace: Trace) -> pd.DataFrame:
    """The mean angle by which the text bends at each layer, in degrees."""
    return _of(trace, "curvature")


def _of(trace: Trace, name: str) -> pd.DataFrame:
    found = shape_by_layer(trace)
    return found[["layer"]].assign(value=found[name])


CURVES = {
    "Length of the paths (norm)": length,
    "Turning angle (degrees)": turning,
    "Curvature of the text (degrees)": curvature,
}

_LEFT = """
found = set(sinks_of(hidden.norm(dim=-1)))
left = [t for t in range(hidden.shape[1]) if t not in found] or list(range(hidden.shape[1]))
steps = hidden[:, left].double().diff(dim=0)
"""
_KINDS = ("shuffled text", "random blocks")
NULLS = {
    "Length of the paths (norm)": Null(
        length,
        _KINDS,
        _LEFT + "return [0.0, *steps.norm(dim=-1).mean(dim=1).cumsum(dim=0).tolist()]",
    ),
    "Turning angle (degrees)": Null(
        turning,
        _KINDS,
        _LEFT
        + """
angles = torch.cosine_similarity(steps[:-1], steps[1:], dim=-1).clamp(-1, 1).arccos()
return [np.nan, *angles.rad2deg().mean(dim=1).tolist(), np.nan]
""",
    ),
}
