"""Attention sinks: one rule, found where they were planted and in the bundled model."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from strata.concepts import hidden_states, laminar_profile
from strata.concepts.hidden_states import words
from strata.concepts.script import SINK_RULE, SINKS
from strata.concepts.sinks import kept, note, sinks
from strata.corpus import sample
from strata.errors import InputError
from strata.model import Model
from strata.trace import Trace
from tests.concepts.by_hand import trace


def planted(*positions: int, begin: int = 0, tokens: int = 6, times: float = 50) -> Trace:
    """Random states of which those at some positions are huge from a layer on."""
    run = trace(layers=8, tokens=tokens, d_model=32)
    hidden = run.hidden.clone()
    hidden[begin:, list(positions)] *= times
    return replace(run, hidden=hidden)


@pytest.mark.parametrize("positions", [(), (0,), (0, 3), (2,)])
@pytest.mark.parametrize("begin", [0, 1, 4])
def test_planted_sinks_are_found(positions: tuple[int, ...], begin: int) -> None:
    run = planted(*positions, begin=begin)
    frame = sinks(run)
    assert list(frame) == ["position", "token", "layer", "norm", "typical", "ratio"]
    assert tuple(frame["position"]) == positions
    for row in frame.itertuples():
        norms = [float(np.linalg.norm(state)) for state in run.hidden[row.layer].double().numpy()]
        assert row.norm == pytest.approx(norms[row.position])
        assert row.ratio == pytest.approx(row.norm / row.typical)
        others = [norm for p, norm in enumerate(norms) if p not in positions]
        assert row.typical == pytest.approx(float(np.median(others)))
        assert row.token == run.tokens[row.position]


@pytest.mark.parametrize("positions", [(0, 1, 2, 3), (0, 1, 2, 3, 4, 5)])
def test_sinks_are_found_where_most_tokens_are(positions: tuple[int, ...]) -> None:
    assert tuple(sinks(planted(*positions, begin=4))["position"]) == positions


def test_states_that_all_grow_are_no_sinks() -> None:
    run = trace(layers=8, tokens=6, d_model=32)
    grown = run.hidden * torch.tensor([0.02, 1, 3, 9, 27, 81, 243, 729])[:, None, None]
    assert sinks(replace(run, hidden=grown)).empty
    assert sinks(replace(run, hidden=torch.zeros_like(grown))).empty


def test_the_rule_reads_no_further_than_ten_times() -> None:
    for times, found in ((9.9, 0), (10.1, 1)):
        hidden = torch.ones(3, 5, 4)
        hidden[1, 2] *= times
        assert len(sinks(replace(trace(layers=3, tokens=5, d_model=4), hidden=hidden))) == found


def test_the_bundled_model_has_a_sink_at_each_repeat_of_its_first_word(model: Model) -> None:
    for text, positions in (
        ("The capital of France is", (0,)),
        ("The The The The cat", (0, 1, 2, 3)),
        ("dog dog dog dog", (0, 1, 2, 3)),
        ("The", (0,)),
    ):
        assert tuple(sinks(model.capture(text))["position"]) == positions, text


def test_what_is_kept() -> None:
    run = planted(1, 3)
    assert kept(run, False, False).tolist() == [0, 1, 2, 3, 4, 5]
    assert kept(run, True, False).tolist() == [1, 2, 3, 4, 5]
    assert kept(run, False, True).tolist() == [0, 2, 4, 5]
    assert kept(run, True, True).tolist() == [2, 4, 5]


def test_a_profile_without_sinks() -> None:
    run = planted(0, 3)
    frame = laminar_profile.profile(run, skip_first=False, skip_sinks=True, center=True)
    left = [1, 2, 4, 5]
    wanted = []
    for layer, hidden in enumerate(run.hidden.double()):
        states = hidden[left] - hidden[left].mean(dim=0)
        for a, b in combinations(range(4), 2):
            cosine = torch.cosine_similarity(states[a], states[b], dim=0)
            wanted.append((layer, left[a], left[b], float(cosine)))
    np.testing.assert_allclose(frame.to_numpy(dtype=float), np.array(wanted), atol=1e-12)
    assert laminar_profile.profile(run).equals(laminar_profile.profile(run, skip_sinks=False))


def test_what_the_page_draws_leaves_out_the_same(model: Model) -> None:
    run = model.capture("The The The The cat sat on a mat")
    left = set(kept(run, False, True).tolist())
    assert 0 not in left
    choice = {"skip_first": False, "skip_sinks": True}
    points = laminar_profile.points(model, run, **choice)
    assert set(points["position_a"]) | set(points["position_b"]) == left
    a, b = sorted(left)[:2]
    path = laminar_profile.pair(model, run, a, b, **choice)["cosine"].to_numpy()
    drawn = points[(points["position_a"] == a) & (points["position_b"] == b)]["cosine"]
    np.testing.assert_allclose(path, drawn, atol=1e-12)
    numbers = laminar_profile.statistics(model, run, **choice)
    assert set(numbers["n_pairs"]) == {len(left) * (len(left) - 1) // 2}
    medians = points.groupby(["layer", "normed"])["cosine"].median()
    np.testing.assert_allclose(numbers["median"], medians, atol=1e-12)
    with pytest.raises(InputError, match="Position 0 is left out"):
        laminar_profile.pair(model, run, 0, b, **choice)


def test_outlier_dimensions_without_sinks() -> None:
    run = planted(0, 3)
    frame = hidden_states.outliers(run, 5, skip_first=False, skip_sinks=True)
    rest = run.hidden[:, [1, 2, 4, 5]].abs().amax(dim=(0, 1))  # (D,)
    assert frame["dim"].tolist() == rest.argsort(descending=True)[:5].tolist()
    np.testing.assert_allclose(frame["value"].abs(), rest[frame["dim"].tolist()], rtol=1e-6)
    everything = planted(*range(6), begin=4)
    assert hidden_states.outliers(everything, 5, skip_sinks=True).empty


@pytest.mark.parametrize("skip_sinks", [True, False])
def test_the_script_finds_the_same(skip_sinks: bool) -> None:
    for run in (planted(0, 3), planted(0, 1, 2, 3, begin=4), planted()):
        given = {
            "torch": torch,
            "raw": run.hidden,
            "tokens": run.tokens,
            "SKIP_FIRST": False,
            "SKIP_SINKS": skip_sinks,
        }
        exec(SINK_RULE + SINKS, given)
        assert given["sinks"] == sinks(run)["position"].tolist()
        assert given["left"] == kept(run, False, skip_sinks).tolist()


def test_the_note_names_them() -> None:
    shown = ["The", "␣cat", "␣sat", "."]
    frame = sinks(planted(0, 3))
    text = note(frame, shown, left_out=True)
    assert text.startswith("“The” (0) and “.” (3) are attention sinks by norm, up to ")
    assert text.endswith(", and left out.")
    assert note(frame[:1], shown).startswith("“The” (0) is an attention sink by norm, up to ")
    assert note(frame[:0], shown) == "No token of this prompt is an attention sink by its norm."


def test_reading_tells_a_sink_from_none() -> None:
    hidden = torch.ones(3, 4, 4)
    hidden[1:] *= 10
    text = "The median norm of all states{} is 2 at layer 0 and 20 at layer 2, since what blocks "
    text += "add piles up; "
    run = replace(trace(layers=3, tokens=4, d_model=4), hidden=hidden)
    assert words.reading(hidden_states.summary(run), sinks(run)) == (
        f"{text.format('')}no token is an attention sink."
    )
    hidden[1, 0] = 500
    run = replace(trace(layers=3, tokens=4, d_model=4), hidden=hidden)
    assert words.reading(hidden_states.summary(run), sinks(run)) == (
        f"{text.format(' but the sinks')}position 0, "
        "“<img␣src=x␣onerror=alert(1)>”, reaches 1,000 at layer 1, 50 times the others: by norm an "
        "attention sink."
    )


def test_long_states_that_are_no_sinks_are_told_too() -> None:
    """Columns that are bright in the figure, though below the tenfold of a sink."""
    hidden = torch.ones(3, 12, 4)
    hidden[1, 0], hidden[1, 4], hidden[2, 7] = 500, 8, 4
    run = replace(trace(layers=3, tokens=12, d_model=4), hidden=hidden)
    assert words.reading(hidden_states.summary(run), sinks(run)).endswith(
        "by norm an attention sink. Positions 4 and 7 are long at some layer too, up to 8.0 times "
        "the others, but not the tenfold that a sink is known by."
    )
    hidden[2, 7] = 1
    run = replace(run, hidden=hidden)
    said = words.reading(hidden_states.summary(run), sinks(run))
    assert said.endswith(
        "Position 4 is long at some layer too, up to 8.0 times the others, but not "
        "the tenfold that a sink is known by."
    )


def test_where_all_are_sinks_there_are_no_others() -> None:
    hidden = torch.ones(4, 3, 4)
    hidden[2:] = 1_000
    run = replace(trace(layers=4, tokens=3, d_model=4), hidden=hidden)
    frame = sinks(run)
    said = words.reading(hidden_states.summary(run), frame)
    assert "250 times what steady growth would give: by norm an attention sink, and so are " in said
    assert "others" not in said
    assert note(frame, ["a", "b", "c"], left_out=True) == (
        "All 3 tokens of this prompt are attention sinks by norm, and left out."
    )
    assert note(frame[:1], ["a"]) == "The only token, “a” (0), is an attention sink by norm."


def test_of_many_sinks_a_few_are_named() -> None:
    frame = sinks(planted(*range(8), tokens=20))
    said = note(frame, [f"t{i}" for i in range(20)])
    assert said.startswith(
        "“t0” (0), “t1” (1), “t2” (2), “t3” (3), “t4” (4) and 3 more tokens are "
    )


def test_reading_of_one_token() -> None:
    run = replace(trace(layers=3, tokens=1, d_model=4), hidden=torch.ones(3, 1, 4))
    assert words.reading(hidden_states.summary(run), sinks(run)) == (
        "The median norm of all states is 2 at layer 0 and 2 at layer 2; no token is an attention "
        "sink."
    )


def test_the_reading_of_norms_tells_of_all_sinks() -> None:
    run = planted(0, 3)
    assert words.reading(hidden_states.summary(run), sinks(run)).endswith((" is 3.", " is 0."))


def test_a_sample_leaves_them_out_wherever_they_are(model: Model) -> None:
    texts = ["The The The The cat sat on the mat.", "Dogs dogs dogs ran home.", "dog dog dog dog"]
    whole = sample(model, texts, n=100)
    found = [set(sinks(model.capture(text))["position"]) for text in texts]
    assert [len(each) > 1 for each in found] == [True, False, True]
    left = [
        row
        for row, (text, position) in enumerate(zip(whole.text, whole.position, strict=True))
        if position not in found[text]
    ]
    drawn = sample(model, texts, n=100, skip_sinks=True)
    assert drawn.n_sinks == len(whole) - len(left) == sum(len(each - {0}) for each in found)
    assert drawn.text.tolist() == whole.text[left].tolist()
    assert drawn.position.tolist() == whole.position[left].tolist()
    assert torch.equal(drawn.stream, whole.stream[:, left])
    assert drawn.writes is not None
    assert whole.writes is not None
    assert torch.equal(drawn.writes, whole.writes[:, :, left])
    with pytest.raises(InputError, match="Nearly all of these tokens are attention sinks"):
        sample(model, ["dog dog dog dog dog"], skip_sinks=True)
