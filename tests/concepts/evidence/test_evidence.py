"""Numbers by layer of a set of prompts, against plain transformers; and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from strata.concepts.evidence import compared, measures, tables, words
from strata.concepts.evidence.compared import ALL, EXPLORED, HELD_OUT, Hypothesis
from strata.concepts.views import concepts, curves
from strata.corpus.sets import read
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.trace import ModelCheck, Scale
from tests.concepts.said import faults
from tests.plain import Plain

PROMPTS = ("the cat sat on", "a dog", "the cat sat on", "on the mat we")
CONDITIONS, PAIRS = ("x", "y", "x", "y"), ("1", "1", "2", "2")
NORM, RANK = "Norm of the last state", "Rank of the expected word (0 is best)"


def runs(model: Model) -> list:
    """What the engine gives: each different prompt once."""
    return [(prompt, model.capture(prompt)) for prompt in dict.fromkeys(PROMPTS)]


@pytest.fixture(scope="module")
def table(tiny: Callable[[str], Model]) -> pd.DataFrame:
    model = tiny("llama")
    word = model.decode([40])[0].strip() or "the"
    return tables.values(model, PROMPTS, iter(runs(model)), CONDITIONS, PAIRS, (word,) * 4)


def test_every_curve_is_one_number_a_layer_of_each_prompt(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], table: pd.DataFrame
) -> None:
    model, plain = tiny("llama"), twin("llama")
    assert list(table.columns[:4]) == ["row", "condition", "pair", "layer"]
    assert set(table.columns[4:]) == {n for n in curves() if not tables.runs_more(n)}
    assert len(table) == len(PROMPTS) * (model.n_layers + 1)
    for row, prompt in enumerate(PROMPTS):
        here = table[table["row"] == row].set_index("layer")
        hidden = plain.run(model.encode(prompt)).hidden
        last = hidden[:, -1].double()
        assert np.allclose(here[NORM], last.norm(dim=-1), rtol=1e-5)
        assert np.allclose(here["Variance of the last state"], last.var(dim=-1), rtol=1e-5)
    assert np.allclose(table[NORM][table["row"] == 0], table[NORM][table["row"] == 2])


def test_what_the_lens_says_is_what_its_own_page_says(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture("the cat sat on the mat")
    statistics = concepts()["logit_lens"].statistics(model, trace, 7)
    last = statistics[statistics["position"] == len(trace.tokens) - 1]
    names = {"target_rank": "Rank of", "target_prob": "Probability of", "entropy": "Entropy of"}
    for column, begins in names.items():
        name = next(name for name in curves() if name.startswith(begins))
        given = {"target_id": 7} if tables.needs(name) else {}
        found = curves()[name][1](model, trace, **given)
        assert np.allclose(found["value"], last[column].astype(float), atol=1e-5), name
    name = next(name for name in curves() if name.startswith("Logit of"))
    both = model.unembed(trace.hidden[:, -1])[:, [7, 9]]
    found = curves()[name][1](model, trace, target_id=7, against_id=9)["value"]
    assert np.allclose(found, both[:, 0] - both[:, 1], atol=1e-5)
    assert curves()[name][1](model, trace, target_id=7, against_id=7)["value"].isna().all()


def test_tokens_of_a_prompt_are_compared_as_on_their_pages(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture("the cat sat on the mat and the dog sat on the cat")
    profile = concepts()["laminar_profile"].profile(trace, skip_first=False, skip_sinks=True)
    by_layer = profile.groupby("layer")["cosine"]
    found = curves()["Laminar median cosine"][1](model, trace)["value"]
    assert np.allclose(found, by_layer.median())
    found = curves()["Dimensions by pairs of tokens"][1](model, trace)["value"]
    known = found.notna()
    assert np.allclose(found[known], (1 / by_layer.var(ddof=0))[known])
    states = trace.hidden[-1].double().numpy()
    eigenvalues = np.linalg.eigvalsh(np.cov(states.T))
    wanted = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    found = curves()["Dimensions by variance (participation ratio)"][1](model, trace)["value"]
    assert found.iloc[-1] == pytest.approx(wanted)
    one = model.capture_row(trace.token_ids[:1])
    for name in ("Laminar median cosine", "Dimensions by variance (participation ratio)"):
        assert curves()[name][1](model, one)["value"].isna().all()


def test_writes_and_halved_blocks(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture("the cat sat")
    found = curves()["Norm of what attention adds"][1](model, trace)
    assert found["layer"].tolist() == list(range(1, model.n_layers + 1))
    assert np.allclose(found["value"], trace.attn[:, -1].double().norm(dim=-1))
    name = next(name for name in curves() if name.endswith("is halved"))
    halved = curves()[name][1](model, trace, target_id=5)
    edited = model.capture("the cat sat", (Scale(1, 0.5, "attn"),)).logits[-1].double()
    clean = trace.logits[-1].double()
    wanted = edited.log_softmax(-1)[5] - clean.log_softmax(-1)[5]
    assert halved.set_index("layer")["value"][2] == pytest.approx(float(wanted), abs=1e-4)
    assert tables._passes(100, 30, {"names": (name,)}) == 1_500
    assert tables._passes(100, 30, {"names": (NORM,)}) == 0


def test_words_that_are_no_token_leave_their_prompts_out(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    word = next(
        text
        for i in range(300)
        if (text := model.decode([i])[0].strip()).isalpha() and tables._token(model, text)
    )
    asked = (word, "", word, "entirely unknown words")
    found = tables.values(model, PROMPTS, iter(runs(model)), CONDITIONS, PAIRS, asked, (RANK, NORM))
    known = ~found[RANK].isna().to_numpy().reshape(4, -1).all(axis=1)
    assert known.tolist() == [True, False, True, False]
    with pytest.raises(InputError, match="fewer than two prompts of “x”"):
        compared.compared(found, RANK, ALL)
    with pytest.raises(InputError, match="no quantity 'colour'"):
        tables.values(model, PROMPTS, iter(()), CONDITIONS, names=("colour",))
    with pytest.raises(InputError, match="4 prompts and 1 rows"):
        tables.values(model, PROMPTS, iter(()), ("x",))


def test_what_a_model_refuses_is_missing_or_told(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")

    def refused(name: str) -> object:
        def curve(model: Model, trace: object) -> pd.DataFrame:
            raise ModelError("Not here.")

        return ("hidden_states", curve)

    known = {**curves(), "Refused": refused("Refused")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "curves", lambda: known)
        both = tables.values(model, PROMPTS, iter(runs(model)), CONDITIONS, names=("Refused", NORM))
        assert both["Refused"].isna().all()
        assert both[NORM].notna().all()
        with pytest.raises(ModelError, match="Not here"):
            tables.values(model, PROMPTS, iter(runs(model)), CONDITIONS, names=("Refused",))


def made(n: int = 24, n_layers: int = 6, shift: float = 3.0, paired: bool = True) -> pd.DataFrame:
    """A table of `values` in which the first condition is larger at layer 3."""
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((2 * n, n_layers))
    numbers[::2, 3] += shift
    names = [f"p{i}" if paired else "" for i in range(n)]
    return pd.DataFrame(
        {
            "row": np.repeat(np.arange(2 * n), n_layers),
            "condition": np.repeat(np.tile(["a", "b"], n), n_layers),
            "pair": np.repeat(names, 2 * n_layers),
            "layer": np.tile(np.arange(n_layers), 2 * n),
            "Q": numbers.ravel(),
        }
    )


@pytest.mark.parametrize("paired", [True, False])
def test_an_effect_is_found_in_one_half_and_tested_in_the_other(paired: bool) -> None:
    frame = made(paired=paired)
    explored, held = compared.compared(frame, "Q"), compared.compared(frame, "Q", HELD_OUT)
    rows = [{i for each in found.rows.values() for i in each} for found in (explored, held)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == set(range(48))
    if paired:
        assert all(a + 1 == b for a, b in explored.pair_rows)
    told = compared.differences(explored)
    assert told["layer"][told["survives"]].tolist() == [3]
    a, b = (explored.values[name] for name in "ab")
    assert np.allclose(told["difference"], a.mean(axis=0) - b.mean(axis=0))
    sentence = words.difference_reading(told, explored, ("a", "b"), EXPLORED)
    assert not faults(sentence)
    assert sentence.startswith("Layer 3 (1 of 6) differs more than chance would by itself in 1 of")
    assert "“a” is larger than “b”" in sentence
    for larger, holds in ((True, True), (False, False)):
        claim = Hypothesis(3, 3, larger)
        outcome = compared.outcome(held, claim, ("a", "b"))
        assert bool(outcome["p"][0] < 0.01) is holds
        said = words.outcome_reading(outcome, claim, held, "Q", ("a", "b"), 1)
        assert not faults(said)
        assert ("it holds there too" in said) is holds
        assert ("the other way round" in said) is not holds
    none = compared.outcome(held, Hypothesis(0, 1, True), ("a", "b"))
    said = words.outcome_reading(none, Hypothesis(0, 1, True), held, "Q", ("a", "b"), 3)
    assert "multiplied by 3, the hypotheses on this half" in said
    assert ("no more than chance" in said) is bool(none["p"][0] * 3 > 0.05)
    other = compared.differences(explored, ("b", "a"))
    assert np.allclose(other["difference"], -told["difference"])


def test_nothing_is_said_to_differ_where_nothing_does() -> None:
    found = compared.compared(made(shift=0.0), "Q", ALL)
    told = compared.differences(found)
    said = words.difference_reading(told, found, ("a", "b"), ALL)
    assert said.startswith("At none of 6 layers do “a” and “b” differ more than chance")
    assert "about 0.3 of 6 on average" in said
    assert not faults(said)
    assert not faults(words.means_reading(compared.means(found), "Q"))
    means = compared.means(found)
    assert words.means_reading(means, "Q").startswith("Q, at layer ")
    assert len(compared.lines(found)) == 48 * 6
    equal = made(shift=0.0).assign(Q=1.0)
    flat = compared.compared(equal, "Q", ALL)
    assert "the same at every layer" in words.means_reading(compared.means(flat), "Q")
    assert not compared.differences(flat)["survives"].any()


@pytest.mark.parametrize("paired", [True, False])
def test_where_nothing_differs_a_hypothesis_is_neither_held_nor_contradicted(paired: bool) -> None:
    """All equal, or apart by the same everywhere: no deviation to measure by, and no "-0"."""
    frame = made(shift=0.0, paired=paired)
    flat = compared.compared(frame.assign(Q=-2.5), "Q", HELD_OUT)
    outcome = compared.outcome(flat, Hypothesis(0, 1, True), ("a", "b"))
    said = words.outcome_reading(outcome, Hypothesis(0, 1, True), flat, "Q", ("a", "b"), 1)
    assert "there is no difference (95 % interval 0 to 0): that is no more than chance" in said
    assert not faults(said)
    shifted = frame.assign(Q=np.where(frame["condition"] == "a", -3.0, -1.0))
    apart = compared.compared(shifted, "Q", HELD_OUT)
    for larger, told in ((False, "it holds there too"), (True, "the other way round")):
        claim = Hypothesis(2, 2, larger)
        outcome = compared.outcome(apart, claim, ("a", "b"))
        said = words.outcome_reading(outcome, claim, apart, "Q", ("a", "b"), 1)
        assert "it is smaller by 2 (95 % interval 2 to 2)" in said
        assert told in said


def test_layers_without_a_number_are_passed_over_or_refused() -> None:
    frame = made()
    frame.loc[frame["layer"].isin((0, 2)), "Q"] = np.nan
    found = compared.compared(frame, "Q", HELD_OUT)
    some = compared.outcome(found, Hypothesis(0, 3, True))["difference"][0]
    a, b = (found.values[name][:, [1, 3]].mean() for name in "ab")
    assert some == pytest.approx(a - b)
    with pytest.raises(InputError, match="choose others"):
        compared.outcome(found, Hypothesis(2, 2, True))


def test_so_few_that_nothing_could_be_shown_are_told_so() -> None:
    frame = made()
    few = frame[frame["row"] < 8]  # two pairs of each half
    found = compared.compared(few, "Q")
    said = words.difference_reading(compared.differences(found), found, ("a", "b"), EXPLORED)
    assert said.startswith("2 pairs are too few")
    assert "in 50% of sets" in said
    held = compared.compared(few, "Q", HELD_OUT)
    claim = Hypothesis(3, 3, True)
    outcome = compared.outcome(held, claim)
    said = words.outcome_reading(outcome, claim, held, "Q", ("a", "b"), 1)
    assert "so few cannot show it" in said
    groups = compared.compared(made(paired=False).query("row < 16"), "Q", ALL)
    assert groups.least_p() == pytest.approx(2 / 12870)


def test_the_means_are_read_where_they_are_surest_apart() -> None:
    """Not where the gap is largest, and with no width at all it is there."""
    rows = [("a", 0, 5.0, 0.0, 10.0), ("b", 0, 9.0, 4.0, 14.0)]
    rows += [("a", 1, -2.0, -2.1, -1.9), ("b", 1, -1.0, -1.1, -0.9)]
    frame = pd.DataFrame(rows, columns=["condition", "layer", "mean", "low", "high"])
    assert "at layer 1, where" in words.means_reading(frame, "Q")
    frame.loc[frame["layer"] == 0, ["low", "high"]] = frame["mean"]
    assert "at layer 0, where" in words.means_reading(frame, "Q")


def test_what_is_left_out_is_counted_in_its_half() -> None:
    frame = made()
    frame.loc[frame["row"].isin((0, 5)), "Q"] = np.nan
    told = [
        words.left_out(compared.compared(frame, "Q", h), of_a_word=False)
        for h in (EXPLORED, HELD_OUT)
    ]
    assert sorted(told)[-1] in (
        "without 2 of 24 prompts, which have no such number",
        "without 4 of 24 prompts, which have no such number",
    )
    whole = compared.compared(frame, "Q", ALL)
    assert words.left_out(whole, of_a_word=True).startswith("without 4 of 48 prompts, which have")
    assert "not one token here" in words.left_out(whole, of_a_word=True)
    assert not words.left_out(compared.compared(made(), "Q"), of_a_word=True)


def test_a_quantity_that_one_prompt_refuses_is_missing_everywhere(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = tiny("llama"), []
    concept, real = curves()[NORM]

    def refuses(model: Model, trace: object) -> pd.DataFrame:
        asked.append(trace)
        if len(asked) > 1:
            raise ModelError("This prompt's writes do not add up.")
        return real(model, trace)

    known = {NORM: (concept, refuses), RANK: curves()[RANK]}
    monkeypatch.setattr(tables, "curves", lambda: known)
    found = tables.values(model, PROMPTS, iter(runs(model)), CONDITIONS, PAIRS, names=(NORM, RANK))
    assert len(asked) == 2
    assert found[NORM].isna().all()


def test_measures_say_what_they_cannot_read() -> None:
    frame, groups = made(), made(paired=False)
    with pytest.raises(InputError, match="no pair 'p99'"):
        measures.pair_difference(frame, "Q", "p99", 3)
    with pytest.raises(InputError, match="no pairs"):
        measures.share_of_pairs(groups, "Q", 3)
    frame.loc[frame["layer"] == 3, "Q"] = np.nan
    with pytest.raises(InputError, match="At layer 3 there is no 'Q'"):
        measures.share_of_pairs(frame, "Q", 3)
    some = np.where(frame["row"] % 4 < 2, frame["layer"] > 2, frame["layer"] < 2)
    scattered = frame.assign(Q=np.where(some, frame["Q"], np.nan)).query("layer != 3")
    scattered["layer"] = scattered.groupby("row").cumcount()
    with pytest.raises(InputError, match="at no layer"):
        measures.surest(scattered, "Q")


def test_measures_read_the_table_of_values() -> None:
    frame = made()
    assert measures.surviving(frame, "Q") == 1
    assert measures.seeming(frame, "Q") >= 1
    assert measures.surest(frame, "Q") == 3
    rows = frame.set_index(["row", "layer"])["Q"]
    assert measures.pair_difference(frame, "Q", "p4", 3) == pytest.approx(rows[8, 3] - rows[9, 3])
    assert measures.share_of_pairs(frame, "Q", 3) > 0.9
    assert measures.at_surest(frame, "Q") < 0.01


def test_more_conditions_are_compared_two_by_two() -> None:
    text = "prompt,condition\n" + "".join(
        f"{c} {i},{c}\n" for c in ("x", "y", "z") for i in range(4)
    )
    chosen = read(text)
    columns = chosen.columns()
    frame = pd.DataFrame(
        {
            "row": range(12),
            "condition": columns["conditions"],
            "pair": "",
            "layer": 0,
            "Q": np.arange(12.0),
        }
    )
    found = compared.compared(frame, "Q", ALL)
    assert compared.two(found) == ("x", "y")
    assert compared.differences(found, ("z", "x"))["difference"][0] == 8
    with pytest.raises(InputError, match="two different conditions"):
        compared.two(found, ("x", "x"))


def test_the_proof_is_of_the_worst_prompt() -> None:
    def measured(error: float) -> SimpleNamespace:
        return SimpleNamespace(check=ModelCheck(error, 1e-6, read_back_error=0.0))

    found = tables.check(iter([("a", measured(1e-5)), ("b", measured(2e-4))]))
    assert found["error"].tolist() == [2e-4, 1e-6, 0.0]
