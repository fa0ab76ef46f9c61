"""A model's attention in the open: its blocks run once more with every weight written down.

The way by which models run gives no weights, since it never has them all at once. So a block is run
again, alone, on the state that entered it, on a private copy of the model's modules: the same
weights in memory, but with an attention that computes its softmax as it is written. What leaves the
block is compared with what the run left there. Nothing of the shared model is touched, so others
may use it meanwhile.
"""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strata.errors import ModelError
from strata.model.architecture import Architecture, Writes
from strata.model.head_slices import projection
from strata.model.hooks import Recorder
from strata.model.replay import Inputs, inputs_of
from strata.trace import AGREEMENT, Trace

if TYPE_CHECKING:
    from strata.model.model import Model

_NAME = "strata_opened"  # of the attention, in transformers' table of them
_EAGER = ("eager_attention_forward", "simple_eager_attention_forward")  # in a family's own module
Found = tuple[Tensor, Tensor | None]  # weights (1, H, T, T), and values


@dataclass(frozen=True)
class Opened:
    """The attention of one block in a run of T tokens, H heads; float32 on the CPU.

    `weights` (H, T, T) by head, query and key. A query's sum is 1, or less where a head has a
    learned logit that stands for no token; it is then `nowhere` (H, T) that is left of it. `values`
    (H, T, W) is what each key hands on by 1 of weight, as `weights @ values` is what each head
    hands on; None where a family does not say, or does more with it (a gate, a norm). `tolerance`:
    by how much a sum of weights may be off, in the numbers that they were computed in.
    """

    block: int
    weights: Tensor
    values: Tensor | None
    error: float  # see `opened`
    tolerance: float

    @property
    def nowhere(self) -> Tensor:
        left = (1 - self.weights.sum(dim=-1)).clamp_min(0)
        return left if bool((left > self.tolerance).any()) else torch.zeros_like(left)


class Unweighted(ModelError):
    """A block has no attention weights."""


def opened(model: Model, trace: Trace, blocks: Sequence[int] | None = None) -> Iterator[Opened]:
    """The attention of some blocks of a run, each by a run of that block alone on `hidden[block]`;
    None: of all that have attention weights (a hybrid's other blocks are passed over).

    Edits of lower blocks are in that state; those of the block itself act on what leaves its
    softmax and leave the weights as they are, also where they leave out the whole block. `error` is
    how far what the block gives is from what the trace has, the edits made on both: relative, of
    states by position and of the attention's write by block, whichever is larger.

    ModelError for a block without attention weights, and where the block by itself gives something
    else than in the run.
    """
    copies: dict[int, Any] = {}
    found: list[Found] = []
    network = _copied(model._network, copies, {}, found)
    architecture = _of_copies(model.architecture, copies)
    operations = model._resolved(trace.edits, trace.token_ids, len(trace.token_ids))
    inputs = inputs_of(network, architecture, trace.token_ids)
    any_has = blocks is not None
    for block in range(model.n_layers) if blocks is None else blocks:
        made = [
            replace(o, edit=replace(o.edit, block=0)) for o in operations if o.edit.block == block
        ]
        heard = Recorder(_only(architecture, block), made)
        try:
            seen = _run(model, architecture, block, inputs[block], trace, heard, found)
        except Unweighted:
            if blocks is not None:
                next(opened(model, trace), None)  # where no block has any it says so
                raise
            continue
        any_has = True
        error = _error(trace, block, heard)
        if not error <= model.check.agreement:
            raise ModelError(
                f"Block {block} of this {model.family} model, run by itself, gives something else "
                f"than in the whole run ({error:.1g} of its size), so its attention is not shown."
            )
        yield replace(seen, error=error)
    if not any_has:
        raise Unweighted(
            f"No block of this {model.family} model has attention weights to show; all other pages "
            "work."
        )


def _run(
    model: Model,
    architecture: Architecture,
    block: int,
    inputs: Inputs,
    trace: Trace,
    recorder: Recorder,
    found: list[Found],
) -> Opened:
    module = architecture.blocks[block]
    state = trace.hidden[block].to(model.device, model.dtype)
    given: list[Tensor] = []
    found.clear()

    def listen(each: nn.Module, args: Any, output: Any) -> None:
        """Families without transformers' table of attentions hand their weights on themselves."""
        weights = [o for o in output if _is_weights(o, len(state))] if _several(output) else []
        if weights and not found:
            found.append((weights[0], None))

    handles = [each.register_forward_hook(listen) for each in module.modules() if each != module]
    try:
        handed = projection(model.architecture, block)[0]
    except ModelError:
        handed = None
    if handed is not None:
        place = dict(zip(model.architecture.blocks[block].modules(), module.modules(), strict=True))
        # Before the recorder opens, so as heads hand it on, before edits of single heads.
        keep = place[handed].register_forward_pre_hook(lambda m, args: given.append(args[0]))
        handles.append(keep)
    twin = getattr(model, "drawn", None)  # whose matrices are there only while a block runs
    held = nullcontext() if twin is None else twin.holding(block)
    try:
        with torch.inference_mode(), recorder, held:
            module(state.reshape(1, len(state), *inputs.form), *inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    if len(found) != 1 or found[0][0].ndim != 4:
        raise Unweighted(
            f"Block {block} of this {model.family} model has no attention weights to show; "
            "blocks that have, and all other pages, work."
        )
    weights, values = found[0]
    tolerance = _tolerance(weights)
    weights = weights[0].float().cpu()  # (H, T, T)
    if not _is_softmax(weights, tolerance):
        raise ModelError(
            f"What the heads of this {model.family} model weigh tokens by is no softmax over those "
            "before them, so it is not shown as attention; all other pages work."
        )
    return Opened(block, weights, _handed_on(weights, values, given), 0.0, tolerance)


def _tolerance(*computed: Tensor) -> float:
    """How far off what follows from these numbers may be: as an agreement, in coarser numbers two
    of their steps."""
    return max(AGREEMENT, *(2 * torch.finfo(each.dtype).eps for each in computed))


def _handed_on(weights: Tensor, whole: Tensor | None, given: Sequence[Tensor]) -> Tensor | None:
    """(H, T, W) values, if heads hand on just their mean by weight."""
    if whole is None or len(given) != 1:
        return None
    values = whole[0].float().cpu()  # of fewer heads, where several share them
    n_heads, n_tokens = weights.shape[:2]
    if n_heads % len(values):
        return None
    tolerance = _tolerance(given[0], whole[0])
    values = values.repeat_interleave(n_heads // len(values), dim=0)
    there = given[0].float().cpu().reshape(n_tokens, -1)
    here = (weights @ values).transpose(0, 1).reshape(n_tokens, -1)
    if here.shape != there.shape:
        return None
    apart = (here - there).abs().max() / there.abs().max().clamp_min(1e-30)
    return values if bool(apart <= tolerance) else None


def _error(trace: Trace, block: int, recorder: Recorder) -> float:
    after, wanted = recorder.hidden[1, 0].float().cpu(), trace.hidden[block + 1]
    size = wanted.abs().amax(dim=-1).clamp_min(1e-30)  # (T,)
    error = float(((after - wanted).abs().amax(dim=-1) / size).max())
    if trace.writes is None or recorder.writes is None:
        return error
    written = trace.writes[0, block]
    apart = (recorder.writes[0, 0, 0].float().cpu() - written).abs().max()
    return max(error, float(apart / written.abs().max().clamp_min(1e-30)))


def _several(output: Any) -> bool:
    return isinstance(output, (tuple, list))


def _is_weights(value: Any, n_tokens: int) -> bool:
    if not isinstance(value, Tensor) or value.ndim != 4:
        return False
    return len(value) == 1 and value.shape[2:] == (n_tokens, n_tokens)


def _is_softmax(weights: Tensor, tolerance: float) -> bool:
    """Whether (H, T, T) weights are none below 0, none of what follows, none that sum to over 1."""
    ahead = weights.triu(diagonal=1).abs().max()
    sums = weights.sum(dim=-1)
    return bool(
        weights.shape[-2] == weights.shape[-1]
        and weights.min() >= -tolerance
        and ahead <= tolerance
        and (sums <= 1 + tolerance).all()
    )


# -- the private copy --------------------------------------------------------------------------


def _copied(
    module: nn.Module, copies: dict[int, Any], configs: dict[int, Any], found: list[Found]
) -> Any:
    """A module and all below it, without hooks, on the same weights, by an attention in the open
    that puts down in `found` what it has; `copies` gets each by the id of what it is of."""
    if id(module) in copies:
        return copies[id(module)]
    copied = copies[id(module)] = module.__class__.__new__(module.__class__)
    values = dict(vars(module))
    values.pop("forward", None)  # of another thread's, for the length of a call
    for name, value in values.items():
        if name.endswith("_hooks") or "_hooks_" in name:
            values[name] = OrderedDict()
        elif isinstance(value, _config_class()):
            values[name] = copy.deepcopy(value, configs)
            values[name]._attn_implementation = _NAME
    values["_buffers"] = dict(values["_buffers"])  # a rotation may be made anew by the length
    below = values["_modules"].items()
    values["_modules"] = {
        name: None if each is None else _copied(each, copies, configs, found)
        for name, each in below
    }
    vars(copied).update(values, _strata_found=found)
    return copied


def _of_copies(architecture: Architecture, copies: dict[int, Any]) -> Architecture:
    def writes(some: Writes) -> Writes:
        return tuple(tuple(replace(w, module=copies[id(w.module)]) for w in each) for each in some)

    return replace(
        architecture,
        blocks=tuple(copies[id(block)] for block in architecture.blocks),
        attn=writes(architecture.attn),
        mlp=writes(architecture.mlp),
        head=copies[id(architecture.head)],
    )


def _only(architecture: Architecture, block: int) -> Architecture:
    """As if there were this block alone."""
    span = slice(block, block + 1)
    return replace(
        architecture,
        blocks=architecture.blocks[span],
        attn=architecture.attn[span],
        mlp=architecture.mlp[span],
    )


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kw: Any
) -> Any:
    """The family's own attention as it is written, of which weights and values are kept."""
    family = vars(sys.modules[type(module).__module__])
    eager = next(family[name] for name in _EAGER if name in family)
    output, weights = eager(module, query, key, value, *args, **kw)
    module._strata_found.append((weights, value))
    return output, weights


@cache
def _config_class() -> type:
    """Of transformers' configurations, once the attention in the open is in its tables. Not at the
    top of the file, which concepts import: they are there before transformers is."""
    from transformers import AttentionInterface, PreTrainedConfig
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, eager_mask)
    return PreTrainedConfig
