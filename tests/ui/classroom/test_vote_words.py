"""Words of a vote that a teacher hides before they go on the wall."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from streamlit.testing.v1 import AppTest

from strata.classroom.asked import Asked
from strata.classroom.codes import fingerprint
from strata.classroom.votes import Vote
from strata.lessons import Question

WORD = Asked(question=Question(kind="token", ask="Which word?", answer="rome"), answer="rome")
CAST = {1: {"ann": "rome", "bob": "rude *word*", "cid": "rome"}, 2: {}}


class Kept:
    """One vote, of which words are hidden."""

    def __init__(self) -> None:
        self.vote = Vote("v", "c", WORD, "talk", False, datetime.now(UTC))

    def hide(self, vote_id: str, word: str, hidden: bool = True) -> None:
        now = self.vote.hidden - {fingerprint(word)}
        self.vote = replace(self.vote, hidden=now | ({fingerprint(word)} if hidden else set()))


def page(kept: object, cast: object) -> None:  # run by itself, without imports above
    from strata.ui.classroom.vote_words import hide_words

    hide_words(kept, kept.vote, cast)


def test_a_word_is_hidden_until_it_is_pressed_again() -> None:
    kept = Kept()
    app = AppTest.from_function(page, args=(kept, CAST)).run()
    assert not app.exception
    rome, rude = app.button
    assert "rome" in rome.label
    rude.click().run()
    assert kept.vote.hidden == {fingerprint("rude *word*")}
    assert app.button[1].label.endswith(", hidden")
    app.run()  # as another ballot has it drawn anew
    assert kept.vote.hidden == {fingerprint("rude *word*")}
    app.button[1].click().run()
    assert kept.vote.hidden == frozenset()
