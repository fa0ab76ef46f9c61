"""A job is data: equal when it means the same, refused in one sentence when it makes no sense."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from strata.engine import Job, Settings
from strata.engine.job import check_params
from strata.errors import InputError
from strata.trace import (
    Add,
    Difference,
    Keep,
    MeanState,
    Noise,
    Principal,
    Project,
    Replace,
    Scale,
    Skip,
    State,
    Unembedding,
)

if TYPE_CHECKING:
    from strata.model import Model

BASE: dict[str, Any] = {"view": "a.b", "model": "m", "prompt": "text"}


def view(
    model: Model,
    trace,
    position: int,
    factor: float = 1.0,
    mode: str = "x",
    only: tuple[int, ...] = (),
):  # type: ignore[no-untyped-def]
    """`Model` is a name that only type checkers see here."""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"params": {"k": 1}}, {"params": {"k": 1.0}}),
        ({"params": {"k": 1, "a": 2}}, {"params": {"a": 2, "k": 1}}),
        ({"params": {"k": [1, 2]}}, {"params": {"k": (1, 2)}}),
        ({"params": {"k": 3}}, {"params": {"k": np.int64(3)}}),
        ({"edits": (Scale(1, 2),)}, {"edits": [{"block": 1, "factor": 2.0}]}),
        ({"edits": (Scale(1, 2, positions=(0, 1)),)}, {"edits": (Scale(1, 2, positions=[0, 1]),)}),
    ],
)
def test_jobs_that_mean_the_same_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = Job(**BASE, **one), Job(**BASE, **other)
    assert a.key == b.key
    assert a == b
    assert len({a, b}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"view": "a.c"},
        {"model": "n"},
        {"prompt": "text "},
        {"params": {"k": 1}},
        {"params": {"k": True}},
        {"params": {"k": None}},
        {"params": {"k": "1"}},
        {"params": {"k": 1.5}},
        {"edits": (Scale(1, 2),)},
        {"edits": (Scale(1, 2, "mlp"),)},
        {"edits": (Scale(1, 2, positions=(0,)),)},
        {"prompts": ("text",)},
        {"sample": {"n": 1}},
    ],
)
def test_every_field_counts(change: dict[str, Any]) -> None:
    others = {Job(**BASE).key, Job(**BASE, params={"k": 2}).key, Job(**BASE, params={"k": 0}).key}
    assert Job(**{**BASE, **change}).key not in others


EDITS: tuple[Any, ...] = (
    Scale(1, 2),
    Scale(1, 2, head=None, part="mlp"),
    Skip(1),
    Skip(1, head=0),
    Skip(1, head=1),
    Scale(1, 2, "attn"),
    Scale(1, 2, "attn", head=1),
    Project(1, Unembedding(2)),
    Project(1, MeanState(("text",), 2)),
    Project(1, Principal(("text",), 2)),
    Project(1, Difference("text", "other", 2)),
    Project(1, Difference("text", "other", 2, (-1, 0))),
    Add(1, Unembedding(2), 1.0),
    Noise(1),
    Noise(1, factor=2),
    Replace(1, "stream", State("text")),
    Replace(1, "stream", State("text", block=1)),
    Keep(1, 2, ("text",)),
)


def test_every_kind_of_edit_has_a_key_of_its_own() -> None:
    """Whatever fields two kinds may have in common."""
    keys = {Job(**BASE, edits=(edit,)).key for edit in EDITS}
    assert len(keys) == len(EDITS)
    for edit in EDITS:
        job = Job(**BASE, edits=(edit,))
        assert job.edits == (edit,)
        assert json.loads(job.canonical())["edits"][0]["kind"] == edit.kind
        for sent in (json.loads(job.canonical()), job.model_dump(), job.model_dump(mode="json")):
            assert Job(**sent).key == job.key
        assert hash(Job(**json.loads(job.canonical())).edits[0]) == hash(edit)


def test_key_is_the_sha256_of_canonical_json() -> None:
    job = Job(**BASE, params={"b": 1.0, "a": [0.5, "é"]}, edits=(Scale(0, 2.0),))
    assert len(job.key) == 64
    assert json.loads(job.canonical())["params"] == {"a": [0.5, "é"], "b": 1}
    assert job.canonical().isascii()


def test_a_job_survives_the_wire() -> None:
    job = Job(**BASE, params={"k": [1, 2]}, edits=(Scale(0, 2.0, positions=(1,)),), prompts=("x",))
    assert Job(**json.loads(job.canonical())).key == job.key


def test_a_job_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Job(**BASE).prompt = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"view": 3}, "'view' should be a valid string, not 3"),
        ({"bogus": 1}, "no field 'bogus'"),
        ({"params": {"k": math.nan}}, "'k' must be a finite number"),
        ({"params": {"k": math.inf}}, "'k' must be a finite number"),
        ({"params": {"k": [math.nan]}}, "'k' must be a finite number"),
        ({"params": {"k": {"a": 1}}}, "'k' must be a number, text"),
        ({"params": {"k": [[1]]}}, "'k' must be a number, text"),
        ({"params": {"k": object()}}, "not object"),
        ({"params": {"k": 10**5000}}, "too large"),
        ({"params": {"k": list(range(100_000))}}, "too many"),
        ({"edits": (Scale("x", 2.0),)}, "edits.0.block"),  # type: ignore[arg-type]
        ({"edits": (Scale(0, math.nan),)}, "edits.0.factor"),
        ({"edits": (Scale(0, 1.0, "bogus"),)}, "edits.0.part"),  # type: ignore[arg-type]
        ({"edits": (print,)}, "edits.0"),
        ({"edits": ({"kind": "melt", "block": 1},)}, "edits.0 must be of the kind scale, replace"),
        ({"edits": ({"kind": "skip", "block": 1, "factor": 2},)}, "edits.0 of the kind skip has"),
        ({"edits": (Skip(0), Noise(0, seed="x"))}, "edits.1.seed must be a whole number, not 'x'"),  # type: ignore[arg-type]
        ({"edits": (Replace(0, "stream", State(3)),)}, "edits.0.source.prompt must be text"),  # type: ignore[arg-type]
        ({"edits": (Keep(0, 1, ("x" * 100_000,)),)}, "too many"),
        ({"edits": (Scale(0, 1.0, head=2),)}, "A single head"),
        ({"prompts": "one"}, "'prompts'"),
    ],
)
def test_what_is_not_a_job_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Job(**{**BASE, **fields})
    assert "\n" not in str(caught.value)


def test_a_job_needs_a_view_and_a_model() -> None:
    with pytest.raises(InputError, match="needs the field 'view'"):
        Job(model="m")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "a.b needs the parameter 'position'"),
        ({"position": 1, "bogus": 2}, "a.b has no parameter 'bogus'"),
        ({"position": "1"}, "a.b: parameter 'position' should be a valid integer, not '1'"),
        ({"position": True}, "'position'"),
        ({"position": 1.5}, "'position'"),
        ({"position": None}, "'position'"),
        ({"position": 1, "factor": "2"}, "'factor'"),
        ({"position": 1, "only": ["x"]}, "'only.0'"),
        ({"position": 1, "mode": "\ud800"}, "not valid Unicode"),
        ({"position": 1, "model": "m"}, "no parameter 'model'"),
        ({"position": 1, "trace": 3}, "no parameter 'trace'"),
    ],
)
def test_params_are_held_against_the_signature(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_params("a.b", view, Job(**BASE, params=params).params)
    assert "\n" not in str(caught.value)


def test_params_come_as_the_view_wants_them() -> None:
    params = Job(**BASE, params={"position": 2.0, "factor": 1, "only": [1, 2]}).params
    checked = check_params("a.b", view, params)
    assert checked == {"position": 2, "factor": 1.0, "only": (1, 2)}
    assert [type(value) for value in checked.values()] == [int, float, tuple]


def test_a_view_of_no_annotations_takes_any_plain_value() -> None:
    def loose(trace, k) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return pd.DataFrame()

    assert check_params("a.b", loose, {"k": "text"}) == {"k": "text"}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_QUEUE_SIZE", "3")
    assert Settings().queue_size == 3


def test_bad_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_QUEUE_SIZE", "many")
    with pytest.raises(InputError, match="queue_size"):
        Settings()
    monkeypatch.delenv("STRATA_QUEUE_SIZE")
    with pytest.raises(InputError, match="backend"):
        Settings(backend="abacus")
