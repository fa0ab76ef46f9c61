"""The beam of a word: how each state would move its logit at the end, passage by passage."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

from strata.concepts import apart, costs
from strata.concepts.reading import frozen_at_the_end
from strata.concepts.run import check_count, check_run
from strata.concepts.target import TargetId, check_target, target_token
from strata.corpus.passages import fitting, passages
from strata.errors import ModelError
from strata.model.frozen_norm import FrozenNorm
from strata.model.jacobian import MAX_TOKENS, SKIP, Progress, several
from strata.model.pullback import pulled_back
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

MOST_PASSAGES = 50
_CONFIDENCE = 0.95
_TOGETHER = 8  # texts of a random twin, whose blocks are drawn anew for each group
_RUN = 0.5  # of the time of such a group: before its gradients
_KEPT = 64 * 2**20  # bytes of vectors of each model

_vectors: WeakKeyDictionary[Model, OrderedDict[Any, Tensor]] = WeakKeyDictionary()
_lock = Lock()


def beam(model: Model, trace: Trace, target: TargetId | str, texts: Sequence[str]) -> pd.DataFrame:
    """What each state is disposed to add to a word's logit at the end: layer, position, token,
    score, low, high; (L + 1) * T rows.

    `score` is v_l . h_l[position], in logits: v_l is the mean over texts and source positions of
    the gradient, by the state of layer l, of the word's logit summed over target positions (as
    `fit` has them, at most 128 tokens of a text), so that v_l = J_l' w; the final norm is
    linear, its scale that of the last state at `position`. At layer L the score is the model's own
    logit before any cap, biases left out. `low` and `high` bound the mean over such texts with 95 %
    confidence (Student's t over texts); missing for a single text. One backward pass a text.

    `target`: a token's id, a pair (the difference of two logits), or a word of one token.
    InputError for a word of several tokens and for a text too short; ModelError where the final
    norm is no scaling.
    """
    *_, last = beams(model, trace, target, texts)
    return last


def beams(
    model: Model,
    trace: Trace,
    target: TargetId | str,
    texts: Sequence[str],
    progress: Progress | None = None,
) -> Iterator[pd.DataFrame]:
    """`beam` of the first text, of the first two, and so on: each as soon as it is known. Of a
    random twin several texts are added at a time. `progress` hears of those alone whose vectors
    were not known before."""
    scorer = Scorer(model, trace, target)
    rows = [model.encode(text)[:MAX_TOKENS] for text in several(texts)]
    found: list[Tensor] = []
    at_once = _TOGETHER if vars(model).get("drawn") is not None else 1
    for i in range(0, len(rows), at_once):
        begun = rows[i : i + at_once]

        def tell(share: float, i: int = i, n: int = len(begun)) -> None:
            if progress is None:
                return
            if at_once == 1:
                progress((i + share) / len(rows), f"Passage {i + 1} of {len(rows)}")
            else:
                share = _RUN + (1 - _RUN) * share
                progress((i + share * n) / len(rows), _random(len(rows)))

        found += map(scorer.scores, scorer.vectors(begun, tell))
        yield scorer.table(found)


def floor(model: Model, trace: Trace, target: TargetId | str) -> pd.DataFrame:
    """`beam` with the identity in the place of J: what the logit lens, its norm frozen as there,
    says of the word. Same columns; `low` and `high` are missing."""
    scorer = Scorer(model, trace, target)
    identity = scorer.cotangent.expand(model.n_layers + 1, -1)
    return scorer.table([scorer.scores(identity)])


@apart
@costs(lambda n_tokens, n_layers, params: _cost(params))
def passage_beam(
    model: Model,
    trace: Trace,
    target: TargetId,
    n_passages: int = 25,
    random_blocks: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """`beam` over the first of Strata's passages, with a column n (how many). What is known of
    earlier passages is not computed again, so a page asks for 1, 2, 5 and so on.

    `random_blocks`: a seed; the beam of the model's random twin instead, whose states are its own.
    """
    n_passages = check_count("The number of passages", n_passages, MOST_PASSAGES)
    if random_blocks is not None:
        if progress is not None:
            progress(0.0, _random(n_passages))
        model = model.random_twin(random_blocks)
        trace = model.capture_row(trace.token_ids)
    texts = [fitting(model, [text])[0] for text in islice(passages().values(), n_passages)]
    *_, last = beams(model, trace, target, texts, progress)
    return last.assign(n=n_passages)


def _random(n_passages: int) -> str:
    return f"Random blocks: {n_passages} passage{'s' * (n_passages != 1)}"


def _cost(params: Mapping[str, Any]) -> float:
    """Token-passes: forward, and twice as much backward, of about a hundred tokens a passage."""
    return 300.0 * min(MOST_PASSAGES, max(1, int(params["n_passages"])))


class Scorer:
    """One word, one run: vectors of texts as scores of the run's states."""

    def __init__(self, model: Model, trace: Trace, target: TargetId | str) -> None:
        check_run(model, trace)
        self.model, self.trace = model, trace
        self.target = (
            target_token(model, target)
            if isinstance(target, str)
            else check_target(target, model.d_vocab)
        )
        self.frozen = _frozen(model, trace)
        self._states = trace.hidden.double()  # once, for all texts
        self.cotangent = _cotangent(self.frozen, self.target)

    def vectors(
        self, rows: Sequence[Tensor], progress: Callable[[float], None] = lambda share: None
    ) -> list[Tensor]:
        """(L + 1, D) of each text's token ids, J_l' w of that text alone. `progress` hears how far
        those are that were not known before."""
        names = [self._name(row) for row in rows]
        known = [_recall(self.model, name) for name in names]
        missing = [i for i, vector in enumerate(known) if vector is None]
        if missing:
            cotangents = self.cotangent[None].float().cpu()
            found = pulled_back(self.model, [rows[i] for i in missing], cotangents, SKIP, progress)
            for i, vector in zip(missing, found[:, :, 0], strict=True):
                known[i] = vector
                _keep(self.model, names[i], vector)
        return [vector for vector in known if vector is not None]

    def scores(self, vectors: Tensor) -> Tensor:
        """(L + 1, D) -> (L + 1, T) float64, in logits."""
        scale = self.frozen.scale[..., 0].double().cpu()  # (T,)
        return torch.einsum("ltd,ld->lt", self._states, vectors.double().cpu()) * scale

    def table(self, scores: Sequence[Tensor]) -> pd.DataFrame:
        """The columns of `beam`, of one (L + 1, T) a text."""
        stacked = torch.stack(list(scores)).numpy()
        n, n_layers, n_tokens = stacked.shape
        mean, half = stacked.mean(axis=0), np.full(stacked.shape[1:], np.nan)
        if n > 1:
            quantile = float(stdtrit(n - 1, (1 + _CONFIDENCE) / 2))
            half = quantile * stacked.std(axis=0, ddof=1) / np.sqrt(n)
        return pd.DataFrame(
            {
                "layer": np.repeat(np.arange(n_layers), n_tokens),
                "position": np.tile(np.arange(n_tokens), n_layers),
                "token": list(self.trace.tokens) * n_layers,
                "score": mean.ravel(),
                "low": (mean - half).ravel(),
                "high": (mean + half).ravel(),
            }
        )

    def _name(self, row: Tensor) -> Any:
        drawn = vars(self.model).get("drawn")
        return self.target, drawn and drawn.seed, tuple(row.tolist())


def _frozen(model: Model, trace: Trace) -> FrozenNorm:
    try:
        return frozen_at_the_end(model, trace.hidden)
    except ModelError as refusal:
        if model.lens_refusal:
            raise
        raise ModelError(
            f"The final norm of this {model.family} model is not a scaling that can be held fixed, "
            "so a word has no direction here; the Jacobian lens itself reads its states."
        ) from refusal


def _cotangent(frozen: FrozenNorm, target: TargetId) -> Tensor:
    """(D,): the direction of last states along which the word's logit grows, at scale 1."""
    matrix = frozen.matrix
    if isinstance(target, tuple):
        direction = matrix[target[0]].double() - matrix[target[1]].double()
    else:
        direction = matrix[target].double()
    along = frozen.weight.double() * direction * frozen.architecture.logit_scale
    return along - along.mean() if frozen.centred else along


def _original(model: Model) -> Model:
    """A random twin's vectors are kept with those of the model that it is a twin of."""
    drawn = vars(model).get("drawn")
    return model if drawn is None else drawn.original


def _recall(model: Model, name: Any) -> Tensor | None:
    with _lock:
        kept = _vectors.setdefault(_original(model), OrderedDict())
        if name in kept:
            kept.move_to_end(name)
        return kept.get(name)


def _keep(model: Model, name: Any, vector: Tensor) -> None:
    with _lock:
        kept = _vectors.setdefault(_original(model), OrderedDict())
        kept[name] = vector.clone()
        while len(kept) * vector.numel() * vector.element_size() > _KEPT and len(kept) > 1:
            kept.popitem(last=False)
