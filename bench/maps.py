"""What a map of states costs: exact neighbours and a warm worker beside the notebook's own call."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from bench.measure import Row, take_turns
from bench.text import prompt_of
from strata.concepts.trajectories import project
from strata.concepts.trajectories.neighbours import trust
from strata.corpus.passages import passages
from strata.model import load_model
from strata.runtime.umap_worker import umap

TRUSTED = 0.99  # with the bundled model


def maps(name: str, quick: bool) -> Iterator[Row]:
    """The activations of a paragraph of the corpus, 90 tokens, as the trajectories page draws them;
    trust is their trustworthiness (cosine, 15 neighbours)."""
    model = load_model(name)
    text = prompt_of(model, 23) if quick else passages()["tides"]
    hidden = model.capture(text).hidden  # (L + 1, T, D)
    points = hidden.flatten(0, 1)

    def ours() -> object:
        return project(hidden, seed=23875)

    def notebook() -> object:
        return umap()(metric="cosine", n_neighbors=50, random_state=23875, n_jobs=1).fit_transform(
            points.numpy()
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warm = {"ours": ours, "notebook": notebook}
        taken = take_turns(warm, rounds=1 if quick else 3, warm=1)
    trusted = trust(points, project(hidden, seed=23875).reshape(-1, 2), "cosine")
    yield Row(
        f"map of {len(points):,} states, trust {trusted:.3f} (at least {TRUSTED})",
        taken["ours"],
        taken["notebook"],
        "the notebook's UMAP call, warm",
        ratio_at_most=1 / 5 if trusted >= TRUSTED else 0.0,
    )
