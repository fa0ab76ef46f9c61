"""The owner of a model: captures, and answers all but what is quick or apart, one at a time."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import pandas as pd
import torch
from pandas.api.types import is_object_dtype

from strata.concepts.views import is_quick, is_unhurried, supplied, works_apart
from strata.engine.apart import Apart
from strata.engine.cache import ByteCache
from strata.engine.line import Line, Work, is_one_of_many
from strata.engine.supply import Stores, Supply, lightened, samples_texts
from strata.errors import CancelledError, ModelError, NotEnoughMemory, StrataError
from strata.model.device import free_memory, step_back
from strata.runtime.stepping_aside import between_steps

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

_QUIET = 2.0  # seconds without a question before texts are read ahead

T = TypeVar("T")
Progress = Callable[[float, str], None]
Load = Callable[[str, Progress], "Model"]


@dataclass(frozen=True)
class Status:
    """How far a model is. `reason` says why it failed."""

    state: Literal["absent", "loading", "ready", "failed"]
    fraction: float = 0.0
    message: str = ""
    reason: str = ""


class Answer(NamedTuple):
    """A table, and how many tokens the longest prompt behind it has."""

    frame: pd.DataFrame
    n_tokens: int


class House(Stores, Protocol):
    """What an owner needs of the engine around it."""

    load: Load
    results: ByteCache[str, Answer]
    apart: Apart  # for views that work long

    def remember(self, work: Work, frame: pd.DataFrame) -> None:
        """Keep a work's answer for who asks for the same."""

    def make_room(self, owner: Owner) -> bool:
        """Evict an idle model; False if there is none."""

    def moved_in(self, owner: Owner, facts: dict[str, Any]) -> None:
        """The model is ready."""

    def gave_up(self, owner: Owner, error: StrataError) -> None:
        """The model could not be loaded; nobody may join this owner's line any more."""


class Owner:
    """Loads one model in a thread of its own and answers its line until told to leave."""

    def __init__(self, name: str, house: House) -> None:
        self.name, self.house, self.desk = name, house, house.desk
        self.line = Line(house.desk.lock)
        self.status = Status("loading", 0.0, self.line.message)
        self.settled = Event()  # loaded, failed or closed
        self.leaving = False
        self.work: Work | None = None  # the latest, running until its state says done
        self.last_used = self.desk.clock()
        self.supply: Supply | None = None  # once the model is there
        self.thread = Thread(target=self._live, name=f"strata-{name}", daemon=True)

    @property
    def idle(self) -> bool:
        """Whether the model could be evicted. Expects the desk's lock to be held."""
        busy = self.work is not None and self.work.state != "done"
        return self.status.state == "ready" and not (busy or self.line.works)

    def leave(self) -> None:
        """End the thread after what it is doing now. Expects the desk's lock to be held."""
        self.leaving = True
        self.line.changed.notify_all()

    def end_runs(self) -> None:
        """End the process that runs the model, if it has one; a run of it fails. In any thread."""
        supply = self.supply
        if supply is not None:
            supply.close()

    def _live(self) -> None:
        if not self._runs_beside:
            step_back()
        try:
            if self._load():
                assert self.supply is not None
                while (work := self._next()) is not None:
                    self._serve(work)
        except BaseException:  # a bug of the engine itself: still nobody may wait for ever
            log.exception("the thread of %s ended", self.name)
            error = ModelError(f"{self.name} stopped unexpectedly; the reason has been logged.")
            self.house.gave_up(self, error)
            if self.work is not None:
                self.desk.finish(self.work, None, error)
        finally:
            self.end_runs()
            self.supply = None
            self.settled.set()

    @property
    def _runs_beside(self) -> bool:
        """Whether the model's runs are for a process beside this one, which leaves this thread
        little to do: it need not step back, but for what takes long all the same."""
        return self.desk.settings.model_process

    def _long(self, do: Callable[..., T], *args: Any) -> T:
        """Do what takes long, and let pages go first."""
        if not self._runs_beside:
            return do(*args)
        return _elsewhere(f"{self.thread.name}-long", _behind, do, *args)

    # -- loading ------------------------------------------------------------------------------

    def _load(self) -> bool:
        error = self._long(self._try)
        while isinstance(error, NotEnoughMemory) and self.house.make_room(self):
            error = self._long(self._try)
        if error is not None:
            self.house.gave_up(self, error)
            return False
        assert self.supply is not None
        try:
            facts = describe(self.supply.model)
        except Exception as broken:
            log.exception("model %s cannot be described", self.name)
            self.house.gave_up(self, ModelError(f"{self.name} could not be read: {broken}"))
            return False
        with self.desk.lock:
            self.line.message = ""
            self.status = Status("ready", 1.0)
            self.last_used = self.desk.clock()
        self.house.moved_in(self, facts)
        self.settled.set()
        return True

    def _try(self) -> StrataError | None:
        try:
            model = self.house.load(self.name, self._loading)
            self.supply = Supply(self.name, model, self.house, self.line)
            return None
        except StrataError as error:
            return bare(error)
        except BaseException as error:
            if is_out_of_memory(error):
                return NotEnoughMemory(f"There is not enough free memory to load {self.name}.")
            log.exception("loading %s failed", self.name)
            return ModelError(f"{self.name} could not be loaded; the reason has been logged.")

    def _loading(self, fraction: float, message: str) -> None:
        with self.desk.lock:
            if self.leaving:
                raise CancelledError("Strata is shutting down.")
            self.line.fraction, self.line.message = float(fraction), str(message) or "Loading"
            self.status = Status("loading", self.line.fraction, self.line.message)

    # -- answering ----------------------------------------------------------------------------

    def _next(self) -> Work | None:
        """The next work of the line; while nobody waits, what is asked next is measured ahead, and
        once it is quiet texts are read that pages will compare with."""
        assert self.supply is not None
        self.supply.runs_beside()  # where the process was lost, another is started
        with self.desk.lock:
            self.last_used = self.desk.clock()
        while True:
            with self.desk.lock:
                if self.leaving:
                    return None
                self.work = self.desk.take(self.line)
                if self.work is not None:
                    return self.work
                ahead = bool(self.supply.ahead)
                quiet = self.desk.clock() - self.last_used >= _QUIET and not self._is_asked()
                if not self.supply.unproved and not (ahead and quiet):
                    self.line.changed.wait(_QUIET if ahead else None)
                    continue
            if self.supply.unproved:
                self._long(self.supply.prove)
            else:
                self._long(self.supply.read_ahead, self._stops_reading)

    def _is_asked(self) -> bool:
        """Whether anything of this model waits or runs. Expects the desk's lock to be held."""
        return self.leaving or any(work.line is self.line for work in self.desk.works.values())

    def _stops_reading(self) -> bool:
        with self.desk.lock:
            return self._is_asked()

    def _serve(self, work: Work) -> None:
        assert self.supply is not None
        if self.supply.runs_beside() and is_quick(work.view):
            self._answer(work)
        else:
            self._long(self._answer, work)

    def _answer(self, work: Work) -> None:
        """Compute the view here, or apart where it takes long."""
        assert self.supply is not None
        with between_steps(partial(self._let_another, work)):
            given = self._attempt(work, partial(self.supply.given, work))
            if given is None:
                return
            if works_apart(work.view):
                self.house.apart.go_on(work, partial(self.complete, work, lightened(given)))
            else:
                self.complete(work, given)

    def _let_another(self, work: Work) -> None:
        """Between two steps of a work, answer one that may pass it, if one waits. A single one: a
        class's prompts would else keep a sweep waiting for ever."""
        with self.desk.lock:
            began = self.desk.clock()
            passing = partial(may_pass, work)
            short = None if self.leaving else self.desk.take(self.line, passing)
        if short is None:
            return
        # In another thread, since a run that is under way hears all runs of its own, and a replay's
        # has no gradients.
        try:
            _elsewhere(f"{self.thread.name}-between", self._serve, short)
        except BaseException:  # no thread to be had: nobody may wait for it for ever
            log.exception("%s could not be answered meanwhile", short.job.view)
            self.desk.finish(short, None, StrataError("Strata is overloaded; ask again."))
        with self.desk.lock:
            self.line.running = work
            work.began += self.desk.clock() - began

    def at_hand(self, work: Work) -> dict[str, Any] | None:
        """What a quick view needs, if all of it is there; None if the work must take its turn."""
        supply = self.supply
        return supply.at_hand(work) if supply is not None and is_quick(work.view) else None

    def complete(self, work: Work, given: dict[str, Any]) -> None:
        """Compute the view from what it is given, and tell all who wait. In any thread."""
        frame = self._attempt(work, partial(self._compute, work, given))
        if frame is not None:
            if not work.spare or is_unhurried(work.view):
                self.house.remember(work, frame)
            self.desk.finish(work, frame)

    def _attempt(self, work: Work, compute: Callable[[], T]) -> T | None:
        """What `compute` returns; None if it failed, which all who wait have then been told."""
        error, exhausted = None, False
        try:
            return compute()
        except StrataError as raised:
            error = bare(raised)
        except KeyboardInterrupt:  # of a notebook, in whose thread a quick view is made
            raise
        except BaseException as raised:
            exhausted = is_out_of_memory(raised)
            if exhausted:
                of_texts = samples_texts(work.job, work.view)
                less = "fewer token positions" if of_texts else "a shorter prompt"
                error = ModelError(
                    f"{self.name} ran out of memory on this; try {less} or a smaller model."
                )
            else:
                log.exception("%s failed", work.job.view)
                error = StrataError(
                    "Something went wrong inside Strata while computing "
                    f"{work.job.view}; it has been logged."
                )
        if exhausted:  # only here is the traceback, and what it holds, gone
            with self.desk.lock:
                for held in [work, *self.line.works]:
                    held.trace = None
            self.house.results.drop()
            self.house.traces.drop()
            self.house.samples.drop()
            if self.supply is not None:
                self.supply.model.forget_sources()
            free_memory()
        self.desk.finish(work, None, error)
        return None

    def _compute(self, work: Work, given: dict[str, Any]) -> pd.DataFrame:
        if work.stopped:
            raise CancelledError("The job was cancelled.")
        frame = work.view(**given, **work.arguments)
        check_frame(work.job.view, frame)
        return frame


def _elsewhere(name: str, do: Callable[..., T], *args: Any) -> T:
    """Do it in a thread of its own, and wait for that."""
    done = Future[T]()

    def work() -> None:
        try:
            done.set_result(do(*args))
        except BaseException as error:
            done.set_exception(error)

    thread = Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join()
    return done.result()


def _behind(do: Callable[..., T], *args: Any) -> T:
    step_back()
    return do(*args)


def is_short(work: Work) -> bool:
    """Whether the model has little to do for a work: a run of its prompt at most."""
    needs = supplied(work.view)
    long = "progress" in needs and not works_apart(work.view)
    return not (long or needs & {"sample", "traces", "runs"} or work.spare)


def may_pass(work: Work, other: Work) -> bool:
    """Whether another work may go first between two steps of one: a short one if this is long; and
    if this is short, of who counts as one with others, a short one of who does not. Else a class
    whose works are all alike would be served in the order in which it came, backwards."""
    if not is_short(other) or other.rides:
        return False
    return not is_short(work) or is_one_of_many(work.party) > is_one_of_many(other.party)


def describe(model: Model) -> dict[str, Any]:
    """Plain facts about a model, for pages."""
    card, check = model.card, model.check
    return {
        "id": card.id,
        "title": card.title,
        "licence": card.licence,
        "parameters": card.parameters,
        "family": model.family,
        "blocks": model.blocks_path,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "d_vocab": model.d_vocab,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "prompt_limit": model.prompt_limit,
        "n_bytes": model.n_bytes,
        "lens_error": check.lens_error,
        "lens_ok": check.lens_ok,
        "write_error": check.write_error,
        "write_ok": check.write_ok,
        "read_back_error": check.read_back_error,
        "read_back_ok": check.read_back_ok,
        "reason": check.reason,
        "reader": model.reader,
        "switched_off": tuple(model.switched_off.values()),
    }


def check_frame(view: str, frame: object) -> None:
    """A view's answer is a table of plain values: a list in a cell would be shared by learners."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{view} returned {type(frame).__name__}, not a DataFrame")
    for name, cells in frame.items():
        if is_object_dtype(cells) and any(cell.__hash__ is None for cell in cells):
            raise TypeError(f"{view} returned a column {name!r} of values that can be changed")


def bare(error: StrataError) -> StrataError:
    """The error without its traceback, whose frames would keep tensors alive."""
    return copy.copy(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine ran out of memory, in any of the ways torch says so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said
    )
