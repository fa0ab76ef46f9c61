"""States kept while a model writes are those of whole runs of the text in plain transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from strata.errors import CancelledError, InputError, ModelError
from strata.model import Model
from strata.model.written import written
from tests.plain import Plain
from tests.tiny import PROMPT

N_TOKENS = 6


def test_states_are_those_of_a_whole_run(
    name: str, tiny: Callable[[str], Model], twin: Callable[[str], Plain]
) -> None:
    model, plain = tiny(name), twin(name)
    kept = written(model, PROMPT, N_TOKENS)
    prompt = model.encode(PROMPT)
    assert kept.prompt_ids.equal(prompt)
    wrote = kept.token_ids.tolist()
    assert wrote == plain.greedy(prompt, N_TOKENS, guess=wrote)
    assert kept.positions == range(len(prompt) - 1, len(prompt) - 1 + len(wrote))
    whole = plain.run(torch.cat([prompt, kept.token_ids[:-1]]))
    assert kept.hidden.shape == (model.n_layers + 1, len(wrote), model.d_model)
    for layer, states in enumerate(whole.hidden[:, len(prompt) - 1 :]):
        apart = (kept.hidden[layer] - states).abs().max() / states.abs().max()
        assert apart <= model.check.agreement, layer
    text = model.texts.continuation(kept.token_ids, after=prompt)
    assert text == model.generate(PROMPT, N_TOKENS)


def test_it_ends_with_the_end_token(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    free = written(model, PROMPT, N_TOKENS).token_ids.tolist()
    monkeypatch.setattr("strata.model.model.end_ids", lambda *_: {free[2]})
    kept = written(model, PROMPT, N_TOKENS)
    assert kept.token_ids.tolist() == free[: free.index(free[2]) + 1]
    assert kept.hidden.shape[1] == len(kept.token_ids)


def test_what_is_refused(tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    for wrong in (("", 3), (PROMPT, 0)):
        with pytest.raises(InputError):
            written(model, *wrong)

    def stop(fraction: float, message: str) -> None:
        raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        written(model, PROMPT, 3, stop)
    hooked = [m for m in model._network.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooked == []
    monkeypatch.setattr(model, "check", replace(model.check, cache_error=0.5))
    monkeypatch.setattr(model, "switched_off", {"cache": "With its KV cache it says otherwise."})
    with pytest.raises(ModelError, match="otherwise"):
        written(model, PROMPT, 3)
