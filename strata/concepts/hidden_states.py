"""Hidden states: what a model carries from layer to layer for each token, as plain numbers."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts import Concept, quick
from strata.concepts._hidden_measures import MEASURES
from strata.display import digits, display_token
from strata.errors import InputError
from strata.run import check_count, check_position
from strata.script import ALL_STATES, program
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

SINK = 5.0  # position 0 is called a sink where its norm is this many times the others' median
_SIZES = (  # as most families call them, and as GPT-2 does
    "model_type num_hidden_layers n_layer hidden_size n_embd num_attention_heads n_head "
    "num_key_value_heads intermediate_size n_inner vocab_size max_position_embeddings n_positions"
).split()
_JITTER = 0.1  # layers: standard deviation of the strip's sideways scatter


@quick
def activations(trace: Trace, position: int) -> pd.DataFrame:
    """Every number in one token's states: layer, dim, value; (L + 1) * D rows, before the final
    norm. InputError where `position` does not exist. Seed 003."""
    states = trace.hidden[:, check_position(trace, position)].numpy()  # (L + 1, D)
    n_layers, d_model = states.shape
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(n_layers), d_model),
            "dim": np.tile(np.arange(d_model), n_layers),
            "value": states.ravel(),
        }
    )


@quick
def summary(trace: Trace) -> pd.DataFrame:
    """Each state in four numbers, over its D dimensions: layer, position, token, mean, variance
    (n - 1), norm (Euclidean), kurtosis (excess, m4 / m2^2 - 3: 0 for a Gaussian, large where a few
    dimensions stand out). (L + 1) * T rows, computed in float64. Seed 003."""
    n_layers, n_tokens, _ = trace.hidden.shape
    moments = np.concatenate([_moments(layer.double().numpy()) for layer in trace.hidden])
    frame = pd.DataFrame(moments, columns=["mean", "variance", "norm", "kurtosis"])
    frame.insert(0, "layer", np.repeat(np.arange(n_layers), n_tokens))
    frame.insert(1, "position", np.tile(np.arange(n_tokens), n_layers))
    frame.insert(2, "token", list(trace.tokens) * n_layers)
    return frame


@quick
def strip(trace: Trace, position: int, n_max: int = 20_000, seed: int = 0) -> pd.DataFrame:
    """What the strip plot of one token draws: layer, dim, value, jitter, extreme.

    All (L + 1) * D activations if they are at most `n_max`; otherwise a seeded sample of the
    dimensions, the same ones at every layer, and each layer's extremes, which are always there:
    its largest |value|s (a tenth of what is drawn), its minimum and its maximum. `extreme` marks
    these. `jitter` is a sideways shift in layers, seeded, one per dimension, so that a dimension
    can be followed upwards. InputError where `position` does not exist or `n_max` is too small.
    """
    states = trace.hidden[:, check_position(trace, position)].numpy()  # (L + 1, D)
    n_layers, d_model = states.shape
    per_layer = check_count("n_max", n_max, 1_000_000) // n_layers
    if per_layer < 4:
        raise InputError(f"n_max must be at least {4 * n_layers} to show {n_layers} layers.")
    rng = np.random.default_rng(seed)
    jitter = np.clip(rng.normal(0, _JITTER, d_model), -3 * _JITTER, 3 * _JITTER)  # (D,)
    extreme = np.zeros(states.shape, dtype=bool)  # (L + 1, D)
    largest = np.argsort(-np.abs(states), axis=1, kind="stable")[:, : max(1, per_layer // 10)]
    for column in (*largest.T, states.argmin(axis=1), states.argmax(axis=1)):
        extreme[np.arange(n_layers), column] = True
    drawn = extreme.copy()
    n_sampled = d_model if d_model <= per_layer else per_layer - largest.shape[1] - 2
    drawn[:, rng.permutation(d_model)[:n_sampled]] = True
    layer, dim = np.nonzero(drawn)
    return pd.DataFrame(
        {
            "layer": layer,
            "dim": dim,
            "value": states[layer, dim],
            "jitter": jitter[dim],
            "extreme": extreme[layer, dim],
        }
    )


@quick
def outliers(trace: Trace, n: int = 10, skip_first: bool = True) -> pd.DataFrame:
    """The n dimensions that reach the largest |value| anywhere: dim, layer, position, token,
    value, share (of that state's squared norm), largest first, each dimension once.

    Position 0 is left out unless `skip_first` is False, since an attention sink there would fill
    the list; a prompt of one token then has no rows. InputError unless n is one of 1..D.
    """
    n = check_count("The number of dimensions", n, trace.hidden.shape[-1])
    start = int(skip_first)
    states = trace.hidden[:, start:].numpy()  # (L + 1, T', D)
    columns = ["dim", "layer", "position", "token", "value", "share"]
    if not states.size:
        types: tuple[Any, ...] = (int, int, int, "str", float, float)
        return pd.DataFrame([], columns=columns).astype(dict(zip(columns, types, strict=True)))
    size = np.abs(states).reshape(-1, states.shape[-1])  # ((L + 1) * T', D)
    where = size.argmax(axis=0)  # (D,)
    dims = np.argsort(-size.max(axis=0), kind="stable")[:n]
    layers, rows = np.unravel_index(where[dims], states.shape[:2])
    values = states[layers, rows, dims].astype(np.float64)
    squared = (states[layers, rows].astype(np.float64) ** 2).sum(axis=-1)
    tokens = [trace.tokens[row + start] for row in rows]
    share = np.divide(values**2, squared, out=np.zeros_like(values), where=squared != 0)
    return pd.DataFrame(
        dict(zip(columns, (dims, layers, rows + start, tokens, values, share), strict=True))
    )


@quick
def final_norm(model: Model, trace: Trace) -> pd.DataFrame:
    """What the final norm does to the last states: position, token, norm_before, norm_after,
    cosine (between the two). T rows.

    transformers' own `hidden_states[-1]` is the normed one, unlike all others before it: its
    norms and variances belong to another space than theirs.
    """
    before = trace.hidden[-1].double().numpy()  # (T, D)
    after = model.normed(trace.hidden[-1]).double().numpy()  # (T, D)
    norm_before, norm_after = (np.linalg.norm(states, axis=-1) for states in (before, after))
    with np.errstate(invalid="ignore"):  # a zero state has no direction
        cosine = (before * after).sum(axis=-1) / (norm_before * norm_after)
    return pd.DataFrame(
        {
            "position": range(len(trace.tokens)),
            "token": list(trace.tokens),
            "norm_before": norm_before,
            "norm_after": norm_after,
            "cosine": cosine,
        }
    )


def output_facts(model: Model, trace: Trace) -> pd.DataFrame:
    """What came out of the run, as text: fact, value. Seed 003, demo 1."""
    n_layers, n_tokens, d_model = trace.hidden.shape
    rows = [
        ("characters", f"{len(trace.text):,} ({len(set(trace.text)):,} unique)"),
        ("tokens", f"{n_tokens:,} ({len(set(trace.token_ids.tolist())):,} unique)"),
        ("keys of the model's output", ", ".join(model.output_keys)),
        ("number of hidden states", f"{n_layers} (layers 0 to {n_layers - 1})"),
        ("shape of each hidden state", f"{n_tokens} tokens × {d_model} dimensions"),
        ("shape of the logits", f"{n_tokens} tokens × {trace.logits.shape[-1]:,} possible tokens"),
    ]
    return pd.DataFrame(rows, columns=["fact", "value"])


@quick
def config_table(model: Model) -> pd.DataFrame:
    """The model's configuration, flattened: key (nested ones joined by dots), value (as JSON).

    Sizes first. Keys that begin with "_" are transformers' own notes, such as paths: left out.
    """
    rows = [(key, json.dumps(value, default=str)) for key, value in _flat(model.config_dict())]
    rows.sort(key=lambda row: _SIZES.index(row[0]) if row[0] in _SIZES else len(_SIZES))
    return pd.DataFrame(rows, columns=["key", "value"])


def archive(trace: Trace) -> pd.DataFrame:
    """The whole trace as a NumPy .npz file, one row, content (bytes): hidden (L + 1, T, D), attn
    and mlp (L, T, D; absent where the writes are refused), logits (T, V), token_ids (T,), and
    tokens and text as JSON."""
    arrays: dict[str, Any] = {
        "hidden": trace.hidden.numpy(),
        "logits": trace.logits.float().numpy(),
        "token_ids": trace.token_ids.numpy(),
        "tokens": json.dumps(trace.tokens),  # NumPy's own strings lose a NUL at the end
        "text": json.dumps(trace.text),
    }
    if trace.writes is not None:
        arrays |= {"attn": trace.attn.numpy(), "mlp": trace.mlp.numpy()}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return pd.DataFrame({"content": [file.getvalue()]})


def reading(frame: pd.DataFrame) -> str:
    """One sentence on `summary`: how norms grow with depth, and whether position 0 is a sink."""
    norms = frame.pivot(index="layer", columns="position", values="norm").to_numpy()  # (L + 1, T)
    median = np.median(norms[:, 1:] if norms.shape[1] > 1 else norms, axis=1)  # (L + 1,)
    text = (
        f"The median norm of all states{' but the first' if norms.shape[1] > 1 else ''} is "
        f"{digits(median[0])} at layer 0 and {digits(median[-1])} at layer {len(median) - 1}"
        + (", since what blocks add piles up" if median[-1] > 2 * median[0] else "")
    )
    layer = int((norms[:, 0] / median).argmax())
    ratio = norms[layer, 0] / median[layer]
    if norms.shape[1] == 1 or not ratio >= SINK:
        return text + "."
    return (
        f"{text}; position 0, “{display_token(frame['token'].iloc[0])}”, reaches "
        f"{digits(norms[layer, 0])} at layer {layer}, {digits(ratio)} times the others: an "
        "attention sink."
    )


def strip_reading(frame: pd.DataFrame, d_model: int) -> str:
    """One sentence on `strip`: where the largest activation is, and how much of D is drawn."""
    top = frame.iloc[int(frame["value"].abs().argmax())]
    fewest = int(frame.groupby("layer").size().min())
    drawn = (
        f"all {d_model:,} dimensions are drawn"
        if fewest == d_model
        else f"at least {fewest:,} of {d_model:,} dimensions are drawn at each layer, a sample "
        "that always keeps the extremes"
    )
    text = f"The largest activation is {digits(top['value'])}, in dimension {top['dim']:.0f} at "
    text += f"layer {top['layer']:.0f}"
    median = frame.loc[frame["layer"] == top["layer"], "value"].abs().median()
    if fewest == d_model and median > 0:  # that of a sample would be another
        text += f", {digits(abs(top['value']) / median)} times the median size there"
    return f"{text}; {drawn}."


def outliers_reading(frame: pd.DataFrame) -> str:
    """One sentence on `outliers`."""
    if frame.empty:
        return "The prompt has a single token, which is left out here."
    top = frame.iloc[0]
    return (
        f"Dimension {top['dim']} alone holds {top['share']:.0%} of the squared norm of "
        f"“{display_token(top['token'])}” at layer {top['layer']}."
    )


def final_norm_reading(frame: pd.DataFrame) -> str:
    """One sentence on `final_norm`, about the last position, which predicts the next token."""
    last = frame.iloc[-1]
    return (
        f"The final norm takes the last state from a norm of {digits(last['norm_before'])} to "
        f"{digits(last['norm_after'])} and turns it: the cosine between the two is "
        f"{last['cosine']:.2f}."
    )


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    position: int,
    blocks: str,
    n_outliers: int = 10,
    skip_first: bool = True,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page; `blocks` is the path
    of the model's list of blocks, such as "model.layers"."""
    return program(
        "What does a language model carry from layer to layer for each token?",
        ALL_STATES + _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        position=position,
        n_outliers=n_outliers,
        skip_first=skip_first,
    )


_SCRIPT = """hidden = torch.cat([*output.hidden_states[:-1], raw[0]]).double()  # (L + 1, T, D)
normed = output.hidden_states[-1][0].double()  # (T, D)
tokens = [tokenizer.decode([token_id]) for token_id in token_ids[0].tolist()]

unique = len(set(token_ids[0].tolist()))
print(f"characters: {len(PROMPT)} ({len(set(PROMPT))} unique)")
print(f"tokens: {len(tokens)} ({unique} unique)")
print(f"keys of the output: {list(output.keys())}")
print(f"hidden states: {len(hidden)}, each {tuple(hidden.shape[1:])}")
print(f"logits: {tuple(output.logits[0].shape)}")

mean = hidden.mean(dim=-1)  # (L + 1, T)
variance = hidden.var(dim=-1)
norm = hidden.norm(dim=-1)
centred = hidden - mean[..., None]
kurtosis = (centred**4).mean(dim=-1) / (centred**2).mean(dim=-1) ** 2 - 3  # 0 for a Gaussian

print(f"\\nToken {POSITION}, {tokens[POSITION]!r}, by layer:")
for layer, values in enumerate(hidden[:, POSITION]):
    print(
        f"  {layer:3d}  mean {mean[layer, POSITION]:9.4f}"
        f"  variance {variance[layer, POSITION]:12.4f}  norm {norm[layer, POSITION]:10.3f}"
        f"  kurtosis {kurtosis[layer, POSITION]:9.3f}"
        f"  from {values.min():.3f} to {values.max():.3f}"
    )

print("\\nNorm of every state, a row per token, a column per layer:")
for t, token in enumerate(tokens):
    print(f"  {t:3d} {token!r}: " + " ".join(f"{value:.1f}" for value in norm[:, t].tolist()))

print("\\nThe dimensions that reach furthest:")
first = 1 if SKIP_FIRST else 0  # position 0 is often an attention sink, far larger than the rest
outliers = []
if len(tokens) > first:
    states = hidden[:, first:].flatten(0, 1)  # ((L + 1) * T', D)
    size, where = states.abs().max(dim=0)  # (D,)
    for dim in size.argsort(descending=True)[:N_OUTLIERS].tolist():
        layer, t = divmod(where[dim].item(), len(tokens) - first)
        value = hidden[layer, t + first, dim].item()
        share = value**2 / norm[layer, t + first].item() ** 2
        outliers.append((dim, layer, t + first, value, share))
        print(
            f"  dimension {dim:5d}  layer {layer:3d}  token {t + first:3d}"
            f"  value {value:10.3f}  share of the squared norm {share:.3f}"
        )

print("\\nThe last state before and after the final norm:")
cosine = torch.cosine_similarity(hidden[-1], normed, dim=-1)  # (T,)
for t, token in enumerate(tokens):
    print(
        f"  {t:3d}  before {norm[-1, t]:10.3f}  after {normed[t].norm():10.3f}"
        f"  cosine {cosine[t]:.4f}  {token!r}"
    )
"""


def _moments(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, D) -> (T, 4): mean, variance, norm, kurtosis; NaN where all D values are equal."""
    d_model = states.shape[-1]
    mean = states.mean(axis=-1)
    squares = (states - mean[:, None]) ** 2
    m2, m4 = squares.mean(axis=-1), (squares**2).mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = m2 * d_model / np.float64(d_model - 1)
        kurtosis = m4 / m2**2 - 3
    return np.stack([mean, variance, np.linalg.norm(states, axis=-1), kurtosis], axis=-1)


def _flat(config: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows = []
    for key, value in config.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


CONCEPT = Concept(
    title="Hidden states",
    question="What does the model carry from layer to layer for each token?",
    order=2,
    views=(activations, summary, strip, outliers, final_norm, output_facts, config_table, archive),
    script=script,
    icon=":material/stacked_bar_chart:",
    measures={measure.__name__: measure for measure in MEASURES},
)
