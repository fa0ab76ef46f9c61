"""What the figures of the logit lens say of a run, in one computed sentence each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from strata.concepts.logit_lens.written import settled_layers
from strata.concepts.target import TargetId, times_as_likely
from strata.display.tokens import (
    SHORTENED,
    digits,
    display_candidate,
    display_sampled,
    display_text,
    fixed,
    part_of,
    percent,
    with_shown,
)

PASSAGES = (
    "There is nothing to compare with until the model has read Strata’s passages: once for all who "
    "ask, while other pages go first. Who leaves meanwhile finds what was read so far."
)
_BESIDE = 24  # characters of a context quoted before and after a token


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
    sure = f"{percent(cells['prob'].iloc[-1])} at the end"
    if first == last:
        return f"{answer} leads at layer {last} only, the very last, {after}; {sure}."
    text = f"{answer} first leads at layer {first} of {last} {after}"
    if settled > first:
        return f"{text}, and for good from layer {settled} on; {sure}."
    return f"{text}, and stays ahead; {sure}."


def facts(cell: pd.DataFrame) -> str:
    """The numbers of one opened cell, in a few words."""
    row = cell.iloc[0]
    words = [f"Norm {digits(row['norm'])}"]
    if not np.isnan(row["entropy"]):
        words.append(f"entropy {row['entropy']:.2f} nats")
        words.append(f"KL to the final {row['kl_to_final']:.2f} nats")
    return f"{', '.join(words)}."


def write_reading(frame: pd.DataFrame, position: int, noun: str) -> str:
    """One sentence on a grid of writes: the largest at a position, and what it promotes."""
    cells = frame[frame["position"] == position]
    largest = cells.iloc[int(cells["norm"].argmax())]
    smallest = cells.iloc[int(cells["norm"].argmin())]
    least = f"; the smallest has norm {digits(smallest['norm'])} (block {smallest['layer'] - 1})"
    return (
        f"At position {position} the largest {noun} is that of block {largest['layer'] - 1}, of "
        f"norm {digits(largest['norm'])}, and promotes "
        f"“{display_candidate(largest['predicted'])}”{least if len(cells) > 1 else ''}."
    )


def deltas_reading(own: pd.DataFrame, frozen: pd.DataFrame) -> str:
    """One sentence on why a delta through its own norm and through the frozen one disagree."""
    differ = int((own["token_id"].to_numpy() != frozen["token_id"].to_numpy()).sum())
    most = own.iloc[int(own["magnified"].argmax())]
    ranks = (
        "Both rank the tokens of a write alike here, since this norm only rescales it"
        if not differ
        else f"The two name different tokens in {part_of(differ, len(own), 'cell')}, since the "
        "norm's bias counts in each write again"
    )
    return (
        f"{ranks}; but its own norm brings every write to the size of a whole state, that of "
        f"block {most['layer'] - 1} at position {most['position']}, of norm "
        f"{digits(most['norm'])}, {digits(most['magnified'])} times as large: the "
        f"{percent(most['prob'])} that its first token gets says nothing of how much it matters."
    )


def followed_reading(frame: pd.DataFrame, position: int, target_id: TargetId | None = None) -> str:
    """One sentence on tokens followed at a position: how the target came, or the one that leads at
    the end; two on a pair."""
    if isinstance(target_id, tuple):
        return difference_reading(frame, position)
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
        f"{percent(best['prob'])} at layer {last}."
    )


def difference_reading(frame: pd.DataFrame, position: int) -> str:
    """Two sentences on the difference of a pair in `followed`: how it grows, and from where on
    which of the two is ahead."""
    way = frame[frame["other"] != ""].sort_values("layer")
    a, b = (display_candidate(way[name].iloc[0]) for name in ("predicted", "other"))
    value, layers = way["logit"].to_numpy(dtype=float), way["layer"].to_numpy()
    first, last = (f"{_signed(value[i])} nats at layer {layers[i]}" for i in (0, -1))
    others = np.flatnonzero(np.sign(value) != np.sign(value[-1]))
    settled = layers[others[-1] + 1] if len(others) else layers[0]
    for_good = f", and ahead for good from layer {settled} on" if value[-1] else ""
    return (
        f"At position {position} the log-probability of “{a}” minus that of “{b}” goes from "
        f"{first} to {last}, where {times_as_likely(value[-1], a, b)}{for_good}. Their logits "
        "differ by as much: a softmax takes the same number from both."
    )


def written_reading(frame: pd.DataFrame, step: int) -> str:
    """Two sentences on `written`: from which layer on the token of a step leads, and at which
    steps that comes latest and earliest."""
    settled = settled_layers(frame)
    last = int(frame["layer"].max())
    at_the_end = frame[frame["layer"] == last].set_index("step")
    names = {number: f"“{display_candidate(t)}”" for number, t in at_the_end["token"].items()}
    end = at_the_end.loc[step]
    said = f"Step {step} writes {names[step]}"
    if pd.isna(settled[step]):
        said += f", which the lens ranks {end['target_rank']:,} at the last layer"
    else:
        where = f"layer {last} only, the very last" if settled[step] == last else ""
        where = where or f"layer {settled[step]} of {last} on"
        said += f": it leads {'at' if settled[step] == last else 'from'} {where}"
    said += f", {percent(end['target_prob'])} at the end."
    known = settled.dropna()
    if len(known) < 2:
        return said
    if known.nunique() == 1:
        return f"{said} All {len(known)} tokens lead from layer {known.iloc[0]} on."
    late, early = known.idxmax(), known.idxmin()
    return (
        f"{said} Of {len(known)} tokens {names[late]} (step {late}) is settled latest, from layer "
        f"{known[late]} on, and {names[early]} (step {early}) earliest, from layer {known[early]}."
    )


def attribution_reading(
    raw: pd.DataFrame,
    mean: pd.DataFrame,
    shown: pd.DataFrame,
    own: pd.DataFrame,
    position: int,
    against: str = "mean",
    cap: float = 0.0,
) -> str:
    """Two sentences on `attribution`: what the parts add up to beside the model's own, and which
    adds most; where another measure names another part, why.

    `raw`, `mean`: `attribution` against nothing and against the average token; `shown`: against
    what `against` says ("raw", "mean", "word", or "pair" where the target is a pair, and the other
    two measures are the same), with `own`, its `target_logit`; `cap`: of the model's logits, 0 if
    none.
    """
    [end] = own.to_dict("records")
    parts = int((~shown["part"].str.endswith("bias")).sum())
    total, name = float(shown["logit"].sum()), f"“{display_candidate(end['predicted'])}”"
    chance = ""
    if against != "pair":
        chance = f" (rank {end['rank']:,}, {percent(end['prob'])})"
    start = f"At position {position}, {parts} parts and the biases"
    top = int(shown["logit"].argmax())
    most = f"{_part(shown, top)} adds most, {_signed(shown['logit'].iloc[top])}."
    if against == "raw":
        capped = f", {fixed(cap * np.tanh(total / cap))} after the cap" if cap else ""
        said = (
            f"{start} add up to {fixed(total)}{capped}; the model's own logit of {name} is "
            f"{fixed(end['own'])}{chance}."
        )
    else:
        other = f"“{display_candidate(end['other'])}”" if end["other"] else "the average token"
        said = (
            f"{start} put {name} {abs(total):.3f} {'above' if total >= 0 else 'below'} {other}; "
            f"the model itself {abs(end['logit']):.3f}{' before its cap' * bool(cap)}{chance}."
        )
    return " ".join(filter(None, (said, _capital(most), _of_others(raw, mean, top, against))))


def _of_others(raw: pd.DataFrame, mean: pd.DataFrame, top: int, against: str) -> str:
    """Why the part that adds most is another by another measure; "" if it is the same one."""
    largest, apart = int(raw["logit"].argmax()), int(mean["logit"].argmax())
    left, told = mean["logit"].iloc[apart], ""
    if against == "word" and apart != top:
        told = (
            f"Against the average token it is {_part(mean, apart)}, {_signed(left)}: what tells a "
            "token from most others need not tell it from this one."
        )
    if largest == apart:
        return told
    adds, leaves = raw["logit"].iloc[largest], mean["logit"].iloc[largest]
    given = round(adds - leaves, 2)
    gives = f"gives {_signed(given)} to the average token too"
    if given <= 0:  # the other takes more from it, or this one would lead against it
        gives = f"takes only {fixed(-given, 2)} from the average token"
    common = (
        f"it {gives}, which leaves {_signed(leaves)}: what changes all logits alike changes no "
        "probability."
    )
    if against == "raw":
        that = f"Against the average token {_part(mean, apart)} adds most, {_signed(left)}."
        return f"But {common} {that}"
    most = f"{_part(raw, largest)} adds most, {_signed(adds)}"
    return " ".join(filter(None, (told, f"To the bare logit {most}, but {common}")))


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")


def _part(frame: pd.DataFrame, row: int) -> str:
    """A part of an attribution in words, such as "the MLP of block 3"."""
    kind, block = frame["part"].iloc[row], frame["block"].iloc[row]
    named = {"attn": "attention", "mlp": "the MLP", "norm_bias": "the norm's bias"}
    name = named.get(kind, f"the {str(kind).replace('_', ' ')}")
    return name if pd.isna(block) else f"{name} of block {block}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def nearest_reading(
    frame: pd.DataFrame, layer: int, token: str, cell: pd.DataFrame, *, sink: bool = False
) -> str:
    """Two sentences on `nearest` of a cell: the nearest state of its own layer beside what the lens
    reads there, and what its neighbours have in common. `token`: the cell's, with its position;
    `cell`: `cell` of the same; `sink`: whether the token is an attention sink."""
    near = frame[frame["layer"] == layer]
    best, lens = near.iloc[0], cell.iloc[0]
    equal = ", and as close to others," if (near["rank"] == 0).sum() > 1 else ","
    said = (
        f"At layer {layer} the state of {token} is closest to that of "
        f"“{display_sampled(best['token'])}” in “{_snippet(best)}” "
        f"(cosine {fixed(best['cosine'], 2)}){equal} while the lens reads "
        f"“{display_candidate(lens['predicted'])}” ({percent(lens['prob'])})."
    )
    if sink:
        return f"{said} It is an attention sink, and no such state is among those compared with."
    if np.isnan(best["usual"]):
        return said
    is_near = "nearer" if best["cosine"] > best["usual"] else "no nearer"
    return (
        f"{said} That is {is_near} than usual: half of the sampled states have one at "
        f"{fixed(best['usual'], 2)} or more."
    )


def around(text: str) -> str:
    """The text before a token, or after it, as one line of plain text."""
    text = text.removeprefix(" ")
    return display_text(text, len(text)) if text else ""


def _snippet(row: pd.Series) -> str:
    """A token of `nearest` between a few words, with the spaces that stand there."""
    before, token, after = row["before"], row["token"], row["after"]
    start = display_text(before, _BESIDE) if before else ""
    end = around(after)
    if len(end) > _BESIDE:
        cut = end[:_BESIDE]
        end = cut[: cut.rfind(" ") if " " in cut else None] + SHORTENED
    left, right = (" " * text.startswith(" ") for text in (token, after))
    return f"{start}{left}»{display_sampled(token)}«{right}{end}".strip()


def proof_reading(frame: pd.DataFrame, position: int, d_vocab: int) -> str:
    """One sentence on `proof`: both errors over the whole vocabulary."""
    output, total = frame.itertuples()
    errors = output.error, total.error, total.tolerance
    off, apart, allowed = (digits(error, 1) for error in errors)
    return (
        f"Position {position}, all {d_vocab:,} logits: the last row of the grid is off the "
        f"model's own by {off}; {total.terms} parts through the frozen norm and the biases add up "
        f"to them, off by {apart} ({allowed} allowed)."
    )


def mistake_reading(frame: pd.DataFrame, mistake: str) -> str:
    """One sentence on `mistakes`."""
    [row] = frame[frame["mistake"] == mistake].to_dict("records")
    what = {
        "norm_twice": "Norming the last state a second time (transformers' own last hidden state "
        "is normed already)",
        "no_norm": "Leaving the final norm out",
    }[mistake]
    return (
        f"{what} changes the answer at {part_of(row['changed'], row['positions'], 'position')} of "
        f"the last row, and what it says by {digits(row['kl'])} nats on average: this row is no "
        "longer the model's output."
    )
