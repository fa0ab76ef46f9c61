"""The grid of the logit lens: two scales, shared by grids beside each other, and their legends."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strata.charts.grid import QUANTITIES, Scale, lens_grid, scale_for
from tests.concepts.by_hand import HOSTILE

D_VOCAB = 1000


def frame(sink: float = 900.0) -> pd.DataFrame:
    """Two layers of as many positions as there are hostile tokens; position 0 is far larger."""
    n = len(HOSTILE)
    rows = pd.DataFrame({"layer": np.repeat([0, 1], n), "position": np.tile(np.arange(n), 2)})
    rows["token"] = rows["predicted"] = list(HOSTILE) * 2
    rows["token_id"], rows["final_id"] = rows["position"], 2
    size = np.where(rows["position"] == 0, sink, rows["position"] + 10.0 * rows["layer"])
    for name in QUANTITIES:
        rows[name] = size
    for name in ("prob", "target_prob"):
        rows[name] = 0.25
    for name in ("logit", "target_logit"):
        rows[name] = -size
    return rows.assign(top="a 1%\nb 0%", other="")


@pytest.mark.parametrize("quantity", ["norm", "logit", "target_logit"])
def test_a_sink_does_not_stretch_a_scale_unless_asked(quantity: str) -> None:
    rows = frame()
    others = rows[rows["position"] > 0][quantity].abs().max()
    assert scale_for([rows], quantity, D_VOCAB, [[0]]).full == others
    assert scale_for([rows], quantity, D_VOCAB).full == 900
    levels = scale_for([rows], quantity, D_VOCAB, [[0]]).levels(rows)
    assert abs(levels[0]) == 1
    alone = rows[rows["position"] == 0]
    assert scale_for([alone], quantity, D_VOCAB, [[0]]).full == 900  # there is nothing else to show


def test_two_grids_share_their_scales() -> None:
    small, large = frame(), frame()
    large["norm"] *= 3
    shared = scale_for([small, large], "norm", D_VOCAB)
    assert shared == scale_for([large], "norm", D_VOCAB)
    one, three = shared.levels(small)[5], shared.levels(large)[5]
    assert three == pytest.approx(3 * one)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_legend_names_both_ends(quantity: str) -> None:
    scale = scale_for([frame()], quantity, D_VOCAB)
    for kind, where in (("back", "Background"), ("front", "Letters")):
        legend = scale.legend(kind)
        assert legend["name"] == f"{where}: {QUANTITIES[quantity]}"
        assert (legend["low"] == "") == (quantity == "nothing")
        if legend["signed"]:
            assert (legend["low"][:1], legend["high"][:1]) == (
                ("−", "+") if kind == "back" else ("0", "±")
            )


def test_a_quantity_that_is_nowhere_leaves_a_grid_without_colour() -> None:
    rows = frame().assign(kl_to_final=0.0, entropy=np.nan)
    for quantity in ("kl_to_final", "entropy", "nothing"):
        assert not scale_for([rows], quantity, D_VOCAB).levels(rows).any()


def test_tokens_are_shown_in_their_safe_form() -> None:
    rows = frame()
    rows.loc[rows["layer"] == 0, "other"] = "c −1"
    nothing = Scale("nothing", 1.0, "", "")
    grid = lens_grid(rows, "Title", "It says so.", nothing, nothing)
    written = [cell["shown"] + cell["tip"] for row in grid.cells for cell in row]
    for text in (*written, *(column["shown"] for column in grid.columns)):
        assert all(character == "\n" or character.isprintable() for character in text)
    assert grid.layers == [1, 0]
    assert [cell["same"] for cell in grid.cells[0]][:4] == [False, False, True, False]
    assert grid.cells[0][1]["tip"].endswith("\na 1%\nb 0%\nnorm 11")
    assert grid.cells[1][1]["tip"].endswith("\na 1%\nb 0%\n…\nc −1\nnorm 1")
    assert grid.legend == []
