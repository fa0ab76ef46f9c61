"""How the last states of a run answer to all its states: gradients, walked down block by block.

A cotangent is put at every target position and pulled back through all blocks, many at once. What
positions before the first target hold goes into no gradient that is asked for, so their keys and
values are read from the run itself (`strata.model.tails`), and only the rest is differentiated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from strata.errors import InputError
from strata.model import limits
from strata.model.gradients import states_with_grad
from strata.model.replay import Inputs, inputs_of
from strata.model.tails import Kept, Layout, Tails, Unfit, Wholes
from strata.runtime.stepping_aside import step_aside
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model.model import Model

log = logging.getLogger(__name__)

_FEW = 1  # cotangents: by one graph of the whole network, which runs forward once
ROWS = 16  # cotangents that go through a block together
_BYTES = 256 * 2**20  # that the gradients of some cotangents may take
_TAILS, _WHOLES, _ONE_GRAPH = range(3)  # ways, from fast to slow
_PROVED = 12  # tokens on which a way is tried, where no attention reaches less far than a text
# By tokenizer, which twins share: the way, and on how many tokens it was tried.
_ways: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()


def pulled_back(
    model: Model,
    rows: Sequence[Tensor],
    cotangents: Tensor,
    skip: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """(R, L + 1, n, D) float32, on the CPU, of R texts' token ids and (n, D) cotangents: at each
    layer l the mean over source positions s of the gradient of sum_t c . h_L[t] by h_l[s].

    h_L is the last state before the final norm. Positions s and t are those from `skip` to the last
    but one; by causality those t below s add nothing. `progress` hears which share is done and may
    raise. InputError for a text without such a position. No parameter receives a gradient.
    """
    for row in rows:
        require_length(row, skip)
    ids = [row[:-1] for row in rows]
    few = len(cotangents) <= _FEW and vars(model).get("drawn") is None
    way = _ONE_GRAPH if few else _way(model, max(map(len, ids)), skip)
    if way < _ONE_GRAPH:
        return _by_blocks(model, _captured(model, ids), cotangents, skip, progress, way)
    found = []
    for i, row in enumerate(ids):
        found.append(_by_one_graph(model, row, cotangents, skip))
        progress((i + 1) / len(ids))
        step_aside()
    return torch.stack(found)


def require_length(row: Tensor, skip: int) -> None:
    """InputError for a text that has no position left."""
    if skip < 0:
        raise InputError("The number of positions to skip is 0 or more.")
    if len(row) < skip + 2:
        raise InputError(
            f"A text has {len(row)} token{'s' * (len(row) != 1)}, and since the first {skip} and "
            f"the last one are left out, at least {skip + 2} are needed; use longer texts or skip "
            "fewer."
        )


def _way(model: Model, n_tokens: int, skip: int) -> int:
    """The fastest way that gives what plain gradients of the whole network give, found by a few
    cotangents on a text: of `n_tokens` or more where the model's attention has a window, which a
    family may cut by where keys lie and not by which they are, else on a short one."""
    n_tokens = _PROVED if n_tokens <= _PROVED or not limits.has_window(model.config) else n_tokens
    way, tried = _ways.get(model.texts, (_TAILS if model.check.replay_ok else _ONE_GRAPH, 0))
    if tried >= n_tokens or way == _ONE_GRAPH:
        return way
    tried = 1 << (n_tokens - 1).bit_length()  # so that few lengths are tried, not each text's
    n_tokens = min(max(_PROVED, tried), model.prompt_limit)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.d_vocab, (n_tokens,), generator=generator)
    cotangents = torch.randn(3, model.d_model, generator=generator)
    skip = min(skip, n_tokens // 3)
    plain = _by_one_graph(model, ids, cotangents, skip)
    size = plain.abs().amax(dim=(1, 2))
    while way < _ONE_GRAPH:
        try:
            [found] = _by_blocks(model, [model.capture_row(ids)], cotangents, skip, way=way)
            error = ((found - plain).abs().amax(dim=(1, 2)) / size.clamp_min(1e-30)).max()
            if bool(error <= model.check.agreement):
                break
        except Unfit:
            pass
        way += 1
        log.info("%s: gradients take way %d", model.name, way)
    _ways[model.texts] = way, tried
    return way


def _captured(model: Model, rows: Sequence[Tensor]) -> list[Trace]:
    """A run of each, in as few passes as may be: a random twin draws its blocks in each anew."""
    traces: dict[int, Trace] = {}
    for group in limits.together(rows, model.config, model.check.batch_ok):
        some = [rows[i] for i in group]
        traces |= dict(zip(group, model._capture([""] * len(some), some, (), True), strict=True))
    return [traces[i] for i in range(len(rows))]


def _by_blocks(
    model: Model,
    traces: Sequence[Trace],
    cotangents: Tensor,
    skip: int,
    progress: Callable[[float], None] = lambda share: None,
    way: int = _TAILS,
) -> Tensor:
    """`pulled_back`, through one block after the other, from the last to the first."""
    layouts = [_layout(model, trace, skip, way) for trace in traces]
    counted = [layout.at >= skip for layout in layouts]
    found = torch.empty(len(traces), model.n_layers + 1, *cotangents.shape)
    found[:, -1] = cotangents
    each = sum(map(len, counted)) * model.d_model * torch.float32.itemsize
    groups = cotangents.split(max(ROWS, _BYTES // each))
    total, done, begin = len(groups) * model.n_layers * len(traces), 0, 0
    for group in groups:
        span = slice(begin, begin := begin + len(group))
        pulled = []
        for positions in counted:
            put = torch.zeros(len(group), len(positions), model.d_model)
            put[:, positions] = group[:, None]
            pulled.append(put.to(model.device, model.dtype))
        for block in range(model.n_layers - 1, -1, -1):
            with _held(model, block):
                for i, (trace, layout) in enumerate(zip(traces, layouts, strict=True)):
                    pulled[i] = _through(model, trace, layout, block, pulled[i])
                    mean = pulled[i][:, counted[i]].float().mean(dim=1)  # (g, D)
                    found[i, block, span] = mean
                    done += 1
                    progress(done / total)
            step_aside()
    return found


def _through(model: Model, trace: Trace, layout: Layout, block: int, pulled: Tensor) -> Tensor:
    """(n, N, D) gradients by what leaves a block -> those by what enters it."""
    n_chunks = -(-len(pulled) // ROWS)
    rows = -(-len(pulled) // n_chunks)
    with torch.inference_mode(False), torch.enable_grad():
        state = trace.hidden[block][layout.at].to(model.device, model.dtype)
        entering = state.repeat(rows, 1, 1).requires_grad_(True)
        leaving = layout.run(block, entering)
        chunks = []
        for chunk in pulled.split(rows):
            n_missing = rows - len(chunk)
            padded = torch.nn.functional.pad(chunk, (0, 0, 0, 0, 0, n_missing))
            [back] = torch.autograd.grad(leaving, entering, padded, retain_graph=True)
            chunks.append(back[: len(chunk)])
    return torch.cat(chunks)


def _by_one_graph(
    model: Model,
    ids: Tensor,
    cotangents: Tensor,
    skip: int,
) -> Tensor:
    """`pulled_back` of one text by a graph of the whole network, one cotangent after the other."""
    found = []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        states_with_grad(model.architecture) as states,
    ):
        given = ids[None].to(model.device).clone()
        model._network(input_ids=given, use_cache=False, return_dict=True)
        last = states[-1].reshape(len(ids), -1)[skip:]  # (N, D)
        for cotangent in cotangents.to(last):
            pulled = torch.autograd.grad((last @ cotangent).sum(), states, retain_graph=True)
            by_layer = torch.stack([each.reshape(len(ids), -1)[skip:] for each in pulled])
            found.append(by_layer.float().mean(dim=1).cpu())  # (L + 1, D)
    return torch.stack(found, dim=1)


def _layout(model: Model, trace: Trace, skip: int, way: int) -> Layout:
    """How the run is laid out for its blocks: from `skip` on, or whole."""
    network, architecture = model._network, model.architecture
    try:
        given = inputs_of(network, architecture, trace.token_ids, use_cache=way == _TAILS)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise Unfit from error
    with torch.inference_mode(False):
        inputs = [Inputs(_ordinary(i.args), _ordinary(i.kwargs), i.form) for i in given]
    if way == _TAILS:
        return Tails(Kept(architecture, inputs, trace, network), [skip])
    return Wholes(architecture, inputs, trace, [0])


def _held(model: Model, block: int) -> AbstractContextManager[None]:
    """A random twin draws a block once for all that is asked of it."""
    drawn = vars(model).get("drawn")
    return drawn.holding(block) if drawn is not None else nullcontext()


def _ordinary(given: Any) -> Any:
    """The same with copies of its tensors, which autograd may keep."""
    if isinstance(given, Tensor):
        return given.clone()
    if isinstance(given, (tuple, list)):
        return type(given)(map(_ordinary, given))
    if isinstance(given, dict):
        return {name: _ordinary(each) for name, each in given.items()}
    return given
