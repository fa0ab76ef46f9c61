"""Hidden states: what a model carries from layer to layer for each token, as plain numbers."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts import quick
from strata.concepts.run import check_count, check_position
from strata.concepts.sinks import kept
from strata.errors import InputError
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model
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
def outliers(
    trace: Trace, n: int = 10, skip_first: bool = True, skip_sinks: bool = False
) -> pd.DataFrame:
    """The n dimensions that reach the largest |value| anywhere: dim, layer, position, token,
    value, share (of that state's squared norm), largest first, each dimension once.

    Position 0 is left out unless `skip_first` is False, since an attention sink there would fill
    the list; with `skip_sinks` all that `sinks` finds. Where no token is left there are no rows.
    InputError unless n is one of 1..D.
    """
    n = check_count("The number of dimensions", n, trace.hidden.shape[-1])
    left = kept(trace, skip_first, skip_sinks)
    states = trace.hidden[:, left].numpy()  # (L + 1, T', D)
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
    tokens = [trace.tokens[position] for position in left[rows]]
    share = np.divide(values**2, squared, out=np.zeros_like(values), where=squared != 0)
    return pd.DataFrame(
        dict(zip(columns, (dims, layers, left[rows], tokens, values, share), strict=True))
    )


@quick
def final_norm(model: Model, trace: Trace) -> pd.DataFrame:
    """What the final norm does to the last states: position, token, norm_before, norm_after,
    cosine (between the two; NaN where the head reads another width than the stream's). T rows.

    transformers' own `hidden_states[-1]` is the normed one, unlike all others before it: its
    norms and variances belong to another space than theirs.
    """
    before = trace.hidden[-1].double().numpy()  # (T, D)
    after = model.normed(trace.hidden[-1]).double().numpy()  # (T, D)
    norm_before, norm_after = (np.linalg.norm(states, axis=-1) for states in (before, after))
    cosine = np.full(len(before), np.nan)
    if before.shape == after.shape:
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
    and mlp (L, T, D; absent where the writes are refused), residual (L: by what each block
    multiplies the stream; absent where by nothing), logits (T, V), token_ids (T,), and tokens and
    text as JSON."""
    arrays: dict[str, Any] = {
        "hidden": trace.hidden.numpy(),
        "logits": trace.logits.float().numpy(),
        "token_ids": trace.token_ids.numpy(),
        "tokens": json.dumps(trace.tokens),  # NumPy's own strings lose a NUL at the end
        "text": json.dumps(trace.text),
    }
    if trace.writes is not None:
        arrays |= {"attn": trace.attn.numpy(), "mlp": trace.mlp.numpy()}
    if trace.residual:
        arrays["residual"] = np.array(trace.residual)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return pd.DataFrame({"content": [file.getvalue()]})


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
