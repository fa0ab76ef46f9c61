"""Which models there are: `models.toml` as `ModelCard`s, and what a name or path stands for."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StrictStr,
    model_validator,
)

from strata.errors import ModelError
from strata.weights.entries import entries

BESIDE_PACKAGE = Path(__file__).resolve().parents[2]
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
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


def catalogue(path: str | Path | None = None) -> dict[str, ModelCard]:
    """The models of `models.toml` (or of the file that STRATA_MODELS names) by id, in its order.

    Raises ModelError, with file and line, at the first entry that cannot be understood.
    """
    path = Path(path or os.environ.get("STRATA_MODELS") or BESIDE_PACKAGE / "models.toml")
    cards = entries(path, "model", ModelCard, _problem, "STRATA_MODELS")
    for name, card in cards.items():
        if card.path:
            place = str(path.absolute().parent / Path(card.path).expanduser())
            cards[name] = card.model_copy(update={"path": place})
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
    if name.startswith(("/", "./", "../", "~")) or os.path.isabs(name):
        raise ModelError(f"There is no file or folder {name[:200]!r}.")
    close = difflib.get_close_matches(name, cards, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ModelError(
        f"There is no model {name[:80]!r}{hint}; choose one of {', '.join(cards)}, "
        "or give a .gguf file, a folder, or a hub id like 'owner/name'."
    )


def _card_of_path(source: Literal["folder", "gguf"], path: str) -> ModelCard:
    full = Path(path).resolve()
    return ModelCard(
        id=str(full), title=full.name, source=source, path=str(full), licence="unknown"
    )


def _problem(card: ModelCard) -> tuple[str, str] | None:
    """A field that does not go with the card's source, and what to do about it."""
    needed = NEEDED[card.source]
    for field in needed:
        if getattr(card, field) is None:
            return "source", f"a model from source {card.source!r} needs {field!r}"
    allowed = {*needed, "revision"} if card.source == "hub" else set(needed)
    for field in ("repository", "revision", "path"):
        if getattr(card, field) is not None and field not in allowed:
            return field, f"{field!r} means nothing for source {card.source!r}; remove it"
    return None
