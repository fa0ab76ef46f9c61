"""Which concepts there are: the folders beside this file."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import strata.concepts


@lru_cache(maxsize=1)
def concepts() -> dict[str, ModuleType]:
    """The concepts by stem, in teaching order: the folders beside this file."""
    folders = [
        entry.name for entry in pkgutil.iter_modules(strata.concepts.__path__) if entry.ispkg
    ]
    found = [(stem, import_module(f"strata.concepts.{stem}")) for stem in folders]
    return dict(sorted(found, key=lambda entry: (entry[1].CONCEPT.order, entry[0])))
