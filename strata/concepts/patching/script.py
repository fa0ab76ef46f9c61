"""'Show the code' of patching: each tab's numbers with plain transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strata.concepts.patching.elsewhere_script import ELSEWHERE
from strata.concepts.script import CANDIDATES, SINK_RULE, TEXTS, program
from strata.trace import Part


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    other: str,
    blocks: str,
    target_ids: Sequence[int] = (),
    within: Sequence[str] = ("",),
    direction: str = "restore",
    part: Part = "stream",
    worst: int = 0,
    cells: Sequence[Sequence[int]] = (),
    heads: Mapping[str, Any] | None = None,
    elsewhere: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the map, a run for each cell.

    `target_ids` are one or two, the second taken away from the first. `blocks` is the path of the
    model's list of blocks, `within` the modules of each block whose outputs are put in ("": the
    block itself; "a+b": several). With `worst` it estimates the map by the gradient as well, and
    says of so many cells where that fails most what a tenth of the way does; with two `cells`,
    (layer, position) each, it patches these together and each alone. With `heads` (block,
    projection: the path of the output projection in it, n_heads) it patches that block's heads
    instead; with `elsewhere` (layers, position, at, into, n_tokens, as in `read_elsewhere`) it puts
    states into the text `other`, and lets the model go on.
    """
    given: dict[str, Any] = {"other": other, "blocks": blocks}
    if elsewhere is not None:
        purpose = "What does a state say in another text? Put it there, and let the model go on."
        body, given = ELSEWHERE, {"other": other, **elsewhere, "blocks": blocks}
    else:
        given |= {"target_ids": list(target_ids), "direction": direction}
        names = list(within)
        said = {"stream": "states", "attn": "attention writes", "mlp": "MLP writes"}[part]
        body = _OPENING + _RUNS
        if heads is not None:
            said, body, given = "heads", body + _HEADS, {**given, **heads}
        else:
            given["within"] = names[0] if len(set(names)) == 1 else names
            body += _PLACES
            if cells:
                body, given = body + _TWO, {**given, "cells": [tuple(each) for each in cells]}
            body += _MAP
            if worst:
                body, given = SINK_RULE + body + _ESTIMATE, {**given, "worst": worst}
        purpose = f"Where is the answer carried? Put the {said} of one prompt's run into another's."
    return program(purpose, TEXTS + CANDIDATES + body, source, revision, prompt, dtype, **given)


_OPENING = """
other_ids = tokenizer(OTHER, return_tensors="pt")["input_ids"]  # (1, T)
assert token_ids.shape == other_ids.shape, "both prompts need the same number of tokens"
n_tokens = token_ids.shape[1]
read = token_ids[0].tolist()
if DIRECTION == "restore":  # the clean run's states go into the run of the other prompt
    source_ids, edited_ids = token_ids, other_ids
else:
    source_ids, edited_ids = other_ids, token_ids
blocks = list(model.get_submodule(BLOCKS))


def hooks_of(layer, module, seen):
    # `seen` gets a state and may give another for it. Layer 0 is what enters the first block, and
    # no layer what a module is given; all others are what a block, or a part of it, gives.
    def enter(module, inputs, given):
        if inputs:
            return (seen(inputs[0]), *inputs[1:]), given
        return inputs, {**given, "hidden_states": seen(given["hidden_states"])}

    def leave(module, inputs, output):
        if isinstance(output, (tuple, list)):  # some families give more than the state
            return type(output)([seen(output[0]), *output[1:]])
        return seen(output)

    if not layer:
        return module.register_forward_pre_hook(enter, with_kwargs=True)
    return module.register_forward_hook(leave)


def run(ids, seen):
    # (V,) logits of the last position; `seen`: a function for each (layer, module).
    hooks = [hooks_of(layer, module, change) for (layer, module), change in seen.items()]
    try:
        return model(ids).logits[0, -1].double()
    finally:
        for hook in hooks:
            hook.remove()


def target_of(logits):
    signs = zip((1, -1), TARGET_IDS)
    return sum(sign * logits[token_id] for sign, token_id in signs)


def given_in(ids, keys):
    # What each (layer, module) gives in a run, (T, width), and the run's logits.
    kept = {}

    def keeper(key):
        def keep(state):
            kept[key] = state.reshape(n_tokens, -1).clone()
            return state

        return keep

    with torch.inference_mode():
        logits = run(ids, {key: keeper(key) for key in keys})
    return kept, logits

"""

_RUNS = """
with torch.inference_mode():
    wanted = run(source_ids, {})
    before = run(edited_ids, {})
there, here = target_of(wanted).item(), target_of(before).item()
target = " minus ".join(repr(candidate(token_id, read)) for token_id in TARGET_IDS)
print(f"{target}: {there:.4f} in the source, {here:.4f} in the run that is edited\\n")


def told(logits):
    # The target, its share of the difference between both runs, and KL(source, patched) in nats.
    value = target_of(logits).item()
    share = (value - here) / (there - here) if abs(there - here) > 1e-4 else float("nan")
    right = wanted.log_softmax(dim=-1)
    kl = (right.exp() * (right - logits.log_softmax(dim=-1))).sum().clamp_min(0).item()
    return value, share, kl

"""

_PLACES = """
places = {}  # layer: modules
for block, module in enumerate(blocks):
    paths = WITHIN if isinstance(WITHIN, str) else WITHIN[block]
    if block == 0 and paths == "":
        places[0] = [module]
    places[block + 1] = [module.get_submodule(path) for path in paths.split("+")]
keys = [(layer, module) for layer, modules in places.items() for module in modules]
theirs, _ = given_in(source_ids, keys)


def patched(cells, way=1):
    # (V,) logits with the source's state, or some of the way to it, at each (layer, position).
    seen = {}
    for layer, module in keys:
        at = [position for here, position in cells if here == layer]

        def put(state, key=(layer, module), at=at):
            changed = state.reshape(n_tokens, -1).clone()
            changed[at] = changed[at].lerp(theirs[key][at], way) if way != 1 else theirs[key][at]
            return changed.reshape(state.shape)

        if at:
            seen[layer, module] = put
    with torch.inference_mode():
        return run(edited_ids, seen)

"""

_TWO = """
two_cells = {"unpatched": here, "source": there}
for name, some in (("first", CELLS[:1]), ("second", CELLS[1:]), ("both", CELLS)):
    two_cells[name] = target_of(patched(some)).item()
for name, value in two_cells.items():
    print(f"  {name:9}  {value:9.4f}  {value - here:+9.4f}")
print(f"  the sum    {two_cells['first'] + two_cells['second'] - 2 * here:+20.4f}\\n")

"""

_MAP = """
rows = []
for layer in places:
    for position in range(n_tokens):
        value, share, kl = told(patched([(layer, position)]))
        rows.append((layer, position, value, share, kl))
        print(
            f"  layer {layer:3d}  position {position:3d}  {value:9.4f}  share {share:7.3f}"
            f"  KL {kl:.4f}"
        )
"""

_ESTIMATE = """
# The gradient at the run as it is, by a zero that is added to each state, times the whole way.
ours, _ = given_in(edited_ids, keys)
model.requires_grad_(False)
nudges = {}


def nudge_of(key):
    def nudge(state):
        nudges[key] = torch.zeros_like(state).requires_grad_(True)
        return state + nudges[key]

    return nudge


target_now = target_of(run(edited_ids, {key: nudge_of(key) for key in keys}))
found = torch.autograd.grad(target_now, [nudges[key] for key in keys])
slopes = {key: slope.reshape(n_tokens, -1) for key, slope in zip(keys, found)}
estimate = []
print("\\nby the gradient")
for layer, modules in places.items():
    ways = [slopes[layer, each] * (theirs[layer, each] - ours[layer, each]) for each in modules]
    for position, moved in enumerate(sum(way.sum(dim=-1) for way in ways).tolist()):
        value, share = here + moved, float("nan")
        if abs(there - here) > 1e-4:
            share = moved / (there - here)
        estimate.append((layer, position, value, share))
        print(f"  layer {layer:3d}  position {position:3d}  {value:9.4f}  share {share:7.3f}")

sunk = set()
stream = [(0, blocks[0]), *((block + 1, module) for block, module in enumerate(blocks))]
for ids in (source_ids, edited_ids):
    states, _ = given_in(ids, stream)
    sunk |= set(sinks_of(torch.stack([states[key].float().norm(dim=-1) for key in stream])))
print("\\nwhere that fails most; ten times what a tenth of the way does, as a share of all of it")
failed = []
off = [abs(exact[2] - guess[2]) for exact, guess in zip(rows, estimate)]
for i in sorted(range(len(off)), key=lambda i: -off[i])[:WORST]:
    layer, position, value = rows[i][:3]
    tenth = float("nan")  # where the whole way does next to nothing
    if abs(value - here) >= max(1e-4, 0.01 * abs(there - here)):
        part = target_of(patched([(layer, position)], way=0.1)).item()
        tenth = 10 * (part - here) / (value - here)
    failed.append((layer, position, value, estimate[i][2], tenth, position in sunk))
    print(
        f"  layer {layer:3d}  position {position:3d}  {value - here:+9.4f} exact"
        f"  {estimate[i][2] - here:+9.4f} estimated  {tenth:7.3f}"
        + "  attention sink" * (position in sunk)
    )
"""

_HEADS = """
projection = blocks[BLOCK].get_submodule(PROJECTION)
key = None, projection  # what it is given: what each head hands on, one behind another
kept, _ = given_in(source_ids, [key])
theirs = kept[key]  # (T, heads * width)
width = theirs.shape[1] // N_HEADS
rows = []
for head in range(N_HEADS):
    columns = slice(head * width, (head + 1) * width)
    for position in range(n_tokens):

        def put(state):
            changed = state.reshape(n_tokens, -1).clone()
            changed[position, columns] = theirs[position, columns]
            return changed.reshape(state.shape)

        with torch.inference_mode():
            value, share, kl = told(run(edited_ids, {key: put}))
        rows.append((head, position, value, share, kl))
        print(
            f"  head {head:3d}  position {position:3d}  {value:9.4f}  share {share:7.3f}"
            f"  KL {kl:.4f}"
        )
"""
