"""Numbers in programs with plain transformers, and what chance gives beside them, as the end of a
page's program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strata.concepts import Null
from strata.concepts.chance import KINDS
from strata.concepts.script import RANDOM_BLOCKS, RUN, SAYS, SINK_RULE

Part = tuple[Sequence[str], float | Sequence[Sequence[float]]]  # where it is, and by what


def section(
    null: Null,
    name: str,
    kind: str,
    *,
    blocks: str,
    position: int | None = None,
    target_id: int | None = None,
    against_id: int | None = None,
    other: str = "",
    n_draws: int = 20,
    **reads: Any,
) -> str:
    """The end of a program that prints a number, by its name, beside its draws; after what
    `strata.concepts.script.program` begins with. It uses `model`, `tokenizer` and PROMPT. Beside
    what `number_of` gives them, the lines of the number may use `put_in(layer, state)` (the target
    in the run of `other`). `reads`: what `number_of` asks for. Where the final norm is no single
    module there is no program of what a state says."""
    if (number := number_of(null.code, **reads)) is None:
        return f"\n\n# {name} beside chance is in the table that the page gives.\n"
    end = None if position is None or not null.at_token else position + 1
    puts, own_order = "put_in(" in null.code, not KINDS[kind].runs
    leaves = "left_of(" in null.code + _DRAWN[kind]
    parts = [
        f"\n\n# -- What chance gives: {kind} --\n",
        "import hashlib\n" * (kind == "random blocks") + "import numpy as np\n\n",
        f"NUMBER = {name!r}\nBLOCKS = {blocks!r}\nDRAWS = {n_draws}\n",
        f"AT_TOKEN = {int(null.at_token)}  # 1: of one token, which stays where it is\n",
        f"TARGET = {target_id!r}  # None: the likeliest next token\n",
        f"AGAINST, OTHER, POSITION = {against_id!r}, {other!r}, {position!r}\n" * puts,
        f'chance_ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"][0, :{end or ""}]\n',
        number,
        _RULES * (leaves and not _ruled(null.code)),
        _OWN_RUN,
        "LEFT = left_of(chance_hidden)\n" * (leaves and own_order),
        _PUT_IN * puts,
        _DRAWN[kind],
        _PRINTED,
    ]
    return "".join(parts)


def number_of(
    code: str,
    *,
    norm: str | None = "",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
    parts: Mapping[str, Part] | None = None,
) -> str | None:
    """What a program needs for the lines of a number: the run of some tokens, `whole_run(ids)`, and
    a function `number` of what that gives, `hidden`, `logits`, `token_ids` and `weights` (of each
    block's heads). The lines may use `lens(states)` (log-probabilities), `left_of(hidden)`
    (positions without sinks), `written(token_ids, part)` (what "attn" or "mlp" of each block adds)
    and `scaled(token_ids, part, factor)` (the last token's logits where it is multiplied).

    `norm`, `logit_scale` and `logit_cap` as `logit_lens.modules` has them, for what a state says;
    None where the norm is no single module. `parts`: where the modules of a part are in each
    block, see `scaling.places`, and by what their outputs are multiplied."""
    says = "lens(" in code
    if says and norm is None:
        return None
    body = "\n".join(f"    {line}" if line else "" for line in code.strip().split("\n"))
    of_a_part = [text for name, text in _OF_A_PART.items() if name in code]
    pieces = [
        f"OPEN = {'weights' in code!r}  # whether attention weights are wanted\n",
        RUN,
        _WHOLE_RUN,
        _RULES * _ruled(code),
        f"\n\nNORM = {norm!r}\nLOGIT_SCALE, LOGIT_CAP = {logit_scale!r}, {logit_cap!r}\n" * says,
        (SAYS + _LENS) * says,
        f"\n\nPARTS = {dict(parts or {})!r}\n" * bool(of_a_part),
        _PARTS * bool(of_a_part),
        *of_a_part,
        f"\n\ndef number(hidden, logits, token_ids, weights):\n{body}\n",
    ]
    return "".join(pieces)


def _ruled(code: str) -> bool:
    """Whether a number looks for attention sinks."""
    return "left_of(" in code or "sinks_of(" in code


_WHOLE_RUN = """

if OPEN:
    model.set_attn_implementation("eager")


def whole_run(token_ids):
    # All states (L + 1, T, D), before the final norm; the logits (T, V); the tokens; and, where
    # they are asked for, the attention weights of each block, (heads, T, T).
    asked = {"output_attentions": True} if OPEN else {}
    hidden, output = run_of(token_ids[None], **asked)
    weights = None
    if OPEN:
        weights = [each[0].float() for each in output.attentions]
        assert len(weights) == len(hidden) - 1, "blocks without weights: see the page's table"
    return hidden, output.logits[0], token_ids, weights
"""

_OWN_RUN = """

chance_hidden, chance_logits, _, chance_weights = whole_run(chance_ids)
TARGET = chance_logits[-1].argmax().item() if TARGET is None else TARGET
"""

_LENS = """

def lens(states):
    return says(states).log_softmax(dim=-1)
"""

_RULES = f"""

{SINK_RULE.strip()}


def left_of(hidden):
    # The positions that are no attention sinks, all where all are; of this run's own states in
    # another order those of the run.
    if LEFT is not None:
        return LEFT
    found = set(sinks_of(hidden.norm(dim=-1)))
    return [t for t in range(hidden.shape[1]) if t not in found] or list(range(hidden.shape[1]))


LEFT = None
"""

_PARTS = """

def modules_of(part):
    # Of each block the modules whose outputs it adds to its stream, and by what each is multiplied.
    within, factors = PARTS[part]
    for b, block in enumerate(model.get_submodule(BLOCKS)):
        paths = within[b].split("+")
        by = factors[b] if isinstance(factors, list) else [factors] * len(paths)
        yield list(zip(map(block.get_submodule, paths), by))
"""

_WRITTEN = """

def written(token_ids, part):
    # (L, T, D): what that part of each block adds.
    added, hooks = {}, []

    def keep(b, factor):
        def hook(module, inputs, output):
            value = output[0] if isinstance(output, (tuple, list)) else output
            added[b] = added.get(b, 0) + factor * value.reshape(len(token_ids), -1).float()

        return hook

    for b, modules in enumerate(modules_of(part)):
        hooks += [module.register_forward_hook(keep(b, factor)) for module, factor in modules]
    try:
        with torch.inference_mode():
            model(token_ids[None])
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([added[b] for b in range(len(added))])
"""

_SCALED = """

def scaled(token_ids, part, factor):
    # (L, V): the last token's logits where what that part of one block adds is multiplied.
    def multiply(module, inputs, output):
        if isinstance(output, (tuple, list)):
            return type(output)([factor * output[0], *output[1:]])
        return factor * output

    found = []
    for modules in modules_of(part):
        hooks = [module.register_forward_hook(multiply) for module, _ in modules]
        try:
            with torch.inference_mode():
                found.append(model(token_ids[None]).logits[0, -1])
        finally:
            for hook in hooks:
                hook.remove()
    return torch.stack(found)
"""

_OF_A_PART = {"written(": _WRITTEN, "scaled(": _SCALED}

_PUT_IN = """

chance_other = tokenizer(OTHER, return_tensors="pt")["input_ids"]  # (1, T)
POSITION = len(chance_ids) - 1 if POSITION is None else POSITION


def put_in(layer, state):
    # The target in the run of the other text, with a state put in at a layer and POSITION.
    def put(given):
        changed = given.reshape(chance_other.shape[1], -1).clone()
        changed[POSITION] = state.to(changed)
        return changed.reshape(given.shape)

    def enter(module, inputs, given):
        if inputs:
            return (put(inputs[0]), *inputs[1:]), given
        return inputs, {**given, "hidden_states": put(given["hidden_states"])}

    def leave(module, inputs, output):
        if isinstance(output, (tuple, list)):
            return type(output)([put(output[0]), *output[1:]])
        return put(output)

    block = model.get_submodule(BLOCKS)[max(0, layer - 1)]
    if layer == 0:
        hook = block.register_forward_pre_hook(enter, with_kwargs=True)
    else:
        hook = block.register_forward_hook(leave)
    try:
        with torch.inference_mode():
            logits = model(chance_other).logits[0, -1].double()
    finally:
        hook.remove()
    return (logits[TARGET] - (0 if AGAINST is None else logits[AGAINST])).item()
"""

_SHUFFLED_TEXT = """
whole = tokenizer(PROMPT)["input_ids"]
bare = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
before = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
after = max(len(chance_ids) - before - len(bare), AT_TOKEN)  # what stays where it is


def drawn(draw):
    last = len(chance_ids) - after
    order = before + np.random.default_rng(draw).permutation(last - before)
    order = [*range(before), *order, *range(last, len(chance_ids))]
    return number(*whole_run(chance_ids[order]))
"""

_RANDOM_BLOCKS = (
    RANDOM_BLOCKS
    + """

def drawn(draw):
    draw_blocks(draw)
    try:
        return number(*whole_run(chance_ids))
    finally:
        learned_blocks()
"""
)

_RANDOM_DIRECTIONS = """
def drawn(draw):
    noise = np.random.default_rng(draw).standard_normal(chance_hidden.shape)
    noise = torch.from_numpy(noise)
    sizes = chance_hidden.double().norm(dim=-1, keepdim=True)
    states = (noise * (sizes / noise.norm(dim=-1, keepdim=True))).float()
    return number(states, chance_logits, chance_ids, None)
"""

_LAYERS = """
def drawn(draw):
    order = np.random.default_rng(draw).permutation(len(chance_hidden) - 1)
    return number(chance_hidden[[0, *(1 + order)]], chance_logits, chance_ids, None)
"""

_TOKENS = """
def drawn(draw):
    left, order = np.array(left_of(chance_hidden)), np.arange(len(chance_ids))
    order[left] = left[np.random.default_rng(draw).permutation(len(left))]
    return number(chance_hidden[:, order], chance_logits, chance_ids, None)
"""

_DRAWN = {
    "shuffled text": _SHUFFLED_TEXT,
    "random blocks": _RANDOM_BLOCKS,
    "random directions": _RANDOM_DIRECTIONS,
    "layers in another order": _LAYERS,
    "tokens in another order": _TOKENS,
}

_PRINTED = """

mine = np.array(
    number(chance_hidden, chance_logits, chance_ids, chance_weights), dtype=float
)
draws = np.array([drawn(draw) for draw in range(DRAWS)], dtype=float)
known = [values[~np.isnan(values)] for values in draws.T]  # a draw may have no number
quantiles = [np.quantile(v, [0.05, 0.5, 0.95]) if len(v) else [np.nan] * 3 for v in known]
low, middle, high = np.array(quantiles).T
print(f"\\n{NUMBER}, and 5%, 50% and 95% of {DRAWS} draws by chance:")
for layer in range(len(mine)):
    values = mine[layer], low[layer], middle[layer], high[layer]
    print(f"  {layer:3d}  " + "  ".join(f"{value:.5g}" for value in values))
"""
