"""The one thread that owns a model: it alone touches tokenizer, network and hooks."""

from __future__ import annotations

import copy
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd
import torch
from pandas.api.types import is_object_dtype

from strata import corpus
from strata.corpus import Sample
from strata.engine.cache import ByteCache
from strata.engine.desk import Desk, Line, Work
from strata.errors import CancelledError, InputError, ModelError, NotEnoughMemory, StrataError
from strata.trace import Scale, Trace
from strata.views import TRACE, supplied

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

Progress = Callable[[float, str], None]
Load = Callable[[str, Progress], "Model"]
TraceKey = tuple[str, str, tuple[Scale, ...]]  # model, prompt, edits
SampleKey = tuple[str, corpus.Source, tuple[str, ...]]  # model, what to sample, own texts

_PADDING = 1.5  # a batch may hold at most this many times its own tokens, padding included


@dataclass(frozen=True)
class Status:
    """How far a model is. `reason` says why it failed."""

    state: Literal["absent", "loading", "ready", "failed"]
    fraction: float = 0.0
    message: str = ""
    reason: str = ""


class House(Protocol):
    """What an owner needs of the engine around it."""

    desk: Desk
    load: Load
    traces: ByteCache[TraceKey, Trace]
    samples: ByteCache[SampleKey, Sample]
    results: ByteCache[str, pd.DataFrame]

    def make_room(self, owner: Owner) -> bool:
        """Evict an idle model; False if there is none."""

    def moved_in(self, owner: Owner, facts: dict[str, Any]) -> None:
        """The model is ready."""

    def gave_up(self, owner: Owner, error: StrataError) -> None:
        """The model could not be loaded; nobody may join this owner's line any more."""


class Owner:
    """Loads one model in its own thread and answers its line until told to leave."""

    def __init__(self, name: str, house: House) -> None:
        self.name, self.house, self.desk = name, house, house.desk
        self.line = Line(house.desk.lock)
        self.status = Status("loading", 0.0, self.line.message)
        self.settled = Event()  # loaded, failed or closed
        self.leaving = False
        self.work: Work | None = None  # the latest, running until its state says done
        self.last_used = self.desk.clock()
        self.model: Model | None = None
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

    def _live(self) -> None:
        try:
            if self._load():
                while (work := self._next()) is not None:
                    self._answer(work)
        except BaseException:  # a bug of the engine itself: still nobody may wait for ever
            log.exception("the thread of %s ended", self.name)
            error = ModelError(f"{self.name} stopped unexpectedly; the reason has been logged.")
            self.house.gave_up(self, error)
            if self.work is not None:
                self.desk.finish(self.work, None, error)
        finally:
            self.model = None
            self.settled.set()

    # -- loading ------------------------------------------------------------------------------

    def _load(self) -> bool:
        error = self._try()
        while isinstance(error, NotEnoughMemory) and self.house.make_room(self):
            error = self._try()
        if error is not None:
            self.house.gave_up(self, error)
            return False
        assert self.model is not None
        try:
            facts = describe(self.model)
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
            self.model = self.house.load(self.name, self._loading)
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
        with self.desk.lock:
            self.last_used = self.desk.clock()
            while not self.leaving:
                self.work = self.desk.take(self.line)
                if self.work is not None:
                    return self.work
                self.line.changed.wait()
        return None

    def _answer(self, work: Work) -> None:
        frame, error, exhausted = None, None, False
        try:
            frame = self._compute(work)
            self.house.results.put(work.key, frame)
        except StrataError as raised:
            error = bare(raised)
        except BaseException as raised:
            exhausted = is_out_of_memory(raised)
            if exhausted:
                error = ModelError(
                    f"{self.name} ran out of memory on this; try a shorter prompt or a smaller "
                    "model."
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
            free_memory()
        self.desk.finish(work, frame, error)

    def _compute(self, work: Work) -> pd.DataFrame:
        job, names, model = work.job, supplied(work.view), self.model
        assert model is not None
        given: dict[str, Any] = {
            "model": model,
            "prompt": job.prompt,
            "edits": job.edits,
            "prompts": job.prompts,
            "progress": partial(self.desk.note, work),
        }
        if names & TRACE:
            given |= dict.fromkeys(TRACE, self._trace(work))
        if "traces" in names:
            given["traces"] = self._traces(work)
        if "sample" in names:
            given["sample"] = self._sample(work)
        if work.stopped:
            raise CancelledError("The job was cancelled.")
        frame = work.view(**{name: given[name] for name in names}, **work.arguments)
        check_frame(work.job.view, frame)
        return frame

    # -- samples and traces -------------------------------------------------------------------

    def _sample(self, work: Work) -> Sample:
        """The states that the job asks for, captured once for all who ask for the same."""
        assert self.model is not None
        source = work.job.source
        key = self.name, source, work.job.prompts
        sample = self.house.samples.get(key)
        if sample is None:
            corpus.require_room(self.model, source.n, self.house.samples.max_bytes)
            progress = partial(self.desk.note, work)
            sample = corpus.draw(self.model, source, work.job.prompts, progress)
            self.house.samples.put(key, sample)
        return sample

    def _trace(self, work: Work) -> Trace:
        """The trace of the job's prompt; waiting jobs' prompts may be captured in the same run."""
        job = work.job
        trace = work.trace or self.house.traces.get((self.name, job.prompt, job.edits))
        if trace is not None:
            return trace
        if job.edits or work.alone:
            return self._capture(job.prompt, job.edits)
        mates = self._mates(job.prompt)
        group = self._group([job.prompt, *mates], forgiving=True) if mates else [job.prompt]
        captured = self._capture_group(group)
        for prompt in group[1:]:
            for mate in mates[prompt]:
                mate.trace, mate.alone = captured.get(prompt), prompt not in captured
        return captured.get(job.prompt) or self._capture(job.prompt, ())

    def _traces(self, work: Work) -> list[Trace]:
        """One trace for each of the job's prompts, as few runs as the batch bounds allow."""
        edits, done = work.job.edits, {}
        missing = list(dict.fromkeys(work.job.prompts))
        for prompt in missing:
            trace = self.house.traces.get((self.name, prompt, edits))
            if trace is not None:
                done[prompt] = trace
        missing = [prompt for prompt in missing if prompt not in done]
        total = len(missing) + len(done)
        while missing:
            self.desk.note(work, len(done) / total, f"Prompt {len(done) + 1} of {total}")
            group = missing[:1] if edits else self._group(missing)
            captured = self._capture_group(group) if len(group) > 1 else {}
            for prompt in group:
                done[prompt] = captured.get(prompt) or self._capture(prompt, edits)
            missing = [prompt for prompt in missing if prompt not in done]
        return [done[prompt] for prompt in work.job.prompts]

    def _mates(self, prompt: str) -> dict[str, list[Work]]:
        """Waiting works that need a clean trace of another prompt, which nobody has yet."""
        with self.desk.lock:
            waiting = list(self.line.works)
        mates: dict[str, list[Work]] = {}
        for work in waiting:
            job = work.job
            fresh = TRACE & supplied(work.view) and not (work.trace or work.alone or job.edits)
            if fresh and job.prompt != prompt:
                mates.setdefault(job.prompt, []).append(work)
        return {p: w for p, w in mates.items() if (self.name, p, ()) not in self.house.traces}

    def _group(self, prompts: list[str], forgiving: bool = False) -> list[str]:
        """The first prompt and those that go well with it: few, short, of similar lengths.

        A prompt that cannot be encoded raises InputError; if forgiving, only the first does.
        """
        assert self.model is not None
        settings = self.desk.settings
        total = longest = len(self.model.encode(prompts[0]))
        group = [prompts[0]]
        for prompt in prompts[1:]:
            if len(group) == settings.batch_size:
                break
            try:
                length = len(self.model.encode(prompt))
            except InputError:
                if forgiving:
                    continue  # told to its own waiters when its turn comes
                raise
            padded = max(longest, length) * (len(group) + 1)
            if padded <= min(settings.batch_tokens, _PADDING * (total + length)):
                group.append(prompt)
                total, longest = total + length, max(longest, length)
        return group

    def _capture_group(self, group: list[str]) -> dict[str, Trace]:
        """Clean traces of several prompts, captured together; none if that failed."""
        assert self.model is not None
        if len(group) == 1:
            return {group[0]: self._capture(group[0], ())}
        try:
            traces = self.model.capture_many(group)
        except Exception:
            log.warning("a batch of %d prompts failed; running them one by one", len(group))
            traces = []
        if not traces:
            free_memory()
        captured = dict(zip(group, traces, strict=False))
        for prompt, trace in captured.items():
            self.house.traces.put((self.name, prompt, ()), trace)
        return captured

    def _capture(self, prompt: str, edits: tuple[Scale, ...]) -> Trace:
        assert self.model is not None
        trace = self.model.capture(prompt, edits)
        self.house.traces.put((self.name, prompt, edits), trace)
        return trace


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
        "reason": check.reason,
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


def free_memory() -> None:
    """Give back what no one refers to any more, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
