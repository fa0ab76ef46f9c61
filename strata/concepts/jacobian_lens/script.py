"""'Show the code' of the Jacobian lens: its grid and a word's beam with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.script import CANDIDATES, FROZEN_NORM, TEXTS, program
from strata.concepts.target import TargetId
from strata.model.jacobian import MAX_TOKENS, SKIP


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    norm: str | None,
    lens: str = "",
    texts: Sequence[str] = (),
    target_id: TargetId | None = None,
    position: int = -1,
    k: int = 5,
    skip: int = SKIP,
    max_tokens: int = MAX_TOKENS,
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints the numbers of this page.

    `blocks`, `norm`, `logit_scale` and `logit_cap` as `logit_lens.modules` has them; a model whose
    `norm` is None is read by its states' directions only, so there the program has no grid. `lens`
    is the file of a fitted lens; without one it is fitted here on `texts`, from the definition, a
    backward pass for each of D directions and text. With `target_id`, a token or a pair of which
    the second is taken off, its beam over `texts` is printed at `position`.
    """
    return program(
        "What is each state of a language model disposed to say?",
        TEXTS + CANDIDATES + FROZEN_NORM + _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        norm=norm,
        lens=lens,
        texts=list(texts),
        target_id=target_id,
        position=position,
        k=k,
        skip=skip,
        max_tokens=max_tokens,
        logit_scale=logit_scale,
        logit_cap=logit_cap,
    )


_SCRIPT = """
model.requires_grad_(False)
head = model.get_output_embeddings()
blocks = model.get_submodule(BLOCKS)
final_norm = model.get_submodule(NORM) if NORM else torch.nn.Identity()


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output  # some give several


def states_of(ids):
    # (L + 1) states, (T, D) each, before the final norm; what enters block 0 begins a graph.
    states = []

    def enter(module, args, kwargs):
        state = (args[0] if args else kwargs["hidden_states"]).detach().requires_grad_(True)
        states.append(state)
        if args:
            return (state, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": state}

    def leave(module, args, output):
        states.append(first(output))

    hooks = [blocks[0].register_forward_pre_hook(enter, with_kwargs=True)]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        model(ids[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return states


def pulled_back(text, cotangents):
    # For each cotangent c and layer l: the gradient of the sum of c . h_L over target positions by
    # h_l, averaged over source positions. Both leave out the first positions and the last one.
    states = states_of(tokenizer(text, return_tensors="pt")["input_ids"][0][:MAX_TOKENS])
    last = states[-1].flatten(2)[0]
    used = slice(SKIP, len(last) - 1)
    found = []
    for c in cotangents:
        answers = torch.autograd.grad((last[used] @ c).sum(), states, retain_graph=True)
        found.append(torch.stack([a.flatten(2)[0, used].float().mean(dim=0) for a in answers]))
    return torch.stack(found, dim=1)  # (L + 1, n, D)


def unembed(states):
    logits = head(final_norm(states.to(model.dtype))).float() * LOGIT_SCALE
    return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits


read = token_ids[0].tolist()
tokens = spelled(read)
hidden = torch.stack([state.detach().flatten(2)[0].float() for state in states_of(token_ids[0])])
n_layers, n_tokens, width = hidden.shape

matrices = None  # (L + 1, D, D)
if LENS:
    from safetensors.torch import load_file

    stored = load_file(LENS)["jacobian"].float()
    matrices = torch.cat([stored, torch.eye(width)[None]])
elif TARGET_ID is None:
    matrices = sum(pulled_back(text, torch.eye(width)) for text in TEXTS) / len(TEXTS)

if matrices is not None:
    print("layer, position, token: what the state is disposed to say, and its probability")
    for layer in range(n_layers):
        with torch.inference_mode():
            logits = unembed(hidden[layer] @ matrices[layer].T)  # (T, V)
            probs = logits.double().softmax(dim=-1)
        for t, token in enumerate(tokens):
            values, ids = logits[t].topk(K)
            said = [f"{candidate(i, read[: t + 1])!r} {probs[t, i]:.6f}" for i in ids.tolist()]
            print(layer, t, repr(token), *said, sep="\\t")

if TARGET_ID is not None:
    # The word's logit is linear in the last state once the norm's scale is held fixed.
    with torch.no_grad():
        word, *minus = TARGET_ID if isinstance(TARGET_ID, tuple) else [TARGET_ID]
        direction = head.weight[word].float()
        for other in minus:
            direction = direction - head.weight[other].float()
        through, _ = linear(final_norm.float(), hidden[-1, POSITION])
        along = through(torch.eye(width)) @ direction * LOGIT_SCALE  # (D,)
    scores = []  # of each text, (L + 1,)
    for text in TEXTS:
        vectors = pulled_back(text, along[None].to(model.dtype))[:, 0]  # (L + 1, D)
        scores.append((vectors.double() * hidden[:, POSITION].double()).sum(dim=-1))
    scores = torch.stack(scores)
    named = " minus ".join(repr(tokenizer.decode([each])) for each in (word, *minus))
    print(f"the beam of {named} at position {POSITION}, in logits")
    for layer, score in enumerate(scores.mean(dim=0)):
        print("beam", layer, f"{score:.6f}", sep="\\t")
"""
