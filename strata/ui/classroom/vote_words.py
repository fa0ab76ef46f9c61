"""What a teacher sees of a vote that is in nobody else's view: who has not voted yet, what can be
answered, and the words that were given, to be hidden before they go on the wall."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from strata.classroom.asked import LETTERS
from strata.classroom.codes import fingerprint
from strata.classroom.votes import Ballots, Vote, Votes, words
from strata.errors import StrataError
from strata.lessons.report import quoted

_NAMED = 40  # of who has not voted yet
_WORDS = 80  # that can be hidden one by one


def not_yet(vote: Vote, cast: Ballots, names: Mapping[str, str]) -> None:
    """Who of those with these names has not voted in the round that is open."""
    late = [name for member, name in names.items() if member not in cast[vote.round]]
    if late:
        more = [f"and {len(late) - _NAMED} more"] if len(late) > _NAMED else []
        with st.container(key="not_yet"):
            st.text(f"Not yet: {', '.join([*late[:_NAMED], *more])}")


def question(vote: Vote) -> None:
    """What is asked, about what, and what can be answered."""
    st.text(vote.asked.question.ask)
    if vote.asked.prompt:
        st.text(f"About the prompt “{vote.asked.prompt}”")
    options = zip(LETTERS, vote.asked.question.options, strict=False)
    if said := [f"{letter}   {option.text}" for letter, option in options]:
        with st.container(key="vote_options", gap=None):
            for each in said:
                st.text(each)


def hide_words(votes: Votes, vote: Vote, cast: Ballots) -> None:
    """Every word that was given, the commonest first: one that is pressed is not shown to the
    class, until it is pressed again. A button each, which says what it does to which word: the page
    is drawn anew with each ballot, and of one list of what is chosen a browser could send an old
    one back, which would show a hidden word again."""
    counts = words(vote, cast)
    if not counts:
        return

    def press(word: str, hidden: bool) -> None:
        try:
            votes.hide(vote.id, word, hidden)
        except StrataError as error:
            st.toast(str(error))

    with st.container(key="words_of_vote"):
        st.caption("Their words: press one to hide it from the class")
        with st.container(horizontal=True, gap="small"):
            for word, count in list(counts.items())[:_WORDS]:
                is_hidden = (named := fingerprint(word)) in vote.hidden
                label, key = _label(word, count, is_hidden), f"word_{vote.id}_{named}"
                st.button(label, key=key, on_click=press, args=(word, not is_hidden))
        if len(counts) > _WORDS:
            st.caption(
                f"The {_WORDS} commonest of {len(counts)} words; ten are shown to the class."
            )


def _label(word: str, count: int, is_hidden: bool) -> str:
    """A word as a button says it, of which Markdown draws nothing."""
    said = quoted(word)
    return f"~~{said}~~ {count}, hidden" if is_hidden else f"{said} {count}"
