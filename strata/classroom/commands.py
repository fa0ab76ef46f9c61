"""`python -m strata class ...`: the teacher's secret, backup and restore, a class as a file.

What needs the database is imported late: other commands do not wait for it.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from strata.classroom.codes import SHORTEST_SECRET, hashed
from strata.errors import InputError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `class` to the commands."""
    group = commands.add_parser(
        "class",
        help="the teacher's secret, backups, a class as a file",
        description="What a server that holds classes stores is where STRATA_DATABASE_URL says, "
        "else in a file under STRATA_STATE or STRATA_HOME; docs/hosting.md tells more.",
    )
    what = group.add_subparsers(required=True, metavar="WHAT")
    secret = what.add_parser("secret", help="print the hash of a secret, for STRATA_TEACHER_HASH")
    secret.set_defaults(run=_secret)
    backup = what.add_parser("backup", help="write all that is stored to a file")
    backup.add_argument("file", metavar="FILE", type=Path)
    backup.set_defaults(run=_backup)
    restore = what.add_parser("restore", help="read a backup into an empty database")
    restore.add_argument("file", metavar="FILE", type=Path)
    restore.set_defaults(run=_restore)
    export = what.add_parser("export", help="print all that is kept of one class, as JSON")
    export.add_argument("code", metavar="CODE", help="the class code")
    export.set_defaults(run=_export)


def _secret(chosen: argparse.Namespace) -> int:
    typed = getpass.getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(typed) < SHORTEST_SECRET:
        raise InputError(f"A secret has at least {SHORTEST_SECRET} characters.")
    print(hashed(typed))
    return 0


def _backup(chosen: argparse.Namespace) -> int:
    from strata.classroom.backup import save
    from strata.storage.database import Database, place

    print(f"{save(Database(place()), chosen.file):,} rows are in {chosen.file}")
    return 0


def _restore(chosen: argparse.Namespace) -> int:
    from strata.classroom.backup import load
    from strata.storage.database import Database, place

    print(f"{load(Database(place()), chosen.file):,} rows are restored")
    return 0


def _export(chosen: argparse.Namespace) -> int:
    from strata.classroom.backup import kept_of
    from strata.classroom.roster import Roster
    from strata.display.files import as_json
    from strata.storage.database import Database, place

    database = Database(place())
    roster = Roster(database)
    group = roster.by_code(chosen.code)
    ids = [member.id for member in roster.members(group.id)]
    print(as_json({"class": group.name, **kept_of(database, ids)}).decode())
    return 0
