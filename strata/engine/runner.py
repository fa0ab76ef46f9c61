"""A model's forward passes in a process of its own, so that nobody's page has to wait for them.

A pass through 30 blocks takes and releases Python's interpreter lock about a thousand times, and
each time it may wait for a page, or a page for it. The process has the very same weights, in memory
that both share, and hands back whole traces with their identities already measured.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import pickle
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from strata.errors import StrataError
from strata.model.device import NICE, step_back
from strata.model.hooks import between_blocks
from strata.runtime import memory
from strata.runtime.side_process import Send, SideProcess
from strata.runtime.stepping_aside import step_aside
from strata.trace import Edit, Trace

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

_LOST = "The process that runs the model ended unexpectedly; ask again."
_PATIENCE = 0.02  # seconds between two looks at whether others may go first
_SILENCE = 600.0  # seconds after which a process that says nothing is given up
_IDLE = 2.0  # seconds without a run after which what is free goes back to the system
_TRIES = 3  # starts of a process that never gets ready
_ALIGNED = 64  # bytes: where vector instructions like a matrix to begin
_Place = tuple[int, tuple[int, ...], torch.dtype]  # of a weight: where it begins, shape, type


class Runner:
    """The process as seen by the model's owner, one thread at a time; only `close` is for others.

    Who waits for a run steps aside meanwhile, and what is run for others then is run first, between
    two blocks of it.

    Raises whatever keeps the model from being shared: no room for the weights, a part of it that
    cannot be pickled.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._file = _share(model)
        self._process = SideProcess(
            "strata.engine.runner:serve", _LOST, files=(self._file,), nice=NICE
        )
        self._ready = False
        self._tries = 0  # since it last was ready
        self._numbers = count()  # of runs
        self._done: dict[int, list[dict[str, Any]] | None] = {}  # runs whose caller is not back yet
        self._closing = Lock()

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it can be asked now; where there is none, it is started.

        The thread that hears it has the priority of the one that calls this.
        """
        if not self._ready:
            try:
                if self.pid is None:
                    self._start()
                self._process.receive(0.001)
                self._ready, self._tries = True, 0
            except queue.Empty:
                pass
            except StrataError:  # lost before it was ready
                self._start()
        return self._ready

    def capture(self, prompts: Sequence[str], edits: tuple[Edit, ...] = ()) -> list[Trace] | None:
        """A trace of each prompt, captured together; edits are for a single one.

        None where the caller has to run the model itself: the process is not ready, or refuses.
        StrataError if it was lost over this.
        """
        if not self._ready:
            return None
        number, asked = next(self._numbers), self.pid
        try:
            self._process.send((number, list(prompts), edits))
        except StrataError:  # lost before: not over these prompts
            self._ready = False
            return None
        try:
            answers = self._answer(number, asked)
        except StrataError:
            if self.pid in (asked, None):  # else another one has been started meanwhile
                self._ready = False
            raise
        return None if answers is None else [self._unpacked(answer) for answer in answers]

    def close(self) -> None:
        """End the process."""
        with self._closing:
            file, self._file = self._file, -1
        self._process.close()
        if file >= 0:
            os.close(file)

    def _start(self) -> None:
        with self._closing:
            if self._file < 0 or self._tries == _TRIES:
                return
            self._tries += 1
            self._done.clear()
            try:
                if self._process.start():
                    self._process.send(self._file)
            except (OSError, StrataError) as error:
                log.warning("no process for the runs of %s: %s", self.model.name, error)

    def _answer(self, number: int, asked: int | None) -> list[dict[str, Any]] | None:
        until = time.monotonic() + _SILENCE
        while number not in self._done:
            if self.pid != asked:  # lost over what was run meanwhile
                raise StrataError(_LOST)
            try:
                done, answers = self._process.receive(_PATIENCE)
                self._done[done] = answers
            except queue.Empty:
                if time.monotonic() > until:
                    raise self._process.lose() from None
                step_aside()
        return self._done.pop(number)

    def _unpacked(self, answer: dict[str, Any]) -> Trace:
        check = answer.pop("check")
        for name, value in answer.items():
            answer[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        return Trace(**answer, verify=self.model.verify).with_check(check)


def can_share(model: Model) -> bool:
    """Whether a process may have this model's weights without a copy: on the CPU, on Linux.

    In float32, as the engine loads them there: numpy, in which traces come back, has no bfloat16.
    """
    on_cpu = model.device.type == "cpu" and model.dtype == torch.float32
    return hasattr(os, "memfd_create") and on_cpu


def _share(model: Model) -> int:
    """Move the weights to memory that can be shared; the number of its open file.

    Behind them is the model without its weights, pickled, and at the very end its length.
    """
    places: dict[int, _Place] = {}
    end = 0
    for weight in model.parameters:
        begin = math.ceil(end / _ALIGNED) * _ALIGNED
        places[id(weight)] = begin, tuple(weight.shape), weight.dtype
        end = begin + weight.nbytes
    file = os.memfd_create("strata-weights")
    try:
        os.ftruncate(file, end)
        shared = mmap.mmap(file, end)
        for weight in model.parameters:
            weight.data = _at(shared, places[id(weight)]).copy_(weight.data)
        with os.fdopen(os.dup(file), "wb") as rest:
            rest.seek(end)
            _Pickler(rest, places).dump(model)
            length = rest.tell() - end
            rest.write(length.to_bytes(8, "little"))
    except BaseException:
        os.close(file)
        raise
    return file


def _shared(file: int) -> Model:
    """In the process: the model that `_share` left there."""
    shared = mmap.mmap(file, 0)
    length = int.from_bytes(shared[-8:], "little")
    with os.fdopen(file, "rb") as rest:
        rest.seek(len(shared) - 8 - length)
        model: Model = _Unpickler(rest, shared).load()
    return model


def _at(memory: mmap.mmap, place: _Place) -> Tensor:
    begin, shape, dtype = place
    flat = torch.frombuffer(memory, dtype=dtype, count=math.prod(shape), offset=begin)
    return flat.view(shape)


class _Pickler(pickle.Pickler):
    """Writes of each weight only where it is."""

    def __init__(self, file: Any, places: dict[int, _Place]) -> None:
        super().__init__(file, protocol=5)
        self.places = places

    def persistent_id(self, obj: Any) -> Any:
        return self.places.get(id(obj)) if isinstance(obj, nn.Parameter) else None


class _Unpickler(pickle.Unpickler):
    """Gives each weight its memory; one that stands in two places of the model stays one."""

    def __init__(self, file: Any, memory: mmap.mmap) -> None:
        super().__init__(file)
        self.memory = memory
        self.weights: dict[_Place, nn.Parameter] = {}

    def persistent_load(self, pid: Any) -> nn.Parameter:
        if pid not in self.weights:
            self.weights[pid] = nn.Parameter(_at(self.memory, pid), requires_grad=False)
        return self.weights[pid]


def serve(messages: Iterator[Any], send: Send) -> None:
    """Run the model until the other side is gone. What it asks for while a run is under way is run
    between two blocks of that: in a thread of its own, since hooks hear their own thread only."""
    memory.few_pools()
    model = _shared(next(messages))
    step_back()  # all the way, now that it is there: it shares no lock with a page
    asked = queue.SimpleQueue[Any]()
    Thread(target=_take, args=(messages, asked), name="asked", daemon=True).start()
    with ThreadPoolExecutor(1, "between") as between:

        def let_another() -> None:
            if asked.empty():
                return
            another = asked.get()
            if another is None:
                asked.put(None)
            else:
                between.submit(_run, model, another, send).result()

        send("ready")
        while (run := _next(asked)) is not None:
            with between_blocks(model.architecture.blocks, let_another):
                _run(model, run, send)
            del run  # the next prompts may be long in coming


def _next(asked: queue.SimpleQueue[Any]) -> Any:
    """What is asked next. Where that is long in coming, memory of the last run is given back."""
    try:
        return asked.get(timeout=_IDLE)
    except queue.Empty:
        memory.trim()
        return asked.get()


def _take(messages: Iterator[Any], asked: queue.SimpleQueue[Any]) -> None:
    for message in messages:
        asked.put(message)
    asked.put(None)  # the other side is gone


def _run(model: Model, asked: Any, send: Send) -> None:
    number, prompts, edits = asked
    try:
        traces = [model.capture(prompts[0], edits)] if edits else model.capture_many(prompts)
        checks = model.checks(traces)
        answers = [_packed(trace, check) for trace, check in zip(traces, checks, strict=True)]
    except Exception as error:  # the other side tries it, and tells its learner why not
        log.warning("a run of %d prompts failed: %s", len(prompts), type(error).__name__)
        send(number, None)
    else:
        send(number, answers)


def _packed(trace: Trace, check: Any) -> dict[str, Any]:
    fields = {**vars(trace), "check": check}
    del fields["verify"]
    return {n: v.numpy() if isinstance(v, Tensor) else v for n, v in fields.items()}
