"""Predictions, against SciPy on hand-built logits and plain transformers on real models."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import entropy as scipy_entropy
from transformers import AutoTokenizer

from strata.concepts.predictions import (
    CONCEPT,
    chances,
    entropy,
    factual,
    followed,
    next_token,
    surprisal,
    tables,
    words,
)
from strata.concepts.predictions.script import script
from strata.errors import InputError
from strata.model import Model
from tests import tiny as tiny_models
from tests.concepts.by_hand import bundled_folder, decoder, trace, with_logits
from tests.plain import Plain
from tests.scripts import output_of

FRANCE = "The capital of France is"


# -- next_token -------------------------------------------------------------------------------


def test_next_token_is_the_head_of_the_sorted_distribution() -> None:
    run = trace(vocabulary=50)
    expected = log_softmax(run.logits.double().numpy(), axis=-1)[2]
    order = np.argsort(-expected)[:7]
    frame = next_token(decoder(), run, 2, k=7)
    assert list(frame) == ["rank", "token_id", "predicted", "prob", "logprob"]
    assert frame["rank"].tolist() == list(range(7))
    assert frame["token_id"].tolist() == order.tolist()
    assert frame["predicted"].tolist() == [f"t{i}" for i in order]
    np.testing.assert_allclose(frame["logprob"], expected[order], rtol=1e-12)
    np.testing.assert_allclose(frame["prob"], np.exp(expected[order]), rtol=1e-12)


def test_all_v_probabilities_sum_to_one() -> None:
    frame = next_token(decoder(), trace(vocabulary=50), 0, k=50)
    assert len(frame) == 50
    assert frame["prob"].sum() == pytest.approx(1, abs=1e-12)


def test_chances_of_named_tokens_are_their_rows_among_all() -> None:
    run = trace(vocabulary=50)
    every = next_token(decoder(), run, 1, k=50).set_index("token_id", drop=False)
    frame = chances(decoder(), run, 1, [49, 0, 7])
    assert frame["token_id"].tolist() == [49, 0, 7]
    wanted = every.loc[[49, 0, 7]].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, wanted[list(frame)])
    assert list(chances(decoder(), run, 1, [])) == list(frame)
    with pytest.raises(InputError, match="Token 50 does not exist"):
        chances(decoder(), run, 1, [50])


def test_twenty_rows_unless_told() -> None:
    assert len(next_token(decoder(), trace(), 0)) == 20


def test_equal_logits_share_a_rank_and_stand_in_order_of_id() -> None:
    run = with_logits(torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0, 2.0]]))
    frame = next_token(decoder(), run, 0, k=6)
    assert frame["token_id"].tolist() == [1, 3, 2, 4, 5, 0]
    assert frame["rank"].tolist() == [0, 0, 2, 2, 2, 5]


def test_impossible_tokens_have_probability_zero() -> None:
    run = with_logits(torch.tensor([[0.0, -math.inf, 0.0]]))
    assert next_token(decoder(), run, 0, k=3)["prob"].tolist() == [0.5, 0.5, 0.0]
    assert entropy(run, 0)["entropy"][0] == pytest.approx(math.log(2))


@pytest.mark.parametrize("position", [-1, 6, 10**9])
def test_a_position_out_of_range_names_the_range(position: int) -> None:
    for ask in (
        lambda: next_token(decoder(), trace(tokens=6), position),
        lambda: followed(decoder(), trace(tokens=6), position),
        lambda: entropy(trace(tokens=6), position),
    ):
        with pytest.raises(InputError, match="0 to 5"):
            ask()


@pytest.mark.parametrize("position", ["1", 1.0, None])
def test_a_position_that_is_no_whole_number_is_refused(position: Any) -> None:
    with pytest.raises(InputError, match="whole number"):
        next_token(decoder(), trace(), position)


@pytest.mark.parametrize("k", [0, -3, 51])
def test_k_is_from_one_to_v(k: int) -> None:
    with pytest.raises(InputError, match="from 1 to 50"):
        next_token(decoder(), trace(vocabulary=50), 0, k=k)


# -- surprisal --------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 120, 5_000_000])  # logits: chunks of 1, 2 and all rows
def test_surprisal_reads_the_row_before(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(tables, "_LOGITS_AT_ONCE", at_once)
    run = trace(tokens=6, vocabulary=50)
    logits = run.logits.double().numpy()
    expected = log_softmax(logits, axis=-1)
    frame = surprisal(decoder(), run)
    assert list(frame) == ["position", "token", "logprob", "rank", "entropy"]
    assert frame["position"].tolist() == list(range(6))
    assert frame["token"].tolist() == list(run.tokens)
    assert frame[["logprob", "rank", "entropy"]].iloc[0].isna().all()
    for t, token_id in enumerate(run.token_ids.tolist()[1:], start=1):
        assert frame["logprob"][t] == pytest.approx(expected[t - 1, token_id], rel=1e-12)
        assert frame["rank"][t] == (logits[t - 1] > logits[t - 1, token_id]).sum()
        assert frame["entropy"][t] == pytest.approx(scipy_entropy(np.exp(expected[t - 1])))


def test_surprisal_of_one_token_has_one_row_without_numbers() -> None:
    frame = surprisal(decoder(), trace(tokens=1))
    assert len(frame) == 1
    assert frame[["logprob", "rank", "entropy"]].isna().all(axis=None)


def test_followed_agrees_with_surprisal() -> None:
    run = trace()
    scored = surprisal(decoder(), run)
    for position in range(5):
        [row] = followed(decoder(), run, position).itertuples()
        assert row.position == position + 1
        assert row.token == run.tokens[position + 1]
        assert row.rank == scored["rank"][position + 1]
        assert -row.surprisal == pytest.approx(scored["logprob"][position + 1], rel=1e-12)
        assert row.prob == pytest.approx(math.exp(-row.surprisal), rel=1e-12)


def test_nothing_follows_the_last_position() -> None:
    run = trace(tokens=6)
    frame, other = followed(decoder(), run, 5), followed(decoder(), run, 0)
    assert frame.empty
    assert frame.dtypes.equals(other.dtypes)


def test_entropy_from_certain_to_undecided() -> None:
    run = with_logits(torch.stack([torch.zeros(8), torch.tensor([1e4, *[0.0] * 7])]))
    [even] = entropy(run, 0).itertuples()
    [certain] = entropy(run, 1).itertuples()
    assert (even.entropy, even.choices) == pytest.approx((math.log(8), 8))
    assert (certain.entropy, certain.choices) == pytest.approx((0, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_read_exactly(dtype: torch.dtype) -> None:
    run = trace()
    half = with_logits(run.logits.to(dtype), run.token_ids.tolist())
    expected = log_softmax(half.logits.double().numpy(), axis=-1)
    scored = surprisal(decoder(), half)
    assert scored["logprob"][1] == pytest.approx(expected[0, run.token_ids[1]], rel=1e-12)


# -- on models --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(bundled: Plain) -> tuple[Any, Any]:
    """The bundled model in plain transformers: tokenizer, network."""
    return AutoTokenizer.from_pretrained(bundled_folder()), bundled.network


def test_paris(model: Model) -> None:
    run = model.capture(FRANCE)
    best = next_token(model, run, 4, k=3).iloc[0]
    assert best["predicted"] == " Paris"
    assert best["prob"] == pytest.approx(0.77, abs=0.005)


def test_bundled_model_against_plain_transformers(model: Model, plain: tuple[Any, Any]) -> None:
    tokenizer, network = plain
    ids = tokenizer(FRANCE, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = network(ids).logits[0].double().numpy()
    expected = log_softmax(logits, axis=-1)
    run = model.capture(FRANCE)
    scored = surprisal(model, run)
    chosen = [expected[t - 1, i] for t, i in enumerate(ids[0].tolist()) if t]
    np.testing.assert_allclose(scored["logprob"][1:], chosen, atol=1e-4)
    np.testing.assert_allclose(
        scored["entropy"][1:], scipy_entropy(np.exp(expected[:-1]), axis=-1), atol=1e-4
    )
    top = next_token(model, run, 2, k=10)
    order = np.argsort(-expected[2])[:10]
    assert top["token_id"].tolist() == order.tolist()
    assert top["predicted"].tolist() == [tokenizer.decode([i]) for i in order]
    np.testing.assert_allclose(top["logprob"], expected[2, order], atol=1e-4)


def test_factual_answers(model: Model) -> None:
    prompts = [FRANCE, "The opposite of hot is", "The author of Hamlet is William"]
    frame = factual(model, prompts)
    assert list(frame) == ["prompt", "predicted", "prob"]
    assert frame["prompt"].tolist() == prompts
    assert frame["predicted"].tolist() == [" Paris", " cold", " Shakespeare"]
    np.testing.assert_allclose(frame["prob"], [0.77, 0.68, 0.96], atol=0.006)


def test_factual_without_prompts_keeps_its_columns(model: Model) -> None:
    frame = factual(model, [])
    assert frame.empty
    assert frame.dtypes.equals(factual(model, ["Hello"]).dtypes)


# -- readings and measures --------------------------------------------------------------------


def test_reading(model: Model) -> None:
    run = model.capture(FRANCE)
    text = words.reading(FRANCE, next_token(model, run, 4), entropy(run, 4))
    assert text == (
        "After “The capital of France is”, the model puts 77% on “␣Paris”; its entropy, "
        "1.48 nats, is that of 4.4 equally likely tokens. The likeliest token alone holds at least "
        "half of the probability, 10 hold 90%."
    )


@pytest.mark.parametrize(
    ("probs", "said"),
    [
        ([0.95, 0.01], "The likeliest token alone holds at least 90% of the probability."),
        (
            [0.6, 0.2, 0.1],
            "The likeliest token alone holds at least half of the probability, 3 hold 90%.",
        ),
        (
            [0.3, 0.3, 0.1],
            "The 2 likeliest tokens hold half of the probability, the 3 here hold 70%.",
        ),
        ([0.3, 0.25], "The 2 likeliest tokens hold half of the probability."),
        ([0.03, 0.02], "The 2 likeliest tokens hold 5% of the probability."),
    ],
)
def test_how_many_tokens_hold_half(probs: list[float], said: str) -> None:
    assert words.held(pd.DataFrame({"prob": probs})) == said


def test_what_a_lesson_asks_is_said_under_the_figure(model: Model) -> None:
    """The count and the share that lesson 1 asks for can be read, once they may be seen."""
    run = model.capture("violet anchor pepper seven. violet anchor pepper seven. violet anchor")
    top, scored = next_token(model, run, len(run.tokens) - 1, 50), surprisal(model, run)
    share = CONCEPT.measures["late_share"](scored)
    assert f"holds {share:.0%} of all surprisal" in words.surprisal_reading(scored)
    count = CONCEPT.measures["n_to_reach"](top)
    assert (f"The {count} likeliest" if count > 1 else "token alone holds") in words.held(top)


def test_readings_show_hostile_tokens_inert() -> None:
    run = trace()
    top = next_token(decoder(), run, 0, k=1).assign(predicted="\u202e\n")
    text = words.reading("a\u2066b\n", top, entropy(run, 0))
    assert "“a\\u{2066}b↵”" in text
    assert "“\\u{202E}↵”" in text
    text = words.followed_reading(followed(decoder(), run, 0))
    assert text.startswith("“\\u{202E}gnp” really follows: rank ")


def test_readings_of_the_smallest_prompt() -> None:
    run = trace(tokens=1)
    assert "ends here" in words.followed_reading(followed(decoder(), run, 0))
    assert "single token" in words.surprisal_reading(surprisal(decoder(), run))


def test_surprisal_reading_names_the_least_foreseen() -> None:
    frame = pd.DataFrame(
        {
            "position": [0, 1, 2],
            "token": ["a", " b", " c"],
            "logprob": [math.nan, -1.0, -4.0],
            "rank": pd.array([None, 1, 1234], dtype="Int64"),
            "entropy": [math.nan, 1.0, 1.0],
        }
    )
    assert words.surprisal_reading(frame) == (
        "Foreseen least was “␣c” at position 2: 4.00 nats, rank 1,234; the mean is 2.50 nats a "
        "token."
    )


def test_measures() -> None:
    measures = CONCEPT.measures
    top = pd.DataFrame({"predicted": [" a", " b"], "prob": [0.4, 0.2]})
    assert measures["top1"](top) == " a"
    assert measures["top1_prob"](top) == 0.4
    assert measures["n_to_reach"](top, mass=0.3) == 1
    assert measures["n_to_reach"](top) == 2
    assert measures["n_to_reach"](top, mass=0.9) is None
    run = trace()
    scored = surprisal(decoder(), run)
    assert measures["mean_surprisal"](scored) == pytest.approx(
        torch.nn.functional.cross_entropy(run.logits[:-1], run.token_ids[1:]).item(), rel=1e-5
    )
    assert measures["most_surprising"](scored) == scored["logprob"].idxmin()
    sure = with_logits(torch.eye(4)[[1, 2, 0]], [3, 1, 3])  # foresees 1 (right), then 2 (wrong)
    assert measures["share_foreseen"](surprisal(decoder(), sure)) == 0.5
    alone = surprisal(decoder(), trace(tokens=1))
    assert measures["most_surprising"](alone) is None
    assert math.isnan(measures["mean_surprisal"](alone))
    assert math.isnan(measures["share_foreseen"](alone))


# -- show the code ----------------------------------------------------------------------------

PROMPTS = (
    "The cat sat on the mat, and the dog",
    'quote " and \'\'\' and """ and \\ and {PROMPT} and %s\n\ttab',
    "\u202egnp ![](x) \x00 日本 🙂 \u2028 end",
)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_script_reproduces_the_page(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], name: str, prompt: str
) -> None:
    model = tiny(name)
    run = model.capture(prompt)
    ran: dict[str, Any] = {}
    code = script(
        str(tiny_folder(name)), None, prompt, position=2, k=5, n_tokens=4, prompts=["The cat"]
    )
    exec(compile(code, "script.py", "exec"), ran)
    top = next_token(model, run, 2, k=5)
    scored = surprisal(model, run)
    assert ran["PROMPT"] == prompt
    assert ran["top"].indices.tolist() == top["token_id"].tolist()
    np.testing.assert_allclose(ran["top"].values, top["logprob"], atol=1e-5)
    np.testing.assert_allclose(ran["surprisal"], -scored["logprob"][1:], atol=1e-5)
    np.testing.assert_array_equal(ran["rank"], scored["rank"][1:].astype(int))
    np.testing.assert_allclose(ran["entropy"][:-1], scored["entropy"][1:], atol=1e-5)
    assert ran["entropy"][2] == pytest.approx(entropy(run, 2)["entropy"][0], abs=1e-5)
    assert ran["continuation"] == model.generate(prompt, 4)
    [fact] = factual(model, ["The cat"]).itertuples()
    assert ran["facts"] == [(fact.predicted, pytest.approx(fact.prob, abs=1e-5))]


def test_script_stops_where_the_model_ends_the_text(tmp_path: Path) -> None:
    def greedy(folder: Path) -> list[int]:
        ran: dict[str, Any] = {}
        exec(script(str(folder), None, "The cat", position=0, k=1, n_tokens=6), ran)
        return ran["written"]

    written = greedy(tiny_models.save("llama", tmp_path / "endless"))
    end = next(token for token in written if token != written[0])
    folder = tiny_models.save("llama", tmp_path / "ending", eos_token_id=[299, end])
    assert greedy(folder) == written[: written.index(end)]


def test_script_runs_by_itself_and_prints_what_the_page_shows(model: Model, tmp_path: Path) -> None:
    code = script(bundled_folder(), None, FRANCE, position=4, k=3, n_tokens=5)
    assert "strata" not in code.replace(bundled_folder(), "")
    output = output_of(code, tmp_path, fresh=True)
    best = next_token(model, model.capture(FRANCE), 4, k=1).iloc[0]
    [line] = (line for line in output.splitlines() if line.endswith("' Paris'"))
    printed = [float(number) for number in line.split()[1:4:2]]
    assert printed == pytest.approx([best["prob"], best["logprob"]], abs=2e-4)
    assert f"The model goes on: {model.generate(FRANCE, 5)!r}" in output


def test_script_names_the_revision_where_there_is_one() -> None:
    code = script("openai-community/gpt2", "607a30d", "x", position=0)
    assert "REVISION = '607a30d'" in code
    assert code.count("from_pretrained(SOURCE, revision=REVISION") == 2
    assert "REVISION" not in script("folder", None, "x", position=0)


def test_tips_name_each_token_and_what_it_cost(model: Model) -> None:
    frame = surprisal(model, model.capture(FRANCE))
    shown = words.tips(frame)
    assert len(shown) == len(frame)
    assert shown[0] == "Position 0, The: nothing came before it"
    capital = frame.iloc[1]
    assert shown[1] == (
        f"Position 1, ␣capital: surprisal {-capital['logprob']:.2f} nats, rank {capital['rank']:,}"
    )
