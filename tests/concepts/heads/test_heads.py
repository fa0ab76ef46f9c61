"""What heads read and write, against transformers' own attention weights and slices by hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strata.concepts.heads import bias, pattern, proof, shape, sink_share, sums, tables, writes
from strata.concepts.heads.script import modules, script
from strata.concepts.logit_lens import attribution
from strata.errors import InputError, ModelError
from strata.model import Model, load_model
from strata.model.opened import opened
from strata.trace import Replace, Scale, Skip, State
from tests.concepts.heads.by_hand import Eager, eager, logits_of
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
TOKEN, OTHER, POSITION = 17, 40, 5
LONG = f"{PROMPT} {PROMPT}"
# Windows, fewer keys than heads, caps, a learned sink, ALiBi, a gate, other mixers, norms behind
# the projection, a factor on writes, a projection the other way round.
READ = (
    "llama",
    "gpt2",
    "mistral",
    "gemma2",
    "gpt_oss",
    "bloom",
    "qwen3_5_text",
    "lfm2",
    "olmo2",
    "gpt_neo",
    "granite",
)
WRITE = ("llama", "gpt2", "gemma2", "gpt_oss", "bloom", "lfm2", "olmo2", "granite")


@pytest.fixture(scope="module")
def plain() -> Callable[[str], Eager]:
    return cache(eager)


def table(frame: Any, n_tokens: int) -> np.ndarray:
    """(H, T, T) of a pattern, the key that is no token left out."""
    kept = frame[frame["key"] >= 0]
    return kept["weight"].to_numpy().reshape(-1, n_tokens, n_tokens)


@pytest.mark.parametrize("name", READ)
def test_patterns_are_transformers_own(
    name: str, tiny: Tiny, plain: Callable[[str], Eager]
) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    heads, n_tokens = shape(model, trace).set_index("block")["heads"], len(trace.tokens)
    wanted = plain(name).attentions(trace.token_ids)
    assert set(heads[heads > 0].index) == set(wanted)
    for block, weights in wanted.items():
        frame = pattern(model, trace, block)
        np.testing.assert_allclose(table(frame, n_tokens), weights, atol=5e-6)
        np.testing.assert_allclose(frame.groupby(["head", "query"])["weight"].sum(), 1, atol=1e-5)
        one = pattern(model, trace, block, head=2)
        assert one.equals(frame[frame["head"] == 2].reset_index(drop=True))
        assert (frame["key"] < 0).any() == (name == "gpt_oss")
    for block in heads[heads == 0].index:
        with pytest.raises(ModelError, match="has no attention weights"):
            pattern(model, trace, block)


@pytest.mark.parametrize("name", WRITE)
def test_writes_are_slices_and_add_up(name: str, tiny: Tiny, plain: Callable[[str], Eager]) -> None:
    model, hand = tiny(name), plain(name)
    trace = model.capture(PROMPT)
    frame = writes(model, trace, TOKEN, POSITION)
    for block, rows in frame.groupby("block"):
        *parts, rest = hand.writes(trace.token_ids, int(block), POSITION)
        logits = logits_of(hand, parts, trace.hidden[-1, POSITION], TOKEN)
        np.testing.assert_allclose(rows["norm"], [part.norm() for part in parts], rtol=1e-4)
        np.testing.assert_allclose(rows["logit"], logits, atol=2e-5)
        without = bias(model, trace, TOKEN, POSITION).set_index("block")["norm"][block]
        assert without == pytest.approx(float(rest.norm()), abs=1e-5)
    measured = proof(model, trace, POSITION)
    assert measured["identity"].tolist() == ["lens", "writes", "read back", "heads", "alone"]
    assert measured["ok"].all()
    asked: tuple[tuple[Any, Any], ...] = ((TOKEN, None), (TOKEN, "mean"), ((TOKEN, OTHER), None))
    for target, against in asked:
        args = (model, trace, target, POSITION, against)
        theirs = attribution(*args)
        theirs = theirs[theirs["part"] == "attn"].set_index("block")["logit"]
        ours = writes(*args).groupby("block")["logit"].sum()
        ours += bias(*args).set_index("block")["logit"]
        np.testing.assert_allclose(ours, theirs[ours.index], atol=2e-5)
        both = sums(*args).set_index("block")
        np.testing.assert_allclose(both["heads"] + both["bias"], both["attn"], atol=2e-5)
        np.testing.assert_allclose(both["attn"], theirs[both.index], atol=1e-6)
        assert (both["error"] <= 1e-5).all()


def test_edited_runs_are_read_as_they_were(tiny: Tiny, plain: Callable[[str], Eager]) -> None:
    """Lower blocks' edits move the pattern; the block's own do not. Writes are those of the run."""
    model, hand = tiny("llama"), plain("llama")
    clean = model.capture(PROMPT)
    below = model.capture(PROMPT, [Scale(0, -0.7, "mlp")])
    handle = hand.mlp[0].register_forward_hook(lambda m, args, output: output * -0.7)
    wanted = hand.attentions(clean.token_ids)[1]
    handle.remove()
    ours = table(pattern(model, below, 1), len(clean.tokens))
    np.testing.assert_allclose(ours, wanted, atol=5e-6)
    assert np.abs(ours - table(pattern(model, clean, 1), len(clean.tokens))).max() > 1e-2
    before = writes(model, clean, TOKEN, POSITION).set_index(["block", "head"])["norm"]
    for edit, factors in (
        (Scale(1, -2.0, "attn", head=2), (1.0, 2.0)),
        (Skip(1, head=2), (1.0, 0.0)),
        (Scale(1, -2.0, "attn"), (2.0, 2.0)),
        (Skip(1), (0.0, 0.0)),
    ):
        trace = model.capture(PROMPT, [edit])
        assert pattern(model, trace, 1).equals(pattern(model, clean, 1)), edit
        after = writes(model, trace, TOKEN, POSITION).set_index(["block", "head"])["norm"]
        np.testing.assert_allclose(after[0], before[0], rtol=1e-5)
        others, own = factors
        assert after[1, 0] == pytest.approx(others * before[1, 0], rel=1e-4), edit
        assert after[1, 2] == pytest.approx(own * before[1, 2], rel=1e-4), edit
        assert proof(model, trace, POSITION)["ok"].all()
    swapped = model.capture(PROMPT, [Replace(1, "attn", State(PROMPT), (POSITION,))])
    with pytest.raises(InputError, match="puts something else in the place of what attention"):
        writes(model, swapped, TOKEN, POSITION)
    with pytest.raises(InputError, match="changed the stream"):
        writes(model, model.capture(PROMPT, [Scale(0, 0.5)]), TOKEN, POSITION)


def test_what_goes_to_a_sink_and_comes_from_it(tiny: Tiny, plain: Callable[[str], Eager]) -> None:
    """By the values and weights of plain transformers; two tokens that are taken to be sinks."""
    model, hand = tiny("llama"), plain("llama")
    trace = model.capture(PROMPT)
    at, n_tokens = [1, 4], len(trace.tokens)
    queries = [q for q in range(2, n_tokens) if q != 4]
    frame = sink_share(model, trace, at).set_index(["block", "head"])
    for block, weights in hand.attentions(trace.token_ids).items():
        attention, kept = hand.blocks[block].self_attn, []
        handle = attention.v_proj.register_forward_hook(lambda m, a, o, k=kept: k.append(o[0]))
        given = hand.handed_on(trace.token_ids, block)  # (H, T, W)
        handle.remove()
        values = kept[0].reshape(n_tokens, 2, -1).transpose(0, 1).repeat_interleave(2, dim=0)
        matrix = attention.o_proj.weight.detach().reshape(32, 4, -1)  # (D, H, W)
        for head in range(4):
            row, weight = frame.loc[(block, head)], weights[head][queries][:, at]
            there = (weight @ values[head, at]) @ matrix[:, head].T
            rest = given[head, queries] @ matrix[:, head].T - there
            assert row["share"] == pytest.approx(float(weight.sum(dim=-1).mean()), abs=1e-5)
            assert row["from_sinks"] == pytest.approx(float(there.norm(dim=-1).mean()), rel=1e-4)
            assert row["from_others"] == pytest.approx(float(rest.norm(dim=-1).mean()), rel=1e-4)
    whole = table(pattern(model, trace, 1, 2), n_tokens)[0]
    left = table(pattern(model, trace, 1, 2, without=at), n_tokens)[0]
    others = np.delete(whole, at, axis=1)
    assert (left[:, at] == 0).all()
    np.testing.assert_allclose(
        np.delete(left, at, axis=1), others / others.sum(axis=1, keepdims=True), atol=1e-7
    )
    alone = table(pattern(model, trace, 1, 2, without=[0]), n_tokens)[0]
    assert np.isnan(alone[0]).all()  # it can read itself only
    assert sink_share(model, trace, []).empty
    assert sink_share(model, model.capture("The"), [0]).empty
    gated = tiny("qwen3_5_text")
    assert sink_share(gated, gated.capture(PROMPT), [0])["from_sinks"].isna().all()
    learned = tiny("gpt_oss")
    nowhere = sink_share(learned, learned.capture(PROMPT), [0])["nowhere"]
    assert (nowhere > 0.001).all()


# A projection the other way round, a norm behind it, a factor on writes.
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "granite"])
def test_norms_of_what_comes_from_a_sink(
    name: str, tiny: Tiny, plain: Callable[[str], Eager]
) -> None:
    """What keys hand on follows from what heads do, as no token reads those behind it."""
    model, hand = tiny(name), plain(name)
    trace = model.capture(PROMPT)
    at, queries = [1, 4], [2, 3, *range(5, len(trace.tokens))]
    frame = sink_share(model, trace, at).set_index(["block", "head"])
    for block, weights in hand.attentions(trace.token_ids).items():
        given = hand.handed_on(trace.token_ids, block).double()  # (H, T, W)
        weights = weights.double()
        values = torch.linalg.solve_triangular(weights, given, upper=False)
        there = weights[:, queries][..., at] @ values[:, at]  # (H, Q, W)
        rest = given[:, queries] - there
        for head in range(len(weights)):
            for part, column in ((there, "from_sinks"), (rest, "from_others")):
                norms = [
                    float(
                        hand.written(block, head, part[head, q].float(), given[:, t].float()).norm()
                    )
                    for q, t in enumerate(queries)
                ]
                row = frame.loc[(block, head)]
                assert row[column] == pytest.approx(np.mean(norms), rel=1e-3), column


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama", "gpt_oss"])
def test_coarse_numbers_have_patterns_too(
    name: str, dtype: str, tiny_folder: Callable[[str], Path], plain: Callable[[str], Eager]
) -> None:
    """Whose sums are off by what these numbers cannot hold: no learned logit, no refusal."""
    model = load_model(str(tiny_folder(name)), "cpu", dtype)
    trace = model.capture(LONG)
    step = torch.finfo(getattr(torch, dtype)).eps
    sums = []
    for block, weights in plain(name).attentions(trace.token_ids).items():
        frame = pattern(model, trace, block)
        n_tokens = len(trace.tokens)
        np.testing.assert_allclose(table(frame, n_tokens), weights, atol=40 * step)
        assert (frame["key"] < 0).any() == (name == "gpt_oss")
        sums += frame.groupby(["head", "query"])["weight"].sum().tolist()
    np.testing.assert_allclose(sums, 1, atol=step)
    assert dtype == "float16" or name == "gpt_oss" or max(abs(np.array(sums) - 1)) > 1e-3
    found = sink_share(model, trace, [0])
    assert (found["nowhere"] > 0).all() == (name == "gpt_oss")
    opening = next(opened(model, trace))
    assert opening.values is not None
    assert proof(model, trace, POSITION).set_index("identity")["ok"]["alone"]


def test_what_cannot_be_told_is_a_sentence(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    for call, said in (
        (lambda: pattern(model, trace, 3), "Block 3 does not exist: blocks are 0 to 2"),
        (lambda: pattern(model, trace, 0.5), "block must be a whole number"),
        (lambda: pattern(model, trace, 0, 4), "Head 4 does not exist: heads are 0 to 3"),
        (lambda: pattern(model, trace, 0, "all"), "head must be a whole number"),
        (lambda: pattern(model, trace, 0, without=[99]), "Position 99 does not exist"),
        (lambda: pattern(model, None, 0), "A run is what “model.capture” gives, not None"),
        (lambda: sink_share(model, "The cat"), "gives, not 'The cat'"),
        (lambda: writes(model, tiny("gemma2").capture(PROMPT), 3, 0), "of another model"),
        (lambda: writes(model, trace, 999, 0), "Token 999 does not exist"),
        (lambda: writes(model, trace, 3, 99), "Position 99 does not exist"),
        (lambda: writes(model, trace, 3, 0, 3), "against itself"),
        (lambda: sink_share(model, trace, [-1]), "Position -1 does not exist"),
    ):
        with pytest.raises(InputError, match=said):
            call()
    monkeypatch.setattr(tables, "MOST_ROWS", 2 * len(trace.tokens) ** 2)
    assert len(pattern(model, trace, 0, 1)) == len(trace.tokens) ** 2
    with pytest.raises(InputError, match=r"patterns of 4 heads over .* ask for one head"):
        pattern(model, trace, 0)
    odd = tiny("falcon-rw")  # transformers' written-out attention adds its ALiBi twice
    whole = odd.capture(PROMPT)
    with pytest.raises(ModelError, match="run by itself, gives something else"):
        pattern(odd, whole, 0)
    assert proof(odd, whole, 3)["identity"].tolist() == ["lens", "writes", "read back", "heads"]
    unsummed = tiny("bloom-normed_residual")
    trace = unsummed.capture(PROMPT)
    with pytest.raises(ModelError, match="do not add up"):
        writes(unsummed, trace, 3, 0)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite"])
def test_the_code_gives_the_same(name: str, tiny: Tiny, tiny_folder: Callable[[str], Path]) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    [paths] = modules(model).to_dict("records")
    code = script(
        str(tiny_folder(name)),
        None,
        PROMPT,
        block=1,
        target_id=TOKEN,
        position=POSITION,
        against="mean",
        from_sinks=True,
        **paths,
    )
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "script.py", "exec"), ran)
    ours = table(pattern(model, trace, 1), len(trace.tokens))
    np.testing.assert_allclose(ours, ran["pattern"], atol=5e-6)
    wanted = writes(model, trace, TOKEN, POSITION, "mean")
    np.testing.assert_allclose(
        [row[2:] for row in ran["writes"]], wanted[["logit", "norm"]], atol=5e-5
    )
    both = sums(model, trace, TOKEN, POSITION, "mean")
    np.testing.assert_allclose([row[1:] for row in ran["sums"]], both[["heads", "bias"]], atol=5e-5)
    assert sink_share(model, trace).empty
    for at in ([0], [1, 4]):  # the first token where there is no sink
        if at != [0]:
            code = code.replace("sinks_of(hidden.norm(dim=-1))", str(at))
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, "script.py", "exec"), ran)
        wanted = sink_share(model, trace, at)
        np.testing.assert_allclose([row[2] for row in ran["shares"]], wanted["share"], atol=1e-5)
        norms = wanted[["from_sinks", "from_others"]]
        np.testing.assert_allclose([row[2:] for row in ran["norms"]], norms, rtol=1e-3)


def test_the_bundled_model(model: Model, bundled: Plain) -> None:
    """Its heads add up; many read mostly the first token, and what they write from it is little."""
    trace = model.capture("The capital of France is")
    bundled.network.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            found = bundled.network(trace.token_ids[None], output_attentions=True, use_cache=False)
    finally:
        bundled.network.set_attn_implementation("sdpa")
    for block in (0, 14, 29):
        ours = table(pattern(model, trace, block), len(trace.tokens))
        np.testing.assert_allclose(ours, found.attentions[block][0], atol=2e-5)
    [paris] = model.encode(" Paris").tolist()
    frame = sums(model, trace, paris, 4)
    assert len(writes(model, trace, paris, 4)) == 30 * 9
    assert (frame["error"] <= 1e-5).all()
    np.testing.assert_allclose(frame["heads"], frame["attn"], atol=1e-3)  # it has no biases
    shares = sink_share(model, trace)
    theirs = torch.stack([each[0] for each in found.attentions])[:, :, 1:, 0].mean(dim=-1)
    np.testing.assert_allclose(shares["share"], theirs.flatten(), atol=2e-5)
    reading = shares[shares["share"] > 0.9]
    assert len(reading) > 30
    per_weight = reading["from_sinks"] / reading["share"]
    others = reading["from_others"] / (1 - reading["share"])
    assert (per_weight / others).median() < 0.5
