"""Families whose blocks do more than add, have several modules a part, or rows of a stream."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from strata.errors import ModelError
from strata.model import Model
from strata.trace import (
    EMBEDDING,
    Add,
    Difference,
    Edit,
    Keep,
    Noise,
    Part,
    Project,
    Replace,
    Scale,
    Skip,
    State,
    Unembedding,
)
from tests.families import build
from tests.families.outcome import load
from tests.tiny import PROMPT

OTHER = "The dog sat on the mat, and the cat ran."
TEXTS = (OTHER, "Where the river is wide, the water is slow.")
# Rows of a stream; two modules a part, that read each other; a factor on the stream; shared keys;
# a single mixer a block; another number of modules at some blocks.
FAMILIES = ("hy_v4", "longcat_flash", "granitemoeshared", "gemma4_text", "beam", "mamba", "zaya")


@pytest.fixture(scope="module")
def made() -> Callable[[str], Model]:
    @cache
    def of(family: str) -> Model:
        network = build.build(family)
        factors = iter((0.8, 1.3, -0.6, 0.9))
        for name, buffer in network.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(next(factors))
        return load(network)

    return of


def near(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 2e-5 * (1 + theirs.abs().max()))


def edits_of(model: Model) -> list[Edit]:
    last = model.n_layers - 1
    parts: list[Part] = ["stream"]
    if not model.write_refusal:
        parts += ["attn"] if model.architecture.is_mixer else ["attn", "mlp"]
    difference = Difference(PROMPT, OTHER, 1, (-1, 3))
    edits: list[Edit] = [
        Replace(EMBEDDING, "stream", State(OTHER), (1,)),
        Replace(last, "stream", State(OTHER, block=0)),
        Add(0, difference, -2.0),
        Project(last, difference),
        Keep(0, 2, TEXTS),
        Skip(0),
        Skip(last, (2,)),
    ]
    for part in parts:
        edits += [Noise(last, part, 3), Noise(0, part, 4, (2,), -0.5), Scale(0, -0.7, part)]
        edits.append(Replace(0, part, State(OTHER)))
    if model.architecture.residual:  # each block multiplies its writes by another number
        edits.append(Replace(0, "attn", State(OTHER, block=last)))
    return edits


@pytest.mark.parametrize("family", FAMILIES)
def test_every_edit_is_itself_in_all_ways_to_run_it(
    family: str, made: Callable[[str], Model]
) -> None:
    """State after the edit by its definition, identities, replay against whole runs."""
    model = made(family)
    clean, other = model.capture(PROMPT), model.capture(OTHER)
    edits = edits_of(model)
    replayed: dict[int, Any] = {}
    for group, states in model.replay(clean, edits):
        replayed |= dict(zip(group, states, strict=True))
    for i, edit in enumerate(edits):
        trace = model.capture(PROMPT, [edit])
        at = list(edit.positions or range(len(clean.tokens)))
        after, before = trace.hidden[edit.block + 1, at], clean.hidden[edit.block + 1, at]
        assert near(replayed[i], trace.hidden[-1, -1]), edit
        assert trace.check.lens_ok == clean.check.lens_ok, edit
        assert trace.check.write_ok == clean.check.write_ok, edit
        assert torch.equal(trace.hidden[: edit.block + 1], clean.hidden[: edit.block + 1])
        match edit:
            case Replace(part="stream"):
                block = edit.block if edit.source.block is None else edit.source.block
                assert torch.equal(after, other.hidden[block + 1, at]), edit
            case Replace(part=part):
                block = edit.block if edit.source.block is None else edit.source.block
                wanted = getattr(other, part)[block, at]
                assert near(getattr(trace, part)[edit.block, at], wanted), edit
            case Noise(part="stream"):
                size = 1.0 if edit.factor is None else abs(edit.factor - 1)
                pushed = after if edit.factor is None else after - before
                torch.testing.assert_close(pushed.norm(dim=-1), size * before.norm(dim=-1))
            case Skip():
                assert torch.equal(after, clean.hidden[edit.block, at])
                if trace.writes is not None:
                    assert trace.writes[:, edit.block, at].abs().max() == 0
                    if edit.positions is None and trace.residual:
                        assert trace.residual[edit.block] == 1
                        assert trace.added[edit.block].abs().max() == 0
                        assert trace.unsummed == ()
            case Project():
                one, two = model.capture(PROMPT).hidden[1, -1], other.hidden[1, 3]
                along = after.double() @ (one - two).double()
                assert along.abs().max() <= 1e-5 * (one - two).norm() * before.norm(dim=-1).max()
    for part in ("stream", "attn", "mlp"):
        if part == "stream" or any(part == edit.part for edit in edits):
            same = model.capture(PROMPT, [Replace(0, part, State(PROMPT))])  # type: ignore[arg-type]
            assert torch.equal(same.hidden, clean.hidden), part


def test_what_these_do_not_allow_is_a_sentence(made: Callable[[str], Model]) -> None:
    cases: list[tuple[str, Edit, str]] = [
        ("hy_v4", Add(0, Unembedding(3), 1.0), "its stream has"),
        ("hy_v4", Noise(0, "attn"), "writes"),
        ("mamba", Noise(0, "mlp"), "there is no MLP"),
    ]
    for family, edit, said in cases:
        with pytest.raises(ModelError, match=said):
            made(family).capture(PROMPT, [edit])
