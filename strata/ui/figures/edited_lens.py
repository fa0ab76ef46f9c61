"""The logit lens of an edited run, beside what the clean one says."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import sweep
from strata.concepts.scaling import words
from strata.ui.anatomy.page import Page, reading
from strata.ui.figures.grid import draw_grid

COLUMNS = 16  # positions of the grid


def draw_edited_lens(page: Page, edited: Page, noun: str, block: int) -> pd.DataFrame:
    """The grid of the run `edited`, by an edit called `noun` at a block, from the layer below it
    upwards, and what it says beside the page's own; its table."""
    size: dict[str, Any] = {"start": max(0, page.n_tokens - COLUMNS), "width": COLUMNS}
    before, after = [run.ask("logit_lens.grid", **size) for run in (page, edited)]
    few = f"; the last {COLUMNS} of {page.n_tokens} tokens" * (page.n_tokens > COLUMNS)
    st.markdown(f"**The logit lens with the edit**, from the layer below it upwards{few}")
    sentence = words.grid_reading(before, after)
    title = f"Logit lens with {noun} at block {block}"
    drawn = sweep.lens_after(before, after, block, title, sentence)
    draw_grid(page, drawn, "edited_grid", layer="edited_layer", position=None)
    reading(sentence, "_grid")
    return after
