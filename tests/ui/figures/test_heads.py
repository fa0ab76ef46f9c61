"""What a head's pattern shows where the attention sinks are taken out."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from strata.concepts.heads import tables
from strata.model import Model
from strata.ui.figures.heads import Seen, _drawn
from tests.tiny import PROMPT


@pytest.mark.parametrize("nowhere", [0.0, 0.25])
def test_a_row_with_nothing_but_rounding_left_is_not_drawn(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch, nowhere: float
) -> None:
    """Of three tokens the second gives all but rounding to the sink, the third a half."""
    model = tiny("llama")
    trace = model.capture(PROMPT)
    weights = torch.zeros(1, len(trace.tokens), len(trace.tokens))
    weights[0, :3, :3] = torch.tensor([[1.0, 0, 0], [1 - 1e-8, 1e-8, 0], [0.5, 0.3, 0.2]])
    weights[0, 3:, 0] = 1
    weights *= 1 - nowhere
    seen = SimpleNamespace(weights=weights, nowhere=torch.full(weights.shape[:2], nowhere))
    monkeypatch.setattr(tables, "opened", lambda *given: [seen])

    def ask(view: str, **asked: Any) -> pd.DataFrame:
        if view == "hidden_states.sinks":
            return pd.DataFrame({"position": [0]})
        return tables.pattern(model, trace, **asked)

    page = SimpleNamespace(ask=ask, n_tokens=len(trace.tokens))
    chosen = Seen(page, None, 2, 1, 0)  # type: ignore[arg-type]
    whole = tables.pattern(model, trace, 1, 0)
    whole = whole[whole["key"].between(0, whole["query"])]
    drawn, said = _drawn(chosen, whole, without=True)
    rows = drawn.set_index(["query", "position"])["weight"]
    left = 0.5 * (1 - nowhere) + nowhere
    assert rows.loc[2].to_dict() == pytest.approx(
        {1: 0.3 * (1 - nowhere) / left, 2: 0.2 * (1 - nowhere) / left}
    )
    if nowhere:
        assert "of what is left, and of what goes to no token, each row sums to 1 again" in said
    else:
        assert set(rows.index.get_level_values("query")) == {2}
        assert f"{len(trace.tokens) - 1} rows have nothing left" in said
        assert "50% of this head's attention" in said
