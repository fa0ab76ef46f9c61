"""The Jacobian lens: each state read as the last states answer to it, `unembed(J_l h)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from strata.concepts import apart, costs, follows, lens_tables
from strata.concepts.jacobian_lens.words import NEEDS_NONE
from strata.concepts.reading import Reading, frozen_at_the_end, read
from strata.concepts.run import check_count, check_position
from strata.concepts.scan import texts
from strata.concepts.target import TargetId
from strata.errors import InputError, ModelError
from strata.model.fitted import fitted, kept, kept_in
from strata.model.jacobian import Lens, in_their_numbers
from strata.runtime.cores import spread
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

By = Literal["jacobian", "logit"]
_BY = ("jacobian", "logit")
_DRAWN = 1_000  # tokens that a model reads in the time in which its blocks are drawn once


@follows(kept)
def lens(model: Model, trace: Trace, lens: Lens | None = None, k: int = 5) -> pd.DataFrame:
    """The k tokens that each state is disposed to say, `unembed(J_l h)`: columns and rows as of
    `logit_lens.lens`, which it is where every J_l is the identity.

    `lens` None: the one that is kept for this model, see `fitted`. ModelError where there is none,
    for a lens of another model, and where the model's head cannot be read.
    """
    k = check_count("The number of tokens", k, model.d_vocab)
    return lens_tables.lens(model, reading(model, trace, lens), k)


@follows(kept)
def grid(
    model: Model,
    trace: Trace,
    by: By = "jacobian",
    start: int = 0,
    width: int = 24,
    stride: int = 1,
    k: int = 5,
    target_id: TargetId | None = None,
) -> pd.DataFrame:
    """What the page draws, one row a cell: the columns of `logit_lens.grid`.

    `by` "logit" reads the same states with the identity.
    """
    start = check_position(trace, start)
    return lens_tables.grid(
        model, _chosen(model, trace, by), start, width, stride, k, True, target_id
    )


@apart
@follows(kept)
@costs(lambda n_tokens, n_layers, params: _DRAWN + n_tokens)
def random_grid(
    model: Model,
    trace: Trace,
    seed: int = 0,
    start: int = 0,
    width: int = 24,
    stride: int = 1,
    k: int = 5,
) -> pd.DataFrame:
    """`grid` of the model's random twin with this seed: its own run of the prompt, read by the lens
    that was fitted to it. ModelError where there is none."""
    twin = model.random_twin(seed)
    if fitted(twin) is None:  # before a run through blocks that are drawn anew
        raise ModelError(_missing(twin, _has_beam(model, trace)))
    return grid(twin, twin.capture_row(trace.token_ids), "jacobian", start, width, stride, k)


@follows(kept)
def cell(
    model: Model,
    trace: Trace,
    layer: int,
    position: int,
    by: By = "jacobian",
    k: int = 10,
) -> pd.DataFrame:
    """One cell of a grid, opened: the columns of `logit_lens.cell`."""
    position = check_position(trace, position)
    return lens_tables.cell(model, _chosen(model, trace, by), layer, position, k)


@follows(kept)
def followed(
    model: Model,
    trace: Trace,
    position: int,
    token_ids: Sequence[int] = (),
    target_id: TargetId | None = None,
    by: By = "jacobian",
) -> pd.DataFrame:
    """Some tokens through all layers at a position: the columns of `logit_lens.followed`."""
    position = check_position(trace, position)
    return lens_tables.followed(model, _chosen(model, trace, by), position, token_ids, target_id)


@follows(kept)
def difference(
    model: Model,
    trace: Trace,
    start: int = 0,
    width: int = 24,
    stride: int = 1,
    lens: Lens | None = None,
) -> pd.DataFrame:
    """The Jacobian lens less the logit lens, one row a cell: layer, position, token, jacobian_id,
    jacobian (the token that it ranks first), logit_id, logit, same (whether they agree), kl
    (KL(Jacobian lens, logit lens), nats), risen_id, risen, by (the token whose probability it
    raises most, and by how much; where it raises none, as at layer L, the one that it ranks
    first)."""
    start = check_position(trace, start)
    width = check_count("The width of a grid", width, lens_tables.WIDEST)
    stride = check_count("The stride over layers", stride, model.n_layers)
    one, other = (
        each.window(start, width, stride)
        for each in (reading(model, trace, lens), read(model, trace))
    )
    shape = one.shape
    found = {name: np.zeros(shape) for name in ("kl", "by")}
    found |= {name: np.zeros(shape, int) for name in ("jacobian_id", "logit_id", "risen_id")}

    def compare(span: slice) -> None:
        for (rows, ours), (_, theirs) in zip(one.chunks(span), other.chunks(span), strict=True):
            p, q = (logits.double().log_softmax(dim=-1) for logits in (ours, theirs))
            more, risen = (p.exp() - q.exp()).max(dim=-1)  # (r, s)
            first = ours.argmax(dim=-1)
            cells = {
                "kl": (p.exp() * (p - q)).sum(dim=-1).clamp_min(0),
                "by": more,
                "jacobian_id": first,
                "logit_id": theirs.argmax(dim=-1),
                "risen_id": torch.where(more > 0, risen, first),
            }
            for name, numbers in cells.items():
                found[name][rows, span] = numbers.cpu().numpy()

    spread(compare, one.spans(), one.device)
    named = {
        name: texts(model, found[f"{name}_id"], one) for name in ("jacobian", "logit", "risen")
    }
    frame = pd.DataFrame({**one.index(), **{name: each.ravel() for name, each in found.items()}})
    frame = frame.assign(**named, same=frame["jacobian_id"] == frame["logit_id"])
    order = "layer position token jacobian_id jacobian logit_id logit same kl risen_id risen by"
    return frame[order.split()]


@follows(kept)
def convergence(model: Model) -> pd.DataFrame:
    """How far the fitted lens has converged: n_texts, layer, change (by how much of its norm J_l
    has changed since half as many texts, at the last number of them since the one before), and
    halves (the cosine of J_l of one half of all texts to that of the other, missing where that is
    not known), on each row; L rows for each number of texts. No rows without a lens."""
    lens = fitted(model)
    columns = ["n_texts", "layer", "change", "halves"]
    rows = [
        (n, layer, change, lens.halves[layer] if lens.halves else np.nan)
        for n, changes in (sorted(lens.changes.items()) if lens else ())
        for layer, change in enumerate(changes)
        if lens
    ]
    return pd.DataFrame(rows, columns=columns)


@follows(kept)
def about(model: Model, random_blocks: int | None = None) -> pd.DataFrame:
    """What is known of the fitted lens, one row, or none where there is no lens: model, n_texts,
    n_positions, skip, max_tokens, worst_layer, worst_change (of the last step to more texts),
    worst_halves, file. `random_blocks`: a seed, for that of the random twin."""
    if random_blocks is not None:
        model = model.random_twin(random_blocks)
    lens = fitted(model)
    columns = "model n_texts n_positions skip max_tokens worst_layer worst_change worst_halves file"
    if lens is None:
        return pd.DataFrame(columns=columns.split())
    changes = lens.changes[max(lens.changes)] if lens.changes else (np.nan,)
    row = (
        lens.model,
        lens.n_texts,
        lens.n_positions,
        lens.skip,
        lens.max_tokens,
        int(np.argmax(changes)),
        max(changes),
        min(lens.halves, default=np.nan),
        str(kept_in(model)),
    )
    return pd.DataFrame([row], columns=columns.split())


def reading(model: Model, trace: Trace, lens: Lens | None = None) -> Reading:
    """A run's states, carried to the last layer; errors as `lens`."""
    plain = read(model, trace)
    if lens is None:
        lens = fitted(model)
        if lens is None:
            raise ModelError(_missing(model, _has_beam(model, trace)))
    elif isinstance(lens, Lens):
        lens.require(model)
    else:
        raise InputError(f"A lens is what “jacobian_lens.fit” gives, not {lens!r:.40}.")
    with torch.inference_mode():
        return replace(plain, states=lens.transported(plain.states))


def _has_beam(model: Model, trace: Trace) -> bool:
    try:
        frozen_at_the_end(model, trace.hidden)
    except ModelError:
        return False
    return True


def _missing(model: Model, has_beam: bool) -> str:
    drawn = vars(model).get("drawn")
    named = fits = model.name
    if drawn is not None:
        named = f"random blocks of {drawn.original.name}"
        fits = f"{drawn.original.name} --random-blocks {drawn.seed}"
    named += in_their_numbers(model)
    return (
        f"No Jacobian lens was fitted to {named} yet: “python -m strata fit-lens {fits}” makes "
        f"one{f', and {NEEDS_NONE}' * has_beam}."
    )


def _chosen(model: Model, trace: Trace, by: str) -> Reading:
    if by not in _BY:
        raise InputError(f"States are read by the jacobian or the logit lens, not by {by!r}.")
    return reading(model, trace) if by == "jacobian" else read(model, trace)
