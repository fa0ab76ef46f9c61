"""The shipped passages, a learner's own text, and samples of states against single captures."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts import gaussian_baseline, sampled
from strata.corpus import sample, states
from strata.corpus.passages import LARGEST_FILE, LONGEST_TEXT, decoded, fitting, passages, split
from strata.engine import Job, LocalEngine, Settings
from strata.errors import CancelledError, InputError, ModelError
from strata.model import Model

TEXTS = (
    "The cat sat on the mat, and the dog ran.",
    "The river is wide where the stones are round and the water is slow.",
    "She said that the answer was in the drawer.",
    "A dog.",
)

# -- the shipped passages ---------------------------------------------------------------------


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def test_passages_are_many_short_and_named() -> None:
    assert len(passages()) >= 60
    assert all(re.fullmatch("[a-z-]+", name) for name in passages())
    assert all("\n" not in text and text == text.strip() for text in passages().values())
    assert all(text.endswith(".") for text in passages().values())


def test_passages_share_no_eight_words() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name, text in passages().items():
        listed = words(text)
        for start in range(len(listed) - 7):
            phrase = tuple(listed[start : start + 8])
            assert seen.setdefault(phrase, name) == name, " ".join(phrase)


def test_passages_in_tokens_of_the_bundled_model(model: Model) -> None:
    lengths = {name: len(model.encode(text)) for name, text in passages().items()}
    assert sum(lengths.values()) >= 5_000
    assert {name: n for name, n in lengths.items() if not 80 <= n <= 130} == {}
    assert 80 <= lengths["neural-networks"] <= 100


# -- a learner's own text ---------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_of_each_encoding(encoding: str) -> None:
    assert decoded("Größe 大きさ".encode(encoding)) == ("Größe 大きさ", "")


def test_big_endian_utf16() -> None:
    assert decoded(b"\xfe\xff" + "naïve".encode("utf-16-be")) == ("naïve", "")


def test_what_is_not_utf8_is_read_as_windows_text_and_said_so() -> None:
    text, note = decoded("“Größe” – 5 €".encode("cp1252"))
    assert text == "“Größe” – 5 €"
    assert "Windows text" in note
    assert decoded(b"a\x81b")[0] == "a\ufffdb"  # a byte that stands for nothing there


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no text"),
        (b" \n\t", "no text"),
        (b"\x89PNG\x00\x01", "not a text file"),
        (b"a" * (LARGEST_FILE + 1), "larger than 2 MB"),
    ],
)
def test_files_without_text_or_too_large_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        decoded(content)


def test_a_long_file_is_cut_and_said_so() -> None:
    text, note = decoded(b"word " * 50_000)
    assert len(text) == LONGEST_TEXT
    assert "first 200,000 of its 250,000" in note


def test_split_keeps_sentences_and_every_word() -> None:
    text = "\n\n".join(passages().values())
    pieces = split(text)
    assert words(" ".join(pieces)) == words(text)
    assert all(len(piece) <= 600 and piece.endswith(".") for piece in pieces)
    assert np.mean([len(piece) for piece in pieces]) > 400


def test_split_joins_lines_of_a_paragraph_and_lines_of_dialogue() -> None:
    assert split("One line\nand the next.\n\n“Yes.”\n\n“No.”") == [
        "One line and the next. “Yes.” “No.”"
    ]


def test_split_cuts_only_what_is_too_long() -> None:
    assert split("word " * 300) == [("word " * 120).strip()] * 2 + [("word " * 60).strip()]
    assert [len(piece) for piece in split("x" * 1_300)] == [600, 600, 100]
    assert split("大きい。" * 200, 600) == split("大きい。" * 200)
    assert all(len(piece) <= 600 for piece in split("大きい。" * 200))
    assert split("  \n\n ") == []


def test_fitting_halves_what_takes_too_many_tokens(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    text = "the cat " * 100
    with pytest.raises(InputError):
        model.encode(text)
    pieces = fitting(model, [text, TEXTS[0]])
    assert "".join(pieces[:-1]) == text
    assert pieces[-1] == TEXTS[0]
    assert all(len(model.encode(piece)) <= model.prompt_limit for piece in pieces)


def test_fitting_refuses_what_no_length_cures(tiny: Callable[[str], Model]) -> None:
    with pytest.raises(InputError, match="Unicode"):
        fitting(tiny("llama"), ["\ud800" * 1_000])


# -- sampling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon-7b", "bloom", "granite", "gemma2"])
@pytest.mark.parametrize("skip_first", [True, False])
def test_states_are_those_of_single_captures(
    tiny: Callable[[str], Model], name: str, skip_first: bool
) -> None:
    model = tiny(name)
    drawn = sample(model, TEXTS, n=30, seed=3, skip_first=skip_first)
    assert len(drawn) == 30
    assert len(set(zip(drawn.text.tolist(), drawn.position.tolist(), strict=True))) == 30
    assert (drawn.position.min() == 0) == (not skip_first)
    for row, (text, position) in enumerate(zip(drawn.text, drawn.position, strict=True)):
        trace = model.capture(TEXTS[text])
        assert drawn.tokens[text] == trace.tokens
        for layer in range(model.n_layers + 1):
            single = trace.hidden[layer, position]
            close = {"rtol": 0, "atol": 1e-5 * float(single.abs().max())}
            torch.testing.assert_close(drawn.states(layer)[row], single, **close)
            for part in ("attn", "mlp") if layer else ():
                write = getattr(trace, part)[layer - 1, position]
                torch.testing.assert_close(drawn.states(layer, part)[row], write, **close)
    assert drawn.check.ok


def test_the_seed_decides(tiny: Callable[[str], Model]) -> None:
    first, again, other = (sample(tiny("llama"), TEXTS, n=20, seed=s) for s in (1, 1, 2))
    assert (first.text == again.text).all()
    assert (first.position == again.position).all()
    torch.testing.assert_close(first.stream, again.stream, rtol=0, atol=0)
    assert (first.text != other.text).any() or (first.position != other.position).any()


def test_positions_are_in_random_order_so_that_halves_share_texts(
    tiny: Callable[[str], Model],
) -> None:
    drawn = sample(tiny("llama"), TEXTS, n=40)
    assert set(drawn.text[:20]) & set(drawn.text[20:])


def test_fewer_positions_than_asked_for_are_all_used(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    drawn = sample(model, TEXTS)
    n_tokens = sum(len(model.encode(text)) for text in TEXTS)
    assert (len(drawn), drawn.n_available, drawn.n_asked) == (n_tokens - 4,) * 2 + (2_000,)
    assert sorted(drawn.tokens) == [0, 1, 2, 3]


def test_of_many_texts_some_are_drawn_first(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    texts = [f"{TEXTS[2]} {'the cat ' * (i % 5)}" for i in range(150)]
    drawn = sample(model, texts, n=200)
    assert len(drawn.tokens) <= 100 < len(texts)
    assert max(drawn.tokens) >= 100  # not the first ones
    assert drawn.texts == tuple(texts)
    assert len(sample(model, texts, n=3_000).tokens) > 100  # a hundred do not hold as many


def test_positions_are_sampled_evenly(tiny: Callable[[str], Model]) -> None:
    texts = [TEXTS[0]] * 50
    counts = np.zeros(len(tiny("llama").encode(TEXTS[0])))
    for seed in range(5):
        drawn = sample(tiny("llama"), texts, n=100, seed=seed)
        np.add.at(counts, drawn.position, 1)
    assert counts[0] == 0
    assert counts[1:].min() > 0.4 * counts[1:].mean()


@pytest.mark.parametrize(("n", "texts"), [(3, TEXTS), (10_001, TEXTS)])
def test_sizes_out_of_range_are_refused(
    tiny: Callable[[str], Model], n: int, texts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="4 to 10,000"):
        sample(tiny("llama"), texts, n=n)


@pytest.mark.parametrize("texts", [[], ["cat"], ["cat"] * 20])
def test_too_little_text_is_refused(tiny: Callable[[str], Model], texts: list[str]) -> None:
    model = tiny("llama")
    if sum(len(model.encode(text)) - 1 for text in texts) >= 4:
        pytest.skip("this tokenizer makes more of it")
    with pytest.raises(InputError, match="few sentences"):
        sample(model, texts)


def test_layers_and_parts_out_of_range(tiny: Callable[[str], Model]) -> None:
    drawn = sample(tiny("llama"), TEXTS, n=8)
    for layer, part in ((4, "stream"), (-1, "stream"), (0, "attn"), (4, "mlp")):
        with pytest.raises(InputError, match="layers are"):
            drawn.states(layer, part)
    with pytest.raises(InputError, match="stream, attn or mlp"):
        drawn.states(1, "norm")


def test_a_model_without_trusted_writes_has_its_stream(tiny: Callable[[str], Model]) -> None:
    drawn = sample(tiny("opt-post_norm"), TEXTS, n=8)
    assert drawn.parts == ("stream",)
    assert drawn.states(2).shape[0] == 8
    with pytest.raises(ModelError, match="writes"):
        drawn.states(1, "mlp")
    assert not sampled.check(drawn)["ok"][1]
    assert sampled.check(drawn)["reason"][1]


def test_progress_is_told_and_may_stop_the_reading(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = tiny("llama"), []
    monkeypatch.setattr(states, "_BATCH_TOKENS", 30)
    sample(model, TEXTS, n=30, progress=lambda *words: told.append(words))
    assert told[0] == (0.0, "Reading text 1 of 4")
    assert len(told) > 1
    assert all(a[0] < b[0] < 1 for a, b in itertools.pairwise(told))

    def stop(fraction: float, message: str) -> None:
        if fraction:
            raise CancelledError("stopped")

    calls: list[int] = []
    capture = model.capture_many
    monkeypatch.setattr(
        model, "capture_many", lambda some, **how: calls.append(len(some)) or capture(some, **how)
    )
    with pytest.raises(CancelledError):
        sample(model, TEXTS, n=30, progress=stop)
    assert len(calls) == 1


def test_batches_hold_what_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_BATCH_TOKENS", 30)
    lengths = {0: 10, 1: 5, 2: 30, 3: 7, 4: 40}
    batches = states.first_batches(lengths, 0)
    assert batches == [[1, 3, 0], [2], [4]]
    assert [len(states.first_batches(lengths, read)) for read in (1, 3, 4, 5, 9)] == [1, 1, 2, 3, 3]


# -- views and the engine ---------------------------------------------------------------------


def test_views_of_a_sample(tiny: Callable[[str], Model]) -> None:
    model = tiny("granite")
    drawn = sample(model, TEXTS, n=30)
    [row] = sampled.about(model, drawn).itertuples()
    assert (row.n, row.n_asked, row.n_texts, row.writes) == (30, 30, 4, True)
    assert row.n_tokens - 4 == row.n_available
    assert (row.attn, row.mlp) == ('["self_attn"]', '["mlp"]')
    assert row.write_scale == pytest.approx(0.37, rel=1e-3)
    frame = sampled.texts(drawn)
    assert list(frame) == ["text", "n_tokens", "n_sampled", "content"]
    assert frame["n_sampled"].sum() == 30
    assert tuple(frame["content"]) == TEXTS
    assert frame["n_tokens"].tolist() == [len(model.encode(text)) for text in TEXTS]
    assert sampled.check(drawn)["ok"].all()


def engine_of(model: Model, **settings: Any) -> LocalEngine:
    return LocalEngine(Settings(any_model=True, **settings), load=lambda name, progress: model)


def ask(engine: LocalEngine, view: str = "summary", **fields: Any) -> pd.DataFrame:
    params = fields.pop("params", {"layer": 1})
    view = f"gaussian_baseline.{view}"
    return engine.run(Job(view=view, model="tiny", params=params, **fields))


@pytest.fixture
def counted(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> tuple[Model, list[int]]:
    """A tiny model, and how many texts each of its batches had."""
    model, calls = tiny("llama"), []
    capture = model.capture_many

    def count(texts: list[str], **how: bool) -> list[Any]:
        calls.append(len(texts))
        return capture(texts, **how)

    monkeypatch.setattr(model, "capture_many", count)
    return model, calls


OWN = (" ".join(TEXTS) * 3,)


def test_texts_are_read_once_for_all_views_and_learners(counted: tuple[Model, list[int]]) -> None:
    model, calls = counted
    asked = {"corpus": "own", "n": 50}
    with engine_of(model) as engine:
        first = ask(engine, sample=asked, prompts=OWN)
        n_calls = len(calls)
        for layer in range(4):
            ask(engine, "histogram", sample=asked, prompts=OWN, params={"layer": layer})
        ask(engine, "glance", sample=dict(reversed(asked.items())), prompts=OWN, params={})
        assert len(calls) == n_calls
        assert engine.samples.n_bytes == 50 * 10 * 32 * 4
        ask(engine, sample=asked | {"seed": 1}, prompts=OWN)
        assert len(calls) > n_calls
    drawn = sample(model, fitting(model, split(OWN[0])), n=50)
    pd.testing.assert_frame_equal(first, gaussian_baseline.summary(drawn, 1))


def test_the_shipped_passages_are_the_default(tiny: Callable[[str], Model]) -> None:
    """Of one that is longer than the model reads, its beginning."""
    model = tiny("gpt2")
    with engine_of(model) as engine:
        told = engine.run(Job(view="corpus.texts", model=model.name, sample={"n": 10}))["content"]
    for text, shipped in zip(told, passages().values(), strict=True):
        assert shipped.startswith(text)
        assert model.prompt_limit / 4 < len(model.encode(text)) <= model.prompt_limit


def test_what_does_not_fit_the_cache_is_refused(tiny: Callable[[str], Model]) -> None:
    each = 10 * 32 * 4
    with engine_of(tiny("llama"), sample_cache_bytes=each * 20) as engine:
        with pytest.raises(InputError, match="sample at most 20"):
            ask(engine, sample={"corpus": "own", "n": 21}, prompts=OWN)
        ask(engine, sample={"corpus": "own", "n": 20}, prompts=OWN)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"corpus": "wikipedia"}, "There is no text 'wikipedia'; choose one of strata, own"),
        ({"n": 3}, "'n' should be"),
        ({"n": 20.5}, "'n' should be"),
        ({"seed": -1}, "'seed' should be"),
        ({"size": 3}, "no field 'size'"),
    ],
)
def test_a_wrong_sample_is_refused_with_its_field(
    tiny: Callable[[str], Model], asked: dict[str, Any], reason: str
) -> None:
    with engine_of(tiny("llama")) as engine, pytest.raises(InputError, match=reason):
        ask(engine, sample=asked)


def test_own_text_may_be_longer_than_a_prompt_but_not_endless(
    tiny: Callable[[str], Model],
) -> None:
    with engine_of(tiny("llama"), prompt_characters=50, sample_characters=300) as engine:
        ask(engine, sample={"corpus": "own", "n": 10}, prompts=(OWN[0][:300],))
        for texts in ((OWN[0][:301],), (OWN[0][:200],) * 2):
            with pytest.raises(InputError, match="limit is 300"):
                ask(engine, sample={"corpus": "own", "n": 10}, prompts=texts)
        with pytest.raises(InputError, match="limit is 50"):
            ask(engine, prompt="x" * 51)


def test_nothing_of_a_text_stays_when_it_is_pushed_out(counted: tuple[Model, list[int]]) -> None:
    model, calls = counted
    with engine_of(model, sample_cache_bytes=50 * 10 * 32 * 4, result_cache_bytes=0) as engine:
        for seed in (0, 1, 0):
            before = len(calls)
            ask(engine, sample={"corpus": "own", "n": 50, "seed": seed}, prompts=OWN)
            assert len(calls) > before
            assert len(engine.samples) == 1
