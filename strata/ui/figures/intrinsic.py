"""The intrinsic dimension of sampled states: by layer, by scale, beside linear measures, on noise
of known dimension, and beside what chance gives."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.gaussian_baseline import words
from strata.concepts.gaussian_baseline.near import NULLS
from strata.ui.anatomy.page import draw, reading
from strata.ui.figures.sampled_states import NOUNS, States
from strata.ui.figures.texts import SampledPage

_AXIS, _LOG = "Dimensions", "Dimensions (logarithmic)"
_SCALES = {"at_2": "2 neighbours", "at_4": "4 neighbours", "at_8": "8 neighbours"}
_LINEAR = {
    "twonn": "TwoNN",
    "participation_ratio": "participation",
    "effective_dimension": "effective",
}


def draw_dimensions(page: SampledPage, chosen: States) -> dict[str, pd.DataFrame]:
    """The figures of the tab and what they say; their tables."""
    frame = page.ask("gaussian_baseline.intrinsic")
    here = frame[(frame["part"] == chosen.part) & (frame["layer"] == chosen.layer)]
    n = max(1, int(here["n_states"].iloc[0]))  # what the estimate says depends on how many
    known = page.ask("gaussian_baseline.known_dimension", n=n, d_model=page.about["d_model"])
    tables = {"intrinsic dimension": frame, "noise of known dimension": known}
    sentence = words.intrinsic_reading(frame, known, chosen.part, chosen.layer)
    if frame["twonn"].isna().all():
        reading(sentence)
        return tables
    note = words.equal_note(frame, chosen.part, chosen.layer)
    rows = frame[frame["part"] == chosen.part]
    top, below = st.columns(2, gap="medium"), st.columns(2, gap="medium")
    with top[0]:
        curve = frame[["layer", "part"]].assign(value=frame["twonn"])
        title = "Intrinsic dimension by layer (TwoNN)"
        draw(charts.by_part(curve, title, _AXIS, chosen.layer), "intrinsic", read=False)
    with top[1]:
        title = f"{NOUNS[chosen.part]}: beside linear measures"
        chart = charts.lines(_long(rows, _LINEAR), title, _LOG, sentence, log=True)
        draw(chart, "linear", read=False, note=note)
    with below[0]:
        title = f"{NOUNS[chosen.part]}: by scale"
        chart = charts.lines(_long(rows, _SCALES), title, _AXIS, sentence)
        draw(chart, "scales", read=False, note=note)
    with below[1]:
        _draw_bias(known)
    reading(sentence)
    reading(words.bias_reading(known), "_bias")
    st.caption(words.INTRINSIC)
    asked = st.columns(len(NULLS) + 1, vertical_alignment="center")
    asked[0].markdown("Beside it: what would chance give?")
    picked = [
        null
        for null, place in zip(NULLS, asked[1:], strict=True)
        if place.toggle(null.capitalize(), key=f"null_{null[:6]}", help=words.NULLS[null])
    ]
    if picked and page.sample["read"]:  # each null reads all texts anew, so once is enough
        st.caption("What chance gives comes when all texts are read.")
    elif picked:
        tables |= _beside(page, frame, picked, chosen)
    return tables


def _draw_bias(known: pd.DataFrame) -> None:
    names = {"dimension": "truth", "twonn": "TwoNN", "at_8": "8 neighbours"}
    sentence = words.bias_reading(known)
    rows = _long(known, names, "dimension")
    if rows.empty:
        return
    chart = charts.lines(
        rows,
        "The same of Gaussian noise of known dimension",
        "Dimensions said (logarithmic)",
        sentence,
        x=("dimension", "Dimensions of the noise (logarithmic)"),
        log=True,
        muted=("truth",),
    )
    draw(chart, "noise", read=False)


def _beside(
    page: SampledPage, frame: pd.DataFrame, nulls: list[str], chosen: States
) -> dict[str, pd.DataFrame]:
    """The stream beside what chance gives, which is computed when it is asked for."""
    skip = bool(page.sample["skip_first"])
    drawn = pd.concat(
        [page.ask("gaussian_baseline.intrinsic_null", null=null, skip=skip) for null in nulls]
    )
    stream = frame[frame["part"] == "stream"]
    lines = pd.concat([stream.assign(name="text"), drawn.assign(name=drawn["null"])])
    lines["value"] = lines["twonn"]
    sentence = words.null_dimension_reading(frame, drawn, chosen.layer)
    title = "Residual stream: text beside chance (TwoNN)"
    chart = charts.lines(lines[["layer", "name", "value"]], title, _AXIS, sentence, muted=nulls[:1])
    draw(chart, "chance", read=False)
    reading(sentence, "_chance")
    return {"chance": drawn}


def _long(frame: pd.DataFrame, names: dict[str, str], by: str = "layer") -> pd.DataFrame:
    """A row for each line and layer: layer (or what else it is by), name, value."""
    pieces = [frame[[by]].assign(name=name, value=frame[key]) for key, name in names.items()]
    return pd.concat(pieces, ignore_index=True).dropna(subset="value")
