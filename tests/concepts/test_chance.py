"""What chance gives beside a number: against plain transformers, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts import chance, chance_script
from strata.concepts.chance import as_far, band
from strata.concepts.chance_script import section
from strata.concepts.logit_lens.script import modules
from strata.concepts.nulls import draws, own
from strata.concepts.scaling.tables import places
from strata.concepts.script import program
from strata.concepts.views import concepts
from strata.concepts.words import chance_reading
from strata.errors import CancelledError, InputError
from strata.model import Model
from tests.plain import Plain
from tests.scripts import output_of

PROMPT = "the cat sat on the mat and the dog"
NORM = "Norm of the state"
NAMED = [
    (stem, number, kind)
    for stem, module in concepts().items()
    for number, null in module.CONCEPT.nulls.items()
    for kind in null.kinds
]


def curve(values: list[float], **more: int) -> pd.DataFrame:
    return pd.DataFrame({"layer": range(len(values)), "value": values, **more})


def many(*rows: list[float]) -> pd.DataFrame:
    return pd.concat([curve(row, draw=i) for i, row in enumerate(rows)], ignore_index=True)


# -- the draws ------------------------------------------------------------------------------------


FAMILIES = [
    (name, "logit_lens", "Probability of the expected word", "shuffled text")
    for name in ("gemma2", "granite")  # what they do to logits: a cap, a factor
]


@pytest.mark.parametrize(
    ("name", "stem", "number", "kind"), [*(("llama", *each) for each in NAMED), *FAMILIES]
)
def test_a_page_s_program_draws_the_same_with_plain_transformers(
    tiny: Callable[[str], Model],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    stem: str,
    number: str,
    kind: str,
) -> None:
    model = tiny(name)
    trace, null = model.capture(PROMPT), concepts()[stem].CONCEPT.nulls[number]
    of: dict[str, Any] = {"position": 6, "target_id": 40}
    if stem == "patching":
        of |= {"against_id": 41, "other": "the dog sat on a mat and the cat"}
    mine = own(model, trace, stem, number, **of)
    drawn = draws(model, trace, stem, number, kind, **of, first=0, count=5)
    [known] = modules(model).to_dict("records")
    reads = {each: known[each] for each in ("norm", "logit_scale", "logit_cap")}
    within = places(model, "attn")["within"].tolist()
    reads["parts"] = {"attn": (within, known["write_scale"])}
    end = section(null, number, kind, blocks=model.blocks_path, **of, n_draws=5, **reads)
    printed = output_of(program("x", "", str(tiny_folder(name)), None, PROMPT) + end, tmp_path)
    rows = [line.split() for line in printed.splitlines() if re.match(r" +\d", line)]
    wanted = band(mine, drawn).assign(layer=range(len(mine)))
    found = np.array(rows, dtype=float)
    assert np.allclose(found, wanted, rtol=2e-4, atol=2e-5, equal_nan=True)
    assert len(set(drawn.dropna()["value"].round(9))) > 3, "draws differ"


def test_shuffled_text_has_the_same_tokens_and_a_token_stays_where_it_is(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain]
) -> None:
    model, plain = tiny("llama"), twin("llama")
    trace = model.capture(PROMPT)
    ids = trace.token_ids[:6]
    drawn = draws(model, trace, "hidden_states", NORM, "shuffled text", position=5, count=3)
    for draw, rows in drawn.groupby("draw"):
        order = [*np.random.default_rng(int(draw)).permutation(5), 5]
        states = plain.run(ids[order]).hidden[:, -1].double()
        assert np.allclose(rows["value"], states.norm(dim=-1), rtol=1e-5)
    again = draws(
        model, trace, "hidden_states", NORM, "shuffled text", position=5, first=2, count=1
    )
    assert np.allclose(again["value"], rows["value"]), "a draw's seed is its number"
    first = drawn.loc[drawn["layer"] == 0, "value"]
    assert np.allclose(first, first.iloc[0]), "the token that it is about"


def test_what_comes_later_plays_no_part(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    whole, short = model.capture(PROMPT), model.capture("the cat sat on")
    n_tokens = len(short.tokens)
    for stem, number in (("hidden_states", NORM), ("logit_lens", "Entropy of the lens (nats)")):
        here = own(model, whole, stem, number, position=n_tokens - 1)
        assert np.allclose(here["value"], own(model, short, stem, number)["value"], rtol=1e-4)
    text = "Surprisal of the text (nats a token)"
    found = own(model, whole, "predictions", text, position=2)["value"]
    assert np.allclose(found, own(model, whole, "predictions", text)["value"]), "of all of it"


@pytest.mark.parametrize("factor", [2.0, -3.0])
def test_random_directions_keep_norms_and_know_nothing(
    tiny: Callable[[str], Model], factor: float
) -> None:
    """A scaled stream has norms scaled by the factor's size, and cosines as they were."""
    model = tiny("llama")
    trace = model.capture(PROMPT)
    scaled = replace(trace, hidden=trace.hidden * factor, verify=None)
    number = "Median cosine of all pairs of tokens"
    for of in (trace, scaled):
        drawn = draws(model, of, "laminar_profile", number, "random directions", count=20)
        by_draw = drawn.groupby("layer")["value"].mean()
        assert (by_draw.abs() < 3 / np.sqrt(model.d_model * 20)).all()
    mine = [own(model, of, "laminar_profile", number)["value"] for of in (trace, scaled)]
    assert np.allclose(*mine, atol=1e-6)
    norms = [own(model, of, "hidden_states", NORM)["value"] for of in (trace, scaled)]
    assert np.allclose(norms[1], abs(factor) * norms[0])


def test_who_waits_no_more_stops_a_draw_between_two_blocks(tiny: Callable[[str], Model]) -> None:
    model, told = tiny("llama"), []

    def progress(fraction: float, text: str) -> None:
        told.append(text)
        if len(told) > 3:
            raise CancelledError("The model has other work.")

    trace = model.capture(PROMPT)
    for kind in ("shuffled text", "random blocks"):
        told.clear()
        with pytest.raises(CancelledError):
            draws(model, trace, "hidden_states", NORM, kind, count=4, progress=progress)
        assert told == ["Draw 1 of 4"] * 4
    after = model.capture(PROMPT).hidden
    assert torch.equal(after, trace.hidden), "no hook stays"


def test_what_cannot_be_drawn_is_said_in_a_sentence(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    with pytest.raises(InputError, match="too few tokens"):
        draws(model, trace, "hidden_states", NORM, "shuffled text", position=1)
    with pytest.raises(InputError, match="only shuffled text, random blocks"):
        draws(model, trace, "hidden_states", NORM, "random directions")
    with pytest.raises(InputError, match="no number 'x'"):
        own(model, trace, "hidden_states", "x")
    with pytest.raises(InputError, match="no number"):
        own(model, trace, "nowhere", NORM)


# -- what is said of them -------------------------------------------------------------------------


def test_a_band_holds_nine_tenths_of_the_draws() -> None:
    drawn = many(*([float(i), -2.0 * i] for i in range(21)))
    found = band(curve([3.0, 4.0]), drawn)
    assert found["low"].tolist() == [1.0, -38.0]
    assert found["middle"].tolist() == [10.0, -20.0]
    assert found["high"].tolist() == [19.0, -2.0]
    assert band(curve([3.0, 4.0]), drawn[0:0])["low"].isna().all()


@pytest.mark.parametrize("factor", [1.0, -0.5])
def test_how_often_chance_goes_as_far_at_any_layer(factor: float) -> None:
    """By hand, in whatever unit and direction a number is counted."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, 6)) * [1, 10, 1, 1, 1, 1]
    mine = np.array([0.0, 0, 2.4, 0, 0, 0])
    together = np.vstack([mine, rows])
    size = np.abs(together - np.median(together, axis=0)) / together.std(axis=0)
    wanted = int((size[1:].max(axis=1) >= size[0].max()).sum())
    assert 0 < wanted < 20
    drawn = many(*(factor * rows).tolist())
    assert as_far(curve((factor * mine).tolist()), drawn) == (wanted, 20, 2)
    mine[3] = 90
    far = factor * mine
    assert as_far(curve(far.tolist()), drawn) == (0, 20, 3)


def test_among_equals_each_is_farthest_as_often() -> None:
    """So looking at all layers raises no alarm more often than it says: 1 of 20 at most."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        rows = rng.standard_normal((20, 12)).cumsum(axis=1)
        alarms += as_far(curve(rows[0].tolist()), many(*rows[1:].tolist()))[0] == 0
    assert 8 <= alarms <= 34  # 20 of 400, within three and a bit deviations


def test_a_layer_at_which_all_are_one_says_nothing() -> None:
    drawn = many([5.0, 1.0, np.nan], [5.0 + 1e-9, 2.0, 1.0], [5.0, 3.0, 2.0])
    assert as_far(curve([5.0, 9.0, 1.0]), drawn) == (0, 3, 1)
    nothing = many([np.nan], [np.nan])
    assert as_far(curve([1.0]), nothing) == (0, 0, 0)
    assert "no draw of" in chance_reading("N", "random blocks", curve([1.0]), nothing)
    some = many([1.0], [2.0])
    assert "nothing to compare" in chance_reading("N", "random blocks", curve([np.nan]), some)


def test_a_draw_without_a_number_is_left_out_and_the_others_are_counted() -> None:
    rng = np.random.default_rng(3)
    rows = [[np.nan, *row] for row in rng.standard_normal((19, 4)).tolist()]
    drawn, mine = many(*rows), curve([np.nan, 0.0, 9.0, 0.0, 0.0])
    assert as_far(mine, drawn) == (0, 19, 2)
    lost = many(*rows[:7], [np.nan] * 5, *rows[7:])
    assert as_far(mine, lost) == (0, 19, 2)
    said = chance_reading("N", "shuffled text", mine, lost)
    assert said.endswith("in 0 of 19 draws (1 more has no such number).")


def test_the_program_passes_over_draws_without_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    values = [[np.nan, 1.0, 5.0], [np.nan, np.nan, np.nan], [np.nan, 3.0, np.nan]]
    known = {"np": np, "number": lambda *run: [7.0, 8.0, 9.0], "drawn": values.__getitem__}
    known |= dict.fromkeys(("chance_hidden", "chance_logits", "chance_ids", "chance_weights"))
    exec(chance_script._PRINTED, known | {"DRAWS": 3, "NUMBER": "N"})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    wanted = band(curve([7.0, 8.0, 9.0]), many(*values))
    assert np.allclose(np.array(printed, dtype=float), wanted, equal_nan=True)


def test_the_sentence_ends_with_what_the_null_gave() -> None:
    drawn = many(*([1000.0 * i, float(i)] for i in range(20)))  # farther at layer 0, as numbers
    said = chance_reading("Norm of the state", "shuffled text", curve([30_000, -300.0]), drawn)
    assert said == (
        "Norm of the state: −300 at layer 1, where shuffled text gives 0.95 to 18.1 (5 to 95% of "
        "the draws). In standard deviations that is its largest distance from their middle, and as "
        "much is what shuffled text gives, at one layer or another, in 0 of 20 draws."
    )
    one = many(*([float(i)] for i in range(20))).assign(layer=30)
    said = chance_reading("Entropy", "random blocks", curve([9.4]).assign(layer=30), one)
    assert said.endswith("As far from their middle is what random blocks give in 20 of 20 draws.")
    assert "at layer" not in said
    assert chance_reading("Entropy", "random blocks", curve([9.4]), one[0:0]).endswith("drawn yet.")


def test_every_kind_is_explained() -> None:
    assert {kind for _, _, kind in NAMED} == set(chance.KINDS)
    for kind in chance.KINDS.values():
        assert kind.meaning.endswith(".")
