"""Prompts behind short ids, so that a link need not carry a learner's text."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime

from sqlalchemy import delete, select

from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.tables import PromptRow

MAX_CHARACTERS = 20_000
MOST_OF_A_MEMBER = 500


class PromptStore:
    """Texts by secret id: whoever has the id (in a link) can read the text, nobody else finds it.

    Safe to share between threads and processes. Raises StrataError if the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, text: str, owner: str = "", class_id: str = "", again: str = "") -> str:
        """Keep a text, of a member of a class if there is one; the answer is its id, 22 random
        characters. `again`: the id of a text that this may be once more, whosever it is.

        Two members never share an id, so an id tells nothing about who else saved the same text. A
        member's same text has the id that it had, in whatever browser, and is as new as if it had
        not been there before; of more than `MOST_OF_A_MEMBER` texts the oldest goes. Raises
        InputError for what is not a text, is empty, or is over 20,000 characters.
        """
        if not isinstance(text, str) or not text:
            raise InputError("There is no prompt to keep; type one first.")
        if len(text) > MAX_CHARACTERS:
            raise InputError(
                f"This prompt has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be kept."
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError("This prompt holds half a character, which cannot be kept; retype it.")
        identifier, kept = secrets.token_urlsafe(16), json.dumps(text)
        with self._database.session(write=True) as session:
            known = session.get(PromptRow, again) if again else None
            if known is not None and known.text == kept:
                known.created = datetime.now(UTC)
                return known.id
            if owner:
                own = (PromptRow.owner == owner, PromptRow.class_id == class_id)
                same = session.scalar(select(PromptRow).where(*own, PromptRow.text == kept))
                if same is not None:
                    same.created = datetime.now(UTC)
                    return same.id
                newest = select(PromptRow.id).where(*own).order_by(PromptRow.created.desc())
                for old in session.scalars(newest.offset(MOST_OF_A_MEMBER - 1)).all():
                    session.execute(delete(PromptRow).where(PromptRow.id == old))
            session.add(
                PromptRow(
                    id=identifier,
                    owner=owner,
                    class_id=class_id,
                    text=kept,
                    created=datetime.now(UTC),
                )
            )
        return identifier

    def load(self, id: str, class_id: str | None = "") -> str | None:
        """The text behind an id, or None if there is none in this class; None: in any class."""
        if not isinstance(id, str) or not re.fullmatch(r"[\w-]{1,32}", id, re.ASCII):
            return None
        with self._database.session() as session:
            wanted = select(PromptRow.text).where(PromptRow.id == id)
            if class_id is not None:
                wanted = wanted.where(PromptRow.class_id == class_id)
            found = session.scalar(wanted)
        return None if found is None else str(json.loads(found))

    def owner(self, id: str) -> str:
        """The member whose text this is; "" if it is nobody's, or is not there."""
        with self._database.session() as session:
            return session.scalar(select(PromptRow.owner).where(PromptRow.id == id)) or ""
