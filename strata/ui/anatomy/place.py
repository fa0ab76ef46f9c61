"""Where a learner is: the pages there are, and lesson and step, kept in session and address."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import streamlit as st

from strata.concepts.views import concepts
from strata.lessons import Lesson, Step, lessons
from strata.ui.anatomy.address import led_back, remember, whole_number

_KEY = "lesson_place"
_PAGES = Path(__file__).parents[3] / "pages"


@dataclass(frozen=True)
class Place:
    """A step of a lesson; `number` 0 is the first."""

    lesson: Lesson
    number: int

    @property
    def step(self) -> Step:
        """The step itself."""
        return self.lesson.steps[self.number]

    @property
    def page(self) -> str:
        """The stem of the page on which the step is."""
        return self.lesson.page_of(self.number)

    @property
    def last(self) -> bool:
        """Whether this is the lesson's last step."""
        return self.number == len(self.lesson.steps) - 1


def pages() -> dict[str, st.Page]:
    """The page of each concept, by its stem, for one run. In a page's run only."""
    return {stem: copy(_page(stem)) for stem in concepts()}


@cache  # to make one looks for its file and at each folder above that
def _page(stem: str) -> st.Page:
    concept = concepts()[stem].CONCEPT
    return st.Page(_PAGES / f"{stem}.py", title=concept.title, icon=concept.icon, url_path=stem)


def current() -> Place | None:
    """The step that this session is at, or the one that the address names at its beginning."""
    if _KEY not in st.session_state:
        go(*_asked())
    stem, number = st.session_state[_KEY]
    lesson = lessons().get(stem)
    if lesson is None:
        return None
    here = Place(lesson, min(max(0, number), len(lesson.steps) - 1))
    return here if here.page in concepts() else None  # `lessons check` names such a step


def follow_history() -> Place | None:
    """Be at the step that the address names, if the browser's way back or forward has led to
    another one; that step."""
    if not led_back():
        return None
    before, st.session_state[_KEY] = st.session_state.get(_KEY), _asked()
    return current() if before != _asked() else None


def _asked() -> tuple[str, int]:
    """Lesson and step of the address."""
    asked = st.query_params
    return asked.get("lesson", ""), (whole_number(asked.get("step_of_lesson", "")) or 1) - 1


def go(stem: str, number: int = 0) -> None:
    """Go to a step of a lesson; "" ends the lesson. The frame then opens the step's page."""
    st.session_state[_KEY] = (stem, number)
    step = current()
    if step is not None:
        to(step.page)


def to(address: str) -> None:
    """Have the frame open another page, by its address."""
    st.session_state["to_page"] = address


def to_list() -> None:
    """Leave the lesson for the page of all lessons."""
    go("")
    to("lessons")


def destination() -> str | None:
    """The address of the page that was asked for, once."""
    return st.session_state.pop("to_page", None)


def offer(page: str) -> None:
    """A button to the page's lesson, for who is in none."""
    of_page = next((lesson for lesson in lessons().values() if lesson.page == page), None)
    if of_page is None or current() is not None:
        return
    st.button(
        "Lesson",
        icon=":material/school:",
        on_click=go,
        args=(of_page.stem,),
        key="to_lesson",
        help=f"{of_page.title} {of_page.minutes} minutes: predict, then look.",
    )


def keep_in_address(place: Place | None) -> None:
    """Write the step into the address, so that a reload comes back to it."""
    remember("lesson", place.lesson.stem if place else None)
    remember("step_of_lesson", str(place.number + 1) if place else None)
