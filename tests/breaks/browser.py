"""Faults that show in a browser only: scripts, styles, and what pages keep, draw and hide."""

from __future__ import annotations

from tests.breaks import Break

BREAKS: tuple[Break, ...] = (
    Break(
        name="a click on the strip does nothing",
        fault="A token that is clicked does not move the slider.",
        file="strata/ui/figures/tokens.js",
        old='button.onclick = () => setTriggerValue("chosen", position);',
        new="",
        tests=("tests/browser/test_controls.py::test_a_token_is_chosen_by_mouse_and_by_keyboard",),
    ),
    Break(
        name="a cell opens its neighbour",
        fault="A click on a cell of the lens opens the layer above it.",
        file="strata/ui/figures/grid.js",
        old='setTriggerValue("chosen", [layer, position])',
        new='setTriggerValue("chosen", [layer + 1, position])',
        tests=(
            "tests/browser/test_logit_lens.py::test_a_cell_tells_on_hover_and_stays_open_on_click",
        ),
    ),
    Break(
        name="a saved grid has one colour",
        fault="In the picture that a learner downloads every cell looks like the first.",
        file="strata/ui/figures/grid_picture.js",
        old="getComputedStyle(buttons[r * data.columns.length + c])",
        new="getComputedStyle(buttons[0])",
        tests=("tests/browser/test_logit_lens.py::test_the_grid_leaves_as_a_picture",),
    ),
    Break(
        name="who declines a call is called again",
        fault="A learner who stays where they are is asked again, and taken away at last.",
        file="strata/ui/classroom/live.js",
        old='if (memory("declined call") === call.id || memory(',
        new="if (memory(",
        tests=("tests/browser/test_hour.py::test_an_hour",),
    ),
    Break(
        name="a neighbour's screen tells the answer",
        fault="While a class votes, who has answered before still shows what was right.",
        file="strata/ui/anatomy/style.css",
        old='[class*="st-key-verdict_"] > div { display: none !important; }',
        new='[class*="st-key-verdict_"] > div {}',
        tests=("tests/browser/test_hour.py::test_an_hour",),
    ),
    Break(
        name="the drawer stays open on a phone",
        fault="On a phone the sidebar goes on covering the result that was asked for.",
        file="strata/ui/anatomy/drawer.js",
        old="setTimeout(() => button?.click());",
        new="",
        tests=(
            "tests/browser/test_prompt.py::test_on_a_phone_the_drawer_closes_to_show_the_result",
        ),
    ),
    Break(
        name="the figure is shown before the guess",
        fault="A step that asks for a prediction shows the figure that it is about.",
        file="strata/ui/lessons/lesson.py",
        old="return waits and step.hide",
        new="return False",
        tests=("tests/browser/test_lessons.py::test_an_answer_belongs_to_its_run",),
    ),
    Break(
        name="the guess is not drawn",
        fault="The figure does not show what the learner predicted, nor does the report.",
        file="strata/ui/anatomy/figure.py",
        old="if guess is not None and guess.figure == key and not in_passing:",
        new="if guess is not None and guess.figure == chart.alt:",
        tests=(
            "tests/browser/test_lessons.py::"
            "test_a_guess_on_the_figure_survives_a_reload_and_is_in_the_report",
        ),
    ),
    Break(
        name="a learner's words are drawn as Markdown",
        fault="What stands in a prompt becomes pictures, links and markup on the page.",
        file="strata/ui/anatomy/figure.py",
        old="        st.text(sentence)",
        new="        st.markdown(sentence)",
        tests=("tests/browser/test_hostile.py::test_hostile_prompts_stay_text_on_both_pages",),
    ),
    Break(
        name="a link loses a setting",
        fault="The number of top tokens is not in the address that a learner gives away.",
        file="strata/ui/anatomy/controls.py",
        old='select_slider(label, counts, default, key=key, bind="query-params")',
        new="select_slider(label, counts, default, key=key)",
        tests=("tests/browser/test_controls.py::test_tables_script_and_link_can_be_had",),
    ),
)
