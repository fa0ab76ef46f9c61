"""What a loaded model promises, whatever its family: prompts, edits, gradients, generation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from strata.errors import InputError
from strata.model import Model, load_model
from strata.trace import Scale
from tests import tiny as tiny_models
from tests.plain import Plain
from tests.tiny import END, LIMIT, PROMPT

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]


def assert_untouched(model: Model) -> None:
    """No hook, no replaced forward and no gradient is left on the shared modules."""
    for key, module in model._network.named_modules():
        assert not module._forward_hooks, key
        assert not module._forward_pre_hooks, key
        assert not module._backward_hooks, key
        assert "forward" not in vars(module), key
    assert all(parameter.grad is None for parameter in model._network.parameters())


# -- prompts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", None, 7, b"bytes", ["a", "list"], "half a pair \ud800"])
@pytest.mark.parametrize("method", ["capture", "gradients", "generate", "encode"])
def test_what_is_not_a_prompt_is_refused(method: str, text: Any, tiny: Tiny) -> None:
    model = tiny("gpt2")
    arguments = (3,) if method == "generate" else ()
    with pytest.raises(InputError) as refusal:
        getattr(model, method)(text, *arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("method", ["capture", "gradients", "generate", "encode", "capture_many"])
def test_too_long_is_refused_with_both_numbers(method: str, tiny: Tiny) -> None:
    model = tiny("gpt2")
    text = "z" * (LIMIT + 1)  # one token each
    arguments = (1,) if method == "generate" else ()
    with pytest.raises(InputError, match=rf"{LIMIT + 1}.*{LIMIT}"):
        getattr(model, method)([text] if method == "capture_many" else text, *arguments)
    assert len(model.capture(text[1:]).tokens) == LIMIT == model.prompt_limit


def test_a_huge_text_is_refused_before_it_is_tokenized(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("gpt2")
    monkeypatch.setattr(model, "tokenizer", None)  # would fail if it were called
    with pytest.raises(InputError, match=str(LIMIT)):
        model.encode("z" * 10_000_000)


def test_tokens_are_the_decoded_ids(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    assert "".join(trace.tokens) == PROMPT
    assert trace.token_ids.dtype == torch.int64
    assert trace.token_ids.tolist() == model.tokenizer(PROMPT).input_ids
    assert trace.tokens == tuple(model.tokenizer.decode([i]) for i in trace.token_ids)
    assert trace.tokens == model.decode(trace.token_ids)
    assert torch.equal(model.encode(PROMPT), trace.token_ids)
    assert trace.text == PROMPT

    split = model.capture("naïve 日本 🙂\n\ttab")  # characters of several bytes, a token each
    assert len(split.tokens) == len(split.token_ids) == split.hidden.shape[1]
    assert "日" in split.tokens
    assert "" in split.tokens  # a part of a character, which a later token completes
    assert "\n" in split.tokens
    assert "".join(split.tokens) == "naïve 日本 🙂\n\ttab"
    assert model.tokenizer.decode(split.token_ids) == "naïve 日本 🙂\n\ttab"


def test_a_leading_token_of_the_tokenizer_is_kept_and_shown(tmp_path: Path) -> None:
    model = load_model(str(tiny_models.save("llama", tmp_path, bos=True)))
    trace = model.capture(PROMPT)
    assert trace.token_ids[0] == END
    assert trace.tokens[0] == "<eos>"
    assert "".join(trace.tokens[1:]) == PROMPT
    with pytest.raises(InputError):
        model.capture("")


def test_a_prefix_does_not_see_what_follows(tiny: Tiny) -> None:
    model = tiny("mistral")
    whole = model.capture("zyxwvutsrq")  # one token a letter
    part = model.capture("zyxwvu")
    torch.testing.assert_close(whole.hidden[:, :6], part.hidden, rtol=1e-5, atol=1e-5)


# -- captures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "falcon-new", "qwen3_5_text", "gemma4_text", "opt"])
def test_an_edited_run_leaves_the_next_one_clean(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    first = model.capture(PROMPT)
    kept = first.hidden.clone()
    for part in ("stream", "attn", "mlp"):
        model.capture(PROMPT, [Scale(0, -3.0, part)])
    model.gradients(PROMPT)
    model.generate(PROMPT, 3, [Scale(0, 0.0)])
    again = model.capture(PROMPT)
    for value in ("hidden", "attn", "mlp", "logits"):
        assert torch.equal(getattr(again, value), getattr(first, value)), value
    assert torch.equal(first.hidden, kept), "a trace changed after it was captured"
    assert_untouched(model)


def test_several_edits_act_together(tiny: Tiny, twin: Twin) -> None:
    model, plain = tiny("gpt2"), twin("gpt2")
    edits = (
        Scale(0, 0.5, "attn"),
        Scale(0, -2.0, "mlp", (1, 3)),
        Scale(1, 3.0, "stream", (0,)),
        Scale(1, 0.5, "stream", (0, 1)),
        Scale(2, 0.0, "mlp"),
    )
    trace = model.capture(PROMPT, edits)
    run = plain.run(trace.token_ids, edits)
    torch.testing.assert_close(trace.hidden, run.hidden, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trace.attn, torch.stack(run.attn), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trace.mlp, torch.stack(run.mlp), rtol=1e-5, atol=1e-5)
    assert trace.mlp[2].abs().max() == 0
    assert trace.edits == edits
    assert trace.check.ok  # block 1, whose stream is scaled, is left out


@pytest.mark.parametrize(
    "edit",
    [
        Scale(-1, 1.0),
        Scale(3, 1.0),
        Scale("0", 1.0),  # type: ignore[arg-type]
        Scale(0, float("nan")),
        Scale(0, float("inf")),
        Scale(0, None),  # type: ignore[arg-type]
        Scale(0, 1.0, "heads"),  # type: ignore[arg-type]
        Scale(0, 1.0, positions=(-1,)),
        Scale(0, 1.0, positions=(0, 40)),
        Scale(0, 1.0, positions=(0.5,)),  # type: ignore[arg-type]
        "block 0",
    ],
    ids=str,
)
def test_an_edit_out_of_range_is_refused(edit: Any, tiny: Tiny) -> None:
    model = tiny("gpt2")
    for call in (model.capture, lambda text, edits: model.generate(text, 3, edits)):
        with pytest.raises(InputError) as refusal:
            call(PROMPT, [edit])
        assert "\n" not in str(refusal.value)
    assert_untouched(model)


def test_the_last_position_in_range_is_accepted(tiny: Tiny) -> None:
    model = tiny("gpt2")
    length = len(model.encode(PROMPT))
    model.capture(PROMPT, [Scale(2, 0.5, positions=(length - 1,))])
    with pytest.raises(InputError, match=str(length)):
        model.capture(PROMPT, [Scale(2, 0.5, positions=(length,))])
    model.generate(PROMPT, 3, [Scale(2, 0.5, positions=(length + 2,))])
    with pytest.raises(InputError):
        model.generate(PROMPT, 3, [Scale(2, 0.5, positions=(length + 3,))])


@contextmanager
def failing(module: torch.nn.Module) -> Iterator[None]:
    def fail(*_: Any) -> None:
        raise FloatingPointError("broken in mid-forward")

    handle = module.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("name", ["gpt2", "opt", "falcon-new"])
def test_no_hook_is_left_after_an_error(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    clean = model.capture(PROMPT)
    last = Plain(model._network).blocks[-1]
    edits = [Scale(0, 2.0), Scale(0, 2.0, "mlp")]
    for call in (
        lambda: model.capture(PROMPT, edits),
        lambda: model.capture_many([PROMPT, "A dog"]),
        lambda: model.gradients(PROMPT),
        lambda: model.generate(PROMPT, 3, edits),
    ):
        with failing(last), pytest.raises(FloatingPointError):
            call()
        assert_untouched(model)
    assert torch.equal(model.capture(PROMPT).hidden, clean.hidden)


def test_captures_are_ordinary_tensors(tiny: Tiny) -> None:
    """Usable in autograd and writable, though the run itself was in inference mode."""
    model = tiny("llama")
    with torch.inference_mode():
        trace = model.capture(PROMPT)
        logits = model.unembed(trace.hidden[-1])
    for value in (trace.hidden, trace.attn, trace.mlp, trace.logits, logits):
        assert not value.is_inference()
        assert value.device.type == "cpu"
        value.clone().requires_grad_(True).sum().backward()


def test_a_batch_of_none_and_a_bad_text_in_a_batch(tiny: Tiny) -> None:
    model = tiny("gpt2")
    assert model.capture_many([]) == []
    with pytest.raises(InputError):
        model.capture_many([PROMPT, ""])
    texts = [PROMPT, "A dog", "A dog"]
    assert [trace.text for trace in model.capture_many(texts)] == texts


def test_facts_of_a_model(tiny: Tiny, tiny_folder: Callable[[str], Path]) -> None:
    model = tiny("gpt2")
    assert (model.n_layers, model.d_model, model.d_vocab) == (3, 32, tiny_models.VOCABULARY)
    assert model.family == "gpt2"
    assert model.device.type == "cpu"
    assert model.dtype == torch.float32
    assert model.n_bytes == 4 * sum(p.numel() for p in model._network.parameters())
    assert json.loads(json.dumps(model.config_dict()))["n_embd"] == 32
    assert model.name == model.card.id
    assert not model._network.training


# -- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "phi", "falcon-rw", "opt"])
def test_gradients_by_finite_differences(name: str, tiny: Tiny) -> None:
    """Along the gradient itself the loss rises by its squared norm: in float64, plain model."""
    model = tiny(name)
    gradients = model.gradients(PROMPT).double()
    ids = model.encode(PROMPT)
    network = tiny_models.build(name).double()
    blocks = Plain(network).blocks

    def loss(layer: int, nudge: torch.Tensor) -> float:
        def enter(module: Any, args: Any) -> Any:
            return (args[0] + nudge, *args[1:])

        def leave(module: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (output[0] + nudge, *output[1:])
            return output + nudge

        if layer == len(blocks):
            handle = blocks[-1].register_forward_hook(leave)
        else:
            handle = blocks[layer].register_forward_pre_hook(enter)
        with torch.no_grad():
            logits = network(input_ids=ids[None], use_cache=False).logits[0]
        handle.remove()
        return float(torch.nn.functional.cross_entropy(logits[:-1], ids[1:]))

    for layer, gradient in enumerate(gradients):
        direction = gradient / gradient.norm()
        step = 1e-4
        slope = (loss(layer, step * direction) - loss(layer, -step * direction)) / (2 * step)
        assert slope == pytest.approx(float(gradient.norm()), rel=1e-4), f"layer {layer}"


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_gradients_work_in_every_grad_mode(mode: Any, tiny: Tiny) -> None:
    model = tiny("llama")
    expected = model.gradients(PROMPT)
    with mode():
        gradients = model.gradients(PROMPT)
    assert torch.equal(gradients, expected)
    assert not gradients.is_inference()
    assert not gradients.requires_grad
    assert_untouched(model)


def test_gradients_of_one_token_are_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="two"):
        tiny("gpt2").gradients("z")
    assert tiny("gpt2").gradients("zy").shape[1] == 2


# -- generation -----------------------------------------------------------------------------------


def test_generation_stops_at_the_end_token_and_leaves_it_out(tmp_path: Path) -> None:
    network = tiny_models.build("llama")
    ids = torch.tensor(tiny_models.tokenizer()(PROMPT).input_ids)
    tokens = Plain(network).greedy(ids, 8)
    cut = next(i for i in range(1, 8) if tokens[i] not in tokens[:i])
    with torch.no_grad():  # what would be token number `cut` now scores as the end token does
        rows = network.lm_head.weight
        rows[[tokens[cut], END]] = rows[[END, tokens[cut]]]
    model = load_model(str(tiny_models.write(network, tmp_path)))
    assert Plain(network).greedy(ids, 8) == [*tokens[:cut], END]
    text = model.generate(PROMPT, 8)
    assert text == model.tokenizer.decode(tokens[:cut])
    assert "<eos>" not in text


def test_generation_is_greedy_whatever_the_folder_suggests(tmp_path: Path) -> None:
    """Many published models carry a generation config that samples and penalises."""
    network = tiny_models.build("llama")
    network.generation_config = GenerationConfig(
        do_sample=True,
        temperature=5.0,
        repetition_penalty=9.0,
        no_repeat_ngram_size=1,
        suppress_tokens=list(range(40, 120)),
        min_new_tokens=6,
        eos_token_id=END,
    )
    model = load_model(str(tiny_models.write(network, tmp_path)))
    expected = Plain(network).greedy(model.encode(PROMPT), 10)
    assert len(set(expected)) < len(expected) or set(expected) & set(range(40, 120))
    assert model.generate(PROMPT, 10) == model.tokenizer.decode(expected)


@pytest.mark.parametrize("n_tokens", [0, -1])
def test_generating_nothing_is_refused(n_tokens: int, tiny: Tiny) -> None:
    with pytest.raises(InputError):
        tiny("gpt2").generate(PROMPT, n_tokens)


def test_generating_past_the_last_position_is_refused(tiny: Tiny) -> None:
    """A learned position table ends; running over it would be an index error in torch."""
    model = tiny("gpt2")
    room = LIMIT - len(model.encode(PROMPT))
    assert model.generate(PROMPT, room)
    with pytest.raises(InputError, match=str(LIMIT)):
        model.generate(PROMPT, room + 1)


def test_generation_reports_and_can_be_ended(tiny: Tiny) -> None:
    model = tiny("gpt2")
    seen: list[float] = []
    model.generate(PROMPT, 4, progress=lambda fraction, message: seen.append(fraction))
    assert seen == [0.25, 0.5, 0.75, 1.0]

    def stop(fraction: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(PROMPT, 4, [Scale(0, 2.0)], progress=stop)
    assert_untouched(model)
