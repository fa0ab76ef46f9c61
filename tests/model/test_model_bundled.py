"""The bundled model: the facts that were measured on it, and the contract at its real size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from strata.model import Model
from strata.trace import Keep, Replace, Scale, State
from tests.plain import Change, Plain


def test_bundled_model_passes_both_identities(model: Model, bundled: Plain) -> None:
    assert model.check.ok, model.check
    assert (model.n_layers, model.d_model, model.d_vocab) == (30, 576, 49_152)
    trace = model.capture("The Colosseum is located in the city of")
    assert trace.hidden.shape == (31, len(trace.tokens), 576)
    assert trace.check.ok, trace.check
    difference = trace.hidden.diff(dim=0) - trace.attn - trace.mlp
    size = trace.hidden[1:].abs().amax(dim=-1)
    assert (difference.abs().amax(dim=-1) / size).max() <= 1e-5
    assert (model.unembed(trace.hidden[-1]) - trace.logits).abs().max() <= 1e-3
    official = bundled.official_states(trace.token_ids)
    assert torch.equal(trace.hidden[:-1], torch.stack(official[:-1]))


@pytest.mark.parametrize(
    ("prompt", "answer", "probability"),
    [
        ("The capital of France is", " Paris", 0.77),
        ("The Colosseum is located in the city of", " Rome", 0.73),
        ("The opposite of hot is", " cold", 0.68),
        ("The chemical symbol for gold is", " Au", 0.96),
        ("The author of Hamlet is William", " Shakespeare", 0.96),
    ],
)
def test_bundled_model_knows(prompt: str, answer: str, probability: float, model: Model) -> None:
    trace = model.capture(prompt)
    best = model.unembed(trace.hidden[-1, -1]).softmax(dim=-1).max(dim=-1)
    assert model.decode([int(best.indices)]) == (answer,)
    assert float(best.values) == pytest.approx(probability, abs=0.006)


def test_bundled_model_has_a_sink_at_its_first_token(model: Model) -> None:
    trace = model.capture(". The Space Needle is located in")
    norms = trace.hidden.norm(dim=-1)  # (31, T)
    assert float(norms[:, 0].max()) == pytest.approx(24_160, rel=0.01)
    assert norms[12:28, 0].min() > 23_000
    assert norms[12:20, 1:].max() < 500
    assert float(model.normed(trace.hidden[-1, :1]).norm()) == pytest.approx(42, rel=0.05)


def test_bundled_model_generates_the_same_with_and_without_a_cache(
    model: Model, bundled: Plain
) -> None:
    prompt = "The capital of France is"
    ids = model.encode(prompt)
    for edits in ((), (Scale(20, 0.2, "mlp"), Scale(8, 2.5, "attn", (3, len(ids) + 1)))):
        expected = bundled.greedy(ids, 6, edits)
        assert model.generate(prompt, 6, edits) == model.tokenizer.decode(expected)


def test_bundled_model_with_another_prompts_states(model: Model, bundled: Plain) -> None:
    """Capture, replay and writing on, against plain hooks; a difference moves the answer."""
    france, italy = "The capital of France is", "The capital of Italy is"
    ids, clean = model.encode(france), model.capture(france)
    last = len(ids) - 1
    given = bundled.run(model.encode(italy)).states
    rome = int(model.tokenizer.convert_tokens_to_ids("ĠRome"))

    def put(layer: int) -> Change:
        def change(values: Tensor, entered: Tensor) -> Tensor:
            changed = values.clone()
            changed[3], changed[last] = given[layer][3], given[layer][last]
            return changed

        return Change(layer - 1, "stream", change)

    edits = [Replace(block, "stream", State(italy), (3, last)) for block in (2, 20)]
    states = {
        i: s for group, n in model.replay(clean, edits) for i, s in zip(group, n, strict=True)
    }
    for i, edit in enumerate(edits):
        trace = model.capture(france, [edit])
        run = bundled.run(ids, (put(edit.block + 1),))
        size = run.hidden.abs().amax(dim=-1).cummax(dim=0).values
        assert ((trace.hidden - run.hidden).abs().amax(dim=-1) / size).max() <= 1e-5
        assert (model.unembed(states[i]) - run.logits[-1]).abs().max() <= 1e-3
        assert trace.check.ok
        expected = bundled.greedy(ids, 4, (put(edit.block + 1),))
        assert model.generate(france, 4, [edit]) == model.tokenizer.decode(expected)
        assert int(trace.logits[-1].argmax()) == rome
    back = model.capture(france, [Replace(20, "stream", State(france))])
    assert torch.equal(back.logits, clean.logits)


def test_bundled_model_keeps_its_sink(model: Model) -> None:
    """A sample without sinks says nothing of one; named, it is changed all the same."""
    prompt = ". The Space Needle is located in"
    texts = ("The river is wide and slow, and the stones are round.", "She said that it was late.")
    clean = model.capture(prompt).hidden[16]
    kept = model.capture(prompt, [Keep(15, 4, texts)])
    assert torch.equal(kept.hidden[16, 0], clean[0])
    assert not torch.equal(kept.hidden[16, 1], clean[1])
    named = model.capture(prompt, [Keep(15, 4, texts, (0, 1))]).hidden[16]
    torch.testing.assert_close(named[1], kept.hidden[16, 1])
    assert named[0].norm() < 0.7 * clean[0].norm()


def test_bundled_model_in_a_batch(model: Model) -> None:
    texts = ["The capital of France is", "Gold", "The opposite of hot is"]
    for text, trace in zip(texts, model.capture_many(texts), strict=True):
        alone = model.capture(text)
        # Relative to the largest state so far: what is left of a sink's state of 24,000, once the
        # last block has taken it away, still has its rounding.
        size = alone.hidden.abs().amax(dim=-1).cummax(dim=0).values
        assert ((trace.hidden - alone.hidden).abs().amax(dim=-1) / size).max() <= 1e-5
        assert trace.check.ok
