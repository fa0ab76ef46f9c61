"""'Show the code' of the predictions: every number of the page with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.script import CANDIDATES, TEXTS, program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    position: int,
    k: int = 20,
    n_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    prompts: Sequence[str] = (),
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page."""
    drawn = {"temperature": temperature, "seed": seed} if temperature else {}
    going_on = _GOES_ON.format(**(_DRAWN if drawn else _GREEDY))
    return program(
        "What does a language model expect next, and how well did it foresee each token?",
        TEXTS + CANDIDATES + _SCRIPT + going_on + (_SCRIPT_FACTUAL if prompts else ""),
        source,
        revision,
        prompt,
        dtype,
        position=position,
        k=k,
        n_tokens=n_tokens,
        **drawn,
        **({"prompts": list(prompts)} if prompts else {}),
    )


_SCRIPT = """
with torch.inference_mode():
    logits = model(token_ids).logits[0].double()  # (T, V): row t is about token t + 1
logprobs = logits.log_softmax(dim=-1)  # (T, V), in nats
read = token_ids[0].tolist()
entropy = torch.special.entr(logprobs.exp()).sum(dim=-1)  # (T,)

print(f"After {tokenizer.decode(token_ids[0, : POSITION + 1])!r}:")
top = logprobs[POSITION].topk(K)
for logprob, token_id in zip(top.values.tolist(), top.indices.tolist()):
    prob = torch.tensor(logprob).exp()
    word = candidate(token_id, read[: POSITION + 1])
    print(f"  prob {prob:.4f}  logprob {logprob:8.4f}  {word!r}")
print(f"  entropy {entropy[POSITION]:.4f} nats")

tokens = spelled(read)
print("\\nHow well each token was foreseen, by the row before it:")
surprisal, rank = [], []
for t, token_id in enumerate(read[1:], start=1):
    surprisal.append(-logprobs[t - 1, token_id].item())
    rank.append((logits[t - 1] > logits[t - 1, token_id]).sum().item())
    print(
        f"  {t:4d}  surprisal {surprisal[-1]:8.4f}  rank {rank[-1]:6d}"
        f"  entropy {entropy[t - 1]:7.4f}  {tokens[t]!r}"
    )
"""

_GREEDY = {
    "how": "Greedy continuation",
    "begin": "",
    "choose": "        step = output.logits[:, -1:].argmax(dim=-1)  # (1, 1)",
}
_DRAWN = {
    "how": "Sampled continuation",
    "begin": "numbers = torch.Generator().manual_seed(SEED)\n",
    "choose": """\
        row = output.logits[:, -1].double()  # (1, V)
        prob = ((row - row.max()) / TEMPERATURE).softmax(dim=-1)
        step = torch.multinomial(prob, 1, generator=numbers)  # (1, 1)""",
}
_GOES_ON = """
# {how}: the cache keeps what earlier tokens computed, so each step reads one token.
{begin}end = model.generation_config.eos_token_id
end = {{tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])}}
step, cache, written = token_ids, None, []
with torch.inference_mode():
    for _ in range(N_TOKENS):
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
{choose}
        if step.item() in end:
            break
        written.append(step.item())
plain = [token_id for token_id in written if token_id not in tokenizer.all_special_ids]
known = tokenizer.decode(read).rstrip("\\ufffd")  # with the prompt, so that no space is lost
continuation = tokenizer.decode([*read, *plain])[len(known) :]
print(f"\\nThe model goes on: {{continuation!r}}")
"""

_SCRIPT_FACTUAL = """
print("\\nA few facts:")
facts = []
for fact in PROMPTS:
    with torch.inference_mode():
        asked = tokenizer(fact, return_tensors="pt")["input_ids"]
        row = model(asked).logits[0, -1].double()
    prob, token_id = row.softmax(dim=-1).max(dim=-1)
    facts.append((candidate(token_id.item(), asked[0].tolist()), prob.item()))
    print(f"  {fact!r} -> {facts[-1][0]!r} {facts[-1][1]:.4f}")
"""
