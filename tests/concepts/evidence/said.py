"""What is said of a set of prompts, and what must stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from strata.concepts.evidence import compared, values, words
from strata.concepts.evidence.compared import ALL, Hypothesis
from strata.concepts.evidence.probing import LINEAR, WORDS, probe
from strata.trace import Trace
from tests.concepts.said import SHORT, Run, Said, three

NORM = "Norm of the last state"
ENDS, CONDITIONS = (" 7", "."), ("a number", "a stop")


def said(run: Run) -> Iterator[Said]:
    """Of six pairs: the prompt after a word or none, and each with either end."""
    if run.last >= SHORT:
        return
    starts = [f"{word}{run.text}" for word in ("", "So ", "And ", "But ", "Now ", "Then ")]
    prompts = tuple(start + end for start in starts for end in ENDS)
    traces = {prompt: run.model.capture(prompt) for prompt in prompts}
    conditions = CONDITIONS * len(starts)
    pairs = tuple(f"{i}" for i in range(len(starts)) for _ in ENDS)
    frame = values(run.model, prompts, iter(traces.items()), conditions, pairs, names=(NORM,))
    found = compared.compared(frame, NORM, ALL)
    hidden = np.stack([traces[p].hidden[:, -1].double().numpy() for p in prompts])  # (n, L + 1, D)
    norms = np.linalg.norm(hidden, axis=-1)
    sides = norms[::2], norms[1::2]  # (pairs, L + 1)

    told = words.means_reading(compared.means(found), NORM)
    named = tuple(f"“{name}”" for name in CONDITIONS)
    at = re.search(r"at layer (\d+)", told)
    claims = (
        [
            f"{name} {three(side[:, int(at[1])].mean())} ("
            for name, side in zip(named, sides, strict=True)
        ]
        if at
        else ["the same at every layer"]
    )
    yield Said("means_reading", told, tuple(claims))

    table = compared.differences(found)
    told = words.difference_reading(table, found, CONDITIONS, ALL)
    apart = (sides[0] - sides[1]).mean(axis=0)  # (L + 1,)
    at = re.search(r"surest at layer (\d+)", told)
    claims = [*named, "6 pairs", f"of {len(apart)}"]
    if at:
        mean = apart[int(at[1])]
        claims.append(
            f"{'larger' if mean > 0 else 'smaller'} than {named[1]} by {three(abs(mean))}"
        )
    yield Said("difference_reading", told, tuple(claims))

    last = run.model.n_layers
    claim = Hypothesis(last, last, larger=True)
    outcome = compared.outcome(found, claim, CONDITIONS)
    mean = float(apart[last])
    told = words.outcome_reading(outcome, claim, found, NORM, CONDITIONS, 2)
    way = f"{'larger' if mean > 0 else 'smaller'} by {three(abs(mean))}"
    yield Said("outcome_reading", told, (f"at layer {last}", way, "multiplied by 2"))
    yield from _of_probe(run, prompts, traces, conditions, pairs)


def _of_probe(
    run: Run,
    prompts: tuple[str, ...],
    traces: Mapping[str, Trace],
    conditions: tuple[str, ...],
    pairs: tuple[str, ...],
) -> Iterator[Said]:
    frame = probe(prompts, iter(traces.items()), conditions, pairs)
    n, rows = len(prompts), frame.set_index(["method", "layer"])["right"]
    ends = [traces[p].hidden[0, -1] for p in prompts]
    told = words.probe_reading(frame, CONDITIONS, ALL)
    # Each end is a token of its own, the same in all prompts, unless it has joined the last word.
    alike = all(a.equal(ends[0]) for a in ends[::2]) and all(b.equal(ends[1]) for b in ends[1::2])
    first = f"probe is right for {n} of {n}" if alike else f"right for {rows[LINEAR, 0]:g} of {n}"
    best = rows[LINEAR].max()
    claims = (f"it is right for {best:g} of {n} prompts", first, f"({rows[WORDS, 0]:g} of {n})")
    yield Said("probe_reading", told, claims)
    held = probe(prompts, iter(traces.items()), conditions, pairs, held_out=4)
    told = words.held_out_probe_reading(held, run.model.n_layers, CONDITIONS, 2)
    yield Said(
        "held_out_probe_reading", told, ("of 4 prompts", "of 199 shuffles", "multiplied by 2")
    )
