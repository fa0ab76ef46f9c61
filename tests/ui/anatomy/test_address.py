"""What a page's address keeps, and when it is told."""

from __future__ import annotations

from typing import Any

import pytest

from strata.ui.anatomy import address


class Told(dict[str, str]):
    """An address that notes each change it is told, as a message to the browser."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.messages = 0

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        self.messages += 1


def test_an_address_is_told_of_changes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told({"positions": "4"})
    monkeypatch.setattr(address.st, "query_params", told)
    address.remember("positions", "4")
    address.remember("pins", None)
    assert (told, told.messages) == ({"positions": "4"}, 0)
    address.remember("positions", "4-5")
    assert (told, told.messages) == ({"positions": "4-5"}, 1)
    address.remember("positions", None)
    assert told == {}


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "1234567890", "1e3", " 7"])
def test_what_is_no_whole_number_is_none(text: str) -> None:
    assert address.whole_number(text) is None


def test_a_whole_number_is_read() -> None:
    assert address.whole_number("007") == 7


@pytest.mark.parametrize(
    ("asked", "older"),
    [
        ({}, False),
        ({"prompt": "x", "k": "5"}, False),  # counts no positions
        ({"prompt": "x", "at": "1"}, True),
        ({"span": "1-3"}, True),
        ({"tokens": "9.4"}, True),
        ({"positions": "2000"}, False),  # how many states the Gaussian baseline samples
        ({"follow": "all"}, False),
        ({"at": "١"}, False),
        ({"at": "1", "split": address.SPLIT}, False),
        ({"at": "1", "split": "none"}, True),
    ],
)
def test_a_link_of_an_older_split_is_known_by_its_positions(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], older: bool
) -> None:
    monkeypatch.setattr(address.st, "query_params", asked)
    monkeypatch.setattr(address.st, "session_state", {})
    assert address.of_older_tokens("Its prompt", 5) is older
    asked["split"] = address.SPLIT  # which the page writes then
    assert address.of_older_tokens("Its prompt", 5) is older
    assert not address.of_older_tokens("Another prompt", 5)


def test_the_positions_of_a_second_prompt_are_known_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"at": "7", "second": "own", "at_second": "2"}
    monkeypatch.setattr(address.st, "query_params", asked)
    monkeypatch.setattr(address.st, "session_state", {})
    assert not address.of_older_tokens("Its prompt", 5)  # which has no position 7
    asked["split"] = address.SPLIT
    assert address.of_older_tokens("Its second", 5, "_second")
    assert not address.of_older_tokens("Another second", 5, "_second")
    assert address.of_older_tokens("Its second", 5, "_second")
    assert not address.of_older_tokens("Its second", 5)
