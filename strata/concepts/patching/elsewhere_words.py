"""What is said of states that are read in another text, in computed sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from strata.concepts.patching.read_elsewhere import by_layer
from strata.display.tokens import display_candidate, display_text, part_of, percent


def elsewhere_reading(frame: pd.DataFrame, put_in: str, place: str) -> str:
    """On `read_elsewhere`: from which layers' states the text goes on to name the token that was
    put in, or A's own next token, and whether it does so anyway. `put_in`: that token and its
    position, as they are shown; `place`: the token whose state it takes the place of."""
    rows = by_layer(frame)
    row = rows.iloc[0]
    own = f"“{display_candidate(row['next_token'])}”, A's own next token,"
    both = bool(row["control_names_token"]), bool(row["control_names_next"])
    named = {
        (False, False): "which names neither",
        (True, True): "which names both, so naming says nothing here",
        (True, False): "which names the token that was put in, so naming that says nothing here",
        (False, True): "which names A's next token, so naming that says nothing here",
    }[both]
    same = int((rows["continuation"] == rows["control_continuation"]).sum())
    anyway = f" From {part_of(same, len(rows), 'layer')} it goes on just so." if same else ""
    return (
        f"With the state of {put_in} in the place of “{place}”, the text goes on to name that "
        f"token {_from_layers(rows, 'names_token')}, and {own} {_from_layers(rows, 'names_next')}. "
        f"Without it, it goes on “{_written(row['control_continuation'])}”, {named}.{anyway} "
        "To name is to write the same word, whole."
    )


def elsewhere_cell_reading(frame: pd.DataFrame, layer: int, step: int) -> str:
    """On one cell of `read_elsewhere`: a layer's continuation, and a token of it beside the
    control's. Of a step after the end, its last."""
    here = frame[frame["layer"] == layer]
    row = here.iloc[min(step, len(here)) - 1]
    control = "" if pd.isna(row["control_prob"]) else f" ({percent(row['control_prob'])})"
    token = f"“{display_candidate(row['control_token'])}”{control}" if control else "nothing more"
    return (
        f"The state of layer {layer} makes it go on “{_written(row['continuation'])}”; step "
        f"{row['step']} writes “{display_candidate(row['token'])}” ({percent(row['prob'])}), and "
        f"without the state {token}."
    )


def _written(continuation: str) -> str:
    return display_text(continuation, 60)


def _from_layers(rows: pd.DataFrame, column: str) -> str:
    """From which of the layers that are read, in words: "from 6 of 16 layers (0 to 10)"."""
    layers, hits = rows["layer"].tolist(), np.flatnonzero(rows[column])
    if not len(hits):
        return f"from none of {len(layers)} layers"
    low, high = hits[0], hits[-1]
    between = f"{layers[low]}" if low == high else f"{layers[low]} to {layers[high]}"
    gaps = ", not all of them" if len(hits) <= high - low else ""
    return f"from {part_of(len(hits), len(layers), 'layer')} ({between}{gaps})"
