"""The logit lens, against plain transformers on every family and on the bundled model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts.logit_lens import (
    attribution,
    followed,
    grid,
    lens,
    mistakes,
    proof,
    statistics,
    target_logit,
    write_norms,
)
from strata.concepts.reading import MODES
from strata.errors import InputError, ModelError
from strata.model import Model, load_model
from tests.plain import Plain
from tests.tiny import PROMPT, WITHOUT_WRITES

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]
FRANCE = "The capital of France is"
COLUMNS = ["layer", "position", "token", "rank", "token_id", "predicted", "logit", "prob"]
FROZEN = [mode for mode in MODES if mode.endswith("frozen_norm")]


def unembed(plain: Plain, states: Tensor) -> Tensor:
    """(n, T, D) -> (n, T, V): each state in the place of the last one, in the model's own run."""
    rows = states.flatten(0, 1)[:, None]  # (n * T, 1, D)

    def instead(module: Any, args: Any, output: Any) -> Any:
        return (rows, *output[1:]) if isinstance(output, tuple) else rows

    hook = plain.blocks[-1].register_forward_hook(instead)
    try:
        with torch.no_grad():
            ids = torch.ones(len(rows), 1, dtype=torch.int64)
            logits = plain.network(input_ids=ids, use_cache=False).logits[:, 0]
    finally:
        hook.remove()
    return logits.unflatten(0, states.shape[:2])


def agrees(frame: pd.DataFrame, logits: Tensor, first_layer: int, k: int) -> None:
    """The frame holds the k largest of (n, T, V) logits, best first, and their probabilities."""
    n_layers, n_tokens, _ = logits.shape
    assert list(frame) == COLUMNS
    assert len(frame) == n_layers * n_tokens * k
    assert frame["layer"].unique().tolist() == list(range(first_layer, first_layer + n_layers))
    shape = (n_layers, n_tokens, k)
    wanted = logits.sort(dim=-1, descending=True)
    np.testing.assert_allclose(
        frame["logit"].to_numpy().reshape(shape), wanted.values[..., :k], atol=2e-4
    )
    ids = torch.tensor(frame["token_id"].to_numpy().reshape(shape))
    np.testing.assert_allclose(logits.gather(-1, ids), wanted.values[..., :k], atol=2e-4)
    probs = logits.double().softmax(dim=-1).gather(-1, ids)
    if not frame["prob"].isna().all():
        np.testing.assert_allclose(frame["prob"].to_numpy().reshape(shape), probs, atol=1e-4)
    assert (frame["rank"].to_numpy().reshape(shape) == np.arange(k)).mean() > 0.95  # but for ties


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny vocabulary in slices too, the last one shorter than k and than a block."""
    monkeypatch.setattr("strata.concepts.scan._WIDTH", 149)  # of 300
    monkeypatch.setattr("strata.concepts.scan._CELLS", 7)


# -- lens -------------------------------------------------------------------------------------


def test_states_through_the_models_own_norm_and_head(name: str, tiny: Tiny, twin: Twin) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    run = plain.run(trace.token_ids)
    frame = lens(model, trace, k=3)
    agrees(frame, unembed(plain, run.hidden), 0, 3)
    last = frame[frame["layer"] == model.n_layers]
    best = last[last["rank"] == 0].drop_duplicates("position")["token_id"]
    assert best.tolist() == run.logits.argmax(dim=-1).tolist(), "the last row is not the output"
    assert last["token"].tolist() == [t for t in trace.tokens for _ in range(3)]
    assert frame["predicted"].tolist() == list(model.decode(frame["token_id"].tolist()))


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "cohere", "phi", "llama"])
def test_a_vocabulary_in_slices(name: str, tiny: Tiny, twin: Twin) -> None:
    model, plain = tiny(name), twin(name)  # with a bias of the head, a cap and a factor among them
    trace = model.capture(PROMPT)
    agrees(lens(model, trace, k=3), unembed(plain, plain.run(trace.token_ids).hidden), 0, 3)
    few, all_of_them = (lens(model, trace, k, "deltas_frozen_norm") for k in (4, model.d_vocab))
    assert few["prob"].isna().all()
    best = all_of_them[all_of_them["rank"] < 4]
    np.testing.assert_allclose(few["logit"], best["logit"], atol=1e-6)
    assert (few["token_id"].to_numpy() == best["token_id"].to_numpy()).mean() > 0.99


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "cohere", "phi", "llama", "olmo2"])
def test_deltas_through_their_own_norm(name: str, tiny: Tiny, twin: Twin) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    hidden = plain.run(trace.token_ids).hidden
    agrees(lens(model, trace, 3, "deltas_own_norm"), unembed(plain, hidden.diff(dim=0)), 1, 3)


def test_frozen_modes_sum_to_the_logits_before_any_cap(name: str, tiny: Tiny, twin: Twin) -> None:
    """All V contributions of every cell, summed over the layers by token."""
    if name == "opt-post_norm":
        with pytest.raises(ModelError, match="final norm"):
            lens(tiny(name), tiny(name).capture(PROMPT), mode="deltas_frozen_norm")
        return
    model = tiny(name)
    trace = model.capture(PROMPT)
    logits = twin(name).run(trace.token_ids).logits.numpy()
    n_tokens, d_vocab = logits.shape

    def total(mode: str) -> np.ndarray:
        frame = lens(model, trace, d_vocab, mode)
        assert frame["prob"].isna().all()
        assert frame["layer"].min() == 1
        by_token = frame.groupby(["position", "token_id"])["logit"].sum()
        return by_token.to_numpy().reshape(n_tokens, d_vocab)

    targets = range(0, d_vocab, 97)
    deltas = total("deltas_frozen_norm")
    if name in WITHOUT_WRITES:
        for mode in ("attn_frozen_norm", "mlp_frozen_norm"):
            with pytest.raises(ModelError, match="writes"):
                lens(model, trace, mode=mode)
        with pytest.raises(ModelError, match="writes"):
            attribution(model, trace, 1, 0)
        with pytest.raises(ModelError, match="writes"):
            write_norms(trace)
        return
    writes = total("attn_frozen_norm") + total("mlp_frozen_norm")
    np.testing.assert_allclose(writes, deltas, atol=1e-4)
    cap = getattr(twin(name).network.config, "final_logit_softcapping", None)
    for position in (0, n_tokens - 1):
        for target in targets:
            parts = attribution(model, trace, target, position)
            rest = parts[~parts["part"].isin(["attn", "mlp"])]["logit"].sum()
            value = deltas[position, target] + rest
            assert parts["logit"].sum() == pytest.approx(value, abs=1e-3)
            logit = cap * np.tanh(value / cap) if cap else value
            assert logit == pytest.approx(logits[position, target], abs=1e-3)
        before = cap * np.arctanh(logits[position] / cap) if cap else logits[position]  # (V,)
        for against, taken in (("mean", before.mean()), (5, before[5])):
            own = target_logit(model, trace, target, position, against)
            wanted = pytest.approx(before[target] - taken, abs=1e-3)
            assert own["logit"].item() == wanted
            assert attribution(model, trace, target, position, against)["logit"].sum() == wanted
    assert proof(model, trace, n_tokens - 1)["ok"].all()


def test_in_a_coarse_number_type_the_output_is_proved_by_its_steps(
    tiny_folder: Callable[[str], Path],
) -> None:
    model = load_model(str(tiny_folder("llama")), device="cpu", dtype="bfloat16")
    trace = model.capture(PROMPT)
    output = proof(model, trace, 3).set_index("identity").loc["output"]
    largest = float(trace.logits[3].float().abs().max())
    assert output["tolerance"] == pytest.approx(4 * 2**-7 * largest)
    assert 1e-3 < output["error"] <= output["tolerance"]
    assert output["ok"]


def test_suppressed_tokens_come_last_in_the_ranking(tiny: Tiny) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    for mode in ("states", "mlp_frozen_norm"):
        whole = lens(model, trace, model.d_vocab, mode)
        worst = lens(model, trace, 4, mode, largest=False)
        for (layer, position), rows in worst.groupby(["layer", "position"]):
            end = whole[(whole["layer"] == layer) & (whole["position"] == position)].iloc[-4:]
            np.testing.assert_allclose(rows["logit"], end["logit"][::-1], atol=1e-6)
            assert rows["rank"].tolist() == end["rank"][::-1].tolist()
            assert rows["rank"].iloc[0] == model.d_vocab - 1


def test_equal_logits_share_a_rank_and_stand_in_order_of_id(tiny: Tiny) -> None:
    model = tiny("nanochat")  # a norm without weights: zero stays zero, and so does every logit
    frame = lens(model, torch.zeros(1, 1, model.d_model), k=5)
    assert frame["rank"].tolist() == [0] * 5
    assert frame["prob"].tolist() == pytest.approx([1 / model.d_vocab] * 5)


def test_bare_states_are_named_by_their_positions(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    for mode in ("states", "deltas_own_norm", "deltas_frozen_norm"):
        bare, whole = lens(model, trace.hidden, mode=mode), lens(model, trace, mode=mode)
        assert bare["token"].tolist() == bare["position"].astype(str).tolist()
        pd.testing.assert_frame_equal(bare.drop(columns="token"), whole.drop(columns="token"))
    with pytest.raises(InputError, match="no attention or MLP writes"):
        lens(model, trace.hidden, mode="attn_frozen_norm")
    for wrong in (trace.hidden[0], trace.hidden[..., 1:], trace.hidden[:0]):
        with pytest.raises(InputError, match="shape"):
            lens(model, wrong)


def test_the_smallest_answers_keep_their_columns(tiny: Tiny) -> None:
    model = tiny("llama")
    states = model.capture("a").hidden[:, :1]
    assert len(lens(model, states, k=1)) == model.n_layers + 1
    for frame in (
        lens(model, states[:, :0]),
        lens(model, states[:1], mode="deltas_own_norm"),
        lens(model, states[:1], mode="deltas_frozen_norm"),
    ):
        assert frame.empty
        assert list(frame) == COLUMNS


@pytest.mark.parametrize("k", [0, 301, 2.5])
def test_k_is_one_of_1_to_v(tiny: Tiny, k: Any) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match="number of tokens"):
        lens(model, model.capture("a"), k=k)


@pytest.mark.parametrize("mode", ["", "state", "deltas"])
def test_an_unknown_mode_is_named(tiny: Tiny, mode: str) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match="mode is one of states"):
        lens(model, model.capture("a"), mode=mode)


@pytest.mark.parametrize("k", [1, 5, 40, 63, 64, 300])
def test_the_top_k_by_blocks_are_the_top_k(k: int) -> None:
    from strata.concepts.scan import top

    logits = torch.randn(7, 20 * 64 + 17, generator=torch.Generator().manual_seed(k))
    logits[0, -17:] += 9  # what the blocks leave over
    logits[1, :64] += 9  # all in one block
    for largest in (True, False):
        value, token_id, rank = top(logits, k, largest)
        wanted = logits.topk(k, largest=largest)
        assert torch.equal(value, wanted.values)
        assert torch.equal(token_id, wanted.indices)
        assert torch.equal(rank, (logits[:, None] > value[..., None]).sum(dim=-1))


def test_a_refused_lens_is_refused_in_words(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    trace = model.capture("a b")
    monkeypatch.setattr(model, "lens_refusal", "The head is not the model's.")
    asked = (lens, statistics, grid, mistakes, lambda *run: proof(*run, 0))
    for view in (*asked, lambda *run: attribution(*run, 1, 0), lambda *run: followed(*run, 0)):
        with pytest.raises(ModelError, match="not the model's"):
            view(model, trace)


# -- statistics, attribution, write_norms -----------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "phi"])
@pytest.mark.parametrize("target", [None, 123])
def test_statistics(name: str, target: int | None, tiny: Tiny, twin: Twin) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    run = plain.run(trace.token_ids)
    logits = unembed(plain, run.hidden).double()
    logprobs = logits.log_softmax(dim=-1)
    frame = statistics(model, trace, target)
    names = ["entropy", "kl_to_final", "norm", "target_prob", "target_rank"]
    assert list(frame) == ["layer", "position", "token", *names]
    final = run.logits.double().log_softmax(dim=-1)
    ids = torch.full((len(trace.tokens),), target) if target else run.logits.argmax(dim=-1)
    chosen = logprobs.gather(-1, ids.expand(logits.shape[:2])[..., None])
    wanted = {
        "entropy": -(logprobs.exp() * logprobs).sum(dim=-1),
        "kl_to_final": (final.exp() * (final - logprobs)).sum(dim=-1),
        "norm": run.hidden.norm(dim=-1),
        "target_prob": chosen[..., 0].exp(),
    }
    for column, values in wanted.items():
        np.testing.assert_allclose(frame[column], values.flatten(), atol=2e-4, err_msg=column)
    rank = (logprobs > chosen).sum(dim=-1).flatten().numpy()
    assert (frame["target_rank"] == rank).mean() > 0.98
    assert (frame["kl_to_final"][frame["layer"] == model.n_layers] < 1e-6).all()


@pytest.mark.parametrize("target", [-1, 300, "x"])
def test_a_target_that_does_not_exist(tiny: Tiny, target: Any) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    for ask in (
        lambda: attribution(model, trace, target, 0),
        lambda: statistics(model, trace, target),
        lambda: grid(model, trace, target_id=target),
        lambda: followed(model, trace, 0, [target]),
    ):
        with pytest.raises(InputError, match=r"[Tt]oken"):
            ask()


def test_write_norms(tiny: Tiny, twin: Twin) -> None:
    model = tiny("gemma2")
    trace = model.capture(PROMPT)
    run = twin("gemma2").run(trace.token_ids)
    frame = write_norms(trace)
    assert list(frame) == ["block", "part", "position", "token", "norm"]
    for part in ("attn", "mlp"):
        rows = frame[frame["part"] == part]
        wanted = torch.stack(getattr(run, part)).norm(dim=-1)
        np.testing.assert_allclose(rows["norm"].to_numpy().reshape(wanted.shape), wanted, rtol=1e-5)
        assert rows["token"].tolist() == list(trace.tokens) * model.n_layers
