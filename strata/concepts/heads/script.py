"""'Show the code' of heads: patterns, writes, sinks and edited runs with plain transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.concepts import quick
from strata.concepts.heads.changed import SEEDS, Kind
from strata.concepts.script import CANDIDATES, FROZEN_NORM, SINK_RULE, TEXTS, program
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
    weighted: Sequence[int] | None = None,
    logit_scale: float = 1.0,
    block: int = 0,
    target_id: TargetId = 0,
    position: int = -1,
    against: Against = None,
    writes: bool = True,
    from_sinks: bool = False,
    head: int = 0,
    kind: Kind | None = None,
    factor: float = 0.0,
    other: str = "",
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints the heads of one block, what all heads write,
    and how much of their attention goes to the sinks.

    What is of the model is as `modules` has it, `weighted` the blocks whose attention has weights,
    as `shape` tells (None: those whose heads are known); `against` as in `writes`. Without
    `writes`, where these are refused, and where the final norm is no single module, it prints
    patterns only. With `from_sinks` it prints as well how long what each head writes from there
    is, as `sink_share` has it. With `kind` it first changes `head` of the block, as `changed` does,
    whose rows it prints.
    """
    whole = writes and norm is not None
    edits = "" if kind is None else _CHANGED.replace("EDIT\n", _EDITS[kind])
    told: dict[str, Any] = {}
    if whole:
        told = {
            "norm": norm,
            "residual": json.loads(residual),
            "logit_scale": logit_scale,
            "against": against,
        }
    if whole or from_sinks:
        told |= {"behind": json.loads(behind), "scales": json.loads(scales)}
    if edits:
        told |= {"head": head, **({"factor": factor} if kind == "scale" else {"other": other})}
        told["n_seeds"] = 0 if kind == "scale" and factor == 1 else SEEDS
    if whole or edits:
        told["target_id"] = target_id
    if whole or edits or from_sinks:
        told["n_heads"] = n_heads
    body = _RUN + edits + _PATTERNS + _WRITES * whole + _FROM_SINKS * from_sinks
    return program(
        "Which tokens does each head of attention read, and what does it write?",
        TEXTS + CANDIDATES + SINK_RULE + FROZEN_NORM * (whole or from_sinks) + body,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        block=block,
        position=position,
        projection=json.loads(projection),
        weighted=_known(projection) if weighted is None else list(weighted),
        **told,
    )


def _known(projection: Json) -> list[int]:
    return [block for block, path in enumerate(json.loads(projection)) if path is not None]


_RUN = """
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
"""

_CHANGED = """
import hashlib  # the same random directions as in Strata, whatever the run


def run(ids, change):
    # The logits of what comes next, (V,), where the heads of the block hand on something else.
    def hook(module, args):
        rows = args[0].reshape(ids.shape[1], N_HEADS, -1).clone()  # (T, heads, width)
        change(rows)
        return (rows.reshape(args[0].shape), *args[1:])

    handle = blocks[BLOCK].get_submodule(PROJECTION[BLOCK]).register_forward_pre_hook(hook)
    try:
        with torch.inference_mode():
            return model(ids, use_cache=False).logits[0, -1].double()
    finally:
        handle.remove()


EDIT


def edit_of(h):
    def change(rows):
        rows[at, h] = edited(rows[at, h], h)

    return change


def push_of(seed):
    def change(rows):
        for t in range(len(rows))[at]:
            named = f"{seed} {BLOCK} attn 0 {t} {HEAD}".encode()
            number = int.from_bytes(hashlib.sha256(named).digest()[:7], "little")
            random = torch.randn(rows.shape[2], generator=torch.Generator().manual_seed(number))
            push = random / random.norm() * rows[t, HEAD].float().norm()
            rows[t, HEAD] = pushed(rows[t, HEAD], push)

    return change


def of_target(values):
    if isinstance(TARGET_ID, tuple):
        return (values[TARGET_ID[0]] - values[TARGET_ID[1]]).item()
    return values[TARGET_ID].item()


runs = [("clean", None, None, lambda rows: None), ("head", HEAD, None, edit_of(HEAD))]
runs += [("other", h, None, edit_of(h)) for h in range(N_HEADS) if h != HEAD]
runs += [("noise", HEAD, seed, push_of(seed)) for seed in range(N_SEEDS)]
changed = []  # edit, head, seed, log-probability, logit less the mean one, likeliest, its prob
print(f"Head {HEAD} of block {BLOCK} changed, and {TARGET_ID} then as what comes next, in nats:")
for edit, h, seed, change in runs:
    logits = run(token_ids, change)
    logprobs = logits.log_softmax(dim=-1)
    logprob, logit = of_target(logprobs), of_target(logits - logits.mean())
    top = logprobs.argmax().item()
    changed.append((edit, h, seed, logprob, logit, top, logprobs[top].exp().item()))
    name = edit if h is None else f"{edit} {h}" if seed is None else f"{edit} {h}, {seed}"
    print(f"  {name:12s} {logprob:9.4f}  logit {logit:+.4f}", end="")
    print(f"  first {candidate(top, read)!r} {changed[-1][-1]:.4f}")
print()
"""

_EDITS = {  # what stands for a head, and for the control of the same size, at some positions
    "scale": """
at = slice(None)  # all positions


def edited(rows, h):
    return rows * FACTOR


def pushed(row, push):
    return row + abs(FACTOR - 1) * push
""".lstrip(),
    "replace": """
other_ids = tokenizer(OTHER, return_tensors="pt")["input_ids"]  # (1, T)
there = []  # what the heads hand on in the other prompt's run, (T, heads, width)
run(other_ids, there.append)
at = slice(None) if other_ids.shape == token_ids.shape else slice(-1, None)  # or the last one


def edited(rows, h):
    return there[0][at, h]


def pushed(row, push):
    return push
""".lstrip(),
}

_PATTERNS = """
# The usual, fused attention never has all weights at once; the one that is written out has.
model.set_attn_implementation("eager")
with torch.inference_mode():
    output = model(token_ids, output_attentions=True, use_cache=False)
print(f"both ways to attend: logits off by {(output.logits - logits).abs().max():.2g}")
known = [b for b, path in enumerate(PROJECTION) if path is not None]
listed = WEIGHTED if len(output.attentions) < len(blocks) else range(len(blocks))
attention = dict(zip(listed, output.attentions))
pattern = attention[BLOCK][0].float() if BLOCK in WEIGHTED else []  # (heads, query, key)
print(f"\\nBlock {BLOCK}, what {tokens[POSITION]!r} at position {POSITION} reads:")
for h, rows in enumerate(pattern):
    best = rows[POSITION].topk(min(5, len(read)))
    said = [f"{tokens[k]!r} {w:.4f}" for w, k in zip(best.values, best.indices.tolist())]
    print(f"  head {h:2d}", *said, sep="  ")

sinks = sinks_of(hidden.norm(dim=-1))
print(f"\\nattention sinks: {sinks or 'none, so the first token is taken'}")
sinks = sinks or [0]
shares = []  # block, head, mean weight on the sinks
behind_them = [q for q in range(len(read)) if q > sinks[0] and q not in sinks]
for b in WEIGHTED if behind_them else []:
    weights = attention[b][0].float()[:, behind_them][..., sinks].sum(dim=-1).mean(dim=-1)
    shares += [(b, h, share) for h, share in enumerate(weights.tolist())]
    print(f"block {b:3d}: to the sinks", *(f"{share:.3f}" for share in weights.tolist()))
"""

_WRITES = """

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

_FROM_SINKS = """
model.float()
norms = []  # block, head, mean norm of what it writes from the sinks, and from all other tokens
with torch.inference_mode():
    for b in [b for b in WEIGHTED if b in known and behind_them]:
        module = blocks[b].get_submodule(PROJECTION[b])
        heads = given[b].reshape(len(read), N_HEADS, -1).transpose(0, 1)  # (heads, T, width)
        # A head hands on weights @ values, and no token reads those behind it: so the values, what
        # each token gives by 1 of attention, follow from what is handed on.
        weights, until = attention[b][0].double(), sinks[-1] + 1
        known_by = weights[:, :until, :until], heads[:, :until].double()
        values = torch.linalg.solve_triangular(*known_by, upper=False)
        there = (weights[:, behind_them][..., sinks] @ values[:, sinks]).float()
        for h, rest in enumerate(heads[:, behind_them] - there):
            both = torch.zeros(2, len(rest), N_HEADS, rest.shape[1])
            both[:, :, h] = torch.stack([there[h], rest])
            parts = module(both.flatten(2)) - module(torch.zeros_like(given[b][:1]))  # (2, Q, D)
            if BEHIND[b] is not None:
                shape, _ = linear(blocks[b].get_submodule(BEHIND[b]), gave[b][behind_them])
                parts = shape(parts)
            norms.append((b, h, *(parts * SCALES[b]).norm(dim=-1).mean(dim=-1).tolist()))
            print(f"block {b:3d} head {h:2d}: norm {norms[-1][2]:.4f} from there", end="")
            print(f", {norms[-1][3]:.4f} from other tokens")
"""
