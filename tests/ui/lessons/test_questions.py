"""The fields of predictions: what counts as an answer, and what is not offered as one."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def field(kind: str, without: tuple[int | str, ...] = ()) -> None:  # run by itself
    import streamlit as st

    from strata.lessons import Question
    from strata.ui.lessons.questions import answer_field

    question = Question(
        kind=kind,  # type: ignore[arg-type]
        low=-0.2,
        high=1.0,
        step=0.05,
        points=3,
        ask="Where?",
        view="run.tokens",
        measure="predictions.most_surprising",
        without=without,
    )
    guess = answer_field(question, "guess", 9, ["The", "␣sun", "␣sets"])
    st.text(repr(guess))


def test_a_band_has_two_ends_and_neither_is_given() -> None:
    """Where a slider happens to begin is no prediction, of its second end neither."""
    app = AppTest.from_function(field, args=("band", ())).run()
    assert app.text[0].value == "None"
    app.slider[1].set_value(7).run()
    assert app.text[0].value == "None", "only one end was moved"
    app.slider[0].set_value(8).run()
    assert app.text[0].value == "[7, 8]"


def test_each_value_of_a_slider_can_be_answered_also_the_one_at_which_it_begins() -> None:
    for kind, middle in (("layer", 4), ("block", 4), ("number", 0.4)):
        app = AppTest.from_function(field, args=(kind,)).run()
        assert app.text[0].value == "None"
        assert app.slider[0].value != middle, "or a press there would change nothing"
        assert abs(app.slider[0].value - middle) < 0.01 * app.slider[0].step
        app.slider[0].set_value(float(middle)).run()
        assert app.text[0].value == repr(middle), kind


def test_a_line_is_drawn_when_each_of_its_sliders_was_moved() -> None:
    app = AppTest.from_function(field, args=("curve",)).run()
    for number, left in enumerate(("3 to go", "2 to go", "1 to go")):
        assert left in app.caption[0].value
        assert app.text[0].value == "None", f"{number} of them were moved"
        app.slider[number].set_value(0.4).run()  # where it stands
    assert "to go" not in app.caption[0].value
    assert app.text[0].value == "[0.4, 0.4, 0.4]"


def test_what_can_be_no_answer_is_not_offered() -> None:
    for without, offered in (((), "012"), ((0,), "12"), (("$last",), "01")):
        app = AppTest.from_function(field, args=("position", without)).run()
        assert [option[0] for option in app.selectbox[0].options] == list(offered)
