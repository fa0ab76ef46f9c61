"""What no edit can be is refused in a sentence before the model runs, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from strata.edit_fields import data_of, read
from strata.errors import InputError, ModelError, StrataError
from strata.model import Model, resolved
from strata.trace import (
    EMBEDDING,
    Add,
    Difference,
    Keep,
    MeanState,
    Noise,
    Principal,
    Project,
    Replace,
    Scale,
    Skip,
    State,
    Unembedding,
)
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]

SHORT, OTHER = "A dog", "The dog sat on the mat, and the cat ran."
ANY = Unembedding(5)
NAN, HUGE = float("nan"), 10**400
REFUSED: list[tuple[Any, str]] = [
    ("block 0", "An edit must be a Scale, Replace, Add, Project, Noise, Skip or Keep, not 'block"),
    ({"kind": "melt", "block": 0}, "of the kind scale, replace, .*, not 'melt'"),
    ({"kind": ["add"], "block": 0}, "of the kind"),
    ({"block": 0}, "needs a factor"),
    ({"kind": "skip", "block": 0, "factor": 2}, "has the fields block, positions, head"),
    (replace(Skip(0), block=True), "block must be a whole number, not True"),
    (replace(Skip(0), block=HUGE), "block must be a whole number"),
    (Skip(3), "Block 3 does not exist: blocks are 0 to 2"),
    (Skip(EMBEDDING), "Block -1 does not exist"),
    (Scale(EMBEDDING, 2.0), "Block -1 does not exist"),
    (Noise(EMBEDDING, "mlp"), "Block -1 does not exist: blocks are 0 to 2"),
    (Noise(-2), "Block -2 does not exist: blocks are -1 to 2"),
    (Noise(0, "heads"), "part must be stream, attn or mlp, not 'heads'"),  # type: ignore[arg-type]
    (Noise(0, seed=-1), "seed of a noise must be 0 or more"),
    (Noise(0, seed=0.5), "seed must be a whole number"),  # type: ignore[arg-type]
    (Noise(0, factor=NAN), "factor must be a finite number"),
    (Noise(0, positions=(40,)), "Position 40 does not exist: positions are 0 to"),
    (Scale(0, 2.0, head=1), "A single head can be scaled, .*, in the part attn"),
    (Replace(0, "attn", State(PROMPT), head=4), "Head 4 does not exist: heads are 0 to 3"),
    (Add(0, ANY, 2e6), "factor must be a finite number, at most a million"),
    (Add(0, ANY, NAN), "factor must be a finite number"),
    (Add(0, "up", 1.0), "direction must be a Difference, .* or Principal, not 'up'"),  # type: ignore[arg-type]
    (Add(0, {"kind": "sideways"}, 1.0), "direction must be of the kind"),  # type: ignore[arg-type]
    (Add(0, Unembedding(300), 1.0), "Token id 300 does not exist: ids are 0 to 299"),
    (Add(0, Unembedding(-1), 1.0), "Token id -1 does not exist"),
    (Add(0, Difference(PROMPT, PROMPT, 1), 1.0), "the same up to their positions"),
    (Project(0, Difference(PROMPT, PROMPT + " And", 2, (3, 3))), "the same up to their positions"),
    (Project(0, Difference(PROMPT, OTHER, 0)), "has no length"),
    (Add(0, Difference(PROMPT, SHORT, 4), 1.0), "Layer 4 does not exist: layers are 0 to 3"),
    (Add(0, Difference(PROMPT, SHORT, -1), 1.0), "Layer -1 does not exist"),
    (Add(0, Difference(PROMPT, SHORT, 1, 9), 1.0), "Position 9 does not exist in a prompt of the"),
    (Add(0, Difference(PROMPT, SHORT, 1, (0, -90)), 1.0), "Position -90 does not exist"),
    (Add(0, Difference(PROMPT, "", 1), 1.0), "empty"),
    (Add(0, Difference(PROMPT, SHORT, 1, (1, 2, 3)), 1.0), "one for each of both"),  # type: ignore[arg-type]
    (Project(0, MeanState((), 1)), "texts must be a tuple of at least one text"),
    (Project(0, MeanState("text", 1)), "texts must be a tuple of texts"),  # type: ignore[arg-type]
    (Project(0, MeanState((PROMPT, 3), 1)), "texts must be text, not 3"),  # type: ignore[arg-type]
    (Project(0, MeanState((SHORT, SHORT), 1)), "each named once"),
    (Project(0, Principal((SHORT,), 1, 99)), "principal components, so 99"),
    (Project(0, Principal((SHORT,), 1, 0)), "numbered from 1"),
    (Keep(0, 33, (PROMPT * 2,)), "components, so 33"),
    (Keep(0, -1, (PROMPT,)), "components, so -1"),
    (Keep(0, 1, ("A",)), "has 0 principal components, so 1"),
    (Replace(0, "stream", PROMPT), "source must be a State"),  # type: ignore[arg-type]
    (Replace(0, "stream", State(3)), "source.prompt must be text, not 3"),  # type: ignore[arg-type]
    (Replace(0, "stream", State("")), "empty"),
    (Replace(0, "stream", State(SHORT)), "The prompt has .* tokens and the source"),
    (Replace(0, "stream", State(SHORT), (7,)), "Position 7 does not exist in the source"),
    (Replace(0, "stream", State(SHORT, (0, 1)), (7,)), "1 positions are replaced and the source"),
    (Replace(0, "stream", State(SHORT, (-1,)), (7,)), "Position -1 does not exist in the source"),
    (Replace(0, "stream", State(PROMPT), (1, 1)), "named twice"),
    (Replace(0, "stream", State(PROMPT, block=3)), "Block 3 does not exist"),
    (Replace(0, "attn", State(PROMPT, block=EMBEDDING)), "Block -1 does not exist"),
    (Replace(0, "stream", State(PROMPT), 3), "tuple of whole numbers, or None"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("edit", "said"), REFUSED, ids=range(len(REFUSED)))
def test_bad_input_is_a_sentence(
    tiny: Tiny, edit: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    ran: list[Any] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *args: ran.append(args) or forward(*args))
    for call in (
        lambda edits: model.capture(PROMPT, edits),
        lambda edits: model.generate(PROMPT, 2, edits),
        lambda edits: model.replay(trace, edits),
    ):
        with pytest.raises(InputError, match=said) as refusal:
            call([Skip(1), edit])
        assert str(refusal.value).count("\n") == 0
        assert str(refusal.value).endswith(".")
    if "no length" not in said:  # known only once both states are there; and see the next test
        assert ran == []


def test_components_that_a_sink_takes_away_are_known_after_the_texts_were_run(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of n tokens has n - 1 components, with a sink fewer."""
    model = tiny("gpt2")
    text = "The dog sat."
    k = len(model.encode(text)) - 1
    monkeypatch.setattr(resolved.sinks, "which", lambda norms: np.arange(norms.shape[1]) == 0)
    monkeypatch.setattr(model, "_resolved", resolved.Resolver(model))
    ran: list[int] = []
    forward = model.forward

    def heard(rows: Any, recorder: Any) -> Any:
        ran.append(len(rows[0]))
        return forward(rows, recorder)

    monkeypatch.setattr(model, "forward", heard)
    for edit in (Keep(0, k, (text,), (1,)), Project(0, Principal((text,), 1, k))):
        with pytest.raises(InputError, match=f"has {k - 1} principal components, so {k}"):
            model.capture(PROMPT, [edit])
    assert ran == [k + 1], "the text, once, and not the prompt"
    monkeypatch.setattr(resolved.sinks, "which", lambda norms: np.arange(norms.shape[1]) >= 0)
    with pytest.raises(InputError, match="nothing but attention sinks"):
        model.capture(PROMPT, [Add(0, MeanState((text,), 2), 1.0)])


def test_what_a_model_does_not_allow_is_a_sentence(tiny: Tiny) -> None:
    cases: list[tuple[str, Any, str]] = [
        ("opt-post_norm", Noise(0, "attn"), "writes are refused"),
        ("opt-post_norm", Replace(0, "mlp", State(PROMPT)), "writes are refused"),
        ("opt-post_norm", Add(0, ANY, 1.0), "head of this opt model reads 16 numbers"),
    ]
    for name, edit, said in cases:
        with pytest.raises(ModelError, match=said):
            tiny(name).capture(PROMPT, [edit])
    model = tiny("opt-post_norm")
    for edit in (Skip(1), Keep(0, 1, (PROMPT,)), Noise(1), Replace(1, "stream", State(PROMPT))):
        assert model.capture(PROMPT, [edit]).edits == (edit,)


def test_data_and_edits_are_the_same() -> None:
    edits = [
        Scale(1, -2.0, "mlp", (0, 3)),
        Replace(EMBEDDING, "stream", State("a", (1,), 2), (0,)),
        Add(0, Difference("a", "b", 1, (0, -1)), 0.5),
        Project(0, Principal(("a", "b"), 2, 3), (1,)),
        Noise(1, "attn", 7, None, 0.5),
        Skip(2),
        Keep(0, 5, ("a",)),
        Add(0, MeanState(("a",), 1), 1.0),
        Project(0, Unembedding(4)),
    ]
    for edit in edits:
        assert read(data_of(edit)) == edit == read(edit)
        assert hash(read(data_of(edit))) == hash(edit)
    assert read({"block": 1, "factor": 2}) == Scale(1, 2.0)
    assert read({"block": 1.0, "factor": 2, "positions": [0.0]}) == Scale(1, 2.0, positions=(0,))
    assert len({str(data_of(edit)) for edit in edits}) == len(edits)
    given = Scale(np.int64(1), np.float32(0.5), positions=(np.int32(0), np.uint8(2)))  # type: ignore[arg-type]
    assert repr(read(given)) == repr(Scale(1, 0.5, positions=(0, 2)))
    assert hash(read(given)) == hash(Scale(1, 0.5, positions=(0, 2)))
    for flag in (np.bool_(True), np.float32(1.5)):
        with pytest.raises(InputError, match="whole number"):
            read(Skip(flag))  # type: ignore[arg-type]


def test_a_refused_edit_leaves_no_hook(tiny: Tiny) -> None:
    model = tiny("llama")
    clean = model.capture(PROMPT)
    with pytest.raises(StrataError):
        model.capture(PROMPT, [Replace(0, "mlp", State(PROMPT)), Skip(9)])
    hooked = [m for m in model._network.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooked == []
    assert torch.equal(model.capture(PROMPT).hidden, clean.hidden)
