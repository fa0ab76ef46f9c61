"""A model whose head reads another width than the stream's, as small OPT models have it."""

from __future__ import annotations

import pytest
import torch

from strata.concepts.hidden_states.tables import final_norm
from strata.concepts.laminar_profile.tables import between_layers, layer_matrices, token_matrices
from strata.concepts.logit_lens import lens
from strata.errors import InputError
from strata.model import Model
from tests.families.outcome import load
from tests.tiny import PROMPT, build

LAST = 3  # position whose layers are compared


@pytest.fixture(scope="module", params=[True, False], ids=["norm_before", "norm_after"])
def model(request: pytest.FixtureRequest) -> Model:
    return load(build("opt", word_embed_proj_dim=16, do_layer_norm_before=request.param))


def test_the_lens_is_the_models_own(model: Model) -> None:
    """Norm, projection and head by hand; the projection stands between the other two."""
    trace = model.capture(PROMPT)
    decoder = model._network.model.decoder
    normed = decoder.final_layer_norm(trace.hidden) if decoder.final_layer_norm else trace.hidden
    with torch.no_grad():
        inner = decoder.project_out(normed)
        expected = inner @ model._network.lm_head.weight.T
    assert model.d_model == 32
    assert model.d_head == 16
    torch.testing.assert_close(model.normed(trace.hidden), inner, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.unembed(trace.hidden), expected, rtol=1e-5, atol=1e-5)
    frame = lens(model, trace, k=1)
    best = expected.argmax(dim=-1).flatten().tolist()
    assert frame["token_id"].tolist() == best


def test_no_cosine_is_made_up_between_two_widths(model: Model) -> None:
    trace = model.capture(PROMPT)
    frame = final_norm(model, trace)
    after = model.normed(trace.hidden[-1])
    assert frame["norm_after"].tolist() == pytest.approx(after.norm(dim=-1).tolist(), rel=1e-5)
    assert frame["cosine"].isna().all()

    matrices = layer_matrices(model, trace, (LAST,))
    other = matrices[["layer_a", "layer_b"]].eq(model.n_layers + 1).any(axis=1)
    assert matrices.loc[other, "cosine"].isna().all()
    expected = between_layers(trace, LAST)["cosine"].tolist()
    assert matrices.loc[~other, "cosine"].tolist() == pytest.approx(expected)

    cosine = token_matrices(model, trace, (model.n_layers + 1,))["cosine"]
    unit = torch.nn.functional.normalize(after.double(), dim=-1)
    assert cosine.tolist() == pytest.approx((unit @ unit.T).flatten().tolist(), abs=1e-6)


@pytest.mark.parametrize("mistake", ["norm_twice", "no_norm"])
def test_a_mistake_that_cannot_be_made_is_refused(model: Model, mistake: str) -> None:
    from strata.concepts.reading import read

    with pytest.raises(InputError, match="reads 16 numbers and a state has 32"):
        read(model, model.capture(PROMPT), mistake=mistake)
