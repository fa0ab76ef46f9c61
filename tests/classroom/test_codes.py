"""Secrets are long, forgiving where they are typed, and not to be tried without end."""

from __future__ import annotations

import pytest

from strata.classroom.codes import (
    LETTERS,
    clean_name,
    fingerprint,
    hashed,
    is_password,
    new_class_code,
    new_code,
    read_class_code,
    read_code,
)
from strata.errors import InputError


@pytest.mark.parametrize(
    ("new", "read"), [(new_code, read_code), (new_class_code, read_class_code)]
)
def test_codes_are_never_the_same_and_forgiving(new, read) -> None:  # type: ignore[no-untyped-def]
    codes = {new() for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        assert set(code) <= set(LETTERS) | {"-"}
        assert read(code) == code
        assert read(f"  {code.replace('-', ' ').upper()} ") == code
        assert read(code + " " * 10_000 + "and more") is None
    for typed in ("", "abc", "local", "'; drop table", "x" * 13, "oooo-oooo-0000", "oooo-0000"):
        assert read(typed) is None


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Ann", "Ann"),
        ("  Bob \t the\u00a0\u200bbuilder ", "Bob the builder"),
        ("e\u0301va", "\u00e9va"),
        ("\u202eevil\u2066 1", "evil 1"),
        ("日本 🦊", "日本 🦊"),
        ("<b>x</b>", "<b>x</b>"),
        ("a\0b\ud83d", "a b"),
    ],
)
def test_names_hold_only_what_is_seen(typed: str, name: str) -> None:
    assert clean_name(typed) == name


@pytest.mark.parametrize("typed", ["", "  ", "\u200b\u202e", "...", "x" * 41, "y" * 10_000_000])
def test_what_is_no_name_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="name"):
        clean_name(typed)


def test_a_password_is_known_by_its_hash_alone() -> None:
    kept = hashed("correct horse")
    assert "horse" not in kept
    assert kept != hashed("correct horse"), "salted"
    assert is_password("correct horse", kept)
    for typed in ("", "correct horse ", "Correct horse", "x" * 100_000, "\ud83d\0"):
        assert not is_password(typed, kept)
    assert fingerprint("a") != fingerprint("b")
