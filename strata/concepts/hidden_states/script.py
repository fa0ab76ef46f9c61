"""'Show the code' of the hidden states: every number of the page with plain transformers."""

from __future__ import annotations

from strata.concepts.script import ALL_STATES, SINK_RULE, SINKS, TEXTS, program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    position: int,
    blocks: str,
    n_outliers: int = 10,
    skip_first: bool = True,
    skip_sinks: bool = False,
    massive_from: float | None = None,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page; `blocks` is the path
    of the model's list of blocks, such as "model.layers". `massive_from`: also the massive
    activations, from so many times the median on, and the loss without them."""
    without = _SCRIPT_MASSIVE if massive_from else ""
    return program(
        "What does a language model carry from layer to layer for each token?",
        TEXTS + SINK_RULE + ALL_STATES + _SCRIPT + SINKS + _SCRIPT_LEFT + without,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        position=position,
        n_outliers=n_outliers,
        skip_first=skip_first,
        skip_sinks=skip_sinks,
        **({"massive_from": massive_from} if massive_from else {}),
    )


_SCRIPT = """hidden = raw.double()  # (L + 1, T, D)
normed = output.hidden_states[-1][0].double()  # (T, D)
tokens = spelled(token_ids[0].tolist())

unique = len(set(token_ids[0].tolist()))
print(f"characters: {len(PROMPT)} ({len(set(PROMPT))} unique)")
print(f"tokens: {len(tokens)} ({unique} unique)")
print(f"keys of the output: {list(output.keys())}")
print(f"hidden states: {len(hidden)}, each {tuple(hidden.shape[1:])}")
print(f"logits: {tuple(output.logits[0].shape)}")

mean = hidden.mean(dim=-1)  # (L + 1, T)
variance = hidden.var(dim=-1)
norm = hidden.norm(dim=-1)
centred = hidden - mean[..., None]
kurtosis = (centred**4).mean(dim=-1) / (centred**2).mean(dim=-1) ** 2 - 3  # 0 for a Gaussian

print(f"\\nToken {POSITION}, {tokens[POSITION]!r}, by layer:")
for layer, values in enumerate(hidden[:, POSITION]):
    print(
        f"  {layer:3d}  mean {mean[layer, POSITION]:9.4f}"
        f"  variance {variance[layer, POSITION]:12.4f}  norm {norm[layer, POSITION]:10.3f}"
        f"  kurtosis {kurtosis[layer, POSITION]:9.3f}"
        f"  from {values.min():.3f} to {values.max():.3f}"
    )

print("\\nNorm of every state, a row per token, a column per layer:")
for t, token in enumerate(tokens):
    print(f"  {t:3d} {token!r}: " + " ".join(f"{value:.1f}" for value in norm[:, t].tolist()))
"""

_SCRIPT_LEFT = """
print("\\nThe dimensions that reach furthest:")
outliers = []
if left:
    states = hidden[:, left].flatten(0, 1)  # ((L + 1) * T', D)
    size, where = states.abs().max(dim=0)  # (D,)
    for dim in size.argsort(descending=True)[:N_OUTLIERS].tolist():
        layer, t = divmod(where[dim].item(), len(left))
        t = left[t]
        value = hidden[layer, t, dim].item()
        share = value**2 / norm[layer, t].item() ** 2
        outliers.append((dim, layer, t, value, share))
        print(
            f"  dimension {dim:5d}  layer {layer:3d}  token {t:3d}"
            f"  value {value:10.3f}  share of the squared norm {share:.3f}"
        )

print("\\nThe last state before and after the final norm:")
cosine = torch.cosine_similarity(hidden[-1], normed, dim=-1)  # (T,)
for t, token in enumerate(tokens):
    print(
        f"  {t:3d}  before {norm[-1, t]:10.3f}  after {normed[t].norm():10.3f}"
        f"  cosine {cosine[t]:.4f}  {token!r}"
    )
"""

_SCRIPT_MASSIVE = """
print(f"\\nMassive activations: above 100 and {MASSIVE_FROM:g} times the median of their layer")
massive = []
for layer, values in enumerate(hidden):
    size = values.abs()
    median = size.float().median()
    for t, dim in ((size > 100) & (size >= MASSIVE_FROM * median)).nonzero().tolist():
        massive.append((layer, t, dim))
        print(f"  layer {layer:3d}  token {t:3d}  dimension {dim:5d}  value {values[t, dim]:.1f}")
counts = [sum(row[0] == layer for row in massive) for layer in range(1, len(hidden))]


def loss(logits):
    scored = logits[0, :-1].double().log_softmax(dim=-1)
    return -scored.gather(1, token_ids[0, 1:, None]).mean().item()


if any(counts) and len(tokens) > 1:
    layer = 1 + counts.index(max(counts))

    def to_zero(module, inputs, output):
        state = (output[0] if isinstance(output, (tuple, list)) else output).clone()
        for n, t, dim in massive:
            if n == layer:
                state[0, t].view(-1)[dim] = 0
        return (state, *output[1:]) if isinstance(output, (tuple, list)) else state

    hook = model.get_submodule(BLOCKS)[layer - 1].register_forward_hook(to_zero)
    with torch.inference_mode():
        without = model(token_ids).logits
    hook.remove()
    print(f"loss {loss(output.logits):.4f}, with those of layer {layer} zero {loss(without):.4f}")
"""
