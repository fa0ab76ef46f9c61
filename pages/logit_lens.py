"""Logit lens: what each layer would say, cell by cell, and how the answer comes about."""

import streamlit as st

from strata import lens_words
from strata.charts.grid import lens_grid, scale_for
from strata.charts.lens import attribution, cell_bars, followed
from strata.display import display_text
from strata.ui.grid import choose, draw_grid, layer_slider, pinned, pins, second, window
from strata.ui.page import close_page, draw, open_page, position_slider, reading

WIDTH = 24  # positions of a grid

page = open_page("logit_lens")
seen = choose(page)
what = {"mode": seen.mode, "largest": seen.largest, "mistake": seen.mistake}
size = {"width": WIDTH, "stride": seen.stride, "target_id": seen.target.token_id}
figure, detail = st.columns([2, 1], gap="medium")

layer = layer_slider(page, "layer", 0 if seen.states else 1, detail)
position = position_slider(page, "Token at position", "at", detail)
start = window(page, WIDTH, "from", figure)
with detail:
    opened = {"layer": layer, "position": position, "mode": seen.mode, "mistake": seen.mistake}
    cell, other = (page.ask("logit_lens.cell", largest=end, **opened) for end in (True, False))
    where = f"layer {layer} after {page.shown(position)} (position {position})"
    draw(cell_bars(cell, other, where, writes=not seen.states), "cell", read=False)
    st.caption(lens_words.facts(cell))
    pins(cell.head(5))
with figure:
    asked = [(page, start)] + ([(second(page, seen.beside), 0)] if seen.beside else [])
    frames = [each.ask("logit_lens.grid", start=at, **size, **what) for each, at in asked]
    back, front = (
        scale_for(frames, quantity, page.about["d_vocab"], skip_first=seen.skip_first)
        for quantity in (seen.back, seen.front)
    )
    for i, (place, frame) in enumerate(zip(st.columns(len(frames)), frames, strict=True)):
        with place:
            sentence = lens_words.sentence(frame, position, page.n_layers, seen.noun)
            title = display_text(asked[i][0].prompt)
            cells = lens_grid(frame, title, sentence, back, front, up=seen.up)
            draw_grid(cells, f"grid_{i}", layer="layer", position=None if i else "at")
            reading(sentence, f"_{i}")

tables = {"grid": frames[0], "cell": cell}
if seen.mode.startswith("deltas"):
    modes = ("deltas_own_norm", "deltas_frozen_norm")
    both = [page.ask("logit_lens.grid", start=start, mode=mode, **size) for mode in modes]
    reading(lens_words.deltas_reading(*both), "_deltas")
if seen.mistake != "none":
    wrong = page.ask("logit_lens.mistakes")
    reading(lens_words.mistake_reading(wrong, seen.mistake), "_mistake")

lines, parts = st.tabs(
    ("Tokens through the layers", "Where the target's logit comes from"),
    key="view",
    on_change="rerun",
    bind="query-params",
)
if lines.open:
    with lines:
        ways = page.ask("logit_lens.followed", position=position, token_ids=pinned(page))
        sentence = lens_words.followed_reading(ways, position)
        for place, quantity in zip(st.columns([4, 5]), ("prob", "rank"), strict=True):
            with place:
                draw(followed(ways, quantity, sentence), f"followed_{quantity}", read=False)
        reading(sentence, "_followed")
        tables["followed"] = ways
if parts.open:
    with parts:
        target = {"target_id": seen.target.token_id, "position": position}
        found = page.ask("logit_lens.attribution", **target)
        proof = page.ask("logit_lens.proof", position=position)
        sentence = lens_words.attribution_reading(found, seen.target.token, position)
        title = f"What adds to the logit of {seen.target.shown} at position {position}"
        draw(attribution(found, title, sentence), "attribution", read=False)
        reading(sentence, "_attribution")
        reading(lens_words.proof_reading(proof, position, page.about["d_vocab"]), "_proof")
        tables |= {"attribution": found, "write norms": page.ask("logit_lens.write_norms")}

[modules] = page.ask("logit_lens.modules").to_dict("records")
kept = {"mode": seen.mode, "largest": seen.largest, "target_id": seen.target.token_id}
close_page(page, tables, page.script(position=position, **kept, **modules))
