"""A greedy continuation with the states of each step, kept while it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strata.model import limits
from strata.model.hooks import Recorder
from strata.trace import Edit

if TYPE_CHECKING:
    from strata.model.model import Model, Progress


@dataclass(frozen=True, eq=False)
class Written:
    """n tokens that a model wrote after a prompt of T tokens, and what it wrote each from.

    Token i was read off `hidden[:, i]`, the states of position T - 1 + i: of the prompt's last
    token for the first one, of the token written before for each other.
    """

    prompt_ids: Tensor  # (T,) int64
    token_ids: Tensor  # (n,) int64; the last may be the end token
    hidden: Tensor  # (L + 1, n, D) float32, CPU, before the final norm

    @property
    def positions(self) -> range:
        """The positions whose states were read."""
        first = len(self.prompt_ids) - 1
        return range(first, first + len(self.token_ids))


def written(
    model: Model,
    text: str,
    n_tokens: int,
    progress: Progress | None = None,
    edits: Sequence[Edit] = (),
) -> Written:
    """What the model writes, as `Model.generate` does, with the states it went through meanwhile,
    after the edits.

    Nothing is computed twice: with the KV cache each step reads one token, and its states are those
    of a run of the whole text within `check.agreement`. InputError and ModelError as `generate`,
    which a model whose cache gives other numbers refuses (`check.cache_ok`).
    """
    prompt_ids = model.encode(text)
    n_tokens = limits.at_least_one(n_tokens)
    operations = model._resolved(edits, prompt_ids, len(prompt_ids) + n_tokens)
    recorder = Recorder(model.architecture, operations)
    kept: list[Tensor] = []  # (L + 1, D) each

    def step(fraction: float, message: str) -> None:
        with torch.inference_mode(False):
            kept.append(recorder.hidden[:, 0, -1].float().cpu().clone())
        if progress:
            progress(fraction, message)

    token_ids = model.continued(prompt_ids, n_tokens, recorder, progress=step)
    with torch.inference_mode(False):
        return Written(prompt_ids, token_ids.clone(), torch.stack(kept, dim=1))
