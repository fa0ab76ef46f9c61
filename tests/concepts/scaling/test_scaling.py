"""Scaling, against one forward pass per edit with plain hooks on an independent copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.scaling import CONCEPT, compare, last_block, places, sweep, words
from strata.concepts.scaling.script import script
from strata.concepts.scaling.tables import distributions
from strata.engine import Job, LocalEngine, Settings
from strata.errors import CancelledError, InputError, ModelError
from strata.model import Model, load_model, replay
from strata.trace import Part, Scale
from tests.concepts.by_hand import bundled_folder
from tests.plain import Plain
from tests.scripts import output_of
from tests.tiny import PROMPT

FAMILIES = "llama gpt2 bloom xglm opt falcon-7b falcon-rw gemma2 granite phi lfm2 gpt_oss".split()
TARGET = 42
BUNDLED = "The capital of France is"


@pytest.mark.parametrize("name", FAMILIES)
def test_sweep_against_a_run_for_each_edit(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model = tiny(name)
    trace, plain = model.capture(PROMPT), twin(name)
    clean = plain.run(trace.token_ids).logits[-1].double().log_softmax(dim=-1)
    parts: tuple[tuple[Part, list[int] | None], ...] = (
        ("stream", None),
        ("attn", [2, len(trace.tokens) - 1]),
        ("mlp", None),
    )
    for part, positions in parts:
        frame = sweep(model, trace, TARGET, [0.8, 0], part, positions)
        assert list(frame) == ["block", "factor", "logprob", "clean_logprob", "rank", "kl"]
        blocks = list(range(model.n_layers))
        assert frame["block"].tolist() == [block for block in blocks for _ in range(2)]
        assert frame["factor"].tolist() == [0.8, 0] * len(blocks)
        for row in frame.itertuples():
            where = None if positions is None else tuple(positions)
            edit = Scale(row.block, row.factor, part, where)
            logits = plain.run(trace.token_ids, (edit,)).logits[-1].double()
            edited = logits.log_softmax(dim=-1)
            kl = (clean.exp() * (clean - edited)).sum()
            assert row.logprob == pytest.approx(float(edited[TARGET]), abs=1e-4), edit
            assert row.clean_logprob == pytest.approx(float(clean[TARGET]), abs=1e-4)
            assert row.kl == pytest.approx(float(kl), abs=1e-4)
            # equal logits are told apart by rounding only
            lowest = int((logits > logits[TARGET] + 1e-4).sum())
            assert lowest <= row.rank <= int((logits > logits[TARGET] - 1e-4).sum())


@pytest.mark.parametrize("name", ["llama", "bloom", "falcon-7b", "granite"])
def test_a_factor_of_one_changes_nothing(tiny: Callable[[str], Model], name: str) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    for part in ("stream", "attn", "mlp"):
        frame = sweep(model, trace, TARGET, [1], part)
        np.testing.assert_allclose(frame["logprob"], frame["clean_logprob"], atol=1e-5)
        assert frame["kl"].between(0, 1e-8).all()


def test_a_block_leaves_the_layers_below_it_untouched(tiny: Callable[[str], Model]) -> None:
    """The truth on which replay rests."""
    for name in ("llama", "gpt2", "lfm2"):
        model = tiny(name)
        clean = model.capture(PROMPT).hidden
        for part in ("stream", "attn", "mlp"):
            for block in range(model.n_layers):
                edited = model.capture(PROMPT, [Scale(block, 0.5, part)]).hidden
                assert torch.equal(edited[: block + 1], clean[: block + 1])
                assert not torch.equal(edited[block + 1], clean[block + 1])


def test_what_does_not_exist_is_refused(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"target_id": model.d_vocab}, "0 to 299"),
        ({"target_id": -1}, "0 to 299"),
        ({"factors": []}, "factors must be from 1 to 100"),
        ({"factors": [math.nan]}, "finite"),
        ({"factors": ["big"]}, "list of numbers"),
        ({"factors": [1e38]}, "at most a million"),
        ({"part": "head"}, "stream, attn or mlp"),
        ({"positions": [len(trace.tokens)]}, "positions are 0 to"),
        ({"positions": []}, "at least one position"),
    ]
    for wrong, said in refused:
        with pytest.raises(InputError, match=said):
            sweep(model, trace, **({"target_id": TARGET, "factors": [0.5]} | wrong))
    with pytest.raises(InputError, match="Block 3 does not exist"):
        compare(model, trace, block=3, factor=0.5)
    with pytest.raises(InputError, match="clean run"):
        sweep(model, model.capture(PROMPT, [Scale(0, 0.5)]), TARGET, [0.5])
    with pytest.raises(InputError, match="stream, attn or mlp"):
        places(model, "head")  # type: ignore[arg-type]


def test_refused_writes_refuse_only_their_parts(tiny: Callable[[str], Model]) -> None:
    model = tiny("opt-post_norm")
    trace = model.capture(PROMPT)
    assert len(sweep(model, trace, TARGET, [0.5])) == model.n_layers
    for part in ("attn", "mlp"):
        with pytest.raises(ModelError, match="views of writes are refused"):
            sweep(model, trace, TARGET, [0.5], part)
        with pytest.raises(ModelError, match="views of writes are refused"):
            places(model, part)


def test_compare_is_both_distributions(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain]
) -> None:
    model = tiny("gemma2")
    trace = model.capture(PROMPT)
    frame = compare(model, trace, 1, 0.2, "mlp", [3, 4], k=6)
    assert list(frame) == ["token_id", "predicted", "clean_prob", "prob", "clean_rank", "rank"]
    edit = Scale(1, 0.2, "mlp", (3, 4))
    for column, edits in (("clean_prob", ()), ("prob", (edit,))):
        probs = twin("gemma2").run(trace.token_ids, edits).logits[-1].double().softmax(dim=-1)
        np.testing.assert_allclose(frame[column], probs[frame["token_id"].tolist()], atol=1e-5)
        assert set(probs.topk(6).indices.tolist()) <= set(frame["token_id"])
    assert frame["clean_prob"].is_monotonic_decreasing
    assert 6 <= len(frame) <= 12
    assert frame["clean_rank"].min() == frame["rank"].min() == 0
    assert frame["predicted"].tolist() == list(model.decode(frame["token_id"].tolist()))


def test_places_name_the_scaled_modules(tiny: Callable[[str], Model]) -> None:
    assert places(tiny("llama"))["within"].tolist() == ["", "", ""]
    assert places(tiny("lfm2"), "attn")["within"].tolist() == ["conv", "self_attn", "conv"]
    assert set(places(tiny("bloom"), "mlp")["within"]) == {"mlp.dense_4h_to_h"}


# -- the bundled model ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paris(model: Model) -> int:
    return int(model.tokenizer.convert_tokens_to_ids("ĠParis"))


def test_scaling_after_the_last_block_changes_no_prediction(model: Model, paris: int) -> None:
    """The final norm divides by the state's size, so any factor well above 0 cancels."""
    trace = model.capture(BUNDLED)
    for factor in (0.1, 0.5, 0.8, 2.0):
        [row] = last_block(model, trace, paris, factor).itertuples()
        assert (row.block, row.clean_top, row.top) == (29, " Paris", " Paris")
        assert abs(row.logprob - row.clean_logprob) < 1e-2
    [ruined] = last_block(model, trace, paris, 0.0).itertuples()
    assert ruined.ties == model.d_vocab  # a state of zero says nothing
    assert ruined.logprob == pytest.approx(-math.log(model.d_vocab), abs=1e-3)
    swept = sweep(model, trace, paris, [0.8])
    assert CONCEPT.measures["last_block_change"](swept) < 1e-2
    assert swept["rank"].iloc[-1] == 0


def test_lower_blocks_do_change_it(model: Model, paris: int) -> None:
    swept = sweep(model, model.capture(BUNDLED), paris, [0.8])
    assert CONCEPT.measures["most_hurtful_block"](swept) == 2
    assert CONCEPT.measures["worst_change"](swept) == pytest.approx(-1.18, abs=0.02)


def test_a_longer_prompt_of_bundled_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several groups, a sink of size 24,000, against runs with hooks."""
    text = "The keeper of the lighthouse climbed the steps of the tower. " * 4
    trace = model.capture(text)
    parts: tuple[Part, ...] = ("stream", "mlp", "attn")
    edits = [Scale(block, 0.0, part) for block in (17, 0) for part in parts]
    monkeypatch.setattr(replay, "_rows_at_once", lambda network, trace: 4)
    found = dict(distributions(model, trace, edits))
    assert len(found) == len(edits)
    for i, edit in enumerate(edits):
        logits = model.capture(text, [edit]).logits[-1].double()
        expected = float(logits.log_softmax(dim=-1)[TARGET])
        assert float(found[i][TARGET]) == pytest.approx(expected, abs=1e-3), edit


# -- readings, measures -----------------------------------------------------------------------


def a_sweep(*logprobs: float, factor: float = 0.8, clean: float = -1.0) -> pd.DataFrame:
    rows = [(b, factor, x, clean, int(x < clean), 0.1) for b, x in enumerate(logprobs)]
    return pd.DataFrame(rows, columns=["block", "factor", "logprob", "clean_logprob", "rank", "kl"])


def test_reading_names_the_block_that_hurts_most() -> None:
    assert words.reading(a_sweep(-1.5, -3.25, -1.0), "␣Paris") == (
        "Multiplying the stream by 0.8 hurts “␣Paris” most at block 1: from −1.00 nats to −3.25 "
        "nats, rank 1; it comes first in 1 of 3 edited runs."
    )
    assert "after no block at all" in words.reading(a_sweep(-1.0, -0.9), "␣Paris", "mlp")


@pytest.mark.parametrize(
    ("factor", "logprob", "top", "why"),
    [
        (0.8, -0.2601, " a", "stays first: the final norm divides"),
        (0.0, -9.0, " b", "“␣b” takes the place of “␣a”: the final norm has nothing left"),
        (-1.0, -9.0, " b", "not its direction"),
        (0.001, -0.5, " a", "does not cancel this factor"),
    ],
)
def test_last_block_reading_says_why(factor: float, logprob: float, top: str, why: str) -> None:
    columns = ["block", "factor", "clean_logprob", "logprob", "clean_top", "top", "ties"]
    row = pd.DataFrame([(29, factor, -0.26, logprob, " a", top, 1)], columns=columns)
    said = words.last_block_reading(row, "␣Paris")
    assert f"from −0.2600 nats to −{-logprob:.4f} nats" in said
    assert why in said
    tied = words.last_block_reading(row.assign(ties=1_234), "␣Paris")
    assert "and makes 1,234 tokens equally likely, more than any other: the final" in tied
    same = words.last_block_reading(row.assign(logprob=-0.26), "␣Paris")
    assert "leaves “␣Paris” at −0.2600 nats and “␣" in same


def test_other_readings() -> None:
    frame = pd.concat([a_sweep(-1.5, -3.25), a_sweep(-0.5, -1.0, factor=2.0)])
    assert words.map_reading(frame, "␣Paris") == (
        "“␣Paris” comes first in 2 of 4 edited runs; worst is a factor of 0.8 at block 1, −2.25 "
        "nats; best is 2 at block 0, +0.50 nats."
    )
    unedited = pd.concat([frame, a_sweep(-1.0, -1.0, factor=1.0)])
    assert words.map_reading(unedited, "␣Paris") == words.map_reading(frame, "␣Paris")
    assert "no edit makes it likelier" in words.map_reading(a_sweep(-1.5), "x")
    assert words.clean_reading(frame, "␣Paris") == (
        "Without an edit “␣Paris” has a log-probability of −1.00 nats, which is 37%."
    )
    columns = ["token_id", "predicted", "clean_prob", "prob", "clean_rank", "rank"]
    both = pd.DataFrame([(1, " a", 0.8, 0.1, 0, 2), (2, " b", 0.1, 0.6, 1, 0)], columns=columns)
    assert words.compare_reading(both) == (
        "“␣b” (60.0%) comes first instead of “␣a”, which falls from 80.0% to 10.0%, rank 2."
    )
    assert words.compare_reading(both.assign(rank=[0, 1])).startswith("“␣a” stays first")
    clean = pd.DataFrame({"layer": [0, 0, 1, 1, 2, 2], "token_id": [1, 2, 3, 4, 5, 6]})
    assert words.grid_reading(clean, clean.assign(token_id=[1, 2, 3, 7, 5, 8])) == (
        "With the edit another token leads in 2 of 6 cells, first at layer 1; at the last layer it "
        "does so at 1 of 2 positions."
    )
    assert "every layer still says" in words.grid_reading(clean, clean)


def test_measures() -> None:
    measures = CONCEPT.measures
    frame = pd.concat([a_sweep(-1.5, -3.25, -1.25), a_sweep(-9.0, -1.0, -1.0, factor=2.0)])
    assert measures["most_hurtful_block"](frame) == 0
    assert measures["most_hurtful_block"](frame, factor=0.8) == 1
    assert measures["worst_change"](frame, factor=0.8) == -2.25
    assert measures["last_block_change"](frame) == 0.25
    assert measures["last_block_change"](frame, factor=2.0) == 0
    assert measures["share_first"](frame) == pytest.approx(2 / 6)


# -- through the engine -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_another_learners_clean_run_is_never_touched(
    tiny_folder: Callable[[str], Path], name: str
) -> None:
    """Sweeps, edited runs and clean runs from many threads: clean ones stay equal bit for bit."""
    model = load_model(str(tiny_folder(name)), device="cpu")
    engine = LocalEngine(
        Settings(any_model=True, result_cache_bytes=0, trace_cache_bytes=0, batch_size=1),
        load=lambda model_name, progress: model,
    )
    clean = Job(view="hidden_states.activations", model="m", prompt=PROMPT, params={"position": 3})
    params = {"target_id": TARGET, "factors": [0.8, 0.1], "part": "attn"}
    jobs = [
        clean,
        Job(view="scaling.sweep", model="m", prompt=PROMPT, params=params),
        clean.model_copy(update={"edits": (Scale(0, 0.5),)}),
        Job(view="run.continuation", model="m", prompt=PROMPT, edits=(Scale(1, 3.0, "mlp"),)),
    ]
    answers: dict[int, pd.DataFrame] = {}
    with engine:
        alone = [engine.run(job) for job in jobs]

        def learn(i: int) -> None:
            answers[i] = engine.run(jobs[i % len(jobs)], learner=f"learner {i}")

        threads = [Thread(target=learn, args=(i,)) for i in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        after = engine.run(clean)
    pd.testing.assert_frame_equal(after, alone[0], check_exact=True)
    assert not alone[2].equals(alone[0])
    assert len(answers) == 24
    for i, frame in answers.items():
        pd.testing.assert_frame_equal(frame, alone[i % len(jobs)], check_exact=True)
    hooked = [m for m in model._network.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooked == []
    assert not any("forward" in vars(module) for module in model._network.modules())


def test_the_map_tells_how_far_it_is_and_stops_when_cancelled(
    tiny: Callable[[str], Model],
) -> None:
    model = tiny("llama")
    trace, told = model.capture(PROMPT), []
    factors = [i / 4 for i in range(9)]
    frame = sweep(model, trace, TARGET, factors, progress=lambda *said: told.append(said))
    assert len(frame) == 9 * model.n_layers
    assert told[-1][0] == pytest.approx(1)
    assert told[0][1] == "27 edited runs"

    def stop(fraction: float, message: str) -> None:
        raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        sweep(model, trace, TARGET, factors, progress=stop)
    assert sweep(model, trace, TARGET, factors).equals(frame)


# -- show the code ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part", "positions"),
    [
        ("llama", "stream", None),
        ("gpt2", "mlp", [1, 2]),
        ("bloom", "attn", None),
        ("opt", "mlp", None),
        ("falcon-7b", "attn", [3]),
        ("lfm2", "attn", None),
    ],
)
def test_script_makes_the_same_sweep(
    tiny: Callable[[str], Model],
    tiny_folder: Callable[[str], Path],
    name: str,
    part: Part,
    positions: list[int] | None,
) -> None:
    model, prompt = tiny(name), 'A \u202e "cat"\n sat """ the mat'
    choices: dict[str, Any] = {"target_id": TARGET, "part": part, "positions": positions}
    within = places(model, part)["within"].tolist()
    code = script(
        str(tiny_folder(name)),
        None,
        prompt,
        factor=0.3,
        blocks=model.blocks_path,
        within=within,
        **choices,
    )
    ran: dict[str, Any] = {}
    exec(compile(code, "script.py", "exec"), ran)
    frame = sweep(model, model.capture(prompt), factors=[0.3], **choices)
    ours = frame[["block", "logprob", "rank", "kl"]].to_numpy()
    np.testing.assert_allclose(np.array(ran["rows"], dtype=float), ours, atol=1e-4)
    assert float(ran["clean"][TARGET]) == pytest.approx(frame["clean_logprob"][0], abs=1e-4)
    assert ran["worst"][0] == CONCEPT.measures["most_hurtful_block"](frame)


def test_script_runs_by_itself(model: Model, paris: int, tmp_path: Path) -> None:
    within = places(model)["within"].tolist()
    more: dict[str, Any] = {"target_id": paris, "factor": 0.8, "blocks": model.blocks_path}
    code = script(bundled_folder(), None, BUNDLED, within=within, **more)
    assert "strata" not in code.replace(bundled_folder(), "")
    output = output_of(code, tmp_path)
    frame = sweep(model, model.capture(BUNDLED), paris, [0.8])
    assert f"Block {CONCEPT.measures['most_hurtful_block'](frame)} hurts most" in output
    lines = [line for line in output.splitlines() if line.startswith("  block")]
    printed = [float(line.split("logprob")[1].split()[0]) for line in lines]
    np.testing.assert_allclose(printed, frame["logprob"], atol=1e-3)


def test_numpy_arguments_are_welcome(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    frame = sweep(model, trace, np.int64(TARGET), np.array([0.5, 2.0]), "mlp", np.array([1, 0]))  # type: ignore[arg-type]
    assert frame.equals(sweep(model, trace, TARGET, [0.5, 2.0], "mlp", [0, 1]))
    assert SimpleNamespace(**frame.iloc[0]).factor == 0.5
