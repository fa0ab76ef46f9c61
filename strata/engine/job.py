"""A job: what is to be computed, as data. Validated, hashable, the same in every process."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    create_model,
    field_serializer,
    field_validator,
)

from strata.concepts.views import View, parameters
from strata.corpus import Source
from strata.edit_fields import data_of, read
from strata.edits import Edit
from strata.errors import InputError

_PARAMS_SIZE = 100_000  # characters of canonical JSON, all params and edits together
_EXACT = 2.0**53  # below this a float without a fraction is the same number as an int


class Job(BaseModel):
    """One view of one model on one prompt, or on several.

    `params` are the view's own parameters: numbers, text, true/false, None, or lists of these.
    `edits` hold for `prompt` and `prompts` alike; each may also be given as data with its kind, see
    `strata.edit_fields`. `sample` has fields of `strata.corpus.Source`,
    for views of sampled states; `prompts` are then the learner's own texts. Two jobs that mean the
    same are equal and have the same `key`. Raises InputError.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always"
    )

    view: str
    model: str
    prompt: str = ""
    params: dict[str, Any] = {}
    edits: tuple[Any, ...] = ()  # of `Edit`: read by the one rule for all who make one
    prompts: tuple[str, ...] = ()
    sample: dict[str, Any] | None = None

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(sentence(error, "A job", "field")) from None
        size = len(_canonical([self.params, self.sample, *map(data_of, self.edits)]))
        if size > _PARAMS_SIZE:
            raise InputError("The parameters and edits of this job are too many; use fewer.")

    @field_validator("params", "sample")
    @classmethod
    def _plain(cls, values: dict[str, Any] | None) -> dict[str, Any] | None:
        return values and {name: _plain(name, value) for name, value in values.items()}

    @field_validator("edits")
    @classmethod
    def _read(cls, edits: tuple[Any, ...]) -> tuple[Edit, ...]:
        try:
            return tuple(read(edit, f"A job: edits.{i}") for i, edit in enumerate(edits))
        except InputError as error:
            raise ValueError(str(error)) from None

    @field_serializer("edits")
    def _written(self, edits: tuple[Edit, ...]) -> list[dict[str, Any]]:
        return [data_of(edit) for edit in edits]  # pydantic leaves out the kind, which is no field

    @property
    def source(self) -> Source:
        """What to sample, `sample` checked; without it the defaults. Raises InputError."""
        try:
            return Source(**(self.sample or {}))
        except ValidationError as error:
            raise InputError(sentence(error, "A sample", "field")) from None

    @property
    def key(self) -> str:
        """SHA-256 of the job's canonical JSON, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """The job as JSON with sorted keys, where equal numbers are written alike."""
        return _canonical({**dict(self), "edits": list(map(data_of, self.edits))})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash(self.canonical())


def check_params(name: str, view: View, params: Mapping[str, Any]) -> dict[str, Any]:
    """The params as the view's annotations want them; InputError names the one that is wrong.

    Types are strict ("5" is not a number), but a whole float serves as an int, and a list as a
    tuple. Defaults are left to the view.
    """
    try:
        checked = _schema(view).model_validate_json(_canonical(dict(params)))
    except ValidationError as error:
        raise InputError(sentence(error, name, "parameter")) from None
    return {field: getattr(checked, field) for field in params}


@lru_cache(maxsize=512)
def _schema(view: View) -> type[BaseModel]:
    config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
    )
    return create_model(view.__name__, __config__=config, **parameters(view))  # type: ignore[call-overload]


def sentence(error: ValidationError, owner: str, noun: str) -> str:
    """The first complaint of a ValidationError as one sentence that names the field."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "missing":
            return f"{owner} needs the {noun} {where!r}."
        case "extra_forbidden":
            return f"{owner} has no {noun} {where!r}."
        case "json_invalid":
            return f"{owner}: a {noun} holds characters that are not valid Unicode."
        case "value_error" | "assertion_error":
            return first["msg"].split(", ", 1)[-1].rstrip(".") + "."
    message = first["msg"].replace("Input should be", "should be").rstrip(".")
    if not message.startswith("should"):
        message = f"is not valid: {message[:1].lower()}{message[1:]}"
    given = first["input"]
    shown = "" if given is None or len(repr(given)) > 40 else f", not {given!r}"
    return f"{owner}: {noun} {where!r} {message}{shown}."


def _canonical(value: Any) -> str:
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    """Floats without a fraction as ints, at any depth, so that 1 and 1.0 are written alike."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(entry) for entry in value]
    return value


def _plain(name: str, value: Any, nested: bool = False) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        if abs(int(value)) >= 2**63:
            raise ValueError(f"The parameter {name!r} is too large a number.")
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"The parameter {name!r} must be a finite number.")
        return float(value)
    if isinstance(value, list | tuple) and not nested:
        return tuple(_plain(name, entry, nested=True) for entry in value)
    raise ValueError(
        f"The parameter {name!r} must be a number, text, true or false, or a list of these, "
        f"not {type(value).__name__}."
    )
