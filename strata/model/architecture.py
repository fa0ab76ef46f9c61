"""One loaded model's modules under names that are the same in every family, and their self-check.

Names of modules are in `strata/model/families.py`. Nothing measured is written down: the factors
by which a family scales its writes and its logits are fitted here when a model is loaded, and the
self-check (`Model.check`) judges whether the row was right.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from strata.errors import ModelError
from strata.model.families import REFUSED, ROWS, Row, row_of
from strata.model.finish import Finish
from strata.trace import LENS_TOLERANCE, WRITE_TOLERANCE, Part, write_error

# Where a wrapper for pictures or sound keeps the text model whose paths begin with "model."
_INSIDE = ("model.", "model.language_model.", "model.text_model.", "language_model.model.")
_STEPS = 4  # of a coarse number type: see `lens_tolerance`
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads")
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


@dataclass(frozen=True)
class Write:
    """A module of a block, and by how much of its output the stream grows."""

    path: str  # from the block
    module: nn.Module
    scale: float = 1.0


Writes = tuple[tuple[Write, ...], ...]  # of each block; a part may be the sum of several modules


@dataclass(frozen=True)
class Architecture:
    """The modules of one loaded model, under names that are the same in every family."""

    family: str
    row: Row
    blocks_path: str
    norm_path: str | None  # "" where there is none; None where `norm` is a `Finish`
    blocks: tuple[nn.Module, ...]
    attn: Writes  # empty where the write modules do not exist
    mlp: Writes
    norm: nn.Module
    finish: Finish
    head: nn.Module
    logit_cap: float | None  # logits are cap * tanh(x / cap)
    logit_scale: float = 1.0  # logits are scale * head(norm(state)), before the cap
    residual: tuple[float, ...] = ()  # as in `Trace`
    n_heads: int | None = None  # of an attention; None where the configuration has no such number

    def normed(self, hidden: Tensor) -> Tensor:
        """State after the final norm, (..., D), or as wide as what the head reads."""
        return self.norm(hidden)

    def unembed(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V) logits in the dtype of norm and head."""
        return self._finished(self.head(self.norm(hidden)))

    def logits_of(self, normed: Tensor, vocabulary: slice, out: Tensor) -> Tensor:
        """(N, D) states after the final norm -> (N, v) logits of a part of the vocabulary. `out`
        is memory for them; of a family without factor and cap they are there."""
        weight = self.head.get_parameter("weight")[vocabulary]  # (v, D)
        torch.mm(normed, weight.T, out=out)
        bias: Tensor | None = getattr(self.head, "bias", None)
        return self._finished(out if bias is None else out.add_(bias[vocabulary]))

    def _finished(self, logits: Tensor) -> Tensor:
        if self.logit_scale != 1.0:
            logits = logits * self.logit_scale
        if self.logit_cap:
            logits = self.logit_cap * torch.tanh(logits / self.logit_cap)
        return logits

    def in_float32(self) -> Architecture:
        """The same with norm and head in float32, for numbers that are shown."""
        if next(self.head.parameters()).dtype == torch.float32:
            return self
        norm, head = (copy.deepcopy(m).float() for m in (self.norm, self.head))
        return replace(self, norm=norm, head=head)

    def moved(self, network: Any) -> Architecture:
        """The same of another network of this form, with what was fitted to this one."""
        there = locate(network)
        scales = [[w.scale for w in (*a, *m)] for a, m in zip(self.attn, self.mlp, strict=True)]
        return replace(
            there._scaled(scales) if self.has_writes else there,
            norm=there.finish if self.norm_path is None else there.norm,
            norm_path=self.norm_path,
            logit_scale=self.logit_scale,
            residual=self.residual,
        )

    @property
    def has_writes(self) -> bool:
        """Whether there are modules to read the writes of."""
        return bool(self.attn)

    @property
    def is_mixer(self) -> bool:
        """Whether a block adds once, by a single mixer, and has no MLP of its own."""
        return self.has_writes and not any(self.mlp)

    @property
    def write_scale(self) -> float:
        """The factor that all modules share: a write is factor * the module's output; NaN if they
        share none, 1 if there are none."""
        scales = {write.scale for write in chain(*self.attn, *self.mlp)} or {1.0}
        return scales.pop() if len(scales) == 1 else float("nan")

    def parts(self) -> Iterator[tuple[Part, Writes]]:
        """("attn", modules of each block) and ("mlp", likewise)."""
        yield "attn", self.attn
        yield "mlp", self.mlp

    # -- fitted when a model is loaded -------------------------------------------------------------

    def calibrated(
        self, hidden: Tensor, outputs: dict[Part, list[list[Tensor]]], logits: Tensor
    ) -> Architecture:
        """With what a family's numbers are fitted to on one run, by least squares in float64.

        hidden: (L + 1, T, D). outputs: for each part and block what its modules gave, (T, D) each.
        logits: (T, V).
        """
        return self._with_lens(hidden[-1], logits)._with_scales(hidden, outputs)

    def _with_lens(self, last: Tensor, logits: Tensor) -> Architecture:
        """By norm and head if these give the logits, else by what the network itself makes of its
        last state."""
        whole = replace(self, norm=self.finish, norm_path=None)
        if self.norm_path is None:
            return whole._with_logit_scale(last, logits)
        if self.norm(last[:1]).shape[-1] != self.head.get_parameter("weight").shape[-1]:
            return whole._with_logit_scale(last, logits)  # something stands between them
        found = self._with_logit_scale(last, logits)
        if _apart(found.unembed(last), logits) <= lens_tolerance(logits):
            return found
        return whole._with_logit_scale(last, logits)

    def _with_logit_scale(self, last: Tensor, logits: Tensor) -> Architecture:
        if self.logit_cap:  # no family has both a cap and a factor
            return self
        return replace(self, logit_scale=_factor(self.unembed(last), logits))

    def _with_scales(self, hidden: Tensor, outputs: dict[Part, list[list[Tensor]]]) -> Architecture:
        """One factor for all modules if that is enough, else one for each; where blocks do more
        than add, one for the stream that enters each, too."""
        if not self.has_writes:
            return self
        columns = [[*attn, *mlp] for attn, mlp in zip(outputs["attn"], outputs["mlp"], strict=True)]
        grown = hidden.diff(dim=0)  # (L, T, D)
        sums = torch.stack([torch.stack(each).sum(dim=0) for each in columns])  # (L, T, D)
        common = _factor(sums, grown)
        none = torch.zeros_like(sums)
        if write_error(hidden, common * sums, none) <= WRITE_TOLERANCE:
            return self._scaled([[common] * len(each) for each in columns])
        apart = self._scaled([_factors(each, to) for each, to in zip(columns, grown, strict=True)])
        error = apart._error(hidden, columns)
        if error <= WRITE_TOLERANCE:
            return apart
        blocks = zip(hidden[:-1], columns, hidden[1:], strict=True)
        found = [_shares([before, *each], after) for before, each, after in blocks]
        kept = tuple(share for share, *_ in found)
        shared = replace(self._scaled([scales for _, *scales in found]), residual=kept)
        # In coarse numbers neither is right, and the better one says so for the right reason.
        least = max(WRITE_TOLERANCE, error / 10)
        return shared if shared._error(hidden, columns) <= least else apart

    def _error(self, hidden: Tensor, columns: Sequence[Sequence[Tensor]]) -> float:
        """`write_error`, given what the modules of each block gave."""
        writes = torch.zeros_like(hidden[1:])  # (L, T, D)
        for block, outputs in enumerate(columns):
            for write, output in zip((*self.attn[block], *self.mlp[block]), outputs, strict=True):
                writes[block] += write.scale * output
        return write_error(hidden, writes, torch.zeros_like(writes), residual=self.residual)

    def _scaled(self, scales: Sequence[Sequence[float]]) -> Architecture:
        """With a factor for each module: of each block those of its attention, then of its MLP."""
        attn, mlp = [], []
        for first, second, numbers in zip(self.attn, self.mlp, scales, strict=True):
            both = [replace(w, scale=c) for w, c in zip((*first, *second), numbers, strict=True)]
            attn.append(tuple(both[: len(first)]))
            mlp.append(tuple(both[len(first) :]))
        return replace(self, attn=tuple(attn), mlp=tuple(mlp))


def locate(network: Any) -> Architecture:
    """Find the modules of a transformers model by its family's row.

    ModelError for a family without one, and for a model whose blocks are not where its row says.
    """
    family = network.config.model_type
    row = row_of(text_type(network.config))
    head = network.get_output_embeddings()
    inside = next((i for i in _INSIDE if _module(network, _at(row.blocks, i)) is not None), None)
    if inside is None or head is None:
        raise ModelError(
            f"The blocks or the head of this {family} model are not where they should be."
        )
    blocks_path = _at(row.blocks, inside)
    blocks = tuple(network.get_submodule(blocks_path))
    norms = [_at(path, inside) for path in row.norm]
    norm_path = next((path for path in norms if _module(network, path) is not None), None)
    attn = [_writes(block, row.attn) for block in blocks]
    mlp = [_writes(block, row.mlp) for block in blocks]
    has_writes = None not in attn and (None not in mlp or not row.mlp)
    finish = Finish(network, blocks[-1], head)
    text_config = network.config.get_text_config(decoder=True)
    return Architecture(
        family=family,
        row=row,
        blocks_path=blocks_path,
        norm_path=norm_path,
        blocks=blocks,
        attn=tuple(each or () for each in attn) if has_writes else (),
        mlp=tuple(each or () for each in mlp) if has_writes else (),
        norm=_norm(network, norm_path) if norm_path is not None else finish,
        finish=finish,
        head=head,
        logit_cap=next(filter(None, (getattr(text_config, name, None) for name in _CAPS)), None),
        n_heads=next(filter(None, (getattr(text_config, name, None) for name in _HEADS)), None),
    )


def _norm(network: Any, path: str) -> nn.Module:
    return network.get_submodule(path) if path else nn.Identity()


def text_type(config: Any) -> str:
    """The family whose row counts: of a wrapper for pictures or sound, that of its text model."""
    own: str = config.model_type
    if own in ROWS or own in REFUSED:
        return own
    inner: str = config.get_text_config(decoder=True).model_type
    return inner if inner in ROWS or inner in REFUSED else own


def lens_tolerance(logits: Tensor) -> float:
    """How far a lens may be from the model's own logits, in logits.

    1e-3 in float32. Coarser numbers are rounded at other places by the model and by the lens, so
    there it is four steps of the number type at the largest logit.
    """
    if logits.dtype in (torch.float32, torch.float64):
        return LENS_TOLERANCE
    largest = float(logits.float().abs().max())
    return max(LENS_TOLERANCE, _STEPS * torch.finfo(logits.dtype).eps * largest)


def _at(path: str, inside: str) -> str:
    """The path in a model, or in a wrapper that keeps the text model `inside`."""
    return inside + path.removeprefix("model.") if path.startswith("model.") else path


def _module(root: nn.Module, path: str) -> nn.Module | None:
    try:
        return root.get_submodule(path)
    except AttributeError:
        return None  # an absent part may also be registered as None


def _writes(block: nn.Module, names: Sequence[str]) -> tuple[Write, ...] | None:
    """The modules of the first name of which all exist; None if there is none."""
    for name in names:
        found = [(path, _module(block, path)) for path in name.split("+")]
        if all(module is not None for _, module in found):
            return tuple(Write(path, module) for path, module in found if module is not None)
    return None


def _apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max())


def _factor(ours: Tensor, theirs: Tensor) -> float:
    """The constant c for which c * ours is nearest to theirs; exactly 1 if it nearly is."""
    ours, theirs = ours.double().flatten(), theirs.double().flatten()
    factor = float(ours @ theirs / (ours @ ours).clamp_min(1e-300))
    return 1.0 if abs(factor - 1) < 1e-3 else factor


def _factors(ours: Sequence[Tensor], theirs: Tensor) -> list[float]:
    """One constant each, for which the sum is nearest; exactly 1 where it nearly is."""
    columns = torch.stack([each.double().flatten() for each in ours], dim=1)
    found = torch.linalg.lstsq(columns.cpu(), theirs.double().flatten()[:, None].cpu()).solution
    return [1.0 if abs(c - 1) < 1e-3 else c for c in found[:, 0].tolist()]


def _shares(parts: Sequence[Tensor], state: Tensor) -> list[float]:
    """One constant for each part, (T, D), by which they are nearest to the sum `state`. Each
    position counts alike, since errors are judged by the size of its state."""
    size = state.double().abs().amax(dim=-1, keepdim=True).clamp_min(1e-300)  # (T, 1)
    columns = torch.stack([(part.double() / size).flatten() for part in parts], dim=1)
    wanted = (state.double() / size).flatten()[:, None]
    shares: list[float] = torch.linalg.lstsq(columns.cpu(), wanted.cpu()).solution[:, 0].tolist()
    return shares
