"""Where a model's fitted Jacobian lens is: shipped with Strata, or made on this machine."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from strata.errors import InputError
from strata.model.fingerprint import Fingerprint, fingerprint
from strata.model.jacobian import Lens
from strata.runtime.folders import home

if TYPE_CHECKING:
    from strata.model.model import Model

SHIPPED = Path(__file__).parent / "smollm2-135m.jacobian.safetensors"

_known: WeakKeyDictionary[Model, tuple[float, Lens | None]] = WeakKeyDictionary()
_lock = Lock()


def place(of: Fingerprint) -> Path:
    """Where the lens of a model is kept on this machine, by its weights and its tokenizer."""
    return home() / "lenses" / f"{of.key}.safetensors"


def kept_in(model: Model) -> Path:
    """The file that `fitted` takes its lens from, where there is one."""
    own = place(fingerprint(model))
    return own if own.is_file() else SHIPPED


def fitted(model: Model) -> Lens | None:
    """The lens of this very model: one made here, else the one that Strata ships, else None."""
    of = fingerprint(model)
    own = place(of)
    written = own.stat().st_mtime if own.is_file() else 0.0
    with _lock:
        known = _known.get(model)
        if known is None or known[0] != written:
            known = written, _read(own, of) or _read(SHIPPED, of)
            _known[model] = known
    return known[1]


def _read(path: Path, of: Fingerprint) -> Lens | None:
    try:
        lens = Lens.load(path)
    except InputError:
        return None
    return lens if (lens.weights, lens.tokenizer) == tuple(of) else None
