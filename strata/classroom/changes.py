"""What becomes of a class later: a learner has another name, the class is held once more."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import update

from strata.classroom.codes import clean_name
from strata.classroom.roster import Class, Roster
from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.tables import ClassRow, MemberRow


def rename(database: Database, member_id: str, name: str) -> None:
    """Give a learner another name, everywhere: what they did is kept under their pseudonym.

    InputError for a name that is none, and a learner who is not there (any more). The class's
    revision grows, so that every server looks up anew who is in it.
    """
    name = clean_name(name)
    with database.session(write=True) as session:
        row = session.get(MemberRow, member_id)
        if row is None:
            raise InputError("This learner is not there any more.")
        row.name = json.dumps(name)
        of_it = update(ClassRow).where(ClassRow.id == row.class_id)
        session.execute(of_it.values(revision=ClassRow.revision + 1))


def duplicate(database: Database, class_id: str, name: str) -> Class:
    """A new class with lessons, model and limits of this one, kept for as long, under a code of its
    own; nobody is in it, and it has no hours. InputError for a name that is none, and a class that
    is not there (any more)."""
    with database.session() as session:
        row = session.get(ClassRow, class_id)
        if row is None:
            raise InputError("This class is not there any more.")
        same = {"lessons": json.loads(row.lessons), "model": row.model}
        same["limits"] = json.loads(row.limits)
        if row.expires is not None:
            same["expires"] = datetime.now(UTC) + (row.expires - row.created)
    return Roster(database).create(name, **same)
