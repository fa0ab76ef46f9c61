"""Two cells, heads, KL and a tenth of the way, in families of all kinds, against plain hooks on an
independent copy; what is put in is multiplied by a negative number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from strata.concepts.patching import head_map, pair
from strata.concepts.patching.views import cells, failures
from strata.model import Model
from strata.trace import Part, Trace
from tests.concepts.patching.by_hooks import logits_of, value_of
from tests.plain import Plain

CLEAN, OTHER = "The cat sat on the mat.", "The cat ran in the mat."
IDS = [7, 11]
FACTOR = -0.7
FAMILIES = ("llama gpt2 bloom opt falcon-7b gemma2 granite phi lfm2 gpt_neo mistral").split()
PROJECTIONS = {
    "gpt2": "attn.c_proj",
    "bloom": "self_attention.dense",
    "opt": "self_attn.out_proj",
    "falcon-7b": "self_attention.dense",
    "lfm2": "self_attn.out_proj",
    "gpt_neo": "attn.attention.out_proj",
    "phi": "self_attn.dense",
}


def scaled(trace: Trace) -> Trace:
    assert trace.writes is not None
    return replace(trace, hidden=trace.hidden * FACTOR, writes=trace.writes * FACTOR)


def near(trace: Trace, source: Trace, way: float) -> Trace:
    """A source that lies between both."""
    assert trace.writes is not None
    assert source.writes is not None
    states, writes = trace.hidden.lerp(source.hidden, way), trace.writes.lerp(source.writes, way)
    return replace(source, hidden=states, writes=writes)


def last(model: Model, trace: Trace) -> tuple[str, int, int]:
    return "stream", model.n_layers, len(trace.tokens) - 1


@pytest.mark.parametrize("name", FAMILIES)
def test_two_cells_kl_and_a_tenth_of_the_way(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model, plain = tiny(name), twin(name)
    trace, source = model.capture(OTHER), scaled(model.capture(CLEAN))
    ids = trace.token_ids
    before = value_of(logits_of(plain, ids, [], source), IDS)
    wanted = logits_of(plain, ids, [last(model, trace)], source)  # those of the source itself
    for part in get_args(Part):
        some = [(part, 1, 3), (part, 2, 8)]
        row = pair(model, trace, source, IDS, *(cell[1:] for cell in some), part=part).iloc[0]
        runs: dict[str, Any] = {"unpatched": [], "source": [last(model, trace)]}
        runs |= {"first": some[:1], "second": some[1:], "both": some}
        for column, put in runs.items():
            value = value_of(logits_of(plain, ids, put, source), IDS)
            assert row[column] == pytest.approx(value, abs=1e-4), (part, column)
        frame = cells(model, source, OTHER, part=part, target_id=7, against_id=11)
        right = wanted.log_softmax(dim=-1)
        for cell in frame.iloc[3::7].itertuples():
            found = logits_of(plain, ids, [(part, cell.layer, cell.position)], source)
            kl = (right.exp() * (right - found.log_softmax(dim=-1))).sum()
            assert cell.kl == pytest.approx(float(kl), abs=1e-4), (part, cell)
        exact = tuple(value_of(logits_of(plain, ids, [cell], source), IDS) for cell in some)
        layers, positions = zip(*(cell[1:] for cell in some), strict=True)
        told = failures(
            model,
            source,
            OTHER,
            layers,
            positions,
            exact,
            (0.0, 0.0),
            part=part,
            target_id=7,
            against_id=11,
        )
        for cell, whole, tenth in zip(some, exact, told["at_tenth"], strict=True):
            way = value_of(logits_of(plain, ids, [cell], near(trace, source, 0.1)), IDS)
            expected = 10 * (way - before) / (whole - before)
            if abs(whole - before) < 0.01 * abs(value_of(wanted, IDS) - before):
                expected = float("nan")
            assert tenth == pytest.approx(expected, abs=0.02, nan_ok=True), (part, cell)


@pytest.mark.parametrize("name", FAMILIES)
def test_heads(tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str) -> None:
    model, plain = tiny(name), twin(name)
    trace, source = model.capture(OTHER), scaled(model.capture(CLEAN))
    block, ids = 1, trace.token_ids
    frame = head_map(model, trace, source, IDS, block)
    assert list(frame) == ["block", "head", "position", "token", "value", "share"]
    module = plain.blocks[block].get_submodule(PROJECTIONS.get(name, "self_attn.o_proj"))
    given = handed_on(plain, source, block, module)
    width = given.shape[-1] // 4
    start = value_of(logits_of(plain, ids, [], source), IDS)
    end = value_of(logits_of(plain, ids, [last(model, trace)], source), IDS)
    assert len(frame) == 4 * len(ids)
    for row in frame.itertuples():
        columns = slice(row.head * width, (row.head + 1) * width)

        def put(module: Any, args: Any, row: Any = row, columns: slice = columns) -> Any:
            state = args[0].clone()
            state[0, row.position, columns] = given[row.position, columns]
            return (state, *args[1:])

        hook = module.register_forward_pre_hook(put)
        wanted = value_of(logits_of(plain, ids, [], source), IDS)
        hook.remove()
        assert row.value == pytest.approx(wanted, abs=1e-4), (row.head, row.position)
        assert row.share == pytest.approx((wanted - start) / (end - start), abs=1e-3)
    assert np.ptp(frame["share"]) > 0.01


def handed_on(plain: Plain, source: Trace, block: int, module: nn.Module) -> Tensor:
    """(T, heads * width): what a projection is given where the source's state enters its block."""
    given: list[Tensor] = []

    def enter(module: Any, args: Any) -> Any:
        return (source.hidden[block][None], *args[1:])

    hooks = [
        plain.blocks[block].register_forward_pre_hook(enter),
        module.register_forward_pre_hook(lambda module, args: given.append(args[0][0].clone())),
    ]
    with torch.no_grad():
        plain.run(source.token_ids)
    for hook in hooks:
        hook.remove()
    return given[0]
