"""'Show the code' of patching: its map with plain transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strata.concepts.patching.elsewhere_script import ELSEWHERE
from strata.concepts.script import CANDIDATES, TEXTS, program
from strata.trace import Part


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    other: str,
    target_ids: Sequence[int],
    blocks: str,
    within: Sequence[str],
    direction: str = "restore",
    part: Part = "stream",
    elsewhere: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the map, a run for each cell.

    `target_ids` are one or two, the second taken away from the first. `blocks` is the path of the
    model's list of blocks, `within` the modules of each block whose outputs are put in ("": the
    block itself; "a+b": several). With `elsewhere` (layers, position, at, into, n_tokens, as in
    `read_elsewhere`) it puts states into the text `other` instead, and lets the model go on.
    """
    if elsewhere is not None:
        return program(
            "What does a state say in another text? Put it there, and let the model go on.",
            TEXTS + CANDIDATES + ELSEWHERE,
            source,
            revision,
            prompt,
            dtype,
            other=other,
            **elsewhere,
            blocks=blocks,
        )
    names = list(within)
    said = {"stream": "states", "attn": "attention writes", "mlp": "MLP writes"}[part]
    return program(
        f"Where is the answer carried? Put the {said} of one prompt's run into another's.",
        TEXTS + CANDIDATES + _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        other=other,
        target_ids=list(target_ids),
        direction=direction,
        blocks=blocks,
        within=names[0] if len(set(names)) == 1 else names,
    )


_SCRIPT = """
other_ids = tokenizer(OTHER, return_tensors="pt")["input_ids"]  # (1, T)
assert token_ids.shape == other_ids.shape, "both prompts need the same number of tokens"
n_tokens = token_ids.shape[1]
read = token_ids[0].tolist()
if DIRECTION == "restore":  # the clean run's states go into the run of the other prompt
    source_ids, edited_ids = token_ids, other_ids
else:
    source_ids, edited_ids = other_ids, token_ids

# Layer 0 is what enters the first block; all others are what a block, or a part of it, gives.
places = []  # (layer, modules)
for block, module in enumerate(model.get_submodule(BLOCKS)):
    paths = WITHIN if isinstance(WITHIN, str) else WITHIN[block]
    if block == 0 and paths == "":
        places.append((0, [module]))
    places.append((block + 1, [module.get_submodule(path) for path in paths.split("+")]))


def hooks_of(layer, module, seen):
    # `seen` gets a state and may give another for it.
    def enter(module, inputs, given):
        if inputs:
            return (seen(inputs[0]), *inputs[1:]), given
        return inputs, {**given, "hidden_states": seen(given["hidden_states"])}

    def leave(module, inputs, output):
        if isinstance(output, (tuple, list)):  # some families give more than the state
            return type(output)([seen(output[0]), *output[1:]])
        return seen(output)

    if layer == 0:
        return module.register_forward_pre_hook(enter, with_kwargs=True)
    return module.register_forward_hook(leave)


def target_of(ids):
    with torch.inference_mode():
        logits = model(ids).logits[0, -1].double()  # (V,)
    signs = zip((1, -1), TARGET_IDS)
    return sum(sign * logits[token_id] for sign, token_id in signs).item()


kept = {}  # (layer, module): what it gave in the source's run, (T, D)
hooks = []
for layer, modules in places:
    for module in modules:

        def keep(state, key=(layer, module)):
            kept[key] = state.reshape(n_tokens, -1).clone()
            return state

        hooks.append(hooks_of(layer, module, keep))
there = target_of(source_ids)
for hook in hooks:
    hook.remove()
here = target_of(edited_ids)

target = " minus ".join(repr(candidate(token_id, read)) for token_id in TARGET_IDS)
print(f"{target}: {there:.4f} in the source, {here:.4f} in the run that is edited\\n")
rows = []
for layer, modules in places:
    for position in range(n_tokens):
        hooks = []
        for module in modules:

            def put(state, key=(layer, module)):
                changed = state.reshape(n_tokens, -1).clone()
                changed[position] = kept[key][position]
                return changed.reshape(state.shape)

            hooks.append(hooks_of(layer, module, put))
        try:
            value = target_of(edited_ids)
        finally:
            for hook in hooks:
                hook.remove()
        share = (value - here) / (there - here) if there != here else float("nan")
        rows.append((layer, position, value, share))
        print(f"  layer {layer:3d}  position {position:3d}  {value:9.4f}  share {share:7.3f}")
"""
