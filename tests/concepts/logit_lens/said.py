"""What is said of the logit lens, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch

from strata.concepts.logit_lens import (
    attribution,
    nearest,
    proof,
    tables,
    target_logit,
    words,
    written,
)
from strata.corpus import Sample, sample
from strata.corpus.passages import passages
from strata.display.tokens import display_candidate
from strata.model import Model
from tests.concepts.said import SHORT, Run, Said, chance, near, three

WIDTH = 6


def said(run: Run) -> Iterator[Said]:
    start, n_layers = max(0, run.last + 1 - WIDTH), run.model.n_layers
    states = run.trace.hidden[:, run.last].to(run.model.device)
    with torch.inference_mode():
        logits = run.model.unembed(states).double().cpu().numpy()  # (L + 1, V)
    leads = logits.argmax(axis=-1)  # (L + 1,)
    [answer] = run.model.decode([int(leads[-1])], after=run.trace.token_ids)
    first = int((leads == leads[-1]).argmax())
    grid = run.named(tables.grid(run.model, run.trace, start=start, k=1))
    claims = (
        f"“{display_candidate(answer)}”",
        f"after “{run.shown[-1]}” (position {run.last})",
        f"leads at layer {first}",
        f"{chance(np.exp(run.logprobs[-1].max()))} at the end",
    )
    yield Said("sentence", words.sentence(grid, run.last, n_layers, "state"), claims)
    wrong = words.sentence(grid, run.last, n_layers, "state", "no_norm")
    yield Said("sentence", wrong, ("Read the wrong way: ",))
    cell = tables.cell(run.model, run.trace, 1, run.last, k=1)
    yield Said("facts", words.facts(cell), (f"Norm {three(run.norms[1, run.last])}, entropy",))
    yield from _writes(run, start)
    yield from _way(run, logits)
    if run.last < SHORT:
        yield from _pair(run, logits)
        yield from _while_it_writes(run, logits)
    yield from _parts(run)
    yield from _nearest(run, logits)
    frame = tables.mistakes(run.model, run.trace)
    for mistake in ("norm_twice", "no_norm"):
        changed, n_tokens = int(frame.set_index("mistake")["changed"][mistake]), run.last + 1
        counted = f"{changed} of {n_tokens} position"
        if n_tokens > 1 and changed in (0, n_tokens):
            counted = (
                f"all {n_tokens} positions" if changed else f"none of the {n_tokens} positions"
            )
        claims = (f"changes the answer at {counted}",)
        yield Said("mistake_reading", words.mistake_reading(frame, mistake), claims)


@cache
def _passages(model: Model) -> Sample:
    return sample(model, list(passages().values())[:3], n=80, skip_sinks=True, compact=True)


def _nearest(run: Run, logits: np.ndarray) -> Iterator[Said]:
    some = _passages(run.model)
    states = some.states(1).double().numpy()
    mean, spread = states.mean(axis=0), states.std(axis=0)
    own, states = (run.hidden[1, run.last] - mean) / spread, (states - mean) / spread
    cosines = states @ own / np.linalg.norm(states, axis=1) / np.linalg.norm(own)
    places = zip(some.text.tolist(), some.position.tolist(), strict=True)
    own_tokens = run.trace.tokens
    other = [some.tokens[i][: t + 1] != own_tokens[: t + 1] for i, t in places]
    frame = nearest(run.trace, some, 1, run.last)
    token = f"“{run.shown[-1]}” (position {run.last})"
    said = words.nearest_reading(
        frame, 1, token, tables.cell(run.model, run.trace, 1, run.last, k=1)
    )
    prob = np.exp(logits[1].max() - np.logaddexp.reduce(logits[1]))
    claims = (
        f"At layer 1 the state of {token} is closest to that of “",
        f"(cosine {near(said, float(cosines[other].max()), 2)})",
        f" ({chance(prob)}). That is ",
    )
    yield Said("nearest_reading", said, claims)


def _writes(run: Run, start: int) -> Iterator[Said]:
    size: dict[str, Any] = {"start": start, "width": WIDTH, "k": 1}
    writes = run.trace.attn[:, run.last].double().norm(dim=-1).numpy()  # (L,)
    frame = run.named(tables.grid(run.model, run.trace, mode="attn_frozen_norm", **size))
    claims = (
        f"attention write is that of block {writes.argmax()}, of norm {three(writes.max())},",
        "promotes “",
    )
    if len(writes) > 1:
        claims += (f"smallest has norm {three(writes.min())} (block {writes.argmin()})",)
    said = words.sentence(frame, run.last, run.model.n_layers, "attention write")
    yield Said("sentence", said, claims)
    both = [
        tables.grid(run.model, run.trace, mode=f"deltas_{norm}_norm", **size)
        for norm in ("own", "frozen")
    ]
    most = both[0].loc[both[0]["magnified"].idxmax()]
    delta = run.norms_of_deltas[most["layer"] - 1, most["position"]]
    claims = (f"block {most['layer'] - 1} at position {most['position']}, of norm {three(delta)}",)
    yield Said("deltas_reading", words.deltas_reading(*both), claims)


def _way(run: Run, logits: np.ndarray) -> Iterator[Said]:
    """On the token that comes third at the end."""
    target = int(np.argsort(-logits[-1], kind="stable")[2])
    ranks = (logits > logits[:, target, None]).sum(axis=-1)  # (L + 1,)
    [text] = run.model.decode([target], after=run.trace.token_ids)
    frame = tables.followed(run.model, run.trace, run.last, target_id=target)
    claims = (
        f"At position {run.last} “{display_candidate(text)}”",
        f"from rank {ranks.max():,} at layer {ranks.argmax()}",
        f"to rank {ranks[-1]:,} with {chance(np.exp(run.logprobs[-1, target]))} at layer",
    )
    said = words.followed_reading(frame, run.last, target)
    yield Said("followed_reading", said, claims)


def _pair(run: Run, logits: np.ndarray) -> Iterator[Said]:
    """On how far the answer is ahead of the token that comes third."""
    a, b = (int(np.argsort(-logits[-1], kind="stable")[place]) for place in (0, 2))
    shown = [display_candidate(t) for t in run.model.decode([a, b], after=run.trace.token_ids)]
    apart = logits[:, a] - logits[:, b]  # (L + 1,)
    behind = np.flatnonzero(apart <= 0)
    frame = tables.followed(run.model, run.trace, run.last, target_id=(a, b))
    said = words.difference_reading(frame, run.last)
    claims = (
        f"log-probability of “{shown[0]}” minus that of “{shown[1]}” goes from ",
        f"{near(said, apart[0], 2)} nats at layer 0 to ",
        f"{near(said, apart[-1], 2)} nats at layer {run.model.n_layers}",
        f"ahead for good from layer {behind[-1] + 1 if len(behind) else 0} on",
    )
    if apart[-1] > 0.01:
        claims += (f"where “{shown[0]}” is {three(np.exp(apart[-1]))} times as likely as",)
    yield Said("difference_reading", said, claims)
    raw = attribution(run.model, run.trace, (a, b), run.last)
    own = target_logit(run.model, run.trace, (a, b), run.last)
    said = words.attribution_reading(raw, raw, raw, own, run.last, "pair")
    gap = near(said, apart[-1], 3)
    claims = (f"put “{shown[0]}” {gap} above “{shown[1]}”; the model itself {gap}.", "adds most")
    yield Said("attribution_reading", said, claims)


def _while_it_writes(run: Run, logits: np.ndarray) -> Iterator[Said]:
    """On the first step, whose states are the prompt's own."""
    leads = logits.argmax(axis=-1)
    others = np.flatnonzero(leads != leads[-1])
    settled = others[-1] + 1 if len(others) else 0
    [token] = run.model.decode([int(leads[-1])], after=run.trace.token_ids)
    last = run.model.n_layers
    where = f"from layer {settled} of {last} on" if settled < last else f"at layer {last} only"
    said = words.written_reading(written(run.model, run.text, 2), 1)
    chances = f"{chance(np.exp(run.logprobs[-1].max()))} at the end."
    claims = (f"Step 1 writes “{display_candidate(token)}”: it leads {where}", chances)
    yield Said("written_reading", said, claims)


def _parts(run: Run) -> Iterator[Said]:
    target = int(run.logprobs[-1].argmax())
    parts = {
        name: attribution(run.model, run.trace, target, run.last, against)
        for name, against in (("raw", None), ("mean", "mean"))
    }
    logits = run.trace.logits[-1].double()
    for name, value in (("raw", logits[target]), ("mean", logits[target] - logits.mean())):
        against = None if name == "raw" else "mean"
        own = target_logit(run.model, run.trace, target, run.last, against)
        raw, mean = parts.values()
        said = words.attribution_reading(raw, mean, parts[name], own, run.last, name)
        claims = (
            f"{2 * run.model.n_layers + 1} parts and the biases",
            near(said, float(value), 3),
            f"(rank 0, {chance(np.exp(run.logprobs[-1].max()))})",
        )
        yield Said("attribution_reading", said, claims)
    found = proof(run.model, run.trace, run.last)
    claims = (f"Position {run.last}, all {run.model.d_vocab:,} logits", "allowed)")
    said = words.proof_reading(found, run.last, run.model.d_vocab)
    yield Said("proof_reading", said, claims)
