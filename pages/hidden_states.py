"""Hidden states: what the model carries from layer to layer for each token."""

import streamlit as st

from strata import charts
from strata.concepts import hidden_states
from strata.ui.page import close_page, draw, open_page, position_slider, reading

VIEWS = ("One token", "All tokens", "Outlier dimensions", "Final norm", "What came out")
STATISTICS = {
    "variance": "Variance",
    "norm": "Norm",
    "mean": "Mean",
    "kurtosis": "Excess kurtosis (0: Gaussian)",
}

page = open_page("hidden_states")
one, every, outlying, normed, out = st.tabs(
    VIEWS, key="view", on_change="rerun", bind="query-params"
)
summary = page.ask("hidden_states.summary")
tables = {"summary": summary}
position, skip_first, n_outliers = page.n_tokens - 1, True, 10

if one.open:
    with one:
        choose, scale = st.columns([3, 1], vertical_alignment="bottom")
        with choose:
            position = position_slider(page, "Token at position", key="at")
        signed_log = scale.toggle("Logarithmic values", True, key="log", bind="query-params")
        strip = page.ask("hidden_states.strip", position=position)
        sentence = hidden_states.strip_reading(strip, page.about["d_model"])
        figure, detail = st.columns([5, 3], gap="medium")
        subject = f"Hidden-state activations of {page.shown(position)} (position {position})"
        with figure:
            points = strip.assign(x=strip["layer"] + strip["jitter"])
            draw(
                charts.strip(points, subject, f"{subject}. {sentence}", symlog=signed_log), "strip"
            )
        with detail:
            mine = summary[summary["position"] == position]
            for name, title in STATISTICS.items():
                values = mine[["layer", name]].rename(columns={name: "value"})
                alt = f"{title} of the state at each layer, from {values['value'].iloc[0]:.3g}"
                alt += f" at layer 0 to {values['value'].iloc[-1]:.3g} at layer {page.n_layers}."
                chart = charts.by_layer(values, f"{title} by layer", alt, last=name == "kurtosis")
                draw(chart, f"by_layer_{name}")
        reading(sentence)
        tables["activations"] = page.ask("hidden_states.activations", position=position)

if every.open:
    with every:
        first = st.toggle(
            "Show the first token, which often is an attention sink",
            True,
            key="first",
            bind="query-params",
        )
        norms = summary if first or page.n_tokens == 1 else summary[summary["position"] > 0]
        sentence = hidden_states.reading(summary)
        cells = norms.assign(label=page.label(norms["position"]), value=norms["norm"])
        title = "Norm of the hidden state, by layer and token"
        draw(charts.heatmap(cells, title, f"{title}. {sentence}", legend="Norm", log=True), "norms")
        reading(sentence)

if outlying.open:
    with outlying:
        skip, many = st.columns([3, 1], vertical_alignment="bottom")
        skip_first = skip.toggle("Leave out the first token", True, key="skip", bind="query-params")
        n_outliers = many.select_slider(
            "Dimensions", [5, 10, 20, 50], 10, key="n", bind="query-params"
        )
        outliers = page.ask("hidden_states.outliers", n=n_outliers, skip_first=skip_first)
        sentence = hidden_states.outliers_reading(outliers)
        bars = outliers.assign(label=page.label(outliers["position"]))
        draw(charts.outliers(bars, page.n_layers, sentence), "outliers")
        reading(sentence)
        tables["outlier dimensions"] = outliers

if normed.open:
    with normed:
        ends = page.ask("hidden_states.final_norm")
        sentence = hidden_states.final_norm_reading(ends)
        draw(
            charts.before_and_after(ends.assign(label=page.label(ends["position"])), sentence),
            "ends",
        )
        reading(sentence)
        st.caption(
            "The library's own last hidden state is the one *after* the norm, unlike all others: "
            "never compare its size with theirs. Everywhere else here, states are before the norm."
        )
        tables["final norm"] = ends

if out.open:
    with out:
        facts, configuration = st.columns(2, gap="large")
        came_out, config = (
            page.ask("hidden_states.output_facts"),
            page.ask("hidden_states.config_table"),
        )
        facts.markdown("**What the run returned**")
        facts.dataframe(came_out, hide_index=True, column_config={"fact": {"width": 175}})
        facts.markdown("**Its tokens**")
        facts.dataframe(page.tokens[["position", "token_id", "shown"]], hide_index=True, height=280)
        configuration.markdown("**How the model is built**")
        configuration.dataframe(config, hide_index=True, height=520)
        tables |= {"output": came_out, "configuration": config}

close_page(
    page,
    tables,
    hidden_states.script(
        *page.source(),
        page.prompt,
        position=position,
        blocks=page.about["blocks"],
        n_outliers=n_outliers,
        skip_first=skip_first,
    ),
    arrays=lambda: page.ask("hidden_states.archive")["content"][0],
)
