"""A probe: can a direction through the last token's states tell two conditions of a set apart?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from strata.concepts import costs
from strata.concepts.evidence.statistics import Floats
from strata.errors import InputError

if TYPE_CHECKING:
    from strata.trace import Trace

LINEAR, MEANS, WORDS = "linear probe", "mean difference", "words alone"
SHUFFLES, SHUFFLES_HELD_OUT = 20, 199
_FOLDS, _SEED = 5, 0
_MOST_STEPS, _CLOSE = 2_000, 1e-5
COLUMNS = (
    "layer method accuracy shuffled_mean shuffled_low shuffled_high selectivity right n "
    "n_shuffles as_good_here as_good"
).split()


def _passes(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    return len(params["conditions"]) ** 2 * n_layers / 600  # measured: 200 prompts take as long


@costs(_passes)
def probe(
    prompts: tuple[str, ...],
    runs: Iterator[tuple[str, Trace]],
    conditions: tuple[str, ...],
    pairs: tuple[str, ...] = (),
    held_out: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """How often the condition of a prompt is told from a state of it that had no part in the
    fitting, by layer; 2 * (L + 1) + 1 rows. Columns: layer, method, accuracy (share of prompts told
    right; a tie is half), shuffled_mean, shuffled_low, shuffled_high (of the same with shuffled
    labels: mean, and what 9 of 10 shuffles lie between), selectivity (accuracy less shuffled_mean),
    right (prompts), n (prompts), n_shuffles, as_good_here (shuffles that do as well at this layer),
    as_good (that do as well at any layer: chance may choose a layer too).

    States are those of the last token. The method "linear probe" is logistic regression with an L2
    penalty (C = 1) on standardised dimensions (Alain and Bengio 2016), "mean difference" the side
    of the midpoint between the two means, along their difference, of raw states (Marks and Tegmark
    2023); both see the rows of the training folds only. "words alone", at layer 0, is the linear
    probe on the mean embedding of all tokens of a prompt: its words without their order (and, in
    models that add a vector for the position there, with these). What shuffled labels give is what
    a probe can learn by heart (the control of Hewitt and Liang 2019, by prompts instead of words).

    Five folds (fewer where there are fewer pairs, or prompts of a condition) keep pairs together;
    20 shuffles within pairs, without pairs within folds, the same for all layers. `held_out`: the
    last so many rows are no part of the fitting, which is then done once on the others, and are all
    that is counted; 199 shuffles.

    Known bias: of a few dozen prompts the accuracy is known to about a tenth, and the best of all
    layers is above what it would be on new prompts: so `as_good` counts the best of each shuffle.
    Equal prompts in several pairs are seen in training. Folds share training rows, so the spread is
    larger than that of as many independent trials. That a direction tells conditions apart does not
    say that the model uses it. InputError for other than two conditions, or fewer than two pairs
    or prompts of one (of the part that is fitted).
    """
    if len(conditions) != len(prompts) or (pairs and len(pairs) != len(prompts)):
        raise InputError(f"There are {len(prompts)} prompts and other rows for them.")
    names = list(dict.fromkeys(conditions))
    if len(names) != 2:
        raise InputError(f"A probe tells two conditions apart; here are {len(names)}.")
    labels = np.where(np.array(conditions, dtype=object) == names[0], 1.0, -1.0)  # (n,)
    if not 0 <= held_out < len(prompts):
        raise InputError("Some prompts must be left to fit a probe on.")
    fitted = len(prompts) - held_out
    blocks = np.array(folds(conditions[:fitted], pairs[:fitted]))
    if held_out:
        tested = [np.arange(fitted, len(prompts))]
        apart = [np.arange(fitted), tested[0]]
    else:
        tested = apart = [np.flatnonzero(blocks == fold) for fold in range(int(blocks.max()) + 1)]
    n_shuffles = SHUFFLES_HELD_OUT if held_out else SHUFFLES
    drawn = np.vstack([labels, _shuffled(labels, pairs, apart, n_shuffles)])  # (1 + shuffles, n)
    states, words = _states(prompts, runs)
    found: dict[tuple[str, int], Floats] = {}
    for layer, here in enumerate(states):
        found[LINEAR, layer], found[MEANS, layer] = _right(here, drawn, tested)
        if progress is not None:
            progress((layer + 1) / len(states), f"Layer {layer} of {len(states) - 1}")
    found[WORDS, 0] = _right(words, drawn, tested)[0]
    return _table(found, sum(map(len, tested)))


def folds(conditions: Sequence[str], pairs: Sequence[str] = ()) -> list[int]:
    """The fold of each row: pairs are together, else each condition is dealt out by itself; by
    names and places only. InputError: see `probe`."""
    names = list(dict.fromkeys(pairs or conditions))
    if pairs:
        place = dict(zip(names, _dealt(names), strict=True))
        both = sorted(dict.fromkeys(conditions))
        if any(
            sorted(c for c, p in zip(conditions, pairs, strict=True) if p == name) != both
            for name in names
        ):
            raise InputError("A pair needs one prompt of each of the two conditions.")
        rows, fewest = [place[p] for p in pairs], len(names)
    else:
        counts = {name: list(conditions).count(name) for name in names}
        dealt = {name: iter(_dealt([str(i) for i in range(n)])) for name, n in counts.items()}
        rows, fewest = [next(dealt[name]) for name in conditions], min(counts.values())
    if fewest < 2:
        raise InputError("A probe needs at least two prompts of each condition to be fitted on.")
    return [row % min(_FOLDS, fewest) for row in rows]


# -- inside -----------------------------------------------------------------------------------


def _states(prompts: Sequence[str], runs: Iterator[tuple[str, Trace]]) -> tuple[Floats, Floats]:
    """(L + 1, n, D) of the last token, and (n, D) the mean embedding of all tokens."""
    last, words = {}, {}
    for prompt, trace in runs:
        last[prompt] = trace.hidden[:, -1].numpy()
        words[prompt] = trace.hidden[0].double().mean(dim=0).numpy()
    return np.stack([last[p] for p in prompts], axis=1), np.stack([words[p] for p in prompts])


def _dealt(names: Sequence[str]) -> list[int]:
    """The place of each name in an order that depends on the names and nothing else."""
    keys = [hashlib.sha256(f"{_SEED}\0probe\0{name}".encode()).digest() for name in names]
    return np.argsort(np.argsort(np.array(keys, dtype=object))).tolist()


def _shuffled(
    labels: Floats, pairs: Sequence[str], apart: Sequence[NDArray[np.int64]], draws: int
) -> Floats:
    """(draws, n) labels exchanged within pairs, or without pairs anew within each of some parts."""
    rng = np.random.default_rng(_SEED)
    if pairs:
        names = {p: i for i, p in enumerate(dict.fromkeys(pairs))}
        signs = rng.choice([-1.0, 1.0], (draws, len(names)))
        return np.asarray(labels * signs[:, [names[p] for p in pairs]], dtype=np.float64)
    found = np.tile(labels, (draws, 1))
    for rows in apart:
        found[:, rows] = rng.permuted(found[:, rows], axis=1)
    return found


def _right(
    states: Floats, labels: Floats, tested: Sequence[NDArray[np.int64]]
) -> tuple[Floats, Floats]:
    """(n, D), (draws, n) -> (draws,) how many tested rows each method tells right. All is
    done in the space of the training rows, where the weights of both methods lie."""
    states = np.asarray(states, dtype=np.float64)
    linear, means = np.zeros(len(labels)), np.zeros(len(labels))
    for fold in tested:
        rest = np.setdiff1d(np.arange(len(states)), fold)
        centre = states[rest].mean(axis=0)
        given, asked = states[rest] - centre, states[fold] - centre
        wanted, known = labels[:, fold], labels[:, rest]
        means += _agree(by_means(given, asked, known), wanted)
        scale = given.std(axis=0)
        scale[scale <= 1e-9 * np.abs(centre)] = 1.0  # the same in all rows
        linear += _agree(by_logistic(given / scale, asked / scale, known), wanted)
    return linear, means


def _agree(found: Floats, wanted: Floats) -> Floats:
    """(draws, rows) twice -> (draws,) how many have the same sign; a tie is half."""
    return np.where(np.abs(found) < 1e-9, 0.5, found * wanted > 0).sum(axis=1)


def by_means(given: Floats, asked: Floats, labels: Floats) -> Floats:
    """(n, D), (m, D), (draws, n) -> (draws, m) how far each asked row lies beyond the midpoint
    between the means of the given ones, along their difference, in the squared unit of rows."""
    up, down = (labels > 0), (labels < 0)
    sides = [side / side.sum(axis=1, keepdims=True) for side in (up, down)]  # (draws, n)
    along, middle = sides[0] - sides[1], (sides[0] + sides[1]) / 2
    offset = ((middle @ (given @ given.T)) * along).sum(axis=1, keepdims=True)
    size = np.sqrt(np.square(given).sum(axis=1).max(initial=0.0)) or 1.0
    return (along @ (given @ asked.T) - offset) / size**2


def by_logistic(given: Floats, asked: Floats, labels: Floats) -> Floats:
    """(n, D) centred, (m, D), (draws, n) -> (draws, m) the logit of each asked row by logistic
    regression on the given ones: the least of the sum of log(1 + exp(-label * logit)) and half the
    squared weights, the intercept free.

    The weights lie in the space of the rows, so n axes of it are enough. There the curvature has a
    diagonal bound (Boehning and Lindsay 1988), along which Nesterov's steps go, begun anew where
    they turn (O'Donoghue and Candes 2015)."""
    sizes, axes = np.linalg.eigh(given @ given.T)
    kept = sizes > 1e-10 * max(sizes[-1], 1e-30)
    root = np.sqrt(sizes[kept])
    rows = np.column_stack([axes[:, kept] * root, np.ones(len(given))])  # (n, r + 1)
    penalty = np.append(np.ones(kept.sum()), 0.0)
    step = 1 / ((rows**2).sum(axis=0) / 4 + penalty)
    weights = ahead = np.zeros((len(labels), len(step)))
    pace = np.ones((len(labels), 1))
    for _ in range(_MOST_STEPS):
        slope = -(labels * expit(-labels * (ahead @ rows.T))) @ rows + penalty * ahead
        new = ahead - step * slope
        moved = new - weights
        pace[(slope * moved).sum(axis=1) > 0] = 1.0
        later = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead, weights, pace = new + (pace - 1) / later * moved, new, later
        if np.abs(slope * np.sqrt(step)).max() < _CLOSE:
            break
    places = (asked @ given.T) @ (axes[:, kept] / root)
    found: Floats = weights @ np.column_stack([places, np.ones(len(asked))]).T
    return found


def _table(found: dict[tuple[str, int], Floats], n: int) -> pd.DataFrame:
    """Of (1 + shuffles,) rows told right by method and layer, the first by the true labels."""
    rows = []
    for method in (LINEAR, MEANS, WORDS):
        right = np.array([found[key] for key in found if key[0] == method])  # (layers, draws)
        shuffled = right[:, 1:] / n
        best = right[:, 1:].max(axis=0)
        low, high = np.quantile(shuffled, (0.05, 0.95), axis=1, method="closest_observation")
        for layer, told in enumerate(right[:, 0]):
            mean = float(shuffled[layer].mean())
            rows.append(
                (
                    *(layer, method, told / n, mean, low[layer], high[layer], told / n - mean),
                    *(told, n, shuffled.shape[1]),
                    *(int((right[layer, 1:] >= told).sum()), int((best >= told).sum())),
                )
            )
    return pd.DataFrame(rows, columns=COLUMNS)
