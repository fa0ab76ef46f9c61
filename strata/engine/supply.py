"""What views ask the engine for: traces, samples, gradients; in as few runs as may be."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from strata.concepts.views import TRACE, View, supplied
from strata.corpus import Reading, Sample, Source, sampling
from strata.edits import Edit, source_prompts
from strata.engine.cache import ByteCache
from strata.engine.cost import token_passes
from strata.engine.desk import Desk
from strata.engine.job import Job
from strata.engine.line import Line, Work, is_one_of_many
from strata.engine.runner import Runner, can_share
from strata.errors import CancelledError, InputError
from strata.model.device import free_memory
from strata.model.hooks import between_blocks
from strata.runtime.stepping_aside import step_aside
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

TraceKey = tuple[str, str, tuple[Edit, ...]]  # model, prompt, edits
SampleKey = tuple[str, Source, tuple[str, ...]]  # model, what to sample, own texts

_PADDING = 1.5  # a batch may hold at most this many times its own tokens, padding included


class Stores(Protocol):
    """What is kept of earlier runs, by all models."""

    desk: Desk
    traces: ByteCache[TraceKey, Trace]
    samples: ByteCache[SampleKey, Sample | Reading]  # whole, or as far as they were read


class Supply:
    """Runs one model for the works of its line, and keeps what came out. Used by its owner only."""

    def __init__(self, name: str, model: Model, house: Stores, line: Line) -> None:
        self.name, self.model, self.house, self.line = name, model, house, line
        self.desk = house.desk
        self.runner = _runner(model) if house.desk.settings.model_process else None
        self.unproved: deque[Trace] = deque(maxlen=house.desk.settings.batch_size)
        self.ahead: deque[Job] = deque()  # whose texts are read while nobody asks
        self._asked_ahead: set[SampleKey] = set()

    def given(self, work: Work) -> dict[str, Any]:
        """What the work's view asks for, by its parameters' names."""
        job, names = work.job, supplied(work.view)
        n_tokens = self._longest(job, samples=samples_texts(job, work.view))
        sizes = [len(self.model.encode(text)) for text in source_prompts(job.edits)]
        n_layers = self.model.n_layers
        cost = token_passes(job, work.view, work.arguments, n_tokens, n_layers, sum(sizes))
        n_tokens = max([n_tokens, *sizes])
        self.desk.measured(work, n_tokens, cost)
        given: dict[str, Any] = {
            "model": self.model,
            "prompt": job.prompt,
            "edits": job.edits,
            "prompts": job.prompts,
            "progress": partial(self._note, work),
        }
        if names & TRACE:
            given |= dict.fromkeys(TRACE, self._trace(work))
        if "traces" in names:
            given["traces"] = self._traces(work)
        if "runs" in names:
            given["runs"] = self._runs(work)
        if "sample" in names:
            given["sample"] = self._sample(work)
        if "gradients" in names:
            if job.edits:
                raise InputError("Gradients are those of the clean run: leave out the edits.")
            given["gradients"] = self.model.gradients(job.prompt)
        return {name: given[name] for name in names}

    def _note(self, work: Work, fraction: float, message: str) -> None:
        self.desk.note(work, fraction, message)
        step_aside()

    def at_hand(self, work: Work) -> dict[str, Any] | None:
        """What a quick view asks for, if no run is needed for it; None if it must take its turn."""
        names, job = supplied(work.view), work.job
        given: dict[str, Any] = {"model": self.model, "prompt": job.prompt, "edits": job.edits}
        if names & TRACE:
            trace = self.house.traces.get((self.name, job.prompt, job.edits))
            if trace is None:
                return None
            work.n_tokens = len(trace.tokens)
            given |= dict.fromkeys(TRACE, trace)
        return {name: given[name] for name in names}

    def runs_beside(self) -> bool:
        """Whether runs are made by a process beside this one now. Starts it if it is not there."""
        return self.runner is not None and self.runner.is_ready()

    def close(self) -> None:
        """End the process beside this one, if there is one. In any thread."""
        if self.runner is not None:
            self.runner.close()

    def prove(self) -> None:
        """Measure the identities of a trace that pages will ask them of, while nobody waits."""
        trace = self.unproved.popleft()
        with suppress(Exception):  # told to whoever asks
            _ = trace.check

    def _longest(self, job: Job, samples: bool) -> int:
        """Tokens of the job's longest prompt; what is sampled from is cut into passages first."""
        prompts = {job.prompt} if samples else {job.prompt, *job.prompts}
        return max((len(self.model.encode(prompt)) for prompt in prompts if prompt), default=0)

    def want_ahead(self, job: Job) -> None:
        """Have a job's texts read while nobody asks, once: if memory takes them away again, whoever
        needs them reads them. Expects the desk's lock to be held."""
        key = self._key(job)
        if key not in self._asked_ahead and not isinstance(self.house.samples.get(key), Sample):
            self._asked_ahead.add(key)
            self.ahead.append(job)

    def read_ahead(self, asked: Callable[[], bool]) -> None:
        """Read on what is wanted ahead, until the model is asked; what was read so far is kept."""

        def look(*told: object) -> None:
            if asked():
                raise CancelledError("The model has other work.")

        try:
            self._read(self.ahead[0], look, look)
        except CancelledError:
            return
        except Exception as error:  # told to whoever asks
            log.info("%s: texts are not read ahead: %s", self.name, error)
        self.ahead.popleft()

    def _key(self, job: Job) -> SampleKey:
        return self.name, job.source.whole, job.prompts

    def _sample(self, work: Work) -> Sample:
        """The states that the job asks for, captured once for all who ask for the same."""
        return self._read(work.job, partial(self._note, work), step_aside)

    def _read(
        self, job: Job, progress: Callable[[float, str], None], between: Callable[[], None]
    ) -> Sample:
        """The states of a job's texts, or of those read first. `between` is called between blocks;
        who leaves in the middle finds what was read when they come back."""
        source, key = job.source.whole, self._key(job)
        found = self.house.samples.get(key)
        if found is None and source.compact:  # read with its writes, as for another page?
            full = source.model_copy(update={"compact": False})
            known = self.house.samples.get((self.name, full, job.prompts))
            if isinstance(known, Sample):
                found = known.compacted()
                self.house.samples.put(key, found)
        read = job.source.read
        if isinstance(found, Sample):
            return found.beginning(read) if read else found
        if found is None:
            sampling.require_room(self.model, source, self.house.samples.max_bytes)
            found = sampling.begun(self.model, source, job.prompts, progress)
        kept: Sample | Reading = found
        try:
            with between_blocks(self.model.architecture.blocks, between):
                if read:
                    sample = found.beginning(self.model, read, progress)
                else:
                    sample = found.finished(self.model, progress)
            if found.is_whole and not sample.n_unread:
                kept = sample
            return sample
        finally:
            self.house.samples.put(key, kept)

    def _trace(self, work: Work) -> Trace:
        """The trace of the job's prompt."""
        job = work.job
        trace = work.trace or self.house.traces.get((self.name, job.prompt, job.edits))
        if trace is not None:
            return trace
        if work.spare:
            [trace] = self._run([job.prompt], job.edits)
            return trace
        trace = self._first_trace(work)
        if trace.verify is not None and not trace.measured:
            self.unproved.append(trace)
        return trace

    def _first_trace(self, work: Work) -> Trace:
        """A new trace; waiting jobs' prompts may be captured in the same run."""
        job = work.job
        if job.edits or work.alone:
            return self._capture(job.prompt, job.edits)
        mates = self._mates(work)
        group = self._group([job.prompt, *mates], forgiving=True) if mates else [job.prompt]
        riding = [mate for prompt in group[1:] for mate in mates[prompt]]
        for mate in riding:
            mate.rides = True
        try:
            captured = self._capture_group(group)
        finally:
            for mate in riding:
                mate.rides = False
        for mate in riding:
            mate.trace = captured.get(mate.job.prompt)
            mate.alone = mate.trace is None
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
            self._note(work, len(done) / total, f"Prompt {len(done) + 1} of {total}")
            group = missing[:1] if edits else self._group(missing)
            captured = self._capture_group(group) if len(group) > 1 else {}
            for prompt in group:
                done[prompt] = captured.get(prompt) or self._capture(prompt, edits)
            missing = [prompt for prompt in missing if prompt not in done]
        return [done[prompt] for prompt in work.job.prompts]

    def _runs(self, work: Work) -> Iterator[tuple[str, Trace]]:
        """Each different prompt of the job with its trace, those of about a length together, in as
        few runs as the batch bounds allow. Nothing of them is kept: a set of prompts would drive
        all that others look at out of the cache."""
        edits, known = work.job.edits, self.house.traces
        prompts = sorted(dict.fromkeys(work.job.prompts), key=lambda p: len(self.model.encode(p)))
        total = left = len(prompts)
        while prompts:
            self._note(work, 1 - left / total, f"Prompt {total - left + 1} of {total}")
            trace = known.get((self.name, prompts[0], edits))
            if trace is not None:
                found = {prompts[0]: trace}
            else:
                group = prompts[:1] if edits else self._group(prompts, most=total)
                found = self._run_group(group) if len(group) > 1 else {}
                found = found or {group[0]: self._run(group[:1], edits)[0]}
            prompts = [prompt for prompt in prompts if prompt not in found]
            left = len(prompts)
            yield from found.items()

    def _mates(self, first: Work) -> dict[str, list[Work]]:
        """Waiting works that need a clean trace of another prompt, which nobody has yet, to be run
        with a first one. All of them wait for the whole run, which is as long as they are many: so
        who counts as one with others has no place in it beside those who do not."""
        with self.desk.lock:
            waiting = list(self.line.works)
        mates: dict[str, list[Work]] = {}
        for work in waiting:
            job = work.job
            fresh = TRACE & supplied(work.view) and not (
                work.trace or work.alone or work.rides or job.edits
            )
            if fresh and job.prompt != first.job.prompt and _go_together(first, work):
                mates.setdefault(job.prompt, []).append(work)
        return {p: w for p, w in mates.items() if (self.name, p, ()) not in self.house.traces}

    def _group(
        self, prompts: list[str], forgiving: bool = False, most: int | None = None
    ) -> list[str]:
        """The first prompt and those that go well with it: few (`most`, where these are all of one
        learner), short, of similar lengths.

        A prompt that cannot be encoded raises InputError; if forgiving, only the first does.
        """
        settings = self.desk.settings
        total = longest = len(self.model.encode(prompts[0]))
        group = [prompts[0]]
        for prompt in prompts[1:]:
            if len(group) == (most or settings.batch_size):
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
        if len(group) == 1:
            return {group[0]: self._capture(group[0], ())}
        captured = self._run_group(group)
        for prompt, trace in captured.items():
            self.house.traces.put((self.name, prompt, ()), trace)
        return captured

    def _run_group(self, group: list[str]) -> dict[str, Trace]:
        """The same, and nothing of it kept."""
        try:
            traces = self._run(group)
        except Exception:
            log.warning("a batch of %d prompts failed; running them one by one", len(group))
            traces = []
        if not traces:
            free_memory()
        return dict(zip(group, traces, strict=False))

    def _capture(self, prompt: str, edits: tuple[Edit, ...]) -> Trace:
        [trace] = self._run([prompt], edits)
        self.house.traces.put((self.name, prompt, edits), trace)
        return trace

    def _run(self, prompts: list[str], edits: tuple[Edit, ...] = ()) -> list[Trace]:
        """A trace of each prompt, in one run: beside this process, or here."""
        traces = self.runner.capture(prompts, edits) if self.runner is not None else None
        if traces is not None:
            return traces
        with between_blocks(self.model.architecture.blocks, step_aside):
            if len(prompts) > 1:
                return self.model.capture_many(prompts)
            return [self.model.capture(prompts[0], edits)]


def _go_together(one: Work, other: Work) -> bool:
    many = is_one_of_many(one.party), is_one_of_many(other.party)
    return one.party[:-1] == other.party[:-1] if any(many) else True


def _runner(model: Model) -> Runner | None:
    if not can_share(model):
        return None
    try:
        return Runner(model)
    except Exception as error:  # whatever it is that cannot be shared: it still runs here
        log.warning("%s is run in this process: %s", model.name, error)
        return None


def samples_texts(job: Job, view: View) -> bool:
    """Whether the job's prompts are texts to sample states from."""
    return job.sample is not None and "sample" in supplied(view)


def lightened(given: dict[str, Any]) -> dict[str, Any]:
    """The same with traces that hold tokens and states only: while a view waits for its turn, they
    keep neither the model nor the large logits."""

    def light(value: Any) -> Any:
        if isinstance(value, Trace):
            return replace(value, verify=None, writes=None, logits=value.logits[:0].clone())
        return [light(entry) for entry in value] if isinstance(value, list) else value

    return {name: light(value) for name, value in given.items()}
