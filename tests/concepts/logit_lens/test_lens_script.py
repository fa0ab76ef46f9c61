"""'Show the code' of the logit lens prints the page's numbers, of a capped logit after the cap."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.concepts.logit_lens import (
    attribution,
    lens,
    modules,
    statistics,
    target_logit,
    words,
)
from strata.concepts.logit_lens.script import script
from strata.concepts.reading import MODES
from strata.model import Model
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in ("llama", "gpt2") for mode in MODES]
    + [("gemma2", "states"), ("granite", "attn_frozen_norm"), ("phi", "mlp_frozen_norm")]
    + [("lfm2", "attn_frozen_norm"), ("opt-post_norm", "states")],
)
def test_script_reproduces_the_page(
    tiny: Tiny, tiny_folder: Callable[[str], Path], name: str, mode: str
) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    [paths] = modules(model).to_dict("records")
    ran: dict[str, Any] = {}
    against = {"states": "mean", "attn_frozen_norm": 17}.get(mode)
    what: dict[str, Any] = {"mode": mode, "k": 3, "target_id": 11, "position": 4}
    code = script(str(tiny_folder(name)), None, PROMPT, against=against, **what, **paths)
    assert "strata" not in code.replace(str(tiny_folder(name)), "")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    frame = lens(model, trace, 3, mode)
    np.testing.assert_allclose(
        [value for *_, values in ran["grid"] for value in values], frame["logit"], atol=2e-4
    )
    ids = [token for _, _, tokens, _ in ran["grid"] for token in tokens]
    assert np.mean(np.array(ids) == frame["token_id"]) > 0.98  # but for ties
    if mode == "states":
        wanted = statistics(model, trace, 11)
        names = ["norm", "entropy", "kl_to_final", "target_prob", "target_rank"]
        found = np.array([row[2:] for row in ran["statistics"]])
        np.testing.assert_allclose(found, wanted[names], atol=3e-4)
    if model.write_refusal:
        assert "attribution" not in ran
        return
    wanted = attribution(model, trace, 11, 4, against)
    assert [part for part, *_ in ran["attribution"]] == wanted["part"].tolist()
    np.testing.assert_allclose([v for *_, v in ran["attribution"]], wanted["logit"], atol=1e-4)
    assert "the model's own before any cap" in printed.getvalue()


@pytest.mark.parametrize(
    ("adds", "leaves", "told"),
    [
        # The raw leader gives to the average token, or takes less from it than the other does.
        ([7.0, 5.0], [1.5, 3.0], "it gives +5.50 to the average token too, which leaves +1.50"),
        ([5.0, 4.9], [6.0, 6.9], "it takes only 1.00 from the average token, which leaves +6.00"),
        ([-1.0, -2.0], [0.5, 0.9], "it takes only 1.50 from the average token, which leaves +0.50"),
        ([5.0, 4.9], [5.0, 6.9], "it takes only 0.00 from the average token, which leaves +5.00"),
    ],
)
def test_what_the_average_token_has_of_a_part(
    adds: list[float], leaves: list[float], told: str
) -> None:
    made = {"part": ["attn", "mlp"], "block": pd.array([1, 1], dtype="Int64")}
    raw, mean = (pd.DataFrame({**made, "logit": logits}) for logits in (adds, leaves))
    of = {"predicted": "a", "other": "", "own": 1.0, "logit": 1.0, "rank": 0, "prob": 0.5}
    own = pd.DataFrame([of])
    assert f". But {told}: what changes all logits alike" in words.attribution_reading(
        raw, mean, raw, own, 0, "raw"
    )
    assert f", but {told}: what" in words.attribution_reading(raw, mean, mean, own, 0)


def test_a_capped_logit_is_met_after_the_cap(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gemma2")
    small = replace(model.float_head, logit_cap=0.5)  # so that it bites on a tiny model's logits
    monkeypatch.setattr(model, "float_head", small)
    trace = model.capture(PROMPT)
    token_id = int(trace.logits[2].argmax())
    raw, mean = (attribution(model, trace, token_id, 2, against) for against in (None, "mean"))
    own = target_logit(model, trace, token_id, 2)
    said = words.attribution_reading(raw, mean, raw, own, 2, "raw", 0.5)
    found = re.search(r"up to (\S+), (\S+) after the cap; .* is (\S+) \(rank", said)
    assert found
    total, capped, given = found.groups()
    assert capped == given != total
    own = target_logit(model, trace, token_id, 2, "mean")
    said = words.attribution_reading(raw, mean, mean, own, 2, "mean", 0.5)
    above = f"{abs(mean['logit'].sum()):.3f}"
    assert f"{above} above the average token; the model itself {above} before its cap" in said
