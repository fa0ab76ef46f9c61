"""A state's nearest states in other sentences: the table against plain NumPy over plain runs, what
is left out of it, how it is held and given up, its words, and the program that prints the same."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.logit_lens import lens, modules, words
from strata.concepts.logit_lens.nearest import COLUMNS, nearest
from strata.concepts.logit_lens.script import script
from strata.corpus import Sample, sample
from strata.corpus.passages import passages
from strata.engine import Job, LocalEngine, Settings
from strata.errors import InputError
from strata.model import Model
from strata.trace import Trace
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
TEXTS = (
    "The river is wide where the stones are round and the water is slow.",
    "She said that the answer was in the third drawer of the desk.",
    "A dog ran after the other cat in the garden.",
    "The cat is slow, and the dog is in the river.",
)
OWN = (" ".join(TEXTS) * 3,)
PATIENCE = 60


def drawn(model: Model, texts: tuple[str, ...] = TEXTS, **how: Any) -> Sample:
    return sample(model, texts, skip_sinks=True, **{"compact": True, **how})


def by_hand(plain: Plain, model: Model, some: Sample, own: Any, layer: int, at: int) -> Any:
    """(L + 1, n) cosines of a cell with the sampled positions, in float64 from plain runs."""
    runs = {i: plain.run(model.encode(some.texts[i])).hidden.double().numpy() for i in some.tokens}
    places = zip(some.text.tolist(), some.position.tolist(), strict=True)
    states = np.stack([runs[i][:, t] for i, t in places], axis=1)  # (L + 1, n, D)
    mean, spread = states.mean(axis=1, keepdims=True), states.std(axis=1, keepdims=True)
    apart = (states - mean) / spread
    state = (own[layer, at] - mean[layer, 0]) / spread[layer, 0]
    lengths = np.linalg.norm(apart, axis=-1) * np.linalg.norm(state)
    return (apart @ state) / lengths


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("compact", [True, False])
def test_they_are_those_of_plain_runs(
    tiny: Tiny, twin: Callable[[str], Plain], name: str, compact: bool
) -> None:
    model, plain = tiny(name), twin(name)
    some, trace = drawn(model, compact=compact), model.capture(PROMPT)
    own = plain.run(model.encode(PROMPT)).hidden.double().numpy()
    off = 3e-3 if compact else 2e-4
    for layer, at in ((0, 3), (1, len(trace.tokens) - 1), (model.n_layers, 2)):
        frame = nearest(trace, some, layer, at, k=4)
        assert list(frame) == COLUMNS
        assert frame["layer"].drop_duplicates().tolist() == list(range(layer, -1, -1))
        expected = by_hand(plain, model, some, own, layer, at)
        for row in frame.itertuples():
            [found] = np.flatnonzero((some.text == row.text) & (some.position == row.position))
            assert row.cosine == pytest.approx(expected[row.layer, found], abs=off)
            assert row.token == some.tokens[row.text][row.position]
            text = "".join(some.tokens[row.text])
            assert f"{row.before}{row.token}{row.after}" in text
        for below, rows in frame.groupby("layer"):
            left = np.sort(expected[below][elsewhere(trace, some)])[::-1]
            np.testing.assert_allclose(rows["cosine"], left[:4], atol=off)
            low, high = ((left > c + d).sum() for c, d in ((rows["cosine"].max(), off),) * 2)
            assert low <= rows["rank"].min() <= high


def elsewhere(trace: Trace, some: Sample) -> Any:
    """Which sampled states have read something else than what the prompt begins with."""
    return np.array(
        [
            some.tokens[i][: t + 1] != trace.tokens[: t + 1]
            for i, t in zip(some.text.tolist(), some.position.tolist(), strict=True)
        ]
    )


def test_what_is_usual_is_how_near_sampled_states_are_to_other_texts(tiny: Tiny) -> None:
    model = tiny("llama")
    some = drawn(model)
    frame = nearest(model.capture(PROMPT), some, 2, 4)
    for below, usual in frame.drop_duplicates("layer").set_index("layer")["usual"].items():
        a, b = (some.states(layer).double().numpy() for layer in (2, int(below)))
        a, b = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (a, b))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        cosines = np.where(some.text[:, None] == some.text[None], -2, a @ b.T)[:100]
        low, high = np.quantile(cosines.max(axis=1), [0.48, 0.52])
        assert low - 1e-3 <= usual <= high + 1e-3


def test_a_state_turned_round_or_scaled_has_others_nearest(tiny: Tiny) -> None:
    """Turned about the mean each cosine changes its sign, so what was nearest is furthest."""
    model = tiny("gpt2")
    some, trace = drawn(model), model.capture(PROMPT)
    mean = some.states(2).mean(dim=0)
    turned = trace.hidden.clone()
    turned[2, 5] = 2 * mean - turned[2, 5]
    whole = {"layer": 2, "position": 5, "k": 20}
    before, after = (
        nearest(trace, some, **whole),
        nearest(replace(trace, hidden=turned), some, **whole),
    )
    best = before.iloc[0]
    assert best["cosine"] > 0.1
    places = [set(zip(f["text"], f["position"], strict=True)) for f in (before[:5], after[:5])]
    assert not places[0] & places[1]
    for factor in (-1.0, -3.0):
        frame = nearest(replace(trace, hidden=trace.hidden * factor), some, **whole)
        assert (frame.iloc[0]["text"], frame.iloc[0]["position"]) != (
            best["text"],
            best["position"],
        )


def test_equal_states_share_a_rank_in_the_order_of_the_texts(tiny: Tiny) -> None:
    """At layer 0 of a model without positions every token has one state, wherever it stands."""
    model = tiny("llama")
    trace = model.capture(PROMPT)
    at = trace.tokens.index(" the") if " the" in trace.tokens else 4
    frame = nearest(trace, drawn(model), 0, at, k=20)
    same = frame[frame["token"] == trace.tokens[at]]
    assert len(same) > 1
    assert (same["rank"] == 0).all()
    np.testing.assert_allclose(same["cosine"], 1, atol=1e-3)
    assert same[["text", "position"]].apply(tuple, axis=1).is_monotonic_increasing
    others = frame[frame["token"] != trace.tokens[at]]
    assert (others["rank"] >= len(same)).all()


def test_what_is_the_prompts_own_is_left_out(tiny: Tiny) -> None:
    model = tiny("llama")
    some = drawn(model)
    for prompt in (TEXTS[1], f"So it was. {TEXTS[1]}", TEXTS[1][:40]):
        trace = model.capture(prompt)
        frame = nearest(trace, some, 3, len(trace.tokens) - 1, k=20)
        assert 1 not in set(frame["text"]), prompt
    begun = model.capture("The river")  # the same beginning, and so the same states there
    assert len(begun.tokens) < 8
    frame = nearest(begun, some, 2, len(begun.tokens) - 1, k=20)
    there = frame[frame["text"] == 0]["position"]
    assert len(there)
    assert there.min() >= len(begun.tokens)
    assert frame["position"].min() > 0, "first tokens are no neighbours"
    with pytest.raises(InputError, match="No other text"):
        nearest(model.capture(TEXTS[1]), drawn(model, TEXTS[1:2]), 1, 3)


def test_bad_cells_and_states_are_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    some, trace = drawn(model), model.capture("cat")
    assert len(nearest(trace, some, 1, 0)) == 10
    for layer, position, k, reason in (
        (4, 0, 5, "Layer 4"),
        (-1, 0, 5, "Layer -1"),
        (1, 99, 5, "Position 99"),
        (1, 0, 0, "neighbours must be from 1 to 20"),
        (1, 0, 21, "neighbours must be from 1 to 20"),
    ):
        with pytest.raises(InputError, match=reason):
            nearest(trace, some, layer, position, k)
    alike = replace(some, stream=torch.ones_like(some.stream), scale=None)
    with pytest.raises(InputError, match="no direction"):
        nearest(replace(trace, hidden=torch.ones_like(trace.hidden)), alike, 1, 0)


# -- how the sample is held -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_a_compact_sample_is_the_stream_in_a_sixth_of_the_memory(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    whole, some = drawn(model, compact=False), drawn(model)
    assert (whole.text == some.text).all()
    assert (whole.position == some.position).all()
    n, layers = len(some), model.n_layers + 1
    assert some.n_bytes == n * layers * (2 * model.d_model + 4)
    assert some.parts == ("stream",)
    for layer in range(layers):
        error = (whole.states(layer) - some.states(layer)).abs()
        assert (error <= whole.states(layer).abs().amax(dim=1, keepdim=True) / 2_000).all()
        assert torch.equal(whole.compacted().states(layer), some.states(layer))
    with pytest.raises(Exception, match="stream alone"):
        some.states(1, "mlp")
    long = replace(whole, stream=whole.stream * 1e6).compacted()  # too long for 16 bits as it is
    torch.testing.assert_close(long.states(2), whole.states(2) * 1e6, rtol=2e-3, atol=1e3)


def engine_of(model: Model, **settings: Any) -> LocalEngine:
    return LocalEngine(Settings(any_model=True, **settings), load=lambda name, progress: model)


def asked(layer: int = 1, position: int = 2, **sample: Any) -> Job:
    params = {"layer": layer, "position": position}
    sample = {"corpus": "own", "n": 60, "compact": True, **sample}
    about = {"model": "tiny", "prompt": PROMPT, "prompts": OWN}
    return Job(view="logit_lens.nearest", params=params, sample=sample, **about)


def test_it_is_read_once_given_up_for_want_of_memory_and_read_again(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = tiny("llama"), list[int]()
    capture = model.capture_many
    monkeypatch.setattr(
        model, "capture_many", lambda some, **how: calls.append(len(some)) or capture(some, **how)
    )
    with engine_of(model, result_cache_bytes=0) as engine:
        first = engine.run(asked())
        n_calls, n_bytes = len(calls), engine.samples.n_bytes
        held = engine.samples.get(("tiny", asked().source, OWN))
        assert isinstance(held, Sample)
        assert n_bytes == held.n_bytes == len(held) * 4 * (2 * 32 + 4)
        engine.run(asked(layer=2))
        assert len(calls) == n_calls
        engine.samples.drop()  # as where the machine runs out of memory
        assert engine.samples.n_bytes == 0
        pd.testing.assert_frame_equal(engine.run(asked()), first)
        assert len(calls) == 2 * n_calls
    with engine_of(model) as engine:  # what another page has read is not read again
        whole = {"corpus": "own", "n": 60}
        engine.run(Job(view="corpus.about", model="tiny", sample=whole, prompts=OWN))
        n_calls = len(calls)
        pd.testing.assert_frame_equal(engine.run(asked()), first)
        assert len(calls) == n_calls


def test_what_does_not_fit_is_refused_in_a_sentence(tiny: Tiny) -> None:
    each = 4 * (2 * 32 + 4)
    with engine_of(tiny("llama"), sample_cache_bytes=each * 20) as engine:
        with pytest.raises(InputError, match="sample at most 20"):
            engine.run(asked(n=21))
        engine.run(asked(n=20))
    with (
        engine_of(tiny("llama"), sample_cache_bytes=each * 3) as engine,
        pytest.raises(InputError, match=r"there is room for 0 MB; choose a smaller model\."),
    ):
        engine.run(asked(n=20))


def test_others_are_answered_while_it_is_read_and_both_are_right(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between two blocks of a batch of passages; neither run hears of the other."""
    model = tiny("gemma2")
    begun, go_on = threading.Event(), threading.Event()
    quick = Job(
        view="predictions.next_token", model="tiny", prompt="a river", params={"position": 0}
    )
    with engine_of(model) as engine:
        expected = [engine.run(job) for job in (asked(), asked(layer=3), quick)]

    order = list[str]()
    capture, capture_many = model.capture, model.capture_many

    def one(prompt: str, edits: Any = ()) -> Trace:
        order.append(prompt)
        return capture(prompt, edits)

    def many(texts: list[str], **how: Any) -> list[Trace]:
        found = capture_many(texts, **how)
        order.append("passages")
        return found

    def hold(module: Any, given: tuple[Any, ...], *_: Any) -> None:
        if len(given[0]) > 1:
            begun.set()
            assert go_on.wait(PATIENCE)

    monkeypatch.setattr(model, "capture", one)
    monkeypatch.setattr(model, "capture_many", many)
    for block in model.architecture.blocks:
        monkeypatch.setattr(block, "_forward_pre_hooks", OrderedDict())
    with engine_of(model) as engine:
        engine.describe("tiny")
        model.architecture.blocks[0].register_forward_pre_hook(hold)
        waiting = [engine.submit(asked(), "ann"), engine.submit(asked(layer=3), "bob")]
        assert begun.wait(PATIENCE)
        waiting.append(engine.submit(quick, "eve"))
        go_on.set()
        for was, future in zip(expected, waiting, strict=True):
            pd.testing.assert_frame_equal(was, future.result(PATIENCE), rtol=1e-4, atol=1e-5)
    assert order[:3] == [PROMPT, "a river", "passages"]


# -- words and program ------------------------------------------------------------------------


def table(*cosines: float, usual: float = 0.5) -> pd.DataFrame:
    rows = [(2, int(sum(c < d for d in cosines)), c) for c in cosines]
    frame = pd.DataFrame(rows, columns=["layer", "rank", "cosine"])
    return frame.assign(
        usual=usual, before="On the bank of the", token=" river", after=" it stood."
    )


CELL = pd.DataFrame({"predicted": [" the"], "prob": [0.12]})


def test_the_sentence_says_what_is_nearest_beside_the_lens() -> None:
    said = words.nearest_reading(table(0.7, 0.6), 2, "“␣is” (position 3)", CELL)
    assert said == (
        "At layer 2 the state of “␣is” (position 3) is closest to that of “␣river” in “On the bank "
        "of the »␣river« it stood.” (cosine 0.70), while the lens reads “␣the” (12%). That is "
        "nearer than usual: half of the sampled states have one at 0.50 or more."
    )
    far = words.nearest_reading(table(-0.4, usual=0.5), 2, "“␣is” (position 3)", CELL)
    assert "(cosine −0.40)" in far
    assert "That is no nearer than usual" in far
    tied = words.nearest_reading(table(1.0, 1.0), 2, "“␣is” (position 3)", CELL, sink=True)
    assert "(cosine 1.00), and as close to others, while" in tied
    assert tied.endswith("no such state is among those compared with.")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_the_script_prints_the_same(
    tiny: Tiny, tiny_folder: Callable[[str], Path], name: str
) -> None:
    model = tiny(name)
    [paths] = modules(model).to_dict("records")
    given = {"texts": list(TEXTS), "n": 40, "seed": 3, "layer": 2, "k": 4}
    code = script(
        str(tiny_folder(name)), None, TEXTS[3][:12], k=3, position=2, nearest=given, **paths
    )
    assert "strata" not in code.replace(str(tiny_folder(name)), "")
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    some = drawn(model, n=40, seed=3, compact=False)
    frame = nearest(model.capture(TEXTS[3][:12]), some, 2, 2, k=4)
    found = pd.DataFrame(ran["nearest"], columns=["layer", "rank", "cosine", "text", "position"])
    assert found[["layer", "text", "position"]].equals(frame[["layer", "text", "position"]])
    np.testing.assert_allclose(found["cosine"], frame["cosine"], atol=1e-4)
    assert "Nearest to layer 2, position 2" in printed.getvalue()


# -- the bundled model ------------------------------------------------------------------------


def test_the_bundled_model_reads_on_where_the_lens_shows_noise(model: Model) -> None:
    """A country's name is near to names of places; what comes before an answer that is one, is near
    to words that stand before one, layers before the lens says anything of the kind."""
    names = ("lighthouses", "money", "porcelain", "suspension-bridges", "aluminium")
    some = drawn(model, tuple(passages()[name] for name in names))
    trace = model.capture("The capital of France is")
    place = nearest(trace, some, 12, 3)
    place = place[place["layer"] == 12]
    assert {"France", "Europe", "Turkey"} <= {token.strip() for token in place["token"]}
    before = nearest(trace, some, 27, 4)
    before = before[before["layer"] == 27]
    named = {"France", "Tacoma", "Cordouan", "Meissen", "western"}
    follows = [text.split()[0].strip(".,") for text in before["after"]]
    assert len(named & set(follows)) >= 3
    assert len(set(before["text"])) >= 3
    said = lens(model, trace, 1).set_index(["layer", "position"])["predicted"]
    assert said[27, 4].strip() in ("the", "a", "not")
