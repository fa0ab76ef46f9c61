"""Every kind of edit does what its name says: against hooks on an independent copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strata.model import Model
from strata.model import sinks as sinking
from strata.trace import (
    EMBEDDING,
    Add,
    Difference,
    Direction,
    Edit,
    Keep,
    MeanState,
    Noise,
    Part,
    Principal,
    Project,
    Replace,
    Scale,
    Skip,
    State,
    Unembedding,
)
from tests.plain import Change, Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]

# Parallel and sequential blocks, norms after writes, caps, a factor on writes, experts, another
# mixer than attention, learned positions and ALiBi.
FAMILIES = (
    "llama",
    "gpt2",
    "falcon-7b",
    "gpt_neox-parallel",
    "bloom",
    "opt",
    "gemma2",
    "granite",
    "qwen3_moe",
    "lfm2",
)
OTHER = "The dog sat on the mat, and the cat ran."
TEXTS = ("Where the river is wide, the water is slow.", "She said that the answer was in it.")
TOKEN = 17


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / (1 + theirs.abs().max()))


@dataclass
class Pair:
    """A model, and by hand what its edits should do."""

    model: Model
    plain: Plain

    def ids(self, prompt: str) -> Tensor:
        return self.model.encode(prompt)

    def states(self, prompt: str, layer: int) -> Tensor:
        return self.plain.run(self.ids(prompt)).states[layer]

    def sample(self, texts: Sequence[str], layer: int) -> tuple[Tensor, Tensor]:
        """Mean, and principal directions by the eigenvectors of the covariance."""
        states = np.concatenate([self.states(text, layer).double().numpy() for text in texts])
        _, vectors = np.linalg.eigh(np.cov(states.T))
        rows = np.ascontiguousarray(vectors.T[::-1])
        rows *= np.sign([row[np.abs(row).argmax()] for row in rows])[:, None]
        return torch.tensor(states.mean(axis=0)), torch.tensor(rows)

    def direction(self, named: Direction) -> Tensor:
        match named:
            case Difference(first=first, second=second, layer=layer, position=position):
                pair = position if isinstance(position, tuple) else (position, position)
                one, other = (self.states(p, layer) for p in (first, second))
                return one[pair[0]] - other[pair[1]]
            case Unembedding(token_id=token_id):
                return self.plain.network.get_output_embeddings().weight[token_id].detach()
            case MeanState(texts=texts, layer=layer):
                return self.sample(texts, layer)[0].float()
            case Principal(texts=texts, layer=layer, k=k):
                return self.sample(texts, layer)[1][k - 1].float()

    def by_hand(self, edit: Edit) -> Scale | Change:
        """The same edit as a function of states."""

        def at(values: Tensor) -> list[int]:
            chosen = edit.positions if edit.positions is not None else range(len(values))
            return [position for position in chosen if position < len(values)]

        def on(function: Callable[[Tensor], Tensor]) -> Change:
            def change(values: Tensor, entered: Tensor) -> Tensor:
                changed = values.clone()
                changed[at(values)] = function(values[at(values)].double()).float()
                return changed

            return Change(edit.block, edit.part, change)

        match edit:
            case Scale():
                return edit
            case Replace(source=source):
                block = edit.block if source.block is None else source.block
                run = self.plain.run(self.ids(source.prompt))
                given = run.states[block + 1]
                if edit.part != "stream":
                    given = getattr(run, edit.part)[block] / self.plain.write_scale
                n_prompt = len(self.ids(PROMPT))

                def put(values: Tensor, entered: Tensor) -> Tensor:
                    changed = values.clone()
                    places = edit.positions or range(n_prompt)
                    for i, place in enumerate(places):
                        if place < len(values):
                            changed[place] = given[(source.positions or places)[i]]
                    return changed

                return Change(edit.block, edit.part, put)
            case Add(factor=factor):
                d = self.direction(edit.direction).double()
                return on(lambda values: values + factor * d)
            case Project():
                d = self.direction(edit.direction).double()
                return on(lambda values: values - torch.outer(values @ d, d) / (d @ d))
            case Keep(k=k):
                mean, rows = self.sample(edit.sample, edit.block + 1)
                return on(lambda values: mean + (values - mean) @ rows[:k].T @ rows[:k])
            case Skip():

                def out(values: Tensor, entered: Tensor) -> Tensor:
                    changed = values.clone()
                    changed[at(values)] = entered[at(values)]
                    return changed

                return Change(edit.block, "stream", out)
            case Noise():
                return self._noise(edit)

    def _noise(self, edit: Noise) -> Change:
        """Random directions as a run of their own shows them; norms are those that stand there."""
        alone = self.model.capture(PROMPT, [replace(edit, factor=None, positions=None)])
        shown = alone.hidden[edit.block + 1]
        if edit.part != "stream":
            shown = getattr(alone, edit.part)[edit.block]
        units = shown / shown.norm(dim=-1, keepdim=True)
        assert not torch.allclose(units[0], units[1], atol=0.1)

        def push(values: Tensor, entered: Tensor) -> Tensor:
            changed = values.clone()
            for place in edit.positions or range(len(values)):
                noise = values[place].norm() * units[place]
                kept = 0 if edit.factor is None else values[place]
                size = 1 if edit.factor is None else abs(edit.factor - 1)
                changed[place] = kept + size * noise
            return changed

        return Change(edit.block, edit.part, push)


@pytest.fixture(params=FAMILIES)
def pair(request: pytest.FixtureRequest, tiny: Tiny, twin: Twin) -> Pair:
    return Pair(tiny(request.param), twin(request.param))


def edits_of(pair: Pair) -> list[Edit]:
    """All kinds, all parts, at every depth; negative factors, chosen positions."""
    last = pair.model.n_layers - 1
    difference = Difference(PROMPT, OTHER, 1, (-1, 3))
    unembedding: Direction = Unembedding(TOKEN)
    if pair.model.d_head != pair.model.d_model:
        unembedding = difference
    parts: tuple[Part, ...] = ("stream", "attn", "mlp")
    edits: list[Edit] = [
        Scale(1, -0.7),
        Replace(EMBEDDING, "stream", State(OTHER), (2,)),
        Replace(1, "stream", State(OTHER, (0, 5), block=EMBEDDING), (4, 2)),
        Replace(0, "attn", State(OTHER, block=last), (3,)),
        Add(0, difference, -1.5),
        Add(EMBEDDING, unembedding, 2.0, (1, 4)),
        Add(last, MeanState(TEXTS, 2), -0.8, (0, 3)),
        Add(1, Principal(TEXTS, 2), -2.0, (3,)),
        Project(1, unembedding, (2, 3)),
        Project(0, Principal(TEXTS, 1, 2)),
        Project(EMBEDDING, difference),
        Keep(0, 3, TEXTS),
        Keep(last, 1, TEXTS, (5,)),
        Keep(1, 0, TEXTS, (1,)),
        Skip(0),
        Skip(last, (2, 4)),
        Noise(EMBEDDING, seed=3),
        Noise(1, seed=4, factor=-0.5),
    ]
    for part in parts:
        edits += [
            Replace(1, part, State(OTHER)),
            Replace(last, part, State(OTHER, (4, 1)), (1, 6)),
            Noise(last, part, 5, (2, 5)),
            Noise(0, part, 6, factor=1.8),
        ]
    if pair.model.family == "lfm2":  # its blocks have different mixers
        edits.remove(Replace(0, "attn", State(OTHER, block=last), (3,)))
    return edits


def test_every_kind_equals_plain_hooks(pair: Pair) -> None:
    model = pair.model
    clean, ids = model.capture(PROMPT), pair.ids(PROMPT)
    assert len(pair.ids(OTHER)) == len(ids)
    for text in TEXTS:
        assert not sinking.which(sinking.norms_of(model.capture(text).hidden)).any()
    edits = edits_of(pair)
    found = {}
    for group, states in model.replay(clean, edits):
        found |= dict(zip(group, states, strict=True))
    for i, edit in enumerate(edits):
        run = pair.plain.run(ids, (pair.by_hand(edit),))
        edited = model.capture(PROMPT, [edit])
        wanted = run.hidden
        if edit.block == EMBEDDING:  # their hook hears the state before it is changed
            wanted = torch.cat([edited.hidden[:1], run.hidden[1:]])
        assert apart(edited.hidden, wanted) <= 2e-5, edit
        assert apart(edited.logits, run.logits) <= 2e-5, edit
        assert apart(edited.hidden[-1], clean.hidden[-1]) > 1e-3, f"{edit} is not felt"
        assert torch.equal(edited.hidden[: edit.block + 1], clean.hidden[: edit.block + 1])
        assert edited.check.ok, edit
        assert edited.edits == (edit,)
        assert apart(found[i], run.states[-1][-1]) <= 2e-5, f"replay of {edit}"
        if edit.positions is not None:
            others = [t for t in range(len(ids)) if t not in edit.positions]
            same = edited.hidden[edit.block + 1, others], clean.hidden[edit.block + 1, others]
            assert apart(*same) <= 2e-6, f"{edit} changed other positions"
        if not isinstance(edit, Skip) and edit.block >= 0:
            for part in ("attn", "mlp"):
                theirs = torch.stack(getattr(run, part))
                if edit.part == part:
                    theirs = theirs.clone()  # heard before it is changed, or after: take the sum
                    other = {"attn": "mlp", "mlp": "attn"}[part]
                    grown = run.states[edit.block + 1] - run.states[edit.block]
                    theirs[edit.block] = grown - torch.stack(getattr(run, other))[edit.block]
                assert apart(getattr(edited, part), theirs) <= 3e-5, (edit, part)


def test_every_kind_holds_while_it_writes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache and absolute positions, against a loop that reads the whole text each time."""
    model, ids = pair.model, pair.ids(PROMPT)
    generated: list[int] = []
    spell = model.texts.continuation

    def heard(token_ids: Tensor, after: Tensor) -> str:
        generated[:] = token_ids.tolist()
        return spell(token_ids, after)

    monkeypatch.setattr(model.texts, "continuation", heard)
    later, n_more = (2, len(ids) - 1, len(ids) + 1), 5
    direction = Difference(PROMPT, OTHER, 1, (-1, 3))
    for edit in (
        Replace(0, "stream", State(OTHER)),
        Replace(1, "attn", State(OTHER, (1, 2, 3)), later),
        Replace(1, "mlp", State(OTHER)),
        Replace(EMBEDDING, "stream", State(OTHER, (4, 4, 2)), later),
        Add(1, direction, -3.0),
        Add(0, direction, 4.0, later),
        Project(1, direction),
        Keep(0, 4, TEXTS),
        Skip(1),
        Skip(0, later),
    ):
        model.generate(PROMPT, n_more, [edit])
        expected = pair.plain.greedy(ids, n_more, (pair.by_hand(edit),), guess=generated)
        assert generated == expected, edit


def test_noise_is_the_same_at_a_position_wherever_it_is_heard(tiny: Tiny) -> None:
    """Cached or read anew; in a longer text; another seed is another direction."""
    model, kept = tiny("gpt2"), {}
    edit = Noise(1, seed=9)
    for prompt in (PROMPT, PROMPT + " A dog"):
        hidden = model.capture(prompt, [edit]).hidden[2]
        kept[prompt] = hidden / hidden.norm(dim=-1, keepdim=True)
    n_tokens = len(model.encode(PROMPT))
    units = kept[PROMPT + " A dog"]
    torch.testing.assert_close(units[:n_tokens], kept[PROMPT])
    other = model.capture(PROMPT, [replace(edit, seed=10)]).hidden[2]
    clean = model.capture(PROMPT).hidden[2]
    torch.testing.assert_close(other.norm(dim=-1), clean.norm(dim=-1))
    assert (torch.nn.functional.cosine_similarity(other, kept[PROMPT]).abs() < 0.9).all()
    heard: list[Tensor] = []
    handle = model.architecture.blocks[2].register_forward_pre_hook(
        lambda module, args, kwargs: heard.append((*args, *kwargs.values())[0][0].clone()),
        with_kwargs=True,
    )
    try:
        model.generate(PROMPT, 4, [edit])
    finally:
        handle.remove()
    written = torch.cat(heard)
    assert len(written) == n_tokens + 3
    ours = (written / written.norm(dim=-1, keepdim=True))[: len(units)]
    torch.testing.assert_close(ours, units[: len(ours)])


@pytest.mark.parametrize("name", ["llama", "falcon-7b", "gemma2", "granite"])
def test_what_changes_nothing_changes_no_bit(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    clean = model.capture(PROMPT)
    parts: tuple[Part, ...] = ("stream", "attn", "mlp")
    direction = Difference(PROMPT, OTHER, 1)
    edits: list[Edit] = [Add(0, direction, 0.0), Noise(1, "attn", 1, factor=1.0)]
    edits += [Scale(1, 1.0, part) for part in parts]
    edits += [Replace(1, part, State(PROMPT)) for part in parts]
    edits.append(Replace(EMBEDDING, "stream", State(PROMPT)))
    for edit in edits:
        edited = model.capture(PROMPT, [edit])
        for value in ("hidden", "attn", "mlp", "logits"):
            assert torch.equal(getattr(edited, value), getattr(clean, value)), (edit, value)
    again = model.capture(PROMPT)
    assert torch.equal(again.hidden, clean.hidden)


def test_a_whole_run_put_in_is_that_run(tiny: Tiny) -> None:
    """All positions of one layer decide all that follows; a difference takes one to the other."""
    model = tiny("llama")
    other = model.capture(OTHER)
    put_in = model.capture(PROMPT, [Replace(0, "stream", State(OTHER))])
    assert torch.equal(put_in.hidden[1:], other.hidden[1:])
    assert torch.equal(put_in.logits, other.logits)
    last = len(other.tokens) - 1
    step = Add(1, Difference(OTHER, PROMPT, 2), 1.0, (last,))
    moved = model.capture(PROMPT, [step]).hidden[2, last]
    torch.testing.assert_close(moved, other.hidden[2, last])


def test_skip_leaves_the_stream_and_both_writes_at_nothing(pair: Pair) -> None:
    for edit in (Skip(1), Skip(0, (1, 3))):
        trace = pair.model.capture(PROMPT, [edit])
        at = list(edit.positions or range(len(trace.tokens)))
        below, above = trace.hidden[edit.block, at], trace.hidden[edit.block + 1, at]
        assert torch.equal(above, below)
        assert trace.attn[edit.block, at].abs().max() == 0
        assert trace.mlp[edit.block, at].abs().max() == 0
        assert trace.check.ok
        assert trace.unsummed == ()
    scaled = pair.model.capture(PROMPT, [Skip(1), Scale(1, -2.0)])
    assert torch.equal(scaled.hidden[2], -2 * scaled.hidden[1])
    assert scaled.unsummed == (1,)
    assert scaled.check.ok


def test_edits_are_made_in_their_order(tiny: Tiny, twin: Twin) -> None:
    pair = Pair(tiny("llama"), twin("llama"))
    edits: list[Edit] = [
        Scale(0, -0.5, "mlp"),
        Add(0, Difference(PROMPT, OTHER, 1), 2.0),
        Project(0, MeanState(TEXTS, 1)),
        Replace(2, "attn", State(OTHER), (3,)),
        Scale(2, -3.0, "attn"),
    ]
    trace = pair.model.capture(PROMPT, edits)
    run = pair.plain.run(trace.token_ids, [pair.by_hand(edit) for edit in edits])
    assert apart(trace.hidden, run.hidden) <= 1e-5
    assert apart(trace.logits, run.logits) <= 1e-5
    assert trace.check.ok
    other = pair.model.capture(PROMPT, edits[::-1])
    assert apart(other.hidden, run.hidden) > 1e-3


def test_keep_spares_the_prompts_own_sinks(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    clean = model.capture(PROMPT)

    def second(norms: Any) -> Any:
        return np.arange(norms.shape[1]) == 1

    monkeypatch.setattr(sinking, "which", second)
    texts = ("A text of its own, which nobody has asked for.",)
    kept = model.capture(PROMPT, [Keep(1, 2, texts)]).hidden[2]
    assert torch.equal(kept[1], clean.hidden[2, 1])
    assert not torch.equal(kept[0], clean.hidden[2, 0])
    named = model.capture(PROMPT, [Keep(1, 2, texts, (1,))]).hidden[2]
    assert not torch.equal(named[1], clean.hidden[2, 1])
    states = model.capture(texts[0]).hidden[2].double()
    mean = torch.cat([states[:1], states[2:]]).mean(dim=0)
    only = model.capture(PROMPT, [Keep(1, 0, texts, (4,))]).hidden[2, 4]
    torch.testing.assert_close(only, mean.float())
