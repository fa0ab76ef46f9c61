"""What the page of the logit lens draws: grid, opened cell, followed tokens, mistakes, code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer

from strata.charts.grid import QUANTITIES, lens_grid, scale_for
from strata.concepts.logit_lens import (
    CONCEPT,
    attribution,
    cell,
    followed,
    grid,
    lens,
    mistakes,
    proof,
    statistics,
    target_logit,
    words,
)
from strata.concepts.reading import MODES, read
from strata.concepts.scan import scan
from strata.display.tokens import display_candidate, part_of
from strata.engine import Job, Settings, open_engine
from strata.errors import InputError
from strata.model import Model
from strata.trace import Trace
from tests.concepts.by_hand import bundled_folder
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
FRANCE = "The capital of France is"
THE = 260  # the bundled model's " the"


@pytest.fixture(scope="module")
def france(model: Model) -> Trace:
    return model.capture(FRANCE)


# -- grid and cell ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_grid_is_the_lens_and_its_statistics(tiny: Tiny, mode: str) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    frame = grid(model, trace, mode, width=64, k=3, target_id=9)
    every = lens(model, trace, 3, mode)
    best = every.groupby(["layer", "position"], as_index=False).first()
    for column in ("layer", "position", "token", "token_id", "predicted"):
        assert frame[column].tolist() == best[column].tolist(), column
    np.testing.assert_allclose(frame["logit"], best["logit"], atol=1e-5)
    np.testing.assert_allclose(frame["prob"], best["prob"], atol=1e-5)
    assert frame["final_id"].tolist() == trace.logits.argmax(dim=-1).tolist() * (
        len(frame) // len(trace.tokens)
    )
    assert all(len(top.split("\n")) == 3 for top in frame["top"])
    if mode == "states":
        assert set(frame["other"]) == {""}
    else:
        worst = lens(model, trace, 3, mode, largest=False).groupby(["layer", "position"])
        for other, (_, rows) in zip(frame["other"], worst, strict=True):
            said = zip(rows["predicted"][::-1], rows["logit"][::-1], strict=True)
            assert other.split("\n") == [f"{display_candidate(t)} {v:+.2f}" for t, v in said]
    if mode == "states":
        wanted = statistics(model, trace, 9)
        for column in ("entropy", "kl_to_final", "norm", "target_prob", "target_rank"):
            np.testing.assert_allclose(frame[column], wanted[column], atol=1e-5, err_msg=column)
    else:
        assert frame["entropy"].isna().all() == mode.endswith("frozen_norm")
    if mode in ("attn_frozen_norm", "mlp_frozen_norm"):
        part = mode.split("_")[0]
        rows = frame[frame["position"] == 4]
        parts = attribution(model, trace, 9, 4)
        wanted = parts[parts["part"] == part]["logit"]
        np.testing.assert_allclose(rows["target_logit"], wanted, atol=1e-5)
        np.testing.assert_allclose(rows["norm"], getattr(trace, part)[:, 4].norm(dim=-1), rtol=1e-5)


def test_a_window_and_a_stride_leave_the_numbers_alone_and_keep_the_last(tiny: Tiny) -> None:
    model = tiny("gemma2")  # four blocks
    trace = model.capture(PROMPT)
    keys = ["layer", "position"]
    for mode in ("states", "deltas_frozen_norm"):
        whole = grid(model, trace, mode, width=64).set_index(keys)
        part = grid(model, trace, mode, start=3, width=4, stride=3).set_index(keys)
        layers = part.index.get_level_values("layer").unique().tolist()
        assert layers == ([0, 3, 4] if mode == "states" else [1, 4])
        assert part.index.get_level_values("position").unique().tolist() == [3, 4, 5, 6]
        same = whole.loc[part.index]
        assert part["token_id"].tolist() == same["token_id"].tolist()
        np.testing.assert_allclose(part["target_logit"], same["target_logit"], atol=1e-5)
        np.testing.assert_allclose(part["kl_to_final"], same["kl_to_final"], atol=1e-5)
    over = grid(model, trace, start=len(trace.tokens) - 2, width=24)
    assert over["position"].nunique() == 2


def test_memory_is_bounded_whatever_the_number_of_layers(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strata.model.architecture import Architecture

    model = tiny("llama")
    seen: list[torch.Size] = []
    real, real_part = Architecture.unembed, Architecture.logits_of

    def counted(self: Architecture, hidden: torch.Tensor) -> torch.Tensor:
        logits = real(self, hidden)
        seen.append(logits.flatten(0, -2).shape)
        return logits

    def counted_part(self: Architecture, *given: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        seen.append(out.shape)
        return real_part(self, *given, out=out)

    monkeypatch.setattr(Architecture, "unembed", counted)
    monkeypatch.setattr(Architecture, "logits_of", counted_part)
    monkeypatch.setattr("strata.concepts.scan._WIDTH", 149)
    both = torch.randn(3, 450, model.d_model), torch.randn(1000, 2, model.d_model)
    for most, found in (
        (512 * 149, lambda: [lens(model, states) for states in both]),
        (100 * model.d_vocab, lambda: [lens(model, states, 40) for states in both]),
        (
            100 * model.d_vocab,
            lambda: [scan(read(model, states), 1, detail=True) for states in both],
        ),
    ):
        seen.clear()
        found()
        assert sum(map(math.prod, seen)) == (3 * 450 + 1000 * 2) * model.d_vocab
        assert most / 3 < max(map(math.prod, seen)) <= most


def test_an_opened_cell_is_that_cell(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    for mode, layer in (("states", 0), ("mlp_frozen_norm", 2)):
        every = lens(model, trace, 6, mode)
        wanted = every[(every["layer"] == layer) & (every["position"] == 5)]
        opened = cell(model, trace, layer, 5, mode, k=6)
        assert opened["token_id"].tolist() == wanted["token_id"].tolist()
        np.testing.assert_allclose(opened["logit"], wanted["logit"], atol=1e-5)
    with pytest.raises(InputError, match="layers are 1 to 3"):
        cell(model, trace, 0, 5, "deltas_own_norm")
    with pytest.raises(InputError, match="positions are"):
        cell(model, trace, 1, 99)


@pytest.mark.parametrize(
    "wrong", [{"mistake": "twice"}, {"mode": "x"}, {"width": 65}, {"stride": 0}, {"k": 21}]
)
def test_a_grid_that_cannot_be_drawn_is_refused(tiny: Tiny, wrong: dict[str, Any]) -> None:
    model = tiny("llama")
    with pytest.raises(InputError):
        grid(model, model.capture("a"), **wrong)
    with pytest.raises(InputError, match="about states"):
        grid(model, model.capture("a"), "deltas_own_norm", mistake="no_norm")


def test_the_scale_of_a_deltas_own_norm(tiny: Tiny) -> None:
    """For an RMS norm it is the ratio of two root mean squares, that of the last state on top."""
    model = tiny("llama")
    trace = model.capture(PROMPT)
    frame = grid(model, trace, "deltas_own_norm", width=64)
    deltas = trace.hidden.diff(dim=0)
    size = (trace.hidden[-1].norm(dim=-1) / deltas.norm(dim=-1)).flatten()
    np.testing.assert_allclose(frame["magnified"], size, rtol=1e-3)
    frozen = grid(model, trace, "deltas_frozen_norm", width=64)
    np.testing.assert_allclose(frame["logit"], frozen["logit"] * frame["magnified"], rtol=1e-3)
    assert words.deltas_reading(frame, frozen).startswith("Both rank the tokens")


def test_a_norm_with_a_bias_makes_the_two_delta_modes_name_different_tokens(tiny: Tiny) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    own, frozen = (
        grid(model, trace, mode, width=64) for mode in ("deltas_own_norm", "deltas_frozen_norm")
    )
    assert (own["token_id"] != frozen["token_id"]).any()
    assert "bias counts in each write again" in words.deltas_reading(own, frozen)


# -- followed, proof, mistakes ----------------------------------------------------------------


def test_followed_by_default_are_those_that_led(tiny: Tiny) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    frame = followed(model, trace, 3)
    columns = ["token_id", "predicted", "other", "layer", "logit", "prob", "rank"]
    assert list(frame) == columns
    every = lens(model, trace, model.d_vocab)
    here = every[every["position"] == 3]
    leaders = here[here["rank"] == 0].sort_values("layer")["token_id"]
    assert frame["token_id"].unique().tolist() == leaders.drop_duplicates().tolist()
    both = frame.merge(here, on=["layer", "token_id"], suffixes=("", "_lens"))
    assert len(both) == len(frame)
    assert both["rank"].tolist() == both["rank_lens"].tolist()
    np.testing.assert_allclose(both["prob"], both["prob_lens"], atol=1e-6)
    np.testing.assert_allclose(both["logit"], both["logit_lens"], atol=1e-5)
    pinned = followed(model, trace, 3, [7, 9, 7])
    assert pinned["token_id"].unique().tolist() == [7, 9]
    added = followed(model, trace, 3, [7, 9], target_id=11)
    assert added["token_id"].unique().tolist() == [7, 9, 11]
    assert followed(model, trace, 3, [7, 9], target_id=9).equals(pinned)
    with pytest.raises(InputError, match="At most 20"):
        followed(model, trace, 3, range(21))


def test_proof_of_the_bundled_model(model: Model, france: Trace) -> None:
    for position in (0, 4):
        frame = proof(model, france, position)
        assert frame["ok"].all()
        assert frame["terms"].tolist() == [1, 61]
        assert (frame["error"] < 1e-3).all()


def test_norming_twice_is_what_transformers_last_state_invites(
    model: Model, bundled: Plain
) -> None:
    folder, text = bundled_folder(), "A wise man once said: Penguins are cute."
    network = bundled.network
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        output = network(ids, output_hidden_states=True)
        twice = network.lm_head(network.model.norm(output.hidden_states[-1]))[0]
        raw = network.model.norm.register_forward_hook(lambda module, args, out: args[0])
        unnormed = network(ids).logits[0]
        raw.remove()
    right = output.logits[0].argmax(dim=-1)
    frame = mistakes(model, model.capture(text)).set_index("mistake")
    assert frame["positions"].tolist() == [ids.shape[1]] * 2
    for mistake, wrong in (("norm_twice", twice), ("no_norm", unnormed)):
        assert frame.loc[mistake, "changed"] == (wrong.argmax(dim=-1) != right).sum()
        kl = torch.nn.functional.kl_div(
            wrong.log_softmax(-1),
            output.logits[0].log_softmax(-1),
            log_target=True,
            reduction="sum",
        )
        assert frame.loc[mistake, "kl"] == pytest.approx(float(kl) / ids.shape[1], rel=1e-3)
        drawn = grid(model, model.capture(text), mistake=mistake)
        last = drawn[drawn["layer"] == 30]
        assert last["token_id"].tolist() == wrong.argmax(dim=-1).tolist()
    assert frame.loc["norm_twice", "changed"] > 0
    said = words.mistake_reading(frame.reset_index(), "norm_twice")
    changed = part_of(frame.loc["norm_twice", "changed"], ids.shape[1], "position")
    assert f"changes the answer at {changed} of the last row" in said
    said = words.sentence(drawn, 3, 30, "state", "no_norm")
    assert said.startswith("Read the wrong way: “")
    assert CONCEPT.measures["share_changed"](frame.reset_index()) == pytest.approx(
        frame.loc["norm_twice", "changed"] / ids.shape[1]
    )


# -- the bundled model, readings, measures ----------------------------------------------------


def test_paris(model: Model, france: Trace) -> None:
    frame = lens(model, france, k=1)
    measure = CONCEPT.measures
    assert measure["first_leading_layer"](frame, 4) == 30
    assert measure["first_leading_layer"](frame, 4, " the") == 25
    assert measure["first_leading_layer"](frame, 4, " Rome") is None
    assert measure["settled_layer"](frame, 4) == 30
    assert measure["settled_layer"](frame, 1) == 19
    assert measure["n_leaders"](frame, 4) == 7
    drawn = grid(model, france)
    assert words.sentence(drawn, 4, 30, "state") == (
        "“␣Paris” leads at layer 30 only, the very last, after “␣is” (position 4); 77% at the end."
    )
    assert "first leads at layer 19 of 30" in words.sentence(drawn, 1, 30, "state")
    paris = int(frame["token_id"].iloc[-1])
    numbers = statistics(model, france, paris).set_index(["position", "layer"])["target_rank"]
    assert numbers[4][[28, 29, 30]].tolist() == [6, 2, 0]
    raw, mean, the = (
        attribution(model, france, paris, 4, against) for against in (None, "mean", THE)
    )
    assert raw["logit"].sum() == pytest.approx(float(france.logits[4, paris]), abs=1e-3)
    assert measure["largest_part"](raw) == "mlp 29"
    assert measure["largest_part"](mean) == "attn 23"
    own = {
        name: target_logit(model, france, paris, 4, against)
        for name, against in (("raw", None), ("mean", "mean"), ("word", THE))
    }
    assert words.attribution_reading(raw, mean, raw, own["raw"], 4, "raw") == (
        "At position 4, 61 parts and the biases add up to 17.371; the model's own logit of "
        "“␣Paris” is 17.371 (rank 0, 77%). The MLP of block 29 adds most, +6.98. But it gives "
        "+5.29 to the average token too, which leaves +1.68: what changes all logits alike changes "
        "no probability. Against the average token attention of block 23 adds most, +3.43."
    )
    assert words.attribution_reading(raw, mean, mean, own["mean"], 4) == (
        "At position 4, 61 parts and the biases put “␣Paris” 19.230 above the average token; the "
        "model itself 19.230 (rank 0, 77%). Attention of block 23 adds most, +3.43. To the bare "
        "logit the MLP of block 29 adds most, +6.98, but it gives +5.29 to the average token too, "
        "which leaves +1.68: what changes all logits alike changes no probability."
    )
    assert words.attribution_reading(raw, mean, the, own["word"], 4, "word") == (
        "At position 4, 61 parts and the biases put “␣Paris” 2.483 above “␣the”; the model itself "
        "2.483 (rank 0, 77%). The MLP of block 28 adds most, +4.17. Against the average token it "
        "is attention of block 23, +3.43: what tells a token from most others need not tell it "
        "from this one. To the bare logit the MLP of block 29 adds most, +6.98, but it gives +5.29 "
        "to the average token too, which leaves +1.68: what changes all logits alike changes no "
        "probability."
    )


def test_on_code_the_part_that_adds_most_lowers_the_answer(model: Model) -> None:
    """By hand: the write through the norm's scale, along rows of the head."""
    trace = model.capture("x = [1, 2")
    top, head = int(trace.logits[-1].argmax()), model._network.lm_head.weight.detach()
    size = trace.hidden[-1, -1].square().mean().add(1e-5).sqrt()
    write = trace.mlp[29, -1] * model._network.model.norm.weight.detach() / size
    adds, usual = float(write @ head[top]), float(write @ head.mean(dim=0))
    raw, mean = (attribution(model, trace, top, 6, against) for against in (None, "mean"))
    assert CONCEPT.measures["largest_part"](raw) == "mlp 29"
    for frame, wanted in ((raw, adds), (mean, adds - usual)):
        assert frame["logit"].iloc[-3] == pytest.approx(wanted, abs=1e-3)
    assert (round(adds, 2), round(usual, 2)) == (17.01, 18.91)


def test_beside_a_word_each_other_measure_that_names_another_part_says_why() -> None:
    def added(*logits: float) -> pd.DataFrame:
        blocks = pd.array([0, 0, 1], dtype="Int64")
        return pd.DataFrame({"part": ["attn", "mlp", "mlp"], "block": blocks, "logit": logits})

    own = pd.DataFrame({"predicted": [" a"], "other": [" b"], "logit": [3.0]})
    own = own.assign(own=3.0, rank=0, prob=0.5)
    average = "Against the average token it is the MLP of block 0, +2.00: what tells a token"
    bare = "To the bare logit the MLP of block 1 adds most, +6.00, but it gives +5.50 to the"
    cases = [  # raw, against the average, against the word: what is said of the first two
        ((1.0, 6.0, 2.0), (0.0, 2.0, 1.0), (0.0, 3.0, 0.0), ()),
        ((1.0, 2.0, 6.0), (0.0, 2.0, 0.5), (0.0, 3.0, 0.0), (bare,)),
        ((1.0, 6.0, 2.0), (0.0, 2.0, 1.0), (3.0, 0.0, 0.0), (average,)),
        ((1.0, 2.0, 6.0), (0.0, 2.0, 0.5), (3.0, 0.0, 0.0), (average, bare)),
    ]
    for raw, mean, word, told in cases:
        frames = added(*raw), added(*mean), added(*word)
        said = words.attribution_reading(*frames, own, 4, "word")
        for each in (average, bare):
            assert (each in said) == (each in told), said


def test_a_grid_is_drawn_from_plain_data(model: Model, france: Trace) -> None:
    frame = grid(model, france)
    back = scale_for([frame], "norm", model.d_vocab, [[0]])
    front = scale_for([frame], "prob", model.d_vocab)
    drawn = lens_grid(frame, "The grid", "It says so.", back, front)
    assert drawn.layers == list(range(30, -1, -1))
    assert [column["shown"] for column in drawn.columns][1:3] == ["␣capital", "␣of"]
    corner = drawn.cells[0][4]
    assert (corner["shown"], corner["same"], corner["front"]) == ("␣Paris", True, 0.773)
    assert corner["tip"].startswith("Layer 30, position 4 ␣is\n␣Paris 77.3%\n")
    assert drawn.cells[10][0]["back"] == 1, "the sink is beyond the scale"
    assert drawn.alt == "The grid. It says so."
    whole = scale_for([frame], "norm", model.d_vocab)
    assert whole.full > 20 * back.full
    assert lens_grid(frame, "", "", whole, front, up=False).layers == list(range(31))


def test_every_quantity_has_a_scale_from_none_to_full(tiny: Tiny) -> None:
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    for mode in ("states", "deltas_frozen_norm"):
        frame = grid(model, trace, mode)
        for quantity in QUANTITIES:
            levels = scale_for([frame, frame], quantity, model.d_vocab).levels(frame)
            assert np.isfinite(levels).all()
            assert np.abs(levels).max() <= 1
    rank = pd.DataFrame({"target_rank": [0, model.d_vocab - 1]})
    levels = scale_for([rank], "target_rank", model.d_vocab).levels(rank)
    assert levels.tolist() == pytest.approx([1, 0])


def test_the_engine_runs_every_view(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_engine(Settings()) as engine:
        engine.load = lambda name, progress: model
        job = Job(view="logit_lens.lens", model="smollm2-135m", prompt=FRANCE, params={"k": 5})
        assert len(engine.run(job)) == 31 * 5 * 5
        needs = {"position": 4, "target_id": 7, "layer": 3, "token_ids": [1, 2]}
        for view in CONCEPT.views:
            named = needs.keys() & view.__code__.co_varnames[: view.__code__.co_argcount]
            params = {name: needs[name] for name in named}
            job = Job(view=f"logit_lens.{view.__name__}", model="smollm2-135m", prompt=FRANCE)
            given: dict[str, object] = {"params": params}
            if "sample" in view.__code__.co_varnames[: view.__code__.co_argcount]:
                # Of the shipped passages, 20 core-seconds, it is read in lessons/test_shipped.py.
                given["prompts"] = (f"{PROMPT} {FRANCE} " * 9,)
                given["sample"] = {"corpus": "own", "n": 50}
            assert 0 < len(engine.run(job.model_copy(update=given))) <= 20_000
