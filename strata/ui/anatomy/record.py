"""What a lab report shows of a step: the figure that was seen and the program behind it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from strata.charts import Chart
from strata.charts.titled import fitted
from strata.errors import StrataError
from strata.ui.anatomy.place import Place
from strata.ui.server.learner import learner, progress

_WIDTH = 640
_MOST_ROWS = 5_000  # a figure of more is left out of the report
_EVERY = 60.0  # seconds after which what waits is kept though its step is not left
_STEP, _REPORT = "recorded_step", "report"


@dataclass
class _Report:
    """What this session has seen of steps, and what of it waits to be kept; by lesson and step."""

    seen: dict[tuple[str, str, int], Any] = field(default_factory=dict)  # what of a step
    waiting: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    kept: dict[tuple[str, int], float] = field(default_factory=dict)  # when, of figures and code


def begin(place: Place | None) -> None:
    """A new run of the script, on a page at this step of a lesson (None: at none). Figure and
    program belong to no step yet, and what waits of a step that was left is kept."""
    st.session_state[_STEP] = None
    here, waiting = place and _where(place), _report().waiting
    for where in [each for each in waiting if each != here]:
        _note(where, **waiting[where])
        waiting.pop(where, None)


def forget(lesson: str) -> None:
    """Remove all that is kept of the learner in a lesson; what is seen from now on is new."""
    progress().forget(learner(), lesson)
    for known in (_REPORT, "visited_step"):
        st.session_state.pop(known, None)


def start(place: Place, run: str) -> None:
    """From here on in this run of the script, figure and program belong to this step; `run` tells
    one run of the model from another."""
    st.session_state[_STEP] = {"place": place, "run": run, "drawn": False}


def keep_figure(chart: Chart, key: str) -> None:
    """Keep the step's figure: the one its question names, else the first that is drawn."""
    recorded = st.session_state.get(_STEP)
    if recorded is None:
        return
    place: Place = recorded["place"]
    question = place.step.question
    wanted = question.figure if question else ""
    if (wanted and key != wanted) or recorded["drawn"] or len(chart.frame) > _MOST_ROWS:
        return
    recorded["drawn"] = True
    n_marks = len(chart.spec.get("layer", ()))  # more once the guess is drawn
    _keep("figure", place, (recorded["run"], n_marks), chart.reading, chart)


def keep_run(place: Place, run: dict[str, Any]) -> None:
    """Keep which run the step's numbers are of, with the program and the figure of it."""
    if _see("run", place, run):
        report, where = _report(), _where(place)
        report.waiting.setdefault(where, {})["run"] = run
        report.kept.pop(where, None)


def keep_code(script: str) -> None:
    """Keep the program that prints the numbers of the step's page, which comes last on it, and the
    figure with it, if they are the first of a run or a minute has passed: what the learner sees in
    between, with every move of a slider, waits until the step is left."""
    recorded = st.session_state.get(_STEP)
    if recorded is None:
        return
    place, report = recorded["place"], _report()
    # By its hash: what was seen of each step stays for as long as the session.
    _keep("code", place, recorded["run"], hash(script), script)
    where, now = _where(place), time.monotonic()
    if report.waiting.get(where) and now - report.kept.get(where, -math.inf) > _EVERY:
        report.kept[where] = now
        _note(where, **report.waiting.pop(where))


def visit(place: Place, *, lacks: bool = False) -> None:
    """Keep that the learner has seen this step, and whether its model lacks what is asked about."""
    now = learner(), place.lesson.stem, place.number, lacks
    if st.session_state.get("visited_step") != now:
        st.session_state["visited_step"] = now
        _note(_where(place), lacked=lacks)


def _keep(what: str, place: Place, of: Any, now: Any, thing: Chart | str) -> None:
    """Let a figure or program wait, if it is another; not for long if it is the first `of` a run.
    `now` tells it from others."""
    report, where = _report(), _where(place)
    is_first, is_new = _see(f"{what} of", place, of), _see(what, place, now)
    if is_first or is_new:
        report.waiting.setdefault(where, {})[what] = thing
    if is_first:
        report.kept.pop(where, None)


def _report() -> _Report:
    report: _Report = st.session_state.setdefault(_REPORT, _Report())
    return report


def _where(place: Place) -> tuple[str, int]:
    return place.lesson.stem, place.number


def _see(what: str, place: Place, now: Any) -> bool:
    """Whether this is not what was seen last; it then is."""
    seen, where = _report().seen, (what, *_where(place))
    if seen.get(where) == now:
        return False
    seen[where] = now
    return True


def _note(where: tuple[str, int], **changes: Any) -> None:
    if isinstance(changes.get("figure"), Chart):
        changes["figure"] = as_spec(changes["figure"])
    try:
        progress().note(learner(), *where, **changes)
    except StrataError as error:  # the page itself needs no database
        st.toast(str(error))


def as_spec(chart: Chart) -> str:
    """The chart as one Vega-Lite spec with its data, on white: JSON on one line."""
    rows: list[dict[str, Any]] = json.loads(chart.frame.to_json(orient="records"))
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        **fitted(chart.spec, _WIDTH),
        "description": chart.alt,
        "background": "white",
        "data": {"values": rows},
        "width": _WIDTH,
        "height": chart.height,
    }
    return json.dumps(spec)
