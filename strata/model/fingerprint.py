"""Which model this is: hashes of its weights and of its tokenizer, for what was fitted to them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from strata.errors import InputError
from strata.model.compared_texts import TEXTS

if TYPE_CHECKING:
    from strata.model.model import Model
    from strata.trace import Trace

_known: WeakKeyDictionary[Model, Fingerprint] = WeakKeyDictionary()


class Fingerprint(NamedTuple):
    """SHA-256 in hex. `weights`: of all parameters' numbers as they are used, of a random twin with
    its seed. `tokenizer`: of the vocabulary and of how some fifty texts are cut."""

    weights: str
    tokenizer: str

    @property
    def key(self) -> str:
        """Both in one, fit for a file's name."""
        return hashlib.sha256(f"{self.weights} {self.tokenizer}".encode()).hexdigest()[:32]


def fingerprint(model: Model) -> Fingerprint:
    """Computed once for each model: a second or so for a billion parameters."""
    if model not in _known:
        _known[model] = Fingerprint(_weights(model), _tokenizer(model))
    return _known[model]


def may_be_of(model: Model, trace: Trace) -> bool:
    """Whether a run is of a model of these sizes, and, where it knows its own, of these weights:
    one that is made by hand, or of states by chance, knows none."""
    if tuple(trace.hidden.shape[::2]) != (model.n_layers + 1, model.d_model):
        return False
    own = getattr(trace.verify, "__self__", model)
    return own is model or fingerprint(own) == fingerprint(model)


def _weights(model: Model) -> str:
    drawn = vars(model).get("drawn")
    own = model.parameters if drawn is None else drawn.original.parameters
    # In no order but their own: versions of transformers name and list them otherwise.
    digest = hashlib.sha256("".join(sorted(map(_of_numbers, own))).encode()).hexdigest()
    return digest if drawn is None else f"{digest} random {drawn.seed}"


def _of_numbers(values: Tensor) -> str:
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}".encode())
    digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tokenizer(model: Model) -> str:
    digest = hashlib.sha256(repr(sorted(model.tokenizer.get_vocab().items())).encode())
    for text in TEXTS:
        try:
            told = repr(model.encode(text).tolist())
        except InputError as refusal:
            told = str(refusal)
        digest.update(told.encode())
    return digest.hexdigest()
