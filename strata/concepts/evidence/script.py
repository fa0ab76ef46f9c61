"""'Show the code' of a set: means, intervals and the permutation test with plain transformers and
SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strata.concepts.chance_script import number_of
from strata.concepts.evidence import probe_script
from strata.concepts.script import program
from strata.concepts.views import concepts, curves


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    blocks: str,
    rows: Sequence[tuple[str, str, str, str]],
    compared: Sequence[str],
    quantity: str = "",
    claim: tuple[int, int, bool] | None = None,
    held_out: Sequence[tuple[str, str, str, str]] = (),
    probe_layer: int | None = None,
    n_draws: int = 0,
    dtype: str = "float32",
    **reads: Any,
) -> str:
    """A program that prints, of these rows (prompt, condition, pair, expected word), the means by
    condition and the differences of `compared` with their p-values; and, of `held_out`, what they
    say of the `claim` (lowest and highest layer, whether larger). Without a quantity how often a
    probe tells those two apart, and with `held_out` how often at `probe_layer` there. `n_draws`:
    the differences beside so many draws by chance. `reads`: what the lines of the quantity ask for,
    see `number_of`; where they cannot be written, its numbers are read from the table. The prompt
    plays no part."""
    constants: dict[str, object] = {"rows": list(rows), "compared": tuple(compared)}
    if not quantity:
        constants |= probe_script.constants(rows, held_out, probe_layer)
        purpose = "How often does a probe tell two conditions of a set of prompts apart?"
        body = probe_script.body(bool(held_out))
        return program(purpose, body, source, revision, None, dtype, blocks=blocks, **constants)
    code = lines(quantity)
    number = number_of(code, **reads) if code else None
    body = _FROM_THE_TABLE
    if number is not None:
        constants["blocks"] = blocks
        body = f"{number}{_WORD}{_ALL}"
    if n_draws:
        constants["draws"] = n_draws
    if claim is not None:
        constants |= {"claim": claim, "held_out": list(held_out)}
    return program(
        f"What is “{quantity}” over a set of prompts, and what would chance give?",
        _OPENING + body + _TEST + _BY_CHANCE * bool(n_draws) + _CLAIM * (claim is not None),
        source,
        revision,
        None,
        dtype,
        **constants,
    )


def lines(quantity: str) -> str:
    """The lines of a program that compute a quantity, see `number_of`: those by which it is put
    beside chance, or the ones below; "" for one that has none."""
    known = {
        null.number: null.code
        for module in concepts().values()
        for null in module.CONCEPT.nulls.values()
    }
    _, curve = curves().get(quantity, ("", None))
    return known.get(curve) or _VALUES.get(quantity, "")


_OPENING = """
import numpy as np
from scipy import stats

"""

_WORD = """

def one_token(word):
    # The token of a word after a space, else without one; None where it is several.
    for text in (" " + word, word):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if word and len(ids) == 1:
            return ids[0]
    return None
"""

_KEPT = "kept = sorted(set(range(hidden.shape[1])) - set(sinks_of(hidden.norm(dim=-1))))\n"

_VALUES = {
    "Dimensions by pairs of tokens": _KEPT
    + """
values = []
for states in hidden[:, kept].double():
    unit = states / states.norm(dim=-1, keepdim=True)
    cosines = (unit @ unit.T).clamp(-1, 1).numpy()[np.triu_indices(len(kept), 1)]
    cosines = cosines[~np.isnan(cosines)]  # a state that is zero has no direction
    spread = np.var(cosines) if len(cosines) else 0
    values.append(1 / spread if spread > 1e-12 else np.nan)  # less is rounding
return values
""",
    "Dimensions by variance (participation ratio)": _KEPT
    + """
values = []
for states in hidden[:, kept].double():
    centred = states - states.mean(dim=0)
    gram = centred @ centred.T
    squares = gram.square().sum().item()
    values.append(gram.trace().item() ** 2 / squares if squares and len(kept) > 1 else np.nan)
return values
""",
    "Logit of the expected word less the other's": """
said = lens(hidden[:, -1])
apart = said[:, TARGET] - said[:, AGAINST]
return [np.nan] * len(said) if TARGET == AGAINST else apart.tolist()
""",
    **{
        f"Norm of what {which} adds": f"""
return [np.nan, *written(token_ids, "{part}")[:, -1].double().norm(dim=-1).tolist()]
"""
        for which, part in (("attention", "attn"), ("the MLP", "mlp"))
    },
}

_ALL = """

def other(i):
    # The next prompt of the same pair, the first after the last.
    pair = ROWS_ALL[i][2]
    same = [j for j, row in enumerate(ROWS_ALL) if row[2] == pair] if pair else [i]
    return same[(same.index(i) + 1) % len(same)]


ROWS_ALL = ROWS + globals().get("HELD_OUT", [])
numbers = []  # (prompts, layers)
for i, (prompt, condition, pair, word) in enumerate(ROWS_ALL):
    TARGET, AGAINST = one_token(word), one_token(ROWS_ALL[other(i)][3])
    numbers.append(number(*whole_run(tokenizer(prompt, return_tensors="pt")["input_ids"][0])))
numbers = np.array(numbers, dtype=float)
"""

_FROM_THE_TABLE = """
# This number is computed on its concept's own page, whose program shows how. Here it is read from
# the table of prompts that "Download" gives, beside this program.
import pandas as pd

ROWS_ALL = ROWS + globals().get("HELD_OUT", [])
table = pd.read_csv("evidence_prompts.csv")
by_prompt = table.pivot(index="row", columns="layer", values=table.columns[-1])
numbers = by_prompt.loc[table["row"].unique()].to_numpy()  # as the rows stand there
"""

_TEST = """

def of(condition, rows, first=0):
    # (prompts, layers) of a condition.
    return numbers[[first + i for i, row in enumerate(rows) if row[1] == condition]]


for condition in dict.fromkeys(row[1] for row in ROWS):
    values = of(condition, ROWS)
    n, mean = len(values), values.mean(axis=0)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    print(f"\\n{condition}: mean of {n} prompts, and its 95 % interval")
    for layer in range(len(mean)):
        low, high = mean[layer] - half[layer], mean[layer] + half[layer]
        if not np.isnan(low):
            print(f"  {layer:3d}  {mean[layer]:12.5f}  {low:12.5f} to {high:12.5f}")


def size_of_t(a, b, axis):
    # |t| of each layer: of the differences within pairs, or Welch's where there are no pairs. Less
    # spread than rounding makes is no spread; where nothing differs t is 0.
    n, m = a.shape[axis], b.shape[axis]
    apart = np.abs(a.mean(axis=axis) - b.mean(axis=axis))
    if ROWS[0][2]:
        squares, least = ((a - b) ** 2).sum(axis=axis), 0
        error = np.maximum(squares - n * apart**2, 1e-10 * squares) / (n - 1) / n
    else:
        spreads = a.var(axis=axis), b.var(axis=axis)
        squares = n * spreads[0] + m * spreads[1] + n * m / (n + m) * apart**2
        error = spreads[0] / (n - 1) + spreads[1] / (m - 1)
        error = np.maximum(error, 1e-10 * squares / (n + m))
        largest = np.maximum(np.abs(a).max(axis=axis), np.abs(b).max(axis=axis))
        least = (n + m) * (1e-10 * largest) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > least, apart / np.sqrt(error), 0)  # 0 where there is no number


a, b = of(COMPARED[0], ROWS), of(COMPARED[1], ROWS)
found = stats.permutation_test(
    (a.T, b.T),
    size_of_t,
    permutation_type="samples" if ROWS[0][2] else "independent",
    n_resamples=9_999,
    alternative="greater",
    vectorized=True,
    axis=-1,
    batch=1_000,
    rng=np.random.default_rng(0),
)
# The same signs (or groups) are drawn for all layers, so the largest |t| of each draw says what
# chance gives anywhere: Westfall and Young's correction for having looked at every layer.
largest = found.null_distribution.max(axis=-1)
drawn = len(largest) == 9_999  # of few pairs all signs are tried
print(f"\\n{COMPARED[0]} less {COMPARED[1]}: difference, p of the layer alone, p over all layers")
for layer, t in enumerate(found.statistic):
    if np.isnan(apart := (a.mean(axis=0) - b.mean(axis=0))[layer]):
        continue
    here = found.null_distribution[:, layer] >= t * (1 - 1e-5)  # by so much t differs by rounding
    anywhere = largest >= t * (1 - 1e-5)
    alone, over_all = ((each.sum() + drawn) / (len(each) + drawn) for each in (here, anywhere))
    print(f"  {layer:3d}  {apart:+12.5f}  {alone:.4f}  {over_all:.4f}")
"""

_BY_CHANCE = """
rng, n, both = np.random.default_rng(0), len(a), np.concatenate([a, b])
if ROWS[0][2]:
    drawn = rng.choice([-1.0, 1.0], (DRAWS, n)) @ (a - b) / n
else:
    chosen = rng.permuted(np.tile(np.repeat([1.0, 0.0], [n, len(b)]), (DRAWS, 1)), axis=1)
    drawn = chosen @ both / n - (1 - chosen) @ both / len(b)
print(f"\\n{COMPARED[0]} less {COMPARED[1]}, and 5%, 50% and 95% of {DRAWS} draws by chance:")
for layer, values in enumerate(drawn.T):
    if not np.isnan(values).any():
        ends = np.quantile(values, [0.05, 0.5, 0.95])
        told = "  ".join(f"{v:.5g}" for v in (a[:, layer].mean() - b[:, layer].mean(), *ends))
        print(f"  {layer:3d}:  {told}")
"""

_CLAIM = """
low, high, larger = CLAIM
here = [of(name, HELD_OUT, len(ROWS))[:, low : high + 1] for name in COMPARED]
a, b = (np.nanmean(values, axis=1) for values in here)  # of those layers that have the number
held = stats.permutation_test(
    (a, b),
    lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
    permutation_type="samples" if ROWS[0][2] else "independent",
    n_resamples=9_999,
    alternative="greater" if larger else "less",
    vectorized=True,
    axis=-1,
    rng=np.random.default_rng(0),
)
print(f"\\nHeld out, layers {low} to {high}: {a.mean() - b.mean():+.5f}, p = {held.pvalue:.4f}")
"""
