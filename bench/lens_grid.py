"""What the logit lens costs: its grid beside the grid's own matrix product."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.measure import Row, Timed, take_turns
from bench.text import prompt_of
from strata.concepts.lens_tables import WIDEST
from strata.concepts.logit_lens import grid, lens
from strata.model import load_model
from strata.trace import Trace

_LENGTHS = (23, WIDEST)
_ROWS = 100  # states that go through the head together
_AT_MOST = 1.15  # times the product alone


def lens_grid(name: str, quick: bool) -> Iterator[Row]:
    """The whole table of `lens` and the page's grid, beside the head's matrix product alone."""
    model = load_model(name)
    weight = model.float_head.head.get_parameter("weight")  # (V, D)
    for n_tokens in _LENGTHS[: 1 if quick else None]:
        trace = model.capture(prompt_of(model, n_tokens))
        normed = model.normed(trace.hidden).flatten(0, 1).split(_ROWS)  # (L + 1) * T rows

        def table(trace: Trace = trace) -> object:
            return lens(model, trace, k=5)

        def drawn(trace: Trace = trace) -> object:
            return grid(model, trace, width=WIDEST)

        def product(normed: tuple[Tensor, ...] = normed) -> None:
            with torch.inference_mode():
                for rows in normed:
                    rows.to(weight.device) @ weight.T

        timed: dict[str, Timed] = {"table": table, "drawn": drawn, "product": product}
        taken = take_turns(timed, rounds=2 if quick else 12)
        label = f"{len(trace.hidden)} layers x {len(trace.tokens)} tokens"
        against = "matrix product alone"
        yield Row(f"lens top 5, {label}", taken["table"], taken["product"], against, _AT_MOST)
        label = f"grid with entropy, KL and target, {label}"
        yield Row(label, taken["drawn"], taken["product"], against)
