"""What is said of a run read by a Jacobian lens, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts import lens_tables
from strata.concepts.jacobian_lens import beams, tables, words
from strata.concepts.jacobian_lens.beside import beside
from strata.concepts.reading import read
from strata.corpus.passages import passages
from strata.display.tokens import display_candidate, part_of
from tests.concepts.jacobian_lens.test_jacobian_lens import any_lens
from tests.concepts.said import SHORT, Run, Said, three

WIDTH = 8  # positions of a grid
TARGET = 5  # one word for all prompts, so that its beam is known after the first
# Beginnings of passages: whole ones take the bundled model half as long again.
BEGUN = {name: text[:150] for name, text in passages().items()}


def said(run: Run) -> Iterator[Said]:
    model, trace, last = run.model, run.trace, run.model.n_layers
    lens = any_lens(model)
    start = max(0, run.last + 1 - WIDTH)
    carried, plain = tables.reading(model, trace, lens), read(model, trace)
    jacobian, logit = (
        run.named(lens_tables.grid(model, each, start, WIDTH)) for each in (carried, plain)
    )
    with torch.inference_mode():
        states = trace.hidden[:, start:]
        tops = [_first(run, s) for s in (lens.transported(states), states)]
    alike = (tops[0] == tops[1])[:last]
    cells = part_of(int(alike.sum()), alike.numel(), "cell")
    best = int(trace.logits[-1].argmax())
    [answer] = model.decode([best], after=trace.token_ids)
    named = f"“{display_candidate(answer)}”"
    sentence = words.lens_reading(jacobian, logit, last, run.last)
    yield Said("lens_reading", sentence, (named, f"(position {run.last})", cells))
    others = {"logit": logit, "random": jacobian}
    every = part_of(alike.numel(), alike.numel(), "cell")
    yield Said(
        "controls_reading", words.controls_reading(jacobian, others, last, run.last), (cells, every)
    )
    apart = tables.difference(model, trace, start, WIDTH, lens=lens)
    yield Said("difference_reading", words.difference_reading(apart, run.last), (cells,))
    ways = [lens_tables.followed(model, each, run.last, (), best) for each in (carried, plain)]
    sentence = words.followed_reading(*ways, best, run.last)
    yield Said("followed_reading", sentence, (named, f"layer {last} ", "rank 0"))
    steps = pd.DataFrame({"n_texts": 2, "layer": range(last), "change": 0.5, "halves": 0.25})
    claims = ("From 1 text to 2", "50%", "0.25")
    yield Said("settling_reading", words.settling_reading(steps), claims)
    if run.last < SHORT:
        yield from _of_beam(run)


def _of_beam(run: Run) -> Iterator[Said]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(import_module(beams.__module__), "passages", lambda: BEGUN)
        drawn = beside(run.model, run.trace, TARGET, 2)
    [word] = run.model.decode([TARGET])
    named, end = display_candidate(word), run.model.n_layers
    own = drawn[(drawn["kind"] == "jacobian") & (drawn["layer"] == end)].set_index("position")
    best = int(own["score"].idxmax())
    claims = (
        f"“{named}”",
        f"“{run.shown[best]}” (position {best})",
        three(float(own["score"][run.last])),
    )
    sentence = words.beam_reading(drawn, [named], run.shown, end, run.last)
    yield Said("beam_reading", sentence, claims)
    sentence = words.passages_reading(drawn, end, run.last)
    yield Said("passages_reading", sentence, ("By 2 passages", f"layer {end}"))


def _first(run: Run, states: Tensor) -> Tensor:
    """(L + 1, T): the first token of each cell."""
    return run.model.unembed(states).argmax(dim=-1)
