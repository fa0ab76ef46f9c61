"""An edit of a single head, against a hook on the output projection of an independent copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from strata.errors import InputError, ModelError, StrataError
from strata.model import Model
from strata.trace import Add, Edit, Keep, Noise, Project, Replace, Scale, Skip, State, Unembedding
from tests.concepts.heads.by_hand import Eager, eager
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
OTHER = "The dog sat on the mat, and the cat ran."
# Fewer keys than heads, windows, norms behind the projection, a factor on writes, a learned sink,
# projections the other way round, in a block beside the MLP, and at some blocks only.
FAMILIES = ("llama", "gpt2", "gemma2", "granite", "gpt_oss", "bloom", "gpt_neox-parallel", "lfm2")


@pytest.fixture(scope="module")
def plain() -> Callable[[str], Eager]:
    return cache(eager)


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / (1 + theirs.abs().max()))


def change_of(edit: Edit, hand: Eager, model: Model) -> Callable[[Tensor], Tensor]:
    """(T, width) that a head hands on -> what stands there after the edit."""
    given = torch.empty(0)
    if isinstance(edit, Replace):  # before any hook is there
        block = edit.block if edit.source.block is None else edit.source.block
        given = hand.handed_on(model.encode(edit.source.prompt), block)[edit.head]

    def change(rows: Tensor) -> Tensor:
        at = list(range(len(rows)) if edit.positions is None else edit.positions)
        at = [position for position in at if position < len(rows)]
        match edit:
            case Scale(factor=factor):
                rows[at] *= factor
            case Skip():
                rows[at] = 0
            case Replace(source=source):
                places = at if edit.positions else range(len(given))
                rows[list(places)] = given[list(source.positions or places)]
        return rows

    return change


@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_is_edited_alone(name: str, tiny: Tiny, plain: Callable[[str], Eager]) -> None:
    """Captured, replayed and while it writes; other positions, lower layers and sums are kept."""
    model, hand = tiny(name), plain(name)
    clean, ids = model.capture(PROMPT), model.encode(PROMPT)
    block = 1
    edits: list[Any] = [
        Scale(block, -1.7, "attn", head=3),
        Scale(block, 2.5, "attn", (2, 5), head=0),
        Skip(block, head=1),
        Skip(block, (4,), head=2),
        Replace(block, "attn", State(OTHER), head=1),
        Replace(block, "attn", State(OTHER, (6, 3)), (2, 7), head=2),
    ]
    if name != "lfm2":
        edits.append(Replace(2, "attn", State(OTHER, block=0), head=3))
    found: dict[int, Tensor] = {}
    for group, states in model.replay(clean, [*edits, Scale(block, -0.5, "attn"), Skip(0)]):
        found |= dict(zip(group, states, strict=True))
    for i, edit in enumerate(edits):
        trace = model.capture(PROMPT, [edit])
        with hand.editing(edit.block, edit.head, change_of(edit, hand, model)):
            run = hand.run(ids)
        assert apart(trace.hidden, run.hidden) <= 2e-5, edit
        assert apart(trace.attn, torch.stack(run.attn)) <= 3e-5 or name == "lfm2", edit
        assert apart(trace.logits, run.logits) <= 2e-5, edit
        assert apart(found[i], run.states[-1][-1]) <= 2e-5, f"replay of {edit}"
        assert apart(trace.hidden[edit.block + 1], clean.hidden[edit.block + 1]) > 1e-4, edit
        assert torch.equal(trace.hidden[: edit.block + 1], clean.hidden[: edit.block + 1])
        if edit.positions is not None:
            others = [t for t in range(len(ids)) if t not in edit.positions]
            same = trace.hidden[edit.block + 1, others], clean.hidden[edit.block + 1, others]
            assert apart(*same) <= 2e-6, f"{edit} changed other positions"
        assert trace.check.ok
        assert trace.unsummed == ()
    later = (2, len(ids) - 1, len(ids) + 1)
    for edit in (Scale(block, -6.0, "attn", later, head=1), Skip(block, head=2)):
        ours = model.generate(PROMPT, 5, [edit])
        with hand.editing(block, edit.head, change_of(edit, hand, model)):
            wanted = hand.greedy(ids, 5)
        assert ours == model.texts.continuation(torch.tensor(wanted), after=ids), edit


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite"])
def test_what_changes_nothing_changes_no_bit(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    clean = model.capture(PROMPT)
    for edit in (
        Scale(1, 1.0, "attn", head=2),
        Replace(1, "attn", State(PROMPT), head=0),
        Replace(1, "attn", State(PROMPT, (4,)), (4,), head=0),
    ):
        edited = model.capture(PROMPT, [edit])
        for value in ("hidden", "attn", "mlp", "logits"):
            assert torch.equal(getattr(edited, value), getattr(clean, value)), (edit, value)


def test_noise_of_a_head_has_its_size(tiny: Tiny, plain: Callable[[str], Eager]) -> None:
    """And is a direction of its own, as far from what stood there as `Scale` pushes."""
    model, hand, kept = tiny("llama"), plain("llama"), {}
    module, ids = model.architecture.blocks[1].self_attn.o_proj, model.encode(PROMPT)
    for edit in (Noise(1, "attn", 3, head=2), Noise(1, "attn", 3, head=1)):
        given: list[Tensor] = []
        handle = module.register_forward_hook(lambda m, args, o, g=given: g.append(args[0][0]))
        model.capture(PROMPT, [edit])
        handle.remove()
        slices = given[0].reshape(len(ids), 4, -1).transpose(0, 1)  # (H, T, width)
        before = hand.handed_on(ids, 1)
        torch.testing.assert_close(slices.norm(dim=-1), before.norm(dim=-1), rtol=1e-4, atol=1e-5)
        moved = (slices - before).abs().amax(dim=(1, 2))
        assert moved[edit.head] > 0.1
        assert sum(moved) - moved[edit.head] < 1e-4
        kept[edit.head] = slices[edit.head, 4] / slices[edit.head, 4].norm()
    assert abs(float(kept[1] @ kept[2])) < 0.99


def test_what_no_edit_of_a_head_can_be_is_a_sentence(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = "A single head can be scaled, replaced, made noise or skipped, in the part attn"
    cases: list[tuple[str, Any, str]] = [
        ("llama", Scale(0, 2.0, head=1), alone),
        ("llama", Scale(0, 2.0, "mlp", head=1), alone),
        ("llama", Replace(0, "stream", State(PROMPT), head=1), alone),
        ("llama", Noise(0, head=1), alone),
        ("llama", Add(0, Unembedding(3), 1.0, head=1), alone),
        ("llama", Project(0, Unembedding(3), head=1), alone),
        ("llama", Keep(0, 1, (PROMPT,), head=1), alone),
        ("llama", Skip(0, head=4), "Head 4 does not exist: heads are 0 to 3"),
        ("llama", Skip(0, head=-1), "Head -1 does not exist"),
        ("llama", Skip(0, head=1.5), "head must be a whole number"),  # type: ignore[arg-type]
        ("llama", Skip(3, head=1), "Block 3 does not exist"),
        ("llama", Replace(0, "attn", State("A dog"), head=1), "tokens and the source"),
        ("lfm2", Skip(0, head=1), "Where the heads of block 0 are"),
    ]
    for name, edit, said in cases:
        model = tiny(name)
        with monkeypatch.context() as patch:
            patch.setattr(model, "forward", lambda *args: pytest.fail("the model ran"))
            for call in (
                lambda edit=edit, model=model: model.capture(PROMPT, [edit]),
                lambda edit=edit, model=model: model.generate(PROMPT, 2, [edit]),
            ):
                with pytest.raises(StrataError, match=said) as refusal:
                    call()
                assert isinstance(refusal.value, ModelError if name == "lfm2" else InputError)
