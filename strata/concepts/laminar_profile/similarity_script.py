"""'Show the code' of how alike whole layers are: a program of its own."""

from __future__ import annotations

# With `SINK_RULE`, TEXTS_READ, N (positions), FIRST (states of them), GROUPS, BLOCKS.
BODY = """
import numpy as np

# States of texts: of all positions but the first of each, N are drawn, each once, and attention
# sinks are left out. Of more than a hundred texts, or a few more, some are drawn first.
rng = np.random.default_rng(0)
ids, available = {}, 0
for i in rng.permutation(len(TEXTS_READ)).tolist():
    if len(ids) >= 100 and available >= N:
        break
    ids[i] = tokenizer(TEXTS_READ[i], return_tensors="pt")["input_ids"]  # (1, T)
    available += ids[i].shape[1] - 1
places = [(i, t) for i in sorted(ids) for t in range(1, ids[i].shape[1])]
places = [places[j] for j in rng.permutation(available)[:N]]
blocks = model.get_submodule(BLOCKS)


def stream_of(text_ids):
    kept = []

    def enters(module, args, kwargs):
        kept.append((args[0] if args else kwargs["hidden_states"])[0].flatten(1))

    def leaves(module, args, output):  # some families give several, the state first
        kept.append((output[0] if isinstance(output, (tuple, list)) else output)[0].flatten(1))

    hooks = [block.register_forward_pre_hook(enters, with_kwargs=True) for block in blocks]
    hooks.append(blocks[-1].register_forward_hook(leaves))
    with torch.inference_mode():
        model(text_ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return torch.stack(kept).double()  # (L + 1, T, D)


states = {}
for i in sorted({i for i, t in places}):
    stream = stream_of(ids[i])
    sinks = sinks_of(stream.norm(dim=-1))
    states |= {(i, t): stream[:, t] for j, t in places if j == i and t not in sinks}
chosen = [place for place in places if place in states][:FIRST]
hidden = torch.stack([states[place] for place in chosen], dim=1)  # (L + 1, n, D)
n = len(chosen)


def u_centred(x):  # products of each two different states, rows and columns summing to 0
    k = (x - x.mean(dim=0)) @ (x - x.mean(dim=0)).T
    other = 1 - torch.eye(n, dtype=k.dtype)
    k = k * other
    rows = k.sum(dim=1, keepdim=True) / (n - 2)
    return ((k - rows - rows.T + k.sum() / ((n - 1) * (n - 2))) * other).flatten()


vectors = torch.stack([u_centred(x) for x in hidden])
products = vectors @ vectors.T
cka = products / (products.diag()[:, None] * products.diag()).sqrt()  # (L + 1, L + 1)
far = (torch.arange(len(cka))[:, None] - torch.arange(len(cka))).abs()
distance = torch.stack([cka[far == d].mean() for d in range(len(cka))])[far]
pairs = far.triu() > 0
rest, spread = (cka - distance)[pairs], cka[pairs] - cka[pairs].mean()
share = 1 - (rest**2).sum() / (spread**2).sum()
print(f"{n} states; distance alone gives {share:.4f} of the variance of CKA between layers")
for layer in range(1, len(cka)):
    row = cka[layer, [layer - 1, 0, len(cka) - 1]].tolist()
    before, first, last = (f"{value:.4f}" for value in row)
    print(f"{layer:4d}: CKA with the layer before {before}, the first {first}, the last {last}")

# Of the first 1,000 states: two of one word in two texts, against two of different words. With
# GROUPS, each some words, two of different words of one group, against two of two groups.
chosen = [place for place in places if place in states][:1000]
words = [tokenizer.decode(ids[i][0, t]).strip().lower() for i, t in chosen]
if GROUPS:
    of_word = {word: n for n, group in enumerate(GROUPS) for word in group.lower().split()}
    kept = [(place, word, of_word[word]) for place, word in zip(chosen, words) if word in of_word]
else:
    texts_of = {word: {i for (i, t), w in zip(chosen, words) if w == word} for word in words}
    kept = [(place, w, w) for place, w in zip(chosen, words) if len(texts_of[w]) > 1]
a, b = np.triu_indices(len(kept), 1)
pairs = [(kept[x], kept[y]) for x, y in zip(a, b)]
two = [x[0][0] != y[0][0] and not (GROUPS and x[1] == y[1]) for x, y in pairs]  # to be compared
one = [x[2] == y[2] for x, y in pairs]  # of one word, or of one group
two, one = np.array(two, dtype=bool), np.array(one, dtype=bool)
noun = "group" if GROUPS else "word"
for layer in range(len(hidden) if (two & one).any() else 0):
    x = torch.stack([states[place][layer] for place, word, group in kept])
    unit = torch.nn.functional.normalize(x - x.mean(dim=0), dim=1)
    cosines = (unit @ unit.T).numpy()[a, b]
    within, across = cosines[two & one].mean(), cosines[two & ~one].mean()
    print(f"{layer:4d}: cosine within a {noun} {within:.4f}, across {noun}s {across:.4f}")
"""
