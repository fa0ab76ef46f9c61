"""Hidden states, against NumPy and SciPy on hand-built traces and plain transformers on models."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from strata.concepts.hidden_states import (
    CONCEPT,
    activations,
    archive,
    config_table,
    final_norm,
    outliers,
    output_facts,
    strip,
    summary,
    words,
)
from strata.concepts.hidden_states.script import script
from strata.errors import InputError
from strata.model import Model
from strata.trace import Trace
from tests.concepts.by_hand import HOSTILE, bundled_folder, trace
from tests.plain import Plain
from tests.scripts import output_of

PROMPT = "The cat sat on the mat, and the dog ran."


def with_states(hidden: torch.Tensor) -> Trace:
    """A trace whose states (L + 1, T, D) are given."""
    run = trace(layers=len(hidden), tokens=hidden.shape[1], d_model=hidden.shape[2])
    return replace(run, hidden=hidden)


# -- activations ------------------------------------------------------------------------------


def test_activations_are_every_number_of_that_token() -> None:
    run = trace(layers=4, tokens=6, d_model=16)
    frame = activations(run, 3)
    assert list(frame) == ["layer", "dim", "value"]
    assert len(frame) == 4 * 16
    table = frame.pivot(index="layer", columns="dim", values="value").to_numpy()
    np.testing.assert_array_equal(table, run.hidden[:, 3])


@pytest.mark.parametrize("position", [-1, 6])
def test_a_position_out_of_range_names_the_range(position: int) -> None:
    for view in (activations, strip):
        with pytest.raises(InputError, match="0 to 5"):
            view(trace(tokens=6), position)


# -- summary ----------------------------------------------------------------------------------


def test_summary_against_numpy_and_scipy() -> None:
    run = trace(layers=4, tokens=6, d_model=16)
    states = run.hidden.double().numpy()
    frame = summary(run)
    assert list(frame)[:3] == ["layer", "position", "token"]
    assert list(frame)[3:] == ["mean", "variance", "norm", "kurtosis"]
    assert len(frame) == 4 * 6
    assert frame["token"].tolist() == [run.tokens[p] for p in frame["position"]]
    for row in frame.itertuples():
        state = states[row.layer, row.position]
        assert row.mean == pytest.approx(np.mean(state), rel=1e-12)
        assert row.variance == pytest.approx(np.var(state, ddof=1), rel=1e-12)
        assert row.norm == pytest.approx(math.sqrt((state**2).sum()), rel=1e-12)
        assert row.kurtosis == pytest.approx(stats.kurtosis(state), rel=1e-9)


def test_summary_stays_exact_beside_a_sink() -> None:
    """Squares of a state of size 20,000 with an offset lose their digits in float32."""
    state = torch.full((1, 1, 576), 1e4)
    state[..., 3] = 24_000
    [row] = summary(with_states(state)).itertuples()
    expected = state[0, 0].double().numpy()
    assert row.variance == pytest.approx(np.var(expected, ddof=1), rel=1e-12)
    assert row.kurtosis == pytest.approx(stats.kurtosis(expected), rel=1e-9)


def test_a_flat_state_has_no_kurtosis() -> None:
    [row] = summary(with_states(torch.full((1, 1, 8), 2.0))).itertuples()
    assert (row.mean, row.variance) == (2.0, 0.0)
    assert math.isnan(row.kurtosis)


def test_kurtosis_of_a_gaussian_is_near_zero_and_of_one_outlier_large() -> None:
    states = torch.randn(1, 2, 4096, generator=torch.Generator().manual_seed(0))
    states[0, 1, 7] = 100
    even, rogue = summary(with_states(states))["kurtosis"]
    assert abs(even) < 0.3
    assert rogue > 100


# -- strip ------------------------------------------------------------------------------------


def test_strip_draws_everything_where_it_fits() -> None:
    run = trace(layers=4, d_model=16)
    frame = strip(run, 2)
    assert list(frame) == ["layer", "dim", "value", "jitter", "extreme"]
    pd.testing.assert_frame_equal(frame[["layer", "dim", "value"]], activations(run, 2))


def test_strip_samples_a_wide_model_and_keeps_the_extremes() -> None:
    run = trace(layers=4, d_model=1000)
    frame = strip(run, 2, n_max=400)
    assert len(frame) <= 400
    assert not frame.duplicated(["layer", "dim"]).any()
    for layer, state in enumerate(run.hidden[:, 2].numpy()):
        drawn = frame[frame["layer"] == layer]
        assert 85 <= len(drawn) <= 100
        np.testing.assert_array_equal(drawn["value"], state[drawn["dim"]])
        kept = set(np.argsort(-np.abs(state))[:10]) | {state.argmin(), state.argmax()}
        assert set(drawn.loc[drawn["extreme"], "dim"]) == kept


def test_strip_keeps_the_minimum_even_if_it_is_small() -> None:
    hidden = torch.arange(1.0, 1001.0).expand(4, 1, 1000)
    frame = strip(with_states(hidden), 0, n_max=400)
    assert (frame.groupby("layer")["value"].min() == 1).all()


def test_strip_follows_the_same_dimensions_through_all_layers() -> None:
    frame = strip(trace(layers=4, d_model=1000), 2, n_max=400)
    sampled = frame[~frame["extreme"]].groupby("layer")["dim"].agg(set)
    everywhere = set.intersection(*frame.groupby("layer")["dim"].agg(set))
    assert len(everywhere) >= 85
    assert all(len(dims - everywhere) == 0 for dims in sampled)
    assert (frame.groupby("dim")["jitter"].nunique() == 1).all()


def test_strip_is_seeded() -> None:
    run = trace(layers=4, d_model=1000)
    first, again, other = (strip(run, 2, n_max=400, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["dim"]) != set(other["dim"])
    assert 0.1 < first["jitter"].abs().max() < 0.31


def test_strip_needs_room_for_every_layer() -> None:
    with pytest.raises(InputError, match="at least 16"):
        strip(trace(layers=4), 0, n_max=15)
    assert strip(trace(layers=4, d_model=1000), 0, n_max=16)["layer"].nunique() == 4


# -- outliers ---------------------------------------------------------------------------------


def test_outliers_by_brute_force() -> None:
    run = trace(layers=4, tokens=6, d_model=16)
    states = run.hidden[:, 1:].double().numpy()
    frame = outliers(run, n=16)
    assert list(frame) == ["dim", "layer", "position", "token", "value", "share"]
    assert sorted(frame["dim"]) == list(range(16))
    sizes = frame["value"].abs()
    assert sizes.is_monotonic_decreasing
    for row in frame.itertuples():
        assert abs(row.value) == np.abs(states[:, :, row.dim]).max()
        state = states[row.layer, row.position - 1]
        assert state[row.dim] == row.value
        assert row.token == run.tokens[row.position]
        assert row.share == pytest.approx(row.value**2 / (state**2).sum(), rel=1e-6)


def test_outliers_leave_position_0_out_unless_asked() -> None:
    hidden = trace(layers=3, tokens=4, d_model=8).hidden.clone()
    hidden[1, 0, 5] = -1e4
    run = with_states(hidden)
    assert (outliers(run, n=8)["position"] > 0).all()
    top = outliers(run, n=1, skip_first=False).iloc[0]
    assert (top["dim"], top["layer"], top["position"], top["value"]) == (5, 1, 0, -1e4)
    assert top["share"] == pytest.approx(1, abs=1e-4)


def test_outliers_of_one_token() -> None:
    run = trace(tokens=1)
    assert outliers(run).empty
    assert outliers(run).dtypes.equals(outliers(trace()).dtypes)
    assert len(outliers(run, n=2, skip_first=False)) == 2


@pytest.mark.parametrize("n", [0, 17])
def test_outliers_are_from_one_to_d(n: int) -> None:
    with pytest.raises(InputError, match="from 1 to 16"):
        outliers(trace(d_model=16), n=n)


# -- the model's side -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "bloom", "opt"])
def test_final_norm_against_transformers_own_last_state(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    """transformers' `hidden_states[-1]` is the normed state, and ours before it is raw."""
    run = tiny(name).capture(PROMPT)
    before = run.hidden[-1].double()
    after = twin(name).official_states(run.token_ids)[-1].reshape(before.shape).double()
    frame = final_norm(tiny(name), run)
    assert list(frame) == ["position", "token", "norm_before", "norm_after", "cosine"]
    np.testing.assert_allclose(frame["norm_before"], before.norm(dim=-1), rtol=1e-6)
    np.testing.assert_allclose(frame["norm_after"], after.norm(dim=-1), rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    np.testing.assert_allclose(frame["cosine"], cosine, atol=1e-5)
    assert (frame["norm_before"] - frame["norm_after"]).abs().max() > 1e-3


def test_sink_of_the_bundled_model(model: Model) -> None:
    run = model.capture(". The Space Needle is located in")
    frame = summary(run)
    at = frame.set_index(["layer", "position"])["norm"]
    assert at[12, 0] == pytest.approx(24_160, rel=1e-3)
    assert at[12].drop(0).max() < 200
    assert CONCEPT.measures["sink_ratio"](frame, layer=12) > 100
    assert CONCEPT.measures["largest_norm_position"](frame, layer=12) == 0
    assert final_norm(model, run)["norm_after"][0] == pytest.approx(42, abs=1)


def test_output_facts_count_tokens_not_tensors(model: Model) -> None:
    run = model.capture("no no no")
    facts = output_facts(model, run).set_index("fact")["value"]
    assert facts["characters"] == "8 (3 unique)"
    assert facts["tokens"] == f"3 ({len(set(run.token_ids.tolist()))} unique)"
    assert len(set(run.token_ids.tolist())) == 2
    assert facts["number of hidden states"] == "31 (layers 0 to 30)"
    assert facts["shape of each hidden state"] == "3 tokens × 576 dimensions"
    assert facts["shape of the logits"] == "3 tokens × 49,152 possible tokens"
    keys = facts["keys of the model's output"].split(", ")
    assert {"logits", "hidden_states"} <= set(keys)


def test_config_is_flat_and_without_private_notes(model: Model) -> None:
    frame = config_table(model)
    values = frame.set_index("key")["value"]
    assert list(frame) == ["key", "value"]
    assert values["num_hidden_layers"] == "30"
    assert frame["key"].tolist()[:3] == ["model_type", "num_hidden_layers", "hidden_size"]
    assert values["rope_parameters.rope_theta"] == "100000.0"
    assert not any(part.startswith("_") for key in frame["key"] for part in key.split("."))


def test_config_of_any_shape() -> None:
    nested = {"a": {"b": {"c": [1, {"d": None}]}, "_path": "/x"}, "_y": {"z": 1}, "e": {}, 3: 0.5}
    frame = config_table(SimpleNamespace(config_dict=lambda: nested))
    assert frame["key"].tolist() == ["a.b.c", "e", "3"]
    assert frame["value"].tolist() == ['[1, {"d": null}]', "{}", "0.5"]
    assert list(config_table(SimpleNamespace(config_dict=dict))) == ["key", "value"]


def test_export_holds_the_whole_trace_and_no_pickles() -> None:
    run = trace()
    with np.load(io.BytesIO(archive(run)["content"][0]), allow_pickle=False) as arrays:
        assert set(arrays) == {"hidden", "attn", "mlp", "logits", "token_ids", "tokens", "text"}
        np.testing.assert_array_equal(arrays["hidden"], run.hidden)
        np.testing.assert_array_equal(arrays["attn"], run.attn)
        np.testing.assert_array_equal(arrays["mlp"], run.mlp)
        np.testing.assert_array_equal(arrays["token_ids"], run.token_ids)
        np.testing.assert_array_equal(arrays["logits"], run.logits)
        assert tuple(json.loads(str(arrays["tokens"]))) == run.tokens == HOSTILE
        assert json.loads(str(arrays["text"])) == run.text


def test_export_without_writes_and_in_half_precision() -> None:
    run = replace(trace(), writes=None, refusal="unknown", logits=trace().logits.bfloat16())
    with np.load(io.BytesIO(archive(run)["content"][0]), allow_pickle=False) as arrays:
        assert not {"attn", "mlp"} & set(arrays)
        np.testing.assert_array_equal(arrays["logits"], run.logits.float())


# -- readings and measures --------------------------------------------------------------------


def test_other_readings() -> None:
    run = trace(layers=4, d_model=1000)
    everything, some = strip(run, 2), strip(run, 2, n_max=400)
    top = everything.loc[everything["value"].abs().idxmax()]
    place = f"in dimension {top['dim']} at layer {top['layer']}"
    fewest = some.groupby("layer").size().min()
    assert f"{place}; at least {fewest} of 1,000 dim" in words.strip_reading(some, 1000)
    sizes = run.hidden[int(top["layer"]), 2].abs().numpy()
    place += f", {sizes.max() / np.median(sizes):.3g} times the median size there; all 1,000 dim"
    assert place in words.strip_reading(everything, 1000)
    place = f"Dimension {outliers(run)['dim'][0]} alone holds "
    assert words.outliers_reading(outliers(run)).startswith(place)
    assert "left out" in words.outliers_reading(outliers(trace(tokens=1)))
    last = {"norm_before": 1234.5, "norm_after": 6.789, "cosine": 0.5}
    assert words.final_norm_reading(pd.DataFrame([{}, last])) == (
        "The final norm takes the last state from a norm of 1,234 to 6.79 and turns it: the "
        "cosine between the two is 0.50."
    )


def test_measures() -> None:
    measures = CONCEPT.measures
    hidden = torch.ones(3, 4, 4)
    hidden[1, 2] = 7
    frame = summary(with_states(hidden))
    assert measures["largest_norm_position"](frame, layer=1) == 2
    assert measures["largest_norm_layer"](frame, position=2) == 1
    assert measures["sink_ratio"](frame, layer=0) == 1
    assert math.isnan(measures["sink_ratio"](summary(trace(tokens=1)), layer=0))
    assert measures["top_dimension"](outliers(trace())) == outliers(trace())["dim"][0]
    assert measures["top_dimension"](outliers(trace(tokens=1))) is None


# -- show the code ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon-7b", "bloom", "opt", "gemma2"])
def test_script_reproduces_the_page(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], name: str
) -> None:
    """In families whose blocks return a tensor or a tuple, whatever their modules are called."""
    model, prompt = tiny(name), 'A \u202e "cat"\n sat \x00 on """ the mat'
    run = model.capture(prompt)
    ran: dict[str, Any] = {}
    source = str(tiny_folder(name))
    code = script(source, None, prompt, position=2, blocks=model.blocks_path, n_outliers=4)
    exec(compile(code, "script.py", "exec"), ran)
    assert ran["PROMPT"] == prompt
    np.testing.assert_allclose(ran["hidden"], run.hidden, atol=1e-5)
    frame = summary(run)
    for column in ("mean", "variance", "norm", "kurtosis"):
        np.testing.assert_allclose(ran[column].flatten(), frame[column], rtol=1e-4, atol=1e-4)
    top = outliers(run, n=4)
    assert [row[:3] for row in ran["outliers"]] == list(
        top[["dim", "layer", "position"]].itertuples(index=False, name=None)
    )
    np.testing.assert_allclose(
        [row[3:] for row in ran["outliers"]], top[["value", "share"]], rtol=1e-4
    )
    normed = final_norm(model, run)
    np.testing.assert_allclose(ran["normed"].norm(dim=-1), normed["norm_after"], rtol=1e-4)
    np.testing.assert_allclose(ran["cosine"], normed["cosine"], atol=1e-4)


def test_script_of_one_token(tiny_folder: Callable[[str], Path]) -> None:
    ran: dict[str, Any] = {}
    exec(script(str(tiny_folder("llama")), None, "a", position=0, blocks="model.layers"), ran)
    assert ran["outliers"] == []


def test_script_runs_by_itself_and_prints_what_the_page_shows(model: Model, tmp_path: Path) -> None:
    prompt = "The capital of France is"
    code = script(bundled_folder(), None, prompt, position=4, blocks=model.blocks_path)
    assert "strata" not in code.replace(bundled_folder(), "")
    output = output_of(code, tmp_path)
    run = model.capture(prompt)
    [line] = (line for line in output.splitlines() if line.startswith("   30  mean"))
    printed = [float(number) for number in line.replace("from", "").split()[2:9:2]]
    assert printed == pytest.approx(summary(run).iloc[-1, 3:].tolist(), rel=1e-4)
    top = outliers(run).iloc[0]
    assert f"dimension {top['dim']:5d}  layer {top['layer']:3d}" in output
    assert f"keys of the output: {list(model.output_keys)}" in output
    assert "tokens: 5 (5 unique)" in output
