"""The hypotheses that a learner wrote about the half of a set that was held out.

All of a set are counted together, whatever they are about: each was one more chance to be right by
luck, so each p-value is multiplied by their number (Bonferroni), those of earlier ones as well when
they are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from strata.concepts.evidence.compared import ALL
from strata.ui.figures.sets import SetPage

Claim = TypeVar("Claim", bound=Hashable)
SEEN = "You look at all of it, so nothing is left to test an idea on."
_SEEN_BEFORE = (
    "You have looked at all of this set before, this half too: what is tested on it now is no test "
    "of an idea that came from there."
)


@dataclass(frozen=True)
class Ledger:
    """What was written about one set, by one model, in this session."""

    written: list[tuple[Hashable, Any]]  # (what it is about, the hypothesis), the latest last

    @property
    def number(self) -> int:
        """How many different ones."""
        return len(self.written)

    def latest(self, about: Hashable) -> Any:
        """The last one about it; None: none yet."""
        return next((claim for of, claim in reversed(self.written) if of == about), None)

    def add(self, about: Hashable, claim: Hashable) -> None:
        """Write one down; one that is there already is the latest again, and counts once."""
        if (about, claim) in self.written:
            self.written.remove((about, claim))
        self.written.append((about, claim))


def ledger(
    page: SetPage, about: Hashable, name: str, linked: Callable[[str], Claim | None]
) -> Ledger:
    """That of the page's set; at first with what the address says under this name."""
    state = st.session_state
    known: dict[Any, Ledger] = state.setdefault("hypotheses", {})
    found = known.setdefault((page.model, page.chosen), Ledger([]))
    if not state.get(f"{name}_linked"):
        state[f"{name}_linked"] = True
        claim = linked(st.query_params.get(name, ""))
        if claim is not None:
            found.add(about, claim)
    return found


def all_seen(page: SetPage, half: str) -> bool:
    """Whether nothing is held out, since the whole set is on the screen, and says so; says as well
    where it was before."""
    seen: set[Any] = st.session_state.setdefault("seen_whole", set())
    which = (page.model, page.chosen)
    if half == ALL:
        seen.add(which)
        st.caption(SEEN)
    elif which in seen:
        st.caption(_SEEN_BEFORE)
    return half == ALL
