"""How long the works that take long will take on this machine, told before they begin.

Each kind's work in seconds on a quiet core is a rough formula of its size; how many times as long
it takes here is learnt from the works of that kind that this server has done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strata.concepts.chance import KINDS
from strata.concepts.nulls import passes
from strata.concepts.views import find_view, parameters
from strata.engine.cost import own_passes

_LEAST = 5.0  # seconds: shorter waits need no word before
_LONG, _WORTH_IT = 20.0, 0.5  # seconds from which less is offered, if it takes half of that at most
_ON_A_CORE, _WEIGHT = 1.5, 0.5  # times as long, before the first; of the latest in a running mean
_TOLD_BY_PROGRESS = 0.15  # from here on how far it is says more than what was expected
# Seconds on a core: for a state, epoch and neighbour of UMAP; for two states whose distance is
# taken, once to find neighbours and once to judge the map; for a token of an edited run and a
# parameter of the blocks, of which a run goes through half on average.
_STEP, _DISTANCE, _PARAMETER = 9.5e-8, 4.3e-7, 1.7e-11
_HEAD, _PUSHES = 64, 9  # numbers of a usual head, and how often one is pushed at random
_ENTRY = 2e-8  # seconds on a core: for an entry of a matrix that is drawn at random
_SMALL = 60  # tokens: what a run of few takes besides
_PASSAGE = 300  # tokens: about a hundred, and the way back takes twice as long
_CHARACTERS = 4  # of a token
_READ = 17  # layers at most whose state is read in another text
_TELLING = 0.5  # seconds on a core: of a shorter work most is what each takes, whatever its size
_paces: dict[str, float] = {}


@dataclass(frozen=True)
class Coarser:
    """A view that can be had in less time: with less in it."""

    what: str  # is then drawn, in a few words
    params: Mapping[str, Any]  # of the view, instead of the page's
    chosen: Mapping[str, Any]  # what the page's controls then hold, by key


@dataclass(frozen=True)
class Expected:
    """What one work is expected to take."""

    view: str
    noun: str  # what it is, at the beginning of a sentence, with its verb
    on_a_core: float  # seconds
    coarser: tuple[Coarser, Expected] | None = None  # which would do, and what that takes

    @property
    def seconds(self) -> float:
        return self.on_a_core * _paces.get(self.view, _ON_A_CORE)

    @property
    def sentence(self) -> str:
        """How long it will take; "" where that is not worth a word."""
        return f"{self.noun} about {roughly(self.seconds)} here." if self.seconds >= _LEAST else ""

    @property
    def offer(self) -> tuple[str, Mapping[str, Any]] | None:
        """What could be had instead, with how long that takes, and what the page's controls hold
        then; None where this does not take long or that not much less."""
        if self.coarser is None or self.seconds < _LONG:
            return None
        less, other = self.coarser
        if other.seconds > _WORTH_IT * self.seconds:
            return None
        return f"Coarser: {less.what}, about {roughly(other.seconds)}", less.chosen

    def left(self, elapsed: float, fraction: float) -> str:
        """How long it still takes, to be put behind what is said of its progress."""
        return left(elapsed, fraction, self.seconds)

    def took(self, seconds: float) -> None:
        """It is done; of what should take hardly any time there is nothing to learn."""
        if self.on_a_core < _TELLING:
            return
        pace = seconds / self.on_a_core
        known = _paces.get(self.view, pace)
        _paces[self.view] = known + _WEIGHT * (pace - known)


def expect(
    view: str,
    about: Mapping[str, Any],
    n_tokens: int,
    n_prompts: int,
    params: Mapping[str, Any],
    coarser: Coarser | None = None,
) -> Expected | None:
    """What a page's work of a view is expected to take; None of those that are quick. `about`: the
    model's facts; `n_prompts`: of a view that takes several, each as long as the page's own;
    `coarser`: what would do."""
    defaults = {name: default for name, (_, default) in parameters(find_view(view)).items()}
    params = {**defaults, **params}
    found = _expected(view, about, n_tokens, n_prompts, params)
    if found is None or coarser is None:
        return found
    less = _expected(view, about, n_tokens, n_prompts, {**params, **coarser.params})
    return None if less is None else replace(found, coarser=(coarser, less))


def _expected(
    view: str, about: Mapping[str, Any], n_tokens: int, n_prompts: int, params: Mapping[str, Any]
) -> Expected | None:
    n_layers = int(about["n_layers"])
    if view in ("trajectories.state_map", "trajectories.gradient_map", "trajectories.joint_map"):
        tokens = n_tokens * max(1, n_prompts)
        states = tokens * (1 + math.ceil(n_layers / params.get("stride", 1)))
        steps = states * params["n_epochs"] * params["n_neighbors"] if _drawn(params) else 0
        what = "the gradients of " if "gradient" in view else ""
        noun = f"A map of {what}{_some(tokens, 'token')} takes"
        return Expected(view, noun, steps * _STEP + states**2 * _DISTANCE)
    if view in ("scaling.sweep", "scaling.controls"):
        each = len(params["factors"]) if "factors" in params else 2 + params["n_seeds"]
        runs = n_layers * each
        verb = "takes" if runs == 1 else "take"
        noun = f"{_some(runs, 'edited run')} of {_some(n_tokens, 'token')} {verb}"
        return Expected(view, noun, runs * n_tokens * _parameters(about) * _PARAMETER)
    if view == "heads.changed":
        runs = about["d_model"] / _HEAD + _PUSHES
        block = n_layers // 2 if params["block"] is None else params["block"]  # any: the half way
        passed = 12 * about["d_model"] ** 2 * (n_layers - block)
        noun = f"Changing a head in {_some(n_tokens, 'token')}, and its controls, takes"
        return Expected(view, noun, runs * n_tokens * passed * 2 * _PARAMETER)
    if view == "chance.draws":
        count, kind = params["count"], params["kind"]
        passed = KINDS[kind].runs * (n_tokens + _SMALL) + passes(params, n_tokens, n_layers)
        each = passed * 2 * _PARAMETER + (kind == "random blocks") * _ENTRY
        noun = f"{_some(count, 'draw')} of {kind} {'takes' if count == 1 else 'take'}"
        return Expected(f"{view} {kind}", noun, count * _parameters(about) * each)
    if view in ("jacobian_lens.passage_beam", "jacobian_lens.beside"):
        passages = params["n_passages"]
        verb = "takes" if passages == 1 else "take"
        by = "" if view.endswith("beam") else ", by random blocks too"
        noun = f"{_some(passages, 'passage')}, read forward and back{by}, {verb}"
        # Of the word alone half of the passages are known by the look before; random blocks are
        # read for all of them, and drawn anew three times.
        share = 0.5 if view.endswith("beam") else 2.5
        return Expected(view, noun, share * passages * _PASSAGE * _parameters(about) * _PARAMETER)
    own = own_passes(find_view(view), params, n_tokens, n_prompts, n_layers)
    if not own:
        return None
    noun = f"{_some(n_prompts, 'prompt')} take" if n_prompts > 1 else "This takes"
    own += n_prompts * _SMALL
    if view == "patching.read_elsewhere":  # each token is written in a run of its own
        runs, written = min(n_layers + 1, _READ), int(params["n_tokens"])
        own += runs * written * _SMALL
        noun = f"{_some(runs, 'continuation')} of {_some(written, 'token')} take"
    return Expected(view, noun, own * _parameters(about) * _PARAMETER)


def reading(about: Mapping[str, Any], texts: Sequence[str], until: int, read: int = 0) -> Expected:
    """What it is expected to take to read so many of some texts, of which so many are read."""
    count = min(until or len(texts), len(texts)) - read
    tokens = sum(map(len, texts)) * count / max(1, len(texts)) / _CHARACTERS
    noun = f"Reading {_some(count, 'passage')} takes"
    return Expected("corpus.about", noun, tokens * _parameters(about) * _PARAMETER)


def about_how_long(prompts: Sequence[str]) -> int:
    """About how many tokens one of some prompts has."""
    return max(1, sum(map(len, prompts)) // (_CHARACTERS * max(1, len(prompts))))


def _parameters(about: Mapping[str, Any]) -> float:
    """Of all blocks."""
    return float(12 * about["d_model"] ** 2 * about["n_layers"])


def left(elapsed: float, fraction: float, expected: float = 0.0) -> str:
    """How long a work still takes after so many seconds, by how far it is, or, at its beginning, by
    what was expected; to be put behind what is said of its progress."""
    seconds = expected - elapsed
    if fraction > _TOLD_BY_PROGRESS:
        seconds = elapsed * (1 - fraction) / fraction
    return f", about {roughly(seconds)} left" if seconds >= _LEAST else ""


def roughly(seconds: float) -> str:
    """A time in words, no more exact than it is known."""
    if seconds < 90:
        step = 5 if seconds < 20 else 10
        return f"{max(step, step * round(seconds / step))} seconds"
    return f"{max(2, round(seconds / 60))} minutes"


def _drawn(params: Mapping[str, Any]) -> bool:
    return params["method"] == "umap"


def _some(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
