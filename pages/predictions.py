"""Predictions: the prompt by surprisal, and what the model expects after each of its tokens."""

import streamlit as st

from strata import charts
from strata.concepts import predictions
from strata.display import display_token
from strata.examples import FACTS
from strata.ui.page import close_page, distinct, draw, open_page, position_slider, reading
from strata.ui.tokens import token_strip

page = open_page("predictions")

choose, how_many = st.columns([3, 1], vertical_alignment="bottom")
with choose:
    position = position_slider(page, "Predict what follows the token at position", key="at")
k = how_many.select_slider("Top tokens", [5, 10, 20, 50], 10, key="k", bind="query-params")

foreseen = page.ask("predictions.surprisal")
surprisals = -foreseen["logprob"]
tips = [
    f"Position {row.position}: {shown}. "
    + (
        "Nothing came before it."
        if row.position == 0
        else f"Surprisal {-row.logprob:.2f} nats, rank {row.rank:,}."
    )
    for row, shown in zip(foreseen.itertuples(), page.tokens["shown"], strict=True)
]
token_strip(
    page.tokens.assign(tip=tips, level=(surprisals / 10).clip(0, 1).fillna(0)),
    position,
    title="The prompt's tokens by surprisal; choose one to see what the model expects next",
    low="Surprisal: 0 nats, foreseen",
    high="10 nats or more, a surprise",
    slider="at",
)

top = page.ask("predictions.next_token", position=position, k=k)
doubt = page.ask("predictions.entropy", position=position)
real = page.ask("predictions.followed", position=position)
sentence = predictions.reading(page.text_up_to(position), top, doubt)

figure, detail = st.columns([2, 1], gap="large")
with figure:
    followed_id = page.tokens["token_id"].iloc[position + 1] if len(real) else None
    bars = top.assign(
        label=distinct(display_token(token) for token in top["predicted"]),
        order=top["rank"],
        value=top["prob"],
        chosen=top["token_id"] == followed_id,
    )
    subject = f"What may follow {page.shown(position)} at position {position}"
    draw(charts.bars(bars, subject, sentence), key="next_tokens")
with detail:
    st.markdown("**What really followed**")
    if len(real):
        row = real.iloc[0]
        st.text(f"{display_token(row['token'])}  (orange bar, where it is among these)")
        cells = st.columns(2)
        cells[0].metric("Rank (0 is best)", f"{row['rank']:,}")
        cells[1].metric("Probability", f"{row['prob']:.2%}")
    else:
        st.text(predictions.followed_reading(real))
    st.metric(
        "Entropy",
        f"{doubt['entropy'].iloc[0]:.2f} nats",
        help=f"As undecided as between {doubt['choices'].iloc[0]:,.1f} equally likely tokens",
    )
reading(sentence)

length, text = st.columns([1, 2], gap="large", vertical_alignment="center")
n_tokens = length.slider(
    "Let it go on, always taking the top token", 1, 60, 12, key="more", bind="query-params"
)
text.code(
    page.ask("run.continuation", n_tokens=n_tokens)["text"][0], language=None, wrap_lines=True
)

with st.expander(
    "Does it know anything? Its top answer to a few facts", on_change="rerun"
) as facts:
    known = page.ask("predictions.factual", prompts=list(FACTS)) if facts.open else None
    if known is not None:
        st.dataframe(
            known.assign(predicted=known["predicted"].map(display_token)),
            hide_index=True,
            column_config={"prob": st.column_config.ProgressColumn("probability", max_value=1.0)},
        )

close_page(
    page,
    {"next tokens": top, "surprisal": foreseen},
    predictions.script(
        *page.source(), page.prompt, position=position, k=k, n_tokens=n_tokens, prompts=FACTS
    ),
)
