"""Patch maps, against a forward pass with plain hooks for each cell on an independent copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch

from strata.concepts.patching import attribution_map, head_map, pair, patch_map
from strata.concepts.patching.tables import can_matter
from strata.errors import CancelledError, InputError, ModelError
from strata.model import Model, patching
from strata.model.head_slices import projection
from strata.model.tails import Tails
from strata.trace import Part, Scale, Trace
from tests import tiny as tiny_models
from tests.concepts.patching.by_hooks import every_cell, logits_of, slopes, value_of
from tests.families.build import build
from tests.families.outcome import load
from tests.plain import Plain

COLUMNS = ["layer", "position", "token", "value", "share"]
FAMILIES = (
    "llama mistral qwen2 gpt2 gpt_neo bloom opt falcon-7b falcon-rw gemma2 granite phi lfm2 "
    "gpt_oss minicpm3"
).split()
TARGETS = ([7, 11], [5])
SHARED = 2  # tokens that both prompts begin with


def traces(model: Model, factor: float = 1.0) -> tuple[Trace, Trace]:
    """Two runs of 9 tokens (longer than the tiny models' windows) that begin alike, the second with
    its states and writes multiplied."""
    ids = torch.randint(1, 300, (2, 9), generator=torch.Generator().manual_seed(4))
    ids[1, :SHARED] = ids[0, :SHARED]
    ids[1, 5] = ids[0, 5]  # the same token after other ones
    one, two = (model.capture_row(row) for row in ids)
    writes = None if two.writes is None else two.writes * factor
    return one, replace(two, hidden=two.hidden * factor, writes=writes)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_map_against_a_run_for_each_cell(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model, plain = tiny(name), twin(name)
    for factor, target in zip((1.0, -0.7), TARGETS, strict=True):
        one, two = traces(model, factor)
        for trace, source in ((one, two), (two, one))[: 2 if factor == 1 else 1]:
            for part in get_args(Part):
                frame = patch_map(model, trace, source, target, part)
                assert list(frame) == COLUMNS
                cells = list(every_cell(model.n_layers, len(trace.tokens), part))
                assert list(zip(frame["layer"], frame["position"], strict=True)) == [
                    (layer, position) for _, layer, position in cells
                ]
                wanted = [
                    value_of(logits_of(plain, trace.token_ids, [cell], source), target)
                    for cell in cells
                ]
                np.testing.assert_allclose(frame["value"], wanted, atol=1e-4, err_msg=part)
                here = value_of(logits_of(plain, trace.token_ids, [], source), target)
                last = ("stream", model.n_layers, len(trace.tokens) - 1)
                there = value_of(logits_of(plain, trace.token_ids, [last], source), target)
                share = (np.array(wanted) - here) / (there - here)
                np.testing.assert_allclose(frame["share"], share, atol=1e-3, err_msg=part)
                assert frame["token"].tolist() == [trace.tokens[p] for _, _, p in cells]


@pytest.mark.parametrize("family", ["longcat_flash", "gemma4_text", "granitemoeshared", "mpt"])
def test_blocks_that_hand_on_more_or_read_a_write_again(family: str) -> None:
    """Where cells cannot be computed from their block upwards, or from their position on, whole
    runs are made: the map is that of `together` in each cell."""
    model = load(build(family))
    trace, source = traces(model, -0.7)
    for part in get_args(Part):
        frame = patch_map(model, trace, source, 7, part)
        cells = list(every_cell(model.n_layers, len(trace.tokens), part))
        runs = [[(patching.Place(layer, part), position)] for _, layer, position in cells]
        states = patching.together(model, trace, source, runs)
        np.testing.assert_allclose(frame["value"], model.unembed(states)[:, 7], atol=1e-4)


def test_what_is_wrong_on_tails_is_computed_otherwise(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    trace, source = traces(model)
    right = patch_map(model, trace, source, 7)
    known: WeakKeyDictionary[Model, Any] = WeakKeyDictionary()
    monkeypatch.setattr(patching, "_known", known)
    mask = Tails._mask
    monkeypatch.setattr(Tails, "_mask", lambda self, own: torch.ones_like(mask(self, own)))
    again = patch_map(model, trace, source, 7)
    np.testing.assert_allclose(again["value"], right["value"], atol=1e-5)
    assert list(known[model]) == [("stream", False)]
    assert known[model]["stream", False][0] == 2, "whole runs"


def test_a_longer_prompt_is_compared_again(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    trace, source = traces(model)
    compared: list[int] = []
    once = patching._right
    monkeypatch.setattr(patching, "_known", WeakKeyDictionary())
    monkeypatch.setattr(
        patching, "_right", lambda *a: compared.append(len(a[1].tokens)) or once(*a)
    )
    ids = torch.stack([trace.token_ids, source.token_ids])
    for n_tokens in (6, 9, 9, 7):
        patch_map(model, *(model.capture_row(row[:n_tokens]) for row in ids), 7)
    assert compared == [6, 9]
    # The last token alone, of a longer prompt, does not stand for all of a shorter one.
    compared.clear()
    monkeypatch.setattr(patching, "_known", WeakKeyDictionary())
    places = [patching.Place(layer) for layer in range(4)]
    for n_tokens, positions in ((9, [8]), (6, range(6)), (9, [8]), (6, [5])):
        runs = (model.capture_row(row[:n_tokens]) for row in ids)
        patching.patched(model, *runs, places, list(positions))
    assert compared == [9, 6]


def test_lower_layers_are_compared_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces from the top down, and head by head: a block that counts keys by itself is below
    one that does not, and one whose second attention reads the write of its first is the last."""
    neo = load(tiny_models.build("gpt_neo", attention_types=[[["local", "global"], 2]]))
    longcat = load(build("longcat_flash"))
    monkeypatch.setattr(patching, "_known", WeakKeyDictionary())
    trace, source = traces(neo, -0.7)
    last = neo.n_layers
    asked = [(neo, [patching.Place(layer)]) for layer in range(last, -1, -1)]
    asked += [(neo, [patching.Place(block + 1, "attn", 1)]) for block in (3, 2, 1, 0)]
    asked += [(longcat, [patching.Place(longcat.n_layers, "attn")])]
    for model, places in asked:
        trace, source = traces(model, -0.7)
        positions = list(range(SHARED, len(trace.tokens)))
        found = patching.patched(model, trace, source, places, positions)
        runs = [[(places[0], position)] for position in positions]
        wanted = patching.together(model, trace, source, runs)
        np.testing.assert_allclose(
            model.unembed(found[0]), model.unembed(wanted), atol=1e-4, err_msg=str(places)
        )
    assert patching._known[neo]["stream", False][0] == 2


def test_what_a_model_can_be_patched_on_is_remembered(tiny: Callable[[str], Model]) -> None:
    for name, way in (("llama", 0), ("mistral", 0), ("qwen2", 0), ("gpt2", 1), ("gpt_neo", 2)):
        model = tiny(name)
        patch_map(model, *traces(model), 7)
        assert patching._known[model]["stream", False][0] == way, name


def test_only_cells_that_can_matter_are_computed(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace, source = traces(model)
    matters = can_matter(trace, source)
    assert matters[0].tolist() == [False] * SHARED + [True] * 3 + [False] + [True] * 3
    assert matters[1:-1].tolist() == [[False] * SHARED + [True] * 7] * (model.n_layers - 1)
    assert matters[-1].tolist() == [False] * 8 + [True]
    assert not can_matter(trace, trace).any()
    frame = patch_map(model, trace, trace, [7, 11])
    assert frame["share"].isna().all()
    assert frame["value"].nunique() == 1
    # Other states of the same tokens are seen.
    turned = replace(trace, hidden=trace.hidden * -1)
    assert can_matter(trace, turned)[1:-1].all()


def test_ends_of_the_map(tiny: Callable[[str], Model]) -> None:
    """The last state restores all; so does position `SHARED`... of a prompt whose other tokens
    are the same, at layer 0."""
    model = tiny("llama")
    trace, source = traces(model)
    last = patch_map(model, trace, source, 7).iloc[-1]
    assert last["share"] == pytest.approx(1, abs=1e-4)
    ids = trace.token_ids.clone()
    ids[3] = (ids[3] + 1) % 299
    near = model.capture_row(ids)
    frame = patch_map(model, trace, near, 7).set_index(["layer", "position"])
    assert frame.loc[(0, 3), "share"] == pytest.approx(1, abs=1e-3)


def test_heads_that_are_not_known_are_refused(tiny: Callable[[str], Model]) -> None:
    model = tiny("lfm2")
    trace, source = traces(model)
    with pytest.raises(ModelError, match="heads of block 0"):
        head_map(model, trace, source, 7, 0)  # a convolution
    with pytest.raises(InputError, match="Block 3 does not exist"):
        head_map(model, trace, source, 7, 3)
    assert projection(tiny("llama").architecture, 0)[1] == 4


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "bloom", "falcon-7b", "gemma2", "granite", "opt", "lfm2", "phi"]
)
def test_the_estimate_is_the_gradient_of_plain_transformers(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model, plain = tiny(name), twin(name)
    trace, source = traces(model, -0.7)
    for target in TARGETS:
        for part in get_args(Part):
            frame = attribution_map(model, trace, source, target, part)
            assert list(frame) == COLUMNS
            value, found = slopes(plain, trace.token_ids, part, target)
            states = {
                "stream": lambda run: run.hidden,
                "attn": lambda run: run.attn / plain.write_scale,
                "mlp": lambda run: run.mlp / plain.write_scale,
            }[part]
            change = states(source) - states(trace)
            wanted = value + (torch.stack(found) * change).sum(dim=-1).flatten()
            np.testing.assert_allclose(frame["value"], wanted, atol=1e-4, rtol=1e-4)
    assert all(each.grad is None and not each.requires_grad for each in model.parameters)


def test_the_estimate_is_the_slope_of_the_exact_map(tiny: Callable[[str], Model]) -> None:
    """A hundredth of the way in either direction, in the exact map: the same slope."""
    model = tiny("llama")
    trace, source = traces(model)
    for part in get_args(Part):
        ends = []
        for step in (0.01, -0.01):
            near = replace(
                source,
                hidden=trace.hidden.lerp(source.hidden, step),
                writes=trace.writes.lerp(source.writes, step),  # type: ignore[union-attr, arg-type]
            )
            ends.append(patch_map(model, trace, near, [7, 11], part)["value"].to_numpy())
        start = patch_map(model, trace, trace, [7, 11], part)["value"].to_numpy()
        estimate = attribution_map(model, trace, source, [7, 11], part)["value"].to_numpy()
        slope = (ends[0] - ends[1]) / 0.02
        np.testing.assert_allclose(estimate - start, slope, atol=0.02 * np.abs(slope).max())


def test_two_cells_together(tiny: Callable[[str], Model], twin: Callable[[str], Plain]) -> None:
    model, plain = tiny("gemma2"), twin("gemma2")
    trace, source = traces(model, -0.7)
    first, second = (1, 3), (3, 6)
    row = pair(model, trace, source, [7, 11], first, second).iloc[0]
    cells = {
        "unpatched": [],
        "first": [("stream", *first)],
        "second": [("stream", *second)],
        "both": [("stream", *first), ("stream", *second)],
    }
    for name, some in cells.items():
        wanted = value_of(logits_of(plain, trace.token_ids, some, source), [7, 11])
        assert row[name] == pytest.approx(wanted, abs=1e-4), name
    assert list(row.index) == ["unpatched", "source", "first", "second", "both"]
    swapped = pair(model, trace, source, [7, 11], second, first).iloc[0]
    assert swapped["both"] == pytest.approx(row["both"], abs=1e-5)
    for same in ((np.int64(1), np.int64(3)), [1, 3]):
        assert pair(model, trace, source, torch.tensor([7, 11]), same, second).iloc[0].equals(row)
    with pytest.raises(InputError, match="two different cells"):
        pair(model, trace, source, torch.tensor(7), first, first)
    with pytest.raises(InputError, match="Layer 5 does not exist"):
        pair(model, trace, source, 7, first, (5, 1))
    with pytest.raises(InputError, match="Position 9 does not exist"):
        pair(model, trace, source, 7, first, (1, 9))


def test_what_does_not_fit_is_refused_in_a_sentence(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace, source = traces(model)
    shorter = model.capture_row(source.token_ids[:-1])
    edited = model.capture("The cat sat", (Scale(0, 2.0),))
    cases: list[tuple[Any, ...]] = [
        (trace, shorter, 7, "stream", "these have 9 and 8"),
        (trace, source, [7, 7], "stream", "two different words"),
        (trace, source, [7, 8, 9], "stream", "one token, or a pair"),
        (trace, source, [], "stream", "one token, or a pair"),
        (trace, source, 300, "stream", "Token 300 does not exist"),
        (trace, source, 7, "head", "stream, attn or mlp"),
        (edited, model.capture("The cat sat"), 7, "stream", "starts from a clean run"),
        (trace, traces(tiny("gemma2"))[0], 7, "stream", "This run is of another model"),
        (trace, "The cat", 7, "stream", "A run is what “model.capture” gives, not 'The cat'"),
    ]
    for one, two, target, part, said in cases:
        for asked in (patch_map, attribution_map):
            with pytest.raises(InputError, match=said):
                asked(model, one, two, target, part)
    with pytest.raises(ModelError, match="views of writes are refused"):
        patch_map(tiny("opt-post_norm"), *traces(tiny("opt-post_norm")), 7, "attn")


def test_a_map_can_be_given_up(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    seen: list[float] = []

    def give_up(share: float, said: str) -> None:
        seen.append(share)
        if share > 0.5:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        patch_map(model, *traces(model), 7, progress=give_up)
    assert seen == sorted(seen)
    assert not any(
        block._forward_hooks or block._forward_pre_hooks for block in model.architecture.blocks
    )
