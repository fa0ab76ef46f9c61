"""Edits made ready for a run: what they name is checked, looked up and put into tensors, before it.

An edit is data. Here it becomes an `Operation`, a function of states, which hooks and replay apply
without knowing its kind. All that can be refused is refused before the model runs at all; what the
edits name (another prompt's states, directions, samples) comes from clean runs of the same model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Protocol

import torch
from torch import Tensor

from strata.edit_fields import read
from strata.edits import (
    EMBEDDING,
    Add,
    Difference,
    Direction,
    Edit,
    Keep,
    MeanState,
    Noise,
    Part,
    Principal,
    Project,
    Replace,
    Scale,
    Skip,
    Unembedding,
)
from strata.errors import InputError, ModelError
from strata.model import limits, sinks
from strata.model.architecture import Architecture
from strata.model.blocks import here
from strata.model.components import check_components, principal
from strata.model.head_slices import columns, projection
from strata.model.hooks import Recorder
from strata.model.operations import (
    Change,
    Operation,
    kept_to,
    moved,
    noise,
    put_in,
    scaled,
    silent,
    skip,
    without,
)

_BYTES = 128 * 2**20  # of clean runs and samples kept for the next edit that names them


class Runs(limits.Sized, Protocol):
    """What is asked of a model here: `strata.model.Model`."""

    architecture: Architecture

    def encode(self, text: str) -> Tensor: ...

    def require_part(self, part: Part) -> None: ...

    def forward(
        self, rows: Sequence[Tensor], recorder: Recorder
    ) -> tuple[Tensor, Tensor | None, Tensor]: ...


class Resolver:
    """Checks and resolves the edits of one model's runs. Threads may share it."""

    def __init__(self, model: Runs) -> None:
        self._model = model
        self._kept: OrderedDict[Any, tuple[Tensor, ...]] = OrderedDict()
        self._lock = Lock()

    def __call__(
        self, edits: Sequence[Edit], token_ids: Tensor, n_tokens: int
    ) -> tuple[Operation, ...]:
        """The operations of a run of (T,) token ids, whose positions are 0 to `n_tokens` - 1 with
        those that are still to be written.

        InputError for an edit that is none, is out of range, or names what does not exist;
        ModelError for one that this model does not allow.
        """
        if not isinstance(edits, Sequence) or isinstance(edits, str):
            raise InputError(
                f"Edits must be a list of Scale or other edits, not {type(edits).__name__}."
            )
        known = [read(edit) for edit in edits]
        for edit in known:
            self._check(edit, len(token_ids), n_tokens)
        return tuple(self._ready(edit, token_ids) for edit in known)

    def forget(self) -> None:
        """Let go of all runs and samples that are kept."""
        with self._lock:
            self._kept.clear()

    # -- what is refused before anything runs -------------------------------------------------

    def _check(self, edit: Edit, n_prompt: int, n_tokens: int) -> None:
        self._model.require_part(edit.part if edit.head is None else "attn")
        lowest = EMBEDDING if edit.part == "stream" and not isinstance(edit, (Scale, Skip)) else 0
        self._check_block(edit.block, lowest)
        if edit.head is not None:
            self._check_head(edit.block, edit.head)
        for position in edit.positions or ():
            _check_position(position, n_tokens)
        match edit:
            case Replace():
                self._check_source(edit, n_prompt, lowest)
            case Add() | Project():
                self._check_direction(edit.direction)
            case Keep():
                self._check_sample(edit.sample, edit.k)
            case Noise() if edit.seed < 0:
                raise InputError("The seed of a noise must be 0 or more.")

    def _check_block(self, block: int, lowest: int = 0) -> None:
        last = self._model.n_layers - 1
        if not lowest <= block <= last:
            raise InputError(f"Block {block} does not exist: blocks are {lowest} to {last}.")

    def _check_head(self, block: int, head: int) -> None:
        _, n_heads = projection(self._model.architecture, block)
        if not 0 <= head < n_heads:
            raise InputError(f"Head {head} does not exist: heads are 0 to {n_heads - 1}.")

    def _check_source(self, edit: Replace, n_prompt: int, lowest: int) -> None:
        source = edit.source
        n_source = len(self._model.encode(source.prompt))
        if edit.positions is None and source.positions is None and n_prompt != n_source:
            raise InputError(
                f"The prompt has {n_prompt} tokens and the source {n_source}: choose a source of "
                "as many, or name the positions."
            )
        at, of = _targets(edit, n_prompt)
        if len(at) != len(of):
            raise InputError(
                f"{len(at)} positions are replaced and the source names {len(of)}; name as many."
            )
        if len(set(at)) < len(at):
            raise InputError("A position to replace is named twice; name each once.")
        for position in of:
            _check_position(position, n_source, " in the source")
        if source.block is None:
            return
        self._check_block(source.block, lowest)
        if edit.head is not None:
            self._check_heads_alike(edit.block, source.block)
        elif edit.part != "stream":
            writes = dict(self._model.architecture.parts())[edit.part]
            if len(writes[source.block]) != len(writes[edit.block]):
                raise ModelError(
                    f"Blocks {source.block} and {edit.block} have different modules for this part, "
                    "so the write of one cannot stand for the other's."
                )

    def _check_heads_alike(self, block: int, other: int) -> None:
        one, two = (projection(self._model.architecture, each) for each in (block, other))
        if columns(*one, head=1) != columns(*two, head=1):
            raise ModelError(
                f"Heads of blocks {other} and {block} hand on different numbers, so one cannot "
                "stand for the other."
            )

    def _check_direction(self, direction: Direction) -> None:
        n_layers = self._model.n_layers
        layer = 0 if isinstance(direction, Unembedding) else direction.layer
        if not 0 <= layer <= n_layers:
            raise InputError(f"Layer {layer} does not exist: layers are 0 to {n_layers}.")
        match direction:
            case Unembedding(token_id=token_id):
                self._check_token(token_id)
            case Difference():
                one, other = (ids[: at + 1] for ids, at in self._ends(direction))
                if torch.equal(one, other):
                    raise InputError(
                        "Both prompts of a difference are the same up to their positions, so it is "
                        "zero; choose two that differ."
                    )
            case Principal(texts=texts, k=k):
                if k < 1:
                    raise InputError("Principal components are numbered from 1.")
                self._check_sample(texts, k)
            case MeanState(texts=texts):
                self._check_sample(texts, 0)

    def _check_token(self, token_id: int) -> None:
        model = self._model
        if not 0 <= token_id < model.d_vocab:
            raise InputError(
                f"Token id {token_id} does not exist: ids are 0 to {model.d_vocab - 1}."
            )
        width = model.architecture.head.get_parameter("weight").shape[1]
        if width != model.d_model:
            raise ModelError(
                f"The head of this {model.architecture.family} model reads {width} numbers and its "
                f"stream has {model.d_model}, so a token's row of it is no direction of the stream."
            )

    def _check_sample(self, texts: Sequence[str], k: int) -> None:
        n_tokens = sum(len(self._model.encode(text)) for text in texts)
        check_components(k, min(n_tokens - 1, self._model.d_model))

    def _ends(self, direction: Difference) -> list[tuple[Tensor, int]]:
        """Token ids of both prompts, and the position in each."""
        position = direction.position
        pair = position if isinstance(position, tuple) else (position, position)
        found = []
        for prompt, at in zip((direction.first, direction.second), pair, strict=True):
            ids = self._model.encode(prompt)
            if not -len(ids) <= at < len(ids):
                _check_position(at, len(ids), " in a prompt of the difference")
            found.append((ids, at % len(ids)))
        return found

    # -- what is made ready ----------------------------------------------------------------------

    def _ready(self, edit: Edit, token_ids: Tensor) -> Operation:
        only = None if edit.positions is None else frozenset(edit.positions)
        match edit:
            case Scale():
                return Operation(edit, scaled(edit.factor), only)
            case Replace():
                at, _ = _targets(edit, len(token_ids))
                return Operation(edit, self._replacing(edit, len(token_ids)), frozenset(at))
            case Add():
                step = edit.factor * self._direction(edit.direction)  # (D,)
                return Operation(edit, moved(step), only)
            case Project():
                return Operation(edit, without(self._direction(edit.direction)), only)
            case Noise():
                return Operation(edit, noise(edit), only)
            case Skip():
                return Operation(edit, skip if edit.head is None else silent, only)
            case Keep():
                spared = self._sinks(token_ids) if only is None else frozenset()
                mean, components = self._sample(edit.sample, edit.block + 1)
                check_components(edit.k, len(components))
                return Operation(edit, kept_to(mean, components[: edit.k]), only, spared)

    def _replacing(self, edit: Replace, n_prompt: int) -> Change:
        at, of = _targets(edit, n_prompt)
        block = edit.block if edit.source.block is None else edit.source.block
        ids = self._model.encode(edit.source.prompt)
        if edit.head is not None:
            module, n_heads = projection(self._model.architecture, block)
            given = [self._handed_on(ids, block)[:, columns(module, n_heads, edit.head)]]
        elif edit.part == "stream":
            given = [self._states(ids)[block + 1]]  # (T, D) each
        else:
            writes = dict(self._model.architecture.parts())[edit.part]
            given = [
                output if there is here else output * (there.scale / here.scale)
                for output, there, here in zip(
                    self._outputs(ids, edit.part, block),
                    writes[block],
                    writes[edit.block],
                    strict=True,
                )
            ]
        return put_in(given, dict(zip(at, of, strict=True)))

    def _direction(self, direction: Direction) -> Tensor:
        """(D,), float32. InputError for one of no length."""
        match direction:
            case Unembedding(token_id=token_id):
                made = self._model.architecture.head.get_parameter("weight")[token_id]
            case Difference(layer=layer):
                one, other = (self._states(ids)[layer, at] for ids, at in self._ends(direction))
                made = one.float() - other.float()
            case MeanState(texts=texts, layer=layer):
                made, _ = self._sample(texts, layer)
            case Principal(texts=texts, layer=layer, k=k):
                _, components = self._sample(texts, layer)
                check_components(k, len(components))
                made = components[k - 1]
        made = made.detach().float()
        if not 0 < float(made.norm()) < float("inf"):
            raise InputError(
                "The direction of this edit has no length (the two states are the same); choose "
                "another layer, position or text."
            )
        return made

    def _states(self, ids: Tensor) -> Tensor:
        """(L + 1, T, D) of the clean run of (T,) token ids, in the model's dtype, on the CPU."""

        def run() -> tuple[Tensor, ...]:
            recorder = self._run(ids, Recorder(self._model.architecture))
            return (recorder.hidden[:, 0].cpu(),)

        [states] = self._once(("states", *ids.tolist()), run)
        return states

    def _outputs(self, ids: Tensor, part: Part, block: int) -> list[Tensor]:
        """(T, D) that each module of a part gave in the clean run, before the model scales it."""
        parts = dict(self._model.architecture.parts())

        def run() -> tuple[Tensor, ...]:
            recorder = self._run(ids, Recorder(self._model.architecture, apart=True))
            return tuple(each[0].cpu() for outputs in recorder.outputs[part] for each in outputs)

        every = self._once(("outputs", part, *ids.tolist()), run)
        start = sum(map(len, parts[part][:block]))
        return list(every[start : start + len(parts[part][block])])

    def _handed_on(self, ids: Tensor, block: int) -> Tensor:
        """(T, heads * width) that a block's heads handed on in the clean run."""
        module, _ = projection(self._model.architecture, block)

        def run() -> tuple[Tensor, ...]:
            kept: list[Tensor] = []
            keep = here(lambda module, args: kept.append(args[0].reshape(len(ids), -1).cpu()))
            handle = module.register_forward_pre_hook(keep)
            try:
                self._run(ids, Recorder(self._model.architecture, record=False))
            finally:
                handle.remove()
            return (kept[0].clone(),)

        [given] = self._once(("handed on", block, *ids.tolist()), run)
        return given

    def _run(self, ids: Tensor, recorder: Recorder) -> Recorder:
        """The recorder after a clean run, which must fit in memory as any other."""
        model = self._model
        limits.require_room(model, [ids])
        model.forward([ids], recorder)
        return recorder

    def _sinks(self, ids: Tensor) -> frozenset[int]:
        """The attention sinks among the tokens of a prompt."""
        found = sinks.which(sinks.norms_of(self._states(ids)))
        return frozenset(found.nonzero()[0].tolist())

    def _sample(self, texts: Sequence[str], layer: int) -> tuple[Tensor, Tensor]:
        """(D,) mean and (m, D) principal components of a layer's states, float32."""

        def run() -> tuple[Tensor, ...]:
            found = []
            for text in texts:
                ids = self._model.encode(text)
                left = sorted(set(range(len(ids))) - self._sinks(ids))
                found.append(self._states(ids)[layer, left])
            return principal(torch.cat(found))

        mean, components = self._once(("sample", layer, *texts), run)
        return mean, components

    def _once(self, key: Any, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What was found under this key before, or what `run` gives; the latest are kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = run()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > _BYTES:
                self._kept.popitem(last=False)
        return found


def _targets(edit: Replace, n_prompt: int) -> tuple[Sequence[int], Sequence[int]]:
    """The positions that are replaced, and those of the source which stand there then."""
    at: Sequence[int] = range(n_prompt) if edit.positions is None else edit.positions
    return at, at if edit.source.positions is None else edit.source.positions


def _check_position(position: int, n_tokens: int, where: str = "") -> None:
    if not 0 <= position < n_tokens:
        raise InputError(
            f"Position {position} does not exist{where}: positions are 0 to {n_tokens - 1}."
        )


def _bytes(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
