"""The lens that Strata ships is the bundled model's, and what its definition gives."""

from __future__ import annotations

import torch

from strata.concepts import jacobian_lens
from strata.corpus.passages import passages
from strata.model import Model
from strata.model.fitted import SHIPPED
from strata.model.jacobian import Lens
from strata.model.pullback import pulled_back


def test_the_shipped_lens_is_the_mean_over_its_passages(model: Model, thorough: bool) -> None:
    """By one row of each matrix; thorough: by three."""
    assert SHIPPED.stat().st_size <= 20_000_000
    lens = Lens.load(SHIPPED)
    lens.require(model)
    assert lens.n_texts >= 12
    assert lens.changes
    chosen = [5, 300, 507] if thorough else [300]
    cotangents = torch.eye(model.d_model)[chosen]
    texts = list(passages().values())[: lens.n_texts]
    rows = [model.encode(text)[: lens.max_tokens] for text in texts]
    found = torch.stack([pulled_back(model, [row], cotangents, lens.skip)[0] for row in rows])
    for layer, wanted in enumerate(found.mean(dim=0)):
        error = (lens.matrices[layer, chosen] - wanted).abs().max() / wanted.abs().max()
        assert error < 2e-3, layer


def test_the_bundled_model_is_read_by_it(model: Model) -> None:
    trace = model.capture("The capital of France is")
    frame = jacobian_lens.lens(model, trace, k=1)
    last = frame[(frame["layer"] == model.n_layers) & (frame["position"] == 4)]
    assert last["predicted"].tolist() == [" Paris"]
