"""The intrinsic dimension of sampled states: by layer, by scale, beside linear measures, on noise
of known dimension, and beside what chance gives."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts
from strata.concepts.gaussian_baseline import words
from strata.concepts.gaussian_baseline.near import NULLS
from strata.engine import Job
from strata.errors import StrataError
from strata.ui.anatomy import ask, style
from strata.ui.anatomy.chance import DEADLINE, QUESTION, TICK, is_tick
from strata.ui.anatomy.expected import expect
from strata.ui.anatomy.page import draw, reading
from strata.ui.figures.sampled_states import NOUNS, States
from strata.ui.figures.texts import SampledPage
from strata.ui.server.resources import engine

_AXIS, _LOG = "Dimensions", "Dimensions (logarithmic)"
_REFUSED = "null_refused"  # why, by the job: it is asked for once
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
    asked[0].markdown(QUESTION)
    picked = [
        null
        for null, place in zip(NULLS, asked[1:], strict=True)
        if place.toggle(null.capitalize(), key=f"null_{null[:6]}", help=words.NULLS[null])
    ]
    if picked and page.sample["read"]:  # each null reads all texts anew, so once is enough
        st.caption("What chance gives comes when all texts are read.")
    elif picked:
        skip = bool(page.sample["skip_first"])
        view = "gaussian_baseline.intrinsic_null"
        jobs = [page.job(view, null=null, skip=skip) for null in picked]
        refused = st.session_state.get(_REFUSED, {})
        wants = not all(engine().knows(job) or job.key in refused for job in jobs)
        st.fragment(_beside, run_every=TICK if wants else None)(page, frame, jobs, chosen)
        if (drawn := _known(jobs)) is not None:
            tables["chance"] = drawn
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


def _beside(page: SampledPage, frame: pd.DataFrame, jobs: list[Job], chosen: States) -> None:
    """The stream beside what chance gives, as far as it is there; each time the browser asks, the
    texts are read once more for what is missing, while the model has nothing else to do."""
    drawn = _known(jobs)
    stream = frame[frame["part"] == "stream"].assign(name="text")
    lines = stream if drawn is None else pd.concat([stream, drawn.assign(name=drawn["null"])])
    nulls = [job.params["null"] for job in jobs]
    sentence = words.null_dimension_reading(
        frame, stream[:0] if drawn is None else drawn, chosen.layer
    )
    for place, (column, measure) in zip(st.columns(3), words.BESIDE_CHANCE.items(), strict=True):
        title = f"Stream beside chance: {measure}"
        rows = lines[["layer", "name"]].assign(value=lines[column])
        with place:
            log = column != "twonn"
            chart = charts.lines(
                rows, title, _LOG if log else _AXIS, sentence, log=log, muted=nulls[:1]
            )
            draw(chart, f"chance_{column}", read=False, in_passing=True)
    with style.room(100, "said_of_chance"):
        reading(sentence, "_chance")
    refused = st.session_state.get(_REFUSED, {})
    missing = [job for job in jobs if not (engine().knows(job) or job.key in refused)]
    with style.room(60, "more_draws"):
        for job in jobs:
            if job.key in refused:
                style.say("note", refused[job.key], f"null_{job.params['null'][:6]}")
        note = st.empty()
    if not missing:
        return
    null = missing[0].params["null"]
    expected = expect(missing[0].view, page.about, 0, 0, missing[0].params)
    takes = expected.sentence if expected else ""
    note.caption(f"{null.capitalize()} are read while nobody else needs the model. {takes}")
    if is_tick():
        _draw_on(missing, note)


def _draw_on(missing: list[Job], note: DeltaGenerator) -> None:
    """Have what is missing first read, if the model is free."""
    try:
        found = ask.in_passing(missing[0], DEADLINE)
    except StrataError as error:
        st.session_state.setdefault(_REFUSED, {})[missing[0].key] = str(error)
        st.rerun()
    if found is None:
        note.caption("The model has other work just now; this waits for it.")
        return
    # At last as a whole page: its tables have all of it then, and the browser asks no more.
    st.rerun(scope="app" if len(missing) == 1 else "fragment")


def _known(jobs: list[Job]) -> pd.DataFrame | None:
    """What chance gave so far; None: nothing yet."""
    found = [ask.run(job) for job in jobs if engine().knows(job)]
    return pd.concat(found, ignore_index=True) if found else None


def _long(frame: pd.DataFrame, names: dict[str, str], by: str = "layer") -> pd.DataFrame:
    """A row for each line and layer: layer (or what else it is by), name, value."""
    pieces = [frame[[by]].assign(name=name, value=frame[key]) for key, name in names.items()]
    return pd.concat(pieces, ignore_index=True).dropna(subset="value")
