"""The nouns: what one run of a model leaves behind, and the edits made to a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
    State,
    Unembedding,
    breaks_sum,
    leaves_out,
)
from strata.errors import ModelError

__all__ = [
    "AGREEMENT",
    "EMBEDDING",
    "LENS_TOLERANCE",
    "WRITE_TOLERANCE",
    "Add",
    "Difference",
    "Direction",
    "Edit",
    "Keep",
    "MeanState",
    "ModelCheck",
    "Noise",
    "Part",
    "Principal",
    "Project",
    "Replace",
    "Scale",
    "Skip",
    "State",
    "Trace",
    "Unembedding",
    "write_error",
]

LENS_TOLERANCE = 1e-3  # logits: max abs difference, the head run in its own dtype
AGREEMENT = 1e-4  # float32: max |difference| relative to the largest |entry| of what is compared
WRITE_TOLERANCE = 1e-5  # states: max |difference| relative to the largest |entry| of that state


@dataclass(frozen=True)
class ModelCheck:
    """What every number in Strata rests on, measured.

    Three identities, for each run. `lens_error`: max |unembed(hidden[L]) - logits of the model
    itself|, head in its own dtype; `lens_tolerance` is 1e-3, in coarser numbers than float32 four
    of their steps at the largest logit. `write_error`: max over states of
    |hidden[l+1] - hidden[l] - attn[l] - mlp[l]| divided by the largest |entry| of hidden[l+1];
    relative, because a sink state of size 24,000 cannot agree to 1e-5 absolutely in float32. Where
    blocks multiply the stream, hidden[l] counts as often as `Trace.residual` says. NaN where the
    writes of this family are unknown. `read_back_error`: how many characters and token ids do not
    come back when the tokens' texts are joined and read anew, see `Tokenizer.read_back`; NaN where
    that was not measured.

    Four agreements, for a model, each the largest difference of two ways to the same logits or
    states as a share of the largest entry, at most `agreement`; infinite where one way failed, NaN
    where it was not measured. `causal_error`: earlier positions, when the last token is another.
    `batch_error`: a prompt alone and beside a longer one. `cache_error`: a continuation
    with the KV cache, and whole runs of the same text. `replay_error`: edits computed from the edit
    upwards, and by whole runs.
    """

    lens_error: float
    write_error: float
    reason: str = ""
    read_back_error: float = math.nan
    causal_error: float = math.nan
    batch_error: float = math.nan
    cache_error: float = math.nan
    replay_error: float = math.nan
    lens_tolerance: float = LENS_TOLERANCE
    agreement: float = AGREEMENT

    @property
    def lens_ok(self) -> bool:
        return self.lens_error <= self.lens_tolerance

    @property
    def write_ok(self) -> bool:
        return self.write_error <= WRITE_TOLERANCE

    @property
    def read_back_ok(self) -> bool:
        return self.read_back_error == 0

    @property
    def causal_ok(self) -> bool:
        return self.causal_error <= self.agreement

    @property
    def batch_ok(self) -> bool:
        return self.batch_error <= self.agreement

    @property
    def cache_ok(self) -> bool:
        return self.cache_error <= self.agreement

    @property
    def replay_ok(self) -> bool:
        return self.replay_error <= self.agreement

    @property
    def ok(self) -> bool:
        """Whether states and writes are read right; the text's reading back is told apart, and the
        four agreements each switch off what they are about."""
        return self.lens_ok and self.write_ok

    def with_read_back(self, error: int) -> ModelCheck:
        """The same, with what was measured of the text."""
        told = (
            f"The tokens of this text do not give it back ({error} characters or ids differ), so "
            "what is shown of them may not be what the model read."
        )
        reason = " ".join(filter(None, (self.reason, told if error else "")))
        return replace(self, read_back_error=float(error), reason=reason)


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """Everything one forward pass wrote down, for one prompt of T tokens.

    A layer indexes states (0 is what enters block 0), a block indexes modules, so `hidden` has
    one row more than `attn` and `mlp`. All states are before the final norm. Where no edit changed
    the stream, `hidden[l + 1] - hidden[l] == attn[l] + mlp[l]`; in families whose blocks multiply
    the stream before they add, `hidden[l + 1] - residual[l] * hidden[l] == attn[l] + mlp[l]`.
    """

    text: str
    tokens: tuple[str, ...]  # unescaped; joined they give back the text, see `Tokenizer.tokens`
    token_ids: Tensor  # (T,) int64
    hidden: Tensor  # (L + 1, T, D) float32, CPU
    writes: Tensor | None  # (2, L, T, D) attention first, then MLP; None: `refusal` says why
    logits: Tensor  # (T, V) the model's own, in its own dtype
    edits: tuple[Edit, ...] = ()
    refusal: str = ""
    residual: tuple[float, ...] = ()  # L: by what each block multiplies the stream; (): by nothing
    verify: Callable[[Trace], ModelCheck] | None = None

    @property
    def attn(self) -> Tensor:
        """(L, T, D): what each block's attention (or another token mixer) added.

        Raises ModelError where this model's writes could not be verified.
        """
        return self._writes()[0]

    @property
    def mlp(self) -> Tensor:
        """(L, T, D): what each block's MLP added. Raises ModelError like `attn`."""
        return self._writes()[1]

    @property
    def added(self) -> Tensor:
        """(L, T, D): what each block added to the stream, attention and MLP together."""
        if not self.residual:
            return self.hidden.diff(dim=0)
        return self.hidden[1:] - self._residual * self.hidden[:-1]

    def carried(self, added: Tensor) -> Tensor:
        """(L, T, D) what was added by each block -> what is left of it in `hidden[L]`."""
        return added * _later(self._residual) if self.residual else added

    @property
    def embedding(self) -> Tensor:
        """(T, D): what is left of `hidden[0]` in `hidden[L]`."""
        return self.hidden[0] * math.prod(self.residual) if self.residual else self.hidden[0]

    @property
    def _residual(self) -> Tensor:
        return torch.tensor(self.residual)[:, None, None]  # (L, 1, 1)

    @property
    def unsummed(self) -> tuple[int, ...]:
        """Blocks after which an edit changed the stream itself, so that what the block added is not
        attention plus MLP there."""
        apart = [e for e in self.edits if leaves_out(e) and e.positions is not None]
        apart = apart if self.residual else []  # where it leaves out to multiply, at some positions
        return tuple(edit.block for edit in self.edits if breaks_sum(edit) or edit in apart)

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else f"{self.text[:57]}..."
        parts = [f"{text!r}", f"hidden {tuple(self.hidden.shape)}"]
        if self.writes is not None:
            parts += [f"attn and mlp {tuple(self.writes.shape[1:])} each"]
        parts += [f"logits {tuple(self.logits.shape)}", *map(repr, self.edits[:2])]
        return f"Trace({', '.join(parts)}{', ...' if len(self.edits) > 2 else ''})"

    def _writes(self) -> Tensor:
        if self.writes is None:
            raise ModelError(self.refusal or "This trace was captured without its writes.")
        return self.writes

    @property
    def measured(self) -> bool:
        """Whether `check` is known, so that asking for it costs nothing."""
        return "check" in self.__dict__

    def with_check(self, check: ModelCheck) -> Trace:
        """This trace, whose identities were measured elsewhere."""
        self.__dict__["check"] = check
        return self

    @property
    def check(self) -> ModelCheck:
        """The identities, measured on this very run, at the first time of asking."""
        if self.verify is None:
            raise ValueError("a trace built by hand carries no model to be checked against")
        # Not a `cached_property`: up to Python 3.11 all traces' would wait for one lock.
        if not self.measured:
            self.__dict__["check"] = self.verify(self)
        known: ModelCheck = self.__dict__["check"]
        return known

    @property
    def n_bytes(self) -> int:
        """Memory held by the tensors, in bytes."""
        tensors = (self.token_ids, self.hidden, self.writes, self.logits)
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def write_error(
    hidden: Tensor,
    attn: Tensor,
    mlp: Tensor,
    skip: tuple[int, ...] = (),
    residual: tuple[float, ...] = (),
) -> float:
    """How far attention plus MLP is from what each block added, relative to the state's size.

    Blocks in `skip` (those whose stream an edit changed) are left out. See `ModelCheck`; `residual`
    as in `Trace`.
    """
    blocks = [b for b in range(len(attn)) if b not in skip]
    if not blocks:
        return 0.0
    before = hidden[:-1][blocks]  # (·, T, D)
    if residual:
        before = before * hidden.new_tensor(residual)[blocks, None, None]
    difference = hidden[1:][blocks] - before - attn[blocks] - mlp[blocks]  # (·, T, D)
    size = (
        hidden[1:][blocks].abs().amax(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    )  # (·, T)
    return float((difference.abs().amax(dim=-1) / size).max())


def _later(residual: Tensor) -> Tensor:
    """(L, 1, 1): for each block the product over all blocks above it, 1 for the last."""
    above = torch.cat([residual[1:], torch.ones_like(residual[:1])]).double()
    return above.flip(0).cumprod(dim=0).flip(0).float()
