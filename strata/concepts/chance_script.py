"""What chance gives, as the end of a page's program with plain transformers."""

from __future__ import annotations

from strata.concepts import Null
from strata.concepts.chance import KINDS
from strata.concepts.script import RANDOM_BLOCKS, SAYS, SINK_RULE


def section(
    null: Null,
    number: str,
    kind: str,
    *,
    blocks: str,
    position: int | None = None,
    target_id: int | None = None,
    against_id: int | None = None,
    other: str = "",
    n_draws: int = 20,
    norm: str | None = "",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
) -> str:
    """The end of a program that prints a number beside its draws; after what
    `strata.concepts.script.program` begins with. It uses names of its own, and `model`, `tokenizer`
    and PROMPT. Beside what `Null` says, its lines may use `lens(states)` (log-probabilities),
    `left_of(hidden)` (positions without sinks), `weights` (of each block's heads) and
    `put_in(layer, state)` (the target in the run of `other`). `norm`, `logit_scale` and `logit_cap`
    as `logit_lens.modules` has them, for what a state says; where the norm is no single module
    there is no program of that."""
    if (reads := "lens(" in null.code) and norm is None:
        return f"\n\n# {number} beside chance is in the table that the page gives.\n"
    end = None if position is None or not null.at_token else position + 1
    opens, puts = "weights" in null.code, "put_in(" in null.code
    rules = any(name in null.code + _DRAWN[kind] for name in ("sinks_of", "left_of"))
    body = "\n".join(f"    {line}" if line else "" for line in null.code.strip().split("\n"))
    parts = [
        f"\n\n# -- What chance gives: {kind} --\n",
        "import hashlib\n" * (kind == "random blocks") + "import numpy as np\n\n",
        f"NUMBER = {number!r}\nCHANCE_BLOCKS = {blocks!r}\nDRAWS = {n_draws}\n",
        f"AT_TOKEN = {int(null.at_token)}  # 1: of one token, which stays where it is\n",
        f"TARGET = {target_id!r}  # None: the likeliest next token\n",
        f"AGAINST, OTHER, POSITION = {against_id!r}, {other!r}, {position!r}\n" * puts,
        f"OPEN = {opens!r}  # whether attention weights are wanted\n",
        f'chance_ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"][0, :{end or ""}]\n',
        _RUN,
        "\n\n" + SINK_RULE.strip() + "\n" + _LEFT if rules else "",
        f"LEFT = {'None' if KINDS[kind].runs else 'left_of(chance_hidden)'}\n" * rules,
        f"\n\nNORM = {norm!r}\nLOGIT_SCALE, LOGIT_CAP = {logit_scale!r}, {logit_cap!r}\n" * reads,
        (SAYS + _LENS) * reads,
        _PUT_IN * puts,
        f"\n\ndef number(hidden, logits, token_ids, weights):\n{body}\n\n",
        _DRAWN[kind],
        _PRINTED,
    ]
    return "".join(parts)


_RUN = """

if OPEN:
    model.set_attn_implementation("eager")


def chance_run(token_ids):
    # All states (L + 1, T, D), the last before the final norm; the logits (T, V); the tokens; and,
    # where they are asked for, the attention weights of each block, (heads, T, T).
    raw = []

    def keep(module, inputs, output):
        raw.append(output[0] if isinstance(output, (tuple, list)) else output)

    hook = model.get_submodule(CHANCE_BLOCKS)[-1].register_forward_hook(keep)
    try:
        with torch.inference_mode():
            output = model(token_ids[None], output_hidden_states=True, output_attentions=OPEN)
    finally:
        hook.remove()
    hidden, weights = torch.cat([*output.hidden_states[:-1], raw[0]]), None
    if OPEN:
        weights = [each[0].float() for each in output.attentions]
        assert len(weights) == len(hidden) - 1, "blocks without weights: see the page's table"
    return hidden, output.logits[0], token_ids, weights


chance_hidden, chance_logits, _, chance_weights = chance_run(chance_ids)
TARGET = chance_logits[-1].argmax().item() if TARGET is None else TARGET
"""

_LENS = """

def lens(states):
    return says(states).log_softmax(dim=-1)
"""

_LEFT = """

def left_of(hidden):
    # The positions that are no attention sinks, all where all are; of this run's own states in
    # another order those of the run.
    if LEFT is not None:
        return LEFT
    found = set(sinks_of(hidden.norm(dim=-1)))
    return [t for t in range(hidden.shape[1]) if t not in found] or list(range(hidden.shape[1]))


LEFT = None
"""

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

    block = model.get_submodule(CHANCE_BLOCKS)[max(0, layer - 1)]
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
    return chance_run(chance_ids[[*range(before), *order, *range(last, len(chance_ids))]])
"""

_RANDOM_BLOCKS = (
    RANDOM_BLOCKS.replace("(BLOCKS)", "(CHANCE_BLOCKS)")
    + """

def drawn(draw):
    draw_blocks(draw)
    try:
        return chance_run(chance_ids)
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
    return states, chance_logits, chance_ids, None
"""

_LAYERS = """
def drawn(draw):
    order = np.random.default_rng(draw).permutation(len(chance_hidden) - 1)
    return chance_hidden[[0, *(1 + order)]], chance_logits, chance_ids, None
"""

_TOKENS = """
def drawn(draw):
    left, order = np.array(left_of(chance_hidden)), np.arange(len(chance_ids))
    order[left] = left[np.random.default_rng(draw).permutation(len(left))]
    return chance_hidden[:, order], chance_logits, chance_ids, None
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
draws = np.array([number(*drawn(draw)) for draw in range(DRAWS)], dtype=float)
low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
print(f"\\n{NUMBER}, and 5%, 50% and 95% of {DRAWS} draws by chance:")
for layer in range(len(mine)):
    values = mine[layer], low[layer], middle[layer], high[layer]
    print(f"  {layer:3d}  " + "  ".join(f"{value:.5g}" for value in values))
"""
