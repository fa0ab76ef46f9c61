"""What the figures of attention heads say, in computed sentences.

Attention says where a head looks. What it writes is another question, so no sentence takes the one
for the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from strata.display.tokens import (
    digits,
    display_candidate,
    display_percent,
    fixed,
    listed,
    part_of,
    percent,
)

FAINT = 0.1  # of what the leading head adds: less is called hardly anything
HALF = 0.5  # of a head's attention
MOST = 0.9  # of a head's attention: it reads hardly anything else
SMALL = (
    " So who looks there writes less than its attention suggests: a softmax gives all of that "
    "away, and there it changes least."
)
_ALIKE = 0.01  # nats: a smaller change of a log-probability is called none
_NAMED = 3  # sinks that a sentence names
_LISTED = 12  # blocks that it does
NO_SINKS = "No token of this prompt is an attention sink, so no head's attention goes to one."
NOBODY_BEHIND = (
    "No token stands behind the attention sinks of this prompt, so nobody can read them."
)


def head_name(block: int, head: int) -> str:
    """One head in a sentence."""
    return f"head {head} of block {block}"


def pattern_reading(
    row: pd.DataFrame,
    block: int,
    head: int,
    position: int,
    shown: Sequence[str],
    sunk: Collection[int],
) -> str:
    """One sentence on whom one token reads in one head. `row`: its rows of `pattern`, key and
    weight; `sunk`: the positions of attention sinks."""
    name = f"{head_name(block, head)}".capitalize()
    if len(row) == 1 and position == 0:
        return (
            f"In {head_name(block, head)} {_token(shown, 0)} can read nobody but itself: "
            "no token before it is there to be read."
        )
    out = row["key"].isin(sunk)
    others, sinks = row[~out], float(row.loc[out, "weight"].sum())
    said = f"{name} reads at {_token(shown, position)}"
    if others.empty:
        return f"{said} nothing but attention sinks."
    best = others.loc[others["weight"].idxmax()]
    most = f"{_token(shown, int(best['key']))}, {_percent(best['weight'])} of its attention"
    if int(best["key"]) == position:
        most = f"the token itself, {_percent(best['weight'])} of its attention"
    if not out.any():
        return f"{said} most of all {most}."
    named = _sinks(row.loc[out, "key"].tolist(), shown)
    if sinks > float(best["weight"]):
        return f"{said} {named} most, with {_percent(sinks)} of its attention; then {most}."
    return f"{said} most of all {most}; {_percent(sinks)} goes to {named}."


def unweighted(block: int, others: Sequence[int]) -> str:
    """Why a block has no pattern, and which have."""
    has, one = ("have", "one of them") if len(others) > 1 else ("has", "it")
    return (
        f"Block {block} mixes its tokens without attention weights, so there is nobody who reads "
        f"here. {_blocks(others).capitalize()} {has} them: choose {one}."
    )


def without_sinks_reading(taken: float, n_left: int, n_rows: int, nowhere: bool = False) -> str:
    """What a pattern leaves out whose sinks are taken out: `taken`, their mean share over the
    `n_left` of `n_rows` tokens that have others to read. `nowhere`: some attention goes to no
    token, as in gpt-oss."""
    if n_left == 0:
        return "Without the attention sinks there is nothing left to read."
    gone = n_rows - n_left
    rows = "" if not gone else f", and {gone:,} rows have" if gone > 1 else ", and one row has"
    rows = f"{rows} nothing left" if rows else ""
    return (
        f"Taken out are the attention sinks, {_percent(taken)} of this head's attention on average"
        f"{rows}; of what is left{', and of what goes to no token,' * nowhere} each row sums to 1 "
        "again."
    )


def sink_reading(frame: pd.DataFrame, shown: Sequence[str], sunk: Sequence[int]) -> str:
    """How much of all heads' attention goes to the sinks, of `sink_share`; with no `sunk`, to the
    first token."""
    share = frame["share"]
    top = frame.loc[share.idxmax()]
    many = int((share > MOST).sum())
    named = f"The first token, {_token(shown, 0)},"
    no_sink = " No token of this prompt is an attention sink by its norm."
    if sunk:
        named, no_sink = _sinks(sunk, shown, capital=True), ""
    return (
        f"{named} {'get' if len(sunk) > 1 else 'gets'} {_percent(share.mean())} of the attention "
        f"of the tokens behind, the mean of all heads, and more than {MOST:.0%} in "
        f"{part_of(many, len(frame), 'head')}; most in "
        f"{head_name(int(top['block']), int(top['head']))} ({_percent(top['share'])}).{no_sink}"
    )


def little_reading(frame: pd.DataFrame) -> str:
    """What heads write of what they read in the sinks, of `sink_share`: why so much attention there
    does so little."""
    known = with_part(frame)
    if known.empty:
        return _nothing_to_compare(frame)
    worth = float(known["worth"].median())
    below = int((known["part"] < known["share"]).sum())
    why = SMALL if worth < HALF and 2 * below > len(known) else ""
    return (
        f"Of what they write, a share of {_percent(known['part'].mean())} comes from there, and it "
        f"is less than the share of attention in {part_of(below, len(known), 'head')}. By as much "
        f"attention an arrow from there is {fixed(worth, 2)} times as long as one from other "
        f"tokens (the median).{why}"
    )


def _nothing_to_compare(frame: pd.DataFrame) -> str:
    """Why no head's write can be split in what comes from the sinks and the rest."""
    told = frame[frame["from_sinks"].notna()]
    if told.empty:
        return "What the heads of this model write from the sinks alone is not known."
    if (told["share"] == 0).all():
        return "No head reads the sinks, so none writes from there."
    if (told["share"] + told["nowhere"] >= 1).all():
        return "The heads read the sinks only, so there is nothing to compare what they write with."
    return (
        "No head writes both from the sinks and from other tokens, so there is nothing to compare."
    )


def with_part(frame: pd.DataFrame) -> pd.DataFrame:
    """`sink_share` with part, how much of the norms that a head writes comes from the sinks, and
    worth, the norm that it has from them by some attention over that from others by as much;
    without heads that read the sinks only, or not at all."""
    known = frame[(frame["share"] > 0) & (frame["from_sinks"] + frame["from_others"] > 0)]
    others = (1 - known["share"] - known["nowhere"]).clip(lower=0)
    some = (others > 0) & (known["from_others"] > 0)
    known, others = known[some], others[some]
    worth = (known["from_sinks"] / known["share"]) / (known["from_others"] / others)
    part = known["from_sinks"] / (known["from_sinks"] + known["from_others"])
    return known.assign(part=part, worth=worth)


def written_reading(
    frame: pd.DataFrame,
    target: str,
    other: str,
    position: int,
    shown: Sequence[str],
    without: Sequence[int] = (),
) -> str:
    """Which heads write most towards the target, and against it, of `read_and_written`. `other`:
    the word that it is compared with; "" for the average token. `without`: blocks whose heads weigh
    no tokens, and so are not among them."""
    best, worst = (frame.loc[frame["logit"].agg(end)] for end in ("idxmax", "idxmin"))
    against = f"“{other}”" if other else "the average token"
    names = [head_name(int(row["block"]), int(row["head"])) for row in (best, worst)]
    said = (
        f"At {_token(shown, position)} {names[0]} does most to put “{target}” above {against}: "
        f"{_logits(best['logit'], '+')}"
    )
    if best["logit"] <= 0:
        said = f"At {_token(shown, position)} no head helps to put “{target}” above {against}"
    if worst["logit"] < 0:
        said += f"; most against it is {names[1]}, {_logits(worst['logit'])}"
    strong = int((frame["logit"].abs() >= FAINT * frame["logit"].abs().max()).sum())
    left = kind = ""
    if without:
        left = f" Left out are the heads of {_blocks(without)}, which weigh no tokens."
        kind = " that weighs tokens" if len(frame) == 1 else " that weigh tokens"
    if len(frame) == 1:
        return f"{said}. It is the only head{kind}.{left}"
    return (
        f"{said}. All {len(frame):,} heads{kind} together add "
        f"{_logits(frame['logit'].sum(), '+')}, and {part_of(strong, len(frame), 'head')} at least "
        f"a tenth of what the strongest does.{left}"
    )


def explains_reading(frame: pd.DataFrame, shown: Sequence[str]) -> str:
    """Whether those who read the leading head's token write what it writes, of `read_and_written`:
    attention is no explanation."""
    top = frame.loc[frame["logit"].idxmax()]
    if pd.isna(top["key"]) or top["logit"] <= 0:
        return "No head writes towards the target what it reads in a token that is no sink."
    out = ", sinks left out," if top["sink_share"] > 0 else ""
    name, same = head_name(int(top["block"]), int(top["head"])), readers_of(frame)
    if top["weight"] < FAINT:
        most = f"no token more than {_percent(top['weight'])} of its attention"
        if top["sink_share"] > 0:
            sinks = f"{_percent(top['sink_share'])} of its attention to attention sinks"
            most = f"{sinks} and to no other token more than {_percent(top['weight'])}"
        return f"{name.capitalize()} gives {most}: where it looks does not tell what it writes."
    said = (
        f"{name.capitalize()} reads{out} {_token(shown, int(top['key']))} most, with "
        f"{_percent(top['weight'])} of its attention"
    )
    if same.empty:
        return f"{said}; no other head gives that token half as much."
    writing = int((same["logit"] >= FAINT * top["logit"]).sum())
    others = "1 other head that gives" if len(same) == 1 else f"{len(same)} other heads that give"
    return (
        f"{said}. Of {others} that token at least half as much, {writing} "
        f"{'writes' if writing == 1 else 'write'} a tenth of what it does or more towards the "
        "target: attention says where a head looks, not what it writes."
    )


def readers_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `read_and_written` the other heads that give the token that the leading head reads most at
    least half as much attention as that one does; none where it reads sinks only."""
    top = frame["logit"].idxmax()
    others = frame.drop(index=top)
    return others[others["same"] >= HALF * frame.loc[top, "weight"]]


def idle_of(frame: pd.DataFrame) -> pd.Series | None:
    """Of `read_and_written` the head that reads most of what the leading head reads and writes
    hardly anything towards the target (less than a tenth of it); of any token where none reads the
    same; None where all write."""
    most = frame["logit"].max()
    idle = frame[frame["weight"].notna() & (frame["logit"].abs() < FAINT * abs(most))]
    if idle.empty:
        return None
    same = idle[idle.index.isin(readers_of(frame).index)]
    return idle.loc[idle["weight"].idxmax()] if same.empty else same.loc[same["same"].idxmax()]


def head_reading(
    frame: pd.DataFrame, block: int, head: int, shown: Sequence[str], target: str, other: str
) -> str:
    """One head in a sentence: what it reads, and what it writes, of `read_and_written`. `other`:
    the word that the target is compared with; "" for the average token."""
    row = frame[(frame["block"] == block) & (frame["head"] == head)].iloc[0]
    rank = int((frame["logit"] > row["logit"]).sum()) + 1
    reads = "reads attention sinks only"
    if pd.notna(row["key"]):
        sink = f", with {_percent(row['sink_share'])} on sinks" if row["sink_share"] > 0 else ""
        reads = (
            f"gives {_percent(row['weight'])} of its attention to {_token(shown, int(row['key']))}"
            f"{sink}"
        )
    place = f", number {rank:,} of {len(frame):,} heads" if len(frame) > 1 else ""
    return (
        f"{head_name(block, head).capitalize()} {reads}. It writes an arrow of norm "
        f"{digits(row['norm'])}, which moves the logit of “{target}” by "
        f"{_logits(row['logit'], '+')} against {_logit_of(other)}{place}."
    )


def _logit_of(other: str) -> str:
    return f"that of “{other}”" if other else "the average token's"


def changed_reading(
    frame: pd.DataFrame, target: str, other: str, what: str, direct: float | None = None
) -> str:
    """What becomes of the target when a head is changed, of `changed`: the run without the edit and
    with it. `other`: the second word of a pair, or ""; `what`: is done to the head; `direct`: what
    of the change is in its own write, if that is known."""
    clean, edited = (frame[frame["edit"] == name].iloc[0] for name in ("clean", "head"))
    name = head_name(int(edited["block"]), int(edited["head"]))
    noun = f"“{target}” minus “{other}”" if other else f"“{target}”"
    goes = f"the log-probability of {noun} goes from {_nats(clean)} to {_nats(edited)}"
    if not other:
        goes += f" ({percent(clean['prob'])} to {percent(edited['prob'])})"
    if abs(edited["logprob"] - clean["logprob"]) < _ALIKE:
        goes = f"the log-probability of {noun} stays at {_nats(clean)}"
    tops = [f"“{display_candidate(row['top'])}”" for row in (clean, edited)]
    first = f"{tops[1]} comes first instead of {tops[0]}"
    if tops[0] == tops[1]:
        first = f"{tops[0]} stays first"
    said = f"With {name} {what}, {goes}; {first}."
    if direct is None:
        return said
    moved = float(edited["logit"] - clean["logit"])
    against = f"“{other}”" if other else "the average token"
    own = f"By its own write alone the logit against {against} would change by"
    if abs(moved - direct) <= FAINT * max(abs(moved), abs(direct), FAINT):
        return f"{said} {own} {_logits(direct, '+')}, and so it does: {_logits(moved, '+')}."
    return (
        f"{said} {own} {_logits(direct, '+')}, and it changes by {_logits(moved, '+')}: the rest "
        "is what later parts of the model make of it."
    )


def controls_reading(frame: pd.DataFrame) -> str:
    """Whether changing that head does more than its controls, of `changed`."""
    clean = float(frame.loc[frame["edit"] == "clean", "logprob"].iloc[0])
    cost = float(frame.loc[frame["edit"] == "head", "logprob"].iloc[0]) - clean
    said, any_does = [], False
    for kind, noun in (("other", "other head"), ("noise", "random run")):
        moves = (frame.loc[frame["edit"] == kind, "logprob"] - clean).abs()
        if len(moves):
            much = int((moves >= abs(cost)).sum())
            said.append(part_of(much, len(moves), noun))
            any_does |= much > 0
    if not said:
        return "There is nothing to compare it with: it is the block's only head, and not changed."
    if abs(cost) < _ALIKE:
        return f"The edit changes hardly anything, less than {_ALIKE:g} nats."
    so = "nothing else that was tried does what this change does"
    if any_does:
        so = "what they do as well is no evidence for this head"
    return f"Beside it {' and '.join(said)} move the target as far or further: {so}."


def _blocks(blocks: Sequence[int]) -> str:
    """Some blocks by their numbers, up to twelve."""
    n_more = len(blocks) - _LISTED
    more = [f"{n_more:,} more"] if n_more > 0 else []
    noun = "blocks" if len(blocks) > 1 else "block"
    return f"{noun} {listed([*map(str, blocks[:_LISTED]), *more])}"


def _sinks(positions: Sequence[int], shown: Sequence[str], capital: bool = False) -> str:
    """The attention sinks by name, up to three."""
    one = len(positions) == 1
    noun = "attention sink" if one else "attention sinks"
    names = [f"“{shown[p]}” (position {p})" for p in list(positions)[:_NAMED]]
    if len(positions) > _NAMED:
        names[-1:] = [f"{len(positions) - _NAMED + 1:,} more"]
    the = "The" if capital else "the"
    return f"{the} {noun} {listed(names)}"


def _token(shown: Sequence[str], position: int) -> str:
    return f"“{shown[position]}” (position {position})"


def _percent(share: float) -> str:
    """A share in a sentence."""
    return display_percent(share, 0) if share >= 0.005 or share == 0 else "less than 1%"


def _logits(value: float, sign: str = "") -> str:
    text = fixed(value, 2)
    return f"+{text}" if sign and not text.startswith("−") else text


def _nats(row: Any) -> str:
    return f"{fixed(float(row['logprob']), 2)} nats"
