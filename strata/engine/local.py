"""The engine of one process: a thread for each model, one desk, three caches."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.concepts import views
from strata.corpus import Reading, Sample
from strata.edits import source_prompts
from strata.engine import summaries
from strata.engine.apart import Apart
from strata.engine.cache import ByteCache, kept_bytes
from strata.engine.desk import Desk, Future
from strata.engine.job import Job, check_params
from strata.engine.limits import Limits
from strata.engine.line import Work
from strata.engine.owner import Answer, Load, Owner, Progress, Status
from strata.engine.settings import Settings
from strata.engine.supply import SampleKey, TraceKey, samples_texts
from strata.errors import CancelledError, InputError, StrataError
from strata.model.device import free_memory
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

_QUICK = 2  # views at a time that only read off a run: each may hold all logits of a prompt anew


def load(name: str, progress: Progress) -> Model:
    """Load a model the usual way; imported late, since transformers is slow to import."""
    from strata.model import load_model

    return load_model(name, progress=progress)


def listed() -> Collection[str]:
    """The ids of the catalogue."""
    from strata.weights.catalogue import catalogue

    return catalogue().keys()


class LocalEngine:
    """Runs jobs in this process. Safe to share between threads; close it when done.

    `limits_of` tells the limits of a learner, None where only the settings hold. It is asked for
    each job, so it must not wait for anything. `load`, `find_view`, `listed` and `clock` can be
    replaced, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits_of: Callable[[str], Limits | None] = lambda learner: None,
        load: Load = load,
        find_view: Callable[[str], views.View] = views.find_view,
        listed: Callable[[], Collection[str]] = listed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.load, self.clock = settings, load, clock
        self._limits_of, self._find_view, self._listed = limits_of, find_view, listed
        self.desk = Desk(settings, clock)
        self.traces: ByteCache[TraceKey, Trace] = ByteCache(
            settings.trace_cache_bytes, lambda trace: trace.n_bytes
        )
        self.samples: ByteCache[SampleKey, Sample | Reading] = ByteCache(
            settings.sample_cache_bytes, lambda sample: sample.n_bytes
        )
        self.results: ByteCache[str, Answer] = ByteCache(
            settings.result_cache_bytes, lambda answer: kept_bytes(answer.frame)
        )
        self.apart = Apart(self.desk)
        self._reading = BoundedSemaphore(_QUICK)
        self._owners: dict[str, Owner] = {}
        self._failures: dict[str, tuple[StrataError, float]] = {}  # error, when to try again
        self._facts: dict[str, dict[str, Any]] = {}
        self._closed = False

    # -- jobs ---------------------------------------------------------------------------------

    def run(
        self, job: Job, learner: str | None = None, deadline: float | None = None
    ) -> pd.DataFrame:
        """The job's table, waited for. Errors are StrataErrors, see `submit`."""
        return self.submit(job, learner, deadline).result()

    def submit(
        self,
        job: Job,
        learner: str | None = None,
        deadline: float | None = None,
        *,
        spare: bool = False,
    ) -> Future:
        """Queue a job and return at once; an answer that is known is there already, and one that
        is only read off a run that is there (a view marked `quick`) is made here, by the caller.

        `learner`: whose limits count (None: the settings' only). `deadline`: seconds from now.
        `spare`: only if the model has nothing else to do. It ends with a CancelledError as soon as
        anything else is asked of the model, and nothing of it is kept, but for the answer of a
        view that is marked `unhurried`. Raises InputError for a job
        that cannot be run or goes beyond the learner's limits, BusyError when there is no place
        (for a spare one: while the model works), ModelError while a failed load is remembered.
        """
        limits = self.limits(learner)
        view, arguments = self._checked(job, limits)
        key = _key(job, view)
        self._recall(job, view)
        with self.desk.lock:
            self._refuse_if_closed()
            answer = self.results.get(key)
            if answer is not None:
                limits.check_tokens(answer.n_tokens)
                self.desk.replace(learner, job.view)
                future = Future(self.desk, None, learner, job.view, None, limits)
                future.settle(answer.frame, None)
                return future
            owner = self._owner(job.model)
            work = Work(job, key, view, arguments, owner.line, spare=spare)
            given = owner.at_hand(work)
            limits.check_tokens(work.n_tokens or 0)
            future = self.desk.admit(work, learner, deadline, limits, at_once=given is not None)
            mine = given if future.work is work else None
        if mine is not None:  # not by another thread: two switches cost more than it
            try:
                with self._reading:
                    owner.complete(work, mine)
            except KeyboardInterrupt:
                self.desk.finish(work, None, CancelledError("The job was interrupted."))
                raise
        return future

    def keep(self, model: str, prompt: str) -> None:
        """Somebody looks at this prompt: its run is the last to make way for others. Answers that
        are kept elsewhere do not say so, and the next question of it would have to run it again."""
        self.traces.get((model, prompt, ()))

    def knows(self, job: Job) -> bool:
        """Whether a job's answer is there, so that nobody need wait for it."""
        view = self._find_view(job.view)
        self._recall(job, view)
        return _key(job, view) in self.results

    def _recall(self, job: Job, view: views.View) -> None:
        """Find the job's answer among what an earlier start has kept, once its model is there."""
        if not (self.settings.summaries and summaries.is_everybodys(job, view)):
            return
        with self.desk.lock:
            owner = None if _key(job, view) in self.results else self._owners.get(job.model)
            supply = owner.supply if owner is not None else None
        if supply is not None:
            frame = summaries.recall(job, supply.model)
            if frame is not None:
                self.results.put(_key(job, view), Answer(frame, 0))

    def ahead(self, job: Job) -> None:
        """Have the texts that a job compares with read while nobody asks anything of its model, if
        that is loaded and `Settings.read_ahead`: whoever asks for the job finds them, or as much as
        was read. InputError for a job that cannot be run."""
        self._checked(job, self.limits(None))
        with self.desk.lock:
            owner = self._owners.get(job.model)
            if self.settings.read_ahead and owner is not None and owner.supply is not None:
                owner.supply.want_ahead(job)
                owner.line.changed.notify_all()

    def limits(self, learner: str | None) -> Limits:
        """What this learner may ask for: the stricter of their own limits and the settings."""
        if learner is None:
            most = self.settings.prompt_characters, self.settings.prompt_tokens
            return Limits(prompt_characters=most[0], prompt_tokens=most[1])
        own = self._limits_of(learner) or Limits()
        return replace(own, party=own.party or (learner,)).within(self.settings)

    def _checked(self, job: Job, limits: Limits) -> tuple[views.View, dict[str, Any]]:
        self._refuse_if_unlisted(job.model)
        limits.check_model(job.model)
        view = self._find_view(job.view)
        prompts = [job.prompt, *job.prompts]
        sources = source_prompts(job.edits)
        if job.sample is not None:
            _ = job.source  # refuses what cannot be sampled
        if samples_texts(job, view):
            prompts = [job.prompt]
            n, most = sum(map(len, job.prompts)), self.settings.sample_characters
            if n > most:
                raise InputError(
                    f"The text has {n:,} characters and the limit is {most:,}; shorten it."
                )
        limits.check_characters(max(map(len, [*prompts, *sources])))
        most = self.settings.prompts
        if "runs" in views.supplied(view):
            most = self.settings.set_prompts
            of_set = Limits(prompt_characters=self.settings.prompt_characters)
            of_set.check_characters(sum(map(len, job.prompts)), "set")
        for n, noun in ((len(job.prompts), "prompts"), (len(sources), "prompts in its edits")):
            if n > most:
                raise InputError(f"The job has {n} {noun} and the limit is {most}.")
        return view, check_params(job.view, view, job.params)

    # -- models -------------------------------------------------------------------------------

    def ensure(self, model: str, learner: str | None = None) -> None:
        """Start loading a model, if it is not loaded, without waiting for it.

        Raises InputError if this learner may not use it, ModelError while a failed load is
        remembered.
        """
        self._refuse_if_unlisted(model)
        self.limits(learner).check_model(model)
        with self.desk.lock:
            self._refuse_if_closed()
            self._owner(model)

    def status(self, model: str) -> Status:
        """How far a model is; never waits."""
        with self.desk.lock:
            owner = self._owners.get(model)
            if owner is not None:
                return owner.status
            if model in self._failures:
                return Status("failed", reason=str(self._failure(model)))
            return Status("absent")

    def describe(self, model: str, timeout: float | None = None) -> dict[str, Any]:
        """Plain facts about a model: sizes, device, dtype, family, its check, its prompt limit.

        Waits for the model the first time. Raises ModelError, or TimeoutError.
        """
        self._refuse_if_unlisted(model)
        if model not in self._facts:
            with self.desk.lock:
                self._refuse_if_closed()
                owner = self._owner(model)
            if not owner.settled.wait(timeout):
                raise TimeoutError(f"{model} was not ready within {timeout} seconds")
        with self.desk.lock:
            if model in self._facts:
                return dict(self._facts[model])
            self._refuse_if_closed()
            raise self._failure(model)

    # -- what owners ask for ------------------------------------------------------------------

    def remember(self, work: Work, frame: pd.DataFrame) -> None:
        """Keep a work's answer for who asks for the same; of texts that are nobody's own, for the
        next start as well."""
        self.results.put(work.key, Answer(frame, work.n_tokens or 0))
        owner = self._owners.get(work.job.model)
        supply = owner.supply if owner is not None and self.settings.summaries else None
        if supply is not None and summaries.is_everybodys(work.job, work.view):
            summaries.keep(work.job, supply.model, frame)

    def make_room(self, owner: Owner) -> bool:
        """Evict the idle model that was used longest ago; False if there is none."""
        with self.desk.lock:
            idle = [other for other in self._owners.values() if other.idle and other is not owner]
            if not idle:
                return False
            evicted = min(idle, key=lambda other: other.last_used)
            del self._owners[evicted.name]
            evicted.leave()
        log.info("evicting %s to make room for %s", evicted.name, owner.name)
        evicted.thread.join()
        self.traces.drop(lambda key: key[0] == evicted.name)  # they refer to their model
        self.samples.drop(lambda key: key[0] == evicted.name)
        free_memory()
        return True

    def moved_in(self, owner: Owner, facts: dict[str, Any]) -> None:
        """The owner's model is ready."""
        with self.desk.lock:
            self._facts[owner.name] = facts
            self._failures.pop(owner.name, None)

    def gave_up(self, owner: Owner, error: StrataError) -> None:
        """The owner's model could not be loaded: remember it, tell all who wait."""
        with self.desk.lock:
            if self._owners.get(owner.name) is owner:
                del self._owners[owner.name]
            if not self._closed:
                self._failures[owner.name] = error, self.clock() + self.settings.retry_seconds
                error = self._failure(owner.name)
            waiting = list(owner.line.works)
        for work in waiting:
            self.desk.finish(work, None, error)

    # -- ending -------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop: who waits gets CancelledError, threads end, models and caches are dropped."""
        with self.desk.lock:
            self._closed = True
            owners = list(self._owners.values())
            for work in list(self.desk.works.values()):
                for future in list(work.waiters):
                    self.desk.detach(future, _closing())
            for owner in owners:
                owner.leave()
            self.apart.leave()
        for owner in owners:
            owner.end_runs()
            owner.thread.join(timeout=5)
        self._owners.clear()
        self.traces.drop()
        self.samples.drop()
        self.results.drop()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- inside: the last three expect the desk's lock to be held -------------------------------

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self._listed())

    def _refuse_if_unlisted(self, model: str) -> None:
        if not self.settings.any_model and model not in self._ids:
            raise InputError(
                f"{model!r} is not in the catalogue; choose one of {', '.join(sorted(self._ids))}."
            )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise _closing()

    def _owner(self, model: str) -> Owner:
        owner = self._owners.get(model)
        if owner is None:
            if model in self._failures and self.clock() < self._failures[model][1]:
                raise self._failure(model)
            owner = self._owners[model] = Owner(model, self)
            owner.thread.start()
        return owner

    def _failure(self, model: str) -> StrataError:
        """The remembered error, saying when the model will be tried again."""
        error, again = self._failures[model]
        seconds = math.ceil(again - self.clock())
        when = f"again in {seconds} seconds" if seconds > 0 else "again now"
        told = copy.copy(error)
        told.args = (f"{str(error).rstrip('.')}; asking {when} makes another try.",)
        return told


def _key(job: Job, view: views.View) -> str:
    """Of a job's answer as it is now."""
    return job.key + views.followed(view)


def _closing() -> CancelledError:
    return CancelledError("Strata is shutting down.")
