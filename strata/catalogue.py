"""Which models there are: `models.toml` as `ModelCard`s, and what a name or path stands for."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from strata import weights
from strata.errors import ModelError, NotEnoughMemory
from strata.sizes import count_parameters

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
BYTES_PER_WEIGHT = 4  # float32, which is what every model has on a CPU
WORKING_ROOM = 1.15  # states, logits and buffers, on top of the weights
NEEDED = {"bundled": (), "hub": ("repository",), "folder": ("path",), "gguf": ("path",)}


class ModelCard(BaseModel):
    """One model: where its weights come from, how large it is, under which licence.

    `parameters` is the number of weights, None where it is only known once they are here;
    `dtype` is used on a GPU (a CPU has float32); `prompt_limit` is in tokens, None for the
    model's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: StrictStr = Field(min_length=1)
    title: StrictStr = ""
    source: Literal["bundled", "hub", "folder", "gguf"]
    repository: StrictStr | None = Field(default=None, pattern=REPOSITORY)
    revision: StrictStr | None = Field(default=None, min_length=1)
    path: StrictStr | None = Field(default=None, min_length=1)
    parameters: PositiveInt | None = None
    licence: StrictStr = Field(min_length=1)
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    prompt_limit: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _title_is_id(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "title" not in fields and "id" in fields:
            return {**fields, "title": fields["id"]}
        return fields

    @property
    def size_bytes(self) -> int | None:
        """Memory of the weights in float32, in bytes; None where that is not known yet."""
        if self.parameters:
            return self.parameters * BYTES_PER_WEIGHT
        place = Path(self.path or "") if self.source == "gguf" else weights.cached_folder(self)
        return count_parameters(place) * BYTES_PER_WEIGHT if place and place.exists() else None


def catalogue(path: str | Path | None = None) -> dict[str, ModelCard]:
    """The models of `models.toml` (or of the file that STRATA_MODELS names) by id, in its order.

    Raises ModelError, with file and line, at the first entry that cannot be understood.
    """
    beside_package = Path(__file__).resolve().parent.parent / "models.toml"
    path = Path(path or os.environ.get("STRATA_MODELS") or beside_package)
    text = _read(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _toml_reason(str(error), text)
        raise ModelError(f"{path.name}, line {line}: {reason}.") from error
    entries = document.pop("model", [])
    headers = [n for n, line in enumerate(text.splitlines(), 1) if re.match(HEADER, line)]
    if document or not isinstance(entries, list) or len(headers) != len(entries):
        line = _line_of_stray(text)
        raise ModelError(f"{path.name}, line {line}: a model starts with a line [[model]].")
    cards: dict[str, ModelCard] = {}
    for header, entry in zip(headers, entries, strict=True):
        problem = _problem(entry, cards)
        if problem:
            field, message = problem
            line = _line_of(field, text, header)
            raise ModelError(f"{path.name}, line {line}: {message}.")
        if entry.get("path"):
            entry["path"] = str(path.absolute().parent / Path(entry["path"]).expanduser())
        cards[entry["id"]] = ModelCard(**entry)
    if not cards:
        raise ModelError(f"{path.name}, line 1: there is no [[model]] in it.")
    return cards


def resolve(name_or_path: str) -> ModelCard:
    """The card of a catalogue id, a .gguf file, a folder, or a hub id "owner/name", in this order.

    A hub id that the catalogue lists brings the catalogue's revision and limits with it.
    Raises ModelError, naming the catalogue's ids, if it is none of these.
    """
    cards = catalogue()
    name = str(name_or_path).strip()
    if name in cards:
        return cards[name]
    path = os.path.expanduser(name)
    is_gguf = name.lower().endswith(".gguf")
    if is_gguf and os.path.isfile(path):
        return _card_of_path("gguf", path)
    if os.path.isdir(path):
        return _card_of_path("folder", path)
    if "/" in name and re.match(REPOSITORY, name) and not is_gguf:
        listed = (card for card in cards.values() if card.repository == name)
        unlisted = {"id": name, "source": "hub", "repository": name, "licence": "unknown"}
        return next(listed, None) or ModelCard.model_validate(unlisted)
    close = difflib.get_close_matches(name, cards, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ModelError(
        f"There is no model {name[:80]!r}{hint}; choose one of {', '.join(cards)}, "
        "or give a .gguf file, a folder, or a hub id like 'owner/name'."
    )


def require_memory(card: ModelCard, bytes_per_weight: int = BYTES_PER_WEIGHT) -> None:
    """Raise NotEnoughMemory if this model would not fit in what is free; unknown sizes pass."""
    size = card.size_bytes
    if size is None:
        return
    needed = size * WORKING_ROOM * bytes_per_weight / BYTES_PER_WEIGHT
    free = psutil.virtual_memory().available
    if needed > free:
        raise NotEnoughMemory(
            f"{card.id} needs about {_gigabytes(needed)} GB of memory and {_gigabytes(free)} GB "
            "are free; choose a smaller model or close other programs."
        )


def _card_of_path(source: Literal["folder", "gguf"], path: str) -> ModelCard:
    full = Path(path).resolve()
    return ModelCard(
        id=str(full), title=full.name, source=source, path=str(full), licence="unknown"
    )


def _gigabytes(n_bytes: float) -> str:
    gigabytes = n_bytes / 1e9
    return f"{gigabytes:.0f}" if gigabytes >= 9.95 else f"{gigabytes:.1f}"


# Reading models.toml -------------------------------------------------------------------------

HEADER = r"\s*\[\[\s*model\s*\]\]"


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The catalogue of models {path} cannot be read ({error.strerror}); put it back, or "
            "set STRATA_MODELS to the file to use."
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ModelError(f"{path.name}, line {line}: save the file as UTF-8 text.") from error


def _toml_reason(message: str, text: str) -> tuple[str, int]:
    found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", message)
    if not found:
        return message, 1
    line = int(found[1]) if found[1] else max(1, len(text.rstrip().splitlines()))
    return message[: found.start()], line


def _problem(entry: Any, earlier: dict[str, ModelCard]) -> tuple[str, str] | None:
    """The first thing wrong with an entry: the field to point at and what to do about it."""
    if not isinstance(entry, dict):
        return "", "a model starts with a line [[model]]"
    try:
        card = ModelCard(**entry)
    except ValidationError as error:
        misspelt_first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        return _explain(misspelt_first[0])
    if not re.match(NAME, card.id):
        return "id", f"id {card.id!r} may have letters, digits and . _ - inside, and nothing else"
    if card.id in earlier:
        return "id", f"the id {card.id!r} is used twice"
    needed = NEEDED[card.source]
    for field in needed:
        if getattr(card, field) is None:
            return "source", f"a model from source {card.source!r} needs {field!r}"
    allowed = {*needed, "revision"} if card.source == "hub" else set(needed)
    for field in ("repository", "revision", "path"):
        if getattr(card, field) is not None and field not in allowed:
            return field, f"{field!r} means nothing for source {card.source!r}; remove it"
    return None


def _explain(error: ErrorDetails) -> tuple[str, str]:
    field = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, ModelCard.model_fields, n=1)
        meant = (
            f"did you mean {close[0]!r}" if close else f"use {', '.join(ModelCard.model_fields)}"
        )
        return field, f"{field!r} is not known; {meant}"
    if error["type"] == "missing":
        return "", f"{field!r} is missing"
    if error["type"] == "string_pattern_mismatch":
        return field, f"{field} should look like 'owner/name', not {error['input']!r}"
    return field, f"{field} is {error['input']!r}, but {_lower_first(error['msg'])}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line_of(field: str, text: str, header: int) -> int:
    """The line of `field` in the entry that starts at `header`, else the header's own."""
    if not field:
        return header
    for number, line in enumerate(text.splitlines()[header:], header + 1):
        if re.match(r"\s*\[", line):
            break
        if re.match(rf"""\s*["']?{re.escape(field)}["']?\s*[=.]""", line):
            return number
    return header


def _line_of_stray(text: str) -> int:
    """The first line that is neither inside a [[model]] nor a comment."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(HEADER, line):
            inside = True
        elif re.match(r"\s*\[", line) or (line.strip() and not inside and line.strip()[0] != "#"):
            return number
    return 1
