"""What the page asks of two prompts, against the contract's maps and plain computations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from strata.concepts.patching import attribution_map, head_map, pair, patch_map
from strata.concepts.patching.pairs import BY_NAME, PAIRS
from strata.concepts.patching.tables import can_matter
from strata.concepts.patching.views import (
    Direction,
    both,
    cells,
    doctor,
    estimate,
    facts,
    failures,
    heads,
    parting,
    pieces,
    worst_cells,
)
from strata.engine import Job, LocalEngine, Settings
from strata.errors import InputError
from strata.model import Model, load_model
from strata.trace import Part, Trace
from tests import tiny as tiny_models
from tests.concepts.patching.by_hooks import logits_of, value_of
from tests.plain import Plain

CLEAN, OTHER = "The cat sat on the mat.", "The cat ran in the mat."
IDS: dict[str, Any] = {"target_id": 7, "against_id": 11}


@pytest.fixture(scope="module")
def llama(tiny: Callable[[str], Model]) -> Model:
    return tiny("llama")


def test_cells_are_those_of_the_map_that_can_matter(llama: Model) -> None:
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    runs: tuple[tuple[Direction, Trace, Trace], ...] = (
        ("restore", other, clean),
        ("corrupt", clean, other),
    )
    for direction, trace, source in runs:
        whole = patch_map(llama, trace, source, [7, 11], "mlp")
        wanted = whole[can_matter(trace, source, "mlp").flatten()].reset_index(drop=True)
        frame = cells(llama, clean, OTHER, direction, "mlp", **IDS)
        assert list(frame) == [*whole, "kl"]
        assert frame.drop(columns="kl").round(4).equals(wanted.round(4))
        guess = estimate(llama, clean, OTHER, direction, "mlp", **IDS)
        theirs = attribution_map(llama, trace, source, [7, 11], "mlp")
        chosen = can_matter(trace, source, "mlp").flatten()
        assert guess.equals(theirs[chosen].reset_index(drop=True))


def test_pieces_from_the_top_down_make_the_whole(llama: Model) -> None:
    assert pieces(30) == [(28, 30), (22, 27), (16, 21), (8, 15), (0, 7)]
    for n_layers in (1, 2, 3, 12, 80):
        for part in get_args(Part):
            layers = [la for low, high in pieces(n_layers, part) for la in range(low, high + 1)]
            assert sorted(layers) == list(range(part != "stream", n_layers + 1))
            assert pieces(n_layers, part)[0][1] == n_layers
    clean = llama.capture(CLEAN)
    whole = cells(llama, clean, OTHER).set_index(["layer", "position"])
    found = 0
    for some in pieces(llama.n_layers):
        part_of = cells(llama, clean, OTHER, layers=some).set_index(["layer", "position"])
        found += len(part_of)
        np.testing.assert_allclose(part_of["value"], whole.loc[part_of.index, "value"], atol=1e-5)
        assert part_of.index.get_level_values("layer").isin(range(some[0], some[1] + 1)).all()
    assert found == len(whole)


def test_kl_is_that_of_the_two_distributions(llama: Model, twin: Callable[[str], Plain]) -> None:
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    frame = cells(llama, clean, OTHER)
    wanted = clean.logits[-1].double().log_softmax(dim=-1)
    for row in frame.iloc[::5].itertuples():
        cell = ("stream", row.layer, row.position)
        found = logits_of(twin("llama"), other.token_ids, [cell], clean).log_softmax(dim=-1)
        kl = float((wanted.exp() * (wanted - found)).sum())
        assert row.kl == pytest.approx(kl, abs=1e-5)
    assert frame["kl"].iloc[-1] == pytest.approx(0, abs=1e-6)


def test_the_target_that_is_taken_where_none_is_given(llama: Model) -> None:
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    row = facts(llama, clean, OTHER).iloc[0]
    best = int(clean.logits[-1].argmax())
    rest = [i for i in other.logits[-1].argsort(descending=True).tolist() if i != best]
    assert (row["target_id"], row["against_id"]) == (best, rest[0])
    for name, run in (("clean", clean), ("other", other)):
        logits = run.logits[-1].double()
        assert row[f"{name}_value"] == pytest.approx(
            float(logits[best] - logits[rest[0]]), abs=1e-4
        )
        assert row[f"{name}_prob"] == pytest.approx(float(logits.softmax(dim=-1)[best]), abs=1e-5)
    assert row["first"] == parting(clean.token_ids, other.token_ids)
    same = facts(llama, clean, CLEAN).iloc[0]  # of the same top-1: its runner-up
    assert [same["target_id"], same["against_id"]] == clean.logits[-1].topk(2).indices.tolist()
    alone = facts(llama, clean, OTHER, target_id=7).iloc[0]
    assert alone["clean_value"] == pytest.approx(float(clean.logits[-1, 7]), abs=1e-4)
    assert alone[["against_id"]].isna().all()
    assert cells(llama, clean, OTHER, target_id=7)["value"].iloc[-1] == pytest.approx(
        alone["clean_value"], abs=1e-4
    )


def test_heads_and_two_cells_are_those_of_the_contract(llama: Model) -> None:
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    frame = heads(llama, clean, OTHER, 1, **IDS)
    whole = head_map(llama, other, clean, [7, 11], 1).set_index(["head", "position"])
    assert list(frame) == ["block", "head", "position", "token", "value", "share", "kl"]
    known = whole.loc[[*zip(frame["head"], frame["position"], strict=True)], "value"]
    np.testing.assert_allclose(frame["value"], known, atol=1e-5)
    assert frame["position"].min() == facts(llama, clean, OTHER)["first"][0]
    two = both(llama, clean, OTHER, (1, 3), (2, 4), **IDS)
    assert two.equals(pair(llama, other, clean, [7, 11], (1, 3), (2, 4)))


def test_where_the_estimate_fails(
    llama: Model, twin: Callable[[str], Plain], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    exact, guess = cells(llama, clean, OTHER, **IDS), estimate(llama, clean, OTHER, **IDS)
    ran: list[int] = []
    with monkeypatch.context() as watched:
        once = llama.forward
        watched.setattr(llama, "forward", lambda *args: ran.append(1) or once(*args))
        for name in ("patched", "slopes"):  # neither map is made anew
            watched.delattr(f"strata.concepts.patching.tables.{name}")
        watched.delattr("strata.concepts.patching.views.patched")
        frame = failures(llama, clean, OTHER, **worst_cells(exact, guess, 4), **IDS)
    assert len(ran) == 5, "the other prompt's run, and one for each cell"
    apart = (exact["value"] - guess["value"]).abs()
    np.testing.assert_allclose(
        (frame["exact"] - frame["estimate"]).abs(), sorted(apart, reverse=True)[:4], atol=1e-5
    )
    start = value_of(other.logits[-1], [7, 11])
    for row in frame.itertuples():
        assert row.cause in ("sink", "turns", "flat", "levels off")
        cell = ("stream", row.layer, row.position)
        near = other.hidden.lerp(clean.hidden, 0.1)
        logits = logits_of(twin("llama"), other.token_ids, [cell], replace(clean, hidden=near))
        tenth = (value_of(logits, [7, 11]) - start) * 10 / (row.exact - start)
        assert row.at_tenth == pytest.approx(tenth, abs=0.02)
        if not row.sink:
            right = (row.exact - start) * (row.estimate - start) > 0
            assert (row.cause == "turns") == (not right)


def test_of_an_effect_that_is_next_to_none_no_tenth_is_told(llama: Model) -> None:
    """Nor has it a sign, by which an estimate could be the other way."""
    clean, other = llama.capture(CLEAN), llama.capture(OTHER)
    start, far = value_of(other.logits[-1], [7, 11]), value_of(clean.logits[-1], [7, 11])
    far = abs(far - start)
    some = [(0.0, 1.0), (1e-5, -1.0), (-0.005, 1.0), (1.0, -1e-5), (-0.5, -1e-9), (0.5, -0.5)]
    frame = failures(
        llama,
        clean,
        OTHER,
        layers=(1,) * 6,
        positions=(4,) * 6,
        exact=tuple(start + far * exact for exact, _ in some),
        estimate=tuple(start + far * guess for _, guess in some),
        **IDS,
    )
    assert frame["at_tenth"].isna().tolist() == [True] * 3 + [False] * 3
    assert frame["cause"].tolist() == ["levels off"] * 3 + ["flat", "flat", "turns"]


def test_the_doctor_says_what_does_not_fit(llama: Model) -> None:
    assert doctor(llama, CLEAN, OTHER).empty
    [row] = doctor(llama, CLEAN, OTHER + " And").to_dict("records")
    one, two = (len(llama.encode(text)) for text in (CLEAN, OTHER + " And"))
    assert (row["severity"], row["code"]) == ("stop", "length")
    assert f"these have {one} and {two}, and part at position 2." in row["message"]
    assert doctor(llama, CLEAN, CLEAN)["code"].tolist() == ["same"]
    assert doctor(llama, CLEAN, "")["code"].tolist() == ["text"]
    assert doctor(llama, CLEAN, OTHER, 7, 7)["code"].tolist() == ["words"]
    assert parting(torch.tensor([1, 2]), torch.tensor([1, 2, 3])) == 2
    assert parting(torch.tensor([1, 2]), torch.tensor([1, 2])) is None


def test_what_views_refuse(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence, before the other prompt is run."""
    clean = llama.capture(CLEAN)
    worst = {"other": OTHER, "layers": [1], "positions": [3], "exact": [1.0], "estimate": [2.0]}
    refused: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (cells, {"other": OTHER + " And"}, "part at position 2"),
        (cells, {"other": ""}, "empty"),
        (cells, {"other": OTHER, "direction": "back"}, "restore or corrupt"),
        (cells, {"other": OTHER, "layers": (2, 9)}, "Layers are 0 to 3"),
        (cells, {"other": OTHER, "part": "attn", "layers": (0, 2)}, "Layers are 1 to 3"),
        (estimate, {"other": OTHER, "target_id": 7, "against_id": 7}, "two different words"),
        (failures, {**worst, "layers": [9]}, "Layer 9 does not exist"),
        (failures, {**worst, "exact": []}, "two values are wanted each"),
        (heads, {"other": OTHER, "block": 3}, "Block 3 does not exist"),
        (heads, {"other": OTHER, "block": 1, "target_id": 300}, "Token 300 does not exist"),
        (cells, {"other": OTHER, "part": "head"}, "stream, attn or mlp"),
        (facts, {"other": OTHER, "target_id": 7, "against_id": 7}, "two different words"),
        (both, {"other": OTHER, "first": (1, 1), "second": (1, 1)}, "two different cells"),
        (both, {"other": OTHER, "first": (0, 99), "second": (1, 1)}, "Position 99"),
    )
    ran: list[int] = []
    once = llama.forward
    monkeypatch.setattr(llama, "forward", lambda *args: ran.append(1) or once(*args))
    for view, more, said in refused:
        with pytest.raises(InputError, match=said):
            view(llama, clean, **more)
        assert ran == [], said


def test_a_long_prompt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_models.save("llama", tmp_path, max_position_embeddings=256)
    model = load_model(str(folder), device="cpu")
    clean, other = "cat " * 66 + "cat", "cat " * 66 + "in"
    assert len(model.encode(clean)) == len(model.encode(other)) > 64
    trace, ran = model.capture(clean), []
    once = model.forward
    monkeypatch.setattr(model, "forward", lambda *args: ran.append(1) or once(*args))
    for view, more in ((cells, {}), (heads, {"block": 0})):
        with pytest.raises(InputError, match="at most 64 tokens"):
            view(model, trace, other, **more)
    assert ran == []


def test_the_engine_answers_and_knows_the_cost(
    tiny_folder: Callable[[str], Path], llama: Model
) -> None:
    name = str(tiny_folder("llama"))
    with LocalEngine(Settings(any_model=True)) as engine:
        params = {"other": OTHER, "layers": [1, 2], **IDS}
        job = Job(view="patching.cells", model=name, prompt=CLEAN, params=params)
        frame = engine.run(job)
    wanted = cells(llama, llama.capture(CLEAN), OTHER, layers=(1, 2), **IDS)
    np.testing.assert_allclose(frame["value"], wanted["value"], atol=1e-5)
    passes = cells.__dict__["costs"]
    everything = passes(10, 4, {"layers": None})
    assert everything == 10 + 50 * (4 + 3 + 2 + 1) / 4
    parts = [passes(10, 4, {"layers": some}) - 10 for some in pieces(4)]
    assert sum(parts) == everything - 10


# -- on the bundled model ---------------------------------------------------------------------


def test_curated_pairs_say_what_they_promise(model: Model) -> None:
    """Both prompts have as many tokens, and each run's top-1 is the word named: rank 0 there, and
    further down in the other run."""
    assert len(BY_NAME) == len(PAIRS)
    purposes = [each.purpose for each in PAIRS]
    assert {p for p in purposes if purposes.count(p) >= 2} == {
        "Facts",
        "Names",
        "Numbers",
        "Agreement",
    }
    assert PAIRS[0].clean == "The capital of France is"
    runs = model.capture_many(list({text for each in PAIRS for text in (each.clean, each.other)}))
    by_text = {run.text: run for run in runs}
    for each in PAIRS:
        clean, other = by_text[each.clean], by_text[each.other]
        assert len(clean.tokens) == len(other.tokens), each.name
        row = facts(model, clean, each.other).iloc[0]
        assert (row["clean_top"], row["other_top"]) == (each.clean_top, each.other_top), each.name
        assert (row["target"], row["against"]) == (each.clean_top, each.other_top), each.name
        assert row["clean_value"] > 0 > row["other_value"]


def test_the_map_of_the_capital_of_france(model: Model, bundled: Plain) -> None:
    """Known from plain runs: the country's state carries the answer up to layer 23, the last
    token's from 24 on."""
    paris = BY_NAME["paris"]
    clean, other = model.capture(paris.clean), model.capture(paris.other)
    row = facts(model, clean, paris.other).iloc[0]
    ids = [int(row["target_id"]), int(row["against_id"])]
    frame = cells(model, clean, paris.other).set_index(["layer", "position"])
    for layer, position in ((0, 3), (12, 3), (23, 4), (24, 3), (29, 4)):
        logits = logits_of(bundled, other.token_ids, [("stream", layer, position)], clean)
        assert frame.loc[(layer, position), "value"] == pytest.approx(
            value_of(logits, ids), abs=1e-3
        )
    assert frame.xs(3, level="position")["share"].loc[:23].min() > 0.9
    assert frame.xs(4, level="position")["share"].loc[24:].min() > 0.9
