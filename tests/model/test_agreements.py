"""What is measured before a model is served: each guard turns red where it should, and switches
off what it is about."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from strata.concepts.scaling import sweep
from strata.errors import ModelError
from strata.model import Model, agreements, load_model, remembered
from strata.model.hooks import Recorder
from strata.trace import Scale
from tests import tiny as tiny_models
from tests.families.build import build as build_family
from tests.families.outcome import load
from tests.plain import Plain
from tests.tiny import PROMPT, build

SHORT = "A dog"


@contextmanager
def forward(module: Any, change: Callable[..., Any]) -> Iterator[None]:
    """While open, the module's output is `change(output, kwargs)`."""
    hook = module.register_forward_hook(
        lambda m, args, kwargs, output: change(output, kwargs), with_kwargs=True
    )
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon-rw", "qwen3_5_text", "gpt_oss"])
def test_ways_that_agree_are_measured_to_agree(name: str, tiny: Callable[[str], Model]) -> None:
    check = tiny(name).check
    assert check.causal_ok
    assert check.batch_ok
    assert check.cache_ok
    assert check.replay_ok
    assert max(check.causal_error, check.batch_error, check.cache_error, check.replay_error) < 2e-5
    assert tiny(name).switched_off == {}
    assert tiny(name).capture(PROMPT).check.causal_error == check.causal_error


# -- causal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "option"),
    [("llama", "is_causal"), ("gemma3_text", "use_bidirectional_attention")],
)
def test_a_model_that_reads_in_both_directions_is_refused(
    name: str, option: str, tmp_path: Path
) -> None:
    """Both identities hold for it, and its surprisal means nothing."""
    folder = tiny_models.save(name, tmp_path, **{option: option != "is_causal"})
    with pytest.raises(ModelError, match="left to right") as refusal:
        load_model(str(folder))
    assert "\n" not in str(refusal.value)


# -- batches ----------------------------------------------------------------------------------


def test_a_neighbour_that_changes_a_prompt_switches_batches_off() -> None:
    network = build("llama")

    def leak(output: Any, kwargs: dict[str, Any]) -> Any:
        return output + 0.01 * (len(output) > 1)

    with forward(network.model.layers[1], leak):
        model = load(network)
        assert model.check.batch_error > 1e-3
        assert not model.check.batch_ok
        assert "one by one" in model.switched_off["batch"]
        for text, trace in zip((SHORT, PROMPT), model.capture_many([SHORT, PROMPT]), strict=True):
            assert torch.equal(trace.hidden, model.capture(text).hidden)


TURN = 24  # tokens; longer than what is measured at load, as the limits of real models are
LONGROPE = {
    "original_max_position_embeddings": TURN,
    "sliding_window": None,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [6.0] * 4,
        "original_max_position_embeddings": TURN,
        "factor": 2.0,
    },
}


@pytest.fixture(scope="module", params=["phi3", "llama"])
def longrope(request: pytest.FixtureRequest) -> tuple[Model, Plain]:
    """Phi 3 drops its cache at the limit; other families would go on with keys turned otherwise."""
    return tuple(make(build(request.param, **LONGROPE)) for make in (load, Plain))


def test_a_longer_prompt_does_not_turn_a_short_one_by_its_frequencies(
    longrope: tuple[Model, Plain],
) -> None:
    model, plain = longrope
    texts = [SHORT, PROMPT + PROMPT, "The cat"]
    assert model.switched_off == {}
    assert len(model.encode(SHORT)) <= TURN < len(model.encode(PROMPT + PROMPT))
    for text, trace in zip(texts, model.capture_many(texts), strict=True):
        alone = plain.run(model.encode(text))
        assert trace.text == text
        assert (trace.hidden - alone.hidden).abs().max() <= 1e-5 * alone.hidden.abs().max()


def test_positions_stay_where_a_continuation_crosses_the_limit(
    longrope: tuple[Model, Plain],
) -> None:
    """Against the loop without a cache, which reads the whole text at each step."""
    model, plain = longrope
    ids = model.encode(PROMPT)
    last = len(ids) - 1
    assert last < TURN < last + 14
    later = Scale(0, -2.0, positions=(TURN, TURN + 2))
    for edits in ((), (Scale(1, 4.0, "attn", (1, last, TURN - 1)), later)):
        expected = plain.greedy(ids, 14, edits)
        text = model.tokenizer.decode(expected, skip_special_tokens=True)
        assert model.generate(PROMPT, 14, edits) == text, edits


def test_positions_are_those_of_a_text_that_is_read_anew(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain]
) -> None:
    model = tiny("llama")
    ids = model.encode(SHORT)
    edits = (Scale(1, -3.0, positions=(1, len(ids))),)
    made = model._resolved(edits, ids, len(ids) + 6)
    recorder = Recorder(model.architecture, made, record=False)
    output = model.go_on(ids, 6, recorder, use_cache=False)
    assert output[0, len(ids) :].tolist() == twin("llama").greedy(ids, 6, edits)


# -- the cache --------------------------------------------------------------------------------


def test_a_cache_that_changes_what_follows_refuses_continuations() -> None:
    network = build("llama")

    def forget(output: Any, kwargs: dict[str, Any]) -> Any:
        return output + 0.05 * (output.shape[1] == 1)

    with forward(network.model.layers[0], forget):
        model = load(network)
    assert model.check.cache_error > 1e-3
    assert not model.check.cache_ok
    with pytest.raises(ModelError, match="continuations are refused"):
        model.generate(PROMPT, 3)


def test_positions_that_a_continuation_counts_otherwise_refuse_it() -> None:
    """transformers 5.24 numbers RoBERTa's tokens from 0 while generating, and from the padding's
    number on else; with or without a cache, so that only whole runs show it."""
    model = load(build_family("roberta"))
    assert not model.check.cache_ok
    assert model.check.batch_ok
    assert model.check.replay_ok
    with pytest.raises(ModelError, match="continuations are refused"):
        model.generate(PROMPT, 3)


# -- replay -----------------------------------------------------------------------------------

SHARED = {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8}


def test_layers_that_share_keys_and_values_are_run_whole() -> None:
    """Against plain hooks, one run an edit, with the negative factors that a norm does not hide."""
    model, plain = load(build("gemma4_text", **SHARED)), Plain(build("gemma4_text", **SHARED))
    assert not model.check.replay_ok
    assert "whole run" in model.switched_off["replay"]
    trace = model.capture(PROMPT)
    factors = (0.0, -1.0, 2.0)
    frame = sweep(model, trace, target_id=7, factors=factors)
    assert len(frame) == model.n_layers * len(factors)
    for row in frame.itertuples():
        run = plain.run(trace.token_ids, [Scale(int(row.block), float(row.factor))])
        expected = run.logits[-1].double().log_softmax(dim=-1)[7]
        assert row.logprob == pytest.approx(float(expected), abs=1e-4)
    ids = trace.token_ids
    for block in range(model.n_layers):
        edits = (Scale(block, -0.7, positions=(2, len(ids) + 1)),)
        text = model.tokenizer.decode(plain.greedy(ids, 6, edits), skip_special_tokens=True)
        assert model.generate(PROMPT, 6, edits) == text


def test_what_a_block_hands_on_besides_its_state_switches_replay_off() -> None:
    network = build("llama")
    handed: list[torch.Tensor] = []

    def write(module: Any, args: Any) -> None:
        handed[:] = [args[0].mean(dim=-1, keepdim=True)]

    def read(output: Any, kwargs: dict[str, Any]) -> Any:
        return output + (handed[0] if len(handed[0]) == len(output) else handed[0][:1])

    network.model.layers[1].register_forward_pre_hook(write)
    with forward(network.model.layers[2], read):
        model = load(network)
        assert not model.check.replay_ok
        trace = model.capture(PROMPT)
        edit = Scale(0, -0.7)
        [(_, [state])] = list(model.replay(trace, [edit]))
        assert torch.equal(state, model.capture(PROMPT, [edit]).hidden[-1, -1])


def test_a_way_that_fails_counts_as_infinitely_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Model) -> float:
        raise RuntimeError("a kernel failed")

    monkeypatch.setattr(agreements, "cache", fail)
    model = load(build("gpt2"))
    assert model.check.cache_error == math.inf
    assert "one of the two ways fails" in model.switched_off["cache"]


# -- remembered -------------------------------------------------------------------------------


def test_a_later_start_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    folder = tiny_models.save("gpt2", tmp_path / "model")
    measured = []
    real = agreements.measure
    monkeypatch.setattr(
        "strata.model.model.measure", lambda model: measured.append(model) or real(model)
    )
    first = load_model(str(folder), device="cpu")
    again = load_model(str(folder), device="cpu")
    assert len(measured) == 1
    assert again.check == first.check

    load_model(str(folder), device="cpu", dtype="bfloat16")
    assert len(measured) == 2, "another number type is measured anew"
    tiny_models.save("gpt2", folder, seed=1)
    load_model(str(folder), device="cpu")
    assert len(measured) == 3, "so are other weights"
    moved = folder.rename(tmp_path / "moved")
    load_model(str(moved), device="cpu")
    assert len(measured) == 3, "and weights that were moved are known again"
    (moved / "tokenizer_config.json").write_text("{}")
    folder = moved
    assert remembered.recall(remembered.key(folder, torch.device("cpu"), torch.float32)) is None


def test_what_cannot_be_read_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    found = agreements.Agreements(0.0, 1e-6, math.inf, 2e-6)
    remembered.keep("key", found)
    assert remembered.recall("key") == found
    (tmp_path / "agreements" / "key.json").write_text('{"causal_error": 0}')
    assert remembered.recall("key") is None
    assert remembered.recall("another") is None


@pytest.mark.parametrize("large", [False, True])
def test_weights_count_by_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Other weights of the same size that are dated back, as copies are, are other weights."""
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remembered, "_QUICKLY_READ", 0 if large else 1000)
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"

    def key() -> str:
        return remembered.key(folder, torch.device("cpu"), torch.float32)

    weights.write_bytes(b"one")
    dated = weights.stat().st_mtime_ns
    first = key()
    assert key() == first
    weights.write_bytes(b"two")
    os.utime(weights, ns=(dated, dated))
    assert key() != first
    weights.write_bytes(b"one")
    assert key() == first


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remembered, "_QUICKLY_READ", 3)
    (tmp_path / "weights").write_bytes(b"weights")
    found = remembered._hash(tmp_path / "weights")
    assert found == hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: pytest.fail("read again"))
    assert remembered._hash(tmp_path / "weights") == found
    blob = tmp_path / found  # so the hub's cache names its files
    (tmp_path / "weights").rename(blob)
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert remembered._hash(tmp_path / "model.safetensors") == found
