"""'Show the code' of a probe: folds, shuffled labels and both methods with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.evidence.probing import folds
from strata.concepts.script import RUN

Cells = tuple[str, str, str, str]  # prompt, condition, pair, expected word


def constants(
    rows: Sequence[Cells], held_out: Sequence[Cells], layer: int | None
) -> dict[str, object]:
    """What the program is about beside the rows: the fold of each; with a half that was held out
    this half and the layer that was written down."""
    found: dict[str, object] = {
        "folds": folds([row[1] for row in rows], [row[2] for row in rows if row[2]])
    }
    if held_out:
        found |= {"held_out": list(held_out), "layer": layer}
    return found


def body(held_out: bool) -> str:
    """The program below its constants."""
    return _OPENING + RUN + _PROBE + (_HELD_OUT if held_out else "")


_OPENING = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

"""

_PROBE = """

def states_of(rows):
    # (L + 1, n, D) of the last token, and (n, D) the mean embedding of all tokens of each prompt.
    ids = [tokenizer(row[0], return_tensors="pt")["input_ids"] for row in rows]
    runs = [run_of(each)[0].double().numpy() for each in ids]
    return np.stack([run[:, -1] for run in runs], axis=1), np.stack([r[0].mean(0) for r in runs])


def signs_of(rows):
    return np.array([1.0 if row[1] == COMPARED[0] else -1.0 for row in rows])


def shuffled(rows, parts, draws):
    # Labels exchanged within pairs, or where there are none anew within each part.
    rng, labels = np.random.default_rng(0), signs_of(rows)
    if rows[0][2]:
        pairs = list(dict.fromkeys(row[2] for row in rows))
        signs = rng.choice([-1.0, 1.0], (draws, len(pairs)))
        return labels * signs[:, [pairs.index(row[2]) for row in rows]]
    found = np.tile(labels, (draws, 1))
    for part in parts:
        found[:, part] = rng.permuted(found[:, part], axis=1)
    return found


def told_right(given, asked, labels, wanted):
    # How many asked rows a linear probe and the difference of means tell right; a tie is half.
    scaler = StandardScaler().fit(given)
    rows = scaler.transform(given)
    # The weights lie in the space of the rows: with axes of it as columns all is the same, faster.
    axes = np.linalg.svd(rows, full_matrices=False)[2].T
    probe = LogisticRegression(max_iter=10_000, tol=1e-6).fit(rows @ axes, labels)
    up, down = (given[labels == sign].mean(axis=0) for sign in (1, -1))
    logits = (
        probe.decision_function(scaler.transform(asked) @ axes),
        (asked - (up + down) / 2) @ (up - down),
    )
    return np.array(
        [np.where(np.abs(x) < 1e-9, 0.5, x * wanted > 0).sum() for x in logits]
    )


def in_folds(states, labels):
    right = np.zeros(2)
    for fold in range(max(FOLDS) + 1):
        asked = np.array(FOLDS) == fold
        right += told_right(states[~asked], states[asked], labels[~asked], labels[asked])
    return right


def show(name, true, chance):
    low, high = np.quantile(chance, (0.05, 0.95), method="closest_observation")
    told = f"{true:g} of {n}, shuffled {chance.mean():.2f} ({low:g} to {high:g})"
    print(f"  {name}: {told}, {(chance >= true).sum()} of {len(chance)} as well")


n, labels = len(ROWS), signs_of(ROWS)
parts = [np.flatnonzero(np.array(FOLDS) == fold) for fold in range(max(FOLDS) + 1)]
draws = shuffled(ROWS, parts, 20)
states, words = states_of(ROWS)
print("Prompts told right, in folds that keep pairs together")
for layer, here in enumerate([*states, words]):
    true = in_folds(here, labels)
    chance = np.array([in_folds(here, each) for each in draws])
    if layer == len(states):
        show("words alone, mean embedding", true[0], chance[:, 0])
    else:
        show(f"layer {layer:2d}, linear probe", true[0], chance[:, 0])
        show(f"layer {layer:2d}, mean difference", true[1], chance[:, 1])
"""

_HELD_OUT = """
every, wanted, n = ROWS + HELD_OUT, signs_of(HELD_OUT), len(HELD_OUT)
asked = states_of(HELD_OUT)[0][LAYER]
parts = [np.arange(len(ROWS)), np.arange(len(ROWS), len(every))]
true = told_right(states[LAYER], asked, labels, wanted)
chance = np.array(
    [
        told_right(states[LAYER], asked, each[: len(ROWS)], each[len(ROWS) :])
        for each in shuffled(every, parts, 199)
    ]
)
print("Held out: fitted on the rows above, tried on the others")
show(f"layer {LAYER:2d}, linear probe", true[0], chance[:, 0])
p = (1 + (chance[:, 0] >= true[0]).sum()) / 200
print(f"  p = {p:.3f}")
"""
