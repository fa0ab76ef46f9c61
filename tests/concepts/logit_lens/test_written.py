"""The lens while a model writes: its table, against whole runs in plain transformers, its words,
and the program that prints the same."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.logit_lens import modules, words, written
from strata.concepts.logit_lens.script import script
from strata.concepts.logit_lens.written import settled_layers
from strata.errors import InputError
from strata.model import Model
from tests.concepts.logit_lens.test_logit_lens import unembed
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
N = 5
COLUMNS = [
    *("step", "position", "token", "written_id", "layer", "token_id", "predicted", "prob"),
    *("norm", "entropy", "target_prob", "target_rank", "top"),
]


@pytest.mark.parametrize("name", "llama gpt2 gemma2 granite lfm2 bloom phi falcon-7b".split())
def test_each_step_is_the_lens_of_a_whole_run(
    tiny: Tiny, twin: Callable[[str], Plain], name: str
) -> None:
    model, plain = tiny(name), twin(name)
    ids, frame = model.encode(PROMPT), written(model, PROMPT, N)
    assert list(frame) == COLUMNS
    layers = range(model.n_layers + 1)
    assert frame["layer"].tolist() == [*layers] * N
    for step, rows in frame.groupby("step"):
        hidden = plain.run(ids).hidden[:, -1:]  # (L + 1, 1, D)
        logits = unembed(plain, hidden)[:, 0].double()  # (L + 1, V)
        assert (rows["position"] == len(ids) - 1).all()
        chosen = int(logits[-1].argmax())
        assert (rows["written_id"] == chosen).all(), step
        assert (rows["token"] == model.decode([chosen], after=ids)[0]).all()
        probs = logits.softmax(dim=-1)
        np.testing.assert_allclose(rows["prob"], probs.amax(dim=-1), atol=1e-4)
        np.testing.assert_allclose(rows["target_prob"], probs[:, chosen], atol=1e-4)
        np.testing.assert_allclose(rows["norm"], hidden[:, 0].norm(dim=-1), rtol=1e-4)
        entropy = torch.special.entr(probs).sum(dim=-1)
        np.testing.assert_allclose(rows["entropy"], entropy, atol=1e-3)
        low, high = (
            (logits > logits[:, chosen, None] + off).sum(dim=-1).numpy() for off in (1e-4, -1e-4)
        )
        assert ((low <= rows["target_rank"]) & (rows["target_rank"] <= high)).all()
        best = logits[torch.arange(len(logits)), rows["token_id"].tolist()]
        np.testing.assert_allclose(best, logits.amax(dim=-1), atol=2e-4)
        assert rows["top"].str.count("\n").eq(4).all()
        ids = torch.cat([ids, torch.tensor([chosen])])
    for wrong in (0, 61, 2.5):
        with pytest.raises(InputError, match="length of a continuation"):
            written(model, PROMPT, wrong)  # type: ignore[arg-type]


def by_hand(*ranks: list[int], chance: float = 0.45) -> pd.DataFrame:
    """Steps of a model of as many layers as each has ranks."""
    rows = [
        (step, f" t{step}", layer, rank, chance)
        for step, each in enumerate(ranks, start=1)
        for layer, rank in enumerate(each)
    ]
    return pd.DataFrame(rows, columns=["step", "token", "layer", "target_rank", "target_prob"])


def test_from_which_layer_on_a_written_token_leads() -> None:
    frame = by_hand([3, 0, 2, 0], [0, 0, 0, 0], [9, 9, 9, 1])
    assert settled_layers(frame).tolist() == [3, 0, pd.NA]
    assert words.written_reading(frame, 1) == (
        "Step 1 writes “␣t1”: it leads at layer 3 only, the very last, 45% at the end. Of 2 tokens "
        "“␣t1” (step 1) is settled latest, from layer 3 on, and “␣t2” (step 2) earliest, from "
        "layer 0."
    )
    said = words.written_reading(frame, 3)
    assert said.startswith("Step 3 writes “␣t3”, which the lens ranks 1 at the last layer, 45%")
    assert words.written_reading(by_hand([1, 0, 0]), 1) == (
        "Step 1 writes “␣t1”: it leads from layer 1 of 2 on, 45% at the end."
    )
    assert words.written_reading(by_hand([1, 0], [2, 0]), 2).endswith(
        "All 2 tokens lead from layer 1 on."
    )


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "opt-post_norm"])
def test_the_script_writes_the_same(
    tiny: Tiny, tiny_folder: Callable[[str], Path], name: str
) -> None:
    model = tiny(name)
    [paths] = modules(model).to_dict("records")
    code = script(str(tiny_folder(name)), None, PROMPT, k=3, n_written=N, **paths)
    assert "strata" not in code.replace(str(tiny_folder(name)), "")
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    frame = written(model, PROMPT, N)
    assert ran["wrote"] == frame.drop_duplicates("step")["written_id"].tolist()
    columns = ["step", "layer", "token_id", "prob", "norm", "target_prob", "target_rank"]
    found = pd.DataFrame(ran["written"], columns=columns)
    same = ["step", "layer", "prob", "norm", "target_prob"]
    np.testing.assert_allclose(found[same], frame[same], atol=3e-4)
    assert (found["token_id"] == frame["token_id"]).mean() > 0.9  # but for ties
    assert "step 1 writes " in printed.getvalue()
