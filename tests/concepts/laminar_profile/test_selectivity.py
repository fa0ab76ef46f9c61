"""Selectivity, against pairs counted one by one, on states with a known answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from strata.concepts.laminar_profile import selectivity, words
from strata.corpus import Sample
from strata.errors import InputError
from tests.concepts.gaussian_baseline.test_gaussian_baseline import noise, sample_of

WORDS = (" he", " she", " in", " on", " He", " tree")


def drawn(*states: np.ndarray) -> Sample:
    """A sample of these words, in four texts."""
    made = sample_of(*states, n_texts=4)
    tokens = {i: tuple(WORDS[(i + t) % 6] for t in range(len(of))) for i, of in made.tokens.items()}
    return replace(made, tokens=tokens)


def one_by_one(sample: Sample, layer: int, groups: list[list[str]]) -> tuple[float, float]:
    """Within and across, pair by pair."""
    places = list(zip(sample.text.tolist(), sample.position.tolist(), strict=True))
    spelled = [sample.tokens[i][p].strip().lower() for i, p in places]
    of = {word: n for n, group in enumerate(groups) for word in group} if groups else None
    texts = {w: {i for (i, _), s in zip(places, spelled, strict=True) if s == w} for w in spelled}
    rows = [r for r, w in enumerate(spelled) if (w in of if of else len(texts[w]) > 1)]
    x = sample.states(layer).double().numpy()[rows]
    x = x - x.mean(axis=0)
    found: tuple[list[float], list[float]] = ([], [])
    for a, b in combinations(range(len(rows)), 2):
        one, other = spelled[rows[a]], spelled[rows[b]]
        if places[rows[a]][0] == places[rows[b]][0] or (of and one == other):
            continue
        same = of[one] == of[other] if of else one == other
        found[not same].append(1 - cosine(x[a], x[b]))
    return float(np.mean(found[0])), float(np.mean(found[1]))


@pytest.mark.parametrize("groups", [[], [["he", "she"], ["in", "on"]]])
def test_against_pairs_one_by_one(groups: list[list[str]]) -> None:
    sample = drawn(noise(40, 12), -3 * noise(40, 12, seed=1))
    frame = selectivity(sample, [" ".join(words) for words in groups])
    for layer in (0, 1):
        row = frame.iloc[layer]
        wanted = one_by_one(sample, layer, groups)
        assert (row["within"], row["across"]) == pytest.approx(wanted, abs=1e-6)
    assert frame["difference"].to_numpy() == pytest.approx(frame["within"] - frame["across"])


def test_states_that_know_their_word_are_far_beyond_chance() -> None:
    sample = drawn(noise(80, 24))
    places = zip(sample.text.tolist(), sample.position.tolist(), strict=True)
    spelled = [sample.tokens[i][p].strip().lower() for i, p in places]
    centres = {word: 3 * noise(1, 24, seed=n)[0] for n, word in enumerate(sorted({*spelled}))}
    known = sample.stream[0] + torch.from_numpy(np.stack([centres[word] for word in spelled]))
    sample = replace(sample, stream=torch.stack([sample.stream[0], known]))
    noisy, told = selectivity(sample).itertuples()
    assert noisy.low <= noisy.difference <= noisy.high
    assert told.difference > 0.6
    assert told.high < 0.2
    assert noisy.n_as_large > told.n_as_large == 0
    swapped = selectivity(replace(sample, stream=sample.stream.flip(0)))
    assert swapped["n_as_large"].tolist() == [0, noisy.n_as_large], "of all layers together"
    assert "1 of 2 layers" in words.selectivity_reading(selectivity(sample), False)
    one = selectivity(sample, ["he in", "she on"])
    assert one["difference"][1] < 0.3, "groups that mean nothing: only single words are alike"


def planted(n_words: int, seed: int, n_texts: int = 12) -> Sample:
    """Words whose states hang together around a place at random, one of each in each text."""
    rng = np.random.default_rng(seed)
    word = np.tile(np.arange(n_words), n_texts)
    states = rng.normal(size=(n_words, 30))[word] + rng.normal(size=(len(word), 30))
    made = sample_of(states, n_texts=n_texts)
    names = tuple(f" w{n}" for n in range(n_words))
    text, position = np.repeat(np.arange(n_texts), n_words), word
    return replace(made, tokens=dict.fromkeys(range(n_texts), names), text=text, position=position)


def test_groups_that_mean_nothing_are_rarely_beyond_chance() -> None:
    """Of 10 words, 5 and 5, it may be beyond all 20 draws in 1 of 21 cases."""
    groups = [" ".join(f"w{n}" for n in range(a, a + 5)) for a in (0, 5)]
    rows = [selectivity(planted(10, seed), groups).iloc[0] for seed in range(60)]
    beyond = sum(row["difference"] > row["high"] for row in rows)
    assert 0 < beyond <= 8  # 2.9 on average; more than 8 in 3 of 1,000
    assert {row["n_draws"] for row in rows} == {20}


def test_few_words_can_be_grouped_in_few_ways() -> None:
    """Three and three: ten ways, of which nine are other ones, each counted once."""
    sample, words_of = planted(6, 1, n_texts=4), [f"w{n}" for n in range(6)]
    row = selectivity(sample, ["w0 w1 w2", "w3 w4 w5"]).iloc[0]
    ways = [{"w0", *two} for two in combinations(words_of[1:], 2)]
    found = [
        np.subtract(*one_by_one(sample, 0, [sorted(way), sorted({*words_of} - way)]))
        for way in ways
        if way != {"w0", "w1", "w2"}
    ]
    assert row["n_draws"] == 9
    assert (row["low"], row["high"]) == pytest.approx((min(found), max(found)), abs=1e-6)


def test_groups_that_are_not_there_have_none() -> None:
    frame = selectivity(drawn(noise(20, 4)), ["cow", "ox"])
    assert frame["difference"].isna().all()
    assert "no two states of one group" in words.selectivity_reading(frame, True)


def test_groups_are_apart_and_few() -> None:
    sample = drawn(noise(20, 4))
    with pytest.raises(InputError, match="in two"):
        selectivity(sample, ["he in", "HE"])
    with pytest.raises(InputError, match="200 words in all"):
        selectivity(sample, [" ".join(f"w{i}" for i in range(201))])
