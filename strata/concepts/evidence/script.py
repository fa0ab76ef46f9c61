"""'Show the code' of a set: means, intervals and the permutation test with plain transformers and
SciPy."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.evidence import probe_script
from strata.concepts.script import SAYS, SINK_RULE, program


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
    norm: str | None = "",
    logit_scale: float = 1.0,
    logit_cap: float = 0.0,
    dtype: str = "float32",
) -> str:
    """A program that prints, of these rows (prompt, condition, pair, expected word), the means by
    condition and the differences of `compared` with their p-values; and, of `held_out`, what they
    say of the `claim` (lowest and highest layer, whether larger). Without a quantity how often a
    probe tells those two apart, and with `held_out` how often at `probe_layer` there. `norm`,
    `logit_scale` and `logit_cap` as `logit_lens.modules` has them, for what a state says; where the
    norm is no single module, its numbers are read from the table. The prompt plays no part."""
    constants: dict[str, object]
    if not quantity:
        constants = {"rows": list(rows), "compared": tuple(compared), "blocks": blocks}
        constants |= probe_script.constants(rows, held_out, probe_layer)
        purpose = "How often does a probe tell two conditions of a set of prompts apart?"
        return program(
            purpose, probe_script.body(bool(held_out)), source, revision, None, dtype, **constants
        )
    constants = {"rows": list(rows), "compared": tuple(compared)}
    value = next((code for begins, code in _VALUES.items() if quantity.startswith(begins)), "")
    reads = "says(" in value
    if not value or (reads and norm is None):
        body = _FROM_THE_TABLE
    else:
        constants["blocks"] = blocks
        body = (SINK_RULE if "sinks_of" in value else "") + probe_script.RUN
        if reads:
            constants |= {"norm": norm, "logit_scale": logit_scale, "logit_cap": logit_cap}
            body += SAYS
        body += f"{_WORD}\n\ndef value_of(run, target, against):\n{_indented(value)}\n{_ALL}"
    if claim is not None:
        constants |= {"claim": claim, "held_out": list(held_out)}
    return program(
        f"What is “{quantity}” over a set of prompts, and what would chance give?",
        _OPENING + body + _TEST + (_CLAIM if claim is not None else ""),
        source,
        revision,
        None,
        dtype,
        **constants,
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.strip("\n").split("\n"))


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

_LEFT = """
hidden = run.double()
left = [t for t in range(hidden.shape[1]) if t not in sinks_of(hidden.norm(dim=-1))]
"""

_COSINES = """
values = []
for states in hidden[:, left]:
    unit = states / states.norm(dim=-1, keepdim=True)
    a, b = np.triu_indices(len(left), 1)
    values.append({}((unit @ unit.T).numpy()[a, b]))
return values
"""

_VALUES = {
    "Norm of the last state": "return run[:, -1].double().norm(dim=-1).tolist()",
    "Variance of the last state": "return run[:, -1].double().var(dim=-1).tolist()",
    "Laminar median cosine": _LEFT + _COSINES.format("np.median"),
    "Dimensions by pairs of tokens": _LEFT + _COSINES.format("1 / np.var"),
    "Dimensions by variance": _LEFT
    + """
values = []
for states in hidden[:, left]:
    centred = states - states.mean(dim=0)
    gram = centred @ centred.T
    values.append(float(gram.trace() ** 2 / gram.square().sum()))
return values
""",
    "Rank of the expected word": """
logits = says(run[:, -1])
return (logits > logits[:, target, None]).sum(dim=-1).tolist()
""",
    "Probability of the expected word": """
return says(run[:, -1]).softmax(dim=-1)[:, target].tolist()
""",
    "Logit of the expected word less": """
logits = says(run[:, -1])
return (logits[:, target] - logits[:, against]).tolist()
""",
    "Entropy of the lens": """
logprobs = says(run[:, -1]).log_softmax(dim=-1)
return (-(logprobs.exp() * logprobs).sum(dim=-1)).tolist()
""",
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
    target, against = one_token(word), one_token(ROWS_ALL[other(i)][3])
    numbers.append(value_of(run_of(prompt), target, against))
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
        print(f"  {layer:3d}  {mean[layer]:12.5f}  {low:12.5f} to {high:12.5f}")


def size_of_t(a, b, axis):
    # |t| of each layer: of the differences within pairs, or Welch's where there are no pairs.
    n, m = a.shape[axis], b.shape[axis]
    with np.errstate(divide="ignore", invalid="ignore"):
        if ROWS[0][2]:
            apart = a - b
            error = apart.std(axis=axis, ddof=1) / np.sqrt(n)
        else:
            error = np.sqrt(a.var(axis=axis, ddof=1) / n + b.var(axis=axis, ddof=1) / m)
        return np.nan_to_num(np.abs(a.mean(axis=axis) - b.mean(axis=axis)) / error)


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
    as_large = (largest >= t * (1 - 1e-9)).sum()
    over_all = (as_large + drawn) / (len(largest) + drawn)
    apart = (a.mean(axis=0) - b.mean(axis=0))[layer]
    print(f"  {layer:3d}  {apart:+12.5f}  {found.pvalue[layer]:.4f}  {over_all:.4f}")
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
