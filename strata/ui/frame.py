"""The script that Streamlit runs for every page: navigation, sidebar, then the page itself.

It has no `pages/` folder beside it, so Streamlit cannot run a page without it.
"""

import streamlit as st

from strata.errors import StrataError
from strata.ui.anatomy import kept, place, record, sidebar, style
from strata.ui.anatomy.opened import SUBJECT
from strata.ui.anatomy.page import Waiting
from strata.ui.classroom import bring, class_page, follow, projector, this_class
from strata.ui.lessons import lesson, lesson_list, welcome
from strata.ui.server import tabs
from strata.ui.server.learner import seat, time_zone


def start() -> None:
    """The bare address begins with a guess; one that asks for more opens the first concept."""
    if asked := st.query_params.to_dict():
        st.switch_page(next(iter(pages.values())), query_params=asked)
    welcome.show()


def concept() -> None:
    """The chosen concept, with the lesson beside it for a learner who is in one."""
    st.session_state["choice"] = choice
    step = place.current()
    place.keep_in_address(step)
    if step is None or pages[step.page] != navigation:
        if step is not None:
            waits = lesson.elsewhere(step, choice.model, choice.prompt)
            st.session_state["figure_waits"] = waits
        navigation.run()
        return
    with st.container(key="lesson_and_page"):
        side, body = st.columns([1, 2], gap="medium")
    with side:
        st.session_state["figure_waits"] = lesson.panel(step, choice.model, choice.prompt)
    with body:
        navigation.run()


pages = place.pages()
if (step_before := place.follow_history()) is not None:
    lesson.come_to(step_before)
at = place.current()
style.apply(f"{at.lesson.stem} {at.number}" if at else "")
# A default page would be found at the bare address only, not under its own name.
root = st.Page(start, title="Start", icon=":material/home:", default=True)
lessons = st.Page(lesson_list.show, title="Lessons", icon=":material/school:", url_path="lessons")
first = [root, lessons]
try:
    here = seat()
except StrataError as error:
    style.say("refusal", str(error))
    st.stop()
kept.banner()
if most := tabs.crowds():
    crowded = f"You have more than {most} tabs of Strata open. The one used longest ago rests."
    st.toast(crowded, duration="long")
if here is not None and here.group is not None and (why := here.group.closed(zone=time_zone())):
    record.begin(None)  # keeps what waits of the step that was left so
    style.say("refusal", why)  # a browser that was in keeps its socket, and hears when it opens
    st.caption("What you did is kept. This page comes back by itself as soon as the class opens.")
    st.link_button("Join another class", "/join")
    st.stop()
if here is not None and here.is_teacher:
    this_class.begin()
    first += [
        st.Page(class_page.show, title="Class", icon=":material/groups:", url_path="class"),
        st.Page(projector.show, title="Projector", url_path="projector", visibility="hidden"),
    ]
# One list: of a list in sections Streamlit makes markup that is none to who cannot see it.
navigation = st.navigation([*first, *pages.values()], expanded=True)
shown = at if at is not None and pages[at.page] == navigation else None
step = [f"{shown.lesson.title}, step {shown.number + 1}"] if shown else []
# Also the first one: the browser's way back leaves it with the name of the page before.
style.name_window(*step, *([] if navigation == root else [navigation.title]))
if here is not None and here.group is not None:
    follow.the_class()
if here is not None and here.is_teacher and navigation != root:  # whose address must stay bare
    this_class.keep_in_address()
for name in ("figure_waits", "readings_wait", "drawn_guess", "asked_figure", SUBJECT):
    st.session_state.pop(name, None)
record.begin(at if navigation in pages.values() else None)
wanted = place.destination()
if wanted is not None and wanted != navigation.url_path:
    there = {page.url_path: page for page in (*first, *pages.values())}
    # Told no address, Streamlit refuses to clear what widgets have written into the old one.
    st.switch_page(there.get(wanted, lessons), query_params={})
try:
    if navigation in pages.values():
        with st.sidebar:
            choice = sidebar.choose()
            if here is not None:
                st.divider()
                sidebar.whose_seat(here)
                if here.is_teacher:
                    bring.offer(navigation.url_path, navigation.title)
        concept()
    else:
        if here is not None:
            with st.sidebar:
                sidebar.whose_seat(here)
        navigation.run()
except Waiting:  # a lesson's page ends where the figure waits for a prediction
    pass
except StrataError as error:  # a page ends where its model or prompt is refused
    style.say("refusal", str(error))
