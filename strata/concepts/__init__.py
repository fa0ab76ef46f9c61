"""One folder a concept: pure functions from a trace to a table, and what the rest needs to know.

Each folder's `__init__.py` ends with `CONCEPT`, a `Concept`; the app finds a folder by its
existing here. What concepts share stands beside the folders: the run, the sample, targets,
scripts, views.

Imports the nouns, `display`, `runtime`, `model` and `corpus`; no concept imports another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

View = TypeVar("View", bound=Callable[..., pd.DataFrame])


def apart(view: View) -> View:
    """Mark a view that works long: the engine prepares what it asks for and runs it apart, so that
    the model is free for others meanwhile.

    Of a trace it sees text, tokens and hidden states only. If it asks for `model`, it may run it:
    runs of several threads do not meet.
    """
    view.__dict__["apart"] = True
    return view


def quick(view: View) -> View:
    """Mark a view that reads a table off a run in milliseconds: once the run is there, the engine
    computes it at once, beside what the model is doing for others.

    It may ask for `model`, `trace`, `prompt` and `edits` only, and of the model use what runs no
    block: its sizes, `decode`, `texts`, `normed`, `unembed`, the trace's `check`.
    """
    view.__dict__["quick"] = True
    return view


def unhurried(view: View) -> View:
    """Mark a view that pages ask for only while the model has nothing else to do (a spare job), in
    pieces, of a prompt that was sent: unlike others' of that kind, its answers are kept, and those
    of the examples' prompts for the next start too."""
    view.__dict__["unhurried"] = True
    return view


def follows(state: Callable[[], str]) -> Callable[[View], View]:
    """Mark a view whose table follows from more than its job, such as a file of this machine.
    `state` says in a text what that is now, in well below a millisecond: what is kept of the view
    answers only while it is the same."""

    def mark(view: View) -> View:
        view.__dict__["follows"] = state
        return view

    return mark


def costs(passes: Callable[[int, int, Mapping[str, Any]], float]) -> Callable[[View], View]:
    """Say of a view what it costs beyond the runs that it is given, in token-passes (one token once
    through all blocks): a function of the tokens of its prompts, the blocks and its parameters."""

    def mark(view: View) -> View:
        view.__dict__["costs"] = passes
        return view

    return mark


@dataclass(frozen=True)
class Null:
    """A number of a page that is put beside what chance gives.

    `number` is a function as in `Concept.curves`, `(model, trace, **needed) -> layer, value`, a
    single row where it is no number by layer; one that runs the model again says what that costs
    (`costs`). What else it may need, the page gives: `target_id` and `against_id`, `position`,
    `other` (a second prompt); `left` are the positions of the run that are no attention sinks.
    `kinds` says what it is drawn with, of `strata.concepts.chance.KINDS`. `code` is the body of a
    function `number(hidden, logits, token_ids)` of a program with plain transformers that returns
    the values as a list: `hidden` (L + 1, T, D) is before the final norm; see
    `strata.concepts.chance_script` for what else it may use. `at_token`: it is about the last
    token, and so of the prompt as far as the token that its page is at; else of the whole text.
    """

    number: Callable[..., pd.DataFrame]
    kinds: tuple[str, ...]
    code: str
    at_token: bool = False


@dataclass(frozen=True)
class Concept:
    """What pages, engine and lessons need to know of one concept.

    `views` are the functions that a job may name ("stem.function"); nothing else is callable.
    A view's parameters `model`, `trace`, `traces`, `runs`, `gradients`, `prompt`, `edits`,
    `prompts`, `sample` and `progress` are supplied by the engine, all others come from the job.
    `runs` are pairs of a prompt and its trace, one after the other, in no order and each prompt
    once: of many prompts, of which a view keeps a few numbers each. `measures`
    answer lesson questions: `(frame, **params) -> value`. `script(source, revision, prompt,
    **params)` is a self-contained program with plain transformers that reproduces the numbers on
    the screen. `plain` says in two or three words beside the title what the page is about, `why` in
    a sentence under the question what it is good for, `looks_at` which parts of the model it is
    about, of "text", "tokens", "blocks" and "next".

    `curves` are the numbers by layer that may be compared over a set of prompts, by what an axis
    calls them: `(model, trace, **needed) -> layer, value`, a row a layer at most once (a number of
    a block stands at the layer that it hands on), missing where it is not defined. Of `needed` a
    curve may name `target_id`, the token expected next, and `against_id`, the one expected in the
    other prompt of its pair. One that runs the model says what it costs (`costs`).

    `nulls` are the numbers that the page puts beside what chance gives, by what an axis calls them;
    `chance` says where on the page chance is drawn in another way, and `chance_under` names the tab
    to which the control leads for it.
    """

    title: str
    question: str
    order: int
    views: tuple[Callable[..., pd.DataFrame], ...]
    script: Callable[..., str]
    icon: str = ":material/layers:"
    measures: dict[str, Callable[..., Any]] = field(default_factory=dict)
    plain: str = ""
    looks_at: tuple[str, ...] = ()
    why: str = ""
    curves: Mapping[str, Callable[..., pd.DataFrame]] = field(default_factory=dict)
    nulls: Mapping[str, Null] = field(default_factory=dict)
    chance: str = ""
    chance_under: str = ""
