"""Controls that pages share: a press that outlasts the run it was made in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from strata.ui.anatomy import controls


class Overtaken(Exception):
    """The run gives way to another one."""


def press(label: str, *, on_click: Callable[[], None], **_: Any) -> bool:
    on_click()  # before the run, as Streamlit does
    return True


def overtaken(label: str, *, on_click: Callable[[], None], **_: Any) -> bool:
    on_click()
    raise Overtaken


def untouched(label: str, **_: Any) -> bool:
    return False


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(controls.st, "session_state", kept)
    monkeypatch.setattr(controls.st, "query_params", {})
    return kept


def test_a_press_counts_once(state: dict[str, Any]) -> None:
    assert not controls.pressed(untouched, "Make it", "make")
    assert controls.pressed(press, "Make it", "make")
    assert not controls.pressed(untouched, "Make it", "make")


def test_a_press_outlasts_a_run_that_gives_way(state: dict[str, Any]) -> None:
    with pytest.raises(Overtaken):
        controls.pressed(overtaken, "Make it", "make")
    assert not controls.pressed(untouched, "Save", "save")
    assert controls.pressed(untouched, "Make it", "make")
    assert not controls.pressed(untouched, "Make it", "make")


def test_a_press_is_not_remembered_for_long(
    state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Overtaken):
        controls.pressed(overtaken, "Make it", "make")
    now = controls.time.monotonic()
    monkeypatch.setattr(controls.time, "monotonic", lambda: now + 60)
    assert not controls.pressed(untouched, "Make it", "make")


class Place:
    """Where a switch is put: what happens when it changes is for the test to say."""

    def toggle(self, label: str, *, key: str, on_change: Callable[[], None]) -> bool:
        self.changed = on_change
        return False


def test_a_browser_that_has_not_heard_of_the_end_does_not_play_again(
    state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks for by itself still says that the switch is on, which is no press."""

    def rerun() -> None:
        raise Overtaken

    monkeypatch.setattr(controls.st, "rerun", rerun)
    place: Any = Place()
    controls.player("layer", 3, place)
    state |= {"layer": 3, "layer_play": True}
    with pytest.raises(Overtaken):
        controls.played_slider("Layer", "layer", 3, place, playing=True)
    assert state["layer_play"] is False
    state["layer_play"] = True
    place.changed()
    assert (state["layer"], state["layer_play"]) == (3, False)
    now = controls.time.monotonic()
    monkeypatch.setattr(controls.time, "monotonic", lambda: now + 60)
    state["layer_play"] = True
    place.changed()  # a press: from the start
    assert (state["layer"], state["layer_play"]) == (0, True)


class Slide:
    """Where a slider is drawn, which shows what the session knows or else its default."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.told: list[str] = []

    def caption(self, text: str) -> None:
        self.told.append(text)

    def slider(self, label: str, low: int, high: int, default: int, *, key: str, **_: Any) -> int:
        return self.state.setdefault(key, default)


def test_who_has_all_keeps_all_where_the_limit_moves(state: dict[str, Any]) -> None:
    """The dimensions of the Gaussian baseline: raw, without the three largest, raw again."""
    place: Any = Slide(state)

    def chosen(most: int) -> int:
        return controls.bounded_slider("Dimensions", 1, most, most, "dims", place)

    assert [chosen(576), chosen(573), chosen(576)] == [576, 573, 576]
    state["dims"] = 99
    assert [chosen(573), chosen(576)] == [99, 99]
    state["dims"] = 575
    assert chosen(573) == 573


def test_the_last_layer_of_a_part_is_no_choice_of_all(state: dict[str, Any]) -> None:
    place: Any = Slide(state)
    state["layer"] = 30
    assert controls.bounded_slider("Layer", 1, 30, 15, "layer", place) == 30
    assert controls.bounded_slider("Layer", 0, 40, 20, "layer", place) == 30


def test_a_slider_that_was_moved_says_so_until_it_is_moved_again(state: dict[str, Any]) -> None:
    place: Any = Slide(state)

    def drawn(high: int) -> tuple[int, list[str]]:
        place.told = []
        return controls.bounded_slider("Block", 0, high, high // 2, "block", place), place.told

    assert drawn(29) == (14, []), "a default moves nothing"
    state["block"] = 25
    assert drawn(29) == (25, []), "nor does the learner's own hand"
    moved = "Moved from 25 to 6: here it goes from 0 to 12."
    assert drawn(12) == (6, [moved])
    assert drawn(12) == (6, [moved]), "also when something else starts the page anew"
    assert drawn(8) == (4, ["Moved from 6 to 4: it stood where it begins, which is 4 here."])
    assert drawn(12) == (6, ["Moved from 4 to 6: it stood where it begins, which is 6 here."])
    assert drawn(5) == (2, ["Moved from 6 to 2: here it goes from 0 to 5."])
    assert drawn(12)[0] == 6
    state["block"] = 7
    assert drawn(12) == (7, [])
    state["block"] = 6
    assert drawn(12) == (6, []), "what is back is the learner's"


def test_what_moves_several_sliders_alike_is_told_once(state: dict[str, Any]) -> None:
    place: Any = Slide(state)

    def drawn() -> list[str]:
        place.told, state[controls.TOLD] = [], {}
        for key in ("one", "two", "three"):
            controls.told_moved(key, state[key], place)
        return list(place.told)

    for key, value in (("one", 15), ("two", 15), ("three", 4)):
        state[key] = 0
        controls.move(key, value, "this step of the lesson sets it")
    said = [f"Moved from 0 to {to}: this step of the lesson sets it." for to in (15, 4)]
    assert drawn() == said == drawn()
    controls.told_moved("one", 15, place)
    assert place.told == [*said, said[0]], "a part that is drawn anew keeps its line"
    state["one"] = 3
    assert drawn() == said, "below the second then"
    controls.forget_moves()
    assert drawn() == [], "at the step that moved them, and not at the next"


def test_what_else_moves_a_slider_is_told(state: dict[str, Any]) -> None:
    place: Any = Slide(state)
    controls.move("factor", 0.5, "this step of the lesson sets it")
    controls.told_moved("factor", 0.5, place)
    assert place.told == [], "nobody has seen it elsewhere"
    controls.move("factor", 2.0, "this step of the lesson sets it")
    controls.told_moved("factor", 2.0, place)
    controls.move("span", (0, 4), "this is another text, of 5 tokens", (10, 19))
    controls.told_moved("span", (0, 4), place)
    state["layer"] = 30
    controls.played_slider("Layer", "layer", 12, place, playing=False)
    state["layer"] = 3
    controls.played_slider("Layer", "layer", 13, place, playing=True)
    assert place.told == [
        "Moved from 0.5 to 2.0: this step of the lesson sets it.",
        "Moved from 10–19 to 0–4: this is another text, of 5 tokens.",
        "Moved from 30 to 12: this model has 12 layers.",
        "Play moves it, layer by layer.",
    ]


def of_a_model() -> None:
    import streamlit as st

    from strata.ui.anatomy.controls import bounded_slider

    layers = st.session_state.get("layers", 30)
    bounded_slider("Layer", 0, layers, layers // 2, "layer", st.container())
    st.text(dict(st.query_params))


def test_a_slider_of_other_limits_is_not_put_back_where_its_link_had_it() -> None:
    """Streamlit takes what is bound to the address from there whenever its limits change."""
    at = AppTest.from_function(of_a_model, default_timeout=60)
    at.query_params["layer"] = "7"
    assert at.run().slider(key="layer").value == 7
    at.slider(key="layer").set_value(20).run()
    assert at.text[0].value == "{'layer': '20'}"

    def layers(count: int) -> tuple[Any, list[str]]:
        at.session_state["layers"] = count
        at.run()
        return at.slider(key="layer").value, [each.value for each in at.caption]

    assert layers(25) == (20, []), "it is there as well"
    assert layers(12) == (6, ["Moved from 20 to 6: here it goes from 0 to 12."])
    assert layers(30) == (
        15,
        ["Moved from 6 to 15: it stood where it begins, which is 15 here."],
    ), "a default"
    assert at.text[0].value == "{}"


def waiting() -> None:
    import streamlit as st

    from strata.ui.anatomy.controls import bounded_slider, move

    def put() -> None:
        move("layer", 0, "a step sets it")

    st.button("Set up", on_click=put, key="set_up")
    if not st.toggle("The figure waits", key="waits"):
        bounded_slider("Layer", 0, 30, 15, "layer", st.container())


def test_a_slider_that_waits_with_its_figure_comes_where_it_was_put() -> None:
    app = AppTest.from_function(waiting).run()
    app.slider(key="layer").set_value(20).run()
    assert app.query_params["layer"] == "20"
    app.toggle(key="waits").set_value(True)
    app.button(key="set_up").click().run()
    app.run()  # by now the session has forgotten it
    app.toggle(key="waits").set_value(False).run()
    assert app.slider(key="layer").value == 0
    assert app.query_params["layer"] == "0"
    app.slider(key="layer").set_value(7).run()
    assert app.slider(key="layer").value == 7


def put_with_other_limits() -> None:
    import streamlit as st

    from strata.ui.anatomy.controls import bounded_slider, move

    def put() -> None:
        st.session_state["low"] = 0
        move("at", 3, "a step sets it")

    st.session_state.setdefault("at", 3)  # by the step before, when nothing was drawn yet
    low = st.session_state.setdefault("low", 3)
    st.button("Next", on_click=put, key="next")
    bounded_slider("Token at position", low, 4, low, "at", st.container())


def test_a_slider_that_is_put_where_an_old_default_was_stays_there() -> None:
    app = AppTest.from_function(put_with_other_limits).run()
    app.button(key="next").click().run()
    assert app.slider(key="at").value == 3
