"""Hidden states: what the model carries from layer to layer for each token."""

from functools import partial

import streamlit as st

from strata import charts
from strata.concepts.hidden_states import words
from strata.ui.anatomy.controls import one_of_counts
from strata.ui.anatomy.page import close_page, draw, only, open_page, position_slider, show_table
from strata.ui.figures.massive import draw_massive
from strata.ui.figures.one_token import draw_one_token
from strata.ui.figures.sinks import left_out, show_sinks, without_sinks

VIEWS = "One token", "All tokens", "Outlier dimensions", "Massive", "Final norm", "What came out"

page = open_page("hidden_states")
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
one, every, outlying, large, norm, out = tabs
summary, sinks = (page.ask(f"hidden_states.{view}") for view in ("summary", "sinks"))
tables = {"summary": summary}
position, n, hide = page.n_tokens - 1, 10, True
massive: dict[str, float] = {}

if one.open:
    with one:
        choose, scale = st.columns([3, 1], vertical_alignment="bottom")
        position = position_slider(page, "Token at position", "at", choose)
        symlog = scale.toggle("Logarithmic values", True, key="log", bind="query-params")
        draw_one_token(page, position, summary, symlog=symlog)
        tables["activations"] = page.ask("hidden_states.activations", position=position)

if every.open:
    with every:
        shown = show_sinks(page, "first", st.container(), ever_some=True)
        cells = page.labelled(summary if shown else without_sinks(page, summary))
        cells["value"], sentence = cells["norm"], words.reading(summary, page.named(sinks))
        title = "Norm of the hidden state, by layer and token"
        chart = charts.heatmap(cells, title, sentence, legend="Norm", log=True)
        draw(chart, "norms", note=left_out(page, not shown))

if outlying.open:
    with outlying:
        skip, many = st.columns([3, 1], vertical_alignment="bottom")
        hide = not show_sinks(page, "with_first", skip)
        counts = page.up_to_width(5, 10, 20, 50)
        n = one_of_counts("Outlier dimensions", counts, 10, key="n", place=many)
        outliers = page.ask("hidden_states.outliers", n=n, skip_first=False, skip_sinks=hide)
        sentence = words.outliers_reading(page.named(outliers))
        chart = charts.outliers(page.labelled(outliers), page.n_layers, sentence)
        some = only(len(outliers), page.about["d_model"], "dimension")
        draw(chart, "outliers", note=left_out(page, hide, some))
        tables["outlier dimensions"] = outliers

if large.open:
    with large:
        found, massive = draw_massive(page)
        tables |= found

if norm.open:
    with norm:
        ends = page.ask("hidden_states.final_norm")
        sentence = words.final_norm_reading(ends)
        draw(charts.before_and_after(page.labelled(ends), sentence), "ends")
        st.caption(
            "transformers' own last hidden state is *after* the norm; all others here are before."
        )
        tables["final norm"] = ends

if out.open:
    with out:
        came_out = page.ask("hidden_states.output_facts")
        config = page.ask("hidden_states.config_table")
        facts, built = st.columns(2, gap="large")
        with facts, st.container(key="wide_output"):
            st.markdown("**What the run returned**")
            show_table(came_out, {"fact": {"width": 175}})
            st.markdown("**Its tokens**")
            show_table(page.tokens[["position", "token_id", "shown"]])
        with built, st.container(key="wide_built"):
            st.markdown("**How the model is built**")
            show_table(config, height=520)
        tables |= {"output": came_out, "configuration": config}

kept = {"position": position, "n_outliers": n, "skip_sinks": hide, **massive}
script = page.script(blocks=page.about["blocks"], skip_first=False, **kept)
archive = partial(page.ask, "hidden_states.archive")
close_page(page, tables, script, lambda: archive()["content"][0], position=position)
