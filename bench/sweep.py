"""The scaling sweep beside the seed's loop: a forward pass with a hook for each block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.measure import Row, take_turns
from bench.text import prompt_of
from strata.concepts import scaling
from strata.model import load_model
from strata.weights.sources import cached_folder

FACTOR = 0.8
_AGREE = 1e-3  # nats: the log-probabilities of both
_FASTER = {23: 1 / 6, 91: 1 / 3.5}  # tokens -> ratio allowed


def sweep(name: str, quick: bool) -> Iterator[Row]:
    """`scaling.sweep` over all blocks at one factor beside seed 003's loop, on the same prompt.

    Both start from the prompt's clean run being known. Raises AssertionError where they disagree.
    """
    model = load_model(name)
    # A second copy: asked for its hidden states, transformers leaves hooks of its own on a model.
    folder = cached_folder(model.card)
    assert folder is not None, "a model that was loaded is cached"
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
    plain.to(model.device).eval()
    blocks = plain.get_submodule(model.blocks_path)
    for n_tokens, allowed in _FASTER.items():
        trace = model.capture(prompt_of(model, n_tokens))
        ids = trace.token_ids[None].to(model.device)
        target_id = int(trace.logits[-1].argmax())

        def seed(ids: Tensor = ids, target_id: int = target_id) -> NDArray[np.float64]:
            def scaled(module: object, args: object, output: object) -> object:
                if isinstance(output, tuple):
                    return (output[0] * FACTOR, *output[1:])
                return output * FACTOR  # type: ignore[operator]

            logprobs = np.zeros(len(blocks))
            for i, block in enumerate(blocks):
                hook = block.register_forward_hook(scaled)
                with torch.no_grad():
                    output = plain(ids, output_hidden_states=True)
                hook.remove()
                logprobs[i] = output.logits[0, -1].log_softmax(dim=-1)[target_id]
            return logprobs

        def ours(trace: object = trace, target_id: int = target_id) -> NDArray[np.float64]:
            return scaling.sweep(model, trace, target_id, [FACTOR])["logprob"].to_numpy()  # type: ignore[arg-type]

        apart = float(np.abs(ours() - seed()).max())
        assert apart <= _AGREE, f"the sweeps differ by {apart:.2g} nats"
        taken = take_turns({"ours": ours, "seed": seed}, rounds=2 if quick else 10, warm=1)
        label = f"sweep over {len(blocks)} blocks, {len(trace.tokens)} tokens"
        yield Row(label, taken["ours"], taken["seed"], "the seed's loop", ratio_at_most=allowed)
