"""The Gaussian baseline as a program with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.script import SINK_RULE, TEXTS, program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    texts: Sequence[str],
    layer: int,
    blocks: str,
    part: str = "stream",
    modules: Sequence[str] = (),
    write_scale: float = 1.0,
    scales: Sequence[float] = (),
    n: int = 2_000,
    seed: int = 0,
    skip_first: bool = True,
    skip_sinks: bool = False,
    center: bool = False,
    drop_top: int = 0,
    pairs: str = "all",
    dimension: int | None = None,
    quantile: float = 0.5,
    intrinsic: bool = False,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that samples the same states and prints the numbers of this
    page; the prompt is not used.

    `blocks` is the path of the model's list of blocks, `modules` are paths from a block to the
    module whose output the part adds, of which the first that exists counts, and `write_scale` is
    what the model multiplies it by. `dimension` None: as many as are left of D. `intrinsic`: also
    the intrinsic dimension at this layer.
    """
    return program(
        "Are a model's states spread like random directions, and in how many dimensions?",
        TEXTS + SINK_RULE + _SCRIPT + (_INTRINSIC if intrinsic else ""),
        source,
        revision,
        None,
        dtype,
        texts=tuple(texts),
        n=n,
        seed=seed,
        skip_first=skip_first,
        skip_sinks=skip_sinks,
        layer=layer,
        part=part,
        blocks=blocks,
        modules=tuple(modules),
        scales=list(scales),
        write_scale=float(write_scale),  # NumPy's own number would not be written as a plain one
        center=center,
        drop_top=drop_top,
        pairs=pairs,
        dimension=dimension,
        quantile=quantile,
    )


_SCRIPT = """
import numpy as np
from scipy import special

# Which token positions: a hundred texts at most (more if they hold fewer than N positions), then N
# of their positions, each once.
rng = np.random.default_rng(SEED)
first = 1 if SKIP_FIRST else 0  # position 0 is often an attention sink, far larger than the rest
ids = {}
available = 0
for i in rng.permutation(len(TEXTS)).tolist():
    if len(ids) >= 100 and available >= N:
        break
    ids[i] = tokenizer(TEXTS[i], return_tensors="pt")["input_ids"]  # (1, T)
    available += ids[i].shape[1] - first
places = [(i, t) for i in sorted(ids) for t in range(first, ids[i].shape[1])]
chosen = [places[j] for j in rng.permutation(available)[:N]]

# The state at each: what enters the block after it, or what a module of the block before it adds.
kept = []


def submodules(block, names):
    for name in names:
        try:
            return [block.get_submodule(path) for path in name.split("+")]
        except AttributeError:
            pass
    return []


def keep_input(module, args, kwargs):
    kept.append(args[0] if args else kwargs["hidden_states"])


def keep_output(scale):
    def hook(module, args, output):  # some families give several, the state first
        kept.append(scale * (output[0] if isinstance(output, (tuple, list)) else output))

    return hook


norms = []  # of the states before the first block and after each, (T,)


def keep_norms(state):
    state = state[0] if isinstance(state, (tuple, list)) else state
    norms.append(state.double().reshape(state.shape[1], -1).norm(dim=-1))


layers = model.get_submodule(BLOCKS)
if SKIP_SINKS:
    layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: keep_norms(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    for block in layers:
        block.register_forward_hook(lambda module, args, output: keep_norms(output))
if PART == "stream" and LAYER == 0:
    layers[0].register_forward_pre_hook(keep_input, with_kwargs=True)
elif PART == "stream":
    layers[LAYER - 1].register_forward_hook(keep_output(1.0))
else:
    parts = submodules(layers[LAYER - 1], MODULES)
    for part, scale in zip(parts, SCALES or [WRITE_SCALE] * len(parts)):
        part.register_forward_hook(keep_output(scale))
read, sinks = {}, set()
for i in sorted({i for i, t in chosen}):
    kept.clear()
    norms.clear()
    with torch.inference_mode():
        model(ids[i])
    n_tokens = ids[i].shape[1]
    read[i] = sum(each.float().reshape(n_tokens, -1) for each in kept)  # (T, D)
    if SKIP_SINKS:
        sinks |= {(i, t) for t in sinks_of(torch.stack(norms))}
chosen = [place for place in chosen if place not in sinks]
states = torch.stack([read[i][t] for i, t in chosen])  # (n, D)

if CENTER:
    states = states - states.mean(dim=0, dtype=torch.float64).float()
if DROP_TOP:
    order = states.var(dim=0).argsort(descending=True, stable=True)
    states = states[:, order[DROP_TOP:].sort().values]
unit = states / states.norm(dim=1, keepdim=True)
half = len(unit) // 2
matrix = (unit[:half] @ unit[half:].T).clamp(-1, 1).numpy()  # (n // 2, n - n // 2)
a, b = np.indices(matrix.shape)
text = np.array([i for i, t in chosen])
same = text[a] == text[half + b]
wanted = {"all": same | ~same, "within": same, "between": ~same}[PAIRS] & np.isfinite(matrix)
a, b, cosines = a[wanted], half + b[wanted], matrix[wanted].astype(np.float64)
order = cosines.argsort(kind="stable")

mean, variance = cosines.mean(), cosines.var()
effective_dimension = 1 / variance
x = states.double() - (states.double().mean(dim=0) if CENTER else 0)
gram = x.T @ x
participation_ratio = (gram.trace() ** 2 / gram.square().sum()).item()
print(f"{len(states)} states of {len(read)} texts, {len(cosines)} pairs")
print(f"mean {mean:.4f}  spread {variance**0.5:.4f}")
print(f"effective dimension {effective_dimension:.1f}")
print(f"participation ratio {participation_ratio:.1f}")


# Distances are taken at 1,001 quantiles, so they are at most 0.001 too small.
ranks = np.unique(np.rint(np.linspace(0, len(cosines) - 1, 1001)).astype(int))
c = cosines[order[ranks]]


def ks_distance(d):  # (1 + cosine) / 2 of two random directions is Beta((d - 1) / 2, (d - 1) / 2)
    up_to = below = special.betainc((d - 1) / 2, (d - 1) / 2, (1 + c) / 2) if d > 1 else 0
    if d == 1:  # two spikes: half of all pairs at -1, half at 1
        up_to, below = np.where(c >= 1 - 1e-6, 1, 0.5), np.where(c <= -1 + 1e-6, 0, 0.5)
    n_pairs = len(cosines)
    return max(((ranks + 1) / n_pairs - up_to).max(), (below - ranks / n_pairs).max())


low, high = 1, states.shape[1]
while low < high:  # the distance falls with d, then rises
    middle = (low + high) // 2
    if ks_distance(middle) <= ks_distance(middle + 1):
        high = middle
    else:
        low = middle + 1
best_dimension, ks_best = low, ks_distance(low)
ks_full = ks_distance(states.shape[1])
dimension = DIMENSION or states.shape[1]
ks_chosen = ks_distance(dimension)
print(f"distance to random directions in {states.shape[1]} dimensions: {ks_full:.4f}")
print(f"in {dimension}: {ks_chosen:.4f}")
print(f"in {best_dimension}, the nearest: {ks_best:.4f}")

rank = round(QUANTILE * (len(cosines) - 1))
pair = int(a[order[rank]]), int(b[order[rank]])
print(f"the pair at quantile {QUANTILE:g}: cosine {cosines[order[rank]]:.4f}")
for i, t in (chosen[row] for row in pair):
    tokens = spelled(ids[i][0].tolist())
    after = tokens[t + 1] if t + 1 < len(tokens) else "end of the text"
    print(f"  text {i}, position {t}: {''.join(tokens[max(0, t - 10) : t])!r}")
    print(f"    {tokens[t]!r} [{after!r}]")
"""

_INTRINSIC = """
# The intrinsic dimension of the different states that are no first tokens.
rest = torch.tensor([t > 0 for i, t in chosen])
near_states = torch.stack([read[i][t] for i, t in chosen])[rest].double()
different = torch.unique(near_states, dim=0)  # of two equal ones the distance is 0
n_equal = len(near_states) - len(different)
distances = torch.cdist(different, different, compute_mode="donot_use_mm_for_euclid_dist")
distances = distances.topk(9, largest=False).values[:, 1:].numpy()  # (n, 8), without itself
ratios = np.sort(distances[:, 1] / distances[:, 0])
n_kept = int(0.9 * len(ratios))  # TwoNN leaves out the largest tenth
x = np.log(ratios[:n_kept])
y = -np.log(1 - np.arange(1, n_kept + 1) / len(ratios))
twonn = (x * y).sum() / (x * x).sum()  # the slope of a line through 0
scales = {}
for k in (2, 4, 8):
    logs = np.log(distances[:, k - 1] / distances[:, k // 2 - 1])
    logs = logs[logs > 0]
    low, high = 1e-6, 1e6
    for _ in range(200):  # the slope of the log-likelihood falls with the dimension
        d = (low + high) / 2
        slope = (len(logs) - 1) / d - (k - 1) * logs.sum()
        slope += (k // 2 - 1) * (logs / -np.expm1(-d * logs)).sum()
        low, high = (d, high) if slope > 0 else (low, d)
    scales[k] = low
centred = different - different.mean(dim=0)
covariance = centred.T @ centred
spread_over = (covariance.trace() ** 2 / covariance.square().sum()).item()
print(f"{len(different)} different states, {n_equal} equal to one of them")
print(f"TwoNN {twonn:.3f}  by neighbours", *(f"{k}: {d:.3f}" for k, d in scales.items()))
print(f"participation ratio of these, centred {spread_over:.2f}")
"""
