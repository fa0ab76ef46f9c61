"""Predictions: the prompt by surprisal, and what the model expects after each of its tokens."""

import streamlit as st

from strata.concepts.predictions import words
from strata.corpus.examples import FACTS
from strata.display.terms import TERMS
from strata.display.tokens import display_candidate, display_percent
from strata.ui.anatomy.controls import one_of_counts
from strata.ui.anatomy.page import close_page, open_page, position_slider, reading, show_table
from strata.ui.figures.next_tokens import next_tokens
from strata.ui.figures.predicted import continuation, surprisal_strip

page = open_page("predictions")
choose, how_many = st.columns([3, 1])
position = position_slider(page, "Predict what follows the token at position", "at", choose)
counts = page.up_to_vocabulary(5, 10, 20, 50)
k = one_of_counts("Top tokens", counts, 10, key="k", place=how_many)

foreseen = page.ask("predictions.surprisal")
surprisal_strip(page, foreseen, position)
st.caption(
    "A token's colour is its own surprisal; click one to see what the model expects after it."
)

top = page.ask("predictions.next_token", position=position, k=k)
undecided = page.ask("predictions.entropy", position=position)
real = page.ask("predictions.followed", position=position)
sentence = page.made(
    "reading",
    lambda: words.reading(page.text_up_to(position), top, undecided),
    *(position, k),
)


def detail() -> None:
    st.markdown("**What really followed**")
    said = page.made("followed", lambda: words.followed_reading(page.named(real)), position)
    st.text(said)
    if len(real):
        rank, prob = st.columns(2)
        rank.metric("Likelier tokens", f"{real['rank'][0]:,}", help=TERMS["rank"])
        shown = display_percent(real["prob"][0], 2)
        prob.metric("Probability", shown)
        st.caption("The bar in orange, if it is among these, is this token.")
    nats = f"{undecided['entropy'][0]:.2f} nats"
    st.metric("Entropy of the prediction", nats)
    st.caption(f"As undecided as between {words.choices(undecided)}.")


next_tokens(page, top, position, sentence, detail)
reading(sentence)
said = page.made("surprisal", lambda: words.surprisal_reading(page.named(foreseen)))
reading(said, "_surprisal")

written = continuation(page)
with st.expander(
    "Does it know anything? Its top answer to a few facts", on_change="rerun"
) as facts:
    if facts.open:
        known = page.ask("predictions.factual", prompts=FACTS)
        show_table(
            known.assign(predicted=known["predicted"].map(display_candidate)),
            {"prob": st.column_config.ProgressColumn("probability", max_value=1.0)},
        )

surprisal = page.made("table", lambda: foreseen.assign(surprisal=-foreseen["logprob"]))
tables = {"next tokens": top, "surprisal": surprisal}
script = page.script(position=position, k=k, prompts=FACTS, **written.choices)
close_page(page, tables | written.tables, script, position=position)
