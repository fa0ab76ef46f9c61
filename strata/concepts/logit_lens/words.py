"""What the figures of the logit lens say of a run, in one computed sentence each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from strata.display.tokens import display_candidate, with_shown


def sentence(
    frame: pd.DataFrame, position: int, last: int, noun: str, mistake: str = "none"
) -> str:
    """One sentence on a grid, at `position` or, where that is outside, at its last position."""
    there = position if position in set(frame["position"]) else int(frame["position"].max())
    if noun == "state":
        said = grid_reading(frame, there, last)
        return said if mistake == "none" else f"Read the wrong way: {said}"
    return write_reading(frame, there, noun)


def grid_reading(frame: pd.DataFrame, position: int, last: int) -> str:
    """One sentence on a grid of states: from which layer on the answer at a position leads."""
    cells = with_shown(frame[frame["position"] == position]).sort_values("layer")
    leads = (cells["token_id"] == cells["token_id"].iloc[-1]).to_numpy()
    layers = cells["layer"].to_numpy()
    answer = f"“{display_candidate(cells['predicted'].iloc[-1])}”"
    after = f"after “{cells['shown'].iloc[0]}” (position {position})"
    first = int(layers[leads.argmax()])
    settled = int(layers[len(leads) - int((~leads[::-1]).argmax())] if not leads.all() else 0)
    sure = f"{cells['prob'].iloc[-1]:.0%} at the end"
    text = f"{answer} first leads at layer {first} of {last} {after}"
    if settled > first:
        return f"{text}, and for good from layer {settled} on; {sure}."
    return f"{text}{', and stays ahead' if first < last else ', the very last'}; {sure}."


def facts(cell: pd.DataFrame) -> str:
    """The numbers of one opened cell, in a few words."""
    row = cell.iloc[0]
    words = [f"Norm {_number(row['norm'])}"]
    if not np.isnan(row["entropy"]):
        words.append(f"entropy {row['entropy']:.2f} nats")
        words.append(f"KL to the final {row['kl_to_final']:.2f} nats")
    return ", ".join(words)


def write_reading(frame: pd.DataFrame, position: int, noun: str) -> str:
    """One sentence on a grid of writes: the largest at a position, and what it promotes."""
    cells = frame[frame["position"] == position]
    largest = cells.iloc[int(cells["norm"].argmax())]
    smallest = cells.iloc[int(cells["norm"].argmin())]
    return (
        f"At position {position} the largest {noun} is that of block {largest['layer'] - 1}, of "
        f"norm {_number(largest['norm'])}, and promotes "
        f"“{display_candidate(largest['predicted'])}”; the smallest has norm "
        f"{_number(smallest['norm'])} (block {smallest['layer'] - 1})."
    )


def deltas_reading(own: pd.DataFrame, frozen: pd.DataFrame) -> str:
    """One sentence on why a delta through its own norm and through the frozen one disagree."""
    differ = int((own["token_id"].to_numpy() != frozen["token_id"].to_numpy()).sum())
    most = own.iloc[int(own["magnified"].argmax())]
    ranks = (
        "Both rank the tokens of a write alike here, since this norm only rescales it"
        if not differ
        else f"The two name different tokens in {differ:,} of {len(own):,} cells, since the norm's "
        "bias counts in each write again"
    )
    return (
        f"{ranks}; but its own norm blows every write up to the size of a whole state, that of "
        f"block {most['layer'] - 1} at position {most['position']}, of norm "
        f"{_number(most['norm'])}, {_number(most['magnified'])} times: its {most['prob']:.0%} says "
        "nothing of how much it matters."
    )


def followed_reading(frame: pd.DataFrame, position: int, target_id: int | None = None) -> str:
    """One sentence on tokens followed at a position: how the target came, or the one that leads at
    the end."""
    last = int(frame["layer"].max())
    end = frame[frame["layer"] == last].sort_values("rank")
    chosen = end if target_id is None else end[end["token_id"] == target_id]
    best = chosen.iloc[0]
    way = frame[frame["token_id"] == best["token_id"]]
    worst = way.iloc[int(way["rank"].argmax())]
    moves = "climbs" if worst["rank"] > best["rank"] else "goes"
    return (
        f"At position {position} “{display_candidate(best['predicted'])}” {moves} from rank "
        f"{worst['rank']:,} at layer {worst['layer']} to rank {best['rank']:,} with "
        f"{_share(best['prob'])} at layer {last}."
    )


def attribution_reading(
    frame: pd.DataFrame, way: pd.DataFrame, position: int, cap: float = 0.0
) -> str:
    """One sentence on `attribution`: what the parts add up to beside the model's own logit, and
    which adds most. `way`: the target of `followed`; `cap`: of the model's logits, 0 if none."""
    top = frame.iloc[int(frame["logit"].argmax())]
    block = "" if pd.isna(top["block"]) else f" of block {top['block']}"
    part = {"attn": "attention", "mlp": "the MLP", "norm_bias": "the norm's bias"}
    name = part.get(top["part"], f"the {str(top['part']).replace('_', ' ')}")
    total, end = float(frame["logit"].sum()), way.iloc[-1]
    capped = f", {cap * np.tanh(total / cap):.3f} after the cap" if cap else ""
    return (
        f"At position {position}, {len(frame)} parts add up to {total:.3f}{capped}; the model's "
        f"own logit of “{display_candidate(end['predicted'])}” is {end['logit']:.3f} (rank "
        f"{end['rank']:,}, {_share(end['prob'])}). {name[0].upper()}{name[1:]}{block} adds most, "
        f"{top['logit']:+.2f}."
    )


def proof_reading(frame: pd.DataFrame, position: int, d_vocab: int) -> str:
    """One sentence on `proof`: both errors over the whole vocabulary."""
    output, total = frame.itertuples()
    return (
        f"Position {position}, all {d_vocab:,} logits: the last row of the grid is off the model's "
        f"own by {output.error:.1g}; {total.terms} parts through the frozen norm and the biases "
        f"add up to them, off by {total.error:.1g} ({total.tolerance:.1g} allowed)."
    )


def mistake_reading(frame: pd.DataFrame, mistake: str) -> str:
    """One sentence on `mistakes`."""
    row = frame.set_index("mistake").loc[mistake]
    what = {
        "norm_twice": "Norming the last state a second time (transformers' own last hidden state "
        "is normed already)",
        "no_norm": "Leaving the final norm out",
    }[mistake]
    return (
        f"{what} changes {row['changed']:.0f} of {row['positions']:.0f} answers in the last row, "
        f"by {_number(row['kl'])} nats on average: this row is no longer the model's output."
    )


def _share(prob: float) -> str:
    return f"{prob:.0%}" if prob >= 0.01 else f"{prob:.1g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or not np.isfinite(value) else f"{value:.3g}"
