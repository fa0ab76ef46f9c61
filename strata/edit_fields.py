"""Edits read from plain data, as a job, a link or an export holds them, and written as such.

One table says what each type of field takes, so an edit made in Python and one that was sent are
held to the same. Data of an edit without a kind is that of a `Scale`, as all were once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from numbers import Real
from operator import index
from typing import Any, NoReturn, get_args, get_type_hints

from strata.edits import (
    EDITS,
    Difference,
    Direction,
    Edit,
    MeanState,
    Part,
    Positions,
    Principal,
    Skip,
    State,
    Texts,
    Unembedding,
)
from strata.errors import InputError

LARGEST_FACTOR = 1e6
_LARGEST = 2**63  # of whole numbers: what a seed may be, and less than any of them needs
_DIRECTIONS = (Difference, Unembedding, MeanState, Principal)


def read(value: Any, at: str = "") -> Edit:
    """An edit from one of `strata.edits` or from its data, every field checked by itself.

    `at` says in a refusal where it stood. Whether blocks, positions and sources exist in a model
    is not known here. InputError.
    """
    edit: Edit = _instance(value, EDITS, at or "An edit", f"{at}." if at else "An edit's ")
    if edit.head is not None and not (isinstance(edit, Skip) or edit.part == "attn"):
        raise InputError(
            "A single head can be scaled, replaced, made noise or skipped, in the part attn."
        )
    return edit


def data_of(edit: Any) -> dict[str, Any]:
    """An edit, or what it names, as plain data: its kind and its fields."""
    values = {field.name: getattr(edit, field.name) for field in fields(edit)}
    plain = {name: data_of(v) if hasattr(v, "kind") else v for name, v in values.items()}
    return {"kind": edit.kind, **plain}


def _instance(value: Any, classes: tuple[type, ...], of: str, field_of: str) -> Any:
    kinds: dict[str, Any] = {each.kind: each for each in classes}  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        given = dict(value)
        kind = given.pop("kind", next(iter(kinds)))  # a State, or a Scale, as all edits were once
    elif isinstance(value, classes):
        given, kind = dict(vars(value)), value.kind  # type: ignore[attr-defined]
    else:
        names = [each.__name__ for each in classes]
        _refuse(
            of, f"must be a {', '.join(names[:-1])}{' or ' * bool(names[:-1])}{names[-1]}", value
        )
    if not isinstance(kind, str) or kind not in kinds:
        _refuse(of, f"must be of the kind {', '.join(kinds)}", kind)
    known = {field.name: field for field in fields(kinds[kind])}
    if unknown := [name for name in given if name not in known]:
        _refuse(of, f"of the kind {kind} has the fields {', '.join(known)}", unknown[0])
    for name, field in known.items():
        if field.default is MISSING and name not in given:
            _refuse(of, f"of the kind {kind} needs a {name}")
    types = _types(kinds[kind])
    return kinds[kind](**{n: _FIELDS[types[n]](v, f"{field_of}{n}") for n, v in given.items()})


@cache
def _types(of: type) -> dict[str, Any]:
    """The type of each field."""
    return get_type_hints(of)


def _refuse(of: str, wanted: str, given: Any = MISSING) -> NoReturn:
    """InputError: what is wanted, and what came instead if a few words can show that."""
    shown = ""
    if given is not MISSING and not (isinstance(given, int) and abs(given) >= _LARGEST):
        text = repr(given)
        shown = f", not {text}" if len(text) <= 40 else ""
    raise InputError(f"{of} {wanted}{shown}.")


def _whole(value: Any, of: str) -> int:
    if isinstance(value, float) and value.is_integer():  # as some write whole numbers in JSON
        value = int(value)
    try:
        number = index(value)  # NumPy's whole numbers as well
    except TypeError:
        _refuse(of, "must be a whole number", value)
    if isinstance(value, bool) or abs(number) >= _LARGEST:
        _refuse(of, "must be a whole number", value)
    return number


def _factor(value: Any, of: str) -> float:
    # Beyond that states leave what float32 can hold; a comparison takes NaN and huge integers.
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and abs(value) <= LARGEST_FACTOR):
        _refuse(of, "must be a finite number, at most a million in size", value)
    return float(value)


def _text(value: Any, of: str) -> str:
    if not isinstance(value, str):
        _refuse(of, "must be text", value)
    return str(value)


def _part(value: Any, of: str) -> Part:
    if not isinstance(value, str) or value not in get_args(Part):
        _refuse(of, "must be stream, attn or mlp", value)
    return value  # type: ignore[return-value]


def _all(each: Callable[[Any, str], Any], wanted: str) -> Callable[[Any, str], tuple[Any, ...]]:
    def several(value: Any, of: str) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            _refuse(of, f"must be {wanted}", value)
        return tuple(each(entry, of) for entry in value)

    return several


def _texts(value: Any, of: str) -> tuple[str, ...]:
    texts = _all(_text, "a tuple of texts")(value, of)
    if not texts or len(set(texts)) < len(texts):
        _refuse(of, "must be a tuple of at least one text, each named once")
    return texts


def _where(value: Any, of: str) -> int | tuple[int, int]:
    if not isinstance(value, (list, tuple)):
        return _whole(value, of)
    if len(value) != 2:
        _refuse(of, "must be one position, or one for each of both prompts", value)
    return _whole(value[0], of), _whole(value[1], of)


def _or_none(read: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, of: None if value is None else read(value, of)


_FIELDS: dict[Any, Callable[[Any, str], Any]] = {  # by their types
    int: _whole,
    float: _factor,
    str: _text,
    Part: _part,
    Positions: _or_none(_all(_whole, "a tuple of whole numbers, or None")),
    Texts: _texts,
    int | None: _or_none(_whole),
    float | None: _or_none(_factor),
    int | tuple[int, int]: _where,
    State: lambda value, of: _instance(value, (State,), of, f"{of}."),
    Direction: lambda value, of: _instance(value, _DIRECTIONS, of, f"{of}."),
}
