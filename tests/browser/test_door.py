"""In a browser: who joins while the database is away waits, and types nothing again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from strata.classroom.codes import hashed
from strata.classroom.roster import Roster
from strata.storage.database import AwayError, Database
from strata.ui.server import door
from tests.browser.server import free_port
from tests.ui.server.test_door import SECRET, app


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a door with nothing behind it, in this very process."""
    database = Database(tmp_path / "strata.sqlite")
    monkeypatch.setattr(door, "reception", door.Reception(Roster(database), hashed(SECRET)))
    settings = uvicorn.Config(app(), port=free_port(), log_level="critical", lifespan="off")
    server = uvicorn.Server(settings)
    running = Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    running.start()
    yield f"http://127.0.0.1:{settings.port}"
    server.should_exit = True
    running.join(10)
    database.close()


def test_who_joins_while_the_database_is_away_is_let_in_by_the_page(
    served: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.reception
    roster = door.reception.roster
    group, there, join = roster.create("3b"), Event(), roster.join

    def joined(*given: Any) -> Any:
        if not there.is_set():
            raise AwayError("The database is away.")
        return join(*given)

    monkeypatch.setattr(roster, "join", joined)
    page.goto(f"{served}/join?code={group.code}&next=/scaling")
    page.get_by_label("Your name").fill('Ann "A"')
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("heading")).to_have_text("Wait a moment")
    expect(page.get_by_text('You typed the name Ann "A".')).to_be_visible()
    expect(page.get_by_text("Tried 2 times.")).to_be_visible()
    there.set()
    expect(page.get_by_role("heading")).to_have_text("You are in")
    assert roster.resume(page.locator("#resume").inner_text()).name == 'Ann "A"'
    page.get_by_role("link", name="Begin").click()
    expect(page.get_by_text("a page")).to_be_visible()
    assert page.url == f"{served}/scaling"
    assert len(roster.members(group.id)) == 1
