"""What all pages and all learners share: one engine, one store of prompts, one warm-up."""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from strata.classroom import class_mode
from strata.classroom.roster import LIMITS, Class, Member
from strata.engine import Job, Limits, LocalEngine, Settings, open_engine
from strata.errors import CancelledError, StrataError
from strata.model.device import free_memory
from strata.runtime import memory
from strata.ui.server import tabs, turns
from strata.ui.server.readiness import readiness
from strata.weights.catalogue import ModelCard, catalogue

_COLLECT_EVERY = 10  # seconds
_TRIM, _COLLECT_ALL = 6, 60  # of so many collections, one also does this
_TRY_AGAIN_AFTER = 30  # seconds
_NEW = timedelta(minutes=5)  # for which a member has just joined
_COUNTED_WITHIN = 5.0  # seconds that a prompt to be kept waits for its tokens to be counted
_ASKED_WITHIN = 60.0  # seconds within which its page asks for the same

_log = logging.getLogger("strata")
_lock = threading.Lock()
_limits: dict[str, Limits] = {}  # by member: as many as the roster has


@cache
def _engine() -> LocalEngine:
    chosen = Settings()
    usual = {"summaries": True} | ({"model_process": True} if class_mode() else {})
    update = {name: on for name, on in usual.items() if name not in chosen.model_fields_set}
    return open_engine(chosen.model_copy(update=update), _limits.get)


def engine() -> LocalEngine:
    """The one engine of this server."""
    with _lock:  # `cache` alone would let two first callers each open one
        return _engine()


@cache
def models() -> dict[str, ModelCard]:
    """The catalogue, in the order of models.toml; the first is the default."""
    return catalogue()


def limit(member: Member, group: Class, address: str) -> None:
    """From now on the engine holds this member's jobs to what the class allows.

    Classes take turns, and members of a class; but who has just joined counts as one with all of
    the class who have just joined from the same address, since names cost nothing: at the model,
    and where pages take turns.
    """
    joined = member.joined if member.joined.tzinfo else member.joined.replace(tzinfo=UTC)
    new = datetime.now(UTC) - joined < _NEW
    of_class = _limits_of_class(group.model, tuple(sorted(group.limits.items())))
    party = (group.id, f"new at {address}" if new else member.id, member.id)
    _limits[member.id] = replace(of_class, party=party)
    mine = tabs.named(member.id)
    turns.count_as_one(mine, " ".join(party[:2]) if new else mine)


@lru_cache(maxsize=1_000)
def _limits_of_class(model: str, numbers: tuple[tuple[str, int], ...]) -> Limits:
    own: dict[str, Any] = {name: value for name, value in numbers if name in LIMITS and value}
    only = frozenset({model}) if model in models() else None
    return Limits(only, burst=own.get("per_minute"), **own)


def accept(prompt: str, model: str, learner: str) -> None:
    """InputError for a prompt that a model ("": the default one) which is ready refuses to run for
    this learner, for its length say; BusyError for more than the learner may ask for now.

    What it runs for that, the prompt's tokens, is what the page asks for next, and finds there, or
    in the place that it has in the queue.
    """
    here = engine()
    here.limits(learner).check_characters(len(prompt))
    model = model or next(iter(models()))
    if here.status(model).state != "ready":
        return
    job = Job(view="run.tokens", model=model, prompt=prompt)
    with turns.let_others(), suppress(CancelledError, TimeoutError):  # the model has much to do
        here.submit(job, learner, _ASKED_WITHIN).result(_COUNTED_WITHIN)


def warm_up() -> None:
    """Load the default model, answer one prompt, then keep the garbage collector out of the way.

    Everything made until then lives as long as the server, so it is frozen: collections no longer
    visit it. Later garbage is collected here, not after each rerun of each learner's page.
    """
    while True:
        try:
            model = next(iter(models()))
            _tell_the_terminal(model)
            for view in ("predictions.surprisal", "hidden_states.summary", "run.check"):
                engine().run(Job(view=view, model=model, prompt="The capital of France is"))
            break
        except CancelledError:  # the server is stopping
            return
        except StrataError as error:
            readiness.reason = str(error)
            _log.error("%s", error)
            time.sleep(_TRY_AGAIN_AFTER)
            free_memory()
    gc.collect()
    gc.freeze()
    readiness.ready, readiness.reason = True, "ready"
    # Which model this is, by which what an earlier start has summarised is found: half a second.
    engine().knows(Job(view="corpus.about", model=model))
    for number in itertools.count(1):
        time.sleep(_COLLECT_EVERY)
        if number % _COLLECT_ALL == 0:
            free_memory()
        else:
            gc.collect(1)
            if number % _TRIM == 0:
                memory.trim()


def _tell_the_terminal(model: str) -> None:
    """Print how the default model is getting on until it is ready or has failed."""
    engine().ensure(model)
    told = ""
    while (status := engine().status(model)).state == "loading":
        if status.message != told:
            told = status.message
            print(f"  Strata: {told}", flush=True)
        time.sleep(0.05)
    if status.state == "ready":
        print(f"  Strata: {models()[model].title} is ready", flush=True)
