"""What the figures of the predictions say of a run, in words."""

from __future__ import annotations

import math

import pandas as pd

from strata.concepts.predictions.measures import late_share, n_to_reach
from strata.display.tokens import (
    display_candidate,
    display_context,
    display_text,
    percent,
    with_shown,
)


def reading(context: str, top: pd.DataFrame, undecided: pd.DataFrame) -> str:
    """One sentence on `next_token` and `entropy` after `context`, the text up to that position."""
    best, doubt = top.iloc[0], undecided.iloc[0]
    return (
        f"After “{display_context(context)}”, the model puts {percent(best['prob'])} on "
        f"“{display_candidate(best['predicted'])}”; its entropy, {doubt['entropy']:.2f} nats, is "
        f"that of {choices(undecided)}. {held(top)}"
    )


def choices(undecided: pd.DataFrame) -> str:
    """How many equally likely tokens would leave as much doubt as `entropy` says."""
    count = float(undecided["choices"].iloc[0])
    shown = f"{count:,.{0 if count >= 100 else 1}f}"
    return f"{shown} equally likely tokens" if shown != "1.0" else "a single possible token"


def held(top: pd.DataFrame) -> str:
    """How many of `next_token`'s tokens it takes to hold half of the probability and nine tenths of
    it, in a sentence; where all of them hold less, how much that is."""
    half, most, all_of_it = n_to_reach(top, 0.5), n_to_reach(top, 0.9), percent(top["prob"].sum())
    if half is None:
        return f"The {len(top)} likeliest tokens hold {all_of_it} of the probability."
    those = (
        "The likeliest token alone holds at least"
        if half == 1
        else f"The {half} likeliest tokens hold"
    )
    if most == half:
        return f"{those} 90% of the probability."
    if half == len(top):
        return f"{those} half of the probability."
    more = f"the {len(top)} here hold {all_of_it}" if most is None else f"{most} hold 90%"
    return f"{those} half of the probability, {more}."


def typed_reading(text: str, top: pd.DataFrame) -> str:
    """One sentence on `upcoming` of a text that is being typed."""
    best = top.iloc[0]
    return (
        f"As you type, after “{display_text(text, 40)}”: “{display_candidate(best['predicted'])}”, "
        f"{percent(best['prob'])}. The rest of the page waits for “Look inside”."
    )


def way_of_writing(temperature: float, seed: int) -> str:
    """How the tokens of a continuation were chosen, in a sentence or two."""
    if not temperature:
        return "Greedy: always the likeliest token, so it is the same text every time."
    return (
        f"Sampled: each token is drawn from softmax(logits / {temperature:g}). Seed {seed} draws "
        "the same text every time, another seed another one."
    )


def followed_reading(frame: pd.DataFrame) -> str:
    """One sentence on `followed`."""
    if frame.empty:
        return "The prompt ends here, so no token really follows."
    row = with_shown(frame).iloc[0]
    return (
        f"“{row['shown']}” really follows: rank {row['rank']:,}, "
        f"{percent(row['prob'])}, a surprisal of {row['surprisal']:.2f} nats."
    )


def tips(frame: pd.DataFrame) -> list[str]:
    """A few words on each row of `surprisal`."""
    return [
        f"Position {row.position}, {row.shown}: "
        + (
            "nothing came before it"
            if row.position == 0
            else f"surprisal {-row.logprob:.2f} nats, rank {row.rank:,}"
        )
        for row in with_shown(frame).itertuples()
    ]


def tints(frame: pd.DataFrame) -> pd.Series:
    """How deep each row of `surprisal` is tinted: 0 for 0 nats, 1 from 10 nats on; missing for the
    first token, which has none."""
    return (-frame["logprob"] / 10).clip(0, 1)


def surprisal_reading(frame: pd.DataFrame) -> str:
    """One sentence on `surprisal`."""
    if len(frame) < 2:
        return "The prompt has a single token, and nothing came before it to predict it from."
    hardest = with_shown(frame).iloc[int(frame["logprob"].argmin())]
    return (
        f"Foreseen least was “{hardest['shown']}” at position "
        f"{hardest['position']}: {-hardest['logprob']:.2f} nats, rank {hardest['rank']:,}; the "
        f"mean is {-frame['logprob'].mean():.2f} nats a token.{_late(frame)}"
    )


def _late(frame: pd.DataFrame) -> str:
    """What share of the surprisal its second half holds, of a text that has two to speak of."""
    share = late_share(frame)
    if len(frame) < 4 or math.isnan(share):
        return ""
    return f" The second half of the text holds {percent(share)} of all surprisal."
