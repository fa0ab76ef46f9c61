"""What is measured of a model once, before it is served: that several ways give the same numbers.

Both identities of `Model.check` can hold where a number means nothing: in a model that reads text
in both directions, beside another prompt, with a cache, or where an edit is computed from its
block upwards. So each of these is compared with the slow way that cannot go wrong.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from strata.model import limits
from strata.model.architecture import Architecture
from strata.model.hooks import Recorder
from strata.trace import AGREEMENT, Edit, Scale, Trace

log = logging.getLogger(__name__)

_LONG, _SHORT, _MORE = 16, 5, 4  # tokens: a prompt, one beside it, and how far it is continued
_BEYOND = 8  # tokens that a prompt is longer than what the model's attention reaches
_FACTOR = -0.7  # negative, since a norm hides positive factors from what reads the state next
_STEPS = 16  # of a coarse number type, as a share of the largest entry


@dataclass(frozen=True)
class Agreements:
    """The four errors, see `strata.trace.ModelCheck`."""

    causal_error: float
    batch_error: float
    cache_error: float
    replay_error: float


class Runs(Protocol):
    """What is asked of a model here: `strata.model.Model` before it is served."""

    name: str
    architecture: Architecture
    config: Any
    write_refusal: str

    @property
    def n_layers(self) -> int: ...

    @property
    def d_vocab(self) -> int: ...

    @property
    def prompt_limit(self) -> int: ...

    def forward(
        self, rows: Sequence[Tensor], recorder: Recorder
    ) -> tuple[Tensor, Tensor | None, Tensor]: ...

    def go_on(
        self, token_ids: Tensor, n_tokens: int, recorder: Recorder, **settings: Any
    ) -> Any: ...

    def capture_row(self, token_ids: Tensor) -> Trace: ...

    def replay(
        self, trace: Trace, edits: Sequence[Edit], *, whole: bool | None = None
    ) -> Iterator[tuple[list[int], Tensor]]: ...


def allowed(dtype: torch.dtype) -> float:
    """The largest error of an agreement: 1e-4, in coarser numbers 16 of their steps."""
    return max(AGREEMENT, _STEPS * torch.finfo(dtype).eps)


def measure(model: Runs) -> Agreements:
    """All four, on random tokens; infinite where one way fails. Some twenty short runs."""
    return Agreements(*(_measured(way, model) for way in (causal, batch, cache, replayed)))


def causal(model: Runs) -> float:
    """How far the logits of earlier positions move when the last token is another."""
    row = _random(model, _long(model))
    other = row.clone()
    other[-1] = (other[-1] + 1) % model.d_vocab
    here, there = (model.forward([each], _recorder(model))[2][0] for each in (row, other))
    return _apart(here[:-1], there[:-1])


def batch(model: Runs) -> float:
    """How far states and logits of two prompts move when they are run together."""
    rows = [_random(model, _SHORT, seed=1), _random(model, _long(model), seed=2)]
    hidden, _, logits = model.forward(rows, _recorder(model))
    worst = 0.0
    for i, row in enumerate(rows):
        states, _, alone = model.forward([row], _recorder(model))
        n = len(row)
        layers = [_apart(hidden[la, i, :n], states[la, 0]) for la in range(len(states))]
        worst = max(worst, _apart(logits[i, :n], alone[0]), *layers)
    return worst


def cache(model: Runs) -> float:
    """How far the logits of a continuation, one token after the other with the KV cache, are from
    those of plain runs of the whole text."""
    row = _random(model, min(_long(model), model.prompt_limit - _MORE))
    recorder = Recorder(model.architecture, record=False)
    told = {"output_logits": True, "return_dict_in_generate": True}
    output = model.go_on(row, _MORE, recorder, min_new_tokens=_MORE, **told)
    ids, theirs = output.sequences[0, len(row) :], torch.cat(output.logits)  # (n,), (n, V)
    whole = [torch.cat([row, ids[:i].cpu()]) for i in range(_MORE)]
    plain = [model.forward([text], _recorder(model))[2][0, -1] for text in whole]
    return max(_apart(*pair) for pair in zip(theirs, plain, strict=True))


def replayed(model: Runs) -> float:
    """How far edits computed from their block upwards are from whole runs, in the last state."""
    n_layers = model.n_layers
    if "shared" in (getattr(model.config, "indexer_types", None) or ()):
        return math.inf  # positions that one block chose are read by later ones
    trace = model.capture_row(_random(model, _long(model), seed=3))
    blocks = sorted({0, n_layers // 3, 2 * n_layers // 3, max(0, n_layers - 2)})
    edits: list[Edit] = [Scale(block, _FACTOR) for block in blocks]
    if not model.write_refusal:
        edits.append(Scale(blocks[-1], _FACTOR, "attn"))
        if not model.architecture.is_mixer:
            edits.append(Scale(blocks[0], _FACTOR, "mlp"))
    ours, theirs = (_states(model.replay(trace, edits, whole=way)) for way in (False, True))
    return max(_apart(ours[i], theirs[i]) for i in theirs)


def _states(pairs: Iterable[tuple[list[int], Tensor]]) -> dict[int, Tensor]:
    return {i: state for group, states in pairs for i, state in zip(group, states, strict=True)}


def _measured(way: Callable[[Runs], float], model: Runs) -> float:
    try:
        error = way(model)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as failure:
        log.info("%s: %s failed with %s", model.name, way.__name__, failure)
        return math.inf
    return error if math.isfinite(error) else math.inf


def _recorder(model: Runs) -> Recorder:
    return Recorder(model.architecture)


def _long(model: Runs) -> int:
    """Tokens of a long prompt: a little more than the windows of the model's attention have."""
    return max(_LONG, limits.reach(model.config) + _BEYOND)


def _random(model: Runs, length: int, seed: int = 0) -> Tensor:
    """(T,) random token ids, as many as the model reads at most."""
    length = max(1, min(length, model.prompt_limit))
    return torch.randint(
        model.d_vocab, (length,), generator=torch.Generator().manual_seed(seed + 1)
    )


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest entry; 0 of nothing."""
    if not theirs.numel():
        return 0.0
    ours, theirs = ours.float(), theirs.float()
    size = theirs.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((ours - theirs).abs().max() / size)
