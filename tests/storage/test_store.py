"""Prompts are kept whole, behind ids that nobody guesses, by many threads at once."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from strata.errors import InputError, StrataError
from strata.storage import prompts
from strata.storage.database import Database
from strata.storage.prompts import MAX_CHARACTERS, PromptStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "prompts.sqlite"


def test_text_comes_back_as_it_was(path: Path) -> None:
    store = PromptStore(Database(path))
    for text in (
        "The capital of France is",
        " spaces \n\tkept ",
        "日本語 🦊 e\u0301",
        "a\0b",
        "'; --",
    ):
        assert store.load(store.save(text)) == text
    assert PromptStore(Database(f"sqlite:///{path}")).load(store.save("by URL")) == "by URL"


def test_ids_are_long_and_never_shared(path: Path) -> None:
    store = PromptStore(Database(path))
    first, second = store.save("same"), store.save("same")
    assert first != second
    assert len(first) == len(second) == 22
    assert first.replace("-", "a").replace("_", "a").isalnum()


@pytest.mark.parametrize("id", ["", "unknown", "' OR 1=1 --", "é", "x" * 10_000])
def test_unknown_id_is_no_prompt(path: Path, id: str) -> None:
    store = PromptStore(Database(path))
    store.save("something")
    assert store.load(id) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prompt to keep"),
        (None, "no prompt to keep"),
        ("x" * (MAX_CHARACTERS + 1), r"has 20,001 characters; at most 20,000"),
        ("half \ud83d", "half a character"),
    ],
)
def test_what_cannot_be_kept_is_refused(path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PromptStore(Database(path)).save(text)


def test_longest_text_is_kept(path: Path) -> None:
    store = PromptStore(Database(path))
    assert store.load(store.save("x" * MAX_CHARACTERS)) == "x" * MAX_CHARACTERS


def test_threads_share_a_store(path: Path) -> None:
    store = PromptStore(Database(path))

    def keep(n: int) -> tuple[int, str | None]:
        return n, store.load(store.save(f"prompt {n}"))

    with ThreadPoolExecutor(16) as pool:
        assert all(text == f"prompt {n}" for n, text in pool.map(keep, range(200)))
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM prompts").fetchone() == (200,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def save_many(path: str) -> list[str]:
    store = PromptStore(Database(path))
    return [store.save(f"{n}") for n in range(25)]


def test_processes_start_and_write_at_the_same_time(path: Path) -> None:
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:  # it says when a process is lost
        answers = list(pool.map(save_many, [str(path)] * 3))
    ids = [id for answer in answers for id in answer]
    store = PromptStore(Database(path))
    assert len(set(ids)) == 75
    assert all(store.load(id) is not None for id in ids)


def test_broken_database_is_one_sentence_until_it_is_moved_away(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    store = PromptStore(Database(path))
    for call in (store.load, store.save):
        with pytest.raises(
            StrataError, match=r"cannot be used \(file is not a database\)"
        ) as caught:
            call("x")
        assert "\n" not in str(caught.value)
    path.unlink()
    assert store.load(store.save("again")) == "again"


def test_database_that_breaks_later_is_one_sentence(path: Path) -> None:
    store = PromptStore(Database(path))
    id = store.save("x")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE prompts")
    with pytest.raises(StrataError, match=r"cannot be used \(no such table"):
        store.load(id)


def test_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "prompts.sqlite", tmp_path):
        with pytest.raises(StrataError, match="cannot be used"):
            PromptStore(Database(place)).save("x")


def test_read_only_database_is_one_sentence(path: Path) -> None:
    PromptStore(Database(path)).save("x")
    store = PromptStore(Database(f"sqlite:///file:{path}?mode=ro&uri=true"))
    with pytest.raises(
        StrataError, match=r"cannot be used \(attempt to write a readonly database\)"
    ):
        store.save("y")


def test_password_of_a_url_is_not_shown() -> None:
    with pytest.raises(StrataError) as caught:
        PromptStore(Database("postgresql+absent://me:secret@host/db")).save("x")
    assert "secret" not in str(caught.value)


def test_a_closed_database_opens_again(path: Path) -> None:
    database = Database(path)
    store = PromptStore(database)
    id = store.save("kept")
    database.close()
    database.close()
    assert store.load(id) == "kept"


def created(path: Path) -> str:
    """When the one text that is there was kept, as it is stored."""
    with sqlite3.connect(path) as database:
        [(told,)] = database.execute("SELECT created FROM prompts")
    return str(told)


def test_a_members_same_text_has_one_id_and_their_texts_are_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is typed, in however many tabs."""
    monkeypatch.setattr(prompts, "MOST_OF_A_MEMBER", 3)
    store = PromptStore(Database(path))
    first = store.save("one", "ann", "class")
    before = created(path)
    assert store.save("one", "ann", "class") == first
    assert created(path) > before, "as new as if it were"
    before = created(path)
    assert store.save("one", again=first) == first
    assert created(path) > before
    assert store.owner(first) == "ann"
    other = store.save("another", again=first)
    assert other != first
    assert store.owner(other) == store.owner("unknown") == ""
    assert store.save("one", "eve", "class") != first
    others = [store.save(text, "ann", "class") for text in ("two", "three", "four")]
    assert store.load(first, "class") is None, "the oldest has gone"
    assert [store.load(id, "class") for id in others] == ["two", "three", "four"]
    assert store.load(store.save("one", "eve", "class"), "class") == "one"
