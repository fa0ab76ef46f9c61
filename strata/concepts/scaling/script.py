"""'Show the code' of scaling: its sweep with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.scaling.words import PART_NAMES
from strata.concepts.script import CANDIDATES, TEXTS, program
from strata.concepts.target import TargetId
from strata.trace import Part


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    target_id: TargetId,
    factor: float,
    blocks: str,
    within: Sequence[str],
    part: Part = "stream",
    positions: Sequence[int] | None = None,
    n_seeds: int = 0,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the sweep at one factor, a run for each block.

    With `n_seeds` it also leaves each block out, and pushes it in so many random directions as far
    as the factor does (`controls`). `blocks` is the path of the model's list of blocks, `within`
    the module scaled in each of them: see `places`. Of a pair as `target_id` the difference is
    printed, and no rank.
    """
    body = _SCRIPT + _CONTROLS * bool(n_seeds)
    for line, instead in _PAIR if isinstance(target_id, tuple) else ():
        body = body.replace(line, instead)
    names = list(within)
    more = {"part": part, "n_seeds": n_seeds} if n_seeds else {}
    return program(
        f"What does scaling {PART_NAMES[part]} at one block do to the next-token prediction?",
        TEXTS + CANDIDATES + body,
        source,
        revision,
        prompt,
        dtype,
        target_id=target_id,
        factor=factor,
        positions=None if positions is None else list(positions),
        blocks=blocks,
        within=names[0] if len(set(names)) == 1 else names,
        **more,
    )


_SCRIPT = """
n_tokens = token_ids.shape[1]
read = token_ids[0].tolist()
scale = torch.ones(n_tokens, 1)
scale[slice(None) if POSITIONS is None else POSITIONS] = FACTOR


def scaled(module, inputs, output):
    several = isinstance(output, (tuple, list))  # some families give more than the state
    value = output[0] if several else output
    changed = (value.reshape(n_tokens, -1) * scale.to(value)).reshape(value.shape)
    return type(output)([changed, *output[1:]]) if several else changed


def last_logprobs():
    with torch.inference_mode():
        return model(token_ids).logits[0, -1].double().log_softmax(dim=-1)  # (V,), in nats


clean = last_logprobs()
print("The likeliest next tokens:")
for logprob, token_id in zip(*(each.tolist() for each in clean.topk(min(21, len(clean))))):
    print(f"  {logprob:8.4f}  {candidate(token_id, read)!r}")
print(f"\\n{candidate(TARGET_ID, read)!r} without an edit: {clean[TARGET_ID]:.4f} nats")

rows = []
for block, module in enumerate(model.get_submodule(BLOCKS)):
    paths = WITHIN if isinstance(WITHIN, str) else WITHIN[block]
    parts = [module.get_submodule(path) for path in paths.split("+")]
    hooks = [part.register_forward_hook(scaled) for part in parts]
    try:
        edited = last_logprobs()
    finally:
        for hook in hooks:
            hook.remove()
    rank = (edited > edited[TARGET_ID]).sum().item()
    kl = (clean.exp() * (clean - edited)).sum().item()
    rows.append((block, edited[TARGET_ID].item(), rank, kl))
    print(
        f"  block {block:3d}  logprob {rows[-1][1]:9.4f}  rank {rank:6d}  KL {kl:8.4f}"
        f"  top-1 {candidate(edited.argmax().item(), read)!r}"
    )
worst = min(rows, key=lambda row: row[1])
print(f"\\nBlock {worst[0]} hurts most: {worst[1] - clean[TARGET_ID].item():+.4f} nats")
"""
_CONTROLS = """
import hashlib  # the same random directions as in Strata, whatever the run

chosen = torch.zeros(n_tokens, 1, dtype=torch.bool)
chosen[slice(None) if POSITIONS is None else POSITIONS] = True


def direction(seed, block, module, position, width):
    named = f"{seed} {block} {PART} {module} {position}".encode()
    number = int.from_bytes(hashlib.sha256(named).digest()[:7], "little")
    vector = torch.randn(width, generator=torch.Generator().manual_seed(number))
    return vector / vector.norm()


def pushed(seed, block, module):
    def hook(_, inputs, output):
        several = isinstance(output, (tuple, list))
        value = output[0] if several else output
        states = value.reshape(n_tokens, -1)
        units = [direction(seed, block, module, t, states.shape[1]) for t in range(n_tokens)]
        step = abs(FACTOR - 1) * states.norm(dim=1, keepdim=True) * torch.stack(units).to(states)
        changed = torch.where(chosen.to(states.device), states + step, states)
        changed = changed.reshape(value.shape)
        return type(output)([changed, *output[1:]]) if several else changed

    return hook


def skipped(module, inputs, named, output):
    several = isinstance(output, (tuple, list))
    value = output[0] if several else output
    entered = (inputs[0] if inputs else named["hidden_states"]).reshape(n_tokens, -1)
    changed = torch.where(chosen.to(value.device), entered, value.reshape(n_tokens, -1))
    changed = changed.reshape(value.shape)
    return type(output)([changed, *output[1:]]) if several else changed


def edited_logprob(hooks):
    try:
        return last_logprobs()[TARGET_ID].item()
    finally:
        for hook in hooks:
            hook.remove()


print("\\nBeside it, the whole block left out, and random pushes of the same size:")
controls = []
for block, module in enumerate(model.get_submodule(BLOCKS)):
    paths = WITHIN if isinstance(WITHIN, str) else WITHIN[block]
    parts = [module.get_submodule(path) for path in paths.split("+")]
    skip = edited_logprob([module.register_forward_hook(skipped, with_kwargs=True)])
    noise = []
    for seed in range(N_SEEDS):
        hooks = [pushed(seed, block, i) for i in range(len(parts))]
        hooks = [p.register_forward_hook(h) for p, h in zip(parts, hooks)]
        noise.append(edited_logprob(hooks))
    controls.append((block, skip, noise))
    worse = sum(logprob <= rows[block][1] for logprob in noise)
    print(
        f"  block {block:3d}  left out {skip:9.4f}  pushed {min(noise):9.4f} to {max(noise):9.4f},"
        f" {worse} of {N_SEEDS} cost as much as the factor"
    )
"""

_PAIR = (  # lines, and what stands there for a pair of words
    (
        """print(f"\\n{candidate(TARGET_ID, read)!r} without an edit: {clean[TARGET_ID]:.4f} nats")
""",
        """

def apart(logprobs):
    # Of log-probabilities as of logits: a softmax takes the same from all.
    return (logprobs[TARGET_ID[0]] - logprobs[TARGET_ID[1]]).item()


both = " minus ".join(repr(candidate(token_id, read)) for token_id in TARGET_ID)
print(f"\\n{both} without an edit: {apart(clean):.4f} nats")
""",
    ),
    ("    rank = (edited > edited[TARGET_ID]).sum().item()\n", ""),
    (
        "rows.append((block, edited[TARGET_ID].item(), rank, kl))",
        "rows.append((block, apart(edited), kl))",
    ),
    (
        """        f"  block {block:3d}  logprob {rows[-1][1]:9.4f}  rank {rank:6d}  KL {kl:8.4f}"
""",
        """        f"  block {block:3d}  logprob {rows[-1][1]:+9.4f}  KL {kl:8.4f}"
""",
    ),
    ("worst[1] - clean[TARGET_ID].item()", "worst[1] - apart(clean)"),
    ("return last_logprobs()[TARGET_ID].item()", "return apart(last_logprobs())"),
)
