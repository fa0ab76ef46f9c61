"""What is said of attention heads, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

from strata.concepts.heads import sink_share, words
from strata.concepts.heads.changed import changed
from strata.concepts.heads.readers import read_and_written
from strata.concepts.heads.tables import pattern
from strata.display.tokens import display_candidate
from strata.model.frozen_norm import freeze
from strata.model.head_writes import head_writes
from strata.trace import Scale
from tests.concepts.said import LONG, SHORT, Run, Said, two

BLOCK, HEAD = 1, 0


def said(run: Run) -> Iterator[Said]:
    if run.last >= LONG:
        return
    model, trace, shown, last = run.model, run.trace, run.shown, run.last
    block = min(BLOCK, model.n_layers - 1)
    rows = pattern(model, trace, block, HEAD)
    row = rows[(rows["query"] == last) & (rows["key"] >= 0)]
    sentence = words.pattern_reading(row, block, HEAD, last, shown, [])
    most = row.loc[row["weight"].idxmax()]
    claims = (f"Head {HEAD} of block {block} reads", f"{100 * most['weight']:.0f}%")
    yield Said("pattern_reading", sentence, claims if last else (f"“{shown[0]}”",))
    if last:
        named = words.pattern_reading(row, block, HEAD, last, shown, [0])
        claims = ("attention sink", f"“{shown[0]}” (position 0)", _share(row["weight"].iloc[0]))
        yield Said("pattern_reading", named, claims)
    yield Said("without_sinks_reading", words.without_sinks_reading(0.25, last, last + 1), ())
    found = sink_share(model, trace, [0])
    if len(found):
        share = found["share"]
        mean, top = share.mean(), found.loc[share.idxmax()]
        claims = (_share(mean), f"head {top['head']:.0f} of block {top['block']:.0f}")
        yield Said("sink_reading", words.sink_reading(found, shown, [0]), claims)
        part = (found["from_sinks"] / (found["from_sinks"] + found["from_others"])).mean()
        yield Said("little_reading", words.little_reading(found), (_share(part),))
    yield from _of_writes(run)
    if last < SHORT:
        yield from _of_changes(run)


def _of_writes(run: Run) -> Iterator[Said]:
    model, trace, shown, last = run.model, run.trace, run.shown, run.last
    target = int(trace.logits[-1].argmax())
    name = display_candidate(model.decode([target], after=trace.token_ids)[0])
    frame = read_and_written(model, trace, target, last)
    top = frame.loc[frame["logit"].idxmax()]
    leader = f"head {top['head']} of block {top['block']}"
    added = f"+{two(top['logit'])}" if top["logit"] >= 0.005 else two(top["logit"])
    claims = (leader, f"“{name}”", "the average token", added)
    if top["logit"] <= 0:
        claims = ("no head helps", f"“{name}”", "the average token")
    sentence = words.written_reading(frame, name, "", last, shown)
    yield Said("written_reading", sentence, claims)
    told = words.explains_reading(frame, shown)
    same = frame[(frame["same"] >= 0.5 * top["weight"]) & (frame["logit"] < top["logit"])]
    writing = int((same["logit"] >= 0.1 * top["logit"]).sum())
    found = pd.notna(top["key"]) and top["logit"] > 0
    claims = (leader.capitalize(), _share(top["weight"])) if found else ("No head",)
    if found and top["weight"] >= 0.1:
        claims += (f"Of {len(same)} other head", f" {writing} write") if len(same) else ()
    yield Said("explains_reading", told, claims)
    for row in frame.iloc[:2].to_dict("records"):
        own = _against_the_average(run, target, row["block"], row["head"])
        sentence = words.head_reading(frame, row["block"], row["head"], shown, name, "")
        who = f"Head {row['head']} of block {row['block']}"
        moves = f"the logit of “{name}” by {own} against the average token's"
        yield Said("head_reading", sentence, (who, _share(row["weight"]), moves))


def _against_the_average(run: Run, target: int, block: int, head: int) -> str:
    """How far a head moves the target's logit from the mean of all tokens' logits: of the vector
    that it writes, through the final norm with the scale that it has at the end."""
    model, trace, last = run.model, run.trace, run.last
    [written] = [each for each in head_writes(model, trace, last) if each.block == block]
    frozen = freeze(model.float_head, trace.hidden[-1, last].to(model.device))
    kept = trace.carried(torch.ones(model.n_layers, 1, 1)).flatten()[block]
    normed = frozen.normed(written.heads[head][None].to(model.device) * kept)
    logits = (normed @ frozen.matrix.T)[0].double() * frozen.architecture.logit_scale  # (V,)
    value = float(logits[target] - logits.mean())
    return f"+{two(value)}" if value >= 0.005 else two(value)


def _of_changes(run: Run) -> Iterator[Said]:
    model, trace = run.model, run.trace
    target = int(trace.logits[-1].argmax())
    name = display_candidate(model.decode([target], after=trace.token_ids)[0])
    block = min(BLOCK, model.n_layers - 1)
    frame = changed(model, trace, target, block, HEAD, factor=0.0, n_seeds=2)
    edited = model.capture(run.text, edits=[Scale(block, 0.0, "attn", head=HEAD)])
    before, after = (
        each.logits[-1].double().log_softmax(dim=-1)[target] for each in (trace, edited)
    )
    sentence = words.changed_reading(frame, name, "", "left out", -0.5)
    ends = (two(float(before)), two(float(after)))
    moved = abs(float(after - before)) >= 0.011
    claims = (f"head {HEAD} of block {block}", f"“{name}”", "−0.50", *(ends if moved else ()))
    yield Said("changed_reading", sentence, claims)
    yield Said("controls_reading", words.controls_reading(frame), ())
    alone = pd.DataFrame(frame[frame["edit"].isin(["clean", "head"])])
    yield Said("controls_reading", words.controls_reading(alone), ("nothing to compare",))


def _share(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.005 else ""
