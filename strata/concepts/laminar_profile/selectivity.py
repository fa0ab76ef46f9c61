"""Selectivity: whether states of one word, or of one group of words, are more alike than others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts import apart
from strata.concepts.run import check_count
from strata.corpus import Sample
from strata.errors import InputError

Ints = NDArray[np.int64]
STATES = 1_000  # of the sample: every two of them are compared
SHUFFLES = 20
_TRIES = 1_000  # to draw as many different ones
_WORDS = 200  # that groups may have in all
_NUMBERS = ("within", "across", "difference", "low", "high")


def centred_cosines(states: Tensor) -> NDArray[np.float64]:
    """(n, D) -> (n, n): the cosines of every two states less their mean."""
    x = states.double()
    unit = torch.nn.functional.normalize(x - x.mean(dim=0), dim=1)
    return (unit @ unit.T).numpy()


@apart
def selectivity(
    sample: Sample,
    groups: Sequence[str] = (),
    n: int = STATES,
    seed: int = 0,
) -> pd.DataFrame:
    """How far a layer's states tell by their direction which word, or kind of word, they are of,
    whatever stands around it: layer, n_groups, n_states, n_pairs (within), within, across (mean
    cosines of two states of one group and of two groups, centred over all that are compared),
    difference (within - across), n_draws, low and high (how many draws by chance there are, and
    their least and largest difference), n_as_large (how many draws have as large a difference at
    any layer, since the layer where it is largest was picked).

    By chance, each state has another's word; with `groups` each word with all its states another's
    group, since states of one word are alike whatever group it is in, so that groups keep how many
    words they have. A draw is never the grouping itself nor twice the same: 20, fewer where words
    can be grouped in fewer other ways. Where groups mean nothing, the difference is beyond all of n
    draws in 1 of n + 1 cases, at each layer.

    Without `groups` each token is one, of those that are there in two texts or more: the same word
    in different contexts. With groups, each some words with spaces between, only tokens that are
    one of these words are compared, whatever their case and the space before them, and a pair of
    one token counts nowhere, so that a group must be alike beyond its single words. All pairs are
    of two texts, for states of one text are alike as neighbours are. Of the first `n` states of the
    sample, whose order is random. NaN where there are no such pairs. InputError for more than 200
    words, and for a word that is in two groups.

    Known bias: frequent words make most pairs, so it is mostly theirs; a few dimensions of large
    variance decide every cosine. After the comparison of similarities within and across categories
    of Kriegeskorte et al. 2008.
    """
    n = check_count("The number of states", min(n, len(sample)), len(sample))
    places = zip(sample.text[:n], sample.position[:n], strict=True)
    spelled = [sample.tokens[int(t)][int(p)].strip().lower() for t, p in places]
    token = pd.factorize(np.array(spelled, dtype=object))[0]
    group, text = token.copy(), sample.text[:n]
    if groups:
        known = _numbered(groups)
        group = np.array([known.get(word, -1) for word in spelled])
    else:
        texts = pd.DataFrame({"group": group, "text": text}).groupby("group")["text"].nunique()
        group[~np.isin(group, texts.index[texts > 1])] = -1
    kept = np.flatnonzero(group >= 0)
    group, text, token = group[kept], text[kept], token[kept]
    a, b = np.triu_indices(len(kept), 1)
    of_two = text[a] != text[b]
    if groups:
        of_two &= token[a] != token[b]
    a, b = a[of_two], b[of_two]
    together = token if groups else np.arange(len(kept), dtype=np.int64)
    orders = [group, *_by_chance(group, together, np.random.default_rng(seed))]
    same = np.stack([order[a] == order[b] for order in orders]).astype(
        np.float64
    )  # (1 + draws, pairs)
    counts = same.sum(axis=1)
    rows, drawn = [], [np.full(len(orders) - 1, -np.inf)]
    for layer in sample.layers("stream"):
        cosines = centred_cosines(sample.states(layer)[torch.from_numpy(kept)])[a, b]
        total = same @ cosines
        with np.errstate(invalid="ignore", divide="ignore"):
            within = total / counts
            across = (cosines.sum() - total) / (len(cosines) - counts)
        found = within - across
        null = found[1:][np.isfinite(found[1:])]
        drawn.append(np.where(np.isfinite(found[1:]), found[1:], -np.inf))
        low, high = (null.min(), null.max()) if len(null) else (np.nan, np.nan)
        numbers = zip(_NUMBERS, (within[0], across[0], found[0], low, high), strict=True)
        sizes = {"n_groups": len(set(group.tolist())), "n_states": len(kept)}
        sizes |= {"n_pairs": int(counts[0]), "n_draws": len(null)}
        rows.append({"layer": layer, **sizes, **dict(numbers)})
    largest = np.max(drawn, axis=0)  # (draws,), at any layer
    frame = pd.DataFrame(rows)
    return frame.assign(n_as_large=[int((largest >= d).sum()) for d in frame["difference"]])


def _by_chance(group: Ints, together: Ints, rng: np.random.Generator) -> list[Ints]:
    """Groups of states (n,) in which those that are `together` (n,) are given another's: as many
    different ones as can be found, at most `SHUFFLES`."""
    _, first, whose = np.unique(together, return_index=True, return_inverse=True)
    given, found = group[first], list[Ints]()
    known = {tuple(pd.factorize(given)[0].tolist())}  # groups have no names: who is with whom
    for _ in range(_TRIES):
        drawn = rng.permutation(given)
        with_whom = tuple(pd.factorize(drawn)[0].tolist())
        if with_whom not in known:
            known.add(with_whom)
            found.append(drawn[whose])
        if len(found) == SHUFFLES:
            break
    return found


def _numbered(groups: Sequence[str]) -> dict[str, int]:
    """Each word, in small letters, with the number of its group."""
    known: dict[str, int] = {}
    for number, words in enumerate(groups):
        for word in set(words.lower().split()):
            if word in known:
                raise InputError("A word can be in one group only, and one of these is in two.")
            known[word] = number
    if len(known) > _WORDS:
        raise InputError(f"Groups may have {_WORDS} words in all, and these have {len(known):,}.")
    return known
