"""What an edit does to states, without a word of models: functions of states at their positions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from strata.edits import Edit, Noise, leaves_out


@dataclass(frozen=True)
class Place:
    """Where an operation is applied: m absolute positions, which of a part's modules, and what
    entered the block there, (B, m, D), if that was asked for."""

    positions: Sequence[int]
    module: int = 0
    entered: Tensor | None = None


Change = Callable[[Tensor, Place], Tensor]  # (B, m, D) at a place -> what stands there then


@dataclass(frozen=True, eq=False)
class Operation:
    """An edit of one run, ready to be made on states or on what the modules of a part give.

    `only` are the positions that it changes, None all but `spared`.
    """

    edit: Edit
    change: Change
    only: frozenset[int] | None = None
    spared: frozenset[int] = frozenset()

    def where(self, span: Sequence[int]) -> list[int]:
        """Which places of a range of positions are edited."""
        return [
            i
            for i, position in enumerate(span)
            if (self.only is None or position in self.only) and position not in self.spared
        ]

    def __call__(
        self, state: Tensor, span: Sequence[int], module: int = 0, entered: Tensor | None = None
    ) -> Tensor:
        """(B, n, D) at the last n positions of `span`, edited. What is given stays as it is."""
        n_tokens = state.shape[1]
        span = span[len(span) - n_tokens :]
        at = self.where(span)
        if not at:
            return state
        before = None if entered is None else entered[:, entered.shape[1] - n_tokens :][:, at]
        changed = state.clone()
        place = Place([span[i] for i in at], module, before)
        changed[:, at] = self.change(state[:, at], place).to(state.dtype)
        return changed


def skip(state: Tensor, place: Place) -> Tensor:
    """What entered the block."""
    assert place.entered is not None
    return place.entered


def silent(state: Tensor, place: Place) -> Tensor:
    """Nothing, as of a head that is left out."""
    return torch.zeros_like(state)


def scaled(factor: float) -> Change:
    return lambda state, place: state * factor


def moved(step: Tensor) -> Change:
    """(D,) added."""
    return lambda state, place: state + step.to(state)


def put_in(given: Sequence[Tensor], rows: dict[int, int]) -> Change:
    """Of each module the (T, D) rows that stand for its positions."""
    return lambda state, place: given[place.module][[rows[p] for p in place.positions]].to(state)


def without(direction: Tensor) -> Change:
    """The component along (D,) taken out."""
    unit = (direction.double() / direction.double().norm()).float()

    def change(state: Tensor, place: Place) -> Tensor:
        along = unit.to(state.device)
        values = state.float()
        return values - (values @ along)[..., None] * along

    return change


def kept_to(mean: Tensor, components: Tensor) -> Change:
    """About (D,) only what lies along (k, D), of length 1 and at right angles."""

    def change(state: Tensor, place: Place) -> Tensor:
        middle, rows = mean.to(state.device), components.to(state.device)
        return middle + (state.float() - middle) @ rows.T @ rows

    return change


def noise(edit: Noise) -> Change:
    """See `Noise`."""

    def change(state: Tensor, place: Place) -> Tensor:
        width = state.shape[-1]
        units = [_unit(edit, place.module, position, width) for position in place.positions]
        sizes = state.float().norm(dim=-1, keepdim=True)
        random = sizes * torch.stack(units).to(state.device)
        return random if edit.factor is None else state.float() + abs(edit.factor - 1) * random

    return change


def _unit(edit: Noise, module: int, position: int, width: int) -> Tensor:
    """(D,) of length 1: the random direction of one position."""
    named = f"{edit.seed} {edit.block} {edit.part} {module} {position}"
    named += "" if edit.head is None else f" {edit.head}"
    seed = int.from_bytes(hashlib.sha256(named.encode()).digest()[:7], "little")
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def residual_of(residual: tuple[float, ...], operations: Sequence[Operation]) -> tuple[float, ...]:
    """By what each block multiplies the stream in an edited run: a block left out, by nothing."""
    out = {o.edit.block for o in operations if leaves_out(o.edit) and o.only is None}
    return tuple(1.0 if block in out else share for block, share in enumerate(residual))
