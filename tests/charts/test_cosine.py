"""Matrices of cosines: colours that say their ends, titles that say what is shown."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from strata import charts
from strata.charts.common import MAGNITUDE, SIGNED
from strata.concepts.laminar_profile import layer_matrices, token_matrices
from tests.concepts.by_hand import HOSTILE, trace
from tests.concepts.laminar_profile.test_laminar_profile import norm_model

AUTOMATIC, FULL, BY_HAND = charts.COLOURS
LABELS = [f"{i} t{i}" for i in range(6)]


def rgb(text: str) -> tuple[int, ...]:
    if text.startswith("#"):
        return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))
    return tuple(int(part) for part in text[4:-1].split(", "))


# -- colours ----------------------------------------------------------------------------------


def test_automatic_colours_hold_every_cell() -> None:
    cosines = pd.Series([0.311, 0.5, float("nan"), 1.0])
    scale = charts.colours(cosines)
    assert (scale.low, scale.high) == (0.31, 1.0)
    assert scale.legend(cosines) == "Cosine (automatic, 0.31 to 1)"
    exact = charts.colours(pd.Series([-0.29, 0.57]))
    assert (exact.low, exact.high) == (-0.29, 0.57)


def test_what_is_clipped_is_counted_in_the_legend() -> None:
    cosines = pd.Series([-0.5, 0.79, 0.8, 1.0, float("nan")])
    scale = charts.colours(cosines, BY_HAND, (0.8, 0.99))
    expected = "Cosine (by hand, 0.8 to 0.99; 3 cells are beyond, in the end colours)"
    assert scale.legend(cosines) == expected
    assert "1 cell is beyond" in scale.legend(cosines.iloc[1:3])
    assert scale.legend(cosines.iloc[2:3]) == "Cosine (by hand, 0.8 to 0.99)"
    assert scale.scale["clamp"]


def test_the_full_range_says_so() -> None:
    cosines = pd.Series([0.5])
    scale = charts.colours(cosines, FULL)
    assert (scale.low, scale.high) == (-1, 1)
    assert scale.legend(cosines) == "Cosine (−1 to 1)"
    assert scale.scale["domain"] == [-1, -0.5, 0, 0.5, 1]
    assert [rgb(c) for c in scale.scale["range"]] == [rgb(c) for c in SIGNED]


def test_zero_is_neutral_wherever_cosines_may_be_negative() -> None:
    scale = charts.colours(pd.Series(), BY_HAND, (-0.25, 1)).scale
    at = dict(zip(scale["domain"], map(rgb, scale["range"]), strict=True))
    assert list(at) == [-0.25, 0, 0.5, 1]
    assert at[0] == rgb(SIGNED[2])
    assert at[1] == rgb(SIGNED[4])
    half = [(a + b) / 2 for a, b in zip(rgb(SIGNED[1]), rgb(SIGNED[2]), strict=True)]
    assert at[-0.25] == pytest.approx(half, abs=1)  # half as negative as -0.5, half as blue
    below = charts.colours(pd.Series(), BY_HAND, (-1, -0.5)).scale
    assert [rgb(c) for c in below["range"]] == [rgb(c) for c in SIGNED[:2]]


def test_sizes_have_a_scale_without_a_middle() -> None:
    scale = charts.colours(pd.Series([0.2, 0.9])).scale
    assert scale["scheme"] == MAGNITUDE
    assert scale["domain"] == [0.2, 0.9]


@pytest.mark.parametrize("cosines", [[1.0, 1.0], [-1.0], [float("nan")], []])
def test_a_scale_has_two_ends_inside_the_range(cosines: list[float]) -> None:
    scale = charts.colours(pd.Series(cosines, dtype=float))
    assert -1 <= scale.low < scale.high <= 1


def test_the_bar_is_the_legend() -> None:
    scale = charts.colours(pd.Series([-0.4, 1.0]))
    bar = charts.colour_bar(scale, pd.Series([-0.4, 1.0]))
    assert bar.alt.startswith("Cosine (automatic, −0.4 to 1). ")
    assert bar.frame["cosine"].between(-0.4, 1).all()
    assert bar.spec["encoding"]["color"]["scale"] == scale.scale


# -- matrices ---------------------------------------------------------------------------------


def test_the_final_norm_stands_apart_from_the_layers() -> None:
    cells = layer_matrices(norm_model(), trace(layers=4, tokens=6), (0, 5))
    scale = charts.colours(cells["cosine"])
    first, second = charts.layer_matrices(cells, [0, 5], LABELS, scale, "Read this.")
    assert first.alt == "Token 0 t0. Read this."
    assert second.spec["title"] == "Token 5 t5"
    assert sorted(first.frame["a"].unique()) == [0, 1, 2, 3, 5]
    params = {param["name"]: param["value"] for param in first.spec["params"]}
    assert params == {"labels": ["0", "1", "2", "3", "", "norm"], "of": "0 t0"}
    encoding = first.spec["encoding"]
    assert encoding["x"]["scale"]["domain"] == [0, 1, 2, 3, 4, 5]
    assert encoding["y"]["scale"]["domain"] == [5, 4, 3, 2, 1, 0]  # as in the seed, upwards
    assert encoding["color"]["scale"] == scale.scale
    assert encoding["color"]["legend"] is None


def test_a_title_says_where_a_matrix_is_another_one() -> None:
    model, run = norm_model(), trace(layers=6, tokens=6)
    cells = layer_matrices(model, run, (0, 1))
    scale = charts.colours(cells["cosine"])
    titles = [c.spec["title"] for c in charts.layer_matrices(cells, [0, 5], LABELS, scale, "")]
    assert titles == ["Token 0 t0", "Token 5 t5 (really 1 t1)"]
    names = [*(f"layer {layer}" for layer in range(6)), "after the final norm"]
    cells = token_matrices(model, run, (0, 1))
    drawn = charts.token_matrices(cells, [0, 6], names, LABELS, scale, "")
    titles = [c.spec["title"] for c in drawn]
    assert titles == ["Layer 0", "After the final norm (really layer 1)"]


def test_a_single_matrix_is_large_and_carries_its_legend() -> None:
    cells = token_matrices(norm_model(), trace(tokens=6), (2,))
    scale = charts.colours(cells["cosine"], BY_HAND, (0.5, 1))
    [chart] = charts.token_matrices(cells, [2], ["", "", "layer 2"], LABELS, scale, "")
    legend = chart.spec["encoding"]["color"]["legend"]
    assert legend["title"] == scale.legend(cells["cosine"])
    assert "beyond" in legend["title"]
    small = charts.token_matrices(
        token_matrices(norm_model(), trace(tokens=6), (1, 2)),
        [1, 2],
        ["", "layer 1", "layer 2"],
        LABELS,
        scale,
        "",
    )
    assert max(each.height for each in small) < chart.height


def test_token_labels_are_data_and_never_part_of_an_expression() -> None:
    cells = token_matrices(norm_model(), trace(tokens=6), (2,))
    scale = charts.colours(cells["cosine"])
    [chart] = charts.token_matrices(cells, [2], ["", "", "layer 2"], list(HOSTILE), scale, "")
    elsewhere = json.dumps({k: v for k, v in chart.spec.items() if k != "params"})
    assert not any(json.dumps(token)[1:-1] in elsewhere for token in HOSTILE if token)
    assert chart.spec["params"][0] == {"name": "labels", "value": list(HOSTILE)}
