"""'Show the code' of the lens while a model writes: two sections of its script."""

from __future__ import annotations

# While the model is as it was loaded, before norm and head are made float32.
GOES_ON = """
# While it writes: the cache keeps what earlier tokens computed, so each step reads one token, and
# hooks keep its state where it enters each block, and where it leaves the last.
end = model.generation_config.eos_token_id
end = {tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])}
step, cache, wrote, kept = token_ids, None, [], []


def keep_last(state):
    kept[-1].append(state[0, -1].flatten().float())  # (D,)


hooks = [
    block.register_forward_pre_hook(
        lambda m, args, kwargs: keep_last(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    for block in blocks
]
hooks.append(blocks[-1].register_forward_hook(lambda m, args, output: keep_last(first(output))))
try:
    with torch.inference_mode():
        while len(wrote) < N_WRITTEN and not end & set(wrote):
            kept.append([])
            output = model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            step = output.logits[:, -1:].argmax(dim=-1)  # (1, 1)
            wrote.append(step.item())
finally:
    for hook in hooks:
        hook.remove()
"""

# At the end, with `unembed` and `candidate`.
SAYS = """
print("\\nWhile it writes:")
written = []  # step, layer, its first token and that one's prob, norm, the written one's prob, rank
so_far = token_ids[0].tolist()
with torch.inference_mode():
    for number, (token_id, states) in enumerate(zip(wrote, kept), start=1):
        states = torch.stack(states)  # (L + 1, D)
        logits = unembed(states)  # (L + 1, V)
        probs = logits.double().softmax(dim=-1)
        print(f"step {number} writes {candidate(token_id, so_far)!r}")
        for layer, (row, prob) in enumerate(zip(logits, probs)):
            top = row.argmax().item()
            rank = (row > row[token_id]).sum().item()
            size, chance = states[layer].norm().item(), prob[token_id].item()
            written.append((number, layer, top, prob[top].item(), size, chance, rank))
            print(
                f"  layer {layer:3d}  norm {size:.3f}  prob {chance:.4f}  rank {rank}"
                f"  first {candidate(top, so_far)!r} {prob[top]:.4f}"
            )
        so_far.append(token_id)
"""
