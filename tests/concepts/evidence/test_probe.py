"""A probe over a set: against plain scikit-learn on all dimensions, and on data that are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from strata.concepts.evidence import measures, words
from strata.concepts.evidence import probing as probes
from strata.concepts.evidence.probing import COLUMNS, LINEAR, MEANS, WORDS, folds, probe
from strata.concepts.evidence.script import script
from strata.errors import InputError
from strata.model import Model
from tests import small
from tests.concepts.said import faults
from tests.plain import Plain
from tests.scripts import output_of

N, DIMS, LAYERS = 24, 60, 3  # pairs, dimensions, layers above the embedding
PROMPTS = tuple(f"p{i}" for i in range(2 * N))
CONDITIONS = ("true", "false") * N
PAIRS = tuple(f"pair {i // 2}" for i in range(2 * N))


def states(effect: float, seed: int = 0) -> np.ndarray:
    """(L + 1, n, D) noise, a few dimensions of it huge, which pairs have in common; at layer 2 the
    conditions lie `effect` deviations apart along one direction."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((LAYERS + 1, 2 * N, DIMS))
    found += np.repeat(rng.standard_normal((LAYERS + 1, N, DIMS)), 2, axis=1)
    along = rng.standard_normal(DIMS)
    found[2, ::2] += effect * along / np.linalg.norm(along)
    found[:, :, 3] *= 300
    found[0] = found[0, 0]  # the same last token in all prompts
    return found


def runs(found: np.ndarray) -> Iterator:
    """Each prompt's run, of two tokens, of which the first has the negative state."""
    for row, prompt in enumerate(PROMPTS):
        last = torch.tensor(found[:, row], dtype=torch.float32)
        yield prompt, SimpleNamespace(hidden=torch.stack([-last / 3, last], dim=1))


def of(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    return frame[frame["method"] == method].set_index("layer")


def test_both_methods_are_what_plain_scikit_learn_gives_on_all_dimensions() -> None:
    found = states(2.0)[2]
    labels = np.where(np.array(CONDITIONS) == "true", 1.0, -1.0)
    given, asked, known = found[:30], found[30:], labels[:30]
    plain = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=10_000))
    wanted = plain.fit(given, known).decision_function(asked)
    scale = given.std(axis=0)
    rows = ((each - given.mean(axis=0)) / scale for each in (given, asked))
    both = np.stack([known, -known])
    logits = probes.by_logistic(*rows, both)
    assert np.allclose(logits, [wanted, -wanted], atol=2e-3 * np.abs(wanted).max())
    up, down = given[known > 0].mean(axis=0), given[known < 0].mean(axis=0)
    wanted = (asked - (up + down) / 2) @ (up - down)
    beyond = probes.by_means(given, asked, both)
    assert np.allclose(beyond / beyond[0, 0], np.stack([wanted, -wanted]) / wanted[0])


@pytest.mark.parametrize("paired", [True, False])
def test_counts_are_those_of_folds_done_one_by_one(paired: bool) -> None:
    found, pairs = states(1.0), PAIRS if paired else ()
    frame = probe(PROMPTS, runs(found), CONDITIONS, pairs)
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 2 * (LAYERS + 1) + 1
    fold = np.array(folds(CONDITIONS, pairs))
    assert sorted(np.bincount(fold)) == [8, 10, 10, 10, 10]
    labels = np.where(np.array(CONDITIONS) == "true", 1.0, -1.0)
    if paired:
        assert (fold[::2] == fold[1::2]).all()
    parts = [np.flatnonzero(fold == f) for f in range(5)]
    drawn = np.vstack([labels, probes._shuffled(labels, pairs, parts, 20)])
    if paired:
        assert (drawn[:, ::2] == -drawn[:, 1::2]).all()
    assert all((drawn[:, part].sum(axis=1) == labels[part].sum()).all() for part in parts)
    right = []
    for given in drawn[:6]:
        told = 0
        for part in parts:
            rest = np.setdiff1d(np.arange(2 * N), part)
            plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5_000))
            told += (
                plain.fit(found[2][rest], given[rest]).predict(found[2][part]) == given[part]
            ).sum()
        right.append(told)
    states64 = found[2].astype(np.float32)
    assert probes._right(states64, drawn[:6], parts)[0].tolist() == right
    assert of(frame, LINEAR)["right"][2] == right[0]
    assert of(frame, LINEAR)["accuracy"][2] == pytest.approx(right[0] / (2 * N))


@pytest.mark.parametrize("paired", [True, False])
def test_what_is_planted_is_found_where_it_is_and_nowhere_else(paired: bool) -> None:
    pairs = PAIRS if paired else ()
    frame = probe(PROMPTS, runs(states(5.0)), CONDITIONS, pairs)
    linear, means = of(frame, LINEAR), of(frame, MEANS)
    assert linear["accuracy"][2] > 0.9
    assert linear["as_good"][2] == 0
    assert (linear["as_good"][[0, 1, 3]] > 0).all()
    assert measures.best_probed(frame) == 2
    assert measures.probed(frame) == linear["accuracy"][2]
    assert measures.probed(frame, MEANS) == means["accuracy"].max()
    assert measures.shuffles_as_good(frame) == 0
    with pytest.raises(InputError, match="no method 'x'"):
        measures.probed(frame, "x")
    # All states are the same at layer 0, so each prompt is a tie: half right, whatever the labels.
    for method in (linear, means):
        assert method.loc[0, ["accuracy", "shuffled_low", "shuffled_high"]].tolist() == [0.5] * 3
    assert np.allclose(frame["selectivity"], frame["accuracy"] - frame["shuffled_mean"])
    # A dimension 300 times as large as the others rules raw means, not standardised states.
    assert means["accuracy"][2] < linear["accuracy"][2]
    turned = probe(PROMPTS, runs(-7.0 * states(5.0)), CONDITIONS, pairs)
    pd.testing.assert_frame_equal(turned, frame)
    other = tuple({"true": "false", "false": "true"}[each] for each in CONDITIONS)
    assert (
        probe(PROMPTS, runs(states(5.0)), other, pairs)["right"].tolist() == frame["right"].tolist()
    )


def test_what_was_held_out_has_no_part_in_the_fitting() -> None:
    found = states(6.0)
    frame = probe(PROMPTS, runs(found), CONDITIONS, PAIRS, held_out=20)
    row = of(frame, LINEAR).loc[2]
    assert (row["n"], row["n_shuffles"], row["as_good_here"]) == (20, 199, 0)
    assert row["right"] >= 18
    swapped = found.copy()
    swapped[:, 28::2], swapped[:, 29::2] = found[:, 29::2], found[:, 28::2]
    turned = of(probe(PROMPTS, runs(swapped), CONDITIONS, PAIRS, held_out=20), LINEAR)
    assert turned["right"][2] == 20 - row["right"]
    said = words.held_out_probe_reading(frame, 2, ("true", "false"), 1)
    assert not faults(said)
    assert "none of 199 shuffles does as well: it holds there too (p = 0.005)" in said
    said = words.held_out_probe_reading(frame, 1, ("true", "false"), 2)
    assert "no more than chance gives" in said
    assert "multiplied by 2, the hypotheses on this half" in said


def test_states_are_those_of_the_last_token_and_words_have_no_order(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain]
) -> None:
    model, plain = tiny("llama"), twin("llama")
    texts = ("the cat sat", "sat cat the", "a dog ran", "ran dog a")
    found = [plain.run(model.encode(text)).hidden.double().numpy() for text in texts]
    last, mean = probes._states(texts, iter([(t, model.capture(t)) for t in texts]))
    for row, hidden in enumerate(found):
        assert np.allclose(last[:, row], hidden[:, -1], rtol=1e-4, atol=1e-5)
        assert np.allclose(mean[row], hidden[0].mean(axis=0), rtol=1e-4, atol=1e-6)
    traces = iter([(t, model.capture(t)) for t in texts])
    frame = probe(texts, traces, ("told", "turned") * 2, ("1", "1", "2", "2"))
    alone = of(frame, WORDS)
    assert alone.index.tolist() == [0]
    assert (
        alone["right"][0] == 2 if np.allclose(mean[0], mean[1]) else alone["right"][0] in range(5)
    )
    assert len(frame) == 2 * (model.n_layers + 1) + 1


def test_what_cannot_be_told_apart_is_refused() -> None:
    def refused(match: str, conditions: tuple[str, ...], *more: object, **held: int) -> None:
        with pytest.raises(InputError, match=match):
            probe(PROMPTS[: len(conditions)], runs(states(0.0)), conditions, *more, **held)

    refused("two conditions apart; here are 3", ("a", "b", "c"))
    refused("at least two prompts of each", ("a", "b", "b"))
    refused("one prompt of each", ("a", "a", "b", "b"), ("1", "1", "2", "2"))
    refused("Some prompts must be left", ("a", "b"), held_out=2)
    with pytest.raises(InputError, match="other rows"):
        probe(PROMPTS, runs(states(0.0)), ("a", "b"))


def test_the_reading_says_what_words_alone_give_and_what_chance_does() -> None:
    frame = probe(PROMPTS, runs(states(5.0)), CONDITIONS, PAIRS)
    said = words.probe_reading(frame, ("true", "false"), "explored")
    assert not faults(said)
    best = of(frame, LINEAR)["right"][2]
    assert f"best at layer 2: it is right for {best:g} of 48 prompts in the explored half" in said
    assert "none of 20 shuffles does as well at any layer: more than chance gives" in said
    assert (
        "At layer 0, where the state is the last token's embedding, the probe is right for 24"
        in said
    )
    assert "(24 of 48), tell them apart no better than chance." in said
    told = frame.assign(as_good=0)
    said = words.probe_reading(told, ("true", "false"), "all")
    assert said.endswith("tell them apart too, so a probe need not read more than these.")
    none = words.probe_reading(frame.assign(as_good=1), ("true", "false"), "all")
    assert "1 of 20 shuffles does as well at any layer: no more than chance gives" in none


def test_the_program_prints_the_numbers_of_the_page(tmp_path: Path) -> None:
    from strata.model import load_model

    folder = str(small.save(tmp_path / "small"))
    model = load_model(folder, device="cpu")
    nouns = ("cat", "dog", "house", "river", "king", "road", "tree", "book", "door", "ship")
    cells = [
        (f"The {noun}{end}", condition, noun, "")
        for noun in nouns
        for condition, end in (("here", " is here"), ("there", " was there"))
    ]
    given, held = cells[:12], cells[12:]

    def told(rows: list[tuple[str, str, str, str]], held_out: int = 0) -> pd.DataFrame:
        prompts, conditions, pairs, _ = zip(*rows, strict=True)
        traces = ((prompt, model.capture(prompt)) for prompt in prompts)
        return probe(prompts, traces, conditions, pairs, held_out)

    code = script(
        folder,
        None,
        "",
        blocks="model.layers",
        rows=given,
        compared=("here", "there"),
        held_out=held,
        probe_layer=1,
    )
    assert "strata" not in re.sub(r"SOURCE = .*", "", code)
    said = output_of(code, tmp_path)
    wanted = [
        f"  layer {row.layer:2d}, {row.method}: {row.right:g} of 12, shuffled "
        f"{row.shuffled_mean * 12:.2f} ({row.shuffled_low * 12:g} to {row.shuffled_high * 12:g}), "
        for row in told(given).itertuples()
        if row.method != WORDS
    ]
    assert [line for line in wanted if line not in said] == []
    row = of(told(cells, len(held)), LINEAR).loc[1]
    assert f"  layer  1, linear probe: {row['right']:g} of 8, " in said
    assert f"p = {(1 + row['as_good_here']) / 200:.3f}" in said
