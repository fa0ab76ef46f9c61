"""The hypotheses that a learner wrote about the half of a set that was held out.

All of a set and a model are counted together, whatever they are about: each was one more chance to
be right by luck, so each p-value is multiplied by their number (Bonferroni), those of earlier ones
as well when they are looked at again. The address has a mark of each, and of having seen the whole
set, so a reload and whoever gets the link go on counting; of a member of a class they are kept as
well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from strata.concepts.evidence.compared import ALL
from strata.errors import StrataError
from strata.ui.anatomy.address import led_back, remember
from strata.ui.figures.sets import SetPage
from strata.ui.server.learner import member_id, progress

Claim = TypeVar("Claim", bound=Hashable)
SEEN = "You look at all of it, so nothing is left to test an idea on."
_SEEN_BEFORE = (
    "All of this set was looked at before, this half too: what is tested on it now is no test of "
    "an idea that came from there."
)
_ADDRESS = "tried"
_WHOLE = "seen"  # the mark of having looked at all of it
_LATE = "late"  # before the mark of a hypothesis on numbers that were seen before
_ONE = rf"{_WHOLE}|(?:{_LATE})?[0-9a-f]{{8}}"
_MARKS = re.compile(rf"(?:{_ONE})(?:\.(?:{_ONE})){{0,199}}")


@dataclass
class Ledger:
    """What was written about one set, by one model: in this session, `written`, and a mark of each
    hypothesis that is known, also of those that came with the link or are kept of the learner."""

    written: list[tuple[Hashable, Any]] = field(default_factory=list)  # (about, it), latest last
    marks: set[str] = field(default_factory=set)

    @property
    def number(self) -> int:
        """How many different hypotheses."""
        return len({mark.removeprefix(_LATE) for mark in self.marks - {_WHOLE}})

    def latest(self, about: Hashable) -> Any:
        """The last one about it that is known by more than its mark; None: none yet."""
        return next((claim for of, claim in reversed(self.written) if of == about), None)

    def knows(self, about: Hashable, claim: Hashable) -> bool:
        """Whether this one was written, here or where the marks come from."""
        return bool({_mark(about, claim), _LATE + _mark(about, claim)} & self.marks)

    def is_late(self, about: Hashable, claim: Hashable) -> bool:
        """Whether it was written when the numbers that it is about had been seen."""
        return _LATE + _mark(about, claim) in self.marks

    def add(self, about: Hashable, claim: Hashable, *, seen: bool = False) -> None:
        """Write one down; one that is there already is the latest again, and counts once. `seen`:
        the numbers that it is about were on the screen before."""
        if (about, claim) in self.written:
            self.written.remove((about, claim))
        self.written.append((about, claim))
        if not self.knows(about, claim):
            self.marks.add(_LATE * seen + _mark(about, claim))


def _mark(about: Hashable, claim: Hashable) -> str:
    return hashlib.sha256(repr((about, claim)).encode()).hexdigest()[:8]


def ledger(
    page: SetPage, about: Hashable, name: str, linked: Callable[[str], Claim | None]
) -> Ledger:
    """That of the page's set, with what the address says: the marks, and under this name the latest
    hypothesis `about`. Where all of the set is on the screen, that is marked too."""
    state = st.session_state
    known: dict[Any, Ledger] = state.setdefault("hypotheses", {})
    found = known.setdefault((page.model, page.chosen), Ledger())
    if _is_linked(_ADDRESS) and _MARKS.fullmatch(asked := st.query_params.get(_ADDRESS, "")):
        found.marks |= set(asked.split("."))
    if _is_linked(name) and (claim := linked(st.query_params.get(name, ""))) is not None:
        found.add(about, claim)
    if page.half == ALL:
        found.marks.add(_WHOLE)
    keep(page, found)
    return found


def keep(page: SetPage, found: Ledger) -> None:
    """Put the marks into the address, and keep those of a member of a class with the member."""
    if who := member_id():
        rows = repr(page.chosen.rows)
        of = hashlib.sha256(f"{page.model}\n{rows}".encode()).hexdigest()[:32]
        with suppress(StrataError):  # the database is away: the address still has them
            before = progress().marks(who, of)
            if found.marks - before:
                progress().mark(who, of, *sorted(found.marks - before))
            found.marks |= before
    remember(_ADDRESS, ".".join(sorted(found.marks)) or None)


def _is_linked(name: str) -> bool:
    """Whether the address says something under this name that the session has not taken yet."""
    first = f"{name}_linked" not in st.session_state
    st.session_state[f"{name}_linked"] = True
    return first or led_back()


def all_seen(page: SetPage, found: Ledger) -> bool:
    """Whether nothing is held out, since the whole set is on the screen, and says so; says as well
    where it was before."""
    if page.half == ALL:
        st.caption(SEEN)
    elif _WHOLE in found.marks:
        st.caption(_SEEN_BEFORE)
    return page.half == ALL
