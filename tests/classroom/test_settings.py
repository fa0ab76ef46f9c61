"""A class needs a teacher with a good secret, of which only the hash is kept."""

from __future__ import annotations

import os

import pytest

from strata.classroom import class_mode
from strata.classroom.codes import hashed, is_password
from strata.classroom.settings import teacher_hash
from strata.errors import StrataError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRATA_MODE", "STRATA_TEACHER_SECRET", "STRATA_TEACHER_HASH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_secret_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not class_mode()
    monkeypatch.setenv("STRATA_MODE", "class")
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    assert class_mode()
    assert is_password("correct horse", teacher_hash())
    assert "STRATA_TEACHER_SECRET" not in os.environ


def test_a_hash_stands_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = hashed("correct horse")
    monkeypatch.setenv("STRATA_TEACHER_HASH", kept)
    assert teacher_hash() == kept


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STRATA_TEACHER_SECRET", "short", "at least 10 characters"),
        ("STRATA_TEACHER_SECRET", "", "A class needs a teacher"),
        ("STRATA_TEACHER_HASH", "correct horse", "is not what"),
        ("STRATA_TEACHER_HASH", "a$b", "is not what"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StrataError, match=message):
        teacher_hash()


def test_a_slip_in_the_mode_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("Class", "school", "1"):
        monkeypatch.setenv("STRATA_MODE", mode)
        with pytest.raises(StrataError, match="STRATA_MODE is open or class"):
            class_mode()
    for mode in ("", "open"):
        monkeypatch.setenv("STRATA_MODE", mode)
        assert not class_mode()
