"""Secrets: class codes to be read aloud, resume codes, cookies, and the teacher's password."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata

from strata.errors import InputError

LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is mistaken for another
LONGEST_NAME, SHORTEST_SECRET = 40, 10  # characters
ID = 12  # letters of an id
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


def new_class_code() -> str:
    """Eight letters and digits in two groups, 39 bits: short enough to be read aloud."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(2))


def _letters(typed: str) -> str:
    """What a code is made of; nothing of a text that is longer than one can be, spaces and all."""
    return "".join(c for c in typed.lower() if c.isalnum()) if len(typed) <= 60 else ""


def read_class_code(typed: str) -> str | None:
    """A class code as typed, in its form; None if it cannot be one."""
    letters = _letters(typed)
    if len(letters) != 8 or not set(letters) <= set(LETTERS):
        return None
    return f"{letters[:4]}-{letters[4:]}"


def new_code() -> str:
    """A resume code: 12 letters and digits in three groups, 59 bits, not to be guessed."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


def code_of(form: str) -> str:
    """The resume code that this long random text stands for: the same each time, and not to be told
    by anybody who does not have the text."""
    number, letters = int.from_bytes(hashlib.sha256(form.encode()).digest()), []
    for _ in range(12):
        number, letter = divmod(number, len(LETTERS))
        letters.append(LETTERS[letter])
    return "-".join("".join(letters[i : i + 4]) for i in (0, 4, 8))


def read_code(typed: str) -> str | None:
    """A resume code as typed, in its form; None if it cannot be one."""
    letters = _letters(typed)
    if len(letters) != 12 or not set(letters) <= set(LETTERS):
        return None
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


def new_id() -> str:
    """A name for a class or a member that says nothing: 12 letters and digits."""
    return "".join(secrets.choice(LETTERS) for _ in range(ID))


def fingerprint(secret: str) -> str:
    """What is stored of a long random secret, in whose place it cannot be used."""
    return hashlib.sha256(secret.encode()).hexdigest()


def clean_name(typed: str) -> str:
    """A display name without what is not seen: controls, directions, zero widths, half characters.

    InputError if nothing is left or it is too long.
    """
    composed = unicodedata.normalize("NFC", typed[:1_000])
    seen = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in composed)
    name = " ".join(seen.split())
    if not name or not any(c.isalnum() for c in name):
        raise InputError("Type a name; it needs a letter or a digit.")
    if len(name) > LONGEST_NAME:
        raise InputError(f"A name has at most {LONGEST_NAME} characters; shorten it.")
    return name


def hashed(password: str) -> str:
    """What may be written down of a password: salt and scrypt hash, in hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def is_password(typed: str, kept: str) -> bool:
    """Whether this is the password of which `hashed` gave `kept`; takes as long either way."""
    salt, _, digest = kept.partition("$")
    return hmac.compare_digest(_scrypt(typed[:1_000], bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, **_SCRYPT)
