"""The page of a set: its own half first, the other once a hypothesis is written; own sets."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from strata.concepts.evidence import compared
from strata.corpus.sets import read
from strata.errors import InputError
from strata.lessons.progress import Progress
from strata.storage.database import Database
from strata.ui.anatomy import address, sidebar
from strata.ui.figures import sets as figures
from strata.ui.figures import written
from tests.ui.test_figures import rows_of
from tests.ui.test_small_models import PAGES, page, small

assert small  # a fixture

OWN = "prompt,condition\n" + "".join(
    f"{prompt},{condition}\n"
    for condition, start in (("with the", "the "), ("without", ""), ("twice", "the the "))
    for prompt in (f"{start}{word} sat" for word in ("cat", "mat", "cat on", "mat on"))
)


def opened(query: dict[str, str] | None = None, **chosen: object) -> AppTest:
    arguments = (str(PAGES / "evidence.py"), "the cat sat", chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60)
    for name, value in (query or {}).items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def query_of(app: AppTest, name: str) -> str:
    return "".join(app.query_params[name])


def figures_of(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("vega_lite_chart")]


def test_the_held_out_half_is_shown_only_after_a_hypothesis(small: None) -> None:
    app = opened()
    assert len(figures_of(app)) == 2
    assert all("the explored half of 24 pairs" in alt for alt in figures_of(app))
    assert not any("held-out half" in text.value for text in app.text)
    assert any("12 of 24 pairs are shown." in each.value for each in app.caption)

    def write(app: AppTest, low: int, high: int) -> str:
        app.slider(key="claim_layers").set_value((low, high))
        next(b for b in app.button if b.proto.label == "Write it down").click().run()
        assert not app.exception
        return next(text.value for text in app.text if text.value.startswith("You wrote"))

    assert write(app, 0, 0).startswith("You wrote: Norm of the last state is")
    assert len(figures_of(app)) == 3
    assert "the held-out half of 24 pairs" in figures_of(app)[2]
    held = rows_of(app.get("vega_lite_chart")[2].proto)
    assert held["layer"].tolist() == [0], "no layer but what was written down"
    assert app.query_params["claim"] in ("0-0-larger", ["0-0-larger"])
    assert "multiplied by 2, the hypotheses" in write(app, 1, 1), "of what was not seen"
    seen = "on the screen before you wrote it"
    assert seen in write(app, 0, 1)
    assert seen not in write(app, 1, 1), "once more, which was written first"
    again = opened({name: query_of(app, name) for name in ("claim", "tried")})
    assert seen in write(again, 0, 1), "the link says which were late"
    assert "multiplied by 3, the hypotheses" in write(again, 0, 0)


def test_that_one_is_larger_and_that_the_other_is_smaller_is_one_hypothesis(small: None) -> None:
    own = {"set": "own", "own_set": read(OWN).as_text()}
    app = opened(**own)

    def write(way: bool) -> str:
        app.selectbox(key="claim_way").set_value(way)
        next(b for b in app.button if b.proto.label == "Write it down").click().run()
        assert not app.exception
        return next(text.value for text in app.text if text.value.startswith("You wrote"))

    assert "is larger for “with the” than for “without”" in write(True)
    app.selectbox(key="condition").set_value(1).run()
    turned = next(text.value for text in app.text if text.value.startswith("You wrote"))
    assert "is smaller for “without” than for “with the”" in turned
    assert "multiplied" not in write(False)
    linked = {name: query_of(app, name) for name in ("claim", "tried")}
    again = opened(linked, **own, condition=1)
    assert [text.value for text in again.text if text.value.startswith("You wrote")] == [turned]


def test_hypotheses_of_all_quantities_are_counted_together(small: None) -> None:
    app = opened()

    def write(low: int, high: int) -> str:
        app.slider(key="claim_layers").set_value((low, high))
        next(b for b in app.button if b.proto.label == "Write it down").click().run()
        assert not app.exception
        return next(text.value for text in app.text if text.value.startswith("You wrote"))

    assert "multiplied" not in write(0, 1)
    app.selectbox(key="quantity").set_value("Variance of the last state").run()
    assert "multiplied by 2, the" in write(0, 0)
    assert "multiplied by 3, the" in write(1, 1)
    said = write(0, 0)  # once more, which is no other hypothesis
    assert "at layer 0." in said
    assert "multiplied by 3, the" in said
    again = opened({name: query_of(app, name) for name in ("claim", "tried", "quantity")})
    assert [text.value for text in again.text if text.value.startswith("You wrote")] == [said]
    app = opened({"tried": query_of(app, "tried")})
    assert "multiplied by 3, the" in write(0, 1)  # one of which only a mark came along
    app.selectbox(key="set").set_value("truth").run()
    assert "tried" not in app.query_params, "nothing was written about this one"


def test_who_sees_all_has_nothing_left_to_test_on(small: None) -> None:
    app = opened(half="all")
    assert not app.slider
    assert len(figures_of(app)) == 2
    assert any("nothing is left to test" in caption.value for caption in app.caption)
    app.segmented_control(key="half").set_value("explored").run()
    assert not app.exception
    for each in (app, opened({"tried": query_of(app, "tried")})):
        assert any("All of this set was looked at before" in told.value for told in each.caption)


def test_a_half_that_is_too_small_leaves_the_page_whole(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compared.compared

    def of(table: pd.DataFrame, quantity: str, half: str) -> compared.Compared:
        if half == compared.HELD_OUT:
            raise InputError("Fewer than two prompts have it.")
        return real(table, quantity, half)

    monkeypatch.setattr(compared, "compared", of)
    app = opened()
    assert any(text.value == "Fewer than two prompts have it." for text in app.text)
    assert not app.slider  # nothing is written that could not be tested
    assert "Link" in [block.proto.popover.label for block in app.get("popover")]


def test_a_probe_is_tried_on_the_other_half_at_a_layer_that_was_written_down(small: None) -> None:
    app = opened(view="Probe", set="truth")
    assert len(figures_of(app)) == 1
    assert "the explored half of 30 pairs" in figures_of(app)[0]
    assert "right for" in figures_of(app)[0]
    app.slider(key="probe_at").set_value(1)
    next(b for b in app.button if b.proto.label == "Write it down").click().run()
    assert not app.exception
    assert len(figures_of(app)) == 2
    assert "the held-out half of 30 pairs" in figures_of(app)[1]
    told = "You wrote: a linear probe tells “true” from “false” at layer 1. Fitted on the explored"
    assert any(text.value.startswith(told) for text in app.text)
    assert app.query_params["probe_claim"] in ("1", ["1"])


def test_an_own_set_of_three_conditions_is_compared_two_by_two(small: None) -> None:
    app = opened(set="own", own_set=read(OWN).as_text(), half="all")
    assert [box.label for box in app.selectbox if box.label in ("Compare", "with")] == [
        "Compare",
        "with",
    ]
    assert figures_of(app)[1].startswith("with the less without")
    names = app.selectbox(key="quantity").options
    assert "Rank of the expected word (0 is best)" not in names
    app.selectbox(key="condition").set_value(2).run()
    assert figures_of(app)[1].startswith("twice less without")


def test_without_a_file_there_is_nothing_but_the_way_to_one(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "kept_for", lambda: " for 2 days")
    app = opened(set="own")
    assert any("in this page's link for 2 days." in each.value for each in app.caption)
    assert not figures_of(app)
    assert any("Choose a file" in text.value for text in [*app.text, *app.markdown, *app.caption])
    assert "Link" in [block.proto.popover.label for block in app.get("popover")]


def test_a_file_is_kept_like_a_prompt_and_a_wrong_one_refused(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, str] = {}
    asked: list[str] = []

    def keep(text: str) -> str:
        kept["an-id"] = text
        return "an-id"

    def refuse(prompt: str) -> None:
        asked.append(prompt)
        if prompt == "the mat on sat":
            raise InputError("This prompt is too long.")

    monkeypatch.setattr(figures, "keep_set", keep)
    monkeypatch.setattr(figures, "kept_prompt", kept.get)
    monkeypatch.setattr(figures, "refuse_if_too_long", refuse)

    def taken(content: bytes, limit: int = 1_000) -> None:
        from strata.ui.figures.sets import _taken

        _taken(content, "file", limit)

    long = AppTest.from_function(taken, args=(OWN.encode(), 29), default_timeout=30).run()
    assert asked == ["the cat on sat", "the mat on sat"], "others cannot have so many tokens"
    assert [each.value for each in long.text] == ["Line 5: This prompt is too long."]
    assert "own_set" not in long.session_state
    assert not kept
    app = AppTest.from_function(taken, args=(OWN.encode("cp1252"),), default_timeout=30).run()
    assert app.session_state["own_set_id"] == "an-id"
    assert read(kept["an-id"]) == read(OWN)
    wrong = AppTest.from_function(taken, args=(b"a,b\n",), default_timeout=30).run()
    said = [each.value for each in (*wrong.text, *wrong.markdown, *wrong.error)]
    assert any("Line 1: there is no column “prompt”" in each for each in said), said
    linked = opened({"set": "own", "own_set": "an-id"}, half="all")
    assert len(figures_of(linked)) == 2
    kept["its-id"] = read(OWN.replace("twice", "doubled").replace("with the\n", "with\n")).as_text()
    back = SimpleNamespace(is_history_navigation=False)
    monkeypatch.setattr(address, "get_script_run_ctx", lambda: back)
    for way, first in ((False, "with the less"), (True, "with less")):
        back.is_history_navigation = way  # the browser's way back is what leads to another set
        linked.query_params["own_set"] = "its-id"
        assert figures_of(linked.run())[1].startswith(first)
    assert not figures_of(opened({"set": "own", "own_set": "another"}))


@pytest.mark.parametrize("local", [True, False])
def test_who_can_mend_a_wrong_file_is_told_of_it(
    small: None, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    monkeypatch.setattr(figures, "problems", lambda: ["mine.csv: There is no prompt."])
    monkeypatch.setattr(figures, "is_local", lambda: local)

    def choosing() -> None:
        from types import SimpleNamespace

        import streamlit as st

        from strata.ui.figures.sets import choose_set

        choose_set(SimpleNamespace(about={}), st.container())

    app = AppTest.from_function(choosing, default_timeout=30).run()
    assert not app.exception, app.exception[0].message
    assert [text.value for text in app.text] == ["mine.csv: There is no prompt."] * local


def test_a_click_on_a_line_opens_that_prompt_on_its_concepts_page(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidebar, "keep_prompt", lambda text: "an-id")

    def clicked() -> None:
        import streamlit as st

        from strata.corpus.sets import sets
        from strata.ui.figures import evidence

        class Page:
            chosen = sets()["number"]

        state = st.session_state
        for quantity in (
            "Dimensions by variance (participation ratio)",
            "Rank of the expected word (0 is best)",
            "Logit of the expected word less the other's",
            "Log-probability (nats) when a block's attention is halved",
        ):
            evidence.show_prompt(evidence.Study(Page(), None, quantity, "all", ("a", "b")), 1)
            assert state["text"] == "Here are the dogs. The dogs"
            words = state.get("target_choice"), state.get("minus_choice")
            st.text(f"{state['to_page']}: {words}, {state.get('part')} {state.get('factor')}")

    app = AppTest.from_function(clicked, default_timeout=30).run()
    assert not app.exception, app.exception[0].message
    assert [text.value for text in app.text] == [
        "laminar_profile: (None, None), None None",
        "logit_lens: ('are', -1), None None",
        "logit_lens: ('are', 'is'), None None",
        "scaling: ('are', -1), attn 0.5",
    ]


def test_what_a_member_of_a_class_tried_is_counted_on_another_device(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrote(layer: int, half: str = "explored") -> None:
        from types import SimpleNamespace

        import streamlit as st

        from strata.corpus.sets import sets
        from strata.ui.figures import written

        page = SimpleNamespace(model="a model", chosen=sets()["number"], half=half)
        found = written.ledger(page, "a number", "claim", lambda text: None)
        found.add("a number", layer)
        written.keep(page, found)
        st.text(f"{found.number} {sorted(found.marks)[-1]}")

    monkeypatch.setattr(written, "progress", lambda: Progress(database))
    who = ["ann", "ann", "ann", "bob", ""]
    monkeypatch.setattr(written, "member_id", lambda: who[0])
    told = []
    for layer, half in ((3, "explored"), (4, "all"), (3, "explored"), (5, "explored"), (6, "all")):
        app = AppTest.from_function(wrote, args=(layer, half), default_timeout=30).run()
        assert not app.exception, app.exception[0].message
        told.append(app.text[0].value)
        who.pop(0)
    assert [text.split()[0] for text in told] == ["1", "2", "2", "1", "1"]
    assert [text.endswith("seen") for text in told] == [False, True, True, False, True]
