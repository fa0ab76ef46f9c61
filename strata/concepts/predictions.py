"""Predictions: the probability that the model gives to every possible next token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from strata.concepts import Concept, quick
from strata.display import display_percent, display_text, display_token
from strata.run import check_count, check_position
from strata.script import program
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_LOGITS_AT_ONCE = 100_000  # 1 MB in float64, which stays in a cache: 2 positions at V = 50,000
_NEVER = -1e3  # nats: less likely than any float64 can say


@quick
def next_token(model: Model, trace: Trace, position: int, k: int = 20) -> pd.DataFrame:
    """The k tokens that the model holds likeliest after `position`, by its own logits.

    Columns: rank (how many tokens have a larger logit: 0 is best, equal logits share one),
    token_id, predicted, prob, logprob (nats). k rows, best first, equal logits in order of id.
    InputError where `position` is not one of 0..T-1 or `k` not one of 1..V. Seeds 001 and 002.
    """
    logits = trace.logits[check_position(trace, position)].double()  # (V,)
    k = check_count("The number of tokens", k, len(logits))
    # Sorted are only those that may be among them: to sort all V takes five times as long.
    likely = (~(logits < logits.topk(k).values[-1])).nonzero()[:, 0]  # k or more, in order of id
    token_ids = likely[logits[likely].argsort(descending=True, stable=True)[:k]]  # (k,)
    top = logits[token_ids]  # (k,)
    logprob = top - logits.logsumexp(dim=-1)  # (k,)
    return pd.DataFrame(
        {
            "rank": torch.searchsorted(-top, -top).numpy(),
            "token_id": token_ids.numpy(),
            "predicted": list(model.decode(token_ids)),
            "prob": logprob.exp().numpy(),
            "logprob": logprob.numpy(),
        }
    )


@quick
def surprisal(model: Model, trace: Trace) -> pd.DataFrame:
    """How well the model foresaw each token of the prompt from those before it.

    Columns: position, token, logprob (nats; surprisal is its negative), rank (0: it was the
    top-1), entropy (nats; of the distribution that predicted this token, the one at position - 1).
    T rows; nothing predicts position 0, so its logprob, rank and entropy are missing.
    """
    logprobs, ranks, entropies = [math.nan], [None], [math.nan]
    at_once = max(1, _LOGITS_AT_ONCE // trace.logits.shape[-1])
    for logits, chosen in zip(
        trace.logits[:-1].split(at_once), trace.token_ids[1:, None].split(at_once), strict=True
    ):  # (n, V) and (n, 1)
        distribution = logits.double().log_softmax(dim=-1)  # (n, V)
        logprobs += distribution.gather(1, chosen)[:, 0].tolist()
        ranks += (logits > logits.gather(1, chosen)).sum(dim=1).tolist()
        entropies += _entropy(distribution).tolist()
    return pd.DataFrame(
        {
            "position": range(len(trace.tokens)),
            "token": list(trace.tokens),
            "logprob": logprobs,
            "rank": pd.array(ranks, dtype="Int64"),
            "entropy": entropies,
        }
    )


@quick
def followed(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """The token that really comes after `position`, and what the model thought of it.

    Columns: position (of that token), token, rank, prob, surprisal (nats). One row; none at the
    last position, after which the prompt says nothing. InputError where `position` does not exist.
    """
    rows = []
    following = check_position(trace, position) + 1
    if following < len(trace.tokens):
        logits = trace.logits[following - 1].double()  # (V,)
        chosen = logits[trace.token_ids[following]]
        logprob = float(chosen - logits.logsumexp(dim=-1))
        rank = int((logits > chosen).sum())
        rows.append((following, trace.tokens[following], rank, math.exp(logprob), -logprob))
    columns: dict[str, Any] = {
        "position": int,
        "token": "str",
        "rank": int,
        "prob": float,
        "surprisal": float,
    }
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


@quick
def entropy(trace: Trace, position: int) -> pd.DataFrame:
    """How undecided the model is after `position`: one row, position, token, entropy, choices.

    Entropy in nats, from 0 (certain) to ln V; choices = exp(entropy), the number of equally likely
    tokens that would leave as much doubt. InputError where `position` does not exist.
    """
    position = check_position(trace, position)
    distribution = trace.logits[position].double().log_softmax(dim=-1)  # (V,)
    nats = float(_entropy(distribution))
    row = (position, trace.tokens[position], nats, math.exp(nats))
    return pd.DataFrame([row], columns=["position", "token", "entropy", "choices"])


def factual(model: Model, prompts: Sequence[str]) -> pd.DataFrame:
    """What the model answers to a few prompts: prompt, predicted (its top-1), prob. Seed 001."""
    rows = []
    for trace in model.capture_many(prompts):
        [best] = next_token(model, trace, len(trace.tokens) - 1, k=1).itertuples()
        rows.append((trace.text, best.predicted, best.prob))
    columns: dict[str, Any] = {"prompt": "str", "predicted": "str", "prob": float}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def reading(context: str, top: pd.DataFrame, undecided: pd.DataFrame) -> str:
    """One sentence on `next_token` and `entropy` after `context`, the text up to that position."""
    best, doubt = top.iloc[0], undecided.iloc[0]
    choices = doubt["choices"]
    return (
        f"After “{display_text(context)}”, the model puts {_percent(best['prob'])} on "
        f"“{display_token(best['predicted'])}”; its entropy, {doubt['entropy']:.2f} nats, is that "
        f"of {choices:,.{0 if choices >= 100 else 1}f} equally likely tokens."
    )


def followed_reading(frame: pd.DataFrame) -> str:
    """One sentence on `followed`."""
    if frame.empty:
        return "The prompt ends here, so no token really follows."
    row = frame.iloc[0]
    return (
        f"“{display_token(row['token'])}” really follows: rank {row['rank']:,}, "
        f"{_percent(row['prob'])}, a surprisal of {row['surprisal']:.2f} nats."
    )


def tips(frame: pd.DataFrame) -> list[str]:
    """A few words on each row of `surprisal`."""
    return [
        f"Position {row.position}, {display_token(row.token)}: "
        + (
            "nothing came before it"
            if row.position == 0
            else f"surprisal {-row.logprob:.2f} nats, rank {row.rank:,}"
        )
        for row in frame.itertuples()
    ]


def tints(frame: pd.DataFrame) -> pd.Series:
    """How deep each row of `surprisal` is tinted: 0 for 0 nats, 1 from 10 nats on."""
    return (-frame["logprob"] / 10).clip(0, 1).fillna(0)


def surprisal_reading(frame: pd.DataFrame) -> str:
    """One sentence on `surprisal`."""
    if len(frame) < 2:
        return "The prompt has a single token, and nothing came before it to predict it from."
    hardest = frame.iloc[int(frame["logprob"].argmin())]
    return (
        f"Foreseen least was “{display_token(hardest['token'])}” at position "
        f"{hardest['position']}: {-hardest['logprob']:.2f} nats, rank {hardest['rank']:,}; the "
        f"mean is {-frame['logprob'].mean():.2f} nats a token."
    )


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    position: int,
    k: int = 20,
    n_tokens: int = 20,
    prompts: Sequence[str] = (),
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page."""
    return program(
        "What does a language model expect next, and how well did it foresee each token?",
        _SCRIPT + (_SCRIPT_FACTUAL if prompts else ""),
        source,
        revision,
        prompt,
        dtype,
        position=position,
        k=k,
        n_tokens=n_tokens,
        **({"prompts": list(prompts)} if prompts else {}),
    )


_SCRIPT = """
with torch.inference_mode():
    logits = model(token_ids).logits[0].double()  # (T, V): row t is about token t + 1
logprobs = logits.log_softmax(dim=-1)  # (T, V), in nats
entropy = torch.special.entr(logprobs.exp()).sum(dim=-1)  # (T,)

print(f"After {tokenizer.decode(token_ids[0, : POSITION + 1])!r}:")
top = logprobs[POSITION].topk(K)
for logprob, token_id in zip(top.values.tolist(), top.indices.tolist()):
    prob = torch.tensor(logprob).exp()
    print(f"  prob {prob:.4f}  logprob {logprob:8.4f}  {tokenizer.decode([token_id])!r}")
print(f"  entropy {entropy[POSITION]:.4f} nats")

print("\\nHow well each token was foreseen, by the row before it:")
surprisal, rank = [], []
for t, token_id in enumerate(token_ids[0].tolist()[1:], start=1):
    surprisal.append(-logprobs[t - 1, token_id].item())
    rank.append((logits[t - 1] > logits[t - 1, token_id]).sum().item())
    print(
        f"  {t:4d}  surprisal {surprisal[-1]:8.4f}  rank {rank[-1]:6d}"
        f"  entropy {entropy[t - 1]:7.4f}  {tokenizer.decode([token_id])!r}"
    )

# Greedy continuation: the cache keeps what earlier tokens computed, so each step reads one token.
end = model.generation_config.eos_token_id
end = {tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])}
step, cache, written = token_ids, None, []
with torch.inference_mode():
    for _ in range(N_TOKENS):
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        step = output.logits[:, -1:].argmax(dim=-1)  # (1, 1)
        if step.item() in end:
            break
        written.append(step.item())
continuation = tokenizer.decode(written, skip_special_tokens=True)
print(f"\\nThe model goes on: {continuation!r}")
"""

_SCRIPT_FACTUAL = """
print("\\nA few facts:")
facts = []
for fact in PROMPTS:
    with torch.inference_mode():
        row = model(tokenizer(fact, return_tensors="pt")["input_ids"]).logits[0, -1].double()
    prob, token_id = row.softmax(dim=-1).max(dim=-1)
    facts.append((tokenizer.decode([token_id.item()]), prob.item()))
    print(f"  {fact!r} -> {facts[-1][0]!r} {facts[-1][1]:.4f}")
"""


def top1(frame: pd.DataFrame) -> str:
    """Of `next_token`: the likeliest token."""
    return str(frame["predicted"].iloc[0])


def top1_prob(frame: pd.DataFrame) -> float:
    """Of `next_token`: the probability of the likeliest token."""
    return float(frame["prob"].iloc[0])


def n_to_reach(frame: pd.DataFrame, mass: float = 0.5) -> int | None:
    """Of `next_token`: how many of the likeliest tokens hold `mass` together; None if k do not."""
    reached = frame["prob"].cumsum() >= mass
    return int(reached.to_numpy().argmax()) + 1 if reached.any() else None


def most_surprising(frame: pd.DataFrame) -> int | None:
    """Of `surprisal`: the position of the token that was foreseen least; None for one token."""
    foreseen = frame.dropna(subset="logprob")
    if foreseen.empty:
        return None
    return int(foreseen.iloc[int(foreseen["logprob"].argmin())]["position"])


def mean_surprisal(frame: pd.DataFrame) -> float:
    """Of `surprisal`: mean surprisal in nats a token, the loss; NaN for one token."""
    return float(-frame["logprob"].mean())


def share_foreseen(frame: pd.DataFrame) -> float:
    """Of `surprisal`: the share of tokens that were the top-1, 0 to 1; NaN for one token."""
    return float((frame["rank"].dropna() == 0).astype(float).mean())


def late_share(frame: pd.DataFrame) -> float:
    """Of `surprisal`: the share of all surprisal that falls in the prompt's second half, 0 to 1; of
    an odd number of tokens the middle one is in the first. NaN for one token."""
    nats = -frame["logprob"].iloc[1:]
    return float(nats[frame["position"] >= (len(frame) + 1) // 2].sum() / (nats.sum() or math.nan))


def choices(frame: pd.DataFrame) -> float:
    """Of `entropy`: how many equally likely tokens would leave as much doubt."""
    return float(frame["choices"].iloc[0])


def _entropy(logprob: Tensor) -> Tensor:
    """(..., V) log-probabilities -> (...) nats; a token of probability 0 adds nothing."""
    return 0.0 - (logprob.exp() * logprob.clamp_min(_NEVER)).sum(dim=-1)


def _percent(prob: float) -> str:
    if prob < 0.005:
        return display_percent(prob, 2).replace("<", "less than ")
    return "more than 99%" if prob >= 0.995 else f"{prob:.0%}"


_MEASURES = (
    top1,
    top1_prob,
    n_to_reach,
    most_surprising,
    mean_surprisal,
    share_foreseen,
    late_share,
    choices,
)

CONCEPT = Concept(
    title="Predictions",
    question="What does the model expect next, and how well did it foresee this text?",
    order=1,
    views=(next_token, surprisal, followed, entropy, factual),
    script=script,
    icon=":material/casino:",
    measures={measure.__name__: measure for measure in _MEASURES},
)
