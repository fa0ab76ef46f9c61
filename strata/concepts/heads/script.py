"""'Show the code' of heads: patterns, writes and sinks with plain transformers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import quick
from strata.concepts.script import CANDIDATES, SINK_RULE, TEXTS, program
from strata.concepts.target import Against, TargetId
from strata.errors import ModelError
from strata.model.head_slices import projection

if TYPE_CHECKING:
    from strata.model import Model

Json = str  # a value written as JSON, as a table holds it


@quick
def modules(model: Model) -> pd.DataFrame:
    """Where this model keeps what the script reads, one row: blocks, norm (paths; of the final norm
    "" where there is none, None where it is no single module), n_heads, logit_scale, and in JSON by
    block projection (its path in the block, null where heads are not known), behind (the norm
    between it and the stream, null: none), scales (by what attention's output is multiplied),
    residual (by what the block multiplies the stream, [] for nothing)."""
    found = model.architecture
    paths, behind, scales, n_heads = [], [], [], 0
    for block, module in enumerate(found.blocks):
        try:
            wanted, n_heads = projection(found, block)
        except ModelError:
            wanted = None
        names = [name for name, each in module.named_modules() if each is wanted]
        paths.append(names[0] if names else None)
        [write] = found.attn[block] if found.has_writes and len(found.attn[block]) == 1 else [None]
        inside = write is None or any(each is wanted for each in write.module.modules())
        behind.append(None if inside or write is None else write.path)
        scales.append(1.0 if write is None else write.scale)
    return pd.DataFrame(
        {
            "blocks": [model.blocks_path],
            "norm": [found.norm_path],
            "n_heads": [n_heads],
            "logit_scale": [found.logit_scale],
            "projection": [json.dumps(paths)],
            "behind": [json.dumps(behind)],
            "scales": [json.dumps(scales)],
            "residual": [json.dumps(found.residual)],
        }
    )


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    norm: str | None,
    n_heads: int,
    projection: Json,
    behind: Json,
    scales: Json,
    residual: Json = "[]",
    logit_scale: float = 1.0,
    block: int = 0,
    target_id: TargetId = 0,
    position: int = -1,
    against: Against = None,
    writes: bool = True,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints the heads of one block, what all heads write,
    and how much of their attention goes to the sinks.

    What is of the model is as `modules` has it; `against` as in `writes`. Without `writes`, where
    these are refused, and where the final norm is no single module, it prints patterns only.
    """
    whole = writes and norm is not None
    return program(
        "Which tokens does each head of attention read, and what does it write?",
        TEXTS + CANDIDATES + SINK_RULE + _PATTERNS + (_WRITES if whole else ""),
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        block=block,
        position=position,
        projection=json.loads(projection),
        **(
            {
                "norm": norm,
                "n_heads": n_heads,
                "behind": json.loads(behind),
                "scales": json.loads(scales),
                "residual": json.loads(residual),
                "logit_scale": logit_scale,
                "target_id": target_id,
                "against": against,
            }
            if whole
            else {}
        ),
    )


_PATTERNS = """
blocks = model.get_submodule(BLOCKS)
read = token_ids[0].tolist()
tokens = spelled(read)
hidden, given, gave, hooks = [], {}, {}, []


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output  # some give several


def enter(module, args, kwargs):
    hidden.append((args[0] if args else kwargs["hidden_states"])[0].flatten(1).float())


def keep(b):
    def hook(module, args, output):  # heads lie behind one another in what it is given
        given[b] = args[0].reshape(len(read), -1).float()  # (T, heads * width)
        gave[b] = output.reshape(len(read), -1).float()  # (T, D)

    return hook


for b, block in enumerate(blocks):
    hooks.append(block.register_forward_pre_hook(enter, with_kwargs=True))
    if PROJECTION[b] is not None:
        hooks.append(block.get_submodule(PROJECTION[b]).register_forward_hook(keep(b)))
hooks.append(
    blocks[-1].register_forward_hook(
        lambda m, a, output: hidden.append(first(output)[0].flatten(1).float())
    )
)
try:
    with torch.inference_mode():
        logits = model(token_ids, use_cache=False).logits
finally:
    for hook in hooks:
        hook.remove()
hidden = torch.stack(hidden)  # (L + 1, T, D): before the final norm

# The usual, fused attention never has all weights at once; the one that is written out has.
model.set_attn_implementation("eager")
with torch.inference_mode():
    output = model(token_ids, output_attentions=True, use_cache=False)
print(f"both ways to attend: logits off by {(output.logits - logits).abs().max():.2g}")
known = [b for b, path in enumerate(PROJECTION) if path is not None]
listed = known if len(output.attentions) < len(blocks) else range(len(blocks))
attention = dict(zip(listed, output.attentions))
pattern = attention[BLOCK][0].float()  # (heads, query, key)
print(f"\\nBlock {BLOCK}, what {tokens[POSITION]!r} at position {POSITION} reads:")
for h, rows in enumerate(pattern):
    best = rows[POSITION].topk(min(5, len(read)))
    said = [f"{tokens[k]!r} {w:.4f}" for w, k in zip(best.values, best.indices.tolist())]
    print(f"  head {h:2d}", *said, sep="  ")

sinks = sinks_of(hidden.norm(dim=-1))
print(f"\\nattention sinks: {sinks}")
shares = []  # block, head, mean weight on the sinks
behind_them = [q for q in range(len(read)) if sinks and q > sinks[0] and q not in sinks]
for b in known if behind_them else []:
    weights = attention[b][0].float()[:, behind_them][..., sinks].sum(dim=-1).mean(dim=-1)
    shares += [(b, h, share) for h, share in enumerate(weights.tolist())]
    print(f"block {b:3d}: to the sinks", *(f"{share:.3f}" for share in weights.tolist()))
"""

_WRITES = """

def linear(norm, end):
    # weight * C(x) * scale(x) + bias; C takes the mean away or does nothing. With the scale that it
    # has at `end` a norm is linear. Ask it for weight, bias and C.
    signs = torch.ones(end.shape[-1])
    signs[1::2] = -1
    bias = norm(torch.zeros_like(signs))
    weight = (norm(1e4 * signs) - bias) * signs
    centred = torch.equal(norm(1e4 * torch.ones_like(signs)), bias)

    def unscaled(x):
        return weight * (x - x.mean(dim=-1, keepdim=True) if centred else x)

    right, flat = (norm(end) - bias).double(), unscaled(end).double()
    scale = ((right * flat).sum() / (flat * flat).sum()).float()
    return (lambda x: unscaled(x) * scale), bias


def apart(values):
    if isinstance(TARGET_ID, tuple):
        return values[TARGET_ID[0]] - values[TARGET_ID[1]]
    if AGAINST is None:
        return values[TARGET_ID]
    return values[TARGET_ID] - (values.mean(dim=0) if AGAINST == "mean" else values[AGAINST])


model.float()
final_norm = model.get_submodule(NORM) if NORM else torch.nn.Identity()
head = model.get_output_embeddings()
writes, sums = [], []  # block, head, logit, norm; block, heads, bias
with torch.inference_mode():
    through, _ = linear(final_norm, hidden[-1, POSITION])
    row = apart(head.weight.double())  # (D,)
    print(f"\\nWhat heads add to the logit of {TARGET_ID} at position {POSITION}:")
    for b in known:
        module = blocks[b].get_submodule(PROJECTION[b])
        zero = torch.zeros_like(given[b][POSITION])
        bias = module(zero[None])[0]  # what it gives of nothing
        width = len(zero) // N_HEADS
        slices = torch.stack([zero] * N_HEADS)  # (heads, heads * width): one head each
        for h in range(N_HEADS):
            columns = slice(h * width, (h + 1) * width)
            slices[h, columns] = given[b][POSITION, columns]
        parts = torch.cat([module(slices) - bias, bias[None]])  # (heads + 1, D)
        if BEHIND[b] is not None:  # a norm between the projection and the stream
            shape, shift = linear(blocks[b].get_submodule(BEHIND[b]), gave[b][POSITION])
            parts = shape(parts)
            parts[-1] += shift
        parts = parts * SCALES[b]
        left = torch.tensor(RESIDUAL)[b + 1 :].prod() if RESIDUAL else 1.0
        values = (through(parts * left).double() @ row * LOGIT_SCALE).tolist()
        for h in range(N_HEADS):
            writes.append((b, h, values[h], parts[h].norm().item()))
        sums.append((b, sum(values[:-1]), values[-1]))
        print(f"  block {b:3d}", *(f"{value:+.3f}" for value in values[:-1]), end="")
        print(f"  sum {sums[-1][1]:+.4f}, bias {sums[-1][2]:+.4f}")
"""
