"""Hostile jobs: what a forged page could ask for is refused in a sentence, and nothing is read."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from strata.concepts import target
from strata.concepts.views import find_view
from strata.corpus.passages import decoded
from strata.engine import Job, LocalEngine, Settings
from strata.errors import InputError, StrataError
from strata.model.tokenizer import Tokenizer
from strata.storage.prompts import MAX_CHARACTERS
from strata.trace import Scale
from strata.weights.catalogue import catalogue
from tests.engine.fakes import FakeModel, words
from tests.hostile import CASES, Case, each_sink, try_all

LISTED = tuple(catalogue())
opened: list[str] = []
loaded: list[str] = []


def load(name: str, progress: Any) -> Any:
    loaded.append(name)
    return FakeModel(name)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """An engine with the real catalogue, and one view, "words"."""

    def known(name: str) -> Callable[..., pd.DataFrame]:
        return words if name == "words" else find_view(name)

    with LocalEngine(Settings(), load=load, find_view=known) as running:
        yield running


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch which files are opened by what a test does."""
    really = builtins.open

    def watched(file: Any, *args: Any, **more: Any) -> Any:
        opened.append(str(file))
        return really(file, *args, **more)

    monkeypatch.setattr(builtins, "open", watched)


def refused(engine: LocalEngine, **fields: Any) -> None:
    with pytest.raises(StrataError) as refusal:
        engine.run(Job(**{"view": "words", "model": LISTED[0], "prompt": "a", **fields}))
    sentence = str(refusal.value)
    assert sentence.endswith((".", "?"))
    assert "Traceback" not in sentence


def as_view(engine: LocalEngine, text: str) -> None:
    refused(engine, view=text)
    refused(engine, view=f"run.{text}")


def as_model(engine: LocalEngine, text: str) -> None:
    refused(engine, model=text)
    for ask in (engine.ensure, engine.describe):
        with pytest.raises(StrataError, match="not in the catalogue"):
            ask(text)
    assert engine.status(text).state == "absent"


def taken_or_refused(engine: LocalEngine, **fields: Any) -> pd.DataFrame | None:
    try:
        return engine.run(Job(**{"view": "words", "model": LISTED[0], "prompt": "a", **fields}))
    except StrataError as error:
        assert str(error).endswith(".")
        return None


def as_prompt(engine: LocalEngine, text: str) -> None:
    frame = taken_or_refused(engine, prompt=text)
    if len(text) > engine.settings.prompt_characters:
        assert frame is None
    elif frame is not None:
        assert frame["token"].tolist() == text.split()


def as_prompts(engine: LocalEngine, text: str) -> None:
    taken_or_refused(engine, prompts=(text, "a"))
    refused(engine, prompts=(text,) * 100)


def as_param_name(engine: LocalEngine, text: str) -> None:
    refused(engine, params={text: 1})


def as_param(engine: LocalEngine, text: str) -> None:
    for view, name in (("predictions.next_token", "position"), ("logit_lens.lens", "mode")):
        refused(engine, view=view, params={name: text})
    refused(engine, view="predictions.next_token", params={"position": {"x": text}})
    refused(engine, view="predictions.next_token", params={"position": [[text]]})


def as_sample(engine: LocalEngine, text: str) -> None:
    for fields in ({"corpus": text}, {text: 1}, {"n": text}, {"seed": [text]}):
        refused(engine, view="corpus.about", sample=fields)


def as_edit(engine: LocalEngine, text: str) -> None:
    for edit in ({"block": text, "factor": 1.0}, {"block": 0, "factor": text}):
        if re.fullmatch(r"\s*[+-]?[\d.e]+\s*", text):  # a number, if written as text
            taken_or_refused(engine, edits=(edit,))
        else:
            refused(engine, edits=(edit,))
    refused(engine, edits=({"block": 0, "factor": 1.0, "part": text},))
    refused(engine, edits=({"block": 0, "factor": 1.0, text: 1},))
    refused(engine, edits=(Scale(0, 1.0, positions=(0,)), text))
    skip, direction = {"kind": "skip", "block": 0}, {"kind": "unembedding", "token_id": 1}
    for wrong in ({"kind": text}, {"block": text}, {"head": text}, {"positions": text}, {text: 1}):
        refused(engine, edits=(skip | wrong,))
    for wrong in ({"kind": text}, {"token_id": text}, {text: 1}):
        project = {"kind": "project", "block": 0, "direction": direction | wrong}
        refused(engine, edits=(project,))
    source = {"prompt": "a", "block": text, "positions": [text]}
    for named in (text, source, {"prompt": [text]}, {text: "a"}):
        refused(engine, edits=({"kind": "replace", "block": 0, "part": "attn", "source": named},))
    keep = {"kind": "keep", "block": 0, "k": 1}
    refused(engine, edits=(keep | {"sample": text},))
    refused(engine, edits=(keep | {"sample": [text] * 100},))
    taken_or_refused(engine, edits=(keep | {"sample": [text]},))


def as_word(engine: LocalEngine, text: str) -> None:
    """A target: what a tokenizer that knows bytes makes of it, or a sentence."""
    try:
        pieces = target.target(Bytes(), text)  # type: ignore[arg-type]
    except InputError as error:
        assert len(str(error)) < 300
    else:
        assert pieces["shown"].map(str.isprintable).all()
        assert target.note(pieces).isprintable()


class Bytes:
    """A tokenizer whose tokens are bytes, and its model's way to read them."""

    unk_token_id, unk_token = None, None

    @property
    def tokenizer(self) -> Bytes:
        return self

    @property
    def texts(self) -> Tokenizer:
        return Tokenizer(self, 1_000)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return f"<0x{token_id:02X}>"

    def decode(self, ids: list[int], after: list[int] = ()) -> list[str]:  # type: ignore[assignment]
        return [bytes([i]).decode("utf-8", "replace") for i in ids]


def as_file(engine: LocalEngine, text: str) -> None:
    """A learner's own file with this inside: cut, or refused."""
    for coding in ("utf-8", "utf-16"):
        try:
            read, note = decoded(text.encode(coding, "surrogatepass"))
        except InputError as error:
            assert "file" in str(error)
        else:
            assert 0 < len(read) <= 200_000
            assert note.isprintable()


def as_catalogue(engine: LocalEngine, text: str) -> None:
    """Hub ids, paths, addresses and templates as a model's name: none is ever looked for."""
    before = list(loaded)
    with pytest.raises(InputError):
        engine.submit(Job(view="words", model=text, prompt="a"))
    assert loaded == before
    assert not [file for file in opened if text and text[:100] in file]


SINKS: dict[str, Callable[[LocalEngine, str], None]] = {
    "view": as_view,
    "model": as_model,
    "prompt": as_prompt,
    "prompts": as_prompts,
    "param_name": as_param_name,
    "param": as_param,
    "sample": as_sample,
    "edit": as_edit,
    "word": as_word,
    "file": as_file,
    "catalogue": as_catalogue,
}


@each_sink(SINKS, CASES)
def test_it_is_text_or_refused(engine: LocalEngine, sink: str, cases: tuple[Case, ...]) -> None:
    def check(text: str) -> None:
        opened.clear()
        SINKS[sink](engine, text)
        assert not [file for file in opened if "passwd" in file or "id_rsa" in file]
        assert set(loaded) <= {LISTED[0]}

    try_all(cases, check)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**30, 2**64, b"x"])
@pytest.mark.parametrize("field", ["position", "k"])
def test_numbers_that_are_none(engine: LocalEngine, field: str, value: Any) -> None:
    refused(engine, view="predictions.next_token", params={"position": 0, field: value})


def test_the_limit_of_a_stored_prompt_is_that_of_a_job() -> None:
    assert json.dumps("x" * MAX_CHARACTERS)
    assert Settings().prompt_characters <= MAX_CHARACTERS
