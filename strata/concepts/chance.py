"""Runs that are right but for one thing, drawn at random, and where a number lies beside them; the
views are `strata.concepts.nulls`, what is said is in `strata.concepts.words`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts.sinks import kept
from strata.errors import InputError
from strata.model.hooks import between_blocks
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

AT_ONCE = 4  # draws of one job: what is lost where it makes way
_LOW, _HIGH = 0.05, 0.95  # between them is the band of the draws
_ALIKE = 1e-6  # of the middle: draws that are less apart differ by rounding

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Kind:
    """What a null does to a run: `verb` fits its name, `runs` says whether it runs the model."""

    verb: str
    meaning: str
    runs: bool = False


KINDS = {
    "shuffled text": Kind(
        "gives",
        "The same tokens in another order, read anew. Where the number is of one token, that token "
        "stays where it is, and what stands before it is shuffled.",
        runs=True,
    ),
    "random blocks": Kind(
        "give",
        "The same text read by the model with all matrices of its blocks drawn at random, each "
        "with the mean and the deviation of its own; embedding, norms and head are kept.",
        runs=True,
    ),
    "random directions": Kind(
        "give",
        "Each state of this run replaced by one of the same norm that points anywhere.",
    ),
    "layers in another order": Kind(
        "give",
        "The states of this run with those of its layers, but for the first, in another order: the "
        "same for all tokens.",
    ),
    "tokens in another order": Kind(
        "give",
        "The states of this run with its tokens in another order, attention sinks left where they "
        "are; nothing is read anew.",
    ),
}


# -- what is said of them -------------------------------------------------------------------------


def band(mine: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Of `own` and `draws`: layer, value, and of the draws low, middle, high (5 %, median, 95 %),
    missing where there are none."""
    by_layer = drawn.groupby("layer")["value"]
    ends = {"low": _LOW, "middle": 0.5, "high": _HIGH}
    found = {name: by_layer.quantile(share) for name, share in ends.items()}
    return mine[["layer", "value"]].join(pd.DataFrame(found), on="layer")


def as_far(mine: pd.DataFrame, drawn: pd.DataFrame) -> tuple[int, int, int]:
    """How many draws go as far from the middle at some layer as the run itself does at any, how
    many draws have a number at all, and the layer at which the run goes farthest (the last, where
    no layer has one of the run and of every such draw; then no draw is counted).

    Run and draws are measured alike: the middle is the median, far is counted in deviations, both
    of all of them together. So if the run were one draw more, each would be the farthest as often:
    looking at all layers is no way to find something (Westfall and Young 1993).
    """
    wide = drawn.pivot(index="draw", columns="layer", values="value")
    wide = wide[wide.notna().any(axis=1)]
    layers = [layer for layer in mine["layer"] if layer in wide]
    all_of_them = np.vstack([mine.set_index("layer")["value"][layers], wide[layers]])
    known = ~np.isnan(all_of_them).any(axis=0)
    if wide.empty or not known.any():
        return 0, 0, int(mine["layer"].iloc[-1])
    values = all_of_them[:, known]  # (1 + draws, layers)
    middle, spread = np.median(values, axis=0), values.std(axis=0)
    differs = spread > _ALIKE * np.maximum(np.abs(middle), _ALIKE)
    far = np.where(differs, np.abs(values - middle) / np.where(differs, spread, 1.0), 0.0)
    farthest = far.max(axis=1)
    count = int((farthest[1:] >= farthest[0] - 1e-9).sum())
    return count, len(wide), int(np.array(layers)[known][far[0].argmax()])


def drawn_run(
    model: Model, trace: Trace, kind: str, draw: int, at_token: bool, step: Callable[[], None]
) -> tuple[Model, Trace]:
    """The run of a draw of a kind, and the model that it is of; `step` is called between blocks and
    may raise. InputError where there is nothing to shuffle."""
    rng = np.random.default_rng(draw)
    if kind == "random blocks":
        twin = model.random_twin(draw)
        return twin, _run(twin, trace.token_ids, step)
    if kind == "shuffled text":
        ids = trace.token_ids[_order(model, trace, rng, at_token)]
        return model, _run(model, ids, step)
    hidden = trace.hidden
    if kind == "layers in another order":
        layers = [0, *(1 + rng.permutation(len(hidden) - 1))]
        return model, replace(trace, hidden=hidden[layers], writes=None, verify=None)
    if kind == "tokens in another order":
        left, order = left_of(trace), np.arange(len(trace.tokens))
        order[left] = left[rng.permutation(len(left))]
        return model, replace(trace, hidden=hidden[:, order], writes=None, verify=None)
    noise = torch.from_numpy(rng.standard_normal(hidden.shape))  # (L + 1, T, D)
    sizes = hidden.double().norm(dim=-1, keepdim=True)
    hidden = (noise * (sizes / noise.norm(dim=-1, keepdim=True))).float()
    return model, replace(trace, hidden=hidden, writes=None, verify=None)


def left_of(trace: Trace) -> NDArray[np.int64]:
    """The positions of a run's tokens that are no attention sinks; all, where all are."""
    left = kept(trace, skip_first=False, skip_sinks=True)
    return left if len(left) else np.arange(len(trace.tokens))


def _run(model: Model, token_ids: Tensor, step: Callable[[], None]) -> Trace:
    with between_blocks(model.architecture.blocks, step):
        return model.capture_row(token_ids)


def _order(model: Model, trace: Trace, rng: np.random.Generator, at_token: bool) -> list[int]:
    """The positions in another order: what the tokenizer put around the text stays, and so does
    the last token where the number is about that."""
    n_tokens = len(trace.tokens)
    before, after = map(len, model.texts.around(trace.token_ids))
    last = n_tokens - max(after, int(at_token))
    if last - before < 2:
        raise InputError("There are too few tokens to put them into another order.")
    return [*range(before), *(before + rng.permutation(last - before)), *range(last, n_tokens)]
