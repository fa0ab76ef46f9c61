"""What a lab report shows of a step: the figure that was seen and the program behind it."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from strata.charts import Chart
from strata.errors import StrataError
from strata.ui.learner import learner, progress
from strata.ui.place import Place

_WIDTH = 640
_MOST_ROWS = 5_000  # a figure of more is left out of the report
_KEY = "recorded_step"


def start(place: Place | None, run: str = "") -> None:
    """From here on in this run of the script, figure and program belong to this step; `run` tells
    one run of the model from another. None: to no step."""
    st.session_state[_KEY] = place and {"place": place, "run": run, "drawn": False}


def keep_figure(chart: Chart, key: str) -> None:
    """Keep the step's figure: the one its question names, else the first that is drawn."""
    recorded = st.session_state.get(_KEY)
    if recorded is None:
        return
    question = recorded["place"].step.question
    wanted = question.figure if question else ""
    if (wanted and key != wanted) or recorded["drawn"] or len(chart.frame) > _MOST_ROWS:
        return
    recorded["drawn"] = True
    n_marks = len(chart.spec.get("layer", ()))  # more once the guess is drawn
    if _changed("figure", recorded["place"], (recorded["run"], n_marks, chart.reading)):
        _note(recorded["place"], figure=as_spec(chart))


def keep_run(place: Place, run: dict[str, Any]) -> None:
    """Keep which run the step's numbers are of."""
    if _changed("run", place, run):
        _note(place, run=run)


def keep_code(script: str) -> None:
    """Keep the program that prints the numbers of the step's page."""
    recorded = st.session_state.get(_KEY)
    if recorded is not None and _changed("code", recorded["place"], script):
        _note(recorded["place"], code=script)


def visit(place: Place) -> None:
    """Keep that the learner has seen this step."""
    now = learner(), place.lesson.stem, place.number
    if st.session_state.get("visited_step") != now:
        st.session_state["visited_step"] = now
        _note(place)


def _changed(what: str, place: Place, now: Any) -> bool:
    """Whether this is not what was kept last; it then is."""
    kept = st.session_state.setdefault(f"kept_{what}", {})
    where = place.lesson.stem, place.number
    if kept.get(where) == now:
        return False
    kept[where] = now
    return True


def _note(place: Place, **changes: Any) -> None:
    try:
        progress().note(learner(), place.lesson.stem, place.number, **changes)
    except StrataError as error:  # the page itself needs no database
        st.toast(str(error))


def as_spec(chart: Chart) -> str:
    """The chart as one Vega-Lite spec with its data, on white: JSON on one line."""
    rows: list[dict[str, Any]] = json.loads(chart.frame.to_json(orient="records"))
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        **chart.spec,
        "background": "white",
        "data": {"values": rows},
        "width": _WIDTH,
        "height": chart.height,
    }
    return json.dumps(spec)
