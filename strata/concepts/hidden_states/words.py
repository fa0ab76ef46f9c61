"""What the figures of the hidden states say of a run, in one computed sentence each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from strata.display.tokens import digits, display_token

SINK = 5.0  # position 0 is called a sink where its norm is this many times the others' median


def reading(frame: pd.DataFrame) -> str:
    """One sentence on `summary`: how norms grow with depth, and whether position 0 is a sink."""
    norms = frame.pivot(index="layer", columns="position", values="norm").to_numpy()  # (L + 1, T)
    median = np.median(norms[:, 1:] if norms.shape[1] > 1 else norms, axis=1)  # (L + 1,)
    text = (
        f"The median norm of all states{' but the first' if norms.shape[1] > 1 else ''} is "
        f"{digits(median[0])} at layer 0 and {digits(median[-1])} at layer {len(median) - 1}"
        + (", since what blocks add piles up" if median[-1] > 2 * median[0] else "")
    )
    layer = int((norms[:, 0] / median).argmax())
    ratio = norms[layer, 0] / median[layer]
    if norms.shape[1] == 1 or not ratio >= SINK:
        return text + "."
    return (
        f"{text}; position 0, “{display_token(frame['token'].iloc[0])}”, reaches "
        f"{digits(norms[layer, 0])} at layer {layer}, {digits(ratio)} times the others: an "
        "attention sink."
    )


def strip_reading(frame: pd.DataFrame, d_model: int) -> str:
    """One sentence on `strip`: where the largest activation is, and how much of D is drawn."""
    top = frame.iloc[int(frame["value"].abs().argmax())]
    fewest = int(frame.groupby("layer").size().min())
    drawn = (
        f"all {d_model:,} dimensions are drawn"
        if fewest == d_model
        else f"at least {fewest:,} of {d_model:,} dimensions are drawn at each layer, a sample "
        "that always keeps the extremes"
    )
    text = f"The largest activation is {digits(top['value'])}, in dimension {top['dim']:.0f} at "
    text += f"layer {top['layer']:.0f}"
    median = frame.loc[frame["layer"] == top["layer"], "value"].abs().median()
    if fewest == d_model and median > 0:  # that of a sample would be another
        text += f", {digits(abs(top['value']) / median)} times the median size there"
    return f"{text}; {drawn}."


def outliers_reading(frame: pd.DataFrame) -> str:
    """One sentence on `outliers`."""
    if frame.empty:
        return "The prompt has a single token, which is left out here."
    top = frame.iloc[0]
    return (
        f"Dimension {top['dim']} alone holds {top['share']:.0%} of the squared norm of "
        f"“{display_token(top['token'])}” at layer {top['layer']}."
    )


def final_norm_reading(frame: pd.DataFrame) -> str:
    """One sentence on `final_norm`, about the last position, which predicts the next token."""
    last = frame.iloc[-1]
    return (
        f"The final norm takes the last state from a norm of {digits(last['norm_before'])} to "
        f"{digits(last['norm_after'])} and turns it: the cosine between the two is "
        f"{last['cosine']:.2f}."
    )
