"""'Show the code' of a state's nearest states in other sentences: two sections of its script."""

from __future__ import annotations

# While the model is as it was loaded, before norm and head are made float32.
READS = """
# States of other texts: of all positions but the first of each, N are drawn, each once, and
# attention sinks are left out. Of more than a hundred texts, or a few more, some are drawn first.
import numpy as np

rng = np.random.default_rng(NEAREST["seed"])
ids, available = {}, 0
for i in rng.permutation(len(NEAREST["texts"])).tolist():
    if len(ids) >= 100 and available >= NEAREST["n"]:
        break
    ids[i] = tokenizer(NEAREST["texts"][i], return_tensors="pt")["input_ids"]  # (1, T)
    available += ids[i].shape[1] - 1
places = [(i, t) for i in sorted(ids) for t in range(1, ids[i].shape[1])]
places = [places[j] for j in rng.permutation(available)[: NEAREST["n"]]]


def stream_of(text_ids):
    kept = []  # (T, D) each

    def enters(module, args, kwargs):
        kept.append((args[0] if args else kwargs["hidden_states"])[0].flatten(1))

    hooks = [block.register_forward_pre_hook(enters, with_kwargs=True) for block in blocks]
    hooks.append(
        blocks[-1].register_forward_hook(lambda m, a, out: kept.append(first(out)[0].flatten(1)))
    )
    try:
        with torch.inference_mode():
            model(text_ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(kept).float()  # (L + 1, T, D)


of_places = {}  # (L + 1, D) each
for i in sorted({i for i, t in places}):
    stream = stream_of(ids[i])
    sinks = sinks_of(stream.double().norm(dim=-1))
    of_places |= {(i, t): stream[:, t] for j, t in places if j == i and t not in sinks}
places = [place for place in places if place in of_places]
sampled = torch.stack([of_places[place] for place in places], dim=1)  # (L + 1, n, D)
"""

# At the end, with `hidden`, `tokens` and `spelled`.
SAYS = """
print(f"\\nNearest to layer {NEAREST['layer']}, position {POSITION}: layer, rank, cosine, token")
texts = {i: spelled(text_ids[0].tolist()) for i, text_ids in ids.items()}


def runs(of):  # eight tokens in a row: who shares them quotes the prompt, or is quoted in it
    return {tuple(of[t : t + 8]) for t in range(len(of) - 7)}


def is_other(i, t):  # and what has read nothing but the prompt's beginning is in the same state
    return not runs(texts[i]) & runs(tokens) and texts[i][: t + 1] != tokens[: t + 1]


def standard(states, like):  # in standard deviations from the mean of those at the same layer
    apart = (states - like.mean(dim=0)) / like.std(dim=0, correction=0)
    return torch.nn.functional.normalize(apart.nan_to_num(0, 0, 0), dim=-1)


others = [row for row, place in enumerate(places) if is_other(*place)]
own = standard(hidden[NEAREST["layer"], POSITION], sampled[NEAREST["layer"]])
nearest = []  # layer, rank, cosine, text, position
for layer in range(NEAREST["layer"], -1, -1):
    cosines = (standard(sampled[layer], sampled[layer])[others] @ own).double()
    rounded = [round(c, 5) for c in cosines.tolist()]
    order = sorted(range(len(others)), key=lambda row: (-rounded[row], places[others[row]]))
    for row in order[: NEAREST["k"]]:
        i, t = places[others[row]]
        rank = sum(c > rounded[row] for c in rounded)
        nearest.append((layer, rank, cosines[row].item(), i, t))
        before, after = ("".join(texts[i][max(0, t - 12) : t]), "".join(texts[i][t + 1 : t + 11]))
        print(f"{layer:3d} {rank:3d} {cosines[row]:.4f}  {before!r} {texts[i][t]!r} {after!r}")
"""
