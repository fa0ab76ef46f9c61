"""Both identities, measured: whether the states and writes of a run are what Strata says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from strata.model.architecture import Architecture, lens_tolerance
from strata.trace import WRITE_TOLERANCE, ModelCheck, Trace, write_error

_ROUNDED = 0.05  # of the state: what writes in coarse numbers are off by at most
_ROWS_AT_ONCE = 100  # positions per product with the head: 20 MB of logits at V = 50,000


def refused_lens(family: str, check: ModelCheck) -> str:
    """Why views that read states through the head are refused for a model; '' if they are not."""
    if check.lens_ok:
        return ""
    return (
        f"The final norm and head found in this {family} model do not give the model's own logits "
        f"(off by {check.lens_error:.2g}, {check.lens_tolerance:.2g} allowed), "
        "so views through them are refused."
    )


def refused_writes(architecture: Architecture, error: float) -> str:
    """Why views of attention and MLP writes are refused for a model; '' if they are not."""
    if error <= WRITE_TOLERANCE:
        return ""
    if architecture.row.why and not error <= _ROUNDED:
        found = f"cannot be told apart, since {architecture.row.why}"
    elif math.isnan(error):  # there was nothing to measure
        found = "were not found"
    else:
        found = (
            f"do not add up to what its blocks add (off by {error:.2g} of the state, "
            f"{WRITE_TOLERANCE:g} allowed; writes need float32)"
        )
    return (
        f"The attention and MLP writes of this {architecture.family} model {found}, "
        "so views of writes are refused; all others work."
    )


def switched_off(architecture: Architecture, check: ModelCheck) -> dict[str, str]:
    """What is done otherwise, or not at all, for a model, in a sentence each: by "causal", "batch",
    "cache", "replay" where ways that should agree do not, "mixer" where blocks have no MLP, and
    "residual" where they do more than add."""
    model = f"this {architecture.family} model"
    off = {}
    if not check.causal_ok:
        off["causal"] = (
            f"In {model} a token changes what was said before it ({_by(check.causal_error)}): "
            "it does not read from left to right, so its predictions would mean nothing. (A model "
            "of BERT's kind does where its config.json says is_decoder = true.)"
        )
    if not check.batch_ok:
        off["batch"] = (
            f"Beside a longer prompt {model} gives other numbers than alone "
            f"({_by(check.batch_error)}), so prompts are run one by one."
        )
    if not check.cache_ok:
        off["cache"] = (
            f"Token by token {model} goes on otherwise than it does when it reads the whole text "
            f"({_by(check.cache_error)}), so continuations are refused."
        )
    if not check.replay_ok:
        off["replay"] = (
            f"The blocks of {model} hand one another more than the state "
            f"({_by(check.replay_error)}), so each edit takes a whole run."
        )
    if architecture.is_mixer:
        off["mixer"] = (
            f"A block of {model} is a single mixer, which stands as attention here; "
            "there is no MLP, and what it adds is zero."
        )
    if architecture.residual and check.write_ok:
        least, most = min(architecture.residual), max(architecture.residual)
        numbers = (
            f"{least:.3g}" if f"{least:.3g}" == f"{most:.3g}" else f"{least:.3g} to {most:.3g}"
        )
        off["residual"] = (
            f"Each block of {model} multiplies the stream by a number ({numbers}) before it adds: "
            "attention + MLP, its delta, is what it adds to that, and counts for the logits by "
            "what later blocks leave of it."
        )
    return off


def _by(error: float) -> str:
    if math.isinf(error):
        return "one of the two ways fails"
    return f"off by {error:.2g} of the largest entry"


def verified(
    architecture: Architecture, traces: Sequence[Trace], unembed: Callable[[Tensor], Tensor]
) -> list[ModelCheck]:
    """Both identities, measured on each trace; `unembed` runs the head in its own dtype.

    Several short traces share a product with the head: reading its weights is what takes the time.
    """
    lengths = [len(trace.logits) for trace in traces]
    begins = [sum(lengths[:i]) for i in range(len(lengths))]
    last = torch.cat([trace.hidden[-1] for trace in traces])  # (all positions, D)
    errors = []
    for start in range(0, len(last), _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        theirs = torch.cat(
            [
                trace.logits[max(0, start - begin) : max(0, stop - begin)]
                for trace, begin in zip(traces, begins, strict=True)
            ]
        )
        difference = unembed(last[start:stop]).float() - theirs.float()  # (n, V)
        errors.append(difference.abs().amax(dim=-1))
    lenses = [float(of_one.max()) for of_one in torch.cat(errors).split(lengths)]
    return [_judged(architecture, trace, lens) for trace, lens in zip(traces, lenses, strict=True)]


def _judged(architecture: Architecture, trace: Trace, lens: float) -> ModelCheck:
    writes = math.nan
    if trace.writes is not None:
        writes = write_error(trace.hidden, trace.attn, trace.mlp, trace.unsummed, trace.residual)
    check = ModelCheck(lens, writes, lens_tolerance=lens_tolerance(trace.logits))
    reasons = (
        refused_lens(architecture.family, check),
        trace.refusal or refused_writes(architecture, writes),
    )
    return replace(check, reason=" ".join(filter(None, reasons)))
