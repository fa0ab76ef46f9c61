"""Gaussian baseline: how alike pairs of states are, against random directions."""

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.gaussian_baseline import density, words
from strata.ui.anatomy.page import close_page, draw, open_page, reading, show_table
from strata.ui.figures import intrinsic, sampled_states
from strata.ui.figures.texts import sampled

VIEWS = ("Histogram", "Three steps", "Whole model", "Dimensions", "Intrinsic dimension")
page = sampled(open_page("gaussian_baseline"))
chosen = sampled_states.choose(page)
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
spread, steps, every, single, local = tabs
tables: dict[str, pd.DataFrame] = {}
kept: dict[str, object] = {}

if spread.open:
    with spread:
        figure, detail, below = sampled_states.sides()
        with detail:
            pairs, zoom = sampled_states.choose_pairs()
        asked = {**chosen.place, **chosen.treated, "pairs": pairs}
        bins = page.ask("gaussian_baseline.histogram", zoom=zoom, **asked)
        numbers = page.ask("gaussian_baseline.summary", **asked)
        order = page.ask("gaussian_baseline.quantiles", **asked)
        d, share = sampled_states.choose_baseline(numbers, below)
        pair = order.iloc[round(share * (len(order) - 1))]
        baseline = density.curve(d, bins["left"].min(), bins["right"].max())
        title = f"{chosen.noun}: cosines of {numbers['n_pairs'][0]:,} pairs"
        sentence = words.reading(numbers)
        with figure:
            chart = charts.histogram(bins, baseline, pair["cosine"], title, sentence)
            draw(chart, "histogram", read=False)
        with detail:
            compared = words.compare(numbers, order, pair, d, page.n_states)
            show_table(compared, sampled_states.COMPARED)
        if d == 1:
            st.caption(words.SPIKES)
        sampled_states.show_pair(page, pair)
        reading(sentence)
        tables = {"histogram": bins, "summary": numbers, "pairs at quantiles": order}
        kept = {"pairs": pairs, "dimension": d, "quantile": share}

if steps.open:
    with steps:
        three = page.ask("gaussian_baseline.decomposition", layer=chosen.layer, drop_top=chosen.top)
        sentence = words.conclusion(three, chosen.part)
        for place, step in zip(st.columns(3), sampled_states.STEPS, strict=True):
            treated = sampled_states.treatment(step, chosen.top)
            bins = page.ask("gaussian_baseline.histogram", **chosen.place, **treated)
            baseline = density.curve(page.about["d_model"] - treated["drop_top"])
            with place:
                title = f"Cosines of pairs: {step.lower()}"
                chart = charts.histogram(bins, baseline, None, title, sentence, small=True)
                draw(chart, f"step_{step}", read=False)
        show_table(words.told(three))
        reading(f"{sentence} {words.closest(three)}")
        tables = {"three steps": three}

if every.open:
    with every:
        glance = page.ask("gaussian_baseline.glance", **chosen.treated)
        places = [*st.columns(2), *st.columns(2)]
        for i, (name, titles) in enumerate(sampled_states.GLANCE.items()):
            curve = glance[["layer", "part"]].assign(value=glance[name])
            chart = charts.by_part(curve, *titles, chosen.layer, log=name == "effective_dimension")
            with places[i]:
                draw(chart, name, read=False)
        st.caption(words.GLANCE)
        reading(words.whole(glance))
        tables = {"whole model": glance}

if single.open:
    with single:
        dims = page.ask("gaussian_baseline.dimensions", **chosen.place)
        dim, points = sampled_states.choose_dimension(page, chosen, dims)
        sentence = words.dimensions_reading(dims, page.n_states)
        reading(f"{sentence} {words.normality_reading(points, dim)}")
        tables = {"dimensions": dims, f"quantiles of dimension {dim}": points}

if local.open:
    with local:
        tables, kept = intrinsic.draw_dimensions(page, chosen), {"intrinsic": True}

page.read_on()
script = sampled_states.script(page, chosen, **kept)
close_page(page, tables, script, sampled_states.archive(page, chosen), proof="corpus.check")
