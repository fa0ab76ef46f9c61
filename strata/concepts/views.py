"""Which views a job may name, and what each of them asks for.

A view is a function that a concept lists in its `CONCEPT`, or one about the run or the sample
itself, in `strata.concepts.run.VIEWS` ("run.function") or `strata.concepts.sampled.VIEWS`
("corpus.function"), or of `strata.concepts.nulls.VIEWS` ("chance.function"). It is named
"stem.function"; nothing else can be called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, get_type_hints

import pandas as pd

from strata.concepts import Concept
from strata.concepts.found import concepts as concepts
from strata.errors import InputError

View = Callable[..., pd.DataFrame]

TRACE = frozenset({"trace", "trace_or_states"})  # a view that names one of these has it captured
SUPPLIED = TRACE | frozenset(
    {"model", "traces", "runs", "gradients", "prompt", "edits", "prompts", "sample"} | {"progress"}
)  # parameters that the engine fills; all others come from the job's params


@lru_cache(maxsize=1)
def views() -> dict[str, View]:
    """Every view by its name, "stem.function"."""
    from strata.concepts import nulls, run, sampled

    listed = {stem: module.CONCEPT.views for stem, module in concepts().items()}
    shared = {"run": run.VIEWS, "corpus": sampled.VIEWS, "chance": nulls.VIEWS}
    return {
        f"{stem}.{view.__name__}": view
        for stem, functions in (shared | listed).items()
        for view in functions
    }


@lru_cache(maxsize=1)
def curves() -> dict[str, tuple[str, View]]:
    """The numbers by layer that concepts name, by their names: the concept's stem, the function."""
    return {
        name: (stem, function)
        for stem, module in concepts().items()
        for name, function in module.CONCEPT.curves.items()
    }


def find_view(name: str) -> View:
    """The view of that name; InputError if no concept lists it."""
    try:
        return views()[name]
    except KeyError:
        raise InputError(f"There is no view {name!r}.") from None


@lru_cache(maxsize=512)
def supplied(view: View) -> frozenset[str]:
    """Which of the names in `SUPPLIED` this view asks the engine for."""
    return SUPPLIED & inspect.signature(view).parameters.keys()


def is_of_a_prompt(concept: Concept) -> bool:
    """Whether a page's own prompt plays a part in what its views say."""
    return any(supplied(view) & (TRACE | {"prompt"}) for view in concept.views)


def works_apart(view: View) -> bool:
    """Whether the view is marked as working long (`strata.concepts.apart`)."""
    return getattr(view, "apart", False)


def is_quick(view: View) -> bool:
    """Whether the view is marked as only reading off a run (`strata.concepts.quick`)."""
    return getattr(view, "quick", False)


def is_unhurried(view: View) -> bool:
    """Whether the view is marked as asked for in spare time (`strata.concepts.unhurried`)."""
    return getattr(view, "unhurried", False)


def followed(view: View) -> str:
    """What the view's table follows from now beside its job (`strata.concepts.follows`); "" for
    nothing."""
    state = getattr(view, "follows", None)
    return "" if state is None else str(state())


@lru_cache(maxsize=512)
def parameters(view: View) -> dict[str, tuple[Any, Any]]:
    """(annotation, default) of each parameter that a job must or may give; `...`: no default.

    Only these annotations are evaluated, so the others may name what is imported for typing only.
    """
    found = {n: p for n, p in inspect.signature(view).parameters.items() if n not in SUPPLIED}
    empty = inspect.Parameter.empty
    written = {n: Any if p.annotation is empty else p.annotation for n, p in found.items()}
    types = get_type_hints(
        SimpleNamespace(__annotations__=written), getattr(view, "__globals__", {})
    )
    return {n: (types[n], ... if p.default is empty else p.default) for n, p in found.items()}
