"""'Show the code' of the logit lens: its grid with plain transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.concepts.logit_lens import nearest_script
from strata.concepts.logit_lens.written_script import GOES_ON, SAYS
from strata.concepts.script import (
    CANDIDATES,
    FINISH,
    FROZEN_NORM,
    NORM,
    SINK_RULE,
    TEXTS,
    program,
)
from strata.concepts.target import TargetId

if TYPE_CHECKING:
    from strata.model import Model


def modules(model: Model) -> pd.DataFrame:
    """Where this model keeps what the script reads, one row: blocks, norm (paths), attn, mlp
    (paths from a block, several separated by spaces; empty where the writes are refused),
    logit_scale, logit_cap, write_scale, where no factor is common to all modules scales (JSON, for
    each part and block the factors of its modules), and where blocks multiply the stream residual
    (JSON: by what each).

    A part of several modules has their paths joined by "+"; `norm` is empty where there is
    none, None where it is no single module.
    """
    found = model.architecture
    attn, mlp = ("", "") if model.write_refusal else map(" ".join, (found.row.attn, found.row.mlp))
    scales = {part: [[w.scale for w in each] for each in blocks] for part, blocks in found.parts()}
    differ = math.isnan(found.write_scale)
    return pd.DataFrame(
        {
            "blocks": [model.blocks_path],
            "norm": [found.norm_path],
            "attn": [attn],
            "mlp": [mlp],
            "logit_scale": [found.logit_scale],
            "logit_cap": [found.logit_cap or 0.0],
            "write_scale": [1.0 if differ else found.write_scale],
            "scales": [json.dumps(scales) if differ else ""],
            "residual": [json.dumps(found.residual) if attn and found.residual else ""],
        }
    )


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    norm: str | None,
    attn: str = "",
    mlp: str = "",
    mode: str = "states",
    k: int = 5,
    largest: bool = True,
    target_id: TargetId | None = None,
    position: int = -1,
    against: str | int | None = "mean",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
    write_scale: float = 1.0,
    scales: str = "",
    residual: str = "",
    n_written: int = 0,
    nearest: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page.

    `blocks` and `norm` are paths from the model, `attn` and `mlp` paths from a block to the modules
    whose output is added to the stream (several separated by spaces: the first that exists),
    empty where the writes are refused; the constants are the family's: see `modules`. `against` as
    in `attribution`; of a pair as `target_id` the differences are printed instead. With `n_written`
    the model goes on for so many tokens, and each step is read as well; with `nearest` (texts, n,
    seed, layer, k) the states of the texts that are nearest to that of the position are printed.
    """
    body = _SCRIPT.replace("FINAL_NORM", FINISH if norm is None else NORM)
    body += _SCRIPT_WRITES if attn else ""
    if n_written:
        body = body.replace(_IN_FLOAT32, GOES_ON.lstrip() + _IN_FLOAT32) + SAYS
    if nearest:
        reads = nearest_script.READS.lstrip() + _IN_FLOAT32
        body = SINK_RULE + body.replace(_IN_FLOAT32, reads) + nearest_script.SAYS
    pair = isinstance(target_id, tuple)
    for line, instead in (*(_CARRIED if residual else ()), *(_PAIR if pair else ())):
        body = body.replace(line, instead)
    return program(
        "What would a language model say if it stopped at each layer?",
        TEXTS + CANDIDATES + FROZEN_NORM + body,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        norm=norm,
        writes={"attn": attn, "mlp": mlp} if attn else {},
        write_scale=json.loads(scales) if scales else write_scale,
        **({"residual": json.loads(residual)} if residual else {}),
        mode=mode,
        k=k,
        largest=largest,
        target_id=target_id,
        position=position,
        **({"against": against} if attn and not pair else {}),
        logit_scale=logit_scale,
        logit_cap=logit_cap,
        **({"n_written": n_written} if n_written else {}),
        **({"nearest": dict(nearest)} if nearest else {}),
    )


_IN_FLOAT32 = "final_norm, head = final_norm.float(), head.float()\n"

_SCRIPT = """
head = model.get_output_embeddings()
blocks = model.get_submodule(BLOCKS)
hidden, hooks = [], []
written = {part: [torch.zeros(1) for _ in blocks] for part in WRITES}


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output  # some give several


FINAL_NORM


def enter(module, args, kwargs):
    hidden.append((args[0] if args else kwargs["hidden_states"])[0].flatten(1).clone())


def keep(part, b, scale):
    def hook(module, args, output):  # a sum, since a part may be several modules
        added = first(output).reshape(len(token_ids[0]), -1).float() * scale
        written[part][b] = written[part][b] + added

    return hook


def found(block, names):
    for name in names.split():
        try:
            return [block.get_submodule(path) for path in name.split("+")]
        except AttributeError:
            pass
    return []


for b, block in enumerate(blocks):
    hooks.append(block.register_forward_pre_hook(enter, with_kwargs=True))
    for part, names in WRITES.items():
        for i, module in enumerate(found(block, names)):
            scale = WRITE_SCALE[part][b][i] if isinstance(WRITE_SCALE, dict) else WRITE_SCALE
            hooks.append(module.register_forward_hook(keep(part, b, scale)))
last = blocks[-1].register_forward_hook(
    lambda m, a, output: hidden.append(first(output)[0].flatten(1))
)
try:
    with torch.inference_mode():
        model_logits = model(token_ids, use_cache=False).logits[0].float()  # (T, V)
finally:
    for hook in (*hooks, last):
        hook.remove()
final_norm, head = final_norm.float(), head.float()
hidden = torch.stack(hidden).float()  # (L + 1, T, D): before the final norm
writes = {part: torch.stack([w.expand_as(hidden[0]) for w in written[part]]) for part in WRITES}


def unembed(states):
    logits = head(final_norm(states)) * LOGIT_SCALE
    return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits


read = token_ids[0].tolist()
tokens = spelled(read)
with torch.inference_mode():
    apart = (unembed(hidden[-1]) - model_logits).abs().max()
    print(f"last layer against the model's logits: off by {apart:.2g}")
    final = unembed(hidden[-1]).double().log_softmax(dim=-1)  # (T, V)
    if MODE == "states":
        states, layers = hidden, range(len(hidden))
    else:
        deltas = hidden.diff(dim=0)
        states = deltas if MODE.startswith("deltas") else writes[MODE.split("_")[0]]  # (L, T, D)
        layers = range(1, len(hidden))
    grid = []  # layer, position, the tokens' ids, their logits
    statistics = []  # layer, position, norm, entropy, KL to the final, the target's prob and rank
    for layer, row in zip(layers, states):
        if MODE.endswith("frozen_norm"):
            through, _ = linear(final_norm, hidden[-1])
            logits = through(row) @ head.weight.T * LOGIT_SCALE  # (T, V): before any cap
        else:
            logits = unembed(row)  # (T, V)
        logprobs = logits.double().log_softmax(dim=-1)
        for t, token in enumerate(tokens):
            top = logits[t].topk(min(K, len(logits[t])), largest=LARGEST)
            grid.append((layer, t, top.indices.tolist(), top.values.tolist()))
            target = TARGET_ID if TARGET_ID is not None else final[t].argmax().item()
            entropy = torch.special.entr(logprobs[t].exp()).sum().item()
            kl = (final[t].exp() * (final[t] - logprobs[t])).sum().item()
            rank = (logits[t] > logits[t, target]).sum().item()
            prob = logprobs[t, target].exp().item()
            statistics.append((layer, t, row[t].norm().item(), entropy, kl, prob, rank))
            said = [
                f"{candidate(i, read[: t + 1])!r} {v:+.3f}"
                if MODE.endswith("frozen_norm")
                else f"{candidate(i, read[: t + 1])!r} {logprobs[t, i].exp():.4f}"
                for i, v in zip(top.indices.tolist(), top.values.tolist())
            ]
            print(f"layer {layer:3d}  {t:4d} {token!r}: norm {row[t].norm():.3f}", *said, sep="  ")
            if not MODE.endswith("frozen_norm"):
                print(f"      entropy {entropy:.4f}  KL {kl:.4f}  target {prob:.4f} rank {rank}")
"""

_SCRIPT_WRITES = """
target = TARGET_ID if TARGET_ID is not None else final[POSITION].argmax().item()


def apart(values):  # a softmax sees differences only: from the average token's, or another's
    if AGAINST is None:
        return values[target]
    return values[target] - (values.mean(dim=0) if AGAINST == "mean" else values[AGAINST])


other = "the average token's" if AGAINST == "mean" else AGAINST
print(f"\\nWhere the logit of {candidate(target, read)!r} at position {POSITION} comes from")
print("" if AGAINST is None else f"(less {other}):")
attribution = []  # part, block, logit
with torch.inference_mode():
    names = [("embedding", None)]
    terms = [hidden[0, POSITION]]
    for b in range(len(blocks)):
        names += [("attn", b), ("mlp", b)]
        terms += [writes["attn"][b, POSITION], writes["mlp"][b, POSITION]]
    through, bias = linear(final_norm, hidden[-1, POSITION])
    row = apart(head.weight.double())  # (D,)
    values = (through(torch.stack(terms)).double() @ row * LOGIT_SCALE).tolist()
    names += [("norm_bias", None), ("head_bias", None)]
    values.append((bias.double() @ row).item() * LOGIT_SCALE)
    values.append(0.0 if head.bias is None else apart(head.bias.double()).item() * LOGIT_SCALE)
    for (part, b), value in zip(names, values):
        attribution.append((part, b, value))
        print(f"  {part:10s} {'' if b is None else b:>4}  {value:+9.4f}")
    uncapped = apart(head(final_norm(hidden[-1, POSITION])).double() * LOGIT_SCALE).item()
    print(f"  sum {sum(values):+9.4f}, the model's own before any cap {uncapped:+9.4f}")
"""

_PAIR = (  # lines, and what stands there for a pair of words
    (
        "    grid = []  # layer",
        """    both = " minus ".join(repr(candidate(i, read)) for i in TARGET_ID)
    grid = []  # layer""",
    ),
    (
        "KL to the final, the target's prob and rank",
        "KL to the final, difference of logits",
    ),
    (
        """            target = TARGET_ID if TARGET_ID is not None else final[t].argmax().item()
""",
        """            # Of logits as of log-probabilities: a softmax takes the same from all.
            difference = (logits[t, TARGET_ID[0]] - logits[t, TARGET_ID[1]]).item()
""",
    ),
    (
        """            rank = (logits[t] > logits[t, target]).sum().item()
            prob = logprobs[t, target].exp().item()
            statistics.append((layer, t, row[t].norm().item(), entropy, kl, prob, rank))
""",
        """            statistics.append((layer, t, row[t].norm().item(), entropy, kl, difference))
""",
    ),
    (
        """            if not MODE.endswith("frozen_norm"):
                print(f"      entropy {entropy:.4f}  KL {kl:.4f}  target {prob:.4f} rank {rank}")
""",
        """            if not MODE.endswith("frozen_norm"):
                print(f"      entropy {entropy:.4f}  KL {kl:.4f}")
            print(f"      {both}: {difference:+.4f}")
""",
    ),
    (
        _SCRIPT_WRITES[: _SCRIPT_WRITES.index("attribution = []")],
        """

def apart(values):
    return values[TARGET_ID[0]] - values[TARGET_ID[1]]


print(f"\\nWhere {both} at position {POSITION} comes from:")
""",
    ),
)

_CARRIED = (  # lines, and what stands there where blocks multiply the stream before they add
    (
        "hidden = torch.stack(hidden).float()  # (L + 1, T, D): before the final norm\n",
        """hidden = torch.stack(hidden).float()  # (L + 1, T, D): before the final norm
# Each block multiplies the stream by a number and adds to that, so of a state, and of what blocks
# below it added, the blocks above leave a share.
kept = torch.tensor(RESIDUAL)
left = torch.stack([kept[layer:].prod() for layer in range(len(hidden))])  # (L + 1,)
""",
    ),
    ("hidden.diff(dim=0)", "hidden[1:] - kept[:, None, None] * hidden[:-1]"),
    (
        "        layers = range(1, len(hidden))\n",
        """        layers = range(1, len(hidden))
        if MODE.endswith("frozen_norm"):
            states = states * left[1:, None, None]
""",
    ),
    ("terms = [hidden[0, POSITION]]", "terms = [left[0] * hidden[0, POSITION]]"),
    (
        'terms += [writes["attn"][b, POSITION], writes["mlp"][b, POSITION]]',
        'terms += [left[b + 1] * writes[part][b, POSITION] for part in ("attn", "mlp")]',
    ),
)
