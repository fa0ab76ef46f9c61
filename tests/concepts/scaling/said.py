"""What is said of scaled blocks, and what must stand in it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from strata.concepts.logit_lens.tables import grid
from strata.concepts.scaling import tables, words
from strata.concepts.scaling.controls import controls
from strata.display.tokens import display_candidate
from strata.trace import Scale, Skip
from tests.concepts.said import SHORT, Run, Said, chance, near, three, two

FACTORS = (0.5, 1.0)
KINDS = ("scale", "noise", "skip")


def said(run: Run) -> Iterator[Said]:
    best = int(run.logprobs[-1].argmax())
    [text] = run.model.decode([best], after=run.trace.token_ids)
    shown, clean = display_candidate(text), float(run.logprobs[-1, best])
    blocks = run.model.n_layers
    edited = run.model.capture(run.text, [Scale(0, 0.5)])  # a whole run
    after = edited.logits[-1].double().log_softmax(-1)
    swept = tables.sweep(run.model, run.trace, best, FACTORS)
    half = swept[swept["factor"] == 0.5]
    assert math.isclose(half["logprob"].iloc[0], float(after[best]), abs_tol=5e-3)
    worst = half.loc[half["logprob"].idxmin()]
    kept = int((half["rank"] == 0).sum())
    first = f"all {kept}" if kept == blocks > 1 else f"{kept} of" if kept else "of"
    hurt = worst["logprob"] < clean - words.UNCHANGED
    claims = (f"by 0.5 hurts “{shown}” most at block {worst['block']:.0f}", first)
    none = (f"clean: {two(clean)} nats",)
    yield Said("reading", words.reading(half, shown), claims if hurt else none)
    claims = (f"“{shown}” has", f"{two(clean)} nats", chance(math.exp(clean)))
    yield Said("clean_reading", words.clean_reading(swept, shown), claims)
    claims = (
        f"first in {first.removesuffix(' of')}" if kept else "first in",
        f"{blocks} edited run",
        f"a factor of 0.5 at block {worst['block']:.0f}",
    )
    yield Said("map_reading", words.map_reading(swept, shown), claims)
    noise = controls(run.model, run.trace, best, 0.5, n_seeds=3)
    whole = {kind: noise[noise["edit"] == kind]["logprob"].to_numpy() for kind in KINDS}
    pushes = whole["noise"].reshape(blocks, 3)
    harmed = whole["scale"] <= clean - words.UNCHANGED  # else pushes may help still more
    beyond = int((harmed & (whole["scale"] < pushes.min(axis=1))).sum())
    skipped = run.model.capture(run.text, [Skip(int(whole["skip"].argmin()))])
    cost = float(skipped.logits[-1].double().log_softmax(-1)[best]) - clean
    sentence = words.controls_reading(noise, shown)
    claims = (f"costs “{shown}” more than all 3 random pushes",)
    if beyond == 0:
        claims += ("at no block (by chance alone",)
    elif beyond > 3:
        claims += (f"{beyond} of {blocks} blocks" if beyond < blocks else f"all {blocks} blocks",)
    if cost < -words.UNCHANGED:
        claims += (f"block {whole['skip'].argmin()} costs most", near(sentence, cost, 2))
    yield Said("controls_reading", sentence, claims)
    if run.last < SHORT:
        yield from _pair(run, shown, after)
    for factor in (0.8, 0.0):
        frame = tables.last_block(run.model, run.trace, best, factor)
        last = words.last_block_reading(frame, shown)
        claims = (f"by {factor:g} after the last block, {blocks - 1}", near(last, clean, 4))
        yield Said("last_block_reading", last, claims)
    both = tables.compare(run.model, run.trace, 0, 0.5, k=3)
    [top] = run.model.decode([int(after.argmax())], after=run.trace.token_ids)
    compared = words.compare_reading(both)
    prob = near(compared, 100 * math.exp(float(after.max())), 1)
    yield Said("compare_reading", compared, (f"“{display_candidate(top)}”", f"{prob}%"))
    size = {"start": max(0, run.last - 3), "width": 4, "k": 1}
    before, with_edit = (grid(run.model, t, **size) for t in (run.trace, edited))
    other = int((before["token_id"].to_numpy() != with_edit["token_id"].to_numpy()).sum())
    claims = (
        f"{other:,} cells" if other == len(before) else f"{other:,} of {len(before):,} cells",
    )
    same = ("every layer still says",)
    yield Said("grid_reading", words.grid_reading(before, with_edit), claims if other else same)


def _pair(run: Run, shown: str, after: Tensor) -> Iterator[Said]:
    """On how far the answer is ahead of the token that comes third. `after`: log-probabilities of
    an edited run, at block 0 by 0.5."""
    a, b = (int(i) for i in run.logprobs[-1].argsort()[[-1, -3]])
    [text] = run.model.decode([b], after=run.trace.token_ids)
    other, clean = display_candidate(text), float(run.logprobs[-1, a] - run.logprobs[-1, b])
    half = tables.sweep(run.model, run.trace, (a, b), FACTORS[:1])
    assert math.isclose(half["logprob"].iloc[0], float(after[a] - after[b]), abs_tol=1e-2)
    worst = half.loc[half["logprob"].idxmin()]
    both = f"“{shown}” minus “{other}”"
    ahead, blocks = int((half["logprob"] > 0).sum()), run.model.n_layers
    kept = f"all {blocks}" if ahead == blocks > 1 else f"{ahead} of" if ahead else "of"
    said = words.reading(half, shown, minus=other)
    claims = (f"by 0.5 lowers {both} most at block {worst['block']:.0f}", f"ahead in {kept}")
    hurt = worst["logprob"] < clean - words.UNCHANGED
    none = (f"by 0.5 lowers {both} after no block",)
    yield Said("reading", said, claims if hurt else none)
    said = words.clean_reading(half, shown, other)
    claims = (
        f"log-probability of “{shown}” minus that of “{other}” is {near(said, clean, 2)} nats",
    )
    if clean > 0.01:
        claims += (f"“{shown}” is {three(math.exp(clean))} times as likely as “{other}”.",)
    yield Said("clean_reading", said, claims)
    said = words.map_reading(half, shown, other)
    claims = (f"“{shown}” is ahead of “{other}” in {kept}", "worst is a factor of 0.5")
    yield Said("map_reading", said, claims)
    frame = tables.last_block(run.model, run.trace, (a, b), -1.0)
    said = words.last_block_reading(frame, shown, other)
    yield Said("last_block_reading", said, (f"{both} from", near(said, clean, 4)))
