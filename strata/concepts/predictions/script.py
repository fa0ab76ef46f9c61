"""'Show the code' of the predictions: every number of the page with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.script import program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    position: int,
    k: int = 20,
    n_tokens: int = 20,
    prompts: Sequence[str] = (),
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page."""
    return program(
        "What does a language model expect next, and how well did it foresee each token?",
        _SCRIPT + (_SCRIPT_FACTUAL if prompts else ""),
        source,
        revision,
        prompt,
        dtype,
        position=position,
        k=k,
        n_tokens=n_tokens,
        **({"prompts": list(prompts)} if prompts else {}),
    )


_SCRIPT = """
with torch.inference_mode():
    logits = model(token_ids).logits[0].double()  # (T, V): row t is about token t + 1
logprobs = logits.log_softmax(dim=-1)  # (T, V), in nats
entropy = torch.special.entr(logprobs.exp()).sum(dim=-1)  # (T,)

print(f"After {tokenizer.decode(token_ids[0, : POSITION + 1])!r}:")
top = logprobs[POSITION].topk(K)
for logprob, token_id in zip(top.values.tolist(), top.indices.tolist()):
    prob = torch.tensor(logprob).exp()
    print(f"  prob {prob:.4f}  logprob {logprob:8.4f}  {tokenizer.decode([token_id])!r}")
print(f"  entropy {entropy[POSITION]:.4f} nats")

print("\\nHow well each token was foreseen, by the row before it:")
surprisal, rank = [], []
for t, token_id in enumerate(token_ids[0].tolist()[1:], start=1):
    surprisal.append(-logprobs[t - 1, token_id].item())
    rank.append((logits[t - 1] > logits[t - 1, token_id]).sum().item())
    print(
        f"  {t:4d}  surprisal {surprisal[-1]:8.4f}  rank {rank[-1]:6d}"
        f"  entropy {entropy[t - 1]:7.4f}  {tokenizer.decode([token_id])!r}"
    )

# Greedy continuation: the cache keeps what earlier tokens computed, so each step reads one token.
end = model.generation_config.eos_token_id
end = {tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])}
step, cache, written = token_ids, None, []
with torch.inference_mode():
    for _ in range(N_TOKENS):
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        step = output.logits[:, -1:].argmax(dim=-1)  # (1, 1)
        if step.item() in end:
            break
        written.append(step.item())
continuation = tokenizer.decode(written, skip_special_tokens=True)
print(f"\\nThe model goes on: {continuation!r}")
"""

_SCRIPT_FACTUAL = """
print("\\nA few facts:")
facts = []
for fact in PROMPTS:
    with torch.inference_mode():
        row = model(tokenizer(fact, return_tensors="pt")["input_ids"]).logits[0, -1].double()
    prob, token_id = row.softmax(dim=-1).max(dim=-1)
    facts.append((tokenizer.decode([token_id.item()]), prob.item()))
    print(f"  {fact!r} -> {facts[-1][0]!r} {facts[-1][1]:.4f}")
"""
