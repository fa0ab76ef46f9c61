"""'Show the code' of the Jacobian lens: its grid, its controls and a word's beam with plain
transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scipy.special import stdtrit

from strata.concepts.script import (
    CANDIDATES,
    FINISH,
    FROZEN_NORM,
    NORM,
    RANDOM_BLOCKS,
    TEXTS,
    program,
)
from strata.concepts.target import TargetId
from strata.model.jacobian import MAX_TOKENS, SKIP

Shown = Literal["grid", "difference", "followed", "convergence", "beam"]


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    norm: str | None,
    shows: Sequence[Shown] = ("grid",),
    lens: str = "",
    texts: Sequence[str] = (),
    target_id: TargetId | None = None,
    position: int = -1,
    k: int = 5,
    skip: int = SKIP,
    max_tokens: int = MAX_TOKENS,
    random_blocks: int | None = None,
    random_lens: str = "",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints the numbers of this page, those that `shows`
    names: "grid" (of the Jacobian lens and of the logit lens), their "difference", the target
    "followed" through the layers by both at `position`, the lens's "convergence", and the target's
    "beam" over `texts` at `position`, beside the logit lens. `target_id` is a token or a pair, of
    which the second is taken off.

    `blocks`, `norm`, `logit_scale` and `logit_cap` as `logit_lens.modules` has them; where `norm`
    is None the model itself finishes a state, and there is no beam. `lens` is the file of a fitted
    lens, of which the program says whether it was fitted to these weights; without one it is fitted
    there on `texts`, from the definition, a backward pass for each of D directions and text.
    `random_blocks`: a seed; the grid, by `random_lens`, and the beam of the same model with random
    blocks are printed as well.
    """
    files = bool(lens or random_lens)
    reads = {"grid", "difference", "followed", "convergence"} & set(shows)
    body = _RUN.replace("FINAL_NORM", FINISH if norm is None else NORM)
    body += RANDOM_BLOCKS * (random_blocks is not None)
    imports = ["copy", *["hashlib"] * bool(files or random_blocks is not None), *["json"] * files]
    opening = "".join(f"import {each}\n" for each in imports)
    opening += "\nfrom safetensors import safe_open\n" * files + "\n\n"
    body += _FILES * files + _SAY * bool(reads)
    body += _FITTED * bool(reads and lens) + _FIT * bool(reads and not lens)
    parts = {"grid": _GRID, "difference": _DIFFERENCE, "followed": _FOLLOWED}
    parts |= {"convergence": _CONVERGENCE, "beam": _BEAM}
    body += "".join(text for name, text in parts.items() if name in shows)
    if random_blocks is not None:
        body += _RANDOM + _RANDOM_GRID * bool(random_lens) + _RANDOM_BEAM * ("beam" in shows)
        body += "learned_blocks()\n"
    told: dict[str, object] = {}
    if {"followed", "beam"} & set(shows):
        told |= {"target_id": target_id, "position": position}
    if "beam" in shows:
        n = len(texts)
        told["quantile"] = float(stdtrit(n - 1, 0.975)) if n > 1 else float("inf")
    if random_blocks is not None:
        told |= {"seed": random_blocks, **({"random_lens": random_lens} if random_lens else {})}
    return program(
        "What is each state of a language model disposed to say?",
        opening + TEXTS + CANDIDATES + FROZEN_NORM * ("beam" in shows) + body,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        norm=norm,
        lens=lens,
        texts=list(texts),
        k=k,
        skip=skip,
        max_tokens=max_tokens,
        **told,
        logit_scale=logit_scale,
        logit_cap=logit_cap,
    ).replace("QUANTILE = inf", 'QUANTILE = float("inf")  # one text gives no interval')


_RUN = """
model.requires_grad_(False)
head = model.get_output_embeddings()
blocks = model.get_submodule(BLOCKS)


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output  # some give several


FINAL_NORM


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


def run():
    states = states_of(token_ids[0])
    return torch.stack([state.detach().flatten(2)[0].float() for state in states])


# States are read in float32, whatever the model runs in.
read_norm, read_head = (copy.deepcopy(each).float() for each in (final_norm, head))


def unembed(states):
    with torch.inference_mode():
        logits = read_head(read_norm(states)) * LOGIT_SCALE
    return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits


read = token_ids[0].tolist()
tokens = spelled(read)
hidden = run()  # (L + 1, T, D)
n_layers, n_tokens, width = hidden.shape
"""

_FILES = """

def weights_of(model):
    # A hash of all numbers, in no order but their own.
    hashes = []
    for own in model.parameters():
        digest = hashlib.sha256(f"{own.dtype} {tuple(own.shape)}".encode())
        digest.update(own.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        hashes.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def read_lens(file, weights):
    with safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["about"])
        stored = opened.get_tensor("jacobian").float()
    print(f"{file}: a lens of {about['model']}, fitted on {len(about['texts'])} texts")
    if about["weights"] != weights:
        print("It was fitted to OTHER WEIGHTS than these, so what it says of them means nothing.")
    return torch.cat([stored, torch.eye(width)[None]]), about  # (L + 1, D, D)


own_weights = weights_of(model)
"""

_SAY = """

def say(name, matrices, states):
    print(f"{name}, layer, position, token: what the state is disposed to say")
    for layer in range(n_layers):
        logits = unembed(states[layer] @ matrices[layer].T)  # (T, V)
        probs = logits.double().softmax(dim=-1)
        for t, token in enumerate(tokens):
            values, ids = logits[t].topk(min(K, logits.shape[1]))
            said = [f"{candidate(i, read[: t + 1])!r} {probs[t, i]:.6f}" for i in ids.tolist()]
            print(name, layer, t, repr(token), *said, sep="\\t")


identity = torch.eye(width).expand(n_layers, -1, -1)
"""

_FITTED = """
matrices, about = read_lens(LENS, own_weights)
changes = {int(n): each for n, each in about["changes"].items()}  # by texts: by layer
halves = list(about["halves"])
"""

_FIT = """
sums, before, changes = [torch.zeros(n_layers, width, width).double() for _ in range(2)], None, {}
for n, text in enumerate(TEXTS, 1):
    sums[n % 2] += pulled_back(text, torch.eye(width))
    mean = sum(sums) / n
    if n & (n - 1) == 0 or n == len(TEXTS):  # 1, 2, 4, 8, ... texts, and all
        if before is not None:
            moved = (mean - before)[:-1].flatten(1).norm(dim=1)
            changes[n] = (moved / mean[:-1].flatten(1).norm(dim=1)).tolist()
        before = mean
matrices, halves = mean.float(), []
if len(TEXTS) > 1:
    one, other = (each[:-1].flatten(1) for each in sums)
    halves = torch.cosine_similarity(one, other, dim=1).tolist()
"""

_GRID = """
say("jacobian", matrices, hidden)
say("logit", identity, hidden)
"""

_DIFFERENCE = """
differences = []  # layer, position, KL(Jacobian, logit lens), the token raised most, by how much
print("difference, layer, position: KL in nats, and the token that the Jacobian lens raises most")
for layer in range(n_layers):
    p = unembed(hidden[layer] @ matrices[layer].T).double().log_softmax(dim=-1)  # (T, V)
    q = unembed(hidden[layer]).double().log_softmax(dim=-1)
    kl = (p.exp() * (p - q)).sum(dim=-1).clamp_min(0)
    by, risen = (p.exp() - q.exp()).max(dim=-1)
    risen = risen.where(by > 0, p.argmax(dim=-1))  # none is raised where both are the same
    for t in range(n_tokens):
        differences.append((layer, t, kl[t].item(), risen[t].item(), by[t].item()))
        raised = f"{candidate(risen[t].item(), read[: t + 1])!r} {by[t]:+.6f}"
        print("difference", layer, t, f"{kl[t]:.6f}", raised, sep="\\t")
"""

_FOLLOWED = """
followed = {}  # by lens: of each layer the target's probability and rank, or a difference in nats
for name, each in (("jacobian", matrices), ("logit", identity)):
    followed[name] = []
    for layer in range(n_layers):
        logits = unembed(hidden[layer, POSITION] @ each[layer].T)
        logprobs = logits.double().log_softmax(dim=-1)
        if isinstance(TARGET_ID, tuple):
            told = ((logprobs[TARGET_ID[0]] - logprobs[TARGET_ID[1]]).item(),)
        else:
            rank = (logits > logits[TARGET_ID]).sum().item()
            told = logprobs[TARGET_ID].exp().item(), rank
        followed[name].append(told)
        print("followed", name, layer, *(f"{number:.6g}" for number in told), sep="\\t")
"""

_CONVERGENCE = """
for n, each in sorted(changes.items()):
    print(f"{n} texts: by how much of its norm J changed, by layer:", *(f"{c:.4f}" for c in each))
print("halves of the texts, their cosine by layer:", *(f"{cosine:.4f}" for cosine in halves))
"""

_BEAM = """
# The word's logit is linear in the last state once the norm's scale is held fixed.
word, *minus = TARGET_ID if isinstance(TARGET_ID, tuple) else [TARGET_ID]
with torch.no_grad():
    row = read_head.weight[word] - sum(read_head.weight[other] for other in minus)
named = " minus ".join(repr(tokenizer.decode([each])) for each in (word, *minus))
beams = {}  # by kind: layer, score, and the ends of its interval with 95% confidence


def beam(kind, states, texts):
    with torch.no_grad():
        through, _ = linear(read_norm, states[-1, POSITION])
        along = through(torch.eye(width)) @ row * LOGIT_SCALE  # (D,)
    here, scores = states[:, POSITION].double(), []
    for text in texts:
        vectors = pulled_back(text, along[None].to(model.dtype))[:, 0]  # (L + 1, D)
        scores.append((vectors.double() * here).sum(dim=-1))
    if not texts:  # the identity in the place of J
        scores.append(here @ along.double())
    scores = torch.stack(scores)
    half = torch.full((n_layers,), float("nan"))
    if len(scores) > 1:  # Student's t over texts
        half = QUANTILE * scores.std(dim=0) / len(scores) ** 0.5
    mean = scores.mean(dim=0)
    beams[kind] = list(zip(mean.tolist(), (mean - half).tolist(), (mean + half).tolist()))
    print(f"the beam of {named} at position {POSITION}, {kind}: score in logits, 95% interval")
    for layer, numbers in enumerate(beams[kind]):
        print("beam", kind, layer, *(f"{number:.6f}" for number in numbers), sep="\\t")


beam("jacobian", hidden, TEXTS)
beam("logit", hidden, [])
"""

_RANDOM = """
draw_blocks(SEED)
hidden = run()  # of the same prompt, by random blocks
"""

_RANDOM_GRID = """
matrices, _ = read_lens(RANDOM_LENS, f"{own_weights} random {SEED}")
say("random", matrices, hidden)
"""

_RANDOM_BEAM = """
beam("random", hidden, TEXTS)
"""
