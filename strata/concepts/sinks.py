"""Attention sinks: tokens whose states grow far beyond all others, by one rule for all pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts import quick
from strata.display.tokens import digits, listed
from strata.model.sinks import norms_of, ratios_to, typical_of, which
from strata.trace import Trace

_NAMED = 6  # sinks that a sentence names, the rest as a number


@quick
def sinks(trace: Trace) -> pd.DataFrame:
    """Which tokens of a prompt are attention sinks: position, token, layer, norm, typical, ratio;
    one row a sink, in order of position.

    A token is a sink if at some layer its state's norm is ten times the typical one there or more.
    Typical is the median norm of the layer's states, but from layer 2 on at most four times what
    was typical at the layer before: where most tokens are sinks, as in a word repeated, the median
    is theirs. Told is then what is typical of the tokens that are no sinks, their median norm (as
    before, where there are none), with `layer`, `norm` and `ratio` (norm / typical) where the ratio
    is largest. Sun et al. 2024 describe such states (massive activations).
    """
    norms = norms_of(trace.hidden)  # (L + 1, T)
    is_sink = which(norms)  # (T,)
    typical = typical_of(norms) if is_sink.all() else np.median(norms[:, ~is_sink], axis=1)
    ratios, found = ratios_to(norms, typical), np.flatnonzero(is_sink)
    layers = ratios.argmax(axis=0)  # (T,)
    return pd.DataFrame(
        {
            "position": found,
            "token": pd.Series([trace.tokens[p] for p in found], dtype="str"),
            "layer": layers[found],
            "norm": norms[layers[found], found],
            "typical": typical[layers[found]],
            "ratio": ratios[layers[found], found],
        }
    )


def kept(trace: Trace, skip_first: bool, skip_sinks: bool) -> NDArray[np.int64]:
    """The positions of a prompt that are left when its first token, or its sinks, are taken out."""
    out = set(sinks(trace)["position"]) if skip_sinks else set()
    if skip_first:
        out.add(0)
    return np.array([p for p in range(len(trace.tokens)) if p not in out], dtype=np.int64)


def note(frame: pd.DataFrame, shown: Sequence[str], left_out: bool = False) -> str:
    """Of `sinks`: one sentence on which tokens they are, and whether they are left out; `shown` are
    all tokens of the prompt, made visible."""
    if frame.empty:
        return "No token of this prompt is an attention sink by its norm."
    names = [f"“{shown[position]}” ({position})" for position in frame["position"]]
    out = ", and left out" if left_out else ""
    one = len(names) == 1
    kind = f"{'is an attention sink' if one else 'are attention sinks'} by norm"
    if len(names) == len(shown):  # there are no others to compare with
        whole = f"The only token, {names[0]}," if one else f"All {len(names)} tokens of this prompt"
        return f"{whole} {kind}{out}."
    if len(names) > _NAMED:
        names[_NAMED - 1 :] = [f"{len(names) - _NAMED + 1} more tokens"]
    ratio = f"up to {digits(frame['ratio'].max())} times as long as the others"
    return f"{listed(names)} {kind}, {ratio}{out}."
