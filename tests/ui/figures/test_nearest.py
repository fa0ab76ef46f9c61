"""A state's nearest states on the page: the figure, another layer, and a model too large for it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from strata.ui.server import resources
from tests.ui.test_small_models import PAGES, PROMPT, page, small

assert small  # a fixture


def drawn(app: AppTest) -> str:
    """The title of the contexts; "" where there are none."""
    alts = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    return next((alt.split(". ")[0] for alt in alts if alt.startswith("Nearest at layer")), "")


def test_a_cell_has_its_nearest_states_or_a_sentence(small: None) -> None:
    arguments = (str(PAGES / "logit_lens.py"), PROMPT, {"view": "Nearest states", "layer": 1})
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    app.slider(key="at").set_value(2).run()
    assert not app.exception, app.exception[0].message
    assert drawn(app) == "Nearest at layer 1 to the state of ␣sat at layer 1"
    [said] = [text.value for text in app.text if text.value.startswith("At layer 1 the state of")]
    assert "“␣sat” (position 2)" in said
    app.slider(key="layers_back").set_value(1).run()
    assert drawn(app) == "Nearest at layer 0 to the state of ␣sat at layer 1"
    samples = resources.engine().samples
    room = samples.max_bytes
    samples.drop()  # for want of memory
    app.slider(key="at").set_value(3).run()
    assert "to the state of ␣on" in drawn(app), "it is read again"
    samples.drop()
    samples.max_bytes = 10
    try:
        app.slider(key="at").set_value(4).run()
    finally:
        samples.max_bytes = room
    assert not app.exception
    assert any(text.value.endswith("choose a smaller model.") for text in app.text)
    assert drawn(app) == ""
    assert any("Proof of this run" in each.value for each in app.markdown), "the rest stays"
