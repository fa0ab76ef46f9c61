"""How long the server takes for an interaction that only changes the view, on real servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle

from bench.measure import Row, Sample
from bench.visitor import Visitor
from tests.browser.server import serve

_QUERY = "example=long"  # the longest of the curated prompts
_TABS = ("One token", "All tokens", "Outlier dimensions", "Final norm", "What came out")
_BOUND = 0.150  # seconds
_WARM = 3
_SELDOM = 5  # of so many rounds the alternative, which takes seconds, gets one

Act = Callable[[Visitor], float]  # one interaction; its seconds


def views(name: str, quick: bool) -> Iterator[Row]:
    """Ours beside the same pages with the engine's caches off, in turns, each on its own server.

    The time is from sending the change to the last message of the finished page, over a real
    websocket, so it holds the server's work and the local connection, not a browser's drawing.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rounds = 5 if quick else 40
    off = {"STRATA_RESULT_CACHE_BYTES": "0", "STRATA_TRACE_CACHE_BYTES": "0"}
    with ExitStack() as stack:
        addresses = [stack.enter_context(serve()), stack.enter_context(serve(environment=off))]
        yield _compared("position slider, predictions", addresses, "predictions", _slide, rounds)
        yield _compared(
            "position slider, hidden_states", addresses, "hidden_states", _slide, rounds
        )
        yield _compared("another tab, hidden_states", addresses, "hidden_states", _tabs, rounds)


def _slide() -> Act:
    """The slider of positions, one token on at each call, so most positions are seen first."""
    position = 0

    def act(visitor: Visitor) -> float:
        nonlocal position
        position = (position + 1) % (visitor.last + 1)
        return visitor.slide("at", position)

    return act


def _tabs() -> Act:
    tabs = cycle(_TABS[1:] + _TABS[:1])
    return lambda visitor: visitor.choose("view", next(tabs))


def _compared(
    name: str, addresses: list[str], page: str, interaction: Callable[[], Act], rounds: int
) -> Row:
    taken: list[list[float]] = [[] for _ in addresses]
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(url, page, _QUERY)) for url in addresses]
        acts = [interaction() for _ in visitors]
        for turn in range(_WARM + rounds):
            for visitor, act, seconds in zip(visitors, acts, taken, strict=True):
                if seconds is not taken[0] and turn % _SELDOM:
                    continue
                passed = act(visitor)
                if turn >= _WARM:
                    seconds.append(passed)
    ours, plain = (Sample(tuple(seconds)) for seconds in taken)
    return Row(name, ours, plain, "without caches", p95_at_most=_BOUND)
