"""Prompts behind short ids, so that a link need not carry a learner's text."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import DateTime, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from strata.database import Database
from strata.errors import InputError

MAX_CHARACTERS = 20_000


class _Base(DeclarativeBase):
    pass


class _Prompt(_Base):
    __tablename__ = "prompts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PromptStore:
    """Texts by secret id: whoever has the id (in a link) can read the text, nobody else finds it.

    `url_or_path` is an SQLAlchemy URL or the path of an SQLite file. Safe to share between
    threads and processes. Raises StrataError if the database cannot be used.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        self._database = Database(url_or_path, _Base.metadata, "prompts")

    def save(self, text: str) -> str:
        """Keep a text; the answer is its new id, 22 random characters.

        Two saves never share an id, so an id tells nothing about who else saved the same text.
        Raises InputError for what is not a text, is empty, or is over 20,000 characters.
        """
        if not isinstance(text, str) or not text:
            raise InputError("There is no prompt to keep; type one first.")
        if len(text) > MAX_CHARACTERS:
            raise InputError(
                f"This prompt has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be kept."
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError("This prompt holds half a character, which cannot be kept; retype it.")
        prompt = _Prompt(id=secrets.token_urlsafe(16), text=text, created=datetime.now(UTC))
        identifier = prompt.id
        with self._database.session() as session:
            session.add(prompt)
        return identifier

    def load(self, id: str) -> str | None:
        """The text behind an id, or None if there is none."""
        if not isinstance(id, str) or not id or not id.isascii():
            return None
        with self._database.session() as session:
            return session.scalar(select(_Prompt.text).where(_Prompt.id == id))

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        self._database.close()
