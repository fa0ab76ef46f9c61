"""'Show the code' of the trajectories: its maps with plain transformers and umap-learn."""

from __future__ import annotations

from strata.concepts.script import ALL_STATES, SINK_RULE, SINKS, TEXTS, program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    stride: int = 1,
    shape: bool = False,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers and umap-learn that draws the same maps and prints where
    each token begins and ends; `blocks` is the path of the model's list of blocks. `shape`: what
    prints how far each token's path goes and how it turns instead."""
    if shape:
        return program(
            "How far does each token's path through the layers go, and how does it turn?",
            TEXTS + SINK_RULE + ALL_STATES + _SHAPE,
            source,
            revision,
            prompt,
            dtype,
            blocks=blocks,
            skip_first=False,
            skip_sinks=True,
        )
    return program(
        "Which way does each token travel through the layers of a language model?",
        TEXTS + _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        method=method,
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        metric=metric,
        seed=seed,
        n_epochs=n_epochs,
        stride=stride,
    )


_SCRIPT = """
import warnings

import numpy as np
from sklearn.manifold import trustworthiness

states = []  # L + 1 of (1, T, D), all before the final norm and within one graph of gradients


def enter(module, args, kwargs):
    leaf = (args[0] if args else kwargs["hidden_states"]).detach().requires_grad_(True)
    states.append(leaf)
    return ((leaf, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": leaf})


def leave(module, args, output):
    states.append(output[0] if isinstance(output, (tuple, list)) else output)  # some give several


model.requires_grad_(False)
model.eval()
blocks = model.get_submodule(BLOCKS)
hooks = [blocks[0].register_forward_pre_hook(enter, with_kwargs=True)]
hooks += [block.register_forward_hook(leave) for block in blocks]
try:
    logits = model(token_ids, use_cache=False).logits.float()  # (1, T, V)
finally:
    for hook in hooks:
        hook.remove()
hidden = torch.cat([state.detach() for state in states]).float()  # (L + 1, T, D)
tokens = spelled(token_ids[0].tolist())
n_layers, n_tokens, _ = hidden.shape
drawn_layers = [*range(0, n_layers - 1, STRIDE), n_layers - 1]  # and always the last


def neighbours(points, k):
    # Exact: a model's states are few enough. umap-learn would look for approximate ones.
    if METRIC == "cosine":
        points = points / points.norm(dim=-1, keepdim=True)
        distances = 1 - points @ points.T
    else:
        squares = (points**2).sum(dim=-1)
        distances = (squares + squares[:, None] - 2 * points @ points.T).clamp_min(0).sqrt()
    distances.fill_diagonal_(-1)  # each point is its own first neighbour
    found = distances.topk(k, largest=False)
    return found.indices.int().numpy(), found.values.clamp_min(0).float().numpy()


def draw(points):  # (n, D) -> (n, 2)
    if METHOD == "pca":
        points = points.double()
        if METRIC == "cosine":  # PCA knows no metric: states of length 1 leave directions only
            points = points / points.norm(dim=-1, keepdim=True)
        left, sizes, _ = torch.linalg.svd(points - points.mean(dim=0), full_matrices=False)
        drawn = left[:, :2] * sizes[:2]
        drawn = drawn * drawn.gather(0, drawn.abs().argmax(dim=0, keepdim=True)).sign()
        return drawn.numpy()
    from umap import UMAP  # the notebook's own call is UMAP(metric="cosine", n_neighbors=50, ...)

    k = min(N_NEIGHBORS, len(points) - 1)
    reducer = UMAP(
        n_neighbors=k,
        min_dist=MIN_DIST,
        metric=METRIC,
        n_epochs=N_EPOCHS,
        random_state=SEED,
        n_jobs=1,
        precomputed_knn=neighbours(points.double(), k),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # new points cannot be added to such a map: none will be
        return reducer.fit_transform(points.float().numpy())


# A random walk: the same start and the same step norms, in directions that mean nothing.
steps = hidden.double().diff(dim=0).norm(dim=-1, keepdim=True).numpy()  # (L, T, 1)
walk = np.random.default_rng(0).standard_normal((n_layers - 1, *hidden.shape[1:]))
walk *= steps / np.linalg.norm(walk, axis=-1, keepdims=True)
start = hidden[:1].double().numpy()
walk = torch.from_numpy(np.concatenate([start, start + walk.cumsum(axis=0)])).float()

drawn_from = {"activations": hidden, "random walk": walk}
if n_tokens > 1:
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], token_ids[0, 1:])
    gradients = torch.cat(torch.autograd.grad(loss, states)).float()  # (L + 1, T, D)
    # The last position predicts nothing that is scored: its gradient is zero and has no direction.
    # So is that of a state after which the model was certain, and right.
    drawn_from["gradients"] = gradients[:, :-1]

maps = {}
for name, states_of in drawn_from.items():
    states_of = states_of[drawn_layers]
    kept = states_of.abs().amax(dim=-1) > 0  # (L + 1, T)
    points = states_of[kept]  # (n, D)
    drawn = draw(points)
    maps[name] = np.full((*kept.shape, 2), np.nan)
    maps[name][kept.numpy()] = drawn
    k = min(15, (len(points) - 1) // 2)
    trust = trustworthiness(points.numpy(), drawn, n_neighbors=k, metric=METRIC)
    print(f"\\n{name}: trust {trust:.3f}")
    for t in range(states_of.shape[1]):
        (x0, y0), (x1, y1) = maps[name][0, t], maps[name][-1, t]
        print(f"  {t:3d} {tokens[t]!r}: from {x0:.3f}, {y0:.3f} to {x1:.3f}, {y1:.3f}")
if n_tokens > 1:
    norms = gradients.norm(dim=-1)  # (L + 1, T)
    print("\\nNorm of the gradient of every state, a row per token, a column per layer:")
    for t, token in enumerate(tokens):
        print(f"  {t:3d} {token!r}: " + " ".join(f"{norm:.3g}" for norm in norms[:, t].tolist()))
"""

_SHAPE = (
    """
hidden = raw.double()  # (L + 1, T, D)
tokens = spelled(token_ids[0].tolist())
"""
    + SINKS
    + """

def degrees(one, other):  # the angles between rows; an arc cosine would lose small ones
    a, b = (x / x.norm(dim=-1, keepdim=True) for x in (one, other))
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)))


steps = hidden.diff(dim=0)  # (L, T, D): what each block added
lengths = steps.norm(dim=-1).sum(dim=0)  # (T,)
turning = degrees(steps[:-1], steps[1:])  # (L - 1, T)
along = hidden.diff(dim=1)  # (L + 1, T - 1, D): from token to token
curvature = degrees(along[:, :-1], along[:, 1:])  # (L + 1, T - 2), of tokens 1 to T - 2
others = left or list(range(len(tokens)))
near_sink = {p + d for p in sinks for d in (-1, 0, 1)} if left else set()
curved = [p for p in range(1, len(tokens) - 1) if p not in near_sink]
logprobs = output.logits[0, :-1].float().log_softmax(dim=-1)
surprisal = -logprobs.gather(1, token_ids[0, 1:, None])[:, 0]
print("position, token, length of its path, mean turning angle, surprisal")
for p, token in enumerate(tokens):
    turned = turning[:, p].mean().item()
    said = f"{surprisal[p - 1]:.3f}" if p else "-"
    print(f"{p:4d} {token!r}: {lengths[p]:.2f}  {turned:.2f}  {said}")
print("layer, mean turning angle, mean curvature, in degrees, without attention sinks")
for layer in range(len(hidden)):
    inner = 0 < layer < len(hidden) - 1
    turned = f"{turning[layer - 1, others].mean():.3f}" if inner else "-"
    bent = f"{curvature[layer, [p - 1 for p in curved]].mean():.3f}" if curved else "-"
    print(f"{layer:4d}  {turned}  {bent}")
"""
)
