"""What chance gives, as the end of a page's program with plain transformers."""

from __future__ import annotations

from strata.concepts import Null
from strata.concepts.script import RANDOM_BLOCKS, SAYS, SINK_RULE


def section(
    null: Null,
    number: str,
    kind: str,
    *,
    blocks: str,
    position: int | None = None,
    target_id: int | None = None,
    n_draws: int = 20,
    norm: str | None = "",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
) -> str:
    """The end of a program that prints a number beside its draws; after what
    `strata.concepts.script.program` begins with. It uses names of its own, and `model`, `tokenizer`
    and PROMPT. `norm`, `logit_scale` and `logit_cap` as `logit_lens.modules` has them, for what a
    state says; where the norm is no single module there is no program of that."""
    if (reads := "lens(" in null.code) and norm is None:
        return f"\n\n# {number} beside chance is in the table that the page gives.\n"
    end = None if position is None or not null.at_token else position + 1
    body = "\n".join(f"    {line}" if line else "" for line in null.code.strip().split("\n"))
    parts = [
        f"\n\n# -- What chance gives: {kind} --\n",
        "import hashlib\n" * (kind == "random blocks") + "import numpy as np\n\n",
        f"NUMBER = {number!r}\nCHANCE_BLOCKS = {blocks!r}\nDRAWS = {n_draws}\n",
        f"AT_TOKEN = {int(null.at_token)}  # 1: of one token, which stays where it is\n",
        f"TARGET = {target_id!r}  # None: the likeliest next token\n",
        f'chance_ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"][0, :{end or ""}]\n',
        _RUN,
        "\n\n" + SINK_RULE.strip() + "\n" if "sinks_of" in null.code else "",
        f"\n\nNORM = {norm!r}\nLOGIT_SCALE, LOGIT_CAP = {logit_scale!r}, {logit_cap!r}\n" * reads,
        (SAYS + _LENS) * reads,
        f"\n\ndef number(hidden, logits, token_ids):\n{body}\n\n",
        _DRAWN[kind],
        _PRINTED,
    ]
    return "".join(parts)


_RUN = """

def chance_run(token_ids):
    # All states (L + 1, T, D), the last before the final norm; the logits (T, V); the tokens.
    raw = []

    def keep(module, inputs, output):
        raw.append(output[0] if isinstance(output, (tuple, list)) else output)

    hook = model.get_submodule(CHANCE_BLOCKS)[-1].register_forward_hook(keep)
    try:
        with torch.inference_mode():
            output = model(token_ids[None], output_hidden_states=True)
    finally:
        hook.remove()
    return torch.cat([*output.hidden_states[:-1], raw[0]]), output.logits[0], token_ids


chance_hidden, chance_logits, _ = chance_run(chance_ids)
TARGET = chance_logits[-1].argmax().item() if TARGET is None else TARGET
"""

_LENS = """

def lens(states):
    return says(states).log_softmax(dim=-1)
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
    return (noise * (sizes / noise.norm(dim=-1, keepdim=True))).float(), chance_logits, chance_ids
"""

_DRAWN = {
    "shuffled text": _SHUFFLED_TEXT,
    "random blocks": _RANDOM_BLOCKS,
    "random directions": _RANDOM_DIRECTIONS,
}

_PRINTED = """

mine = np.array(number(chance_hidden, chance_logits, chance_ids), dtype=float)
draws = np.array([number(*drawn(draw)) for draw in range(DRAWS)], dtype=float)
low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
print(f"\\n{NUMBER}, and 5%, 50% and 95% of {DRAWS} draws by chance:")
for layer in range(len(mine)):
    values = mine[layer], low[layer], middle[layer], high[layer]
    print(f"  {layer:3d}  " + "  ".join(f"{value:.5g}" for value in values))
"""
