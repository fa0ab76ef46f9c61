"""Massive activations, by hand, in plain transformers, and those that the bundled model has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from strata.concepts.hidden_states import giants, words
from strata.concepts.hidden_states.giants import massive, massive_path, without_massive
from strata.concepts.hidden_states.script import script
from strata.errors import InputError
from strata.model import Model, load_model
from strata.trace import Scale, Trace
from tests.concepts.by_hand import trace
from tests.plain import Change, Plain
from tests.scripts import output_of

PROMPT = "The capital of France is"


def named(frame: pd.DataFrame, of: Trace) -> pd.DataFrame:
    return frame.assign(shown=[of.tokens[p] for p in frame["position"]])


def test_they_are_found_by_size_and_by_the_median_of_their_layer() -> None:
    run = trace(layers=5)
    run.hidden.clamp_(-9, 9)
    run.hidden[1, 2, 7] = -60_000.0
    run.hidden[3, 2, 7] = 30_000.0
    run.hidden[3, 0, 1] = 90.0  # too small by itself
    run.hidden[2, 4, 4] = 400.0  # too few times the median
    found = massive(run)
    assert found[["layer", "position", "dim", "value"]].values.tolist() == [
        [1, 2, 7, -60_000],
        [3, 2, 7, 30_000],
    ]
    median = np.sort(np.abs(run.hidden[3].numpy()), axis=None)[(6 * 16 - 1) // 2]
    assert found["median"][1] == pytest.approx(median)
    assert found["ratio"][1] == pytest.approx(30_000 / median)
    run.hidden.neg_()
    assert massive(run)["value"].tolist() == [60_000, -30_000]
    path = massive_path(run)
    assert path["massive"].tolist() == [False, True, False, True, False]
    assert path["value"].tolist() == pytest.approx(run.hidden[:, 2, 7].tolist())
    said = words.massive_reading(named(massive(run), run), named(path, run), 1_000)
    assert said.startswith("1 activation is massive, that is above 100 and 1,000 times")
    assert "at layers 1 and 3" in said
    assert len(massive(run, times=50)) == 3
    with pytest.raises(InputError, match="at least 10 times"):
        massive(run, times=1)
    assert massive(trace()).empty
    assert massive_path(trace()).empty


@pytest.mark.parametrize("name", ["llama", "gptj"])  # blocks that return a tensor, and a tuple
def test_numbers_are_set_as_plain_transformers_would(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model = tiny(name)
    run = model.capture(PROMPT)
    places, values = [(0, 3), (2, 1), (2, 5)], [-7.0, 0.0, 4.0]

    def change(state: torch.Tensor, entered: torch.Tensor) -> torch.Tensor:
        changed = state.clone()
        for (p, d), value in zip(places, values, strict=True):
            changed[p, d] = value
        return changed

    wanted = twin(name).run(run.token_ids, [Change(0, "stream", change)]).logits
    logits = giants._run(model, run, 1, places, values)
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)
    assert (logits - run.logits).abs().max() > 1e-3
    torch.testing.assert_close(giants._run(model, run, 1, [], []), run.logits)


def test_what_cannot_be_done_without_them(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match="No activation"):
        without_massive(model, model.capture(PROMPT))
    with pytest.raises(InputError, match="two tokens"):
        without_massive(model, model.capture("a"))
    with pytest.raises(InputError, match="clean run"):
        without_massive(model, model.capture(PROMPT, [Scale(0, 2.0)]))


def test_a_mean_is_over_the_passages_that_reach_its_position(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place has its own; none where no passage is long enough. Of 22 passages 20 are read."""
    model = tiny("llama")
    words_of = (PROMPT * 2).split()
    texts = {str(i): " ".join(words_of[i % 5 : i % 5 + 2 + i % 4]) for i in range(20)}
    monkeypatch.setattr(giants, "passages", lambda: texts | {"21": PROMPT * 9, "22": PROMPT * 9})
    ids = [model.capture(text).token_ids for text in texts.values()]
    longest = max(map(len, ids))
    least = min(map(len, ids))
    hidden = [twin("llama").run(each).hidden[2] for each in ids]
    places = [(0, 3), (least, 5), (longest - 1, 1), (longest, 0)]
    wanted = [[states[p, d].item() for states in hidden if p < len(states)] for p, d in places]
    assert len(wanted[0]) == 20 > len(wanted[1]) > len(wanted[2]) > 0
    *found, beyond = giants._means(model, 2, places)
    assert found == pytest.approx([np.mean(values) for values in wanted[:3]], abs=1e-4)
    assert beyond is None


def test_what_has_no_mean_is_left_as_it_is(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    run = model.capture(PROMPT)
    run.hidden[2, 1, 7], run.hidden[2, 4, 3] = 9e4, -9e4
    means = [None, 0.5]
    monkeypatch.setattr(giants, "_means", lambda *_: means)
    frame = without_massive(model, run)
    assert frame["n"].tolist() == [0, 1, 2, 2]
    [loss] = frame.loc[frame["what"] == "mean", "loss"]
    assert loss == giants._loss(giants._run(model, run, 2, [(4, 3)], [0.5]), run.token_ids)
    assert "1 of them: no other text is long enough" in words.without_reading(frame)
    means[1] = None
    frame = without_massive(model, run)
    assert frame["change"].isna().tolist() == [False, True, False, False]
    said = words.without_reading(frame)
    assert "No other text is long enough for their means" in said
    assert "nan" not in said


def test_the_bundled_model_builds_one_twice_and_needs_it(model: Model) -> None:
    run = model.capture(PROMPT)
    found, path = massive(run), massive_path(run)
    assert set(found[["position", "dim"]].itertuples(index=False, name=None)) == {(0, 507)}
    assert found["layer"].tolist() == list(range(12, 29))
    said = words.massive_reading(named(found, run), named(path, run), 1_000)
    assert "at layers 12 to 28, 22,5" in said
    assert "built once before, to 653 at layer 3, and was down to 59.8 at layer 11" in said
    frame = without_massive(model, run).set_index("what")
    assert frame.loc["as it is", "loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(run.logits[:-1], run.token_ids[1:]).item(), abs=1e-4
    )
    assert abs(frame.loc["mean", "change"]) < 0.3
    assert frame.loc["zero", "change"] > 5
    assert frame.loc["others to zero", "change"] < 0.3 * frame.loc["zero", "change"]
    assert "10.7" in words.without_reading(frame.reset_index())


def test_the_script_finds_the_same(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Of a model that writes 100,000 times as much into dimension 7 as it did."""
    network = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    with torch.no_grad():
        network.model.layers[0].mlp.down_proj.weight[7] *= -1e5
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    network.save_pretrained(folder)
    model = load_model(str(folder), device="cpu")
    run = model.capture(PROMPT)
    found = massive(run)
    assert set(found["dim"]) == {7}
    frame = without_massive(model, run).set_index("what")
    layer = int(frame.loc["zero", "layer"])
    rows = found[found["layer"] == layer]
    assert frame.loc["zero", "n"] == len(rows)

    def change(state: torch.Tensor, entered: torch.Tensor) -> torch.Tensor:
        changed = state.clone()
        changed[rows["position"].tolist(), 7] = 0
        return changed

    wanted = Plain(network.eval()).run(run.token_ids, [Change(layer - 1, "stream", change)]).logits
    zero = torch.nn.functional.cross_entropy(wanted[:-1], run.token_ids[1:]).item()
    assert frame.loc["zero", "loss"] == pytest.approx(zero, abs=1e-4)
    code = script(
        str(folder), None, PROMPT, position=1, blocks=model.blocks_path, massive_from=1_000
    )
    output = output_of(code, tmp_path)
    for row in found.itertuples():
        assert f"layer {row.layer:3d}  token {row.position:3d}  dimension     7" in output
    said = re.search(r"loss ([\d.]+), with those of layer (\d+) zero ([\d.]+)", output)
    assert said
    wanted_losses = [frame.loc["as it is", "loss"], layer, zero]
    assert [float(each) for each in said.groups()] == pytest.approx(wanted_losses, abs=1e-3)
