"""Every figure of every page speaks one language: a title, what it is of, axes that name their
quantity, and a note on what it leaves out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.test_small_models import EVERY, PAGES, PAIR, PROMPT, WORDS, page, small

assert small  # a fixture

QUOTED = {"prompt": f"“{PROMPT}”", "other": "B “The capital of France is”", "sample": "a sample of"}
QUOTED["lens"] = "the texts that J was fitted on"
QUOTED["set"] = "24 pairs, “Singular and plural”"
VIEWS = [
    # A map looks the same by UMAP, which takes long.
    *(each for each in EVERY if each[0] != "trajectories" or each[1].get("method") == "PCA"),
    ("predictions", {"k": 5}),
    ("logit_lens", {"mode": "attn_frozen_norm", "view": "Where the target's logit comes from"}),
    *((stem, PAIR) for stem in ("logit_lens", "scaling")),
    ("scaling", {**PAIR, "view": "Every factor"}),
    ("logit_lens", {"view": "While it writes", "n_written": 4}),
    ("logit_lens", {"view": "Nearest states"}),
    *(("gaussian_baseline", {"view": v}) for v in ("Histogram", "Three steps", "Whole model")),
    ("gaussian_baseline", {"view": "Dimensions"}),
    ("gaussian_baseline", {"view": "Intrinsic dimension", "positions": 500}),
    (
        "gaussian_baseline",
        {"view": "Intrinsic dimension", "positions": 500, "null_shuffl": True, "null_random": True},
    ),
    ("trajectories", {"view": "Shape"}),
]
# What a quantitative axis may be called: each name says the unit, or what is counted or compared.
UNITS = re.compile(
    r"nats|Probability|Layer \(0 = embedding\)|^Block|[Ll]ogit|[Cc]osine\b|[Nn]orm\b|Variance|"
    r"^Mean$|kurtosis|[Aa]ctivation|^Dimension|Density|Rank (of .* )?\(0 is best\)|"
    r"standard deviations|KS distance \(0 to 1\)|Attention weight"
    r"|degrees|^Number of texts|^Change of J \(share"
    r"|^Share of (tokens|prompts told right) \(0 to 1\)"
)
# How much there is of what a figure's rows name: of less than that a note must tell.
WHOLE = {"position": 7, "path": 7, "pairs": 7, "dim": 32, "token_id": len(WORDS), "observed": 2_000}
NO_CHARTS = ("What came out", "Read elsewhere", "Massive")  # of a small model nothing is massive
NOTE = re.compile(r"\d of [\d,]+ (token|dimension|state|layer)s|without |only tokens")


def rows_of(chart: Any) -> pd.DataFrame:
    """The rows as they were sent."""
    return pa.ipc.open_stream(chart.datasets[0].data.data).read_pandas()


def quantities(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """For x and for y: what is quantitative and has an axis, of a chart and of its layers."""
    for channel in ("x", "y"):
        views = [view.get("encoding") or {} for view in (spec, *spec.get("layer", ()))]
        found = [view[channel] for view in views if view.get(channel)]
        found = [each for each in found if each.get("type") == "quantitative"]
        if found and all(each.get("axis", 0) is not None for each in found):
            yield next((each for each in found if each.get("title")), {})


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """How much of each thing there is among the rows."""
    found = {name: rows[name].nunique() for name in WHOLE if name in rows}
    if "position_a" in rows:
        found["pairs"] = len({*rows["position_a"], *rows["position_b"]})
    return found | ({"observed": len(rows)} if "observed" in rows else {})


@pytest.mark.parametrize(("stem", "chosen"), VIEWS)
def test_figures_speak_one_language(stem: str, chosen: dict[str, Any], small: None) -> None:
    arguments = (str(PAGES / f"{stem}.py"), PROMPT, chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    drawn = app.get("vega_lite_chart")
    assert drawn or chosen.get("view") in NO_CHARTS
    for chart in (each.proto for each in drawn):
        spec, rows = json.loads(chart.spec), rows_of(chart)
        title = spec["title"]
        assert title["text"]
        for axis in quantities(spec):
            named = axis.get("title", "")  # a long one is a list of lines
            assert UNITS.search(named if isinstance(named, str) else " ".join(named)), (title, axis)
        if chart.alt.startswith("Cosine ("):  # the legend of the matrices beside it
            continue
        subtitle = title["subtitle"]
        if isinstance(subtitle, dict):  # lines for several widths, the narrowest last
            subtitle = json.loads(subtitle["expr"][subtitle["expr"].rindex('["') :])
        assert max(map(len, subtitle)) <= 60
        said = " ".join(subtitle)
        assert any(quoted in said for quoted in QUOTED.values()), said
        assert "small" in said, said
        assert "small" in chart.alt
        if any(count < WHOLE[name] for name, count in counts(rows).items()):
            assert NOTE.search(said), (title, counts(rows))
            assert NOTE.search(chart.alt)


def test_what_a_step_asks_about_is_the_first_figure_of_the_lens(small: None) -> None:
    for asked, first in (("", "Layer"), ("followed_prob", "Probability"), ("attribution", "What")):
        view = {"view": "Where the target's logit comes from"} if asked == "attribution" else {}
        arguments = (str(PAGES / "logit_lens.py"), PROMPT, {"asked_figure": asked, **view})
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert app.get("vega_lite_chart")[0].proto.alt.startswith(first)
