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
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the sweep at one factor, a run for each block.

    `blocks` is the path of the model's list of blocks, `within` the module scaled in each of them:
    see `places`. Of a pair as `target_id` the difference is printed, and no rank.
    """
    body = _SCRIPT
    for line, instead in _PAIR if isinstance(target_id, tuple) else ():
        body = body.replace(line, instead)
    names = list(within)
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
)
