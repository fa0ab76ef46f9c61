"""Backups move between databases of both kinds; what is printed is what is stored."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from strata.__main__ import main
from strata.classroom.backup import kept_of, load, save
from strata.classroom.codes import is_password
from strata.classroom.roster import Roster
from strata.errors import InputError
from strata.lessons.progress import Progress
from strata.storage.database import Database
from tests.classroom.test_roster import fill, rows
from tests.databases import KINDS, new_place
from tests.lessons.test_progress import GUESS


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_brings_everything_back_in_either_kind(
    database: Database, kind: str, tmp_path: Path
) -> None:
    roster = Roster(database)
    group = roster.create("3b")
    ids = [fill(database, group, name) for name in ("Ann", "Bob 日本")]
    roster.change(group.id, joining=False)
    file = tmp_path / "backup.gz"
    assert save(database, file) == sum(rows(database).values())
    with new_place(kind, tmp_path / "other") as place:
        other = Database(place)
        assert load(other, file) == sum(rows(database).values())
        assert rows(other) == rows(database)
        assert kept_of(other, ids) == kept_of(database, ids)
        assert Roster(other).classes() == roster.classes()
        Progress(other).commit(ids[0], "second", GUESS)  # new rows find free numbers
        with pytest.raises(InputError, match="empty database"):
            load(other, file)
        other.close()
    with pytest.raises(InputError, match="cannot be written"):
        save(database, file)


def test_a_backup_of_an_older_strata_has_fewer_columns(database: Database, tmp_path: Path) -> None:
    roster = Roster(database)
    group = roster.create("3b")
    file, older = tmp_path / "new.gz", tmp_path / "old.gz"
    save(database, file)
    rows = gzip.decompress(file.read_bytes()).decode().splitlines()
    named, cells = json.loads(rows[1])
    cells = {name: cell for name, cell in cells.items() if name not in ("joining", "revision")}
    older.write_bytes(gzip.compress("\n".join([rows[0], json.dumps([named, cells])]).encode()))
    roster.remove(group.id)
    assert load(database, older) == 1
    assert roster.classes() == [group]


WRONG = {
    "empty": b"",
    "not packed": b"not packed",
    "no heading": gzip.compress(b"{}\n"),
    "no cells": gzip.compress(b'{"strata": 1}\n["events"]\n'),
    "unknown table": gzip.compress(b'{"strata": 1}\n["later", {"id": 1}]\n'),
    "unknown column": gzip.compress(b'{"strata": 1}\n["classes", {"later": 1}]\n'),
    "cut off": gzip.compress(b'{"strata": 1}\n["classes", {"id": "a"}]\n')[:-9],
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_is_no_backup_leaves_nothing(
    database: Database, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "wrong.gz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"not a backup|later Strata"):
        load(database, file)
    with pytest.raises(InputError, match="not a backup"):
        load(database, tmp_path / "absent.gz")
    assert not any(rows(database).values())


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, file = tmp_path / "a.sqlite", tmp_path / "b.sqlite", str(tmp_path / "file.gz")
    monkeypatch.setenv("STRATA_DATABASE_URL", str(first))
    group = Roster(Database(first)).create("3b")
    fill(Database(first), group, "Ann")
    assert main(["class", "export", group.code]) == 0
    assert json.loads(capsys.readouterr().out)["events"][0]["lesson"] == "first"
    assert main(["class", "export", "aaaa-aaaa"]) == 2
    assert "No class has this code" in capsys.readouterr().err
    assert main(["class", "backup", file]) == 0
    assert main(["class", "backup", file]) == 2
    monkeypatch.setenv("STRATA_DATABASE_URL", str(second))
    assert main(["class", "restore", file]) == 0
    assert Roster(Database(second)).classes() == [group]
    assert main(["class", "restore", file]) == 2
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert main(["class", "secret"]) == 0
    assert is_password("correct horse", capsys.readouterr().out.strip())
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["class", "secret"]) == 2
