"""Where a model's fitted Jacobian lens is: shipped with Strata, or made on this machine."""

from __future__ import annotations

import os
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
_SUFFIX = ".safetensors"

_known: WeakKeyDictionary[Model, tuple[int, Path | None]] = WeakKeyDictionary()
_last: dict[Path, tuple[int, Lens]] = {}  # at most one: a lens may be as large as its model
_lock = Lock()


def place(of: Fingerprint) -> Path:
    """Where the lens of a model is kept on this machine, by its weights and its tokenizer."""
    return home() / "lenses" / f"{of.key}{_SUFFIX}"


def kept() -> str:
    """Which lenses this machine keeps now: another text once one was written, or removed."""
    try:
        with os.scandir(home() / "lenses") as files:
            lenses = [each for each in files if each.name.endswith(_SUFFIX)]
            return repr(sorted((each.name, each.stat().st_mtime_ns) for each in lenses))
    except OSError:
        return ""


def kept_in(model: Model) -> Path | None:
    """The file that `fitted` takes its lens from: one made here, else the one that Strata ships,
    else None. A file that holds no lens of this very model is passed over."""
    of = fingerprint(model)
    written = _written(place(of))
    with _lock:
        known = _known.get(model)
        if known is None or known[0] != written:
            usable = [path for path in (place(of), SHIPPED) if Lens.of(path) == of]
            known = _known[model] = written, usable[0] if usable else None
    return known[1]


def fitted(model: Model) -> Lens | None:
    """The lens of this very model, of the file that `kept_in` names; None where there is none.

    The last one that was asked for stays in memory, and no other."""
    path = kept_in(model)
    if path is None:
        return None
    written = _written(path)
    with _lock:
        if path not in _last or _last[path][0] != written:
            _last.clear()  # before the next is read, so that there are never two
            try:
                _last[path] = written, Lens.load(path)
            except InputError:  # gone, or another one by now
                return None
        return _last[path][1]


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
