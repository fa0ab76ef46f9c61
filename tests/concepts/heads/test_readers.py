"""What heads read beside what they write, small patterns, and changed heads, against plain
transformers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strata.concepts.heads import pattern, shape, sink_share, writes
from strata.concepts.heads.changed import changed
from strata.concepts.heads.readers import read_and_written, small
from strata.concepts.heads.script import modules, script
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.trace import Noise, Scale
from tests.concepts.heads.by_hand import PROJECTIONS, eager
from tests.families.build import build
from tests.families.outcome import load
from tests.plain import Plain

TEXT, OTHER = "abc abd abe", "xbc abd abe"
TARGET = 3
BLOCK, HEAD = 1, 2

Tiny, Twin = Callable[[str], Model], Callable[[str], Plain]


@pytest.fixture
def attention(tiny: Tiny, twin: Twin) -> Tensor:
    """(L, H, T, T) as transformers itself gives it."""
    network = twin("llama").network
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            ids = tiny("llama").encode(TEXT)[None]
            found = network(input_ids=ids, output_attentions=True, use_cache=False).attentions
    finally:
        network.set_attn_implementation(before)
    return torch.cat(found)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite"])
def test_each_head_has_the_token_that_it_reads_most(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    trace = model.capture(TEXT)
    attention = torch.stack(list(eager(name).attentions(trace.token_ids).values()))
    for position in (0, 1, len(trace.tokens) - 1):
        frame = read_and_written(model, trace, TARGET, position)
        at = attention[:, :, position]  # (L, H, T)
        best = at.max(dim=-1)
        assert frame["key"].tolist() == best.indices.flatten().tolist()
        assert np.allclose(frame["weight"], best.values.flatten(), atol=1e-5)
        assert [trace.tokens[key] for key in frame["key"]] == frame["token"].tolist()
        assert (frame["sink_share"] == 0).all(), "this prompt has no sinks"
        own = writes(model, trace, TARGET, position, against="mean")
        assert np.allclose(frame["logit"], own["logit"])
        key = best.indices.flatten()[int(own["logit"].argmax())]
        assert np.allclose(frame["same"], at[..., key].flatten(), atol=1e-5)


def test_a_hybrids_blocks_without_weights_are_passed_over() -> None:
    model = load(build("bailing_hybrid"))
    trace = model.capture(TEXT)
    found = shape(model, trace)
    assert found["heads"].tolist() == [4] * 4
    assert found["weighted"].tolist() == [False, True, False, True]
    frame = read_and_written(model, trace, TARGET, 2)
    shares = sink_share(model, trace, [0])
    for rows in (frame, shares):
        assert rows["block"].tolist() == [1] * 4 + [3] * 4
    own = writes(model, trace, TARGET, 2, against="mean").set_index("block")["logit"]
    assert np.allclose(frame["logit"], own.loc[[1, 3]])
    last = len(trace.tokens) - 1
    for target in range(8):  # of which some have their leading head in a block without weights
        written = writes(model, trace, target, last, against="mean")
        if written.loc[written["logit"].idxmax(), "block"] in (0, 2):
            break
    top = read_and_written(model, trace, target, last)
    top = top.loc[top["logit"].idxmax()]
    edited = changed(model, trace, target, n_seeds=1)
    assert written.loc[written["logit"].idxmax(), "block"] in (0, 2)
    assert edited.loc[edited["edit"] == "head", ["block", "head"]].to_numpy().tolist() == [
        [top["block"], top["head"]]
    ], "the one that the page has"
    for block in (1, 3):
        seen = pattern(model, trace, block)
        at = seen[seen["query"] == 2].pivot(index="head", columns="key", values="weight")
        mine = frame[frame["block"] == block]
        assert np.allclose(mine["weight"], at.max(axis=1))
        assert mine["key"].tolist() == at.idxmax(axis=1).tolist()
        first = seen[(seen["key"] == 0) & (seen["query"] > 0)].groupby("head")["weight"].mean()
        assert np.allclose(shares.loc[shares["block"] == block, "share"], first)


def test_sinks_are_left_out_and_told(
    tiny: Tiny, attention: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strata.concepts.heads import readers

    model = tiny("llama")
    trace = model.capture(TEXT)
    found = readers.sinks(trace).reindex([0]).assign(position=0)
    monkeypatch.setattr(readers, "sinks", lambda trace: found)
    frame = read_and_written(model, trace, TARGET, 2)
    at = attention[:, :, 2]
    assert np.allclose(frame["sink_share"], at[..., 0].flatten(), atol=1e-5)
    assert (frame["key"] == at[..., 1:].argmax(dim=-1).flatten() + 1).all()
    first = read_and_written(model, trace, TARGET, 0)
    assert first["key"].isna().all(), "there is nobody but the sink"
    assert first["weight"].isna().all()
    assert first["same"].isna().all()


def test_a_small_pattern_keeps_what_a_query_gives(
    tiny: Tiny, attention: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strata.concepts.heads import readers

    model = tiny("llama")
    trace = model.capture(TEXT)
    whole = small(model, trace, BLOCK)
    n_tokens = len(trace.tokens)
    assert len(whole) == attention.shape[1] * n_tokens * (n_tokens + 1) / 2
    mine = whole[whole["head"] == HEAD].pivot(index="query", columns="key", values="weight")
    assert np.allclose(mine.fillna(0), attention[BLOCK, HEAD], atol=1e-5)
    monkeypatch.setattr(readers, "STEPS", 3)
    monkeypatch.setattr(readers, "MOST_SMALL", 2)
    pooled = small(model, trace, BLOCK, around=HEAD)
    assert pooled["head"].nunique() == 2
    assert HEAD in set(pooled["head"])
    assert (pooled["n_heads"] == attention.shape[1]).all()
    assert np.allclose(pooled.groupby(["head", "query"])["weight"].sum(), 1, atol=1e-5)
    edges = np.linspace(0, n_tokens, 4).round().astype(int)
    last = attention[BLOCK, HEAD, edges[2] :, : edges[1]].sum(dim=-1).mean()
    row = pooled[(pooled["head"] == HEAD) & (pooled["query"] == 2) & (pooled["key"] == 0)]
    assert row["weight"].item() == pytest.approx(float(last), abs=1e-5)


def logits_with(plain: Plain, ids: Tensor, edit: Callable[[Tensor], None] | None) -> Tensor:
    """(V,) of the last position, with what the heads of one block hand on edited in place."""
    path = PROJECTIONS.get(plain.network.config.model_type, "self_attn.o_proj")
    projection = plain.blocks[BLOCK].get_submodule(path)

    def change(module: Any, args: Any) -> Any:
        heads = args[0].clone()
        if edit:
            edit(heads[0])
        return (heads,)

    handle = projection.register_forward_pre_hook(change)
    try:
        with torch.no_grad():
            return plain.network(input_ids=ids[None], use_cache=False).logits[0, -1].double()
    finally:
        handle.remove()


def handed_on(plain: Plain, ids: Tensor) -> Tensor:
    kept: list[Tensor] = []
    logits_with(plain, ids, lambda heads: kept.append(heads.clone()))
    return kept[0]


@pytest.mark.parametrize(
    ("name", "factor"), [("llama", 0.0), ("llama", -1.5), ("gpt2", -1.5), ("gemma2", -1.5)]
)
def test_a_head_is_scaled_alone(tiny: Tiny, twin: Twin, name: str, factor: float) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(TEXT)
    frame = changed(model, trace, TARGET, BLOCK, HEAD, factor=factor, n_seeds=3)
    width = handed_on(plain, trace.token_ids).shape[1] // int(
        plain.network.config.num_attention_heads
    )
    for row in frame[frame["edit"] != "noise"].to_dict("records"):

        def scale(heads: Tensor, head: Any = row["head"]) -> None:
            heads[:, head * width : (head + 1) * width] *= factor

        edit = None if row["edit"] == "clean" else scale
        logits = logits_with(plain, trace.token_ids, edit)
        logprobs = logits.log_softmax(dim=-1)
        assert row["logprob"] == pytest.approx(float(logprobs[TARGET]), abs=1e-4)
        assert row["logit"] == pytest.approx(float(logits[TARGET] - logits.mean()), abs=1e-4)
        assert row["prob"] == pytest.approx(float(logprobs[TARGET].exp()), abs=1e-5)
        assert row["top_prob"] == pytest.approx(float(logprobs.max().exp()), abs=1e-5)
        assert row["top"] == model.decode([int(logits.argmax())], after=trace.token_ids)[0]
    others = frame[frame["edit"] == "other"]["head"].tolist()
    assert sorted([HEAD, *others]) == list(range(plain.network.config.num_attention_heads))
    noise = frame[frame["edit"] == "noise"]
    assert noise["logprob"].nunique() == 3, "each push another direction"
    pushed = model.capture(TEXT, edits=[Noise(BLOCK, "attn", 1, None, factor, head=HEAD)])
    wanted = float(pushed.logits[-1].double().log_softmax(dim=-1)[TARGET])
    assert noise["logprob"].iloc[1] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("other", [OTHER, "xbc"])
def test_a_head_is_taken_from_another_prompt(tiny: Tiny, twin: Twin, other: str) -> None:
    model, plain = tiny("llama"), twin("llama")
    trace = model.capture(TEXT)
    there = model.encode(other)
    frame = changed(model, trace, (TARGET, 5), BLOCK, HEAD, "replace", other=other, n_seeds=1)
    given = handed_on(plain, there)
    width = given.shape[1] // int(plain.network.config.num_attention_heads)
    part = slice(HEAD * width, (HEAD + 1) * width)

    def put(heads: Tensor) -> None:
        if len(there) == len(trace.tokens):
            heads[:, part] = given[:, part]
        else:
            heads[-1, part] = given[-1, part]  # where the lengths differ

    logits = logits_with(plain, trace.token_ids, put)
    row = frame[frame["edit"] == "head"].iloc[0]
    assert row["logprob"] == pytest.approx(float(logits[TARGET] - logits[5]), abs=1e-4)
    assert row["logit"] == pytest.approx(float(logits[TARGET] - logits[5]), abs=1e-4)
    assert frame["prob"].isna().all(), "a difference has no probability"


def test_the_head_that_writes_most_is_meant_and_what_is_none_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    trace = model.capture(TEXT)
    own = writes(model, trace, TARGET, len(trace.tokens) - 1, against="mean")
    tops = own.loc[own.groupby("block")["logit"].idxmax()]
    for block in (None, *tops["block"]):
        frame = changed(model, trace, TARGET, block, n_seeds=1)
        some = tops if block is None else tops[tops["block"] == block]
        top = some.loc[some["logit"].idxmax()]
        assert (frame["block"] == top["block"]).all()
        assert frame.loc[frame["edit"] == "head", "head"].item() == top["head"]
    assert "noise" not in set(changed(model, trace, TARGET, 0, 0, factor=1.0)["edit"])
    ran: list[object] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *given: ran.append(given) or forward(*given))
    changed(model, trace, TARGET, n_seeds=1)
    n_runs = len(ran)
    assert n_runs > 0
    for told, why in (
        ({"block": 9}, "Block 9 does not exist"),
        ({"block": 9, "head": 0}, "Block 9 does not exist"),
        ({"block": 0, "head": 99}, "Head 99 does not exist: heads are 0 to 3"),
        ({"head": 1}, "Name the block of the head as well"),
        ({"kind": "replace"}, "Write the prompt"),
        ({"kind": "else"}, "not 'else'"),
    ):
        with pytest.raises(InputError, match=why):
            changed(model, trace, TARGET, n_seeds=1, **told)
    assert len(ran) == n_runs, "refused before anything is run"
    with pytest.raises(InputError, match="Head 99 does not exist"):
        small(model, trace, 0, around=99)


def test_a_head_is_changed_also_where_writes_do_not_add_up() -> None:
    model = load(build("falcon_h1"))
    trace = model.capture(TEXT)
    with pytest.raises(ModelError, match="does not add up"):
        changed(model, trace, TARGET)  # which head writes most is not known
    frame = changed(model, trace, TARGET, BLOCK, HEAD, factor=-1.5, n_seeds=1)
    edited = model.capture(TEXT, [Scale(BLOCK, -1.5, "attn", head=HEAD)])
    wanted = float(edited.logits[-1].double().log_softmax(dim=-1)[TARGET])
    assert frame["logprob"].iloc[1] == pytest.approx(wanted, abs=1e-4)
    assert abs(frame["logprob"].iloc[1] - frame["logprob"].iloc[0]) > 1e-3


@pytest.mark.parametrize(
    ("name", "target", "done"),
    [
        ("llama", TARGET, {"kind": "scale", "factor": -1.5}),
        ("gpt2", (TARGET, 5), {"kind": "replace", "other": OTHER}),
        ("gemma2", TARGET, {"kind": "replace", "other": "xbc"}),
        ("granite", (5, TARGET), {"kind": "scale", "factor": 1.0}),
        # Its attention is another one where it is written out, so not where heads are changed.
        ("falcon-rw", TARGET, {"kind": "scale", "factor": 0.0}),
    ],
)
def test_the_code_prints_the_changed_runs(
    name: str, target: Any, done: Any, tiny: Tiny, tiny_folder: Callable[[str], Path]
) -> None:
    model = tiny(name)
    trace = model.capture(TEXT)
    frame = changed(model, trace, target, BLOCK, HEAD, **done)
    told = {"block": BLOCK, "head": HEAD, "target_id": target, "against": "mean", **done}
    [paths] = modules(model).to_dict("records")
    told["writes"] = name != "falcon-rw"  # as of a family whose writes are not known
    code = script(str(tiny_folder(name)), None, TEXT, **told, **paths)
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    rows = ran["changed"]
    assert [row[0] for row in rows] == frame["edit"].tolist()
    of = [[np.nan if each is None else each for each in row[1:3]] for row in rows]
    np.testing.assert_array_equal(of, frame[["head", "seed"]].astype(float))
    numbers = [[*row[3:5], row[6]] for row in rows]
    np.testing.assert_allclose(numbers, frame[["logprob", "logit", "top_prob"]], atol=1e-4)
    for row, first in zip(rows, frame["top"], strict=True):
        assert model.decode([row[5]], after=trace.token_ids) == (first,)
    assert f"head {HEAD}" in printed.getvalue()
    assert "strata" not in code.split("tokenizer =")[1]
    assert len(frame) == 5 + 9 * (done.get("factor") != 1.0)
