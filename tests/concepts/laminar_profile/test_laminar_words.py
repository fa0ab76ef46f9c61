"""What the laminar profile says, and its program, run and compared with the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.laminar_profile import (
    CONCEPT,
    layer_matrices,
    pair,
    points,
    statistics,
    token_matrices,
    words,
)
from strata.display.tokens import display_token
from strata.model import Model
from tests.concepts.by_hand import HOSTILE, bundled_folder, trace
from tests.concepts.laminar_profile.test_laminar_profile import STATE, norm_model, with_states
from tests.scripts import output_of

SHOWN = [f"t{i}" for i in range(12)]
MATRIX = ["position", "layer_a", "layer_b", "cosine"]


def of_numbers(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """`statistics` with only what a sentence names."""
    columns = [*STATE, "n_pairs", "minimum", "q25", "median", "q75", "maximum"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(random_low=-0.08, random_high=0.08, mean=0.0)


NUMBERS = of_numbers(
    (0, False, 6, -0.3, -0.2, -0.1, 0.1, 0.2),
    (1, False, 6, 0.2, 0.3, 0.82, 0.9, 0.95),
    (2, False, 6, 0.1, 0.2, 0.72, 0.8, 0.9),
    (2, True, 6, 0.1, 0.2, 0.666, 0.8, 0.9),
)


def drawn(n: int) -> pd.DataFrame:
    """`points` with n pairs in each column of `NUMBERS`."""
    return pd.concat([NUMBERS[STATE]] * n, ignore_index=True)


def test_profile_reading() -> None:
    assert words.profile_reading(NUMBERS, drawn(6)) == (
        "The median cosine of 6 pairs goes from −0.10 at layer 0 to 0.72 at layer 2, highest at "
        "layer 1 (0.82); after the final norm it is 0.67. Of pairs of random vectors, 95% would "
        "lie between −0.08 and 0.08."
    )


def test_profile_reading_says_what_is_not_drawn_and_what_has_no_cosine() -> None:
    text = words.profile_reading(NUMBERS, drawn(4))
    assert text.endswith(
        " 4 pairs or more of 6 are drawn at each layer, a sample that keeps both extremes; the "
        "statistics use all."
    )
    hidden = trace(layers=3, tokens=5, d_model=8).hidden.clone()
    hidden[1] = hidden[1, :1]
    run = with_states(hidden)
    frame = statistics(norm_model(), run, center=True)
    text = words.profile_reading(frame, points(norm_model(), run, center=True))
    assert " At layer 1, 6 pairs have no cosine, since a state there is zero." in text
    assert "nan" not in text
    assert "drawn" not in text


@pytest.mark.parametrize("tokens", [1, 2])
def test_profile_reading_without_pairs(tokens: int) -> None:
    run = trace(tokens=tokens)
    frame, none = statistics(norm_model(), run), points(norm_model(), run)
    assert "use a longer prompt, or keep the sinks" in words.profile_reading(frame, none)
    assert "nothing to get wrong" in words.unique_bug_reading(frame, frame)


def test_between_layers_reading_names_the_largest_turn() -> None:
    rows = [(p, a, b, 1.0) for p in (0, 4) for a in range(4) for b in range(4)]
    frame = pd.DataFrame(rows, columns=MATRIX).set_index(MATRIX[:3])
    frame.loc[(0, 0, 1)], frame.loc[(4, 1, 2)] = 0.5, -0.25
    frame.loc[(4, 0, 2)], frame.loc[(4, 2, 3)] = 0.125, -0.5
    assert words.between_layers_reading(frame.reset_index(), SHOWN) == (
        "Block 1 turns the state of “t4” (4) most: the cosine between before and after is −0.25. "
        "Between the embedding and layer 2 it is 0.12, between layer 2 and its final norm −0.50."
    )
    alone = layer_matrices(norm_model(), trace(tokens=1), (0,), center=True)
    assert "no direction" in words.between_layers_reading(alone, SHOWN)


def test_between_tokens_reading() -> None:
    run = trace(layers=3, tokens=5)
    shown = [display_token(token) for token in run.tokens]
    one = token_matrices(norm_model(), run, (1,))
    off = one[one["position_a"] < one["position_b"]]
    top, low = (off.loc[off["cosine"].agg(which)] for which in ("idxmax", "idxmin"))
    text = words.between_tokens_reading(one, shown, 2)
    assert text.startswith(f"At layer 1 the states of “{shown[int(top['position_a'])]}” (")
    assert f"cosine {top['cosine']:.2f}, those of “{shown[int(low['position_a'])]}” (" in text
    assert text.endswith("least, " + f"{low['cosine']:.2f}.".replace("-", "−"))
    several = token_matrices(norm_model(), run, (0, 2, 3), n_max=48)
    medians = [
        np.median(cells[cells["position_a"] < cells["position_b"]]["cosine"])
        for _, cells in several.groupby("layer")
    ]
    a, b, c = (f"{median:.2f}".replace("-", "−") for median in medians)
    assert words.between_tokens_reading(several, shown, 2) == (
        f"The median cosine of two different tokens is {a} at layer 0, {b} at layer 2 and {c} "
        "after the final norm. 4 of 5 tokens are drawn, evenly spaced."
    )
    alone = token_matrices(norm_model(), trace(tokens=1), (0,))
    assert "no two tokens" in words.between_tokens_reading(alone, shown[:1], 2)


def test_pair_reading_places_a_pair_among_all() -> None:
    def place(cosine: float) -> str:
        path = pd.DataFrame({"cosine": [0.0, cosine]})
        return words.pair_reading(path, NUMBERS, 1, 3, 4, SHOWN)

    assert place(0.95) == (
        "At layer 1 “t3” (3) and “t4” (4) have a cosine of 0.950, the most alike of 6 pairs."
    )
    assert "the least alike of" in place(0.2)
    assert "in the most alike quarter of" in place(0.92)
    assert "in the middle half of" in place(0.5)
    assert "in the least alike quarter of" in place(0.25)
    assert "no cosine, since one" in place(float("nan"))
    run = trace(layers=2, tokens=4)
    path, frame = pair(norm_model(), run, 1, 2), statistics(norm_model(), run)
    text = words.pair_reading(path, frame, 2, 1, 2, SHOWN)
    assert text.startswith("After the final norm “t1” (1) and “t2” (2) have a cosine of ")


def test_a_cosine_is_called_1_only_where_it_is_1() -> None:
    path = pd.DataFrame({"cosine": [0.9996, 1.0, -0.0001]})
    numbers = of_numbers(*[(0, False, 9, -1, -1, 0, 1, 1)] * 3)
    said = [words.pair_reading(path, numbers, row, 0, 1, SHOWN) for row in range(3)]
    for text, number in zip(said, ("0.9996", "1.000", "0.000"), strict=True):
        assert f"a cosine of {number}, " in text


def test_context_marks_two_tokens_and_leaves_out_what_is_far() -> None:
    assert words.context(SHOWN, 1, 10, reach=1) == "t0⟦t1⟧t2…t9⟦t10⟧t11"
    assert words.context(SHOWN, 5, 4, reach=0) == "…⟦t4⟧⟦t5⟧…"
    assert words.context(SHOWN[:3], 0, 2) == "⟦t0⟧t1⟦t2⟧"
    # A browser may break the line where a word begins, and nowhere else.
    said = words.context(["␣John", "␣ga", "ve", "␣it", "."], 1, 3)
    assert said.split("\u200a") == ["␣John", "⟦␣ga⟧ve", "⟦␣it⟧."]


def test_unique_bug_reading_names_the_difference() -> None:
    wrong = NUMBERS.assign(minimum=[-0.28, 0.2, 0.1, 0.1], median=[0.0, 0.82, 0.72, 0.666])
    wrong["n_pairs"] = [6, 6, 4, 6]
    assert words.unique_bug_reading(NUMBERS, wrong) == (
        "Wrong in 1 of 4 columns: where a cosine is negative the shortcut drops the true minimum "
        "and invents a pair of cosine 0. At layer 0 the minimum is −0.300, not −0.280, and the "
        "median −0.100, not 0.000. At layer 2 it also merges 2 pairs of equal cosine with others."
    )
    positive = NUMBERS.iloc[1:]
    assert words.unique_bug_reading(positive, positive).startswith("No cosine is negative here")


def test_index_bug_reading_names_the_worst_panel() -> None:
    model, run = norm_model(), trace(layers=3, tokens=6)
    chosen = [0, 2, 5]
    right = layer_matrices(model, run, tuple(chosen))
    wrong = layer_matrices(model, run, (0, 1, 2))
    off = {
        t: abs(a["cosine"].to_numpy() - b["cosine"].to_numpy()).max()
        for t, (_, a), (_, b) in zip(
            chosen, right.groupby("position"), wrong.groupby("position"), strict=True
        )
    }
    assert off[0] == 0
    worst = max(off, key=off.get)  # type: ignore[arg-type]
    really = chosen.index(worst)
    assert words.index_bug_reading(right, wrong, chosen, SHOWN) == (
        "2 of 3 panels show something else than the title says: the one titled "
        f"“t{worst}” is really “t{really}”, and its cosines are off by up to {off[worst]:.2f}."
    )
    same = layer_matrices(model, run, (0, 1))
    assert "every title is right" in words.index_bug_reading(same, same, [0, 1], SHOWN)


def test_hostile_tokens_stay_out_of_the_sentences() -> None:
    """Sentences hold tokens only in the form that the page hands in."""
    run = trace(layers=3, tokens=6)
    shown = [display_token(token) for token in run.tokens]
    model = norm_model()
    said = [
        words.between_layers_reading(layer_matrices(model, run, (0, 1, 3)), shown),
        words.between_tokens_reading(token_matrices(model, run, (1,)), shown, 2),
        words.pair_reading(pair(model, run, 1, 3), statistics(model, run), 0, 1, 3, shown),
        words.context(shown, 1, 3),
    ]
    for text in said:
        assert not any(token in text for token in HOSTILE[:3])
        assert text.isprintable()


# -- show the code ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon-7b", "bloom", "opt", "gemma2"])
@pytest.mark.parametrize("center", [False, True])
def test_script_reproduces_the_page(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], name: str, center: bool
) -> None:
    model, prompt = tiny(name), 'A \u202e "cat"\n sat \x00 on """ the mat'
    run, ran = model.capture(prompt), {}
    last = model.n_layers + 1
    choices = {"positions": (0, 2), "layers": (1, last), "skip_first": not center, "center": center}
    code = CONCEPT.script(str(tiny_folder(name)), None, prompt, blocks=model.blocks_path, **choices)
    exec(compile(code, "script.py", "exec"), ran)
    assert ran["PROMPT"] == prompt
    for position, matrix in ran["between_layers"].items():
        cells = layer_matrices(model, run, (position,), center=center)
        np.testing.assert_allclose(matrix.flatten(), cells["cosine"], atol=1e-5)
    for layer, matrix in ran["between_tokens"].items():
        cells = token_matrices(model, run, (layer,), center=center)
        np.testing.assert_allclose(matrix.flatten(), cells["cosine"], atol=1e-5)
    drawn = points(model, run, skip_first=not center, center=center)
    np.testing.assert_allclose(ran["profile"].flatten(), drawn["cosine"], atol=1e-5)
    frame = statistics(model, run, skip_first=not center, center=center)
    names = ["minimum", "q25", "median", "q75", "maximum", "mean"]
    found = np.array(ran["statistics"])
    np.testing.assert_allclose(found[:, 1:], frame[names], atol=1e-5)
    assert found[:, 0].tolist() == list(range(last + 1))


def test_script_of_one_token(tiny_folder: Callable[[str], Path]) -> None:
    ran: dict[str, Any] = {}
    exec(CONCEPT.script(str(tiny_folder("llama")), None, "a", blocks="model.layers"), ran)
    assert ran["statistics"] == []


def test_script_runs_by_itself_and_prints_what_the_page_shows(model: Model, tmp_path: Path) -> None:
    prompt = "The capital of France is"
    code = CONCEPT.script(
        bundled_folder(), None, prompt, blocks=model.blocks_path, positions=(4,), layers=(30,)
    )
    assert "strata" not in code.replace(bundled_folder(), "")
    output = output_of(code, tmp_path)
    run = model.capture(prompt)
    printed = output.split("Laminar profile of 6 pairs")[1].splitlines()
    right, wrong = (statistics(model, run, unique=unique) for unique in (False, True))
    for name, row in (("layer 0", 0), ("after the final norm", 31)):
        [line] = (line for line in printed if line.endswith(f"  {name}"))
        numbers = [float(number) for number in line.replace("|", " ").split()[:8]]
        expected = [*right.iloc[row][["minimum", "q25", "median", "q75", "maximum", "mean"]]]
        expected += [wrong["minimum"][row], wrong["n_pairs"][row]]
        assert numbers == pytest.approx(expected, abs=1e-4)
    assert "Token 4, ' is': cosine of its state" in output
    torch.testing.assert_close(right["minimum"][0], -0.1479, atol=1e-3, rtol=0)
