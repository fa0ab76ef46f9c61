"""Replay: an edited run computed from its edit upwards is the edited run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from strata.errors import CancelledError, InputError, ModelError
from strata.model import Model
from strata.model import replay as replaying
from strata.trace import Part, Scale, Trace
from tests.plain import Plain
from tests.tiny import PROMPT, WITHOUT_WRITES

SOME = (1, 3)
PARTS: tuple[Part, ...] = ("stream", "attn", "mlp")


def last_states(model: Model, trace: Trace, edits: Sequence[Scale], **more: Any) -> Tensor:
    """(n, D), in the order of the edits; each of them exactly once."""
    found: dict[int, Tensor] = {}
    for group, states in model.replay(trace, edits, **more):
        assert not found.keys() & set(group)
        found |= dict(zip(group, states, strict=True))
    return torch.stack([found[i] for i in range(len(edits))])


def edits_of(model: Model, parts: Sequence[Part] = PARTS) -> list[Scale]:
    """Out of order, of mixed parts, factors and positions, several at each block."""
    last = (len(model.encode(PROMPT)) - 1,)
    blocks = range(model.n_layers)[::-1]
    return [
        Scale(block, factor, part, positions)
        for block, part, (factor, positions) in product(
            blocks, parts, ((0.3, None), (1.7, SOME), (0.0, last))
        )
    ]


def close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-5 * (1 + theirs.abs().max()))


def hooks(model: Model) -> int:
    modules = model._network.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_every_family_gives_what_one_run_per_edit_gives(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    """Against hooks on an independent copy, one forward pass per edit."""
    model, trace = tiny(name), tiny(name).capture(PROMPT)
    edits = edits_of(model, PARTS[:1] if name in WITHOUT_WRITES else PARTS)
    states = last_states(model, trace, edits)
    assert states.shape == (len(edits), model.d_model)
    logits = model.unembed(states)
    clean = trace.logits[-1].float()
    for edit, state, ours in zip(edits, states, logits, strict=True):
        run = twin(name).run(trace.token_ids, (edit,))
        assert close(state, run.states[-1][-1]), edit
        assert (ours - run.logits[-1]).abs().max() <= 1e-4, edit
    assert (logits - clean).abs().amax() > 1e-2  # the edits do something
    if name in WITHOUT_WRITES:
        with pytest.raises(ModelError, match="writes"):
            model.replay(trace, [Scale(0, 0.5, "mlp")])


def test_small_groups_give_the_same(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("bloom")
    trace, edits = model.capture(PROMPT), edits_of(tiny("bloom"))
    together = last_states(model, trace, edits)
    sizes = []
    monkeypatch.setattr(replaying, "_rows_at_once", lambda network, trace: 2)
    for group, _ in model.replay(trace, edits):
        sizes.append(len(group))
    assert sizes == [2] * (len(edits) // 2) + [1] * (len(edits) % 2)
    assert close(last_states(model, trace, edits), together)


def test_memory_bounds_the_group(tiny: Callable[[str], Model]) -> None:
    model, long = tiny("llama"), "The cat sat on the mat. " * 3
    short, longer = (
        replaying._rows_at_once(model._network, model.capture(text)) for text in ("A cat", long)
    )
    assert short > longer >= 1
    n_tokens = len(model.encode(long))
    assert longer * n_tokens * model.d_model * 4 * 12 <= replaying._BYTES


def test_the_bundled_model_at_its_longest_prompt_stays_within_bounds(model: Model) -> None:
    trace = model.capture("word " * (model.prompt_limit - 2))
    rows = replaying._rows_at_once(model._network, trace)
    assert 4 <= rows < model.n_layers


def test_a_clean_run_is_left_as_it_was(tiny: Callable[[str], Model]) -> None:
    for name in ("llama", "gpt2", "falcon-7b"):
        model = tiny(name)
        trace, before = model.capture(PROMPT), hooks(model)
        kept = [t.clone() for t in (trace.hidden, trace.attn, trace.mlp, trace.logits)]
        last_states(model, trace, edits_of(model))
        for tensor, copy in zip(
            (trace.hidden, trace.attn, trace.mlp, trace.logits), kept, strict=True
        ):
            assert torch.equal(tensor, copy)
        again = model.capture(PROMPT)
        assert torch.equal(again.hidden, kept[0])
        assert torch.equal(again.logits, kept[3])
        assert hooks(model) == before


def test_progress_grows_to_the_end_and_may_stop_it(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace, before = model.capture(PROMPT), hooks(tiny("llama"))
    told: list[float] = []
    last_states(model, trace, edits_of(model), progress=lambda done, what: told.append(done))
    assert told == sorted(told)
    assert told[0] > 0
    assert told[-1] == pytest.approx(1)

    def stop(done: float, what: str) -> None:
        raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        list(model.replay(trace, edits_of(model), stop))
    assert hooks(model) == before


def test_nothing_to_do_and_what_is_refused(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    assert list(model.replay(trace, ())) == []
    with pytest.raises(InputError, match="Block 3 does not exist"):
        model.replay(trace, [Scale(3, 0.5)])
    with pytest.raises(InputError, match="clean run"):
        list(model.replay(model.capture(PROMPT, [Scale(0, 0.5)]), [Scale(1, 0.5)]))


def test_scaling_the_last_block_needs_no_block_at_all(tiny: Callable[[str], Model]) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    [state] = last_states(model, trace, [Scale(2, 0.25)])
    assert torch.equal(state, trace.hidden[-1, -1] * 0.25)


def test_nothing_is_left_on_the_model_when_a_block_fails(tiny: Callable[[str], Model]) -> None:
    """Whether it fails while the blocks' inputs are looked up or while rows go through it."""
    model = tiny("llama")
    trace, before = model.capture(PROMPT), hooks(tiny("llama"))

    def failing(n_rows: int) -> Any:
        def fail(module: Any, args: tuple[Tensor, ...]) -> None:
            if len(args[0]) >= n_rows:
                raise RuntimeError("broken in mid-run")

        return fail

    for n_rows in (1, 2):
        handle = model.architecture.blocks[2].register_forward_pre_hook(failing(n_rows))
        with pytest.raises(RuntimeError, match="mid-run"):
            list(model.replay(trace, edits_of(model)))
        handle.remove()
        assert hooks(model) == before
        assert not any("forward" in vars(module) for module in model._network.modules())
    assert torch.equal(model.capture(PROMPT).hidden, trace.hidden)
