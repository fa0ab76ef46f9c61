"""Logit lens: what each layer would say, cell by cell, and how the answer comes about."""

from typing import Any

import streamlit as st

from strata.charts.grid import lens_grid
from strata.charts.lens import cell_bars
from strata.concepts.logit_lens import words
from strata.display.tokens import display_text
from strata.ui.anatomy.page import close_page, draw, open_page, position_slider, reading
from strata.ui.figures.grid import choose, draw_grid, layer_slider, pins, places, window
from strata.ui.figures.logit import draw_attribution, draw_followed, draw_proof, tabs_place
from strata.ui.figures.nearest import draw_nearest, read_ahead
from strata.ui.figures.sinks import scales
from strata.ui.figures.writing import draw_written

VIEWS = (
    *("Tokens through the layers", "Where the target's logit comes from", "While it writes"),
    "Nearest states",
)
WIDTH = 24  # positions of a grid

page = open_page("logit_lens")
with st.container():
    seen = choose(page)
    runs = {"": page} | ({"_second": seen.beside} if seen.beside else {})
    tabs = tabs_place()
    figures, details, shared = places(runs)
what: dict[str, Any] = {"mode": seen.mode, "largest": seen.largest, "mistake": seen.mistake}
size: dict[str, Any] = {"width": WIDTH, "stride": seen.stride, "target_id": seen.target.ids}

layer = layer_slider(page, "layer", 0 if seen.states else 1, shared)
positions, starts, frames, cells = {}, {}, {}, {}
for name, run in runs.items():
    position = position_slider(run, "Token at position", f"at{name}", details[name])
    start = window(run, WIDTH, f"from{name}", figures[name], position)
    positions[name], starts[name] = position, start
    frames[name] = run.ask("logit_lens.grid", start=start, **size, **what)
    opened: dict[str, Any] = {"layer": layer, "position": position, **what}
    cells[name] = [run.ask("logit_lens.cell", **opened | {"largest": end}) for end in (True, False)]

carried = scales(runs, frames, seen)
for (name, run), at in zip(runs.items(), positions.values(), strict=True):
    with figures[name]:
        drawn = run.named(frames[name])
        sentence = words.sentence(drawn, at, page.n_layers, seen.noun, seen.mistake)
        title = f"Logit lens: what each {seen.noun} would say next"
        grid = lens_grid(drawn, title, sentence, *carried, up=seen.up)
        moves: dict[str, Any] = {"layer": "layer", "position": f"at{name}"}
        draw_grid(run, grid, f"grid{name}", **moves, writes=not seen.states)
        reading(f"“{display_text(run.prompt)}”: " * (len(runs) > 1) + sentence, name)
    with details[name]:
        where = f"layer {layer} after {run.shown(at)} (position {at})"
        top, other = cells[name]
        chart = cell_bars(top, other, where, writes=not seen.states)
        draw(chart, f"cell{name}", read=False, of=run.subject, note=run.most(len(chart.frame)))
        st.caption(words.facts(top))
        pins(top.head(5), name)

position = positions[""]
tables = {f"grid{name}": frame for name, frame in frames.items()}
tables |= {f"cell{name}": top for name, (top, _) in cells.items()}
if seen.mode.startswith("deltas"):
    modes = ("deltas_own_norm", "deltas_frozen_norm")
    size["start"] = starts[""]
    both = [page.ask("logit_lens.grid", mode=mode, **size) for mode in modes]
    reading(words.deltas_reading(*both), "_deltas")
if seen.mode.endswith("frozen_norm"):
    draw_proof(page, position)
if seen.mistake != "none":
    reading(words.mistake_reading(page.ask("logit_lens.mistakes"), seen.mistake), "_mistake")

[modules] = page.ask("logit_lens.modules").to_dict("records")
kept: dict[str, Any] = {"mode": seen.mode, "largest": seen.largest, "position": position}
figures_below = (
    lambda: draw_followed(page, seen.target, position),
    lambda: draw_attribution(page, seen.target, position, modules["logit_cap"]),
    lambda: draw_written(page, up=seen.up),
    lambda: draw_nearest(page, layer, position),
)
opened_below = tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
for tab, draw_figures in zip(opened_below, figures_below, strict=True):
    if tab.open:
        with tab:
            shown, chosen = draw_figures()
            tables, kept = tables | shown, kept | chosen
script = page.script(target_id=seen.target.ids, **kept, **modules)
close_page(page, tables, script, position=position, target_id=seen.target.after(page, position))
read_ahead(page)
