"""What a job costs, told before it runs, and how much of that a learner of a class may have.

The unit is a token-pass: one token that goes once through all blocks of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from strata.concepts.views import TRACE, View, parameters, supplied
from strata.engine.job import Job
from strata.engine.line import Party
from strata.engine.settings import Settings

_GRADIENT = 3  # passes: forward, and twice as much backward
_SHARES = {1: 10, 2: 5}  # learners' budgets that a class has, and those whom it counts as one
_KNOWN = 2_000  # parties whose use is known, before those that made up for it are forgotten


def token_passes(
    job: Job,
    view: View,
    params: Mapping[str, Any],
    n_tokens: int,
    n_layers: int,
    n_sources: int = 0,
) -> float:
    """About how many token-passes a job takes. `n_tokens`: of its longest prompt; `n_sources`: of
    all prompts and texts that its edits name, which are run once before.

    A run of each prompt, three for gradients, a state sampled as one; and what the view says of
    itself (`strata.concepts.costs`). What is known already, and so costs less, is not told apart.
    """
    needs, n_prompts = supplied(view), len(set(job.prompts))
    passes = n_sources + own_passes(view, params, n_tokens, n_prompts, n_layers)
    if needs & TRACE:
        passes += n_tokens
    if "sample" in needs:
        passes += job.source.n
    return passes


def own_passes(
    view: View, params: Mapping[str, Any], n_tokens: int, n_prompts: int, n_layers: int
) -> float:
    """The same of a view beyond the run of the job's own prompt and the sampled states, which
    others may have asked for before; `n_tokens`: of a prompt."""
    needs = supplied(view)
    runs = n_prompts * bool(needs & {"traces", "runs"}) + _GRADIENT * ("gradients" in needs)
    passes = float(n_tokens * runs)
    more: Callable[..., float] | None = getattr(view, "costs", None)
    if more is not None:
        chosen = {name: default for name, (_, default) in parameters(view).items()} | dict(params)
        passes += more(n_tokens * max(1, n_prompts), n_layers, chosen)
    return passes


class Budget:
    """Token-passes of learners of classes: so many at once, then so many a minute; a class has ten
    times as many, and who has just joined, with others of one address, five times.

    A job may begin as long as there is anything left, so that none is too large for ever.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._burst, self._rate = settings.token_passes, settings.token_passes_per_minute / 60
        self._clock = clock
        self._had: dict[Party, tuple[float, float]] = {}  # token-passes not yet made up for; when

    def wait(self, party: Party) -> tuple[float, bool]:
        """The seconds until a job may begin, 0 if now; and whether it is the class that waits."""
        waits = [
            (self._of(names) / share - self._burst) / self._rate for names, share in _names(party)
        ]
        longest = max(waits, default=0.0)
        return max(0.0, longest), longest == waits[0] if longest > 0 else False

    def take(self, party: Party, passes: float) -> None:
        """A job of so many token-passes begins."""
        now = self._clock()
        if len(self._had) > _KNOWN:
            self._had = {n: had for n, had in self._had.items() if self._of(n) > 0}
        for names, _ in _names(party):
            self._had[names] = self._of(names) + passes, now

    def _of(self, names: Party) -> float:
        had, at = self._had.get(names, (0.0, 0.0))
        rate = self._rate * _SHARES.get(len(names), 1)
        return max(0.0, had - (self._clock() - at) * rate)


def _names(party: Party) -> list[tuple[Party, int]]:
    """Those of a party who have a budget, with how many times a learner's; none outside classes."""
    if len(party) < 2:
        return []
    depths = range(1, len(party) + 1)
    return [(party[:depth], _SHARES.get(depth, 1)) for depth in depths]
