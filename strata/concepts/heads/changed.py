"""One head changed, and the target before and after, beside other heads of its block and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from strata.concepts import costs
from strata.concepts.heads.readers import read_and_written
from strata.concepts.heads.tables import check_block, check_head, writes
from strata.concepts.run import check_count
from strata.concepts.target import TargetId, check_target, value_of
from strata.errors import InputError
from strata.model.head_slices import projection
from strata.trace import Edit, Noise, Replace, Scale, State, Trace

if TYPE_CHECKING:
    from strata.model import Model

Kind = Literal["scale", "replace"]
SEEDS = 9  # random pushes of the head


@costs(lambda n_tokens, n_layers, params: n_tokens * (SEEDS + 16) / 2)
def changed(
    model: Model,
    trace: Trace,
    target_id: TargetId,
    block: int | None = None,
    head: int | None = None,
    kind: Kind = "scale",
    factor: float = 0.0,
    other: str = "",
    n_seeds: int = SEEDS,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What becomes of the target at the last position when one head is changed: edit, block, head,
    seed, logprob, logit, prob, top, top_prob; a row a run.

    `edit` is "clean"; "head" (what the head writes times `factor`, 0 leaves it out; for "replace"
    what it writes in the run of the prompt `other`); "other" (the same done to each other head of
    the block); "noise" (the head pushed as far, in a random direction; for "replace" a random write
    of its own length). `logprob` is the target's (nats; of a pair (a, b) a's less b's), `logit` its
    logit less the average token's (of a pair less b's), `prob` missing of a pair; `top` the
    likeliest token. Where the prompts have different lengths, "replace" changes the last position
    only. `head` None: the one that writes most towards the target there, of the block, or of all
    heads that `read_and_written` has. InputError for a block or head that does not exist, and for a
    head without its block; ModelError where heads are not known.
    """
    target_id = check_target(target_id, model.d_vocab)
    n_seeds = check_count("The number of random pushes", n_seeds, 100)
    if kind not in ("scale", "replace"):
        raise InputError(f"A head is scaled or replaced, not {kind!r}.")
    if kind == "replace" and not other:
        raise InputError("Write the prompt whose run the head is taken from.")
    if block is None and head is not None:
        raise InputError("Name the block of the head as well: each block has heads of its own.")
    if block is not None:
        block = check_block(model, block)
        head = None if head is None else check_head(head, projection(model.architecture, block)[1])
    if block is None or head is None:
        block, head = _leading(model, trace, target_id, block)
    _, n_heads = projection(model.architecture, block)
    rest = [each for each in range(n_heads) if each != head]
    edits = [_edit(model, trace, block, each, kind, factor, other) for each in (head, *rest)]
    push = factor if kind == "scale" else None
    where = edits[0].positions
    if not (kind == "scale" and factor == 1):
        edits += [Noise(block, "attn", seed, where, push, head=head) for seed in range(n_seeds)]
    states = torch.zeros(len(edits), model.d_model)
    for group, some in model.replay(trace, edits, progress):
        states[group] = some.float().cpu()
    states = torch.cat([trace.hidden[-1, -1:].float(), states])  # (1 + n, D)
    logits = model.unembed(states).double()  # (1 + n, V)
    logprobs = logits.log_softmax(dim=-1)
    pair = isinstance(target_id, tuple)
    centred = logits if pair else logits - logits.mean(dim=-1, keepdim=True)
    tops = logits.argmax(dim=-1).tolist()
    names = dict(zip(set(tops), model.decode(list(set(tops)), after=trace.token_ids), strict=True))
    kinds = ["clean", "head", *["other"] * len(rest)]
    kinds += ["noise"] * (len(states) - len(kinds))
    seeds = [None] * (2 + len(rest)) + list(range(len(states) - 2 - len(rest)))
    of = [None, head, *rest, *[head] * (len(states) - 2 - len(rest))]
    frame = {
        "edit": kinds,
        "block": block,
        "head": pd.array(of, dtype="Int64"),
        "seed": pd.array(seeds, dtype="Int64"),
        "logprob": value_of(logprobs, target_id).tolist(),
        "logit": value_of(centred, target_id).tolist(),
        "prob": float("nan") if pair else value_of(logprobs, target_id).exp().tolist(),
        "top": [names[each] for each in tops],
        "top_prob": logprobs.max(dim=-1).values.exp().tolist(),
    }
    return pd.DataFrame(frame)


def _leading(model: Model, trace: Trace, target_id: TargetId, block: int | None) -> tuple[int, int]:
    """Block and head that write most towards a target at the last position; of one block, or of
    those with attention weights, as the page has them."""
    last = len(trace.tokens) - 1
    if block is None:
        written = read_and_written(model, trace, target_id, last)
    else:
        written = writes(model, trace, target_id, last, against="mean")
        written = written[written["block"] == block]
    best = written.loc[written["logit"].idxmax()]
    return int(best["block"]), int(best["head"])


def _edit(
    model: Model, trace: Trace, block: int, head: int, kind: Kind, factor: float, other: str
) -> Edit:
    if kind == "scale":
        return Scale(block, factor, "attn", head=head)
    n_here, n_there = len(trace.tokens), len(model.encode(other))
    if n_here == n_there:
        return Replace(block, "attn", State(other), head=head)
    source = State(other, positions=(n_there - 1,))
    return Replace(block, "attn", source, positions=(n_here - 1,), head=head)
