"""Scaling: multiply what one block hands on, and see what becomes of the prediction."""

from dataclasses import replace
from typing import Any

import streamlit as st

from strata.charts import bars, sweep
from strata.concepts.scaling import measures, words
from strata.display.tokens import display_candidate, display_lines
from strata.ui.anatomy.page import close_page, distinct, draw, open_page, reading
from strata.ui.anatomy.style import leads
from strata.ui.figures.edit import block_slider, choose_edit
from strata.ui.figures.edited_lens import draw_edited_lens
from strata.ui.figures.factors import draw_factors
from strata.ui.figures.noise import SEEDS, draw_noise

VIEWS = ("Block by block", "Every factor", "Beside noise", "One block in detail")
FACTORS = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
WORDS = 20  # tokens of the continuation

page = open_page("scaling")
one, every, noise, detail = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
edit = choose_edit(page, next(tab for tab in (one, every, noise, detail) if tab.open))
target, part, factor = edit.target, edit.part, edit.factor
asked = {"target_id": target.ids, **edit.params}
swept = page.ask("scaling.sweep", factors=[factor], **asked)
tables = {"sweep": swept, "likeliest": target.likeliest}

if one.open:
    with one:
        figure, clean = st.columns([5, 3], gap="medium")
        with figure:
            sentence = words.reading(swept, target.shown, part, target.other)
            title = f"{target.named} with {edit.noun} at one block"
            with leads():
                draw(sweep.by_block(swept, title, sentence, target.pair), "by_block")
            last = page.ask("scaling.last_block", target_id=target.ids, factor=factor)
            reading(words.last_block_reading(last, target.shown, target.other), "_last")
        with clean:
            top = target.likeliest.assign(
                label=distinct(map(display_candidate, target.likeliest["predicted"])),
                order=target.likeliest.index,
                value=target.likeliest["prob"],
                chosen=target.likeliest["token_id"].isin(target.token_ids),
            )
            sentence = words.clean_reading(swept, target.shown, target.other)
            title = "Without an edit: the likeliest next tokens"
            chart = bars(top, title, sentence)
            draw(chart, "clean", read=False, note=page.most(len(top)))

if every.open:
    with every:
        leave: dict[str, Any] = {"view": VIEWS[0]}
        tables["map"] = draw_factors(page, target, swept, leave, factors=FACTORS, **asked)

if noise.open:
    tables["beside noise"] = draw_noise(page, edit, noise)

if detail.open:
    with detail:
        worst = measures.most_hurtful_block(swept)
        block = block_slider(page, "Scale at block", "block", detail, worst)
        edited = replace(page, edits=(edit.at(block),))
        left, right = st.columns([3, 5], gap="medium")
        with left:
            [k] = page.up_to_vocabulary(10)
            both = page.ask("scaling.compare", block=block, factor=factor, k=k, **edit.params)
            shown = both.assign(
                label=distinct(map(display_candidate, both["predicted"])), order=both.index
            )
            sentence = words.compare_reading(both)
            title = f"Next token, {edit.noun} at block {block}"
            with leads():
                draw(sweep.shifts(shown, title, sentence), "both", note=page.most(len(both)))
            for name, run in (("Without the edit", page), ("With it", edited)):
                st.caption(f"{name}, the model goes on:")
                written = run.ask("run.continuation", n_tokens=WORDS)["text"][0]
                st.code(display_lines(written), language=None, wrap_lines=True)
        with right:
            after = draw_edited_lens(page, edited, edit.noun, block)
        tables |= {"before and after": both, "lens with the edit": after}

within = page.ask("scaling.places", part=part)["within"].tolist()
asked |= {"factor": factor, "n_seeds": SEEDS * bool(noise.open)}
script = page.script(blocks=page.about["blocks"], within=within, **asked)
close_page(page, tables, script, target_id=target.after(page, page.n_tokens - 1))
