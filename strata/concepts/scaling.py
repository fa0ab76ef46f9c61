"""Scaling: multiply what one block hands on, and see what becomes of the prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from strata.concepts import Concept
from strata.display import display_token
from strata.errors import InputError, ModelError
from strata.run import check_count, check_position
from strata.script import program
from strata.target import check_token
from strata.trace import Part, Scale, Trace

if TYPE_CHECKING:
    from strata.model import Model

PART_NAMES = {"stream": "the stream", "attn": "the attention write", "mlp": "the MLP write"}
MOST_FACTORS = 100
UNCHANGED = 0.01  # nats: a smaller change of a log-probability is called none
_LOGITS_AT_ONCE = 5_000_000  # 40 MB in float64: about 100 rows at V = 50,000


def sweep(
    model: Model,
    trace: Trace,
    target_id: int,
    factors: Sequence[float],
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What scaling at each block, one block a run, does to the next-token distribution of the last
    position: L rows for each factor.

    Columns: block, factor, logprob (of the target, nats), clean_logprob (the same without the
    edit), rank (of the target: how many tokens have a larger logit), kl (KL(clean, edited), nats).
    `part` "stream" multiplies `hidden[block + 1]`, "attn" and "mlp" only what that part added.
    `positions` None means all. InputError for a target, factor, part or position that does not
    exist; ModelError for "attn" and "mlp" where a model's writes are refused. Seed 003, demo 3.
    """
    target_id = check_token(target_id, model.d_vocab)
    numbers = _factors(factors)
    where = _positions(trace, positions)
    blocks = range(model.n_layers)
    edits = [Scale(block, factor, part, where) for block in blocks for factor in numbers]
    clean = _logprobs(model.unembed(trace.hidden[-1, -1]))  # (V,)
    prob = clean.exp()
    rows: dict[int, tuple[Any, ...]] = {}
    for i, logprobs in _distributions(model, trace, edits, progress):
        logprob = float(logprobs[target_id])
        rank = int((logprobs > logprobs[target_id]).sum())
        kl = max(0.0, float(prob @ (clean - logprobs)))
        rows[i] = edits[i].block, edits[i].factor, logprob, float(clean[target_id]), rank, kl
    columns = ["block", "factor", "logprob", "clean_logprob", "rank", "kl"]
    return pd.DataFrame([rows[i] for i in range(len(edits))], columns=columns)


def compare(
    model: Model,
    trace: Trace,
    block: int,
    factor: float,
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    k: int = 10,
) -> pd.DataFrame:
    """The next-token distribution of the last position before and after one edit: the k likeliest
    tokens of either, by their clean probability.

    Columns: token_id, predicted, clean_prob, prob, clean_rank, rank (0 is best). k to 2 k rows.
    """
    k = check_count("The number of tokens", k, model.d_vocab)
    [number] = _factors([factor])
    edit = Scale(block, number, part, _positions(trace, positions))
    clean = _logprobs(model.unembed(trace.hidden[-1, -1]))  # (V,)
    [(_, edited)] = _distributions(model, trace, [edit])
    best = (each.argsort(descending=True, stable=True)[:k] for each in (clean, edited))
    token_ids = torch.cat(list(best)).unique()
    token_ids = token_ids[clean[token_ids].argsort(descending=True, stable=True)]
    frame = {"token_id": token_ids.numpy(), "predicted": list(model.decode(token_ids))}
    for name, logprobs in (("clean_", clean), ("", edited)):
        frame[f"{name}prob"] = logprobs[token_ids].exp().numpy()
        frame[f"{name}rank"] = [int((logprobs > logprobs[i]).sum()) for i in token_ids]
    columns = ["token_id", "predicted", "clean_prob", "prob", "clean_rank", "rank"]
    return pd.DataFrame(frame)[columns]


def last_block(model: Model, trace: Trace, target_id: int, factor: float) -> pd.DataFrame:
    """Scaling the whole stream after the last block, one row: block, factor, clean_logprob and
    logprob of the target (nats), clean_top and top (the likeliest token without and with it).

    What follows is the final norm, which divides a state by its own size, so that a factor well
    above 0 cancels.
    """
    target_id = check_token(target_id, model.d_vocab)
    [number] = _factors([factor])
    last = trace.hidden[-1, -1]  # (D,)
    clean, edited = (_logprobs(model.unembed(state)) for state in (last, last * number))
    top = model.decode([int(clean.argmax()), int(edited.argmax())])
    values = model.n_layers - 1, number, float(clean[target_id]), float(edited[target_id]), *top
    columns = ["block", "factor", "clean_logprob", "logprob", "clean_top", "top"]
    return pd.DataFrame([values], columns=columns)


def places(model: Model, part: Part = "stream") -> pd.DataFrame:
    """The module whose output an edit scales, in each block: block, within (its path from the
    block; '' is the block itself). InputError for an unknown part; ModelError for refused writes.
    """
    if part not in PART_NAMES:
        raise InputError(f"A part is stream, attn or mlp, not {part!r}.")
    if part != "stream" and model.write_refusal:
        raise ModelError(model.write_refusal)
    names = [""] * model.n_layers
    if part != "stream":
        scaled = getattr(model.architecture, part)
        for i, block in enumerate(model.architecture.blocks):
            names[i] = next(name for name, each in block.named_modules() if each is scaled[i])
    return pd.DataFrame({"block": range(model.n_layers), "within": names})


def reading(frame: pd.DataFrame, shown: str, part: Part = "stream") -> str:
    """One sentence on `sweep` at one factor: which block hurts the target most."""
    factor, clean = frame["factor"].iloc[0], frame["clean_logprob"].iloc[0]
    worst = frame.iloc[int(frame["logprob"].argmin())]
    said = f"Multiplying {PART_NAMES[part]} by {factor:g}"
    if worst["logprob"] > clean - UNCHANGED:
        return f"{said} makes “{shown}” less likely after no block at all (clean: {_nats(clean)})."
    kept = int((frame["rank"] == 0).sum())
    return (
        f"{said} hurts “{shown}” most at block {worst['block']:.0f}: from {_nats(clean)} to "
        f"{_nats(worst['logprob'])}, rank {worst['rank']:,.0f}; it comes first in {kept} of the "
        f"{len(frame)} edited runs."
    )


def clean_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on the clean run, of `sweep`."""
    clean = frame["clean_logprob"].iloc[0]
    return f"Without an edit “{shown}” has {_nats(clean)}, a probability of {math.exp(clean):.2%}."


def last_block_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on `last_block`, and why."""
    row = frame.iloc[0]
    same = row["top"] == row["clean_top"]
    first = f"“{display_token(row['top'])}” " + (
        "stays first" if same else f"takes the place of “{display_token(row['clean_top'])}”"
    )
    if abs(row["logprob"] - row["clean_logprob"]) < UNCHANGED and same:
        why = "the final norm divides a state by its own size, so the factor cancels"
    elif row["factor"] == 0:
        why = "the final norm has nothing left to bring back to size"
    elif row["factor"] < 0:
        why = "the final norm restores a state's size but not its direction"
    else:
        why = "the final norm does not cancel this factor"
    before, after = (_nats(row[name], "z.4f") for name in ("clean_logprob", "logprob"))
    return (
        f"Scaling the whole stream by {row['factor']:g} after the last block, {row['block']}, "
        f"takes “{shown}” from {before} to {after} and {first}: {why}."
    )


def map_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on `sweep` at several factors."""
    worst = frame.iloc[int(frame["logprob"].argmin())]
    best = frame.iloc[int(frame["logprob"].argmax())]
    gain = best["logprob"] - best["clean_logprob"]
    help_ = (
        f"; best is {best['factor']:g} at block {best['block']:.0f}, {_nats(gain, '+z.2f')}"
        if gain > UNCHANGED
        else "; no edit makes it likelier"
    )
    return (
        f"“{shown}” comes first in {int((frame['rank'] == 0).sum())} of {len(frame)} edited runs; "
        f"worst is a factor of {worst['factor']:g} at block {worst['block']:.0f}, "
        f"{_nats(worst['logprob'] - worst['clean_logprob'], '+z.2f')}{help_}."
    )


def compare_reading(frame: pd.DataFrame) -> str:
    """One sentence on `compare`: the top-1 before and after, and what rose most."""
    before, after = (frame.loc[frame[name].idxmin()] for name in ("clean_rank", "rank"))
    names = [display_token(row["predicted"]) for row in (before, after)]
    if names[0] == names[1]:
        return (
            f"“{names[0]}” stays first, at {before['prob']:.1%} instead of "
            f"{before['clean_prob']:.1%}."
        )
    return (
        f"“{names[1]}” ({after['prob']:.1%}) comes first instead of “{names[0]}”, which falls from "
        f"{before['clean_prob']:.1%} to {before['prob']:.1%}, rank {before['rank']:,}."
    )


def grid_reading(clean: pd.DataFrame, edited: pd.DataFrame) -> str:
    """One sentence on the logit lens without and with an edit (`logit_lens.grid`)."""
    other = clean["token_id"].to_numpy() != edited["token_id"].to_numpy()
    if not other.any():
        return "With the edit every layer still says what it says without it."
    last = clean["layer"].to_numpy() == clean["layer"].max()
    return (
        f"With the edit {other.sum():,} of {len(other):,} cells say another token, the first at "
        f"layer {clean['layer'][other].min()}; at the last layer {(other & last).sum()} of "
        f"{last.sum()} positions do."
    )


def most_hurtful_block(frame: pd.DataFrame, factor: float | None = None) -> int:
    """Of `sweep`: the block at which scaling (by `factor`, or by any) costs the target most."""
    rows = _of_factor(frame, factor)
    return int(rows.iloc[int(rows["logprob"].argmin())]["block"])


def worst_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the lowest log-probability of the target less the clean one, in nats."""
    rows = _of_factor(frame, factor)
    return float((rows["logprob"] - rows["clean_logprob"]).min())


def last_block_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep` or `last_block`: what scaling at the last block changes, |nats|, at most."""
    rows = _of_factor(frame, factor)
    rows = rows[rows["block"] == rows["block"].max()]
    return float((rows["logprob"] - rows["clean_logprob"]).abs().max())


def share_first(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the share of edited runs in which the target comes first, 0 to 1."""
    return float((_of_factor(frame, factor)["rank"] == 0).mean())


def worst_logprob(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the lowest log-probability of the target, in nats."""
    return float(_of_factor(frame, factor)["logprob"].min())


def best_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the highest log-probability of the target less the clean one, in nats."""
    rows = _of_factor(frame, factor)
    return float((rows["logprob"] - rows["clean_logprob"]).max())


def kl_at_best(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: KL(clean, edited) in nats of the run in which the target is likeliest."""
    rows = _of_factor(frame, factor)
    return float(rows.iloc[int(rows["logprob"].argmax())]["kl"])


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    target_id: int,
    factor: float,
    blocks: str,
    within: Sequence[str],
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the sweep at one factor, a run for each block.

    `blocks` is the path of the model's list of blocks, `within` the module scaled in each of them:
    see `places`.
    """
    names = list(within)
    return program(
        f"What does scaling {PART_NAMES[part]} at one block do to the next-token prediction?",
        _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        target_id=target_id,
        factor=factor,
        positions=None if positions is None else list(positions),
        blocks=blocks,
        within=names[0] if len(set(names)) == 1 else names,
    )


_SCRIPT = """
n_tokens = token_ids.shape[1]
scale = torch.ones(n_tokens, 1)
scale[slice(None) if POSITIONS is None else POSITIONS] = FACTOR


def scaled(module, inputs, output):
    value = output[0] if isinstance(output, tuple) else output  # some families give a tuple
    changed = (value.reshape(n_tokens, -1) * scale.to(value)).reshape(value.shape)
    return (changed, *output[1:]) if isinstance(output, tuple) else changed


def last_logprobs():
    with torch.inference_mode():
        return model(token_ids).logits[0, -1].double().log_softmax(dim=-1)  # (V,), in nats


clean = last_logprobs()
print("The likeliest next tokens:")
for logprob, token_id in zip(*(each.tolist() for each in clean.topk(21))):
    print(f"  {logprob:8.4f}  {tokenizer.decode([token_id])!r}")
print(f"\\n{tokenizer.decode([TARGET_ID])!r} without an edit: {clean[TARGET_ID]:.4f} nats")

rows = []
for block, module in enumerate(model.get_submodule(BLOCKS)):
    module = module.get_submodule(WITHIN if isinstance(WITHIN, str) else WITHIN[block])
    hook = module.register_forward_hook(scaled)
    try:
        edited = last_logprobs()
    finally:
        hook.remove()
    rank = (edited > edited[TARGET_ID]).sum().item()
    kl = (clean.exp() * (clean - edited)).sum().item()
    rows.append((block, edited[TARGET_ID].item(), rank, kl))
    print(
        f"  block {block:3d}  logprob {rows[-1][1]:9.4f}  rank {rank:6d}  KL {kl:8.4f}"
        f"  top-1 {tokenizer.decode([edited.argmax().item()])!r}"
    )
worst = min(rows, key=lambda row: row[1])
print(f"\\nBlock {worst[0]} hurts most: {worst[1] - clean[TARGET_ID].item():+.4f} nats")
"""


def _distributions(
    model: Model,
    trace: Trace,
    edits: Sequence[Scale],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Each edit's place in the list, and the (V,) log-probabilities it leads to."""
    at_once = max(1, _LOGITS_AT_ONCE // model.d_vocab)
    for group, states in model.replay(trace, edits, progress):
        for start in range(0, len(group), at_once):
            logits = model.unembed(states[start : start + at_once])  # (n, V)
            yield from zip(group[start : start + at_once], _logprobs(logits), strict=True)


def _logprobs(logits: Tensor) -> Tensor:
    """(..., V) logits -> log-probabilities in float64; InputError where a factor overflowed."""
    if not bool(logits.isfinite().all()):
        raise InputError("Scaled by such a factor the state overflows; use a smaller one.")
    return logits.double().log_softmax(dim=-1)


def _factors(factors: Sequence[float]) -> list[float]:
    try:
        numbers = [float(factor) for factor in factors]
    except (TypeError, ValueError):
        raise InputError(f"The factors must be a list of numbers, not {factors!r}.") from None
    check_count("The number of factors", len(numbers), MOST_FACTORS)
    return numbers


def _positions(trace: Trace, positions: Sequence[int] | None) -> tuple[int, ...] | None:
    if positions is None:
        return None
    where = tuple(sorted({check_position(trace, position) for position in positions}))
    if not where:
        raise InputError("Choose at least one position to scale.")
    return where


def _nats(value: float, digits: str = "z.2f") -> str:
    return f"{format(value, digits)} nats".replace("-", "−")


def _of_factor(frame: pd.DataFrame, factor: float | None) -> pd.DataFrame:
    return frame if factor is None else frame[frame["factor"] == factor]


_MEASURES = (
    most_hurtful_block,
    worst_change,
    last_block_change,
    share_first,
    worst_logprob,
    best_change,
    kl_at_best,
)

CONCEPT = Concept(
    title="Scaling",
    question="What becomes of the prediction when one block's output is scaled?",
    order=6,
    views=(sweep, compare, last_block, places),
    script=script,
    icon=":material/tune:",
    measures={measure.__name__: measure for measure in _MEASURES},
)
