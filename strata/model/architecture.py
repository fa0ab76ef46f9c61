"""What differs between model families, and nothing else: the one place that knows module names.

To add a family, add its `config.model_type` to `ROWS`. Nothing measured is written down here:
the constants by which a family scales its writes and its logits are fitted when a model is
loaded, and the self-check (`Model.check`) judges whether the row is right.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from strata.errors import ModelError
from strata.trace import LENS_TOLERANCE, WRITE_TOLERANCE, ModelCheck, Trace, write_error

_ROWS_AT_ONCE = 100  # positions per product with the head: 20 MB of logits at V = 50,000


@dataclass(frozen=True)
class Row:
    """Where a family keeps what Strata reads. Of several names the first that exists is taken.

    `blocks` and `norm` are paths from the model. `attn` and `mlp` are paths from each block to the
    modules whose *output* is added to the residual stream, which is a norm in families that norm
    a part's output before adding it. Hybrids have another token mixer at some blocks.
    """

    blocks: str
    norm: tuple[str, ...]
    attn: tuple[str, ...] = ("self_attn",)
    mlp: tuple[str, ...] = ("mlp",)


_LLAMA = Row("model.layers", ("model.norm",))
_GPT2 = Row("transformer.h", ("transformer.ln_f",), ("attn",))
_PHI = Row("model.layers", ("model.final_layernorm",))
_POST_NORM = replace(
    _LLAMA, attn=("post_attention_layernorm",), mlp=("post_feedforward_layernorm",)
)

ROWS: dict[str, Row] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gptj", "codegen", "gpt_neo"), _GPT2),
    "gpt_neox": Row("gpt_neox.layers", ("gpt_neox.final_layer_norm",), ("attention",)),
    "bloom": Row(
        "transformer.h", ("transformer.ln_f",), ("self_attention.dense",), ("mlp.dense_4h_to_h",)
    ),
    "falcon": Row("transformer.h", ("transformer.ln_f",), ("self_attention",)),
    "opt": Row(  # the post-norm variant has no final norm, but may project out of the stream
        "model.decoder.layers",
        ("model.decoder.final_layer_norm", "model.decoder.project_out", ""),
        mlp=("fc2",),
    ),
    "xglm": Row("model.layers", ("model.layer_norm",), mlp=("fc2",)),
    "biogpt": Row("biogpt.layers", ("biogpt.layer_norm",), mlp=("fc2",)),
    **dict.fromkeys(("phi", "persimmon"), _PHI),
    **dict.fromkeys(
        (
            "llama mistral ministral ministral3 qwen2 qwen3 phi3 smollm3 glm arcee apertus helium "
            "seed_oss ernie4_5 hunyuan_v1_dense qwen3_moe olmoe mixtral gpt_oss gemma vaultgemma "
            "stablelm starcoder2 nemotron olmo cohere cohere2 granite minicpm3 nanochat"
        ).split(),
        _LLAMA,
    ),
    **dict.fromkeys(("gemma2", "gemma3_text", "gemma4_text"), _POST_NORM),
    **dict.fromkeys(("olmo2", "olmo3", "exaone4"), _POST_NORM),
    "glm4": replace(_LLAMA, attn=("post_self_attn_layernorm",), mlp=("post_mlp_layernorm",)),
    "granitemoe": replace(_LLAMA, mlp=("block_sparse_moe",)),
    "hyperclovax": replace(_LLAMA, attn=("post_norm1",), mlp=("post_norm2",)),
    "lfm2": Row(
        "model.layers", ("model.embedding_norm",), ("self_attn", "conv"), ("feed_forward",)
    ),
    "qwen3_5_text": replace(_LLAMA, attn=("self_attn", "linear_attn")),
}


@dataclass(frozen=True)
class Architecture:
    """The modules of one loaded model, under names that are the same in every family."""

    family: str
    row: Row
    norm_path: str  # "" where the model has no final norm
    blocks: tuple[nn.Module, ...]
    attn: tuple[nn.Module, ...]  # empty where the write modules do not exist
    mlp: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Module
    logit_cap: float | None  # logits are cap * tanh(x / cap)
    logit_scale: float = 1.0  # logits are scale * head(norm(state)), before the cap
    write_scale: float = 1.0  # a write is scale * the module's output

    def normed(self, hidden: Tensor) -> Tensor:
        """State after the final norm, (..., D)."""
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

    def calibrated(self, hidden: Tensor, writes: Tensor | None, logits: Tensor) -> Architecture:
        """With the family's constant factors fitted on one run, by least squares in float64.

        hidden: (L + 1, T, D). writes: (2, L, T, D), unscaled. logits: (T, V).
        """
        result = self
        if not self.logit_cap:  # no family has both a cap and a factor
            result = replace(result, logit_scale=_factor(self.unembed(hidden[-1]), logits))
        if writes is not None:
            result = replace(result, write_scale=_factor(writes.sum(dim=0), hidden.diff(dim=0)))
        return result


def locate(model: Any) -> Architecture:
    """Find the modules of a transformers model by its family's row; unknown family: ModelError."""
    family = model.config.model_type
    row = row_of(family)
    blocks = tuple(model.get_submodule(row.blocks))
    norm_path = _first(model, row.norm)
    if norm_path is None:
        raise ModelError(
            f"No final norm found in this {family} model; see ROWS in strata/model/architecture.py."
        )
    attn = [_first(block, row.attn) for block in blocks]
    mlp = [_first(block, row.mlp) for block in blocks]
    has_writes = None not in attn and None not in mlp
    return Architecture(
        family=family,
        row=row,
        norm_path=norm_path,
        blocks=blocks,
        attn=_modules(blocks, attn) if has_writes else (),
        mlp=_modules(blocks, mlp) if has_writes else (),
        norm=model.get_submodule(norm_path) if norm_path else nn.Identity(),
        head=model.get_output_embeddings(),
        logit_cap=getattr(model.config, "final_logit_softcapping", None),
    )


def row_of(family: str) -> Row:
    """The row of a family; ModelError names the place to add one."""
    if family not in ROWS:
        raise ModelError(
            f"Strata does not know the model family {family!r}; "
            "to add it, add one row to ROWS in strata/model/architecture.py."
        )
    return ROWS[family]


def refused_lens(family: str, error: float) -> str:
    """Why views that read states through the head are refused for a model; '' if they are not."""
    if error <= LENS_TOLERANCE:
        return ""
    return (
        f"The final norm and head found in this {family} model do not give the model's own logits "
        f"(off by {error:.2g}, {LENS_TOLERANCE:g} allowed), so views through them are refused."
    )


def refused_writes(family: str, error: float) -> str:
    """Why views of attention and MLP writes are refused for a model; '' if they are not."""
    if error <= WRITE_TOLERANCE:
        return ""
    found = (
        "were not found"
        if math.isnan(error)  # NaN: there was nothing to measure
        else f"do not add up to what its blocks add (off by {error:.2g} of the state, "
        f"{WRITE_TOLERANCE:g} allowed; writes need float32)"
    )
    return (
        f"The attention and MLP writes of this {family} model {found}, "
        "so views of writes are refused; all others work."
    )


def verified(
    family: str, traces: Sequence[Trace], unembed: Callable[[Tensor], Tensor]
) -> list[ModelCheck]:
    """Lens and writes, measured on each trace; `unembed` runs the head in its own dtype.

    Several short traces share a product with the head: reading its weights is what takes the time.
    """
    lengths = [len(trace.logits) for trace in traces]
    begins = [sum(lengths[:i]) for i in range(len(lengths))]
    last = torch.cat([trace.hidden[-1] for trace in traces])  # (all positions, D)
    errors = []
    for start in range(0, len(last), _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        theirs = torch.cat(
            [
                trace.logits[max(0, start - begin) : max(0, stop - begin)]
                for trace, begin in zip(traces, begins, strict=True)
            ]
        )
        difference = unembed(last[start:stop]).float() - theirs.float()  # (n, V)
        errors.append(difference.abs().amax(dim=-1))
    lenses = [float(of_one.max()) for of_one in torch.cat(errors).split(lengths)]
    return [_judged(family, trace, lens) for trace, lens in zip(traces, lenses, strict=True)]


def _judged(family: str, trace: Trace, lens: float) -> ModelCheck:
    writes = math.nan
    if trace.writes is not None:
        skip = tuple(edit.block for edit in trace.edits if edit.part == "stream")
        writes = write_error(trace.hidden, trace.attn, trace.mlp, skip)
    reasons = refused_lens(family, lens), trace.refusal or refused_writes(family, writes)
    return ModelCheck(lens, writes, " ".join(filter(None, reasons)))


def _first(root: nn.Module, paths: Sequence[str]) -> str | None:
    for path in paths:
        try:
            found = root.get_submodule(path)
        except AttributeError:
            continue
        if found is not None:  # an absent part may be registered as None
            return path
    return None


def _modules(blocks: Sequence[nn.Module], paths: Sequence[str | None]) -> tuple[nn.Module, ...]:
    return tuple(block.get_submodule(p) for block, p in zip(blocks, paths, strict=True) if p)


def _factor(ours: Tensor, theirs: Tensor) -> float:
    """The constant c for which c * ours is nearest to theirs; exactly 1 if it nearly is."""
    ours, theirs = ours.double().flatten(), theirs.double().flatten()
    factor = float(ours @ theirs / (ours @ ours).clamp_min(1e-300))
    return 1.0 if abs(factor - 1) < 1e-3 else factor
