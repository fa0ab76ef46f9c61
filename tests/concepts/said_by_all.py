"""What is said on pages of several concepts, and what must stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from strata.concepts.nulls import draws, own
from strata.concepts.words import chance_reading
from strata.errors import InputError
from tests.concepts.said import LONG, Run, Said, three

OF = ("hidden_states", "Norm of the state", "shuffled text")
TURNED = ("laminar_profile", "Median cosine of all pairs of tokens", "random directions")
N_DRAWS = 3


def said(run: Run) -> Iterator[Said]:
    """Of a number of the last token by layer beside another order of the text, run anew here; of
    one number; and of a draw that runs nothing."""
    if run.last >= LONG:
        return
    mine = own(run.model, run.trace, *OF[:2])
    yield Said("chance_reading", chance_reading(*OF[1:], mine, mine[0:0].assign(draw=0)), (OF[1],))
    try:
        drawn = draws(run.model, run.trace, *OF, count=N_DRAWS)
    except InputError:  # too few tokens
        return
    told = chance_reading(*OF[1:], mine, drawn)
    layer = int(re.findall(r"at layer (\d+)", told)[0])
    before, after = map(len, run.model.texts.around(run.trace.token_ids))
    last = len(run.shown) - max(after, 1)
    norms = []
    for draw in range(N_DRAWS):
        order = before + np.random.default_rng(draw).permutation(last - before)
        places = [*range(before), *order, *range(last, len(run.shown))]
        hidden = run.model.capture_row(run.trace.token_ids[places]).hidden
        norms.append(float(hidden[layer, -1].double().norm()))
    low, high = np.quantile(norms, (0.05, 0.95))
    here = f"{three(run.norms[layer, -1])} at layer {layer}"
    claims = (f"{OF[1]}: {here}, where shuffled text gives {three(low)} to {three(high)} (5",)
    yield Said("chance_reading", told, (*claims, f"of {N_DRAWS} draws."))
    single = [each[each["layer"] == layer] for each in (mine, drawn)]
    told = chance_reading(OF[1], OF[2], *single)
    yield Said("chance_reading", told, (f"{three(run.norms[layer, -1])}, where", "of 3 draws."))
    turned = draws(run.model, run.trace, *TURNED, count=1)
    told = chance_reading(*TURNED[1:], own(run.model, run.trace, *TURNED[:2]), turned)
    yield Said("chance_reading", told, (f"{TURNED[1]}: ",))
