"""Views of patching on what does not fit, and on parts of several modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts.patching import CONCEPT, measures, patch_map
from strata.concepts.patching.nulls import put_in
from strata.concepts.patching.views import cells
from strata.errors import InputError
from strata.model import Model
from strata.model.blocks import state_of, with_state
from strata.model.patching import Place, together
from strata.trace import Scale
from tests.families.build import build
from tests.families.outcome import load

CLEAN, OTHER = "The cat sat on the mat.", "The cat ran in the mat."


def test_layers_that_are_none_cost_no_time_and_are_refused(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(CLEAN)
    costs = next(view for view in CONCEPT.views if view is cells).costs  # type: ignore[attr-defined]
    assert costs(8, model.n_layers, {"layers": (-(10**12), 1)}) < 1_000
    wrong: list[Any] = [(-(10**12), 1), (1,), (2, 1), ("a", 2), 5]
    for layers in wrong:
        with pytest.raises(InputError, match="Layers are"):
            cells(model, trace, OTHER, layers=layers)


@pytest.mark.parametrize("direction", ["restore", "corrupt"])
def test_an_edited_run_is_refused_both_ways(tiny: Callable[[str], Model], direction: Any) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match="clean runs"):
        cells(model, model.capture(CLEAN, [Scale(0, -2.0)]), OTHER, direction)


def test_what_chance_is_beside_is_refused_before_the_other_prompt_runs(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ran = tiny("llama"), []
    trace, once = model.capture(CLEAN), model.forward
    monkeypatch.setattr(model, "forward", lambda *args: ran.append(1) or once(*args))
    wrong: list[tuple[str, int, int, int | None, str]] = [
        (OTHER, 99, 7, None, "Position 99 does not exist"),
        (OTHER, 2, 300, None, "Token 300 does not exist"),
        (OTHER, 2, 7, 7, "two different words"),
        ("The cat", 2, 7, None, "the same number of tokens"),
    ]
    for other, position, target_id, against_id, said in wrong:
        with pytest.raises(InputError, match=said):
            put_in(model, trace, other, position, target_id, against_id)
    assert ran == []


def test_a_run_of_other_weights_is_refused(tiny: Callable[[str], Model]) -> None:
    """Of as many layers and numbers: a random twin's."""
    model = tiny("llama")
    trace, twin = model.capture(CLEAN), model.random_twin(3)
    for run in ([twin.capture(OTHER), trace], [trace, twin.capture(OTHER)]):
        with pytest.raises(InputError, match=r"another model than .*\.$"):
            patch_map(model, *run, 7)
    by_hand = replace(twin.capture(OTHER), verify=None)  # of such a run nothing is known
    assert len(patch_map(model, by_hand, trace, 7))


def test_measures_of_runs_that_agree_everywhere_are_missing() -> None:
    empty = pd.DataFrame({"layer": [], "position": [], "share": []})
    assert math.isnan(measures.share_at_first(empty, 1))
    assert measures.handover_layer(empty) is None


@pytest.mark.parametrize("name", ["granitemoeshared", "llama"])
def test_part_of_the_way_is_that_of_each_module(tiny: Callable[[str], Model], name: str) -> None:
    """By hooks of this test on the modules that make up an MLP."""
    model = tiny(name) if name == "llama" else load(build(name))
    block, position, share = 1, 3, -0.4
    modules = [write.module for write in dict(model.architecture.parts())["mlp"][block]]
    clean, other = model.capture(CLEAN), model.capture(OTHER)

    def run(ids: Tensor, changes: list[Tensor] | None = None) -> tuple[list[Tensor], Tensor]:
        gave: list[Tensor] = []

        def hook(module: Any, args: Any, output: Any) -> Any:
            value = state_of(output)
            flat = value.reshape(len(ids), -1).clone()
            if changes is not None:
                flat[position] = changes[len(gave)][position]
            gave.append(flat)
            return with_state(output, flat.reshape(value.shape))

        handles = [module.register_forward_hook(hook) for module in modules]
        with torch.inference_mode():
            logits = model._network(input_ids=ids[None], use_cache=False).logits[0, -1]
        for handle in handles:
            handle.remove()
        return gave, logits

    (own, _), (theirs, _) = run(other.token_ids), run(clean.token_ids)
    between = [a + share * (b - a) for a, b in zip(own, theirs, strict=True)]
    _, wanted = run(other.token_ids, between)
    cell = Place(block + 1, "mlp"), position
    [state] = together(model, other, clean, [[cell]], share)
    torch.testing.assert_close(model.unembed(state), wanted, atol=1e-5, rtol=1e-4)
