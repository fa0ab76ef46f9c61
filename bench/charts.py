"""What a chart costs the server: a spec that exists beside one that Altair builds each time."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import pandas as pd

from bench.measure import Row, take_turns
from strata import charts


def chart(name: str, quick: bool) -> Iterator[Row]:
    """The bars of the next tokens, as Strata hands them to Streamlit and as Altair would."""
    frame = pd.DataFrame(
        {"label": [f"token {i}" for i in range(10)], "order": range(10), "value": 0.1}
    ).assign(logprob=-2.3, chosen=False)

    def ours() -> object:
        return charts.bars(frame, "What may follow", "Ten bars").spec

    def built() -> object:
        encoded = alt.Chart(frame, title="What may follow").encode(
            x=alt.X("value:Q", title="Probability", axis=alt.Axis(format="%")),
            y=alt.Y("label:N", title=None, sort=alt.EncodingSortField("order", op="min")),
            color=alt.condition("datum.chosen", alt.value("orange"), alt.value("steelblue")),
            tooltip=["label", "order", "value", "logprob"],
        )
        with alt.data_transformers.disable_max_rows():
            return (encoded.mark_bar() + encoded.mark_text(dx=4)).to_dict()

    taken = take_turns({"ours": ours, "altair": built}, rounds=5 if quick else 50)
    yield Row("chart of ten bars", taken["ours"], taken["altair"], "built with Altair")
