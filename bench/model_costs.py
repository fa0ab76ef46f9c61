"""What looking inside costs: capture, lens and self-check beside a bare forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.measure import Row, take_turns
from bench.text import prompt_of
from strata.model import Model, load_model
from strata.trace import Trace
from strata.weights.sources import cached_folder

_LENGTHS = (23, 91, 230)
_ROWS = 100  # states that go through the head together


def capture(name: str, quick: bool) -> Iterator[Row]:
    """`model.capture` beside the bare forward pass of transformers on the same token ids."""
    model = load_model(name)
    folder = str(cached_folder(model.card))
    # A second copy: asked for its hidden states, transformers leaves hooks of its own on a model.
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
    plain = plain.to(model.device).eval().requires_grad_(False)
    for n_tokens in _LENGTHS[: 1 if quick else None]:
        prompt = prompt_of(model, n_tokens)
        ids = model.encode(prompt)

        def bare(ids: Tensor = ids) -> object:
            with torch.inference_mode():
                return model._network(input_ids=ids[None].to(model.device), use_cache=False).logits

        def with_text(prompt: str = prompt) -> object:
            return bare(model.encode(prompt))

        def hidden_states(ids: Tensor = ids) -> object:
            with torch.inference_mode():
                return plain(
                    input_ids=ids[None].to(model.device), use_cache=False, output_hidden_states=True
                )

        def ours(prompt: str = prompt) -> object:
            return model.capture(prompt)

        taken = take_turns(
            {"bare": bare, "text": with_text, "states": hidden_states, "ours": ours},
            rounds=2 if quick else {23: 60, 91: 40, 230: 30}[n_tokens],
        )
        label = f"capture, {len(ids)} tokens"
        yield Row(label, taken["ours"], taken["bare"], "bare forward pass", ratio_at_most=1.10)
        yield Row(label, taken["ours"], taken["text"], "tokenizer and forward pass")
        yield Row(label, taken["ours"], taken["states"], "forward, output_hidden_states")


def lens(name: str, quick: bool) -> Iterator[Row]:
    """All layers' states through norm and head, beside the head's matrix product alone."""
    model = load_model(name)
    weight = model._network.get_output_embeddings().weight.float()  # (V, D)
    for n_tokens in _LENGTHS[: 1 if quick else 2]:
        trace = model.capture(prompt_of(model, n_tokens))
        states = trace.hidden.flatten(0, 1).split(_ROWS)  # (L + 1) * T rows

        def ours(states: tuple[Tensor, ...] = states) -> None:
            for rows in states:
                model.unembed(rows)

        def product(states: tuple[Tensor, ...] = states) -> None:
            with torch.inference_mode():
                for rows in states:
                    (rows.to(weight.device) @ weight.T).cpu()

        taken = take_turns({"ours": ours, "product": product}, rounds=2 if quick else 8, warm=1)
        label = f"lens, {len(trace.hidden)} layers x {len(trace.tokens)} tokens"
        yield Row(label, taken["ours"], taken["product"], "matrix product alone")


def check(name: str, quick: bool) -> Iterator[Row]:
    """The self-check that each run gets, beside the run."""
    model: Model = load_model(name)
    for n_tokens in _LENGTHS[: 1 if quick else None]:
        trace = model.capture(prompt_of(model, n_tokens))
        ids = trace.token_ids

        def ours(trace: Trace = trace) -> object:
            return trace.verify and trace.verify(trace)

        def bare(ids: Tensor = ids) -> object:
            with torch.inference_mode():
                return model._network(input_ids=ids[None].to(model.device), use_cache=False).logits

        taken = take_turns({"ours": ours, "bare": bare}, rounds=2 if quick else 20)
        label = f"self-check, {len(ids)} tokens"
        yield Row(label, taken["ours"], taken["bare"], "bare forward pass")
