"""Measures of the lens, of edits and of maps, against NumPy by hand; and questions about blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.charts.guess import Guess, with_guess
from strata.charts.lens import followed
from strata.concepts import logit_lens, predictions, scaling, trajectories
from strata.lessons import Question
from strata.lessons.answers import in_words, measured, resolved, score
from strata.lessons.check import unfit
from strata.model import Model

OF_LENS = logit_lens.CONCEPT.measures
OF_EDITS = scaling.CONCEPT.measures
OF_MAPS = trajectories.CONCEPT.measures
TEXT = "A B C D"


@pytest.fixture(params=("gpt2", "llama"))
def model(request: pytest.FixtureRequest, tiny: Callable[[str], Model]) -> Model:
    return tiny(request.param)


def test_the_lens_names_its_leader_and_how_sure_it_is(model: Model) -> None:
    run = model.capture(TEXT)
    frame = logit_lens.lens(model, run, k=3)
    for layer in (0, model.n_layers):
        logits = model.unembed(run.hidden[layer, 1]).double().numpy()  # (V,)
        prob = np.exp(logits - logits.max())
        prob /= prob.sum()
        place = {"layer": layer, "position": 1}
        assert OF_LENS["leader"](frame, **place) == model.decode([int(prob.argmax())])[0]
        assert OF_LENS["leader_prob"](frame, **place) == pytest.approx(prob.max(), rel=1e-4)


def test_the_targets_probability_by_layer(model: Model) -> None:
    run = model.capture(TEXT)
    found = OF_LENS["target_probs"](logit_lens.statistics(model, run), position=2)
    logits = model.unembed(run.hidden[:, 2]).double().numpy()  # (L + 1, V)
    prob = np.exp(logits - logits.max(axis=-1, keepdims=True))
    prob /= prob.sum(axis=-1, keepdims=True)
    assert found == pytest.approx(prob[:, logits[-1].argmax()], rel=1e-4)


def test_parts_of_an_attribution_add_up_and_one_block_is_largest(model: Model) -> None:
    run = model.capture(TEXT)
    frame = logit_lens.attribution(model, run, target_id=7, position=3)
    parts = {part: OF_LENS["part_sum"](frame, part) for part in frame["part"].unique()}
    total = float(model.unembed(run.hidden[-1, 3])[7])
    assert sum(parts.values()) == pytest.approx(total, abs=1e-3)
    logits = frame["logit"].to_numpy()[1:-2].reshape(-1, 2)  # (L, 2): attention, MLP
    assert OF_LENS["largest_block"](frame) == logits.max(axis=1).argmax()
    assert OF_LENS["largest_block"](frame, part="attn") == logits[:, 0].argmax()


def test_the_surest_delta_beside_the_largest(model: Model) -> None:
    run = model.capture(TEXT)
    frame = logit_lens.grid(model, run, mode="deltas_own_norm")
    deltas = np.diff(run.hidden.double().numpy(), axis=0)[:, 3]  # (L, D)
    sizes = np.linalg.norm(deltas, axis=-1)
    logits = model.unembed(run.hidden.diff(dim=0)[:, 3]).double()
    surest = int(logits.softmax(dim=-1).amax(dim=-1).argmax())
    share = OF_LENS["surest_write_size"](frame, position=3)
    assert share == pytest.approx(sizes[surest] / sizes.max())


def test_measures_of_a_sweep() -> None:
    frame = pd.DataFrame(
        {
            "block": [0, 1, 0, 1],
            "factor": [0.5, 0.5, 2.0, 2.0],
            "logprob": [-3.0, -1.5, -0.5, -4.0],
            "clean_logprob": -2.0,
            "rank": [3, 0, 0, 9],
            "kl": [0.7, 0.2, 1.1, 2.0],
        }
    )
    assert OF_EDITS["worst_logprob"](frame) == -4.0
    assert OF_EDITS["worst_logprob"](frame, factor=0.5) == -3.0
    assert OF_EDITS["best_change"](frame) == 1.5
    assert OF_EDITS["best_change"](frame, factor=0.5) == 0.5
    assert OF_EDITS["kl_at_best"](frame) == 1.1
    assert OF_EDITS["kl_at_best"](frame, factor=0.5) == 0.2


def test_the_share_that_two_directions_keep(model: Model) -> None:
    run = model.capture(TEXT)
    frame = trajectories.state_map(run, method="pca", metric="euclidean")
    states = run.hidden.double().numpy().reshape(-1, model.d_model)
    sizes = np.linalg.svd(states - states.mean(axis=0), compute_uv=False) ** 2
    assert OF_MAPS["kept_share"](frame) == pytest.approx(sizes[:2].sum() / sizes.sum())


def test_the_last_token_alone_is_silent(model: Model) -> None:
    run = model.capture(TEXT)
    frame = trajectories.gradient_norms(run, model.gradients(TEXT))
    assert OF_MAPS["silent_position"](frame) == len(run.tokens) - 1
    assert OF_MAPS["silent_position"](frame[frame["position"] < len(run.tokens) - 1]) is None
    assert OF_MAPS["silent_position"](frame.assign(norm=0.0)) is None


# -- questions about the top-1, and about blocks ---------------------------------------------------


def test_the_top_token_stands_for_its_id(model: Model) -> None:
    run = model.capture(TEXT)
    asked = Question(
        kind="block",
        ask="?",
        view="logit_lens.attribution",
        params={"position": "$last", "target_id": "$top"},
        measure="logit_lens.largest_block",
    )
    given: dict[str, Any] = {}

    def ask(view: str, **params: Any) -> pd.DataFrame:
        if view == "predictions.next_token":
            return predictions.next_token(model, run, **params)
        given.update(params)
        return logit_lens.attribution(model, run, **params)

    block = measured(asked, ask, model.n_layers, len(run.tokens))
    assert given["target_id"] == int(run.logits[-1].argmax())
    assert unfit(asked, block, model.n_layers, len(run.tokens)) == ""
    assert resolved({"target_id": "$top"}, 3, 4, top=9) == {"target_id": 9}


def test_a_block_is_judged_like_a_layer() -> None:
    asked = Question(
        kind="block", ask="?", view="scaling.sweep", measure="scaling.most_hurtful_block"
    )
    assert in_words(asked, 4) == "block 4"
    assert score(asked, 4, 4).grade == "right"
    assert score(asked, 6, 4).grade == "near"
    verdict = score(asked, 1, 4)
    assert verdict.grade == "wrong"
    assert "later" in verdict.words
    assert unfit(asked, 3, n_layers=3, n_tokens=5)


def test_a_guess_has_its_own_colour_where_the_figure_colours_its_marks() -> None:
    frame = pd.DataFrame(
        {"token_id": 1, "predicted": " a", "layer": [0, 1], "prob": [0.1, 0.9], "rank": [3, 0]}
    )
    drawn = with_guess(
        followed(frame, "prob", ""), Guess("x", "x", (), points=((0, 0.5), (1, 0.5)))
    )
    marks = [
        mark
        for mark in drawn.spec["layer"]
        if mark.get("encoding", {}).get("x", {}).get("field") == "guess_x"
    ]
    assert len(marks) == 2
    for mark in marks:
        assert mark["encoding"]["color"] is None
