"""Lines of followed tokens, bars of an attribution, bars of an opened cell."""

from __future__ import annotations

import json
from typing import Any

import altair
import pandas as pd
import pytest

from strata.charts.common import Chart
from strata.charts.lens import attribution, cell_bars, followed
from tests.concepts.by_hand import HOSTILE

N_LAYERS = 3


def ways(n: int = 10) -> pd.DataFrame:
    """Tokens of which every two look alike."""
    rows = [
        (token, HOSTILE[token // 2 % len(HOSTILE)], layer, 1 / (token + layer + 2), 10 * token)
        for token in range(n)
        for layer in range(N_LAYERS + 1)
    ]
    return pd.DataFrame(rows, columns=["token_id", "predicted", "layer", "prob", "rank"])


def parts(scale: float = 1.0) -> pd.DataFrame:
    blocks = [block for block in range(N_LAYERS) for _ in range(2)]
    return pd.DataFrame(
        {
            "part": ["embedding", *("attn", "mlp") * N_LAYERS, "norm_bias", "head_bias"],
            "block": pd.array([None, *blocks, None, None], dtype="Int64"),
            "logit": [scale * value for value in (0.5, -1, 2, 0.25, 3, -0.5, 4, 0.125, 0)],
        }
    )


def end(sign: float, *, frozen: bool = False) -> pd.DataFrame:
    rows = pd.DataFrame({"rank": range(10), "predicted": list(HOSTILE * 3)[:10]})
    return rows.assign(logit=sign * (10.0 - rows["rank"]), prob=float("nan") if frozen else 0.07)


FORMS = {
    "probability": lambda: followed(ways(), "prob", "It says so."),
    "rank": lambda: followed(ways(), "rank", "It says so."),
    "attribution": lambda: attribution(parts(), "What adds", "It says so."),
    "state": lambda: cell_bars(end(1), end(-1), "layer 3", writes=False),
    "write": lambda: cell_bars(end(1, frozen=True), end(-1, frozen=True), "layer 3", writes=True),
}


def channels(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (channel, one)
        for view in (spec, *spec.get("layer", ()))
        for channel, what in view.get("encoding", {}).items()
        for one in (what if isinstance(what, list) else [what])
    ]


@pytest.fixture(params=FORMS)
def chart(request: pytest.FixtureRequest) -> Chart:
    return FORMS[request.param]()


def test_the_spec_is_valid_and_draws_columns_that_exist(chart: Chart) -> None:
    values = json.loads(chart.frame.to_json(orient="records"))
    altair.Chart.from_dict({**chart.spec, "data": {"values": values}, "height": chart.height})
    fields = {one["field"] for _, one in channels(chart.spec) if "field" in one}
    assert fields <= set(chart.frame.columns)
    assert chart.alt.endswith(".")
    tips = [one for channel, one in channels(chart.spec) if channel == "tooltip"]
    assert tips
    assert all(tip["title"] and tip["title"].lower() != "image" for tip in tips)


def test_tokens_that_look_alike_stay_apart() -> None:
    chart = followed(ways(), "rank", "It says so.")
    assert chart.frame.groupby("label")["token_id"].nunique().eq(1).all()
    assert chart.frame["label"].nunique() == 10
    [colour] = [one for channel, one in channels(chart.spec) if channel == "color"]
    [dash] = [one for channel, one in channels(chart.spec) if channel == "strokeDash"]
    looks = zip(colour["scale"]["range"], map(tuple, dash["scale"]["range"]), strict=True)
    assert len(set(looks)) == 10
    bars = cell_bars(end(1), end(-1), "layer 3", writes=True)
    assert bars.frame["label"].is_unique


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_the_sum_of_an_attribution_ends_at_the_logit(scale: float) -> None:
    frame = attribution(parts(scale), "What adds", "It says so.").frame
    assert frame["sum"].iloc[-1] == pytest.approx(scale * 8.375)
    assert frame["sum_text"].tolist()[:-1] == [""] * 8
    assert frame["sum_text"].iloc[-1] == f"sum {scale * 8.375:.3f}"
    at = frame.drop_duplicates("place").set_index("place")["after"]
    assert at.index.tolist() == [-1, 0, 1, 2, 3]
    assert at.tolist() == pytest.approx([scale * total for total in (0.5, 1.5, 4.75, 8.25, 8.375)])


def test_a_write_shows_both_ends_and_a_state_its_best() -> None:
    write, state = FORMS["write"]().frame, FORMS["state"]().frame
    assert write["end"].tolist() == ["promoted"] * 6 + ["suppressed"] * 6
    assert write["logit"].is_monotonic_decreasing
    assert set(state["end"]) == {"promoted"}
    assert len(state) == 10
