"""What is said of cosines of states against random directions, and what must stand in it.

Of the states of one prompt, where it has enough; pages have those of many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from strata.concepts.gaussian_baseline import near as local_dimension
from strata.concepts.gaussian_baseline import tables, words
from strata.corpus import Sample, sample
from tests.concepts.said import Run, Said, near, two

FEWEST, LAYER = 12, 1


def said(run: Run) -> Iterator[Said]:
    if run.last < FEWEST:
        return
    drawn = sample(run.model, [run.text], n=40)
    states = drawn.states(LAYER).double().numpy()  # (n, D)
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    half = len(unit) // 2
    cosines = unit[:half] @ unit[half:].T
    sentence = words.reading(tables.summary(drawn, LAYER))
    claims = (
        f"cosines of {cosines.size:,} pairs have mean {near(sentence, float(cosines.mean()), 2)}",
        f"random directions in all {states.shape[1]:,}",
    )
    yield Said("reading", sentence, claims)
    steps = tables.decomposition(drawn, LAYER)
    yield Said("conclusion", words.conclusion(steps, "stream"), ("The states of the residual",))
    best = steps[steps["step"] == "raw"].set_index("part")["ks_best"]
    closest = words.closest(steps)
    yield Said("closest", closest, (words.PARTS[best.idxmin()], f"distance {two(best.min())} ("))
    glance = tables.glance(drawn)
    whole = glance.groupby("part")["ks_best"].median()
    claims = (words.PARTS[whole.idxmin()], f"median distance {two(whole.min())}")
    yield Said("whole", words.whole(glance), claims)
    centred = states - states.mean(axis=0)
    kurtosis = (centred**4).mean(axis=0) / (centred**2).mean(axis=0) ** 2 - 3
    dims = tables.dimensions(drawn, LAYER)
    dim = int(kurtosis.argmax())
    told = words.dimensions_reading(dims, len(drawn))
    yield Said("dimensions_reading", told, (f"heaviest tails are in dimension {dim},",))
    reach = float(np.abs(centred[:, dim]).max() / centred[:, dim].std())
    points = tables.normality(drawn, LAYER, dim)
    claims = (f"Dimension {dim} reaches {two(reach, 1)} standard deviations",)
    yield Said("normality_reading", words.normality_reading(points, dim), claims)
    yield from _local(drawn)


def _local(drawn: Sample) -> Iterator[Said]:
    frame, known = local_dimension.intrinsic(drawn), local_dimension.known_dimension(30, 12)
    rows = frame[(frame["part"] == "stream") & (frame["layer"] == LAYER)]
    different = len(np.unique(drawn.states(LAYER).numpy(), axis=0))
    [twonn] = rows["twonn"]
    few = f"{different:,} different states at layer {LAYER}: too few"
    claims = (few if np.isnan(twonn) else f"in {twonn:.1f} dimensions near each state",)
    yield Said("intrinsic_reading", words.intrinsic_reading(frame, known, "stream", LAYER), claims)
    said = words.bias_reading(known)
    yield Said("bias_reading", said, (f"in 12 dimensions it says {known['twonn'].iloc[-1]:.1f}",))
    nulls = frame.assign(null=local_dimension.NULLS[1])
    said = words.null_dimension_reading(frame, nulls, LAYER)
    value = "not known" if np.isnan(twonn) else f"{twonn:.1f}"
    claims = (f"{value} of the text and {value} of random blocks",)
    yield Said("null_dimension_reading", said, claims)
